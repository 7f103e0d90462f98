"""A scripted server for the phone's tests: small, obvious, and able to misbehave in the ways the real one must not.

It is no twin of the real server (its merge is "last one wins"); it exists so that frames, faults and crashes can be tested
one by one, in memory, in milliseconds. What the phone makes of the real server is told in test_real_server.py.
"""

import copy
import hashlib
import json
import sys
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.digest import bucket_of, record_crc
from contracts.exchange import Buckets, End, ExchangeRequest, Hello, Marker, Outcomes, Page, Repair, Scope, StreamHead, WireRecord
from contracts.ids import conflict_id, outcome_id
from contracts.mutation import Mutation
from contracts.outcomes import MutationOutcome, Outcome, Reason
from contracts.photos import CompleteAnswer, Part, PhotoRequest, PhotoState, UploadAnswer
from contracts.receipt import PhotoReceipt, Receipt, outcomes_digest

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COUNTY = 610902
VILLAGE = "610902001001.field"
NEXT_VILLAGE = "610902001002.field"
CHUNK = 1000
UNKNOWN_FRAME = {"frame": "weather", "of": "a newer protocol"}  # a phone passes it over


@dataclass
class Live:
    kind: str
    v: tuple[int, int]
    seq: int
    body: dict[str, Any]
    parent: uuid.UUID | None = None


@dataclass
class ServerStream:
    incarnation: int = 1
    seq: int = 0
    floor: int = 0
    live: dict[uuid.UUID, Live] = field(default_factory=dict)
    markers: dict[uuid.UUID, tuple[int, tuple[int, int]]] = field(default_factory=dict)

    def head(self, county: int) -> StreamHead:
        digest = sum(record_crc(i, r.v) for i, r in self.live.items()) % 2**32
        return StreamHead(
            county=county,
            incarnation=self.incarnation,
            seq=self.seq,
            count=len(self.live),
            digest=digest,
            floor=self.floor,
        )


@dataclass
class World:
    """What a backup holds."""

    streams: dict[str, ServerStream] = field(default_factory=dict)
    outcomes: dict[tuple[uuid.UUID, int], MutationOutcome] = field(default_factory=dict)
    n_high: dict[uuid.UUID, int] = field(default_factory=dict)
    holes: dict[uuid.UUID, list[tuple[int, int]]] = field(default_factory=dict)
    applied: list[Mutation] = field(default_factory=list)
    photos: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)


Judge = Callable[[Mutation], tuple[Outcome, Reason]]


