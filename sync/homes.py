"""Where a record lives: the stream of its unit, or of its parent; and where it goes when its unit changes."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from contracts.ids import StreamName, UnitCode
from contracts.kinds import KINDS
from contracts.mutation import CREATE, Mutation
from contracts.outcomes import Outcome, Reason
from contracts.people import Audience
from sync.decision import Hold
from sync.places import is_secret, stream_name, unit_of
from sync.secrecy import audience_of
from sync.state import RecordState
from sync.tally import Tally


def home_of(kind: str, body: msgspec.Struct, tally: Tally) -> StreamName:
    """The stream of a new record. Its parent, if its kind has one, is in the tally."""
    spec = KINDS[kind]
    if spec.parent is not None:
        return tally.records[getattr(body, spec.parent)].stream
    return stream_name(getattr(body, "unit"), audience_of(kind, body, tally))  # noqa: B009 - every kind without a parent has a unit


def moved(record: RecordState, unit: str, tally: Tally) -> RecordState:
    """The record after its unit became `unit` (of a secret one only by disclosure); to another county it leaves by copy (storage/transfers.py)."""
    spec = KINDS[record.kind]
    if spec.parent is not None:  # a child goes where its parent goes, whatever a newer app may call `unit`
        return record
    county = tally.view.places.county_of(unit)
    if county != tally.view.county:
        return replace(record, deleted=True, moved_to=county)
    stays_secret = is_secret(record.stream) and not record.values.get("disclosed_at")
    return replace(record, stream=stream_name(unit, Audience.VISIT if stays_secret else spec.audience))


def unit_wanted(mutation: Mutation, tally: Tally) -> UnitCode | Hold | None:
    """The unit this mutation gives its record; None: it says nothing about it. Children take their parent's."""
    if mutation.op != CREATE:
        if KINDS[mutation.kind].parent is not None:
            return None
        new = mutation.fields.get("unit", (None, None))[1]
        return str(new) if new is not None else None
    kind, body = KINDS[mutation.kind], tally.bodies[mutation.id]
    if kind.parent is None:
        unit: UnitCode | None = getattr(body, "unit", None)
        return unit
    parent = tally.records.get(getattr(body, kind.parent))
    if parent is None:
        return Hold(outcome=Outcome.QUARANTINED, reason=Reason.PARENT_MISSING)
    return unit_of(parent.stream)
