"""Every published checklist, against the domain reference it was written from (domain.md section 3)."""

import hashlib
import json
from datetime import date
from pathlib import Path

import msgspec
import pytest

from contracts.checklist import (
    CHECKLISTS,
    ITEM_KEY,
    AnswerType,
    Checklist,
    Effect,
    Item,
    Photo,
    deadlines_of,
    decode_checklist,
    findings_of,
    load_checklists,
    published_json,
)
from contracts.responsibility import load_responsibility

# Rows of the domain reference, by checklist. A row that asks for several values is several items (EXTRA_ITEMS).
ROWS: dict[str, str] = {
    "construction_dust.ankang": "DUST-A1 DUST-A2 DUST-A3 DUST-A4 DUST-A5 DUST-A6 DUST-A7 DUST-A8 DUST-A9 DUST-A10",
    "construction_dust.lizhou": "DUST-L1 DUST-L2 DUST-L3 DUST-L4 DUST-L5 DUST-L6 DUST-L7",
    "road_yard_dust.ankang": "ROAD-1 ROAD-2 ROAD-3 ROAD-4 YARD-1 YARD-2 YARD-3 YARD-4",
    "road_yard_dust.lizhou": "ROAD-4 ROAD-5",
    "open_burning.ankang": "BURN-1 BURN-2 BURN-3 BURN-4 BURN-5 BURN-6 BURN-7 BURN-8",
    "open_burning.lizhou": "BURN-1 BURN-2 BURN-3 BURN-4 BURN-6",
    "river_outfall.ankang": ("OUT-1 OUT-2 OUT-3 OUT-4 OUT-5 OUT-6 OUT-8 OUT-9 OUT-10 OUT-11 OUT-12 OUT-13 OUT-14 OUT-15 OUT-16"),
    "river_outfall.lizhou": "OUT-1 OUT-2 OUT-7 OUT-8 OUT-9 OUT-10 OUT-11 OUT-12 OUT-13 OUT-14 OUT-17",
    "farmhouse_inn.ankang": "INN-1 INN-2 INN-3 INN-4 INN-5 INN-6 INN-7 INN-8",
    "five_chaos.ankang": "CHAOS-1 CHAOS-2 CHAOS-3 CHAOS-4 CHAOS-5 CHAOS-6",
    "drinking_water_source.ankang": "WATER-1 WATER-2 WATER-3 WATER-4 WATER-5 WATER-6 WATER-7",
    "drinking_water_source.lizhou": "WATER-7 WATER-8",
    "small_hydro.ankang": "HYDRO-1 HYDRO-2 HYDRO-3 HYDRO-4 HYDRO-5 HYDRO-6",
    "mine_quarry.ankang": "MINE-1 MINE-2 MINE-3 MINE-4 MINE-5 MINE-6 MINE-7 MINE-8",
    "tailings_pond.ankang": "POND-1 POND-2 POND-3 POND-4 POND-5 POND-6 POND-7",
    "cooking_fume.ankang": "FUME-1 FUME-2 FUME-3 FUME-4 FUME-6",
    "cooking_fume.lizhou": "FUME-5 FUME-7",
    "noise.ankang": "NOISE-1 NOISE-2 NOISE-3",
    "noise.lizhou": "NOISE-4 NOISE-5",
    "voc_auto_repair.ankang": "VOC-1 VOC-2 VOC-3 VOC-4 VOC-5 VOC-6",
    "voc_auto_repair.lizhou": "VOC-2",
    "livestock_manure.ankang": "FARM-2 FARM-3 FARM-4 FARM-5",
    "livestock_manure.lizhou": "FARM-1 FARM-2",
    "village_environment.ankang": "VILL-1 VILL-2 VILL-3 VILL-4 VILL-5 VILL-8 VILL-9",
    "village_environment.lizhou": "VILL-6 VILL-7",
    "black_odor_water.ankang": "BLACK-1 BLACK-2 BLACK-3",
    "black_odor_water.lizhou": "BLACK-4",
    "scenic_structure.ankang": "SCEN-1 SCEN-2 SCEN-3 SCEN-4 SCEN-5 SCEN-6 SCEN-7 SCEN-8 SCEN-9",
    "hazardous_waste.ankang": "HAZ-1 HAZ-2 HAZ-5",
    "hazardous_waste.lizhou": "HAZ-3 HAZ-4",
    "protected_area.ankang": "PROT-1 PROT-2 PROT-3 PROT-4 PROT-5 PROT-6 PROT-7 PROT-8",
    "protected_area.lizhou": "PROT-4 PROT-5 PROT-9",
    "river_lake.ankang": "RIV-1 RIV-2 RIV-3 RIV-4 RIV-5 RIV-6 RIV-7",
    "river_lake.lizhou": "RIV-8",
    "other_subjects.ankang": "TRAN-1 TRAN-2 TRAN-3 EMER-1 SPRD-1 SMEL-1 SOLD-1 SOIL-1 SOIL-2",
    "other_subjects.lizhou": "TRAN-3",
}

