"""白黄红 and reminders: rules as dated versions, timers that are exact after downtime and never issue twice."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from contracts.ids import RecordId
from contracts.outcomes import Outcome
from contracts.people import Role
from contracts.rules import Colour, ColoursRule, ColourTrigger, Duration, LookBackRule, PublishRule, RemindersRule, RuleName
from phone.phone import Phone
from storage import office_push
from storage.reference import Reference, reference_of
from storage.rules import insert_rule, load_rules
from storage.timers import run_timers
from storage.units import load_units
from sync.places import Places
from tests.stories.day import Day, body, result, sync
from tests.stories.test_problem import CHECKED, Case, assigned
from tests.world import COUNTY, DEPARTMENT, MORNING

DEADLINE = datetime(2026, 12, 1, 16, 0, tzinfo=UTC)  # the end of 2026-12-01 in China
OVERDUE = ColourTrigger(key="overdue", colour=Colour.WHITE, fact="overdue", after=Duration(hours=24), answer_within=Duration(hours=48))
YELLOW = ColourTrigger(key="silent", colour=Colour.YELLOW, fact="unanswered", after=Duration(hours=1), answer_within=Duration(hours=24))
RED = ColourTrigger(key="still_silent", colour=Colour.RED, fact="unanswered", after=Duration(hours=1))


async def publish(day: Day, name: RuleName, rule: msgspec.Struct, starts: datetime = MORNING) -> None:
    async with day.world.pool.acquire() as conn:
        wanted = PublishRule(county=COUNTY, name=name, starts=starts, body=msgspec.to_builtins(rule))
        assert await insert_rule(conn, wanted, None, starts) is not None


async def reference(day: Day) -> Reference:
    return reference_of(Places((await load_units(day.world.pool)).values()), await load_rules(day.world.pool))


async def tick(day: Day, moment: datetime) -> int:
    """The worker's timer, at a moment of the server's clock."""
    day.world.time = moment
    return await run_timers(day.world.pool, await reference(day), COUNTY, moment)


async def letters(day: Day) -> list[dict[str, Any]]:
    rows = await day.world.pool.fetch("SELECT body FROM record WHERE kind = 'supervision' AND NOT deleted")
    return sorted((msgspec.json.decode(row["body"]) for row in rows), key=lambda letter: letter["issued_at"])


async def head_of_housing(day: Day) -> Phone:
    return await day.world.phone(await day.world.person("住建局长", (Role.DEPARTMENT_LEAD, DEPARTMENT)))


async def overdue_case(day: Day) -> Case:
    """Assigned to the housing bureau until 2026-12-01, with the rule published."""
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[OVERDUE, YELLOW, RED]))
    return await assigned(day)


async def test_no_rule_no_letter(day: Day) -> None:
    await assigned(day)
    assert await tick(day, DEADLINE + timedelta(days=30)) == 0
    assert await letters(day) == []


async def test_an_overdue_problem_turns_white_at_the_exact_moment_and_once(day: Day) -> None:
    await overdue_case(day)
    assert await tick(day, DEADLINE + timedelta(hours=23, minutes=59)) == 0
    assert await tick(day, DEADLINE + timedelta(hours=24)) == 1
    assert await tick(day, DEADLINE + timedelta(hours=25)) == 0
    (letter,) = await letters(day)
    assert (letter["colour"], letter["unit"], letter["state"]) == ("white", DEPARTMENT, "issued")
    assert letter["grounds"] == {
        "county": COUNTY,
        "rule": "colours",
        "version": 1,
        "trigger": "overdue",
        "fact": "overdue",
        "facts": {"due_on": "2026-12-01"},
        "since": "2026-12-01T16:00:00+00:00",
        "due_moment": "2026-12-02T16:00:00+00:00",
    }


async def test_downtime_issues_every_colour_at_the_moment_it_was_due(day: Day) -> None:
    await overdue_case(day)
    assert await tick(day, DEADLINE + timedelta(days=20)) == 3
    found = [(letter["colour"], letter["issued_at"]) for letter in await letters(day)]
    assert found == [
        ("white", "2026-12-02T16:00:00Z"),
        ("yellow", "2026-12-04T17:00:00Z"),
        ("red", "2026-12-05T18:00:00Z"),
    ]
    assert await tick(day, DEADLINE + timedelta(days=21)) == 0


async def test_two_workers_issue_once(day: Day) -> None:
    await overdue_case(day)
    moment = day.world.time = DEADLINE + timedelta(days=2)
    known = await reference(day)
    await asyncio.gather(*(run_timers(day.world.pool, known, COUNTY, moment) for _ in range(4)))
    assert len(await letters(day)) == 1
    versions = await day.world.pool.fetch("SELECT version FROM record WHERE kind = 'supervision'")
    assert [row["version"] for row in versions] == [1]


async def test_a_clock_set_back_issues_nothing_again(day: Day) -> None:
    await overdue_case(day)
    await tick(day, DEADLINE + timedelta(days=2))
    assert await tick(day, DEADLINE - timedelta(days=5)) == 0
    assert await tick(day, DEADLINE + timedelta(days=2)) == 0
    assert len(await letters(day)) == 1


async def test_a_fix_in_time_that_arrives_late_overturns_the_letter(day: Day) -> None:
    case = await overdue_case(day)
    day.world.time = DEADLINE - timedelta(hours=5)
    photo = case.handler.add_photo(case.assignment, b"after", purpose="after")
    made = case.handler.command(case.assignment, "problem.submit_fix", args={"photos": [str(photo)]})
    assert await tick(day, DEADLINE + timedelta(hours=30)) == 1  # the handler has no signal yet
    await case.all_sync()
    await case.all_sync()
    assert result(case.handler, made)[0] in (Outcome.APPLIED, Outcome.MERGED)
    assert await tick(day, DEADLINE + timedelta(hours=31)) == 1
    (letter,) = await letters(day)
    assert (letter["state"], letter["lifted_because"]) == ("lifted", "overturned")
    assert [step["command"] for step in letter["steps"]] == ["supervision.lift"]


async def test_a_fix_before_the_deadline_prevents_the_letter(day: Day) -> None:
    case = await overdue_case(day)
    await case.fix()
    assert await tick(day, DEADLINE + timedelta(days=9)) == 0


async def test_a_suspended_problem_is_not_overdue(day: Day) -> None:
    case = await overdue_case(day)
    await case.does(case.lead, "problem.suspend", {"suspended_until": "2027-01-31"}, reason="冰冻")
    assert await tick(day, DEADLINE + timedelta(days=9)) == 0


async def test_a_letter_is_acknowledged_answered_and_lifted_by_phone(day: Day) -> None:
    case = await overdue_case(day)
    await tick(day, DEADLINE + timedelta(hours=24))
    boss = await head_of_housing(day)
    supervisor = await day.world.phone(await day.world.person("县督办", (Role.COUNTY_SUPERVISOR, "610902")))
    await sync(boss, supervisor)
    letter: RecordId = boss.records("supervision")[0].id
    boss.command(letter, "supervision.acknowledge")
    answered = boss.command(letter, "supervision.answer", {"answer": "已调集洒水车，三日内完成"})
    await sync(boss, supervisor)
    assert result(boss, answered)[0] in (Outcome.APPLIED, Outcome.MERGED)
    # an answer stops the next colour
    assert await tick(day, DEADLINE + timedelta(days=10)) == 0
    lifted = supervisor.command(letter, "supervision.lift", {"lifted_because": "answered"})
    await sync(supervisor, boss)
    assert result(supervisor, lifted) == (Outcome.APPLIED, "ok")
    assert body(boss, letter)["state"] == "lifted"
    assert case.state == "assigned", "a letter changes nothing about the problem"


async def test_a_rule_holds_from_its_day_on(day: Day) -> None:
    """A version that starts later says nothing about moments before it."""
    await assigned(day)
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[OVERDUE]), DEADLINE + timedelta(days=5))
    assert await tick(day, DEADLINE + timedelta(days=30)) == 0


async def test_a_count_of_returns_turns_yellow(day: Day) -> None:
    trigger = ColourTrigger(key="twice", colour=Colour.YELLOW, fact="returned", count=2)
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[trigger]))
    case = await assigned(day)
    for note in ("一", "二"):
        assert await tick(day, day.world.time + timedelta(minutes=1)) == 0
        await case.fix(note)
        await case.does(case.lead, "problem.return", reason="perfunctory", note=note)
    assert await tick(day, day.world.time + timedelta(minutes=1)) == 1
    (letter,) = await letters(day)
    assert (letter["colour"], letter["grounds"]["facts"]) == ("yellow", {"returns": 2})


async def test_a_reminder_comes_before_the_deadline_once_and_not_after_it(day: Day) -> None:
    case = await assigned(day)
    await publish(day, RuleName.REMINDERS, RemindersRule(before=[Duration(hours=72)]))
    assert await tick(day, DEADLINE - timedelta(hours=73)) == 0
    assert await tick(day, DEADLINE - timedelta(hours=71)) == 1
    assert await tick(day, DEADLINE - timedelta(hours=1)) == 0
    await case.all_sync()
    assert body(case.lead, case.problem)["steps"][-1]["command"] == "problem.remind"


async def test_a_look_back_becomes_a_task_when_its_time_comes(day: Day) -> None:
    await publish(day, RuleName.LOOK_BACK, LookBackRule(after=Duration(hours=240)))
    case = await assigned(day)
    await case.fix()
    await case.does(case.lead, "problem.accept", **CHECKED)
    await case.does(case.lead, "problem.close_out")
    closed = day.world.time
    assert await tick(day, closed + timedelta(hours=239)) == 0
    assert await tick(day, closed + timedelta(hours=241)) == 1
    await case.all_sync()
    assert [task.body["title"] for task in case.member.records("task")] == ["回头看：洒水100%：否"]


async def test_one_bad_record_keeps_no_letter_back(day: Day) -> None:
    case = await overdue_case(day)
    await day.world.pool.execute('UPDATE record SET body = \'{"title": 7, "due_on": "2026-11-25"}\' WHERE id = $1', case.problem)
    other = await assigned(day)
    assert other.state == "assigned"
    assert await tick(day, DEADLINE + timedelta(hours=24)) == 1


async def test_a_write_that_fails_keeps_no_other_back(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server fails at one of two letters; the other is issued, and the failed one is wanted again."""
    first, second = await overdue_case(day), await assigned(day)
    broken = office_push.system_push

    async def failing(pool: Any, known: Any, county: int, drafts: Any, now: datetime, captured: datetime | None = None) -> Any:
        if any(draft.body is not msgspec.UNSET and str(first.problem) in bytes(draft.body).decode() for draft in drafts):
            raise RuntimeError("planted")
        return await broken(pool, known, county, drafts, now, captured)

    monkeypatch.setattr(office_push, "system_push", failing)
    assert await tick(day, DEADLINE + timedelta(hours=24)) == 1
    assert [letter["subject_record"] for letter in await letters(day)] == [str(second.problem)]
    monkeypatch.undo()
    assert await tick(day, DEADLINE + timedelta(hours=24)) == 1


