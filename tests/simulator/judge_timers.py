"""Promise 12, what falls due by itself is done once, at its own moment, under the rule of that moment, however late a worker came."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone

from tests.simulator.testimony import EPOCH, Json, Rule, ServerRecord, ServerView, Violation

PROMISE = 12
CHINA = timezone(timedelta(hours=8))
FIXES = frozenset({"problem.submit_fix", "problem.fix_on_spot"})
ACCEPTS = "problem.accept"
UNDOES = frozenset({"problem.return", "problem.rebound", "problem.assign"})
MOVES_DEADLINE = frozenset({"problem.assign", "problem.extend", "problem.return", "problem.rebound"})
NEXT = {"yellow": "white", "red": "yellow"}
# A clock of a summons -> what stops it.
STOPS = {
    "sign_due_at": {"summons.sign", "summons.report_in", "summons.result", "summons.refuse"},
    "report_in_due_at": {"summons.report_in", "summons.result", "summons.refuse"},
    "result_due_at": {"summons.result", "summons.refuse"},
}
REMINDER = "整改期限"
INSTANT = timedelta(microseconds=1)


def judge_timers(server: ServerView) -> Iterator[Violation]:
    """After the workers have caught up, at a quiet point."""
    rules = _Rules(server.rules)
    live = [record for record in server.records.values() if record.moved_to is None and not record.deleted]
    letters = [r for r in live if r.kind == "supervision" and (r.body.get("grounds") or {}).get("rule") == "colours"]
    by_id = {record.id: record for record in live}
    yield from _once(letters)
    for letter in letters:
        yield from _grounded(letter, rules, by_id, server.now)
    issued = _Issued(letters)
    for record in live:
        if record.kind == "problem":
            yield from _late(record, rules, issued, server.now)
            yield from _reminded(record)
            yield from _looked_back(record, rules, server)
        if record.kind == "summons":
            yield from _absent(record, rules, issued, server.now)
        if record.kind == "plan":
            yield from _planned(record, server)


class _Rules:
    """Which version held when; read anew from the table, as somebody would who never saw the server's code."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._versions = defaultdict(list)
        for rule in sorted(rules, key=lambda r: (r.starts, r.version)):
            self._versions[rule.county, rule.name].append(rule)

    def at(self, county: int, name: str, when: datetime) -> Rule | None:
        held = [rule for rule in self._versions[county, name] if rule.starts <= when]
        return held[-1] if held else None

    def triggers(self, county: int, fact: str) -> Iterator[tuple[Rule, dict[str, Json]]]:
        for rule in self._versions[county, "colours"]:
            yield from ((rule, trigger) for trigger in rule.body["triggers"] if trigger["fact"] == fact)


def _hours(trigger: dict[str, Json]) -> timedelta:
    return timedelta(hours=(trigger.get("after") or {}).get("hours", 0))


def _read(text: Json) -> datetime:
    return datetime.fromisoformat(str(text))


def _midnight_after(day: Json) -> datetime:
    return datetime.combine(date.fromisoformat(str(day)) + timedelta(days=1), time.min, CHINA)


def _when(step: dict[str, Json]) -> datetime:
    return _read(step.get("captured_at") or step["at"])


def _story(record: ServerRecord, until: datetime) -> list[dict[str, Json]]:
    """The steps that had been captured by then, in that order."""
    return sorted((s for s in record.body.get("steps") or [] if _when(s) <= until), key=_when)


def _is_fixed(problem: ServerRecord, at: datetime, unit: str) -> bool:
    """For `unit`: it has handed in, it was fixed on the spot, or the office has accepted without its part. Who only helps fixes nobody's."""
    steps = problem.body.get("steps") or []
    return any(_fixes(step, unit) and _when(step) <= at and not _is_undone(steps[k + 1 :], at) for k, step in enumerate(steps))


def _fixes(step: dict[str, Json], unit: str) -> bool:
    parts = (step.get("sets") or {}).get("handed_in", [unit])
    return step["command"] == ACCEPTS or (step["command"] in FIXES and unit in parts)


def _is_undone(later: list[dict[str, Json]], at: datetime) -> bool:
    """The office sends back what it has: by a step that comes later in the story. A clock that is not sure may have dated the fix
    before the assignment that it answers.
    """
    return any(step["command"] in UNDOES and _read(step["at"]) <= at for step in later)


def _is_suspended(problem: ServerRecord, at: datetime) -> bool:
    steps = _story(problem, at)
    return bool(steps) and steps[-1].get("to") == "suspended"


# ------------------------------------------------------------------------------------------ letters


