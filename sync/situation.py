"""One command about to be carried out, and the step that it leaves in the record's story."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, Final

import msgspec

from contracts.kind import Step
from contracts.kinds import KINDS
from contracts.mutation import Mutation
from sync.decision import Sender
from sync.machines import Transition
from sync.rules import day_of
from sync.state import RecordState
from sync.tally import Tally

STORIED: Final = "steps"  # the field of a kind that tells its story


def has_story(kind: str) -> bool:
    return STORIED in KINDS[kind].body.__struct_fields__


class Situation(msgspec.Struct, frozen=True):
    """One command about to be carried out on one record."""

    transition: Transition
    state: RecordState
    mutation: Mutation
    sender: Sender
    tally: Tally


def captured_on(situation: Situation) -> date:
    """The day on which it was done, at the latest."""
    return day_of(situation.tally.captured_at())


def given_on(tally: Tally) -> date:
    """The day on which the mutation being decided was made, at the earliest: a term must not have passed then."""
    captured = tally.captured
    moment = datetime.fromtimestamp(captured.start_ms / 1000, UTC) if captured else tally.view.now
    return day_of(moment)


def step_of(situation: Situation, command: str, source: str, to: str, sets: dict[str, Any] | None = None) -> Step:
    """What the story of a record says of one command."""
    mutation, tally = situation.mutation, situation.tally
    return Step(
        id=str(mutation.id),
        command=command,
        by=situation.sender.person,
        at=tally.view.now,
        captured_at=situation.tally.captured_at(),
        source=source,
        to=to,
        args=mutation.args,
        sets=sets or {},
    )
