"""The proof is only worth something if it can fail: each way to lose a value is told from each place where it may be."""

from datetime import UTC, datetime
from typing import Any

import pytest

from demo.notebook import Notebook, Typed
from demo.proof import Place, place_of
from demo.tables import Entry, Record, Tables
from demo.wrapping import wrapped

SITE, DEVICE, OTHER = "site-1", "phone-a", "phone-b"
NOW = datetime(2026, 10, 22, tzinfo=UTC)
NOTE = Typed(1, "a", 0, SITE, "监管对象", "site", "edit", "note", "甲的话")


def came(n: int = 1, device: str = DEVICE, *, old: Any = "", new: Any = "甲的话", outcome: str = "applied") -> Entry:
    raw = {"fields": {"note": [old, new]}, "args": {}}
    return Entry(device, n, 0, "mutation", SITE, "edit", outcome, "ok", (NOW, NOW), raw)


def site(note: Any = "甲的话", *, deleted: bool = False) -> Record:
    return Record(SITE, "site", "v.field", (1, 2), deleted, {}, {"note": note})


def conflict(lost: Any = "甲的话", field: str = "note") -> Record:
    return Record("c", "conflict", "t.office", (1, 1), False, {}, {"record": SITE, "field": field, "lost": lost})


def tables(*rows: Record, journal: tuple[Entry, ...] = (), held: dict[tuple[str, int], tuple[str, bool]] | None = None) -> Tables:
    return Tables({row.id: row for row in rows}, list(journal), {}, held or {}, [])


@pytest.mark.parametrize(
    ("found", "place"),
    [
        (tables(site(), journal=(came(),)), Place.IN_RECORD),
        (tables(site(deleted=True), journal=(came(),)), Place.IN_DELETED),
        (tables(site("乙的话"), conflict(), journal=(came(),)), Place.IN_CONFLICT),
        (tables(site("乙的话"), journal=(came(), came(1, OTHER, old="甲的话", new="乙的话"))), Place.REPLACED),
        (tables(site(""), journal=(came(outcome="quarantined"),), held={(DEVICE, 1): ("v", True)}), Place.ON_DESK),
        (tables(site(""), journal=(came(outcome="rejected"),)), Place.REFUSED),
    ],
)
def test_where_a_value_may_be(found: Tables, place: Place) -> None:
    assert place_of(NOTE, DEVICE, found) is place


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (tables(site()), "never arrived"),
        (tables(site(), journal=(came(new="甲的"),)), "never arrived"),
        (tables(site(), journal=(came(device=OTHER),)), "never arrived"),
        (tables(journal=(came(),)), "does not exist"),
        (tables(site(""), journal=(came(),)), "nowhere to be seen"),
        (tables(site("乙的话"), journal=(came(), came(1, OTHER, old="", new="乙的话"))), "nowhere to be seen"),
        (tables(site("乙的话"), journal=(came(1, OTHER, old="甲的话", new="乙的话"), came())), "nowhere to be seen"),
        (tables(site("乙的话"), conflict("甲"), journal=(came(),)), "nowhere to be seen"),
        (tables(site("乙的话"), conflict(field="name"), journal=(came(),)), "nowhere to be seen"),
        (tables(site(""), journal=(came(outcome="deferred"),)), "on no desk"),
        (tables(site(""), journal=(came(outcome="quarantined"),), held={(DEVICE, 1): ("v", False)}), "on no desk"),
    ],
)
def test_how_a_value_may_be_lost(found: Tables, why: str) -> None:
    assert why in str(place_of(NOTE, DEVICE, found))


def test_a_deletion_that_left_no_trace_is_noticed() -> None:
    deletion = Typed(1, "a", 0, SITE, "监管对象", "site", "delete", "", None)
    entry = Entry(DEVICE, 1, 0, "mutation", SITE, "delete", "conflict", "edit_against_delete", (NOW, NOW), {"fields": {}, "args": {}})
    assert place_of(deletion, DEVICE, tables(site(), conflict("delete", "-"), journal=(entry,))) is Place.IN_CONFLICT
    assert place_of(deletion, DEVICE, tables(site(deleted=True), journal=(entry,))) is Place.IN_HISTORY
    assert "left no trace" in str(place_of(deletion, DEVICE, tables(site(), journal=(entry,))))


def test_a_visit_changes_its_unit_when_it_is_disclosed_and_nothing_else_by_that() -> None:
    """The unit that the visitor entered is in the journal; the visited unit's record shows its own."""
    disclosed = Entry(OTHER, 5, 1, "consequence", SITE, "disclose", "applied", "ok", (NOW, NOW), None)
    found = tables(site(""), journal=(came(), disclosed))
    assert "nowhere to be seen" in str(place_of(NOTE, DEVICE, found))
    raw = {"body": {"unit": "team"}, "args": {}}
    made = Entry(DEVICE, 1, 0, "mutation", SITE, "create", "applied", "ok", (NOW, NOW), raw)
    unit = Typed(1, "a", 0, SITE, "检查", "inspection", "create", "unit", "team")
    assert "nowhere to be seen" in str(place_of(unit, DEVICE, tables(site(), journal=(made,))))
    assert place_of(unit, DEVICE, tables(site(), journal=(made, disclosed))) is Place.REPLACED


def test_every_value_of_one_act_is_noted() -> None:
    notebook = Notebook()
    notebook.note("a", 0, SITE, "监管对象", "site", "edit", {"note": "一", "contact": "二"})
    notebook.note("a", 0, SITE, "监管对象", "site", "delete", {})
    assert [(one.field, one.value) for one in notebook.typed] == [("note", "一"), ("contact", "二"), ("", None)]


def test_lines_break_between_characters_but_not_before_punctuation() -> None:
    assert wrapped("洒水车坏了，出口带泥", 10) == "洒水车坏\n了，出口带\n泥"
    assert wrapped("one two three", 8) == "one two\nthree"
    assert wrapped("在 kill -9 之后（一）", 12) == "在 kill -9\n之后（一）"
