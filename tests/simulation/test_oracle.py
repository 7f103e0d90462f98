"""The judge is no party: what judges imports nothing of ours but the other judges."""

import ast
from pathlib import Path

from tests.simulator.oracle import Oracle
from tests.simulator.testimony import (
    DeviceRow,
    Entry,
    Head,
    JournalRow,
    PhoneView,
    ServerRecord,
    ServerView,
    Violation,
    Write,
)

SIMULATOR = Path(__file__).resolve().parent.parent / "simulator"
JUDGES = {path.stem for path in SIMULATOR.glob("judge_*.py")} | {"oracle", "testimony"}
OURS = {"contracts", "sync", "storage", "api", "server", "phone", "tests"}
COUNTY, STREAM = 610902, "610902001001.field"


def imports_of(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_the_oracle_knows_no_code_of_the_product() -> None:
    for judge in JUDGES:
        for module in imports_of((SIMULATOR / f"{judge}.py").read_text()):
            top, _, last = module.rpartition(".")
            assert module.split(".")[0] not in OURS or (top == "tests.simulator" and last in JUDGES), f"{judge} imports {module}"


def test_that_check_can_fail() -> None:
    assert imports_of("from sync.merge import merge_fields\nimport storage.push") == {"sync.merge", "storage.push"}


# ------------------------------------------------------------------------------------------ the judge itself


def entry(number: int, store: str, over: object, value: object) -> Entry:
    return Entry(
        number=number,
        at_ms=number,
        mutation=f"m{number}",
        n=number + 1,
        store=store,
        device=store,
        person=store,
        county=COUNTY,
        record="11111111-1111-1111-1111-111111111111",
        kind="site",
        op="create" if over is None else "edit",
        writes={"note": Write(over, value)},
        args={},
        screen={},
        unit="610902001001",
        entitled=True,
        said="applied",
    )


def server(entries: list[Entry], note: str, outcome: str = "applied", conflicts: tuple[tuple[str, str], ...] = ()) -> ServerView:
    """A server that took all entries, where the note is now this."""
    site = ServerRecord(COUNTY, entries[0].record, "site", STREAM, 1, (1, 1), 0, None, False, None, {"note": note})
    journal = [
        JournalRow(
            COUNTY,
            e.device,
            e.n,
            0,
            "mutation",
            e.mutation,
            e.record,
            e.op,
            outcome,
            "ok",
            STREAM,
            1,
            (1, 1),
            str(e.writes["note"].value).encode(),
        )
        for e in entries
    ]
    records = {(COUNTY, site.id): site}
    for i, (kept, lost) in enumerate(conflicts):
        body = {"record": site.id, "field": "note", "kept": kept, "lost": lost}
        conflict = ServerRecord(COUNTY, f"c{i}", "conflict", "610902001.office", i + 1, (1, 1), 0, None, True, None, body)
        records[COUNTY, conflict.id] = conflict
    devices = {(COUNTY, e.device): DeviceRow(9, []) for e in entries}
    heads = {STREAM: Head(COUNTY, STREAM, 1, 1, 1, 0)}
    return ServerView({COUNTY: 1}, records, journal, heads, {}, {}, devices)


def promises(entries: list[Entry], told: ServerView, phones: list[PhoneView] | None = None) -> set[int]:
    """What the oracle finds, but for the digest of the made-up head."""
    oracle = Oracle(entries=entries)
    return {v.promise for v in oracle.judge(told, phones or [], set()) if "the head says" not in v.text}


MADE, A, B = entry(0, "a", None, "w-0"), entry(1, "a", "w-0", "w-1"), entry(2, "b", "w-0", "w-2")
AFTER_A = entry(3, "b", "w-1", "w-3")


def test_the_last_of_two_who_saw_each_other_stands() -> None:
    assert promises([MADE, A, AFTER_A], server([MADE, A, AFTER_A], "w-3")) == set()
    assert promises([MADE, A, AFTER_A], server([MADE, A, AFTER_A], "w-1")) == {3, 8}


def test_of_two_who_overlapped_either_stands_and_the_other_is_shown() -> None:
    assert promises([MADE, A, B], server([MADE, A, B], "w-2", conflicts=(("w-2", "w-1"),))) == set()
    assert promises([MADE, A, B], server([MADE, A, B], "w-1", conflicts=(("w-1", "w-2"),))) == set()
    assert promises([MADE, A, B], server([MADE, A, B], "w-2")) == {3}


def test_a_conflict_between_two_who_saw_each_other_is_a_false_one() -> None:
    assert promises([MADE, A, AFTER_A], server([MADE, A, AFTER_A], "w-3", conflicts=(("w-3", "w-1"),))) == {8}


def test_one_phones_later_value_stands() -> None:
    later = entry(4, "a", "w-0", "w-4")  # a form opened before, typed after
    assert promises([MADE, A, later], server([MADE, A, later], "w-4")) == set()
    assert promises([MADE, A, later], server([MADE, A, later], "w-1")) == {3, 7}


def test_a_value_that_nobody_typed_is_noticed() -> None:
    assert 3 in promises([MADE], server([MADE], "w-9"))


def test_what_was_acknowledged_and_is_gone_is_noticed() -> None:
    assert promises([MADE, A], server([MADE], "w-0")) == {1}


def test_what_is_held_must_lie_on_a_desk_and_have_a_reason() -> None:
    told = server([MADE, A], "w-0")
    held = [
        row if row.mutation == "m0" else JournalRow(*(*row.__dict__.values(),)[:8], "quarantined", "no_duty", None, None, None, row.raw)
        for row in told.journal
    ]
    told.journal = held
    assert promises([MADE, A], told) == {3}


def test_a_repeated_push_that_counted_twice_is_noticed() -> None:
    told = server([MADE], "w-0")
    told.journal.append(told.journal[0])
    assert promises([MADE], told) == {2}


def test_a_screen_that_shows_what_was_replaced_is_noticed() -> None:
    oracle = Oracle(entries=[MADE, A])
    assert oracle.judge_screen("a", {A.record: {"note": "w-1"}}, set()) == []
    assert [v.promise for v in oracle.judge_screen("a", {A.record: {"note": "w-0"}}, set())] == [3]
    assert oracle.judge_screen("a", {A.record: {"note": "w-0"}}, {"m1"}) == []
    assert isinstance(oracle.judge_screen("a", {A.record: {"note": "w-0"}}, set())[0], Violation)
