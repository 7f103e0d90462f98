"""The server does not let one person sign as another (decision 0012)."""

import msgspec
import pytest

from contracts.outcomes import Outcome
from contracts.people import Role
from sync.clock import Interval
from sync.replay import Recorded, replay
from tests.builders import NOW_MS, a_creation, a_mutation, a_sender, an_edit, an_id, arrived, the_server
from tests.county import VILLAGE_A
from tests.sync.pretend_county import PretendCounty

LI, WANG = an_id(901), an_id(902)
SITE = an_id(101)
CAPTURED = Interval(NOW_MS - 120_000, NOW_MS - 60_000)
CAPTURED_AT = "2026-11-20T00:59:00+00:00"
FORGED = {"id": "c1", "text": "我看过了", "by": str(WANG), "at": "2001-01-01T00:00:00Z"}


def li(device: int = 1) -> object:
    return a_sender(device, Role.GRID_MEMBER, VILLAGE_A)


def made(**fields: object) -> PretendCounty:
    county = PretendCounty()
    county.push(li(), [arrived(a_creation(1, SITE, **fields), CAPTURED)])  # type: ignore[arg-type]
    return county


@pytest.mark.parametrize("forged", [FORGED, {"id": "c1", "text": "我看过了"}])
def test_an_added_comment_is_signed_by_whoever_adds_it(forged: dict[str, object]) -> None:
    county = made()
    edit = an_edit(2, SITE, county.records[SITE].version, comments=([], [forged]))
    county.push(li(), [arrived(edit, CAPTURED)])  # type: ignore[arg-type]
    (comment,) = county.records[SITE].values["comments"]
    assert (comment["by"], comment["at"], comment["text"]) == (str(LI), CAPTURED_AT, "我看过了")


def test_comments_of_a_new_record_are_signed_and_the_journal_replays_to_them() -> None:
    county = made(comments=[FORGED])
    (comment,) = county.records[SITE].values["comments"]
    assert (comment["by"], comment["at"]) == (str(LI), CAPTURED_AT)
    ((_, entry),) = county.journal
    told = Recorded(record=SITE, version=entry.after.version, stream=None, deleted=False, patch=entry.patch, raw=entry.raw)
    assert replay([told]).body == county.records[SITE].values


def test_another_persons_comment_stays_theirs_and_one_that_was_only_handed_back_is_nobodys() -> None:
    county = made(comments=[{"id": "c0", "text": "先到"}])
    before = county.records[SITE].values["comments"]
    wang = a_sender(2, Role.GRID_MEMBER, VILLAGE_A)
    lost = {"id": "c9", "text": "恢复前的", "by": str(LI)}
    edit = an_edit(1, SITE, county.records[SITE].version, comments=([*before, lost], [*before, lost, {"id": "c2", "text": "后到"}]))
    county.push(wang, [arrived(edit, CAPTURED)])
    signed = {c["id"]: c["by"] for c in county.records[SITE].values["comments"]}
    assert signed == {"c0": str(LI), "c9": None, "c2": str(WANG)}


@pytest.mark.parametrize(("kind", "field"), [("problem", "reported_by"), ("inspection", "recorded_by"), ("whistle", "proposed_by")])
def test_a_new_record_names_its_author(kind: str, field: str) -> None:
    county = PretendCounty()
    body = {"whistle": {"unit": VILLAGE_A, "title": "吹哨"}}.get(kind)
    creation = a_mutation(1, SITE, kind, "create", body=body) if body else a_creation(1, SITE, kind)
    (outcome,) = county.push(li(), [arrived(creation)]).outcomes  # type: ignore[arg-type]
    assert outcome.outcome is Outcome.APPLIED
    assert county.records[SITE].values[field] == str(LI)


def test_a_photo_is_of_whoever_sends_it() -> None:
    county = made()
    photos = [a_creation(2, an_id(5), "photo", parent=str(SITE), taken_by=str(WANG)), a_creation(3, an_id(6), "photo", parent=str(SITE))]
    county.push(li(), [arrived(one) for one in photos])  # type: ignore[arg-type]
    assert [county.records[an_id(k)].values.get("taken_by") for k in (5, 6)] == [str(LI), None]


def test_inspectors_are_its_author_and_whom_they_name_and_the_signature_is_the_servers() -> None:
    county = PretendCounty()
    inspection = an_id(7)
    made_by_li = a_creation(1, inspection, "inspection", inspectors=[str(WANG)])
    county.push(li(), [arrived(made_by_li), arrived(a_mutation(2, inspection, "inspection", "inspection.submit", base=made_by_li.id))])  # type: ignore[arg-type]
    values = county.records[inspection].values
    assert (values["inspectors"], values["recorded_by"], values["submitted_by"]) == ([str(LI), str(WANG)], str(LI), str(LI))
    without_li = an_edit(3, inspection, (1, 2), "inspection", inspectors=(values["inspectors"], [str(WANG)]))
    county.push(li(), [arrived(without_li)])  # type: ignore[arg-type]
    assert county.records[inspection].values["inspectors"] == [str(LI), str(WANG)], "nobody takes the author out"


def test_what_the_server_pushes_keeps_its_signatures() -> None:
    county = PretendCounty()
    county.push(the_server(), [arrived(a_creation(1, SITE, comments=[FORGED]))])
    assert county.records[SITE].values["comments"] == [FORGED]
    assert msgspec.json.decode(county.records[SITE].body)["comments"][0]["by"] == str(WANG)
