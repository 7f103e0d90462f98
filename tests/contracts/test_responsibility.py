"""The responsibility table, against domain.md 2.4 and 2.5."""

import json
from datetime import date, timedelta

import msgspec
import pytest

from contracts.checklist import load_checklists
from contracts.responsibility import (
    RESPONSIBILITY,
    Mode,
    Route,
    decode_responsibility,
    load_responsibility,
    route,
)

TABLE = load_responsibility()
ANKANG, LIZHOU = TABLE["ankang"], TABLE["lizhou"]
NOW = date(2024, 6, 1)


def test_the_table_has_every_row_of_the_reference() -> None:
    # 48 rows in domain.md; site dust is two here, because its supporters are named only by the later source
    assert len(ANKANG.subjects) == 49
    assert len({row.subject for row in ANKANG.subjects}) == 46
    modes = {mode: sum(row.mode is mode for row in ANKANG.subjects) for mode in Mode}
    assert modes == {Mode.LEAD: 8, Mode.SINGLE: 2, Mode.JOINT: 39, Mode.UNASSIGNED: 0}
    assert LIZHOU.subjects == (), "the Lizhou source names no department; the district fills it"


def test_every_department_of_the_reference_is_there_with_its_aliases() -> None:
    departments = {department.id: department for department in ANKANG.departments}
    assert len(departments) == 29 + 6 + 4  # departments; special offices; two committees, county and township
    assert departments["urban_mgmt_bureau"].aliases == ("市城管局",)
    assert departments["transport_bureau"].aliases == ("市交通运输局",)
    assert departments["dev_reform_commission"].aliases == ("市发展改革委",)
    assert {department.id for department in LIZHOU.departments} == {"housing_bureau", "county", "township"}
    assert all(d.text.zh and d.text.en for table in TABLE.values() for d in table.departments)


def test_only_where_a_source_writes_lead_is_there_a_lead() -> None:
    for row in ANKANG.subjects:
        assert row.sources and all(source.quote for source in row.sources), row.subject
        assert (row.mode is Mode.LEAD) == any("牵头" in source.quote for source in row.sources), row.subject
        assert bool(row.lead) == (row.mode is Mode.LEAD), row.subject


@pytest.mark.parametrize("jurisdiction", ["ankang", "lizhou"])
def test_the_table_and_the_checklists_route_every_finding_alike(jurisdiction: str) -> None:
    routes = {finding.finding: finding for finding in TABLE[jurisdiction].findings}
    published = [
        item.finding
        for checklist in load_checklists().values()
        if checklist.jurisdiction == jurisdiction
        for item in checklist.items
        if item.finding and item.finding.kind
    ]
    for finding in published:
        ruled, said = routes[str(finding.kind)], finding.routing
        assert (ruled.subject, ruled.receivers, ruled.one_of, ruled.derived_receivers) == (
            said.subject,
            said.receivers,
            said.one_of,
            said.derived_receivers,
        )
    assert {finding.kind for finding in published} == set(routes)


def test_every_subject_a_finding_names_has_a_row() -> None:
    subjects = {row.subject for row in ANKANG.subjects}
    assert {finding.subject for finding in ANKANG.findings if finding.subject} <= subjects


def test_a_finding_goes_to_its_receivers_under_the_lead_of_its_subject() -> None:
    inn = route(TABLE, "ankang", "river_encroachment", NOW)
    assert inn.mode is Mode.LEAD
    assert inn.lead == ("culture_tourism_bureau",)
    assert inn.receivers == ("water_bureau", "culture_tourism_bureau")
    assert inn.joint[-1] == "water_bureau", "not listed by the source, admitted by its 等"
    assert inn.open_ended and inn.derived == ("water_bureau",)
    assert route(TABLE, "ankang", "hydro_rebound", NOW).lead == ("water_bureau", "qinling_office")


def test_of_alternatives_the_dispatcher_chooses() -> None:
    road = route(TABLE, "ankang", "road_occupation", NOW)
    assert road.one_of == ("urban_mgmt_bureau", "transport_bureau")
    assert "transport_bureau" in road.joint


