"""Promises 4, 5, 6 and 10: what each phone holds is what the server has for it, no more and no less."""

import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator
from uuid import UUID

from tests.simulator.testimony import Circumstances, PhoneView, ServerRecord, ServerView, Violation, canonical

_VERSION = struct.Struct(">Iq")
MODULUS = 2**32


def share(record: ServerRecord) -> int:
    """docs/sync-protocol.md: CRC-32 of the id and the version, both big-endian."""
    return zlib.crc32(UUID(record.id).bytes + _VERSION.pack(*record.version))


def judge_heads(server: ServerView) -> Iterator[Violation]:
    """Promise 4 and 5 on the server itself: counts, digests and seqs of each stream are those of its records."""
    live: dict[str, list[ServerRecord]] = defaultdict(list)
    for record in server.records.values():
        if not record.deleted:
            live[record.stream].append(record)
    for stream, head in server.heads.items():
        records = live[stream]
        digest = sum(map(share, records)) % MODULUS
        if (len(records), digest) != (head.count, head.digest):
            yield Violation(
                4, f"{stream}: the head says {head.count} records, digest {head.digest}; they are {len(records)}, {digest}", stream
            )
        seqs = [r.seq for r in records] + [seq for _, seq in server.markers.get(stream, [])]
        if len(seqs) != len(set(seqs)):
            yield Violation(5, f"{stream}: a seq was given twice", stream)
        if seqs and max(seqs) > head.seq:
            yield Violation(5, f"{stream}: seq {max(seqs)} is beyond its head {head.seq}", stream)
    for stream in live.keys() - server.heads.keys():
        yield Violation(5, f"{stream} has records and no head", stream)
    for record in server.records.values():
        parent = server.records.get((record.county, record.parent)) if record.parent else None
        if parent is not None and parent.stream != record.stream:
            yield Violation(6, f"{record.kind} stayed in {record.stream} when its {parent.kind} went to {parent.stream}", record.id)


def judge_phone(phone: PhoneView, server: ServerView, circumstances: Circumstances, hidden: set[str]) -> Iterator[Violation]:
    """A phone at rest shows exactly the live records of its person's streams, and can prove it.

    `hidden`: records with own work on a desk. A deletion that waits there is shown, too: the record is away.
    """
    scope = circumstances.scope[phone.person]
    own = {f"{county}-{phone.device}.device" for county in server.incarnations}
    for stream in phone.streams.keys() - scope - own:
        yield Violation(6, f"{phone.store} still has the stream {stream}", phone.store)
    for stream, held in phone.streams.items():
        head = server.heads.get(stream)
        if head is not None and held != (head.count, head.digest):
            yield Violation(4, f"{phone.store}, {stream}: it holds {held}, the head says {(head.count, head.digest)}", phone.store)
    due = {r.id: r for r in server.records.values() if not r.deleted and (r.stream in scope or r.stream in own)}
    for record_id, record in due.items():
        shown = phone.records.get(record_id)
        if shown is None and record_id in hidden:
            continue
        if shown is None or shown.version is None:
            yield Violation(5, f"{phone.store} lacks the {record.kind} of {record.stream}", record_id)
        elif shown.version != record.version:
            yield Violation(4, f"{phone.store} has version {shown.version} of a {record.kind}, the server {record.version}", record_id)
        elif not shown.own and canonical(shown.body) != canonical(record.body):
            yield Violation(
                4, f"{phone.store} shows another {record.kind} than the server has: {difference(shown.body, record.body)}", record_id
            )
    for record_id, shown in phone.records.items():
        if record_id not in due and not shown.own:
            yield Violation(6, f"{phone.store} shows a record that is not, or no longer, its person's to see", record_id)


def difference(one: dict[str, object], other: dict[str, object]) -> str:
    names = [name for name in one.keys() | other.keys() if canonical(one.get(name)) != canonical(other.get(name))]
    return ", ".join(f"{name}: {one.get(name)!r} and {other.get(name)!r}" for name in sorted(names))


def judge_photos(phone: PhoneView, received: set[str]) -> Iterator[Violation]:
    """Promise 10: bytes that a phone let go are verified in the store of photos."""
    for sha256, state in phone.photos.items():
        if sha256 not in received:
            yield Violation(10, f"{phone.store} let go of photo {sha256[:12]} ({state}), and the server does not have it", phone.store)