def _key(letter: ServerRecord) -> tuple[str, ...]:
    """What a letter is about: two with the same are one too many."""
    grounds = letter.body["grounds"]
    about = letter.body.get("previous") or letter.body.get("subject_record")
    facts = str(grounds["facts"].get("clock", ""))
    return (str(about), str(letter.body["unit"]), grounds["trigger"], str(grounds["version"]), str(_read(grounds["due_moment"])), facts)


def _once(letters: Iterable[ServerRecord]) -> Iterator[Violation]:
    keys: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for letter in letters:
        keys[_key(letter)].append(letter.id)
    for key, found in keys.items():
        if len(found) > 1:
            yield Violation(PROMISE, f"one ground, {len(found)} letters: {key}", found[0])


def _grounded(letter: ServerRecord, rules: _Rules, by_id: dict[str, ServerRecord], now: datetime) -> Iterator[Violation]:
    """The rule of its moment, the moment of its fact, and a fact that holds, or it has been lifted with that reason."""
    grounds, body = letter.body["grounds"], letter.body
    moment = _read(grounds["due_moment"])
    rule = rules.at(letter.county, "colours", moment)
    trigger = next((t for t in (rule.body["triggers"] if rule else []) if t["key"] == grounds["trigger"]), None)
    if rule is None or rule.version != grounds["version"] or trigger is None:
        yield Violation(PROMISE, f"a letter of version {grounds['version']}; {rule and rule.version} was in force at {moment}", letter.id)
        return
    if trigger["colour"] != body["colour"] or moment > now or _read(body["issued_at"]) != moment:
        yield Violation(PROMISE, f"a {body['colour']} letter of {body['issued_at']} for a moment {moment} ({trigger})", letter.id)
    lasted = _read(grounds["since"]) + _hours(trigger)
    if lasted != moment and not (lasted < moment == rule.starts):  # a version that finds it overdue calls at its own beginning
        yield Violation(PROMISE, f"since {grounds['since']}, and due at {moment} by {trigger}", letter.id)
    before = by_id.get(str(body.get("previous")))
    if grounds["fact"] == "unanswered" and before is not None and before.body["colour"] != NEXT.get(body["colour"]):
        yield Violation(PROMISE, f"{body['colour']} followed {before.body['colour']}", letter.id)
    problem = by_id.get(str(body.get("subject_record")))
    if (
        grounds["fact"] == "overdue"
        and problem is not None
        and _is_fixed(problem, moment, str(body["unit"]))
        and body.get("state") != "lifted"
    ):
        yield Violation(PROMISE, f"it had been fixed at {moment}, and the letter stands", letter.id)


class _Issued:
    """What letters are about: a trigger calls once for a period, by the first version under which it is time, whatever later ones say."""

    def __init__(self, letters: Iterable[ServerRecord]) -> None:
        self._first: dict[tuple[str, ...], datetime] = {}
        for letter in letters:
            grounds = letter.body["grounds"]
            about = str(letter.body.get("previous") or letter.body.get("subject_record"))
            clock = str(grounds["facts"].get("clock", ""))
            key = (about, str(letter.body["unit"]), grounds["trigger"], str(_read(grounds["since"]).astimezone(UTC)), clock)
            moment = _read(grounds["due_moment"])
            self._first[key] = min(moment, self._first.get(key, moment))

    def by(self, moment: datetime, about: str, unit: str, trigger: str, since: datetime, clock: str = "") -> bool:
        """Whether there is one of that moment, or an earlier version's of before."""
        first = self._first.get((about, unit, trigger, str(since.astimezone(UTC)), clock))
        return first is not None and first <= moment


def _late(problem: ServerRecord, rules: _Rules, issued: _Issued, now: datetime) -> Iterator[Violation]:
    """Who must fix it has the letter of every deadline that passed."""
    body, due_on = problem.body, problem.body.get("due_on")
    if due_on is None or body.get("state") == "not_true":
        return
    for unit in map(str, body.get("leads") or []):
        since = _overdue_since(problem, unit)
        for rule, trigger in rules.triggers(problem.county, "overdue"):
            moment = since + _hours(trigger)
            if moment > now or rules.at(problem.county, "colours", moment) is not rule:
                continue
            if any(s["command"] in MOVES_DEADLINE and _when(s) > moment for s in body.get("steps") or []):
                continue  # it had another deadline then, or others were to fix it
            if _is_suspended(problem, moment) or _is_fixed(problem, moment, unit):
                continue
            if not issued.by(moment, problem.id, unit, trigger["key"], since):
                yield Violation(
                    PROMISE, f"its deadline {due_on} has passed ({trigger['key']}, {moment}), and {unit} has no letter", problem.id
                )


