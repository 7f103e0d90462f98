"""The state machines of all kinds, as data (design.md sections 3.1 and 5).

A transition says from which states a command leads where, which command-only fields it may set, and `late_from`: the
states in which it is still accepted when the phone could not have seen them. A command that is allowed nowhere is
refused with what would be allowed and who may do it. A new kind with states: one table here.
"""

from __future__ import annotations

from msgspec import Struct

from sync.permission import who_may

ANY = "*"  # every state


class Transition(Struct, frozen=True, kw_only=True):
    """`to` None: the state stays. `sets`: fields with policy `command` that this command may write."""

    command: str
    sources: frozenset[str]
    to: str | None
    late_from: frozenset[str] = frozenset()
    late_stays: bool = False  # accepted late, the state stays what it is
    sets: frozenset[str] = frozenset()

    def accepts(self, state: str) -> bool:
        return state in self.sources or ANY in self.sources


def _t(command: str, sources: str, to: str | None, *, late_from: str = "", late_stays: bool = False, sets: str = "") -> Transition:
    """Words separated by spaces, so that a machine reads as a table."""
    return Transition(
        command=command,
        sources=frozenset(sources.split()),
        to=to,
        late_from=frozenset(late_from.split()),
        late_stays=late_stays,
        sets=frozenset(sets.split()),
    )


_TABLE: dict[str, tuple[Transition, ...]] = {
    "task": (
        _t("task.accept", "open", "accepted"),
        _t("task.start", "open accepted", "started"),
        # finished work beats a cancellation, and a second person's result is never turned away
        _t("task.finish", "open accepted started", "finished", late_from="cancelled finished", sets="result"),
        _t("task.cancel", "open accepted started", "cancelled", sets="cancel_reason"),
    ),
    "inspection": (
        _t("inspection.submit", "draft", "submitted", late_from="submitted amended", late_stays=True),
        _t("inspection.amend", "submitted amended", "amended"),
    ),
    "problem": (
        _t("problem.report", "draft", "reported", late_from="reported", late_stays=True),
        _t("problem.comment", ANY, None),
    ),
    "notice": (_t("notice.acknowledge", ANY, None),),
    "conflict": (_t("conflict.settle", "open", "settled", sets="choice settled_by"),),
}

MACHINES: dict[str, dict[str, Transition]] = {
    kind: {transition.command: transition for transition in table} for kind, table in _TABLE.items()
}


def transition_of(kind: str, command: str) -> Transition | None:
    return MACHINES.get(kind, {}).get(command)


def allowed_from(kind: str, state: str) -> dict[str, list[str]]:
    """Command -> roles, of what would be allowed now: part of every refusal."""
    return {t.command: who_may(kind, t.command) for t in _TABLE.get(kind, ()) if t.accepts(state)}