# How many items a row becomes beyond its first: six shares, four links of a chain, a value beside a yes or no.
EXTRA_ITEMS: dict[str, dict[str, int]] = {
    "construction_dust.ankang": {"DUST-A7": 5},
    "river_outfall.ankang": {"OUT-5": 3, "OUT-12": 1, "OUT-14": 1},
    "river_outfall.lizhou": {"OUT-12": 1, "OUT-14": 1},
    "mine_quarry.ankang": {"MINE-4": 1},
    "livestock_manure.ankang": {"FARM-4": 1},
    "black_odor_water.ankang": {"BLACK-2": 1},
    "scenic_structure.ankang": {"SCEN-3": 2, "SCEN-9": 1},
    "other_subjects.ankang": {"TRAN-2": 1},
}

# Rows of each table of the domain reference (3.1 to 3.21): together the checklists leave none out.
TABLE_ROWS: dict[str, int] = {
    "DUST": 17, "ROAD": 5, "YARD": 4, "BURN": 8, "OUT": 17, "INN": 8, "CHAOS": 6, "WATER": 8, "HYDRO": 6,
    "MINE": 8, "POND": 7, "FUME": 7, "NOISE": 5, "VOC": 6, "FARM": 5, "VILL": 9, "BLACK": 4, "SCEN": 9,
    "HAZ": 5, "PROT": 9, "RIV": 8, "TRAN": 3, "EMER": 1, "SPRD": 1, "SMEL": 1, "SOLD": 1, "SOIL": 2,
}  # fmt: skip

CHECKED = list(load_checklists().values())
each_checklist = pytest.mark.parametrize("checklist", CHECKED, ids=lambda checklist: checklist.file_name)


def checklist_of(name: str) -> Checklist:
    return load_checklists()[name, 1]


def item_of(name: str, key: str) -> Item:
    return next(item for item in checklist_of(name).items if item.key == key)


def kinds(name: str, answers: dict[str, object], overdue: tuple[str, ...] = ()) -> list[str | None]:
    return [finding.kind for _, finding in findings_of(checklist_of(name), answers, overdue)]


def test_a_published_version_never_changes() -> None:
    lines = (CHECKLISTS / "SHA256SUMS").read_text().splitlines()
    locked = {name: digest for digest, name in (line.split("  ") for line in lines)}
    shipped = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in CHECKLISTS.glob("*.json")}
    assert shipped == locked, "add a v2 beside it (docs/how-to/add-a-checklist.md)"


def test_every_subject_is_there_for_the_jurisdictions_whose_sources_support_it() -> None:
    assert {name for name, version in load_checklists() if version == 1} == set(ROWS)


@each_checklist
def test_every_row_is_there_in_order(checklist: Checklist) -> None:
    codes = ROWS[checklist.id].split()
    assert list(dict.fromkeys(item.code for item in checklist.items)) == codes
    extra = EXTRA_ITEMS.get(checklist.id, {})
    expected = {code: 1 + extra.get(code, 0) for code in codes}
    assert {code: sum(item.code == code for item in checklist.items) for code in codes} == expected


def test_no_row_of_any_table_is_left_out() -> None:
    codes = {item.code for checklist in CHECKED for item in checklist.items}
    assert {table: sum(code.split("-")[0] == table for code in codes) for table in TABLE_ROWS} == TABLE_ROWS
    assert len(codes) == sum(TABLE_ROWS.values()) == 170


@each_checklist
def test_the_json_is_strict_and_holds_nothing_unknown(checklist: Checklist) -> None:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len({name for name, _ in pairs}) == len(pairs)
        return dict(pairs)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = published_json(checklist.id, checklist.version).decode()
    plain = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    assert text == json.dumps(plain, ensure_ascii=False, indent=2) + "\n"
    assert is_understood(plain, msgspec.to_builtins(checklist))


def is_understood(written: object, read: object) -> bool:
    """Everything written was read; what was read beyond it are defaults."""
    if isinstance(written, dict) and isinstance(read, dict):
        return all(name in read and is_understood(inner, read[name]) for name, inner in written.items())
    if isinstance(written, list) and isinstance(read, tuple | list):
        return len(written) == len(read) and all(map(is_understood, written, read))
    return written == read


@each_checklist
def test_every_item_is_stable_bilingual_and_has_a_source_or_says_it_is_derived(checklist: Checklist) -> None:
    for item in checklist.items:
        assert ITEM_KEY.match(item.key)
        assert item.sources or item.derived, item.key
        assert not item.outside_sources or (item.derived and not item.sources), item.key
        for source in item.sources:
            assert source.quote.strip()
            assert source.file.startswith("004_") == (checklist.jurisdiction == "lizhou"), item.key