async def test_letters_that_followed_an_overturned_one_are_lifted_with_it(day: Day) -> None:
    case = await overdue_case(day)
    day.world.time = DEADLINE - timedelta(hours=5)
    photo = case.handler.add_photo(case.assignment, b"after", purpose="after")
    case.handler.command(case.assignment, "problem.submit_fix", args={"photos": [str(photo)]})
    assert await tick(day, DEADLINE + timedelta(days=9)) == 3  # white, yellow and red, while the handler has no signal
    await case.all_sync()
    assert await tick(day, DEADLINE + timedelta(days=9, hours=1)) == 3
    assert {(letter["state"], letter["lifted_because"]) for letter in await letters(day)} == {("lifted", "overturned")}


async def test_a_suspension_ends_by_itself_as_of_its_limit_however_late_the_timer_runs(day: Day) -> None:
    case = await assigned(day)
    assert await case.does(case.lead, "problem.suspend", {"suspended_until": "2026-12-10"}, reason="冰冻") == (Outcome.APPLIED, "ok")
    limit = datetime(2026, 12, 10, 16, tzinfo=UTC)
    assert await tick(day, limit - timedelta(seconds=1)) == 0
    assert case.state == "suspended"
    assert await tick(day, limit + timedelta(days=5)) == 1
    assert await tick(day, limit + timedelta(days=5)) == 0
    await case.all_sync()
    step = body(case.lead, case.problem)["steps"][-1]
    assert (case.state, step["command"], step["args"]) == ("assigned", "problem.resume", {"limit": "2026-12-10"})
    assert datetime.fromisoformat(step["captured_at"]) == limit
    assert body(case.handler, case.assignment)["state"] == "assigned"


async def test_a_problem_that_is_suspended_again_to_the_same_day_resumes_again(day: Day) -> None:
    """Resumed by the timer; then the phone of somebody comes by who had suspended it, too, before that day."""
    case, other = await assigned(day), await day.lead("另一负责人")
    await sync(other)
    assert await case.does(case.lead, "problem.suspend", {"suspended_until": "2026-12-10"}, reason="冰冻") == (Outcome.APPLIED, "ok")
    late = other.command(case.problem, "problem.suspend", {"suspended_until": "2026-12-10"}, args={"reason": "冰冻"})
    limit = datetime(2026, 12, 10, 16, tzinfo=UTC)
    assert await tick(day, limit + timedelta(minutes=1)) == 1
    await sync(other)
    await case.all_sync()
    assert (result(other, late)[0], case.state) == (Outcome.MERGED, "suspended")
    assert await tick(day, limit + timedelta(minutes=2)) == 1
    await case.all_sync()
    assert case.state == "assigned"
