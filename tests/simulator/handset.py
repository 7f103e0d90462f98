"""One phone in somebody's hand: the reference phone, a bad connection, a wrong clock, and a battery that may end anywhere."""

import asyncio
import contextlib
import json
import shutil
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import httpx
from backports import zstd

from contracts.exchange import EXCHANGE_PATH, Limits
from phone.clock import SimulatedClock
from phone.exchange import Ended, Pacing, Synced
from phone.faults import Fault, FaultyTransport, Killed, Loss
from phone.phone import Phone
from phone.uploads import Uploaded
from phone.wire import OfflineError, RefusedError
from tests.simulator.cast import PASSWORD, Person

PATIENCE_S = 20.0  # real time; a crashed PostgreSQL recovers first
SYNC_SECONDS_MAX = 20.0  # real time; a sync that goes on for ever is a broken promise too
REPAIRS_MAX = 40  # of one sync: who repairs more often will never be done
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # one for all phones: reading the certificates takes 20 ms, and nothing here is TLS
LOGGED_OUT = frozenset({"not_authenticated", "token_expired"})  # what a person answers by logging in again

_T = TypeVar("_T")


async def no_sleep(_seconds: float) -> None:
    """Simulated phones do not wait: they come again when the simulation says so."""


class Battery:
    """A crash point that kills at a chosen one of the next durable steps."""

    def __init__(self) -> None:
        self.steps_left: int | None = None

    def __call__(self, name: str) -> None:
        if self.steps_left is None:
            return
        self.steps_left -= 1
        if self.steps_left < 0:
            self.steps_left = None
            raise Killed(name)


def unpacked(request: httpx.Request) -> bytes:
    return zstd.decompress(request.content) if request.headers.get("Content-Encoding") == "zstd" else request.content


def is_logged_out(synced: Synced) -> bool:
    return synced.ended is Ended.REFUSED and synced.code in LOGGED_OUT


class EndlessError(Exception):
    """A phone repairs its copies again and again."""


