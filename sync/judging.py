"""What has fallen due for a record and the letters about it, and when something will next (storage/timers.py writes both). Pure.

Everything that a record will ever call for, as it stands and by all rules published so far, has its moment now. What has come is due;
the nearest of the others is when to look again. Whatever changes this meanwhile, a command on the record or on a letter about it, a
rule, a unit, is told by other means, and is judged at once.
"""

from __future__ import annotations

from datetime import datetime
from itertools import chain

import msgspec

from contracts.ids import County
from sync.colours import Called, Colours, grounds_of, key_of, over, overturned
from sync.corrections import corrections
from sync.due import Due, Family, Subject, Summoned
from sync.rules import NEVER, RuleBook
from sync.timers import look_backs, reminded_at, reminders, resumptions


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """`due`: what has fallen due and may have been done already; `next_at`: when to judge again if nothing changes, None: never."""

    due: list[Due]
    next_at: datetime | None


def judge(family: Family, book: RuleBook, colours: Colours, county: County, now: datetime) -> Judged:
    """Judged again with what was done, this says the same and no more."""
    letters, about = family.letters, family.about
    called = [*_called(family, colours), *chain.from_iterable(colours.after_letter(one, about, NEVER) for one in letters)]
    has_come = {one.key for one in called if one.moment <= now}
    lost, groundless = overturned(letters, has_come, about, now)
    lifted = {one.record for one in lost}
    closed = [over(one, family.ended, now) for one in letters if one.id not in lifted] if family.ended is not None else []
    there = {key_of(one) for one in letters}
    wanted = [colours.issue(one) for one in called if one.key not in there and one.about not in groundless and _goes_on(family, one.moment)]
    dated = _dated(family, book, county)
    moments = {
        *(one.moment for one in (*wanted, *dated)),
        *(grounds.due_moment for one in letters if (grounds := grounds_of(one.supervision)) is not None),
        *(reminded_at(book, county, about) if isinstance(about, Subject) else ()),
    }
    reminded = reminders(book, county, about, now) if isinstance(about, Subject) else ()
    return Judged(
        due=[
            *corrections(family, book, county, now),
            *(one for one in (*wanted, *dated) if one.moment <= now),
            *reminded,
            *lost,
            *(one for one in closed if one is not None),
        ],
        next_at=min((moment for moment in moments if now < moment < NEVER), default=None),
    )


def _goes_on(family: Family, moment: datetime) -> bool:
    return family.ended is None or (family.ended.at is not None and moment < family.ended.at)


def _called(family: Family, colours: Colours) -> list[Called]:
    match family.about:
        case Subject() as subject:
            return colours.of_problem(subject, NEVER)
        case Summoned() as summoned:
            return colours.of_summons(summoned, NEVER)
        case None:
            return []


def _dated(family: Family, book: RuleBook, county: County) -> list[Due]:
    """By a problem's own days."""
    if not isinstance(family.about, Subject):
        return []
    return [*look_backs(book, county, family.about, NEVER), *resumptions(family.about, NEVER)]