@each_checklist
def test_every_text_has_both_languages(checklist: Checklist) -> None:
    def texts(value: object) -> list[dict[str, str]]:
        if isinstance(value, dict):
            if "zh" in value:
                return [value]
            return [text for inner in value.values() for text in texts(inner)]
        return [text for inner in value for text in texts(inner)] if isinstance(value, list | tuple) else []

    found = texts(msgspec.to_builtins(checklist))
    assert len(found) > len(checklist.items)
    assert all(text["zh"].strip() and text["en"].strip() and text["en"].isascii() for text in found)


@each_checklist
def test_every_no_opens_a_finding_that_goes_to_a_known_body(checklist: Checklist) -> None:
    known = {department.id for department in load_responsibility()[checklist.jurisdiction].departments}
    for item in checklist.items:
        if item.answer.type is AnswerType.YNN:
            assert item.finding
            assert item.finding.when.answers == ("no",)
            assert item.finding.effect is Effect.FINDING
        if item.finding:
            routing = item.finding.routing
            named = {*routing.receivers, *routing.one_of}
            assert named <= known, item.key
            assert set(routing.derived_receivers) <= named, item.key
            assert item.finding.severity is None, "no source states a severity"
            needs_receiver = checklist.jurisdiction == "ankang" and item.finding.effect is Effect.FINDING
            assert named or not needs_receiver, item.key


@each_checklist
def test_not_applicable_never_opens_anything(checklist: Checklist) -> None:
    answers = {item.key: "na" for item in checklist.items}
    overdue = tuple(answers)
    assert [item for item, _ in findings_of(checklist, answers, overdue) if item.answer.type is AnswerType.YNN] == []


@each_checklist
def test_garbage_answers_never_raise(checklist: Checklist) -> None:
    for garbage in ({"a": 1}, [], [{}], True, float("nan"), "?", 10**30, None):
        findings_of(checklist, dict.fromkeys((item.key for item in checklist.items), garbage))
        deadlines_of(checklist, dict.fromkeys((item.key for item in checklist.items), garbage))


def test_the_two_wordings_of_the_six_hundred_percents_stay_apart() -> None:
    def six(name: str) -> dict[str, str]:
        shown = [item for item in checklist_of(name).items if item.group == "six_100" and not item.detail_of]
        return {item.key: item.text.zh for item in shown}

    ankang, lizhou = six("construction_dust.ankang"), six("construction_dust.lizhou")
    assert list(ankang.values()) == ["洒水100%", "覆盖100%", "硬化100%", "冲洗100%", "绿化100%", "围挡100%"]
    assert list(lizhou.values()) == ["施工场围蔽", "砂土覆盖", "路面硬化", "洒水压尘", "车辆冲净", "场地绿化"]
    assert ankang.keys() == lizhou.keys() and list(ankang) != list(lizhou)
    assert [checklist_of(f"construction_dust.{j}").groups[0].text.zh for j in ("ankang", "lizhou")] == [
        "六个100%",
        "六个百分之百",
    ]


def test_a_share_only_elaborates_its_item() -> None:
    dust = "construction_dust.ankang"
    assert kinds(dust, {"covering": "no", "covering_share": 60}) == ["dust_no_covering"]
    assert kinds(dust, {"covering": "yes", "covering_share": 60}) == ["dust_no_covering"]
    assert kinds(dust, {"covering": "yes", "covering_share": 100}) == []


def test_a_choice_a_gap_and_a_passed_term_open_what_the_domain_says() -> None:
    assert kinds("open_burning.ankang", {"fire_point": "extinguished"}) == ["straw_burning"]
    assert kinds("open_burning.ankang", {"fire_point": "not_straw", "straw_destination": "untreated"}) == ["straw_left"]
    known = ("responsible_party", "chain_discharger", "chain_outfall", "chain_pipeline", "chain_source")
    pending: dict[str, object] = {**dict.fromkeys(known, "x"), "treatment": "in_progress"}
    assert kinds("river_outfall.ankang", pending) == []
    assert kinds("river_outfall.ankang", pending, ("treatment",)) == ["outfall_overdue"]
    assert kinds("river_outfall.ankang", pending | {"responsible_party": ""}) == ["outfall_no_owner"]
    broken_chain = pending | {"chain_pipeline": "", "chain_source": None}
    assert kinds("river_outfall.ankang", broken_chain) == ["outfall_untraced"], "one chain, one problem"
    assert kinds("black_odor_water.ankang", {"measures": []}) == ["black_odor_untreated"]
    assert kinds("black_odor_water.ankang", {"measures": ["dredging"]}) == []
    assert kinds("other_subjects.ankang", {"vehicles_checked": 40, "vehicles_over_limit": 2}) == ["vehicle_exhaust"]


