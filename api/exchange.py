"""POST /sync/v1/exchange: everything in one round trip (design.md section 3).

*The handler decodes the request; for each county storage pushes in one transaction; then the scope, its heads and the pages
are read; every frame is a line of JSON, packed and flushed on its own, so that a connection cut anywhere leaves whole frames.*
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, post
from uuid_utils.compat import uuid7

from api.auth import PHONE_WITHOUT_FACTOR, PUSH_ONLY, charge_wiped
from api.dependencies import provide_resources
from api.frames import FrameResponse, encoding_for
from api.reading import decode_request
from api.resources import Resources
from api.turns import OWN_TURN
from contracts.caller import Caller
from contracts.exchange import (
    BUCKETS,
    EXCHANGE_BYTES_MAX,
    EXCHANGE_PATH,
    NUMBER_MAX,
    Buckets,
    CountyPart,
    End,
    ExchangeRequest,
    Hello,
    NotTaken,
    Outcomes,
    Scope,
)
from contracts.ids import County, StreamName
from contracts.mutation import CONTRACT_MAX, CONTRACT_MIN
from contracts.outcomes import TEXT_ZH, Reason
from contracts.problems import Problem, ProblemCode
from contracts.receipt import Receipt, outcomes_digest
from storage.contact import fetch_contact, fetch_wanted_of_device, needs_push
from storage.pool import Connection, infrastructure_problem, retrying
from storage.pull import PAGE_BYTES_MAX, PageRows, fetch_buckets, fetch_heads, fetch_pages, fetch_repair
from storage.push import DESK_FULL_RETRY_S, Pushed, PushRequest, push, to_ms
from storage.reference import Reference
from sync.cursor import Start, start_of
from sync.decision import Sender
from sync.scope import has_worked_in, streams_of

NOT_TAKEN_ZH: Final = {
    "over_quota": "今天上传的内容已达上限，其余内容保留在手机上，稍后会继续上传",
    "desk_full": "您待核定的内容过多，请先请上级处理；其余内容保留在手机上，稍后会继续上传",
    "no_duty_here": "您在该县区没有也不曾有过职责，内容保留在手机上，请联系管理员",
    "unknown_county": "服务器上没有该县区，内容保留在手机上，请联系管理员",
}
STREAMS_AT_ONCE: Final = 16  # streams read by one statement
_frame: Final = msgspec.json.Encoder()

log = structlog.get_logger("xunling.exchange")


class Exchange:
    """One exchange under way: what it knows and the frames it has made so far (bytes, one JSON line each)."""

    def __init__(
        self, resources: Resources, caller: Caller, request: ExchangeRequest, began_at: datetime, read_at: datetime, now: datetime
    ) -> None:
        self.resources = resources
        self.caller = caller
        self.request = request
        self.began_at = began_at  # when its first byte came: when the phone read its clock lies between this and
        self.read_at = read_at  # when its last one had come; what waits for a place is late for no reason of the phone's
        self.now = now
        self.id = uuid7().hex
        self.barred = barred_reason(caller, request.contract)
        self.cloned = False
        self.not_taken: list[NotTaken] = []
        self.moved: set[tuple[County, StreamName]] = set()
        self.frames: list[bytes] = []

    async def run(self) -> list[bytes]:
        """All frames. Infrastructure faults raise before anything is answered."""
        self._check_sizes()  # before the first county is written: a refusal says that nothing was taken
        reference = await self.resources.units.reference()
        parts = await self._within_quota(sorted(self.request.counties.items()))
        outcomes = [await self._county(reference, county, part) for county, part in parts]
        hello = self._hello()
        started = time.perf_counter()
        end = await retrying(lambda: self._read(reference))
        self.resources.metrics.exchange_seconds.labels("pull").observe(time.perf_counter() - started)
        return [_line(hello), *(_line(o) for o in outcomes if o is not None), *self.frames, _line(end)]

    # ---------------------------------------------------------------------------------------------- up

    def _check_sizes(self) -> None:
        mutations_max = self.resources.sync.mutations_max
        for part in self.request.counties.values():
            if len(part.mutations) > mutations_max:
                raise Problem(ProblemCode.BODY_TOO_LARGE, mutations_max=mutations_max)
            if part.mutations and not 1 <= part.first_n <= NUMBER_MAX - len(part.mutations):
                raise Problem(ProblemCode.MALFORMED_REQUEST, "操作编号（first_n）超出允许的范围，请更新应用")

    async def _within_quota(self, parts: list[tuple[County, CountyPart]]) -> list[tuple[County, CountyPart]]:
        """The parts that may be handed in today. A lost phone is bounded otherwise (`charge_wiped`), and its work cannot wait."""
        cost = sum(len(bytes(raw)) for _, part in parts for raw in part.mutations)
        if not cost or self.caller.wiped or self.caller.cloned:
            return parts
        wait_s = await self.resources.sync.bytes_of_a_day.wait_s(self.resources.pool, self.caller.person, self.now, cost)
        if wait_s is None:
            return parts
        for county, part in parts:
            if part.mutations:
                self._leave(county, "over_quota", wait_s)
        return [(county, part) for county, part in parts if not part.mutations]

    def _leave(self, county: County, reason: str, retry_after_s: int | None = None) -> None:
        """The mutations of this county stay on the phone, and the answer says why."""
        self.not_taken.append(NotTaken(county=county, reason=reason, message=NOT_TAKEN_ZH[reason], retry_after_s=retry_after_s))

    async def _county(self, reference: Reference, county: County, part: CountyPart) -> Outcomes | None:
        """None: nothing of it was taken in, and nothing is acknowledged."""
        pool, device = self.resources.pool, self.caller.device
        if county not in reference.places.counties:
            return self._leave(county, "unknown_county")  # nothing here could keep it: it is not acknowledged
        if part.mutations and not has_worked_in(self.caller.duties, reference.places, county):
            return self._leave(county, "no_duty_here")
        proven = self._proven(county, part.receipt)
        if not part.mutations:
            contact = await retrying(lambda: fetch_contact(pool, county, device))
            if contact is None:
                return None
            if not needs_push(contact, part, proven, self.now):
                return self._answer(
                    Pushed(
                        county=county,
                        incarnation=contact.incarnation,
                        outcomes=[],
                        n_high=contact.n_high,
                        n_safe=contact.n_safe,
                        holes=contact.holes,
                    )
                )
        started = time.perf_counter()
        pushed = await self._pushed(reference, county, part, proven)
        self.resources.metrics.exchange_seconds.labels("push").observe(time.perf_counter() - started)
        for outcome, times in Counter(outcome.outcome for outcome in pushed.outcomes).items():
            self.resources.metrics.mutations.labels(outcome.value).inc(times)
        self.cloned |= pushed.cloned
        self.moved |= {(county, stream) for stream in pushed.streams}
        if pushed.desk_full:
            self._leave(county, "desk_full", DESK_FULL_RETRY_S)
        return None if pushed.desk_full and not pushed.outcomes else self._answer(pushed)

    async def _pushed(self, reference: Reference, county: County, part: CountyPart, proven: tuple[int, int] | None) -> Pushed:
        """A repeated push is harmless, so a passing fault of PostgreSQL is tried again before the phone hears of it."""
        request = PushRequest(
            county=county,
            sender=Sender(device=self.caller.device, person=self.caller.person, duties=self.caller.duties, barred=self.barred),
            part=part,
            clock=self.request.clock,
            received_at=self.read_at,
            began_at=self.began_at,
            enrolled_at=self.caller.enrolled_at,
            proven=proven,
            mutation_bytes_max=self.resources.sync.mutation_bytes_max,
            held_max=None if self.caller.wiped or self.caller.cloned else self.resources.sync.held_of_person_max,
        )
        return await retrying(lambda: push(self.resources.pool, reference, request))

    def _proven(self, county: County, receipt: Receipt | None) -> tuple[int, int] | None:
        """What a receipt of ours proves of this very device; anything else proves nothing."""
        if receipt is None or receipt.county != county or receipt.device != self.caller.device:
            return None
        return (receipt.incarnation, receipt.n) if self.resources.signer.has_signed(receipt) else None

    def _answer(self, pushed: Pushed) -> Outcomes:
        receipt = self.resources.signer.sign_receipt(
            Receipt(
                county=pushed.county,
                device=self.caller.device,
                incarnation=pushed.incarnation,
                n=pushed.n_high,
                digest=outcomes_digest(pushed.outcomes),
                at_ms=to_ms(self.now),
                key="",
            )
        )
        return Outcomes(
            county=pushed.county,
            incarnation=pushed.incarnation,
            outcomes=pushed.outcomes,
            receipt=receipt,
            n_high=pushed.n_high,
            n_safe=(pushed.n_safe or 0) if self.resources.sync.backup_configured else None,
            holes=pushed.holes,
        )

    def _hello(self) -> Hello:
        reason = Reason.DEVICE_CLONED if self.cloned else self.barred
        first = self.not_taken[0] if self.not_taken else None
        return Hello(
            exchange=self.id,
            server_ms=to_ms(self.now),
            contract_min=CONTRACT_MIN,
            contract_max=CONTRACT_MAX,
            problem=reason.value if reason else first.reason if first else None,
            message=TEXT_ZH[reason] if reason else first.message if first else None,
            not_taken=self.not_taken,
            wipe=self.barred is Reason.DEVICE_WIPED,
        )

    # ---------------------------------------------------------------------------------------------- down

    async def _read(self, reference: Reference) -> End:
        """All that goes down, over one connection; as a whole it can be done again on another one."""
        self.frames.clear()
        more, wanted = False, list[str]()
        async with self.resources.pool.acquire() as conn:
            if self.barred is None and not self.cloned:
                more = await self._down(conn, reference)
            if self.request.counties:
                counties = [county for county in self.request.counties if county in reference.places.counties]
                wanted = await fetch_wanted_of_device(conn, counties, self.caller.device)
        return End(more=more, photos_wanted=wanted)

    async def _down(self, conn: Connection, reference: Reference) -> bool:
        """Scope, pages, buckets and repairs; whether the phone should come again at once."""
        scope = streams_of(self.caller.duties, self.caller.device, reference.places, self.now)
        heads = {}
        for county, streams in by_county(scope).items():
            heads |= await fetch_heads(conn, county, streams)
        held = self.request.cursor
        known = {stream: heads[stream] for stream in scope if stream in heads}
        self.frames.append(_line(Scope(streams=known, drop=sorted(stream for stream in held if stream not in scope))))
        starts = {stream: start_of(held.get(stream), head, replacing=stream in self.request.replacing) for stream, head in known.items()}
        behind = {stream: start for stream, start in starts.items() if start.is_behind(known[stream])}
        for stream, start in behind.items():
            self.resources.metrics.stream_lag.observe(max(0, known[stream].seq - start.seq))
        bytes_left = min(self.request.limits.bytes, self.resources.sync.exchange_bytes_max)
        more, bytes_left = await self._pages(conn, scope, behind, bytes_left)
        await self._sums(conn, scope)
        await self._repairs(conn, scope, bytes_left)
        return more

    async def _pages(
        self, conn: Connection, scope: dict[StreamName, County], behind: dict[StreamName, Start], bytes_left: int
    ) -> tuple[bool, int]:
        """Pages until every stream is at its head or the phone's limits are reached: whether there is more, and how many bytes are left."""
        left = self.request.limits.records
        queue = dict(behind)
        while queue:
            if left <= 0 or bytes_left <= 0:
                return True, bytes_left
            county, group = next_group(queue, scope)
            limit = min(self.resources.sync.page_records_max, left)
            page_bytes_max = min(PAGE_BYTES_MAX, bytes_left)
            for page in await fetch_pages(conn, county, {s: queue[s].seq for s in group}, limit, page_bytes_max):
                start = start_of((page.head.incarnation, queue[page.stream].seq), page.head, replacing=queue[page.stream].replace)
                if start != queue[page.stream]:  # the floor rose since the heads were read: the markers are gone
                    queue[page.stream] = start
                    continue
                self.frames.append(page_line(page, replace=queue[page.stream].replace))
                self.resources.metrics.records_sent.inc(page.size)
                left -= page.size
                bytes_left -= len(self.frames[-1])
                queue[page.stream] = Start(page.seq, queue[page.stream].replace)
                if page.last:
                    del queue[page.stream]
                if left <= 0 or bytes_left <= 0:
                    break
        return False, bytes_left

    async def _sums(self, conn: Connection, scope: dict[StreamName, County]) -> None:
        for stream in sorted(self.request.buckets & scope.keys()):
            found = await fetch_buckets(conn, scope[stream], stream)
            if found is not None:
                head, sums = found
                self.frames.append(_line(Buckets(stream=stream, head=head, sums=[sums.get(b, 0) % 2**32 for b in range(BUCKETS)])))

    async def _repairs(self, conn: Connection, scope: dict[StreamName, County], bytes_left: int) -> None:
        """As many whole buckets as fit. What is left out the phone asks for again: its digest still differs."""
        for stream, buckets in self.request.repair.items():
            if bytes_left <= 0:
                return
            repaired = await fetch_repair(conn, scope[stream], stream, buckets, bytes_left) if stream in scope else None
            if repaired is not None:
                head, sent, records = repaired
                self.frames.append(
                    b'{"frame":"repair","stream":%s,"head":%s,"buckets":%s,"records":[%s]}\n'
                    % (_frame.encode(stream), _frame.encode(head), _frame.encode(sent), records.encode())
                )
                bytes_left -= len(self.frames[-1])


