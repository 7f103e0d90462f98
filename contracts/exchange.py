"""The one exchange: what a phone sends and the frames it gets back (design.md section 3, docs/sync-protocol.md).

The answer is a sequence of frames, one JSON object a line (`application/x-ndjson`), flushed frame by frame, so that a
connection cut anywhere leaves every complete line usable. A phone stores a frame before it acts on it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Raw

from contracts.ids import County, DeviceId, RecordId, StreamName, Version
from contracts.mutation import Capture, ContractVersion
from contracts.outcomes import MutationOutcome
from contracts.receipt import Receipt

EXCHANGE_PATH = "/sync/v1/exchange"
LIVE_PATH = "/sync/v1/live"
BUCKETS = 256
REPAIR_STREAMS_MAX = 64  # in `buckets`, and in `repair`
STREAMS_MAX = 32_768  # in a cursor: the city with all its villages has a third of it
EXCHANGE_BYTES_MAX = 2 * 1024 * 1024  # a request, unpacked: a batch has about 1 MiB

NUMBER_MAX = 2**40  # of mutations of one device in one county: a thousand a second for 34 years
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
Seq = Annotated[int, Meta(ge=0, le=2**53)]
BucketsOf = Annotated[frozenset[Annotated[int, Meta(ge=0, lt=BUCKETS)]], Meta(max_length=BUCKETS)]
Stream = Annotated[StreamName, Meta(max_length=120)]
Cursor = tuple[int, Seq]  # (incarnation, seq): everything up to seq is here


class CountyPart(msgspec.Struct, frozen=True, kw_only=True):
    """One county's share of a request. The k-th mutation has number `first_n + k`, also when it does not decode."""

    n_made: Number = 0  # the last number this device has given out in this county
    n_oldest_held: Number = 0  # the oldest mutation it can still hand in; 0: holds none
    first_n: Number = 0
    mutations: Annotated[list[Raw], Meta(max_length=10_000)] = []  # a server answers fewer at once, and says how many (413)
    receipt: Receipt | None = None  # the newest it has of this county


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much the phone wants back in this answer."""

    records: Annotated[int, Meta(ge=0, le=20_000)] = 2_000
    bytes: Annotated[int, Meta(ge=0, le=64 * 1024 * 1024)] = 4 * 1024 * 1024  # uncompressed


class ExchangeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`cursor` lists the streams the phone holds; `buckets` and `repair` serve streams whose digest differed.

    replacing   streams whose replacement the phone has begun and not swept: their cursor is a position inside it, so it
                goes on from there (`replace` pages) although that lies below the floor. A stream that starts at 0 (no
                cursor, another incarnation, or below the floor and not named here) is always sent as a replacement.
    """

    device: DeviceId
    contract: ContractVersion
    clock: Capture
    counties: Annotated[dict[County, CountyPart], Meta(max_length=256)] = {}
    cursor: Annotated[dict[Stream, Cursor], Meta(max_length=STREAMS_MAX)] = {}
    replacing: Annotated[frozenset[Stream], Meta(max_length=STREAMS_MAX)] = frozenset()
    limits: Limits = Limits()
    buckets: Annotated[frozenset[Stream], Meta(max_length=REPAIR_STREAMS_MAX)] = frozenset()
    repair: Annotated[dict[Stream, BucketsOf], Meta(max_length=REPAIR_STREAMS_MAX)] = {}


class WireRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record in a page. `v` is its version; `body` is passed through as stored."""

    id: RecordId
    kind: str
    seq: Seq
    v: Version
    body: Raw
    parent: RecordId | None = None


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """The record left the stream at this seq. Drop the copy only if it is of this stream and not newer than `v`."""

    id: RecordId
    seq: Seq
    v: Version


class StreamHead(msgspec.Struct, frozen=True, kw_only=True):
    """A stream's head as one snapshot: live record count and digest hold exactly at `seq`."""

    county: County
    incarnation: int
    seq: Seq
    count: int
    digest: int  # sum over live records of crc32(id, version), mod 2^32
    floor: Seq  # markers at or below it are purged: a cursor below it must start anew (replacement)


class NotTaken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Mutations of this county without an outcome were not taken in: they stay on the phone, which offers them again after `retry_after_s`.

    reason   over_quota | desk_full | no_duty_here | unknown_county
    message  the same for people, Chinese
    """

    county: County
    reason: str
    message: str
    retry_after_s: int | None = None  # None: nothing is known to change by itself; offer them with the next sync


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag_field="frame", tag="hello"):
    exchange: str  # id of this exchange, also in the server's log
    server_ms: int
    contract_min: int
    contract_max: int
    problem: str | None = None  # contract_too_old | contract_too_new | device_wiped | device_cloned, or the first reason of `not_taken`
    message: str | None = None  # the same for people, Chinese
    not_taken: list[NotTaken] = []
    wipe: bool = False  # a lost phone: delete everything once this answer's receipts are stored


class Outcomes(msgspec.Struct, frozen=True, kw_only=True, tag_field="frame", tag="outcomes"):
    """What became of the mutations of one county. After a rewind `n_high` may lie below what a receipt said."""

    county: County
    incarnation: int
    outcomes: list[MutationOutcome]
    receipt: Receipt
    n_high: Seq  # the server knows every mutation up to here, but for `holes`
    n_safe: Seq | None  # in a verified backup up to here; None: no backup is configured
    holes: list[tuple[int, int]] = []  # [from, to]: nobody holds them any more


class Scope(msgspec.Struct, frozen=True, kw_only=True, tag_field="frame", tag="scope"):
    """Streams to have, with their heads, and streams to leave. The order of the members says nothing: pages come most urgent first.

    Leave: deliver own unsent work, get its receipt, then remove the stream's records (promise 6).
    """

    streams: dict[StreamName, StreamHead]
    drop: list[StreamName] = []


class Page(msgspec.Struct, frozen=True, kw_only=True, tag_field="frame", tag="page"):
    """Changes of one stream, strictly by seq. `cursor` is valid once the page is stored.

    replace   the phone starts this stream anew: mark at the first page, sweep after the last (design.md 3.2)
    last      the stream's head is reached; `head` is of the same snapshot: compare count and digest
    """

    stream: StreamName
    records: list[WireRecord]
    markers: list[Marker]
    cursor: Cursor
    last: bool
    head: StreamHead
    replace: bool = False


class Buckets(msgspec.Struct, frozen=True, kw_only=True, tag_field="frame", tag="buckets"):
    """Digest sums of the 256 buckets (last byte of the id) of one stream, of one snapshot."""

    stream: StreamName
    head: StreamHead
    sums: list[int]


class Repair(msgspec.Struct, frozen=True, kw_only=True, tag_field="frame", tag="repair"):
    """All live records of the named buckets: the phone replaces its confirmed copies of them."""

    stream: StreamName
    head: StreamHead
    buckets: list[int]
    records: list[WireRecord]


class End(msgspec.Struct, frozen=True, kw_only=True, tag_field="frame", tag="end"):
    """Nothing follows. `more`: come again at once. `photos_wanted`: announced by this device, bytes not here yet."""

    more: bool
    photos_wanted: list[str] = []


Frame = Hello | Outcomes | Scope | Page | Buckets | Repair | End