class GarblingTransport(httpx.AsyncBaseTransport):
    """Sends some mutations, always the same way, as an app of another time would have written them."""

    def __init__(self, inner: httpx.AsyncBaseTransport, garbled: dict[bytes, bytes]) -> None:
        self._inner = inner
        self._garbled = garbled

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = unpacked(request) if self._garbled and request.url.path == EXCHANGE_PATH else b""
        if any(raw in content for raw in self._garbled):
            for raw, instead in self._garbled.items():
                content = content.replace(raw, instead)
            headers = {k: v for k, v in request.headers.items() if k.lower() not in ("content-length", "content-encoding")}
            request = httpx.Request(request.method, request.url, headers=headers, content=content, extensions=request.extensions)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class Handset:
    """`storm`: how likely each request is to meet a fault. `contract`: what the app says it speaks."""

    def __init__(
        self,
        name: str,
        person: Person,
        path: Path,
        url: str,
        true_ms: Callable[[], int],
        seed: str,
        *,
        repaired: Callable[[str, list[str]], None],
        faults: Counter[str],
    ) -> None:
        self.name = name
        self.person = person
        self.path = path
        self.random = Random(seed)
        self.battery = Battery()
        self.storm = 0.0
        self.contract = 1
        self.faults = faults
        self._repairs = 0
        self.forms: dict[str, tuple[object, int]] = {}  # record -> (view, number of the last entry when it was opened)
        self._repaired = repaired
        offset_ms = self.random.choice([0, 0, 90_000, -2 * 86_400_000, 400 * 86_400_000])
        self.clock = SimulatedClock(true_ms, offset_ms=offset_ms, drift_ppm=self.random.choice([0, 40, -200]))
        self._mutations_max = self.random.choice([2, 5, 50, 500])
        self._limits = Limits(records=self.random.choice([7, 60, 2000]))
        self.garbled: dict[bytes, bytes] = {}  # raw mutations, as they are stored and as this app sends them
        transport = FaultyTransport(GarblingTransport(httpx.AsyncHTTPTransport(verify=NO_TLS), self.garbled), self._plan)
        self._client = httpx.AsyncClient(transport=transport, base_url=url, timeout=PATIENCE_S)
        self.phone = self._opened()

    def _opened(self) -> Phone:
        return Phone(
            self.path,
            self._client,
            clock=self.clock,
            contract=self.contract,
            limits=self._limits,
            pacing=Pacing(sleep=no_sleep, jitter=lambda: 0.0, patience_s=0.0),
            mutations_max=self._mutations_max,
            durable=False,  # the machine does not crash here, the phone does
            crash_point=self.battery,
        )

    def reopen(self, *, reboot: bool) -> None:
        """What starting the app again does, after a kill or at will."""
        self.battery.steps_left = None
        self.phone.close()
        if reboot:
            self.clock.reboot()
        self.phone = self._opened()
        self.forms.clear()

    async def destroy(self) -> None:
        """The river has it."""
        self.phone.close()
        await self._client.aclose()
        for path in self.path.parent.glob(f"{self.path.name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    async def close(self) -> None:
        self.phone.close()
        await self._client.aclose()

    # ------------------------------------------------------------------------------------------ signal

    async def enrol(self) -> None:
        await self.phone.enrol(self.person.number, PASSWORD, self.name)

    async def sync(self, *, storm: float = 0.0, kill_after_steps: int | None = None) -> Synced | None:
        """One attempt. None: the battery died on the way, and the phone is on again."""
        self.storm, self.battery.steps_left, self._repairs = storm, kill_after_steps, 0
        try:
            async with asyncio.timeout(SYNC_SECONDS_MAX):
                return await self.phone.sync()
        except (TimeoutError, EndlessError):
            code = f"no end after {SYNC_SECONDS_MAX:.0f} s or {REPAIRS_MAX} repairs"
            return Synced(ended=Ended.STALLED, unsent=self.phone.unsent(), code=code)
        except Killed as step:
            self.faults[f"phone killed: {str(step).rpartition(':')[2].strip()}"] += 1
            self.reopen(reboot=True)
            return None
        finally:
            self.storm, self.battery.steps_left = 0.0, None

    async def upload(self, *, storm: float = 0.0) -> Uploaded:
        """Photos whose announcement has its receipt, as far as the line allows."""
        self.storm = storm
        try:
            return await self.phone.upload_photos()
        finally:
            self.storm = 0.0

    async def sync_fully(self) -> Synced:
        """Without weather; logs in again where that was all that was missing."""
        synced = await self.sync()
        assert synced is not None
        if is_logged_out(synced):
            await self.log_in_again()
            synced = await self.sync()
            assert synced is not None
        return synced

    async def log_in_again(self) -> None:
        """As a person does who is shown the log-in page: tokens end after months, and a restored server forgets them."""
        with contextlib.suppress(RefusedError, OfflineError):
            await self.enrol()

    async def ask(self, method: str, path: str, send: Any, expect: type[_T]) -> _T:
        """One request of an office; who is logged out logs in and asks again."""
        try:
            return await self.phone.account.call(method, path, send, expect)
        except RefusedError as refused:
            if refused.code not in LOGGED_OUT:
                raise
        await self.log_in_again()
        return await self.phone.account.call(method, path, send, expect)

    def _plan(self, request: httpx.Request) -> Fault:
        if request.url.path == EXCHANGE_PATH:
            self._look_into(request)
        if self.random.random() >= self.storm:
            return Fault()
        loss = self.random.choice([Loss.REQUEST, Loss.ANSWER, Loss.ANSWER, Loss.TWICE, Loss.CUT, Loss.CUT, Loss.CUT])
        self.faults[f"{loss.value} lost" if loss in (Loss.REQUEST, Loss.ANSWER) else f"request {loss.value}"] += 1
        return Fault(loss=loss, cut_after_bytes=int(2 ** self.random.uniform(0, 12)))

    def _look_into(self, request: httpx.Request) -> None:
        """A phone that asks for buckets has found its copies to differ."""
        asked = json.loads(unpacked(request))
        if asked.get("buckets"):
            self._repaired(self.name, asked["buckets"])
            self._repairs += 1
            if self._repairs > REPAIRS_MAX:
                raise EndlessError(self.name)