def barred_reason(caller: Caller, contract: int) -> Reason | None:
    """Why everything of this device goes to quarantine."""
    if caller.wiped:
        return Reason.DEVICE_WIPED
    if caller.cloned:
        return Reason.DEVICE_CLONED
    if contract < CONTRACT_MIN:
        return Reason.CONTRACT_TOO_OLD
    return Reason.CONTRACT_TOO_NEW if contract > CONTRACT_MAX else None


def by_county(scope: dict[StreamName, County]) -> dict[County, list[StreamName]]:
    groups: dict[County, list[StreamName]] = {}
    for stream, county in scope.items():
        groups.setdefault(county, []).append(stream)
    return groups


def next_group(queue: dict[StreamName, Start], scope: dict[StreamName, County]) -> tuple[County, list[StreamName]]:
    """The most urgent streams of one county that one statement reads."""
    county = scope[next(iter(queue))]
    return county, [stream for stream in queue if scope[stream] == county][:STREAMS_AT_ONCE]


def page_line(page: PageRows, *, replace: bool) -> bytes:
    """A `Page` frame around the JSON that PostgreSQL made."""
    return b'{"frame":"page","stream":%s,"records":[%s],"markers":[%s],"cursor":[%d,%d],"last":%s,"head":%s,"replace":%s}\n' % (
        _frame.encode(page.stream),
        page.records,
        page.markers,
        page.head.incarnation,
        page.seq,
        _frame.encode(page.last),
        _frame.encode(page.head),
        _frame.encode(replace),
    )