def _overdue_since(problem: ServerRecord, unit: str) -> datetime:
    """From when on the unit, if it does nothing, is late: its deadline has passed, and it could know of it, for the phone that set it may
    have come home later. Who is late already is not late anew because the day is moved again to one that has passed.
    """
    told, since, due_on, leads = EPOCH, EPOCH, "", set[str]()
    for step in problem.body.get("steps") or []:
        sets = step.get("sets") or {}
        day, units = str(sets.get("due_on") or due_on), set(sets["leads"] or []) if "leads" in sets else leads
        if day and (day, units) != (due_on, leads):
            prolongs = step["command"] == "problem.extend" and day > due_on
            told = max(told, _when(step) if prolongs else _read(step["at"]))
            was_late = bool(due_on) and unit in leads and since < told and not _is_relieved(problem, told - INSTANT, unit)
            if not (was_late and unit in units and _midnight_after(day) <= told):
                since = max(_midnight_after(day), told)
        due_on, leads = day, units
    return since if since != EPOCH else _midnight_after(str(problem.body["due_on"]))


def _is_relieved(problem: ServerRecord, at: datetime, unit: str) -> bool:
    return _is_suspended(problem, at) or _is_fixed(problem, at, unit)


def _absent(summons: ServerRecord, rules: _Rules, issued: _Issued, now: datetime) -> Iterator[Violation]:
    """A department whose clock ran out has the letter."""
    for clock, stops in STOPS.items():
        due_at = summons.body.get(clock)
        for rule, trigger in rules.triggers(summons.county, "summons_overdue") if due_at else ():
            moment = _read(due_at) + _hours(trigger)
            if moment > now or rules.at(summons.county, "colours", moment) is not rule or not summons.body.get("required", True):
                continue
            steps = _story(summons, moment)
            if any(s["command"] in stops or s.get("to") == "cancelled" for s in summons.body.get("steps") or [] if _when(s) <= now):
                continue  # stopped at some time: whether early enough is for the stories to judge
            named = clock.removesuffix("_due_at")
            if not steps and not issued.by(moment, summons.id, str(summons.body["unit"]), trigger["key"], _read(due_at), named):
                yield Violation(PROMISE, f"{named} was due at {due_at}, and there is no letter", summons.id)


# ------------------------------------------------------------------------------------------ reminders, look-backs, plans


def _reminded(problem: ServerRecord) -> Iterator[Violation]:
    notes = [s["args"]["note"] for s in problem.body.get("steps") or [] if s["command"] == "problem.remind"]
    for note, count in Counter(note for note in notes if str(note).startswith(REMINDER)).items():
        if count > 1:
            yield Violation(PROMISE, f"reminded {count} times of one deadline: {note}", problem.id)


def _looked_back(problem: ServerRecord, rules: _Rules, server: ServerView) -> Iterator[Violation]:
    closed = [_when(s) for s in problem.body.get("steps") or [] if s["command"] == "problem.close_out"]
    tasks = [r for r in server.records.values() if r.kind == "task" and r.body.get("origin") == problem.id and r.moved_to is None]
    if len(tasks) > len(closed):
        yield Violation(PROMISE, f"closed out {len(closed)} times, and {len(tasks)} look-backs", problem.id)
    rule = rules.at(problem.county, "look_back", closed[-1]) if closed else None
    is_due = rule is not None and closed[-1] + timedelta(hours=rule.body["after"]["hours"]) <= server.now
    if problem.body.get("state") == "closed_out" and is_due and not tasks and not problem.body.get("look_back_result"):
        yield Violation(PROMISE, f"closed out at {closed[-1]}, and nobody is sent to look back", problem.id)


def _planned(plan: ServerRecord, server: ServerView) -> Iterator[Violation]:
    """Each day of each revision has one task per unit: these plans ask for every day, and make nothing ahead."""
    made = Counter(str(r.body.get("occurs_on")) for r in server.records.values() if r.body.get("origin") == plan.id and r.moved_to is None)
    today = server.now.astimezone(CHINA).date()
    for revision in plan.body.get("revisions") or []:
        since, terms = _read(revision["since"]).astimezone(CHINA).date(), revision["terms"]
        first = max(date.fromisoformat(terms["from_on"]), since if revision["n"] == 1 else since + timedelta(days=1))
        last = min(today, _read(revision["until"]).astimezone(CHINA).date()) if revision.get("until") else today
        for k in range((last - first).days + 1):
            day = (first + timedelta(days=k)).isoformat()
            if made[day] != len(terms["units"]):
                yield Violation(
                    PROMISE, f"{day} of revision {revision['n']} asks for {len(terms['units'])} tasks; {made[day]} are made", plan.id
                )
