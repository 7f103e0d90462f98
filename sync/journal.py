"""The journal rows of a batch: each mutation as it was decided, and behind it what followed from it, numbered in that order."""

from __future__ import annotations

from typing import Any

from contracts.ids import Version
from contracts.outcomes import Outcome, Reason
from sync.decision import Change, Incoming
from sync.planned import Entry


class Journal:
    """`entries` in the order in which they are to be read again (audit, history, repair)."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._next: dict[int, int] = {}  # n -> the number of its next entry

    def decision(
        self,
        incoming: Incoming,
        outcome: Outcome,
        reason: Reason,
        detail: dict[str, Any] | None,
        root: Version,
        change: Change | None = None,
    ) -> None:
        """A mutation as it came, or what a desk decided of it later; with the change of its own record."""
        mutation = incoming.mutation
        self.entries.append(
            Entry(
                n=incoming.n,
                entry=self._number(incoming),
                what="decision" if incoming.entry else "mutation",
                op=mutation.op if mutation else None,
                kind=mutation.kind if mutation else incoming.envelope.kind,
                mutation=mutation.id if mutation else incoming.envelope.id,
                record=mutation.record if mutation else incoming.envelope.record,
                captured=incoming.captured,
                outcome=outcome,
                reason=reason,
                detail=detail,
                root=root,
                after=change.after if change else None,
                patch=change.patch if change else None,
                raw=None if incoming.entry else incoming.raw,
            )
        )

    def consequence(self, incoming: Incoming, change: Change) -> None:
        """A change of another record that followed from it."""
        self.entries.append(
            Entry(
                n=incoming.n,
                entry=self._number(incoming),
                what="consequence",
                op=change.op,
                kind=change.after.kind,
                record=change.after.id,
                outcome=Outcome.APPLIED,
                reason=Reason.OK,
                after=change.after,
                patch=change.patch,
            )
        )

    def _number(self, incoming: Incoming) -> int:
        entry = self._next.get(incoming.n, incoming.entry)
        self._next[incoming.n] = entry + 1
        return entry
