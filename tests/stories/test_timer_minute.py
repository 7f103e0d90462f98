"""The timers' minute: it reads what changed or fell due, and nothing else; what it knows of the next moment is never out of date."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from contracts.outcomes import Outcome
from contracts.people import Level, Role, Unit
from contracts.rules import Colour, ColoursRule, ColourTrigger, Duration, RemindersRule, RuleName
from storage import families, timer_due, timers
from storage.pool import Pool
from storage.timer_due import fetch_due, judge_by, settle
from storage.units import upsert_units
from sync.due import basis_of
from sync.judging import judge
from tests.carrying import OTHER_VILLAGE, carry_all
from tests.stories.day import Day, body, sync
from tests.stories.test_colours import DEADLINE, OVERDUE, RED, YELLOW, head_of_housing, letters, overdue_case, publish, reference, tick
from tests.stories.test_letters import does, issue, supervisor
from tests.stories.test_problem import CHECKED, Case, assigned
from tests.stories.test_whistle import APPLIED, blown
from tests.stories.test_whistle_ways import with_clocks
from tests.world import COUNTY, DEPARTMENT, MORNING


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many rows each statement of the timers has brought, and how often it was asked."""
    rows: Counter[str] = Counter()
    fetch = asyncpg.Pool.fetch
    names = {sql: name for module in (families, timer_due, timers) for name, sql in vars(module).items() if name.startswith("SQL_")}

    async def counted(self: asyncpg.Pool, query: str, *args: Any, **options: Any) -> Any:
        found = await fetch(self, query, *args, **options)
        if query in names:
            rows[names[query]] += len(found)
            rows["statements"] += 1
        return found

    monkeypatch.setattr(asyncpg.Pool, "fetch", counted)
    return rows


async def next_at(day: Day, record: Any) -> Any:
    return await day.world.pool.fetchval("SELECT due_at FROM timer_due WHERE county = $1 AND record = $2", COUNTY, record)


async def test_a_quiet_minute_reads_no_record_however_many_there_are(day: Day, read: Counter[str]) -> None:
    await publish(day, RuleName.REMINDERS, RemindersRule(before=[Duration(hours=10)]))
    first = await overdue_case(day)
    for _ in range(3):
        await assigned(day)
    assert await tick(day, DEADLINE - timedelta(hours=20)) == 0
    assert read["SQL_FETCH_ROOTS"] == 4, "all are new"
    read.clear()
    for minute in range(5):
        assert await tick(day, DEADLINE - timedelta(hours=20) + timedelta(minutes=minute)) == 0
    assert read == {"SQL_FETCH_DUE": 0, "statements": 5}
    assert await first.does(first.lead, "problem.extend", {"due_on": "2026-12-20"}, reason="雨季") == (Outcome.APPLIED, "ok")
    read.clear()
    assert await tick(day, DEADLINE - timedelta(hours=19)) == 0
    assert read["SQL_FETCH_ROOTS"] == 1, "one was changed"
    assert await tick(day, DEADLINE - timedelta(hours=10)) == 3
    read.clear()
    assert await tick(day, DEADLINE + timedelta(hours=23)) == 0
    assert read == {"SQL_FETCH_DUE": 0, "statements": 1}
    assert await tick(day, DEADLINE + timedelta(hours=24)) == 3


async def test_every_record_knows_its_next_moment_and_what_has_none_has_no_row(day: Day) -> None:
    case = await overdue_case(day)
    await tick(day, DEADLINE - timedelta(hours=20))
    assert await next_at(day, case.problem) == DEADLINE + timedelta(hours=24)
    await case.fix()
    await tick(day, DEADLINE - timedelta(hours=19))
    assert await next_at(day, case.problem) is None
    await case.does(case.lead, "problem.return", reason="surface", note="只洒了门口")
    await tick(day, DEADLINE - timedelta(hours=18))
    assert await next_at(day, case.problem) == DEADLINE + timedelta(hours=24)