def _line(frame: msgspec.Struct) -> bytes:
    return _frame.encode(frame) + b"\n"


async def request_of(body: bytes, caller: Caller) -> ExchangeRequest:
    wanted = await decode_request(body)
    if wanted.device != caller.device:
        raise Problem(ProblemCode.DEVICE_MISMATCH)
    return wanted


@post(
    EXCHANGE_PATH,
    opt=PUSH_ONLY | PHONE_WITHOUT_FACTOR | {OWN_TURN: True},
    request_max_body_size=EXCHANGE_BYTES_MAX,
    status_code=200,
    tags=["sync"],
    summary="交换：上传变更、取回更新 / exchange: hand in changes, fetch what is new",
    description="Body: ExchangeRequest. Answer: one JSON frame a line (application/x-ndjson). See docs/sync-protocol.md.",
)
async def exchange(request: Request[Caller, Any, Any]) -> FrameResponse:
    """Hand in what was made offline and get what is new, in one round trip."""
    caller, resources = request.user, provide_resources(request.app.state)  # injection costs a task group per request
    began_at = resources.now()
    body = await request.body()
    read_at = resources.now()
    await charge_wiped(resources, caller, len(body))
    started = time.perf_counter()
    try:
        async with resources.turns.at_work(caller.person):
            wanted = await request_of(body, caller)
            async with resources.exchanges.slot():
                work = Exchange(resources, caller, wanted, began_at, read_at, resources.now())
                structlog.contextvars.bind_contextvars(exchange_id=work.id)
                frames = await work.run()
    except Exception as error:
        problem = error if isinstance(error, Problem) else infrastructure_problem(error)
        if problem is not None and problem.retry_after_s is not None:
            resources.metrics.exchanges_refused.inc()
        if problem is None or problem is error:
            raise
        raise problem from error
    resources.metrics.exchange_seconds.labels("whole").observe(time.perf_counter() - started)  # with the wait for a place
    resources.live.moved(work.moved)
    return FrameResponse(frames, encoding_for(request.headers.get("accept-encoding", "")))