def test_without_a_lead_the_first_listed_receives_and_that_is_derived() -> None:
    dust = route(TABLE, "ankang", "construction_dust", NOW)
    assert (dust.mode, dust.lead, dust.receivers, dust.derived) == (
        Mode.JOINT,
        (),
        ("housing_bureau",),
        ("housing_bureau",),
    )
    assert route(TABLE, "ankang", "forest", NOW).derived == ()


def test_who_acts_depends_on_the_day() -> None:
    before = route(TABLE, "ankang", "river_outfall", date(2022, 7, 1)).joint
    after = route(TABLE, "ankang", "river_outfall", NOW).joint
    assert "agri_bureau" in before and "agri_bureau" not in after
    assert route(TABLE, "ankang", "biodiversity", date(2023, 3, 29)).receivers == ("forestry_bureau",)
    assert route(TABLE, "ankang", "biodiversity", date(2023, 3, 30)).receivers == ("env_bureau",)
    assert route(TABLE, "ankang", "river_outfall", date(2020, 1, 1)).mode is Mode.UNASSIGNED


def test_where_no_rule_exists_the_areas_still_get_it() -> None:
    unassigned = Route(subject="cooking_fume", mode=Mode.UNASSIGNED)
    assert route(TABLE, "lizhou", "open_barbecue", NOW) == unassigned
    assert unassigned.areas == ("county", "township")
    assert route(TABLE, "nowhere", "open_barbecue", NOW).mode is Mode.UNASSIGNED
    assert route(TABLE, "ankang", "no_such_thing", NOW).mode is Mode.UNASSIGNED


def test_every_finding_and_subject_has_a_route_on_every_day() -> None:
    names = [*(f.finding for f in ANKANG.findings), *(row.subject for row in ANKANG.subjects)]
    for name in names:
        for year in range(2020, 2027):
            found = route(TABLE, "ankang", name, date(year, 3, 30) + timedelta(days=year))
            assert set(found.receivers) | set(found.one_of) <= {*found.lead, *found.joint, *found.areas}


def test_a_finding_without_a_department_is_assigned_by_hand_only_in_lizhou() -> None:
    unrouted = {f.finding for f in ANKANG.findings if route(TABLE, "ankang", f.finding, NOW).mode is Mode.UNASSIGNED}
    assert unrouted == set()


def test_the_files_are_strict_pretty_json() -> None:
    for path in RESPONSIBILITY.glob("*.json"):
        plain = json.loads(path.read_text())
        assert path.read_text() == json.dumps(plain, ensure_ascii=False, indent=2) + "\n"
        assert not unread(plain, json.loads(msgspec.json.encode(TABLE[path.stem])))


def unread(written: object, read: object, where: str = "$") -> list[str]:
    """Paths that were written and not understood."""
    if isinstance(written, dict) and isinstance(read, dict):
        return [path for name, inner in written.items() for path in unread(inner, read.get(name), f"{where}.{name}")]
    if isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        return [path for n, pair in enumerate(zip(written, read, strict=True)) for path in unread(*pair, f"{where}[{n}]")]
    return [] if written == read else [where]


@pytest.mark.parametrize(
    ("part", "change", "complaint"),
    [
        ("subjects", {"joint": ["nobody"]}, "no department 'nobody'"),
        ("subjects", {"mode": "lead"}, "go together"),
        ("subjects", {"valid_to": None}, "two rules for 2023-03-30"),
        ("findings", {"receivers": ["nobody"]}, "no department 'nobody'"),
        ("departments", {"id": "county"}, "appears twice"),
    ],
)
def test_a_faulty_table_is_refused_and_says_why(part: str, change: dict[str, object], complaint: str) -> None:
    faulty = json.loads((RESPONSIBILITY / "ankang.json").read_text())
    faulty[part][0] |= change
    with pytest.raises(ValueError, match=complaint):
        decode_responsibility(json.dumps(faulty).encode())


def test_unknown_fields_of_a_newer_release_are_no_fault() -> None:
    newer = json.loads((RESPONSIBILITY / "ankang.json").read_text())
    newer["novelty"] = newer["subjects"][0]["novelty"] = newer["departments"][0]["novelty"] = 1
    assert decode_responsibility(json.dumps(newer).encode()) == ANKANG