async def test_a_letter_that_is_answered_or_sent_back_changes_the_next_moment(day: Day) -> None:
    case, boss, county = await overdue_case(day), await head_of_housing(day), await supervisor(day)
    await tick(day, DEADLINE + timedelta(hours=24))
    assert await next_at(day, case.problem) == DEADLINE + timedelta(hours=24 + 48 + 1)
    await sync(boss, county)
    (letter,) = [one.id for one in boss.records("supervision")]
    await does(boss, letter, "answer", {"answer": "已调集洒水车"})
    assert await tick(day, DEADLINE + timedelta(hours=25)) == 0
    assert await next_at(day, case.problem) is None
    day.world.time = DEADLINE + timedelta(hours=90)
    await does(county, letter, "reject_answer", reason="未见成效")
    assert await tick(day, DEADLINE + timedelta(hours=91)) == 1
    assert [one["colour"] for one in await letters(day)] == ["white", "yellow"]


async def test_a_version_that_comes_when_a_moment_is_known_already_moves_it(day: Day) -> None:
    slow = msgspec.structs.replace(OVERDUE, after=Duration(hours=72))
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[slow]))
    case = await assigned(day)
    await tick(day, DEADLINE + timedelta(hours=1))
    assert await next_at(day, case.problem) == DEADLINE + timedelta(hours=72)
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[OVERDUE]), DEADLINE + timedelta(hours=40))
    assert await tick(day, DEADLINE + timedelta(hours=39)) == 0
    assert await next_at(day, case.problem) == DEADLINE + timedelta(hours=40)
    assert await tick(day, DEADLINE + timedelta(hours=40)) == 1


async def test_a_version_that_concerns_what_was_closed_finds_it(day: Day) -> None:
    """Returned twice before there was any rule about it: the term of the new one has not ended."""
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[OVERDUE]))
    case = await assigned(day)
    for note in ("一", "二"):
        await case.fix(note)
        await case.does(case.lead, "problem.return", reason="perfunctory", note=note)
    await case.fix("三")
    await tick(day, MORNING + timedelta(hours=1))
    assert await next_at(day, case.problem) is None
    twice = ColourTrigger(key="twice", colour=Colour.YELLOW, fact="returned", count=2, after=Duration(hours=48))
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[twice]), MORNING + timedelta(hours=2))
    assert await tick(day, MORNING + timedelta(hours=47)) == 0
    assert await tick(day, MORNING + timedelta(hours=49)) == 1


async def test_a_unit_that_was_unknown_is_written_to_when_it_is_known(day: Day) -> None:
    case = await overdue_case(day)
    await day.world.pool.execute(
        "UPDATE record SET body = replace(body::text, $2, '610902-new')::json WHERE id = $1", case.problem, DEPARTMENT
    )
    assert await tick(day, DEADLINE + timedelta(hours=24)) == 0
    async with day.world.pool.acquire() as conn:
        await upsert_units(conn, [Unit(code="610902-new", county=COUNTY, parent="610902", level=Level.DEPARTMENT, name="新局")])
    assert await tick(day, DEADLINE + timedelta(hours=25)) == 1


