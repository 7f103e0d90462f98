"""Makers of values for tests: units, senders, bodies of every kind, mutations as they arrive."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from contracts.ids import DeviceId, RecordId, UnitCode, Version
from contracts.mutation import CONTRACT_MAX, CREATE, DELETE, EDIT, Capture, Mutation
from contracts.outcomes import Reason
from contracts.people import Duty, Role
from sync.clock import Interval
from sync.decision import Incoming, Sender
from sync.intake import decode_mutation
from sync.places import Places
from sync.state import EVERY_OTHER, RecordState, Writer
from tests.county import COUNTY, MORNING, TOWNSHIP, UNITS, VILLAGE_A

PLACES = Places(UNITS)
NOW_MS = int(MORNING.timestamp() * 1000)
NOW = Interval(NOW_MS, NOW_MS)
BYTES_MAX = 256 * 1024
SHA256 = "ab" * 32
DUST = {"slug": "construction_dust", "jurisdiction": "ankang", "version": 1}

BODIES: dict[str, dict[str, Any]] = {
    "site": {"name": "工地一", "unit": VILLAGE_A, "subjects": ["construction_dust"]},
    "task": {"title": "查扬尘", "unit": VILLAGE_A},
    "inspection": {"unit": VILLAGE_A, "subject": "construction_dust", "checklist": DUST},
    "problem": {"unit": VILLAGE_A, "subject": "open_burning", "title": "焚烧秸秆"},
    "notice": {"unit": VILLAGE_A, "title": "通知"},
    "photo": {"parent": str(uuid.UUID(int=1)), "sha256": SHA256, "bytes": 3000, "media_type": "image/jpeg"},
}


def an_id(k: int) -> uuid.UUID:
    """The same k gives the same id; ids of different k differ in their last byte, too."""
    return uuid.UUID(int=uuid.uuid5(uuid.NAMESPACE_OID, str(k)).int ^ 0x2 << 76)  # version 7, as phones make them


def a_duty(role: Role, unit: UnitCode, *, starts: datetime = MORNING - timedelta(days=30), ends: datetime | None = None) -> Duty:
    return Duty(person=an_id(0), role=role, unit=unit, starts=starts, ends=ends)


def a_sender(device: int = 1, role: Role = Role.TOWNSHIP_LEAD, unit: UnitCode = TOWNSHIP, barred: Reason | None = None) -> Sender:
    return Sender(device=an_id(device), person=an_id(900 + device), duties=(a_duty(role, unit),), barred=barred)


def the_server() -> Sender:
    return Sender(device=an_id(999), person=an_id(999), duties=(a_duty(Role.SYSTEM, str(COUNTY)),))


def a_capture(mono_ms: int = 0, session: str = "s", wall_ms: int = NOW_MS) -> Capture:
    return Capture(wall_ms=wall_ms, mono_ms=mono_ms, session=session)


def a_mutation(n: int, record: RecordId, kind: str, op: str = EDIT, **given: Any) -> Mutation:
    """`body` as a dict; everything else as Mutation has it. No two are the same mutation unless an `id` is given."""
    body = given.pop("body", None)
    if op == CREATE:
        given["body"] = msgspec.Raw(msgspec.json.encode(BODIES[kind] if body is None else body))
    given.setdefault("id", uuid.uuid4())
    given.setdefault("contract", CONTRACT_MAX)
    return Mutation(n=n, record=record, kind=kind, op=op, at=given.pop("at", a_capture()), **given)


def a_creation(n: int, record: RecordId, kind: str = "site", **fields: Any) -> Mutation:
    return a_mutation(n, record, kind, CREATE, body={**BODIES[kind], **fields})


def an_edit(n: int, record: RecordId, base: Version | uuid.UUID, kind: str = "site", **fields: tuple[Any, Any]) -> Mutation:
    return a_mutation(n, record, kind, EDIT, base=base, fields=fields)


def a_deletion(n: int, record: RecordId, base: Version | uuid.UUID, kind: str = "site") -> Mutation:
    return a_mutation(n, record, kind, DELETE, base=base)


def arrived(mutation: Mutation, when: Interval = NOW) -> Incoming:
    """As its bytes would decode."""
    return decode_mutation(mutation.n, msgspec.json.encode(mutation), when, BYTES_MAX)


def a_writer(version: int, device: int = 7, n: int = 1, incarnation: int = 1) -> Writer:
    return Writer(incarnation, version, an_id(device), n)


def a_record(kind: str = "site", version: int = 1, writers: dict[str, Writer] | None = None, **fields: Any) -> RecordState:
    """A live record of village A, all of it written by device 7 unless told."""
    return RecordState(
        id=an_id(1),
        kind=kind,
        stream=f"{VILLAGE_A}.field",
        version=(1, version),
        fields={EVERY_OTHER: a_writer(version), **(writers or {})},
        body=msgspec.json.encode({**BODIES[kind], **fields}),
    )


def device_of(k: int) -> DeviceId:
    return an_id(k)


def utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
