"""Terms that rested on a year whose working days were not published, once they are (decision 0036). Pure.

Terms that are worked out when they are asked for (colours, reminders, look-backs) correct themselves, because the calendar of a moment
knows of unpublished years what was published later. What is stored is corrected here: the clocks of a summons, and the term of a
letter. The timers find what differs (`corrections`), and their command writes it (`corrected_terms`, `corrected_term`); twice is once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

from contracts.ids import County, RecordId
from contracts.kinds.summons import Clock, Corrected, Summons
from contracts.kinds.supervision import Supervision
from contracts.rules import ColoursRule, Duration, RuleName, RuleVersion, WhistleRule
from sync.colours import grounds_of
from sync.due import Due, Family, Summoned
from sync.rules import RuleBook, unpublished_note
from sync.situation import Situation
from sync.whistles import RUNNING

TERMS: Final = "summons.correct_terms"
TERM: Final = "supervision.correct_term"
SETTLED: Final = "lifted"


def corrections(family: Family, book: RuleBook, county: County, now: datetime) -> Iterator[Due]:
    """What is stored otherwise than it would be worked out now."""
    if isinstance(family.about, Summoned):
        summons = family.about.summons
        clocks = corrected_clocks(summons, book, county, now)
        new = [clock for clock, old in zip(clocks, summons.clocks, strict=True) if clock != old]
        if new:
            args = {"terms": msgspec.to_builtins(new)}
            yield _due(family.about.id, "summons", TERMS, args, [(clock.clock, clock.due_at, clock.unpublished) for clock in new], now)
    for letter in family.letters:
        found = corrected_letter(letter.supervision, book)
        if found is not None:
            args = msgspec.to_builtins({"was": letter.supervision.due_at, "due_at": found[0], "term_note": found[1]})
            yield _due(letter.id, "supervision", TERM, args, found, now)


def _due(record: RecordId, kind: str, op: str, args: dict[str, Any], terms: Any, now: datetime) -> Due:
    """Due now; its id derives from the new terms, so that the same correction is one."""
    return Due(record=record, kind=kind, op=op, args=args, moment=now, rule=f"calendar/{msgspec.json.encode(terms).decode()}", once=True)


def corrected_clocks(summons: Summons, book: RuleBook, county: County, now: datetime) -> list[Clock]:
    """The clocks of a summons, those that run and rested on an unpublished year as they are by what is known now."""
    running = {name: k for k, clock in enumerate(summons.clocks) for name in RUNNING.get(summons.state, ()) if clock.clock == name}
    return [
        _corrected(clock, book, county, now) if running.get(clock.clock) == k and clock.unpublished else clock
        for k, clock in enumerate(summons.clocks)
    ]


def _corrected(clock: Clock, book: RuleBook, county: County, now: datetime) -> Clock:
    version = _version(book, county, RuleName.WHISTLE, clock.rule_version)
    term: Duration | None = getattr(book.decoded(version, WhistleRule), clock.clock) if version is not None else None
    if term is None:
        return clock
    calendar = book.calendar(county, clock.since)
    due_at, years = calendar.add(clock.since, term), calendar.unpublished(clock.since, term)
    if years == clock.unpublished:
        return clock
    before = [Corrected(due_at=clock.due_at, at=now)] if due_at != clock.due_at else []
    return msgspec.structs.replace(clock, due_at=due_at, unpublished=years, corrected=[*clock.corrected, *before])


def corrected_letter(letter: Supervision, book: RuleBook) -> tuple[datetime, str] | None:
    """(term, note) of a letter that rested on an unpublished year; None: it stays as it is."""
    grounds = grounds_of(letter)
    if not letter.term_note or letter.state == SETTLED or grounds is None or letter.issued_at is None:
        return None
    version = _version(book, grounds.county, RuleName.COLOURS, grounds.version)
    triggers = book.decoded(version, ColoursRule).triggers if version is not None else []
    within = next((trigger.answer_within for trigger in triggers if trigger.key == grounds.trigger), None)
    if within is None:
        return None
    calendar = book.calendar(grounds.county, letter.issued_at)
    note = unpublished_note(calendar.unpublished(letter.issued_at, within))
    return None if note == letter.term_note else (calendar.add(letter.issued_at, within), note)


def _version(book: RuleBook, county: County, name: RuleName, number: int | None) -> RuleVersion | None:
    return next((version for version in book.versions(county, name) if version.version == number), None)


# ------------------------------------------------------------------------------------------------ stamps


def corrected_terms(situation: Situation, values: dict[str, Any]) -> dict[str, Any]:
    """Stamp of a summons: each clock that the timers name has its new term and keeps the old one. A clock that is not there any more is passed over."""
    terms = {(term.clock, term.since): term for term in msgspec.convert(situation.mutation.args.get("terms", []), list[Clock])}
    before = msgspec.convert(values.get("clocks") or [], list[Clock])
    clocks = [terms.get((clock.clock, clock.since), clock) for clock in before]
    shown = {f"{new.clock}_due_at": new.due_at for old, new in zip(before, clocks, strict=True) if old != new}
    running = [clock for clock in clocks if clock.clock in RUNNING.get(str(values.get("state")), ())]
    note = unpublished_note({year for clock in running for year in clock.unpublished})
    return msgspec.to_builtins({"clocks": clocks, "terms_note": note} | shown)


def corrected_term(situation: Situation, _values: dict[str, Any]) -> dict[str, Any]:
    """Stamp of a letter; its step keeps the term that it had."""
    args = situation.mutation.args
    return {"due_at": args.get("due_at"), "term_note": args.get("term_note", "")}
