"""Promise 12 for weather responses: while one responds, each object of its cut list has its checks, and none is left when it is lifted.

A response that repeats daily asks for one check a day and object. One that does not repeat asks for one check of each object: on the
first day, or on a later one for an object that came on the list later.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from tests.simulator.testimony import Json, ServerRecord, ServerView, Violation

PROMISE = 12
CHINA = timezone(timedelta(hours=8))
NOT_BEGUN = frozenset({"open", "accepted"})


def judge_responses(server: ServerView) -> Iterator[Violation]:
    """After the workers have caught up, at a quiet point."""
    been, deleted = _history(server)
    checks: dict[str, list[ServerRecord]] = defaultdict(list)
    for record in server.records.values():
        if record.kind == "task" and record.moved_to is None and record.body.get("origin"):
            checks[record.body["origin"]].append(record)
    for record in server.records.values():
        if record.kind == "response" and not record.deleted:
            response = _Response.read(record, server.now)
            yield from _belong(response, checks[record.id], been)
            yield from _complete(response, checks[record.id], server, deleted)
            yield from _called_off(response, checks[record.id])


def _history(server: ServerView) -> tuple[dict[str, set[str]], set[str]]:
    """By the journal: the units a record ever lay in, and what somebody once deleted."""
    been: dict[str, set[str]] = defaultdict(set)
    deleted = set[str]()
    for row in server.journal:
        if row.record is not None and row.stream is not None:
            been[row.record].add(row.stream.rpartition(".")[0])
        if row.record is not None and row.op == "delete":
            deleted.add(row.record)
    return been, deleted


@dataclass(frozen=True)
class _Response:
    """`first`, `last`: the days between which it called for checks; None: it never did. `lifted_at`: None: it has not been lifted."""

    record: ServerRecord
    first: date | None
    last: date
    lifted_at: datetime | None
    is_daily: bool

    @classmethod
    def read(cls, record: ServerRecord, now: datetime) -> "_Response":
        moments = {step.get("to"): _at(step) for step in record.body.get("steps") or []}
        begun, lifted_at = moments.get("responding"), moments.get("lifted")
        last = _day(min(now, lifted_at or now))
        return cls(record, _day(begun) if begun else None, last, lifted_at, record.body.get("repeats") == "FREQ=DAILY")

    def days(self) -> list[date]:
        """Every day on which a check can be due."""
        if self.first is None:
            return []
        return [self.first + timedelta(days=k) for k in range((self.last - self.first).days + 1)]

    def asked(self, since: date) -> list[date]:
        """The days that ask for a check of an object which was first seen on the list on `since`."""
        return [day for day in self.days() if day >= since] if self.is_daily else [since]

    def about(self, check: ServerRecord) -> tuple[str, date | None]:
        """What a check is the only one for: an object and a day, or an object."""
        site, day = _about(check)
        return site, day if self.is_daily else None


def _at(step: dict[str, Json]) -> datetime:
    return datetime.fromisoformat(step["at"])


def _day(moment: datetime) -> date:
    return moment.astimezone(CHINA).date()


def _about(check: ServerRecord) -> tuple[str, date]:
    return str(check.body["sites"][0]), date.fromisoformat(check.body["occurs_on"])


def _belong(response: _Response, checks: list[ServerRecord], been: dict[str, set[str]]) -> Iterator[Violation]:
    """Every check is for a day of the response, of an object on its list, once, in a unit where that object lies or lay."""
    for (site, when), count in Counter(map(response.about, checks)).items():
        if site not in response.record.body.get("sites", []):
            yield Violation(PROMISE, f"a check of {site}, which is on no list", response.record.id)
        if count > 1:
            yield Violation(PROMISE, f"{site} has {count} checks for {when or 'the whole response'}", response.record.id)
    for _site, day in map(_about, checks):
        if day not in response.days():
            yield Violation(PROMISE, f"a check for {day}, outside of {response.first} to {response.last}", response.record.id)
    for check in checks:
        if not been[check.id] & been[_about(check)[0]]:
            yield Violation(PROMISE, f"a check in {sorted(been[check.id])} of what lies in {sorted(been[_about(check)[0]])}", check.id)


def _complete(response: _Response, checks: list[ServerRecord], server: ServerView, deleted: set[str]) -> Iterator[Violation]:
    """While it responds: all that is listed has today's check, and from its first one on none is missing, whoever ran when."""
    if response.record.body.get("state") != "responding":
        return
    made: dict[str, set[date]] = defaultdict(set)
    for check in checks:
        site, day = _about(check)
        made[site].add(day)
    for site in response.record.body.get("sites", []):
        there = server.records.get((response.record.county, site))
        if there is None or there.deleted or site in deleted:
            continue
        since = min(made[site], default=response.last)
        missing = [day.isoformat() for day in response.asked(since) if day not in made[site]]
        if missing:
            yield Violation(PROMISE, f"{site} is on the list, and has no check for {missing}", response.record.id)


def _called_off(response: _Response, checks: list[ServerRecord]) -> Iterator[Violation]:
    """After the lifting nobody is sent any more who has not gone yet; what was given to others since then waits for the next day."""
    if response.lifted_at is None:
        return
    for check in checks:
        given_since = [step for step in check.body.get("steps") or [] if _at(step) > response.lifted_at]
        if not check.deleted and str(check.body.get("state") or "open") in NOT_BEGUN and not given_since:
            yield Violation(PROMISE, f"lifted at {response.lifted_at}, and this check still sends somebody", check.id)
