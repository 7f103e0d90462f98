"""Colours through bad times: clocks that jump, writes that fail, workers and databases that die; and the history replayed."""

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

import sync.colours as colours_of_sync
from contracts.ids import RecordId
from contracts.kinds.problem import Problem
from contracts.kinds.supervision import Supervision
from contracts.people import Role
from contracts.problems import Problem as ConflictOfIds
from contracts.problems import ProblemCode
from contracts.rules import ColoursRule, Duration, RuleName
from storage import office_push, timers
from storage.audit import SQL_FETCH_RECORDED
from storage.timers import run_timers
from sync.colours import Colours
from sync.due import Due, Letter, Subject
from sync.replay import Recorded, replay
from tests.stories.day import Day, body, sync
from tests.stories.test_colours import DEADLINE, OVERDUE, RED, YELLOW, head_of_housing, letters, overdue_case, publish, reference, tick
from tests.stories.test_problem import Case, assigned
from tests.world import COUNTY, VILLAGE_A


async def test_a_clock_that_ran_ahead_leaves_no_days_behind_that_nobody_looks_at(day: Day) -> None:
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[OVERDUE]))
    await tick(day, DEADLINE + timedelta(days=400))
    day.at(0)
    await assigned(day)
    assert await tick(day, DEADLINE + timedelta(hours=23)) == 0
    assert await tick(day, DEADLINE + timedelta(hours=24)) == 1


