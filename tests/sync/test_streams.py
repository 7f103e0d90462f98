"""Where records stand in their streams, and where a phone stands: heads, cursors, holes, rewinds, scope."""

import uuid
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from contracts.digest import MODULUS, bucket_of, record_crc
from contracts.exchange import CountyPart, StreamHead
from contracts.people import Role
from sync.cursor import start_of
from sync.gaps import Gap, gap_before
from sync.heads import place
from sync.rewind import is_rewound
from sync.scope import streams_of
from sync.state import Head, RecordState
from tests.builders import NOW_MS, PLACES, a_duty, a_record, an_id, utc
from tests.county import COUNTY, MORNING, TOWNSHIP, VILLAGE_A, VILLAGE_B

STREAMS = ["a.field", "b.field", "c.office"]
CHANGES = st.lists(st.tuples(st.integers(1, 6), st.sampled_from(STREAMS), st.booleans()), max_size=12)


@settings(max_examples=200, deadline=None)
@given(st.lists(CHANGES, max_size=6))
def test_heads_equal_a_recomputation(batches: list[list[tuple[int, str, bool]]]) -> None:
    """Promises 4 and 5. Records come, change, move, go and come back; several times in a batch, too."""
    heads = {s: Head(stream=s, incarnation=1, seq=0, count=0, digest=0) for s in STREAMS}
    stored: dict[uuid.UUID, RecordState] = {}
    given_seqs: dict[str, list[int]] = {s: [] for s in STREAMS}
    markers: dict[tuple[str, uuid.UUID], int] = {}
    ever: set[tuple[str, uuid.UUID]] = set()
    for batch in batches:
        after: dict[uuid.UUID, RecordState] = {}
        for k, stream, deleted in batch:
            now = after.get(an_id(k)) or stored.get(an_id(k)) or replace(a_record(), id=an_id(k), version=(1, 0), deleted=True)
            after[an_id(k)] = replace(now, stream=now.stream if deleted else stream, deleted=deleted, version=(1, now.version[1] + 1))
        placed = place([(stored.get(i), record) for i, record in after.items()], {**heads, VILLAGE_A + ".field": _empty()})
        heads |= {head.stream: head for head in placed.heads}
        stored |= {record.id: record for record in placed.records}
        for record in placed.records:
            if not record.deleted:
                markers.pop((record.stream, record.id), None)
                given_seqs[record.stream].append(record.seq)
                ever.add((record.stream, record.id))
        for one in placed.markers:
            given_seqs.setdefault(one.stream, []).append(one.marker.seq)
            markers[one.stream, one.marker.id] = one.marker.seq
    for stream in STREAMS:
        live = [r for r in stored.values() if r.stream == stream and not r.deleted]
        assert heads[stream].count == len(live)
        assert heads[stream].digest == sum(record_crc(r.id, r.version) for r in live) % MODULUS
        assert sorted(given_seqs[stream]) == list(range(1, heads[stream].seq + 1))
    there = {(r.stream, r.id) for r in stored.values() if not r.deleted}
    assert there.isdisjoint(markers)
    assert ever == there | markers.keys(), "a phone that holds a record that left is told so"


def _empty() -> Head:
    return Head(stream=VILLAGE_A + ".field", incarnation=1, seq=0, count=0, digest=0)


HEADS = st.builds(
    lambda incarnation, floor, more: StreamHead(county=COUNTY, incarnation=incarnation, seq=floor + more, count=0, digest=0, floor=floor),
    st.integers(1, 3),
    st.integers(0, 20),
    st.integers(0, 20),
)