async def test_what_changes_between_reading_and_settling_is_judged_again(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    case = await overdue_case(day)
    await case.fix()

    async def returned_meanwhile(*given: Any) -> None:
        monkeypatch.setattr(timers, "settle", settle)
        await case.does(case.lead, "problem.return", reason="surface", note="只洒了门口")
        await settle(*given)

    monkeypatch.setattr(timers, "settle", returned_meanwhile)
    assert await tick(day, DEADLINE - timedelta(hours=9)) == 0
    assert [mark.record for mark in await fetch_due(day.world.pool, COUNTY, MORNING)] == [case.problem]
    assert await tick(day, DEADLINE + timedelta(hours=24)) == 1


async def test_who_judged_by_other_rules_settles_nothing(day: Day) -> None:
    """Two workers, of which one has read the rules before they were published and is slow."""
    case = await overdue_case(day)
    pool, known = day.world.pool, await reference(day)
    await tick(day, MORNING)
    old = basis_of(known.rules, known.places)
    await judge_by(pool, COUNTY, "newer", MORNING)
    marks = await fetch_due(pool, COUNTY, MORNING)  # it reads what the other has marked already
    assert [mark.record for mark in marks] == [case.problem]
    await settle(pool, COUNTY, old, [(mark, None) for mark in marks])
    assert await fetch_due(pool, COUNTY, MORNING) == marks
    await settle(pool, COUNTY, "newer", [(marks[0], DEADLINE)])
    assert (await fetch_due(pool, COUNTY, MORNING), await next_at(day, case.problem)) == ([], DEADLINE)


async def test_who_settles_waits_for_who_changes_the_basis(day: Day) -> None:
    case = await overdue_case(day)
    pool, known = day.world.pool, await reference(day)
    old = basis_of(known.rules, known.places)
    await tick(day, MORNING)
    await judge_by(pool, COUNTY, "older", MORNING)
    await judge_by(pool, COUNTY, old, MORNING)
    marks = await fetch_due(pool, COUNTY, MORNING)
    async with pool.acquire() as conn, conn.transaction():
        assert await conn.fetchval(timer_due.SQL_SET_BASIS, COUNTY, "newer") == COUNTY
        settling = asyncio.create_task(settle(pool, COUNTY, old, [(mark, None) for mark in marks]))
        await waiting(pool)
        await conn.execute(timer_due.SQL_MARK_ALL, COUNTY, MORNING)
    await settling
    assert [mark.record for mark in await fetch_due(pool, COUNTY, MORNING)] == [case.problem]


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def waiting(pool: Pool) -> None:
    while not await pool.fetchval(WAITING):  # noqa: ASYNC110 - the other side is a database
        await asyncio.sleep(0.01)


async def test_many_who_change_and_judge_at_once_lock_in_one_order(day: Day) -> None:
    """Pushes of several problems, runs, and new bases beside each other: nothing deadlocks, and nothing is left out."""
    cases = [await overdue_case(day), *[await assigned(day) for _ in range(3)]]
    pool, known = day.world.pool, await reference(day)
    moment = day.world.time = DEADLINE + timedelta(hours=24)
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"

    async def rebase(k: int) -> None:
        await judge_by(pool, COUNTY, f"basis {k}", moment)

    async def extend() -> None:
        for case in cases:
            case.lead.command(case.problem, "problem.remind", args={"note": "催办"})
        await sync(cases[0].lead)

    await asyncio.gather(*(timers.run_timers(pool, known, COUNTY, moment) for _ in range(3)), *(rebase(k) for k in range(5)), extend())
    await timers.run_timers(pool, known, COUNTY, moment)
    assert len(await letters(day)) == 4
    assert await pool.fetchval(deadlocks) == 0
    assert await fetch_due(pool, COUNTY, moment) == []


async def test_a_write_that_fails_stays_due_and_the_next_moment_of_others_is_known(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    case = await overdue_case(day)

    async def failing(*_given: Any) -> int:
        raise asyncpg.ConnectionDoesNotExistError("planted")

    monkeypatch.setattr(timers, "system_push_each", failing)
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await tick(day, DEADLINE + timedelta(hours=24))
    monkeypatch.undo()
    assert [mark.record for mark in await fetch_due(day.world.pool, COUNTY, MORNING)] == [case.problem]
    assert await tick(day, DEADLINE + timedelta(hours=24)) == 1


# ------------------------------------------------------------------------------------------------ what cannot be judged


STRANGE = "UPDATE record SET body = jsonb_set(body::jsonb, $2::text[], $3::jsonb)::json WHERE id = $1"


async def done_until(day: Day) -> Any:
    return await day.world.pool.fetchval("SELECT done_until FROM timer_run WHERE county = $1", COUNTY)


@pytest.mark.parametrize(
    ("path", "strange"),
    [
        (["steps", "0", "at"], '"lately"'),
        (["due_on"], '"soon"'),
        (["leads"], '"everybody"'),
        (["suspended_until"], "7"),
        (["look_back_on"], "[]"),
        (["unit"], "7"),
    ],
)
async def test_what_cannot_be_read_is_left_unjudged_and_the_county_is_behind_until_it_can(day: Day, path: list[str], strange: str) -> None:
    case = await overdue_case(day)
    await case.fix()
    other, pool = await assigned(day), day.world.pool
    await tick(day, DEADLINE - timedelta(hours=9))
    before, body = await done_until(day), await pool.fetchval("SELECT body FROM record WHERE id = $1", case.problem)
    await judge_by(pool, COUNTY, "others", MORNING)  # and so is judged again
    await pool.execute(STRANGE, case.problem, path, strange)
    moment = DEADLINE + timedelta(hours=24)
    assert await tick(day, moment) == 1
    assert [letter["subject_record"] for letter in await letters(day)] == [str(other.problem)], "none to who has handed in"
    assert [mark.record for mark in await fetch_due(pool, COUNTY, moment)] == [case.problem]
    assert await done_until(day) == before
    await pool.execute("UPDATE record SET body = $2 WHERE id = $1", case.problem, body)  # by mended code it can be read
    assert await tick(day, moment) == 0
    assert (await fetch_due(pool, COUNTY, moment), await done_until(day)) == ([], moment)


async def test_a_letter_that_cannot_be_read_leaves_what_it_is_about_unjudged(day: Day) -> None:
    case = await overdue_case(day)
    moment = DEADLINE + timedelta(hours=24)
    assert await tick(day, moment) == 1
    letter = await day.world.pool.fetchval("SELECT id FROM record WHERE kind = 'supervision'")
    await day.world.pool.execute(STRANGE, letter, ["due_at"], '"soon"')
    assert await tick(day, DEADLINE + timedelta(days=9)) == 0
    assert [mark.record for mark in await fetch_due(day.world.pool, COUNTY, DEADLINE + timedelta(days=9))] == [case.problem]
    assert await done_until(day) == moment


async def test_what_judging_fails_at_leaves_the_county_behind(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    case, other = await overdue_case(day), await assigned(day)
    await tick(day, MORNING)

    def failing(family: Any, *given: Any) -> Any:
        if family.root == case.problem:
            raise RuntimeError("planted")
        return judge(family, *given)

    monkeypatch.setattr(timers, "judge", failing)
    moment = DEADLINE + timedelta(hours=24)
    assert await tick(day, moment) == 1
    assert [letter["subject_record"] for letter in await letters(day)] == [str(other.problem)]
    assert await done_until(day) == MORNING
    monkeypatch.undo()
    assert (await tick(day, moment), await done_until(day)) == (1, moment)


# ------------------------------------------------------------------------------------------------ what has ended


async def closed(case: Case) -> None:
    await case.fix()
    await case.does(case.lead, "problem.accept", **CHECKED)
    await case.does(case.lead, "problem.close_out")
    assert case.state == "closed_out"


async def lifted(day: Day) -> list[tuple[str, str | None]]:
    return [(letter.get("state", "issued"), letter.get("lifted_because")) for letter in await letters(day)]


async def test_a_letter_of_a_rule_ends_with_what_it_presses_for(day: Day) -> None:
    case = await overdue_case(day)
    await tick(day, DEADLINE + timedelta(days=9))
    assert len(await letters(day)) == 3
    await closed(case)
    assert await tick(day, DEADLINE + timedelta(days=10)) == 3
    assert await lifted(day) == [("lifted", "closed")] * 3
    assert await tick(day, DEADLINE + timedelta(days=11)) == 0


async def test_after_downtime_a_letter_is_issued_and_lifted_though_all_is_over(day: Day) -> None:
    """It belongs to the history: the deadline was missed."""
    case = await overdue_case(day)
    day.world.time = DEADLINE + timedelta(hours=30)
    await closed(case)
    assert await tick(day, DEADLINE + timedelta(days=9)) == 2
    (letter,) = await letters(day)
    assert (letter["colour"], letter["issued_at"], letter["lifted_because"]) == ("white", "2026-12-02T16:00:00Z", "closed")


async def test_a_rebound_is_written_about_anew_and_what_was_lifted_stays_so(day: Day) -> None:
    case = await overdue_case(day)
    await tick(day, DEADLINE + timedelta(hours=24))
    day.world.time = DEADLINE + timedelta(hours=25)
    await closed(case)
    await tick(day, DEADLINE + timedelta(hours=26))
    await case.does(case.lead, "problem.rebound", {"due_on": "2026-12-20"}, reason="rebound")
    assert await tick(day, DEADLINE + timedelta(days=19, hours=25)) == 1
    assert await lifted(day) == [("lifted", "closed"), ("issued", None)]


async def test_a_letter_by_hand_about_what_was_done_waits_for_who_issued_it(day: Day) -> None:
    case, county = await assigned(day), await supervisor(day)
    letter = await issue(county, subject_record=str(case.problem), subject_kind="problem")
    await closed(case)
    assert await tick(day, MORNING + timedelta(days=1)) == 0
    assert await lifted(day) == [("issued", None)]
    assert await does(county, letter, "lift", {"lifted_because": "closed"}) == (Outcome.APPLIED, "ok")


async def test_letters_end_with_a_summons_that_is_released_and_a_whistle_that_is_withdrawn(day: Day) -> None:
    await with_clocks(day)
    called, county = await blown(day), await supervisor(day)
    await tick(day, MORNING + timedelta(hours=3))
    assert [letter["grounds"]["facts"]["clock"] for letter in await letters(day)] == ["sign", "sign"]
    by_hand = await issue(county, subject_record=str(called.whistle), subject_kind="whistle", text="限时反馈")
    day.at(200)
    assert await called.does(called.lead, called.whistle, "whistle.release", unit=DEPARTMENT, reason="不涉及") == APPLIED
    assert await tick(day, MORNING + timedelta(hours=3, minutes=30)) == 1
    assert Counter(await lifted(day)) == {("lifted", "closed"): 1, ("issued", None): 2}
    assert await called.does(called.lead, called.whistle, "whistle.withdraw", reason="误报") == APPLIED
    assert await tick(day, MORNING + timedelta(hours=3, minutes=40)) == 2
    assert Counter(await lifted(day)) == {("lifted", "closed"): 3}
    await sync(county)
    assert body(county, by_hand)["lifted_because"] == "closed"


async def test_letters_end_when_their_problem_is_another_countys(day: Day) -> None:
    case = await overdue_case(day)
    await tick(day, DEADLINE + timedelta(hours=24))
    given = await day.world.phone(await day.world.person("县督办", (Role.COUNTY_SUPERVISOR, str(COUNTY))))
    await sync(given)
    given.edit(case.problem, {"unit": OTHER_VILLAGE})
    await sync(given)
    await carry_all(day.world)
    assert await tick(day, DEADLINE + timedelta(days=9)) == 1
    assert await lifted(day) == [("lifted", "closed")]
    (step,) = (await letters(day))[0]["steps"]
    assert step["args"]["is_done"] is False


# ------------------------------------------------------------------------------------------------ letters about no record


async def a_chain(day: Day) -> tuple[Any, Any, Any]:
    """(who issued the first letter, whose answer has no signal yet, the letter): by hand, about no record; white, yellow, red by now."""
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[OVERDUE, YELLOW, RED]))
    county, boss = await supervisor(day), await head_of_housing(day)
    first = await issue(county, colour="white", due_at="2026-12-01T10:00:00Z")
    await sync(boss)
    boss.command(first, "supervision.answer", {"answer": "已整改"})
    assert await tick(day, DEADLINE + timedelta(days=9)) == 2
    assert [letter["colour"] for letter in await letters(day)] == ["white", "yellow", "red"]
    return county, boss, first


async def test_letters_that_followed_one_about_no_record_are_lifted_with_it(day: Day) -> None:
    county, _, first = await a_chain(day)
    assert {letter.get("subject_record") for letter in await letters(day)} == {None, str(first)}
    assert await does(county, first, "lift", {"lifted_because": "mistaken"}) == (Outcome.APPLIED, "ok")
    assert await tick(day, DEADLINE + timedelta(days=10)) == 2
    assert await lifted(day) == [("lifted", "mistaken"), *[("lifted", "overturned")] * 2]


async def test_an_answer_in_time_that_arrives_late_overturns_what_followed_a_letter_about_no_record(day: Day) -> None:
    _, boss, _ = await a_chain(day)
    await sync(boss)
    assert await tick(day, DEADLINE + timedelta(days=10)) == 2
    assert await lifted(day) == [("answered", None), *[("lifted", "overturned")] * 2]