async def test_what_the_server_failed_at_is_wanted_until_it_is_written(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two weeks long, also while everything else goes on."""
    first, second = await overdue_case(day), await assigned(day)
    push = office_push.system_push

    async def failing(pool: Any, known: Any, county: int, drafts: Any, *when: Any) -> Any:
        if any(one.body is not msgspec.UNSET and str(first.problem) in bytes(one.body).decode() for one in drafts):
            raise RuntimeError("planted")
        return await push(pool, known, county, drafts, *when)

    monkeypatch.setattr(office_push, "system_push", failing)
    for days in (1, 5, 14):
        await tick(day, DEADLINE + timedelta(days=days))
    assert {letter["subject_record"] for letter in await letters(day)} == {str(second.problem)}
    monkeypatch.undo()
    assert await tick(day, DEADLINE + timedelta(days=15)) == 3
    assert len([one for one in await letters(day) if one["subject_record"] == str(first.problem)]) == 3


async def test_a_run_that_dies_between_two_letters_is_taken_up_where_it_stood(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first letter is committed; whoever wrote it dies before saying so, and two others come at once."""
    await overdue_case(day)
    await assigned(day)
    monkeypatch.setattr(timers, "BATCH", 1)
    push, died = timers.system_push_each, asyncio.Event()

    async def dies(*given: Any) -> int:
        if died.is_set():
            raise asyncio.CancelledError
        died.set()
        return await push(*given)

    monkeypatch.setattr(timers, "system_push_each", dies)
    moment = day.world.time = DEADLINE + timedelta(days=9)
    with pytest.raises(asyncio.CancelledError):
        await run_timers(day.world.pool, await reference(day), COUNTY, moment)
    assert len(await letters(day)) == 1
    monkeypatch.undo()
    known = await reference(day)
    await asyncio.gather(*(run_timers(day.world.pool, known, COUNTY, moment) for _ in range(2)))
    assert len(await letters(day)) == 6
    versions = await day.world.pool.fetch("SELECT version FROM record WHERE kind = 'supervision'")
    assert {row["version"] for row in versions} == {1}


async def test_a_run_whose_connections_are_cut_after_the_first_letter_is_made_up_for(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when PostgreSQL dies under it: whatever the run says of it, the next one leaves nothing out and issues nothing twice."""
    await overdue_case(day)
    await assigned(day)
    known, moment = await reference(day), DEADLINE + timedelta(days=9)
    monkeypatch.setattr(timers, "BATCH", 1)
    push, cut = timers.system_push_each, asyncio.Event()

    async def severed(pool: Any, *given: Any) -> int:
        written = await push(pool, *given)
        if not cut.is_set():
            cut.set()
            await pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await pool.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            raise ConnectionResetError
        return written

    monkeypatch.setattr(timers, "system_push_each", severed)
    with pytest.raises(ConnectionResetError):
        await run_timers(day.world.pool, known, COUNTY, moment)
    assert len(await letters(day)) == 1
    await asyncio.gather(*(run_timers(day.world.pool, known, COUNTY, moment) for _ in range(2)))
    assert len(await letters(day)) == 6


async def test_a_rule_is_not_published_for_a_moment_that_was_judged_already(day: Day) -> None:
    await overdue_case(day)
    looked = DEADLINE + timedelta(days=3)
    await tick(day, looked)
    with pytest.raises(AssertionError):
        await publish(day, RuleName.COLOURS, ColoursRule(triggers=[]), looked)
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[]), looked + timedelta(microseconds=1))


async def test_catching_up_over_days_follows_every_version_that_held_meanwhile(day: Day) -> None:
    """White by the first version, yellow by the second, whose red term is long; the third is empty."""
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[OVERDUE]))
    slow = msgspec.structs.replace(YELLOW, after=Duration(hours=30))
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[slow, RED]), DEADLINE + timedelta(days=2))
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[]), DEADLINE + timedelta(days=5))
    await assigned(day)
    assert await tick(day, DEADLINE + timedelta(days=20)) == 2
    found = [(letter["colour"], letter["grounds"]["version"], letter["issued_at"]) for letter in await letters(day)]
    assert found == [("white", 1, "2026-12-02T16:00:00Z"), ("yellow", 2, "2026-12-05T22:00:00Z")]


async def test_the_history_of_letters_is_replayed_from_journal_and_rules(day: Day) -> None:
    """Nothing but the journal and the published rules gives the same letters, at the same moments."""
    case, other = await overdue_case(day), await assigned(day)
    boss = await head_of_housing(day)
    supervisor = await day.world.phone(await day.world.person("县督办", (Role.COUNTY_SUPERVISOR, "610902")))
    await tick(day, DEADLINE + timedelta(hours=25))
    await sync(boss, supervisor)
    about = {phone_letter.body["subject_record"]: phone_letter.id for phone_letter in boss.records("supervision")}
    boss.command(about[str(other.problem)], "supervision.answer", {"answer": "已整改"})
    await sync(boss, supervisor)
    supervisor.command(about[str(other.problem)], "supervision.reject_answer", args={"reason": "未见成效"})
    await sync(supervisor)
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[OVERDUE, YELLOW]), DEADLINE + timedelta(days=3))
    await case.does(case.lead, "problem.extend", {"due_on": "2026-12-06"}, reason="雨季")
    now = DEADLINE + timedelta(days=11)
    await tick(day, now)
    await tick(day, now + timedelta(minutes=1))
    standing = {
        (row["id"], body["colour"], body["issued_at"])
        for row in await day.world.pool.fetch("SELECT id, body::text AS body FROM record WHERE kind = 'supervision'")
        if (body := msgspec.json.decode(row["body"]))["lifted_because"] != "overturned"
    }
    assert len(standing) >= 4
    assert await replayed(day, now) == standing


async def coming_letter(day: Day, case: Case) -> Due:
    """What anybody can work out who knows the rule and the problem."""
    known = await reference(day)
    colours = Colours(known.rules, known.places, COUNTY)
    problem = msgspec.convert(body(case.lead, case.problem), Problem)
    (called,) = colours.of_problem(Subject(id=case.problem, unit=VILLAGE_A, problem=problem), DEADLINE + timedelta(hours=24))
    return colours.issue(called)


async def test_nobody_can_use_up_the_id_of_a_coming_letter(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    case = await overdue_case(day)
    letter = await coming_letter(day, case)
    talk = msgspec.json.encode({"unit": VILLAGE_A, "title": "宣传", "held_on": "2026-11-25"})
    case.lead._enter(COUNTY, letter.record, "activity", "create", None, body=talk)
    monkeypatch.setattr("phone.phone.uuid7", letter.mutation_id)
    case.member._enter(COUNTY, letter.record, "supervision", "supervision.acknowledge", None)
    monkeypatch.undo()
    await sync(case.member, case.lead)
    held = await day.world.pool.fetch("SELECT outcome, reason FROM journal WHERE record = $1", letter.record)
    assert [tuple(row) for row in held] == [("quarantined", "malformed")] * 2
    assert await tick(day, DEADLINE + timedelta(hours=24)) == 1
    assert [one["subject_record"] for one in await letters(day)] == [str(case.problem)]


async def test_one_letter_that_cannot_be_judged_keeps_no_other_from_being_overturned(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await overdue_case(day), await assigned(day)
    day.world.time = DEADLINE - timedelta(hours=5)
    for case in (first, second):
        photo = case.handler.add_photo(case.assignment, b"after", purpose="after")
        case.handler.command(case.assignment, "problem.submit_fix", args={"photos": [str(photo)]})
    assert await tick(day, DEADLINE + timedelta(hours=24)) == 2
    lift = colours_of_sync._overturn

    def failing(letter: Letter, about: Any, now: Any) -> Any:
        if letter.supervision.subject_record == first.problem:
            raise RuntimeError("planted")
        return lift(letter, about, now)

    monkeypatch.setattr(colours_of_sync, "_overturn", failing)
    await first.all_sync()
    await second.all_sync()
    assert await tick(day, DEADLINE + timedelta(hours=25)) == 1
    lifted = {one["subject_record"] for one in await letters(day) if one["lifted_because"] == "overturned"}
    assert lifted == {str(second.problem)}


async def test_an_id_that_is_taken_by_another_keeps_no_letter_back(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await overdue_case(day), await assigned(day)
    push = office_push.system_push

    async def colliding(pool: Any, known: Any, county: int, drafts: Any, now: Any, captured: Any = None) -> Any:
        if any(one.body is not msgspec.UNSET and str(first.problem) in bytes(one.body).decode() for one in drafts):
            raise ConflictOfIds(ProblemCode.CONFLICTING_STATE, "a mutation of another device has this id", field="id")
        return await push(pool, known, county, drafts, now, captured)

    monkeypatch.setattr(office_push, "system_push", colliding)
    assert await tick(day, DEADLINE + timedelta(hours=24)) == 1
    assert {letter["subject_record"] for letter in await letters(day)} == {str(second.problem)}


async def replayed(day: Day, now: Any) -> set[tuple[RecordId, str, str]]:
    """What the rules call for, by records rebuilt from the journal alone."""
    rebuilt: dict[str, dict[RecordId, Any]] = {"problem": {}, "supervision": {}}
    entries: dict[RecordId, list[Recorded]] = {}
    kinds: dict[RecordId, str] = {}
    for row in await day.world.pool.fetch(SQL_FETCH_RECORDED, COUNTY):
        kinds[row["record"]] = row["kind"]
        entry = Recorded(
            record=row["record"],
            version=(row["incarnation"], row["version"]),
            stream=row["stream"],
            deleted=row["deleted"],
            patch=msgspec.json.decode(row["patch"]) if row["patch"] is not None else None,
            raw=row["raw"],
        )
        entries.setdefault(row["record"], []).append(entry)
    for record, story in entries.items():
        if kinds[record] in rebuilt:
            rebuilt[kinds[record]][record] = replay(story)
    known = await reference(day)
    colours = Colours(known.rules, known.places, COUNTY)
    subjects = {
        i: Subject(id=i, unit=str(one.stream).partition(".")[0], problem=msgspec.convert(one.body, Problem))
        for i, one in rebuilt["problem"].items()
    }
    letters_then = [Letter(id=i, supervision=msgspec.convert(one.body, Supervision)) for i, one in rebuilt["supervision"].items()]
    called = [one for subject in subjects.values() for one in colours.of_problem(subject, now)]
    for letter in letters_then:
        called += colours.after_letter(letter, subjects.get(letter.supervision.subject_record), now)  # type: ignore[arg-type]
    return {(one.id, one.trigger.colour.value, one.moment.isoformat().replace("+00:00", "Z")) for one in called}
