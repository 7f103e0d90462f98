"""What is held for a human: on whose desk it lies, and how its device hears of it."""

from __future__ import annotations

from typing import Any

from contracts.ids import MutationId, RecordId, UnitCode, outcome_id
from contracts.kinds import KINDS
from contracts.kinds.outcome import HeldOutcome
from contracts.mutation import Mutation
from contracts.outcomes import TEXT_ZH, Outcome, Reason
from sync.decision import Change
from sync.places import NARROW, device_stream, narrow_audience, unit_of
from sync.secrecy import is_hidden, secret_desk
from sync.state import RecordState
from sync.tally import Tally


def told(
    tally: Tally,
    n: int,
    outcome: Outcome,
    reason: Reason,
    mutation: MutationId | None,
    record: RecordId | None,
    detail: dict[str, Any] | None,
    *,
    final: bool,
    again: bool,
) -> Change:
    """The record by which the device learns what is happening to a held mutation."""
    device, county = tally.sender.device, tally.view.county
    body = HeldOutcome(
        device=device,
        n=n,
        outcome=outcome,
        reason=reason,
        mutation=mutation,
        record=record,
        detail=detail,
        message=TEXT_ZH[reason],
        final=final,
    )
    record_id = outcome_id(f"{device}/{county}/{n}")
    if again:
        tally.is_missing(record_id)  # it was told before: the record must be read to be written
    return tally.server_made(record_id, "outcome", device_stream(county, device), body, n)


def desk_of(tally: Tally, mutation: Mutation | None) -> UnitCode:
    """Whose desk a held mutation lies on, or a refused creation is shown on: its record's unit, the unit it names, or the sender's first duty."""
    places = tally.view.places
    state = tally.records.get(mutation.record) if mutation else None
    if state is not None and is_hidden(state, tally.sender.duties, places):
        state = None  # even the desk on which prying ends must not tell that there is something
    hidden = secret_desk(mutation, state, tally)
    if hidden is not None:
        return hidden
    body = tally.bodies.get(mutation.id) if mutation else None
    candidates = [
        unit_of(state.stream) if state else None,
        getattr(body, "unit", None),
        *(duty.unit for duty in tally.sender.duties),
    ]
    for unit in candidates:
        if unit is not None and places.county_of(unit) == tally.view.county:
            return places.whole(tally.view.county) if _is_narrow(mutation, state) else places.desk_of(unit)
    return str(tally.view.county)


def _is_narrow(mutation: Mutation | None, state: RecordState | None) -> bool:
    """Of a case or of something sealed: a township's desk has more readers than that."""
    if state is not None:
        return narrow_audience(state.stream) is not None
    kind = KINDS.get(mutation.kind) if mutation else None
    return kind is not None and kind.audience in NARROW