def test_an_inn_without_an_outcome_is_open_only_while_a_violation_stands() -> None:
    inn = checklist_of("farmhouse_inn.ankang")
    opened = [item.key for item, _ in findings_of(inn, {"river_clear": "no"})]
    assert opened == ["river_clear", "outcome"]
    assert findings_of(inn, {"river_clear": "yes"}) == []
    disguised = item_of("farmhouse_inn.ankang", "no_real_estate").finding
    assert disguised and disguised.outcomes == ("shut_down",)


def test_an_inn_is_due_by_the_zone_it_lies_in() -> None:
    inn = checklist_of("farmhouse_inn.ankang")
    due = {zone: [d.due_on for d in deadlines_of(inn, {"protection_zone": zone})] for zone in ("core", "key", "general")}
    assert due == {"core": [date(2022, 8, 31)], "key": [date(2022, 8, 31)], "general": [date(2022, 12, 31)]}
    assert deadlines_of(inn, {"protection_zone": "outside"}) == []


def test_deductions_threaten_only_dust_straw_and_fireworks_and_only_in_ankang() -> None:
    costing = {(c.id, i.code) for c in CHECKED for i in c.items if i.finding and i.finding.deduction}
    burning = {("open_burning.ankang", code) for code in ("BURN-1", "BURN-2", "BURN-6", "BURN-7")}
    dust = {("construction_dust.ankang", f"DUST-A{n}") for n in range(1, 11)}
    assert costing == burning | dust


@each_checklist
def test_seasons_and_deadlines_have_a_source_or_say_they_are_derived(checklist: Checklist) -> None:
    seasons = [checklist.season, *checklist.season.peaks] if checklist.season else []
    for rule in (*seasons, *checklist.deadlines):
        assert rule and (rule.sources or rule.derived)
    assert all(item.evidence.derived for item in checklist.items), "no source mentions photos or positions"


def test_evidence_follows_the_reference() -> None:
    burning = item_of("open_burning.ankang", "no_straw_burning").evidence
    assert (burning.photo, burning.position) == (Photo.ALWAYS, True)
    sprinkling = item_of("construction_dust.ankang", "sprinkling").evidence
    assert (sprinkling.photo, sprinkling.position) == (Photo.ON_FINDING, False)
    assert item_of("construction_dust.ankang", "site_listed").evidence.photo is Photo.NEVER


def test_a_definition_of_a_newer_release_is_read_and_its_published_bytes_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = json.loads(published_json("open_burning.ankang", 1))
    newer |= {"version": 2, "novelty": {"a": [1]}}
    newer["items"][0] |= {"novelty": 1}
    newer["items"][0]["answer"] |= {"novelty": 1}
    newer["items"][0]["finding"]["routing"] |= {"novelty": 1}
    written = json.dumps(newer, ensure_ascii=False).encode()
    (tmp_path / "open_burning.ankang.v2.json").write_bytes(written)
    with monkeypatch.context() as patch:
        patch.setattr("contracts.checklist.CHECKLISTS", tmp_path)
        patch.setattr("contracts.checklist.load_checklists", load_checklists.__wrapped__)
        read = load_checklists.__wrapped__()["open_burning.ankang", 2]
        assert published_json("open_burning.ankang", 2) == written
    assert msgspec.structs.replace(read, version=1) == checklist_of("open_burning.ankang")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"key": "a.b"}, "the key must match"),
        ({"sources": [], "derived": False}, "neither a source nor marked derived"),
        ({"answer": {"type": "choice"}}, "choices need options"),
        ({"answer": {"type": "num"}}, "numbers need a unit"),
        ({"finding": None}, "a no must open a finding"),
        ({"finding": {"when": {"answers": ["no"]}}}, "a finding needs a kind"),
        ({"finding": {"kind": "x", "when": {"answers": ["perhaps"]}}}, "which cannot be answered"),
        ({"detail_of": "nothing"}, "which is no earlier item"),
        ({"group": "nothing"}, "no group"),
        ({"text": {"zh": 1, "en": "x"}}, r"\$.items\[0\].text.zh"),
    ],
)
def test_a_faulty_definition_is_refused_and_says_why(change: dict[str, object], complaint: str) -> None:
    faulty = json.loads(published_json("five_chaos.ankang", 1))
    faulty["items"][0] |= change
    with pytest.raises(ValueError, match=complaint):
        decode_checklist(json.dumps(faulty).encode())


def test_a_repeated_key_is_refused() -> None:
    faulty = json.loads(published_json("five_chaos.ankang", 1))
    faulty["items"].append(faulty["items"][0])
    with pytest.raises(ValueError, match="appears twice"):
        decode_checklist(json.dumps(faulty).encode())