@settings(max_examples=300, deadline=None)
@given(st.none() | st.tuples(st.integers(1, 3), st.integers(0, 50)), HEADS, st.booleans())
def test_a_cursor_that_proves_nothing_starts_anew(cursor: Any, head: StreamHead, replacing: bool) -> None:
    """Promise 5. Anew exactly when: no cursor, another incarnation, a seq never given, or markers below it were purged."""
    start = start_of(cursor, head, replacing=replacing)
    assert 0 <= start.seq <= head.seq
    valid = cursor is not None and cursor[0] == head.incarnation and cursor[1] <= head.seq
    if not valid:
        assert (start.seq, start.replace) == (0, True)
    elif replacing:
        assert (start.seq, start.replace) == (cursor[1], True)
    elif 0 < cursor[1] < head.floor:
        assert (start.seq, start.replace) == (0, True)
    else:
        assert (start.seq, start.replace) == (cursor[1], False)
    assert start.is_behind(head) == (start.replace or start.seq < head.seq)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12), st.integers(1, 5))
def test_nothing_that_a_phone_still_holds_becomes_a_hole(n_high: int, oldest: int, begin: int, length: int) -> None:
    """Promise 9. And what nobody holds is never waited for: within three exchanges everything held is here."""
    made = oldest + length if oldest else begin
    held = set(range(oldest, made + 1)) if oldest else set()
    high, holes, arrived_numbers = n_high, set[int](), set[int]()
    for _ in range(3):
        first = next((n for n in sorted(held) if n > high), 0)
        part = CountyPart(n_made=made, n_oldest_held=oldest, first_n=first, mutations=_raw(first, made))
        gap = gap_before(part, high)
        if gap is Gap.WAIT:
            raise AssertionError("a phone that begins with the oldest unknown number is never told to wait")
        if isinstance(gap, tuple):
            holes |= set(range(gap[0], gap[1] + 1))
            high = max(high, gap[1])
        if first:
            arrived_numbers |= set(range(first, made + 1))
            high = max(high, made)
    assert holes.isdisjoint(held)
    assert {n for n in held if n > n_high} <= arrived_numbers
    assert set(range(n_high + 1, made + 1)) <= holes | arrived_numbers


def _raw(first: int, made: int) -> Any:
    return [Raw(b"{}") for _ in range(first, made + 1)] if first else []


@given(st.integers(1, 4), st.integers(0, 9), st.integers(1, 4), st.integers(0, 9))
def test_only_what_this_database_cannot_have_signed_proves_a_rewind(pi: int, pn: int, incarnation: int, n_high: int) -> None:
    """Promise 9. Once the new incarnation exceeds the proven one, it is not proven a second time."""
    proven = is_rewound((pi, pn), incarnation, n_high)
    assert proven == ((pi, pn) > (incarnation, n_high) and pi >= incarnation)
    assert not is_rewound((pi, pn), max(pi, incarnation) + 1, n_high)


@given(st.uuids(), st.integers(1, 9), st.integers(1, 2**40))
def test_a_records_share_of_the_digest_depends_on_id_and_version(record: uuid.UUID, incarnation: int, n: int) -> None:
    """Promise 4."""
    share = record_crc(record, (incarnation, n))
    assert 0 <= share < MODULUS
    assert share != record_crc(record, (incarnation, n + 1))
    assert bucket_of(record) == record.bytes[-1]


def test_scope_is_own_village_first_and_never_a_neighbours() -> None:
    """Promise 6."""
    now = utc(NOW_MS)
    member = list(streams_of([a_duty(Role.GRID_MEMBER, VILLAGE_A)], an_id(1), PLACES, now))
    assert member[0] == f"{VILLAGE_A}.field"
    assert not any(stream.startswith(VILLAGE_B) or "office" in stream for stream in member)
    lead = list(streams_of([a_duty(Role.TOWNSHIP_LEAD, TOWNSHIP)], an_id(1), PLACES, now))
    assert {f"{VILLAGE_A}.field", f"{VILLAGE_B}.field", f"{TOWNSHIP}.office"} <= set(lead)


def test_without_a_duty_only_the_devices_own_stream_is_left() -> None:
    """Promises 3 and 6. Work that was held is heard of afterwards; nothing else is."""
    ended = a_duty(Role.GRID_MEMBER, VILLAGE_A, ends=MORNING)
    assert list(streams_of([ended], an_id(1), PLACES, MORNING)) == [f"{COUNTY}-{an_id(1)}.device"]
