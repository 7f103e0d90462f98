"""The same problem from two sources: linked, never merged (domain.md 4.0). Each of the two names the other, or neither does.

What may be the same is suggested: by place, time and subject when a problem is made (sync/consequences.py), by picture when the
photos have been looked at (storage/alike.py). A person links the two, or says that they are not the same, and then it is not
suggested again. Nothing here names a record of an unannounced visit beside one that is none, or one that its author may not see.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from contracts.ids import RecordId
from contracts.outcomes import Reason
from sync.decision import Change, Refuse
from sync.duplicates import may_be_same
from sync.merge import Merge
from sync.secrecy import sees, share_sight
from sync.situation import Situation
from sync.state import RecordState

RELATED: Final = "related"
SUSPECTED: Final = "suspected_duplicates"
DISTINCT: Final = "distinct"
LINKS_MAX: Final = 50


def link(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """They are the same problem."""
    return _both(s, merge, add=RELATED, drop=(SUSPECTED, DISTINCT))


def unlink(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """They are not, whatever was thought or suggested before."""
    return _both(s, merge, add=DISTINCT, drop=(RELATED, SUSPECTED))


def suspect(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """They may be: the server's word, which never overrules a person's."""
    other = _other(s)
    if isinstance(other, RecordState):
        mine, told = {str(other.id)}, [merge.values.get(name) or [] for name in (RELATED, SUSPECTED, DISTINCT)]
        if any(mine & set(names) for names in told) or not may_be_same(merge.values, other):
            return Refuse(reason=Reason.ALREADY_SO)
    return _both(s, merge, add=SUSPECTED, drop=())


def _both(s: Situation, merge: Merge, add: str, drop: tuple[str, ...]) -> tuple[Change, ...] | Refuse:
    other = _other(s)
    if other is None:
        return ()
    if isinstance(other, Refuse):
        return other
    mine, theirs = _named(merge.values, str(other.id), add, drop), _named(other.values, str(s.state.id), add, drop)
    if max(len(mine.get(add, ())), len(theirs.get(add, ()))) > LINKS_MAX:
        return Refuse(reason=Reason.INCOMPLETE, detail={"needs": [f"at_most_{LINKS_MAX}"]})
    merge.set(mine)
    return (s.tally.edited(other, "link", theirs, s.mutation.n),) if theirs else ()


def _other(s: Situation) -> RecordState | Refuse | None:
    """The other problem, if it is one that the author may see; None: it is not read yet."""
    unknown = Refuse(reason=Reason.RECORD_MISSING, detail={"other": s.mutation.args.get("other")})
    try:
        record = RecordId(str(s.mutation.args.get("other")))
    except ValueError:
        return unknown
    if s.tally.is_missing(record):
        return unknown
    other = s.tally.records.get(record)
    if other is None:
        return None
    is_one = other.kind == "problem" and not other.deleted and other.id != s.state.id and share_sight(other.stream, s.state.stream)
    return other if is_one and sees(other, s.sender, s.tally.captured, s.tally.view.places) else unknown


def _named(values: dict[str, Any], other: str, add: str, drop: Iterable[str]) -> dict[str, list[str]]:
    """The lists that change when `other` is named in `add` and no more in `drop`."""
    new = {name: [one for one in values.get(name) or [] if one != other] for name in drop}
    new[add] = sorted({*(values.get(add) or []), other})
    return {name: names for name, names in new.items() if names != (values.get(name) or [])}