class PretendServer:
    def __init__(self) -> None:
        self.world = World(streams={VILLAGE: ServerStream(), NEXT_VILLAGE: ServerStream()})
        self.incarnation = 1
        self.key = Ed25519PrivateKey.generate()
        self.key_id = "key-1"
        self.scope = [VILLAGE]
        self.judge: Judge = lambda mutation: (Outcome.APPLIED, Reason.OK)
        self.n_safe: int | None = None
        self.wipe = False
        self.careless = False  # gives up missing numbers that the phone still holds
        self.problem: str | None = None
        self.encoding = "zstd"
        self.page_records = 100
        self.now_ms = 1_790_000_000_000
        self.busy: list[httpx.Response] = []  # answers given instead of an exchange, first to last
        self.spoil: Callable[[Any], Any] = lambda frame: frame
        self.mutations_max = 10_000
        self.exchanges = 0
        self.requests: list[ExchangeRequest] = []
        self.expired_tokens: set[str] = set()
        self.tokens = 0

    # ---------------------------------------------------------------------------------------- what others do

    def stream(self, name: str) -> ServerStream:
        return self.world.streams.setdefault(name, ServerStream(incarnation=self.incarnation))

    def where(self, record: uuid.UUID) -> tuple[str, Live] | None:
        for name, stream in self.world.streams.items():
            if record in stream.live:
                return name, stream.live[record]
        return None

    def put(self, record: uuid.UUID, name: str, kind: str, body: dict[str, Any], parent: uuid.UUID | None = None) -> Live:
        """Write the record into a stream; from another one it moves, leaving a marker."""
        found = self.where(record)
        version = (self.incarnation, (found[1].v[1] if found else self._buried(record)) + 1)
        stream = self.stream(name)
        if found and found[0] != name:
            self._mark(found[0], record, version)
        stream.seq += 1
        stream.markers.pop(record, None)
        stream.live.pop(record, None)
        live = stream.live[record] = Live(kind, version, stream.seq, body, parent)
        return live

    def delete(self, record: uuid.UUID) -> None:
        found = self.where(record)
        if found:
            self._mark(found[0], record, (self.incarnation, found[1].v[1] + 1))

    def _mark(self, name: str, record: uuid.UUID, version: tuple[int, int]) -> None:
        stream = self.world.streams[name]
        stream.seq += 1
        del stream.live[record]
        stream.markers[record] = (stream.seq, version)

    def _buried(self, record: uuid.UUID) -> int:
        return max((s.markers[record][1][1] for s in self.world.streams.values() if record in s.markers), default=0)

    def purge_markers(self, name: str) -> None:
        stream = self.world.streams[name]
        stream.floor = stream.seq
        stream.markers.clear()

    def backup(self) -> World:
        return copy.deepcopy(self.world)

    def restore(self, backup: World) -> None:
        """As an operator would; the incarnation is bumped by the first receipt that names what is lost."""
        self.world = copy.deepcopy(backup)

    def bodies(self, name: str = VILLAGE) -> dict[uuid.UUID, dict[str, Any]]:
        return {i: r.body for i, r in self.world.streams[name].live.items()}

    def settle(self, device: uuid.UUID, n: int, outcome: Outcome, reason: Reason) -> None:
        """A desk decides a held mutation; the phone learns it by a record of its own stream."""
        known = self.world.outcomes[device, n]
        self.world.outcomes[device, n] = msgspec.structs.replace(known, outcome=outcome, reason=reason)
        self._tell(device, n, outcome, reason, final=True)

    def _tell(self, device: uuid.UUID, n: int, outcome: Outcome, reason: Reason, *, final: bool) -> None:
        body = {"device": str(device), "n": n, "outcome": outcome.value, "reason": reason.value, "final": final}
        name = f"{COUNTY}-{device}.device"
        if name not in self.scope:
            self.scope.append(name)
        self.put(outcome_id(f"{device}/{COUNTY}/{n}"), name, "outcome", body)

    # ---------------------------------------------------------------------------------------- HTTP

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._streamed)

    def _streamed(self, request: httpx.Request) -> httpx.Response:
        """As a socket would give it: httpx counts content that is handed over whole as read already."""
        answer = self._handle(request)
        if answer.is_stream_consumed:
            return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))
        return answer

    def _handle(self, request: httpx.Request) -> httpx.Response:
        body = request.content
        if request.headers.get("Content-Encoding") == "zstd":
            body = zstd.decompress(body)
        path = request.url.path
        if path.startswith(("/people", "/auth")):
            return self._people(path)
        if path == "/sync/v1/keys":
            public = self.key.public_key().public_bytes_raw().hex()
            return httpx.Response(200, json=[{"key": self.key_id, "public": public}])
        if path.startswith("/parts/"):
            return self._part(path, body)
        if request.headers.get("Authorization", "")[7:] in self.expired_tokens:
            return problem(401, "token_expired")
        if path.startswith("/photos"):
            return self._photo(path, msgspec.json.decode(body, type=PhotoRequest))
        if self.busy:
            return self.busy.pop(0)
        wanted = msgspec.json.decode(body, type=ExchangeRequest)
        if any(len(part.mutations) > self.mutations_max for part in wanted.counties.values()):
            return problem(413, "body_too_large")
        return self._packed([msgspec.json.encode(self.spoil(frame)) + b"\n" for frame in self._exchange(wanted)])

    def _people(self, path: str) -> httpx.Response:
        if path.endswith("/units"):
            unit = {"code": "610902001001", "county": COUNTY, "parent": None, "level": "village", "name": "村"}
            return httpx.Response(200, json={"units": [unit]})
        self.tokens += 1
        ends = "2030-01-01T00:00:00Z"
        tokens = {"access": f"access-{self.tokens}", "refresh": f"refresh-{self.tokens}"}
        ids = {"person": str(uuid.UUID(int=7)), "device": str(uuid.UUID(int=8)), "server_ms": self.now_ms}
        return httpx.Response(200, json={**tokens, **ids, "access_ends": ends, "refresh_ends": ends})

    def _packed(self, lines: list[bytes]) -> httpx.Response:
        if self.encoding == "zstd":
            pack = zstd.ZstdCompressor()
            content = b"".join(pack.compress(x, zstd.ZstdCompressor.FLUSH_BLOCK) for x in lines) + pack.flush()
        elif self.encoding == "gzip":
            gzip = zlib.compressobj(wbits=31)
            content = b"".join(gzip.compress(x) + gzip.flush(zlib.Z_SYNC_FLUSH) for x in lines) + gzip.flush()
        else:
            return httpx.Response(200, content=b"".join(lines))
        return httpx.Response(200, headers={"Content-Encoding": self.encoding}, stream=httpx.ByteStream(content))

    # ---------------------------------------------------------------------------------------- the exchange

    def _exchange(self, request: ExchangeRequest) -> list[Any]:
        self.exchanges += 1
        self.now_ms += 1000
        self.requests.append(request)
        frames: list[Any] = [
            Hello(
                exchange=str(self.exchanges),
                server_ms=self.now_ms,
                contract_min=1,
                contract_max=1,
                problem=self.problem,
                wipe=self.wipe,
            )
        ]
        for county, part in request.counties.items():
            frames.append(self._push(request.device, county, part))
        if self.wipe:
            return [*frames, End(more=False)]
        held = set(request.cursor)
        known = [name for name in self.scope if name in self.world.streams]  # a stream is born with its first record
        heads = {name: self.stream(name).head(COUNTY) for name in known}
        frames.append(Scope(streams=heads, drop=sorted(held - set(self.scope))))
        pages, more = self._pages(request)
        wanted = sorted(
            str(m.body_value["sha256"])
            for m in map(_with_body, self.world.applied)
            if m.kind == "photo" and m.body_value and m.body_value["sha256"] not in self.world.photos
        )
        return [*frames, *pages, *self._digests(request), End(more=more, photos_wanted=wanted)]

    def _push(self, device: uuid.UUID, county: int, part: Any) -> Outcomes:
        high = self.world.n_high.get(device, 0)
        if part.receipt is not None and part.receipt.incarnation == self.incarnation and part.receipt.n > high:
            self.incarnation += 1
            for stream in self.world.streams.values():
                stream.incarnation = self.incarnation
        outcomes = []
        still_held = part.n_oldest_held and max(part.n_oldest_held, high + 1) < part.first_n
        if part.first_n <= high + 1 or self.careless or not still_held:
            if part.mutations and part.first_n > high + 1:
                self.world.holes.setdefault(device, []).append((high + 1, part.first_n - 1))
            for k, raw in enumerate(part.mutations):
                outcomes.append(self._mutate(device, part.first_n + k, msgspec.json.decode(raw, type=Mutation)))
        high = self.world.n_high.get(device, 0)
        receipt = Receipt(
            county=county,
            device=device,
            incarnation=self.incarnation,
            n=high,
            digest=outcomes_digest(outcomes),
            at_ms=self.now_ms,
            key=self.key_id,
        )
        receipt = msgspec.structs.replace(receipt, sig=self.key.sign(receipt.signed_bytes()).hex())
        return Outcomes(
            county=county,
            incarnation=self.incarnation,
            outcomes=outcomes,
            receipt=receipt,
            n_high=high,
            n_safe=self.n_safe,
            holes=self.world.holes.get(device, []),
        )

    def _mutate(self, device: uuid.UUID, n: int, mutation: Mutation) -> MutationOutcome:
        known = self.world.outcomes.get((device, n))
        if known is not None:
            return known
        outcome, reason = self.judge(mutation)
        found = self.where(mutation.record)
        version = found[1].v if found else None
        if not outcome.is_held and outcome is not Outcome.REJECTED:
            version = self._apply(mutation)
        if outcome.is_held:
            self._tell(device, n, outcome, reason, final=False)
        answer = MutationOutcome(n=n, id=mutation.id, outcome=outcome, reason=reason, version=version)
        self.world.outcomes[device, n] = answer
        self.world.n_high[device] = max(n, self.world.n_high.get(device, 0))
        return answer

    def _apply(self, mutation: Mutation) -> tuple[int, int] | None:
        self.world.applied.append(mutation)
        found = self.where(mutation.record)
        if mutation.op == "create":
            body = json.loads(bytes(mutation.body))
            parent = uuid.UUID(body["parent"]) if "parent" in body else None
            home = self.where(parent) if parent else None
            name = home[0] if home else f"{body.get('unit', '610902001001')}.field"
            return self.put(mutation.record, name, mutation.kind, body, parent).v
        if found is None:
            return None
        name, live = found
        if mutation.op == "delete":
            self.delete(mutation.record)
            return (self.incarnation, live.v[1] + 1)
        body = copy.deepcopy(live.body)
        for key, (_, new) in mutation.fields.items():
            head, dot, item = key.partition(".")
            if dot:
                body.setdefault(head, {})[item] = new
            else:
                body[key] = new
        target = f"{body['unit']}.field" if "unit" in mutation.fields else name
        return self.put(mutation.record, target, live.kind, body, live.parent).v

    def conflict(self, mutation: Mutation, name: str, text: str) -> None:
        self.put(conflict_id(mutation.id, mutation.record, "note"), name, "conflict", {"state": "open", "lost": text})

    def _pages(self, request: ExchangeRequest) -> tuple[list[Page], bool]:
        left, pages = request.limits.records, []
        for name in self.scope:
            if name not in self.world.streams:
                continue
            stream, cursor = self.stream(name), request.cursor.get(name)
            replacing = name in request.replacing
            anew = cursor is None or cursor[0] != stream.incarnation or (cursor[1] < stream.floor and not replacing)
            at, replace = (0, True) if anew or cursor is None else (cursor[1], replacing)
            if not replace and at == stream.seq:
                continue
            changes: list[Any] = [
                WireRecord(id=i, kind=r.kind, seq=r.seq, v=r.v, body=msgspec.Raw(json.dumps(r.body).encode()), parent=r.parent)
                for i, r in stream.live.items()
                if r.seq > at
            ]
            changes += [Marker(id=i, seq=s, v=v) for i, (s, v) in stream.markers.items() if s > at]
            changes.sort(key=lambda c: c.seq)
            while True:
                size = min(self.page_records, left)
                batch, changes = changes[:size], changes[size:]
                left -= len(batch)
                last = not changes
                at = stream.seq if last else batch[-1].seq if batch else at
                pages.append(
                    Page(
                        stream=name,
                        records=[c for c in batch if isinstance(c, WireRecord)],
                        markers=[c for c in batch if isinstance(c, Marker)],
                        cursor=(stream.incarnation, at),
                        last=last,
                        head=stream.head(COUNTY),
                        replace=replace,
                    )
                )
                if last:
                    break
                if left == 0:
                    return pages, True
        return pages, False

    def _digests(self, request: ExchangeRequest) -> list[Any]:
        frames: list[Any] = []
        for name in request.buckets:
            sums = [0] * 256
            for record, live in self.stream(name).live.items():
                sums[bucket_of(record)] += record_crc(record, live.v)
            frames.append(Buckets(stream=name, head=self.stream(name).head(COUNTY), sums=[s % 2**32 for s in sums]))
        for name, buckets in request.repair.items():
            stream = self.stream(name)
            records = [
                WireRecord(id=i, kind=r.kind, seq=r.seq, v=r.v, body=msgspec.Raw(json.dumps(r.body).encode()), parent=r.parent)
                for i, r in stream.live.items()
                if bucket_of(i) in buckets
            ]
            frames.append(Repair(stream=name, head=stream.head(COUNTY), buckets=buckets, records=records))
        return frames

    # ---------------------------------------------------------------------------------------- photos

    def _photo(self, path: str, wanted: PhotoRequest) -> httpx.Response:
        sha = wanted.sha256
        announced = {
            m.body_value["sha256"]: m.body_value for m in map(_with_body, self.world.applied) if m.kind == "photo" and m.body_value
        }
        if sha not in announced:
            return problem(409, "photo_not_announced")
        if sha in self.world.photos:
            return self._photo_received(sha, path)
        size, have = announced[sha]["bytes"], self.world.parts.setdefault(sha, {})
        if path.endswith("/uploads"):
            parts = [
                Part(
                    index=i,
                    offset=i * CHUNK,
                    bytes=min(CHUNK, size - i * CHUNK),
                    have=i in have,
                    url=f"/parts/{sha}/{i}",
                    headers={"x-part": str(i)},
                )
                for i in range(-(-size // CHUNK))
            ]
            return _json(UploadAnswer(state=PhotoState.UPLOAD, mode="chunks", parts=parts))
        content = b"".join(have[i] for i in sorted(have))
        if hashlib.sha256(content).hexdigest() != sha:
            have.clear()
            return problem(409, "photo_hash_mismatch")
        self.world.photos[sha] = content
        return self._photo_received(sha, path)

    def _photo_received(self, sha: str, path: str) -> httpx.Response:
        receipt = PhotoReceipt(county=COUNTY, sha256=sha, bytes=len(self.world.photos[sha]), at_ms=self.now_ms, key=self.key_id)
        receipt = self.spoil(msgspec.structs.replace(receipt, sig=self.key.sign(receipt.signed_bytes()).hex()))
        if path.endswith("/uploads"):
            return _json(UploadAnswer(state=PhotoState.RECEIVED, receipt=receipt))
        return _json(CompleteAnswer(state=PhotoState.RECEIVED, receipt=receipt))

    def _part(self, path: str, body: bytes) -> httpx.Response:
        _, _, sha, index = path.split("/")
        self.world.parts.setdefault(sha, {})[int(index)] = body
        return httpx.Response(200)


@dataclass
class _WithBody:
    kind: str
    body_value: dict[str, Any]


def _with_body(mutation: Mutation) -> _WithBody:
    body = {} if mutation.body is msgspec.UNSET else json.loads(bytes(mutation.body))
    return _WithBody(mutation.kind, body)


def _json(answer: msgspec.Struct) -> httpx.Response:
    return httpx.Response(200, content=msgspec.json.encode(answer))


def problem(status: int, code: str, details: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
    body = {"type": f"urn:xunling:problem:{code}", "code": code, "title": code, "status": status, "details": details or {}}
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return httpx.Response(status, headers=named, content=json.dumps(body).encode())
