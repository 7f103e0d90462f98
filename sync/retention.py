"""Closed, old records leave the phones for an archive stream, and come home when somebody works on them (design.md 3.2).

What counts as closed is a table over kinds. How long a closed record stays is the installation's choice: no source states a
period (contracts/retention.py has the defaults).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from contracts.ids import StreamName
from contracts.kinds import KINDS
from contracts.mutation import ARCHIVE, Mutation
from contracts.outcomes import Outcome, Reason
from contracts.people import Audience
from sync.consequences import consequences_of, follow
from sync.decision import Accept, Change, Decision, Refuse, Sender
from sync.places import narrow_audience, stream_name, unit_of
from sync.state import RecordState, Writer
from sync.tally import Tally


class Closed(msgspec.Struct, frozen=True):
    """A record is closed when this field of its body, as text, is one of the words; no field: always."""

    field: str | None
    words: frozenset[str]

    def holds(self, value: str | None) -> bool:
        return self.field is None or value in self.words


def _c(field: str | None, words: str = "") -> Closed:
    return Closed(field, frozenset(words.split()))


# A kind that is not named is never archived: a photo goes with its parent, a checklist stays for ever.
CLOSED: Final[Mapping[str, Closed]] = {
    "site": _c("status", "closed"),
    "task": _c("state", "finished cancelled"),
    "inspection": _c("state", "submitted amended"),
    "problem": _c("state", "not_true closed_out look_back_passed"),
    "notice": _c(None),
    "conflict": _c("state", "settled"),
    "outcome": _c("final", "true"),
}


def is_archived(record: RecordState) -> bool:
    return record.stream.endswith(f".{Audience.ARCHIVE.value}")


def may_archive(stream: StreamName) -> bool:
    """An archive has more readers than these streams: what is in them stays."""
    return narrow_audience(stream) is None


def plan_archive(mutation: Mutation, state: RecordState, sender: Sender, tally: Tally) -> Decision:
    """Into the archive, with its children, unless somebody wrote it since the server looked at it."""
    if not sender.is_system:
        return Refuse(reason=Reason.NOT_YOUR_ROLE)
    if state.deleted or is_archived(state):
        return Accept(outcome=Outcome.APPLIED, reason=Reason.ALREADY_SO, root=state.version)
    if not may_archive(state.stream):
        return Refuse(reason=Reason.NOT_ALLOWED_NOW)
    if mutation.base != state.version or state.kind not in CLOSED:
        return Refuse(reason=Reason.NOT_ALLOWED_NOW)
    after = replace(
        state, stream=stream_name(unit_of(state.stream), Audience.ARCHIVE), version=(tally.view.incarnation, state.version[1] + 1)
    )
    change = Change(after=after, op=ARCHIVE, patch={})
    return Accept(
        outcome=Outcome.APPLIED, changes=(change, *consequences_of(mutation, sender, tally, state, after, ())), root=state.version
    )


def come_home(after: RecordState, mutation: Mutation, sender: Sender, tally: Tally) -> tuple[RecordState, tuple[Change, ...]]:
    """A person writes an archived record: it is back in its home stream. A child brings its parent and siblings along."""
    if sender.is_system or not is_archived(after):
        return after, ()
    unit = unit_of(after.stream)
    if after.parent is None:
        return replace(after, stream=stream_name(unit, KINDS[after.kind].audience)), ()
    parent = tally.records.get(after.parent)
    if parent is None:
        tally.is_missing(after.parent)  # not read yet: it is, and planning begins again
        return after, ()
    tally.need_family(parent.id)
    writer = Writer(tally.view.incarnation, parent.version[1] + 1, sender.device, mutation.n)
    home = replace(parent, stream=stream_name(unit, KINDS[parent.kind].audience), version=writer.at)
    siblings = [change for change in follow(mutation, sender, tally, home) if change.after.id != after.id]
    return replace(after, stream=home.stream), (Change(after=home, op="recall", patch={}), *siblings)
