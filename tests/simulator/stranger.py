"""A phone in hostile hands: an ordinary account of a village where nobody else works, and everything that it can be made to send.

It knows what no stranger knows, the ids of all records and devices, and attacks while honest phones hand in their work. What it did is
judged by judge_strangers.py; that honest people lose nothing by it, by all the other judges.
"""

import asyncio
import gzip
import json
import uuid
from collections.abc import Awaitable, Callable
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
from backports import zstd
from uuid_utils.compat import uuid7

from contracts.exchange import EXCHANGE_PATH, LIVE_PATH
from contracts.photos import COMPLETE_PATH, UPLOADS_PATH
from phone.account import ENROL_PATH, REFRESH_PATH
from tests.simulator.cast import COUNTY, OTHER_COUNTY, PASSWORD, STRANGERS_VILLAGE, VILLAGES, Person
from tests.simulator.deeds import CHECKLIST, ITEMS
from tests.simulator.handset import NO_TLS, PATIENCE_S

if TYPE_CHECKING:
    from tests.simulator.simulation import Simulation

Json = dict[str, Any]
UNZIPPED_BYTES = 64 * 1024 * 1024
AT_ONCE = 24
COMMANDS = ["inspection.submit", "inspection.amend", "problem.verify", "problem.accept", "problem.close_out", "task.finish", "task.cancel"]
SQL_FETCH_VICTIMS = """
    SELECT id::text, kind, stream, incarnation, version, body FROM record
    WHERE county = $1 AND NOT deleted AND stream NOT LIKE $2 ORDER BY body ->> 'name', body ->> 'note', id LIMIT 400
"""
SQL_FETCH_HASHES = "SELECT body ->> 'sha256' FROM record WHERE county = $1 AND kind = 'photo' ORDER BY 1 LIMIT 100"


@cache
def bombs() -> list[tuple[str, bytes]]:
    """A few kilobytes each, and 64 MiB when unpacked."""
    zeros = bytes(UNZIPPED_BYTES)
    return [("zstd", zstd.compress(zeros)), ("gzip", gzip.compress(zeros, 1))]


class Stranger:
    """`person` is in the cast of the installation, and in nobody else's."""

    def __init__(self, simulation: "Simulation", person: Person) -> None:
        self.simulation = simulation
        self.person = person
        self.random = Random(f"{simulation.plan.seed}/stranger")
        self.told = simulation.oracle.circumstances.strangers
        self.failed = simulation.oracle.circumstances.failed_answers
        self._client = httpx.AsyncClient(base_url=simulation.installation.url, timeout=PATIENCE_S, verify=NO_TLS)
        self._device = ""
        self._token = ""
        self._n: dict[str, int] = {}
        self._words = 0

    async def close(self) -> None:
        await self._client.aclose()

    async def attacks(self) -> str:
        """One attack, while honest phones come home."""
        if not self._token and not await self._log_in():
            return ""
        attacks: list[Callable[[], Awaitable[None]]] = [
            self._garbage,
            self._bombs,
            self._touches_others,
            self._touches_others,
            self._takes_ids,
            self._forges_receipt,
            self._plays_with_numbers,
            self._impersonates,
            self._fills,
            self._claims_photos,
            self._administers,
            self._comes_many_times,
        ]
        attack = self.random.choice(attacks)
        s = self.simulation
        coming = self.random.sample(s.handsets, min(len(s.handsets), 3))
        await asyncio.gather(attack(), *(s.sync(handset, storm=0.0) for handset in coming))
        return f"stranger {attack.__name__.strip('_').replace('_', ' ')}"

    # ------------------------------------------------------------------------------------------ the wire

    async def _log_in(self) -> bool:
        """With a new device each time: the old one may have been found out."""
        self._device, self._n = str(uuid7()), {}
        answer = await self._send("POST", ENROL_PATH, self._credentials(self._device), token="")
        if answer is None or not answer.is_success:
            return False
        self._token = answer.json()["access"]
        self.told.add(self._device)
        return True

    def _credentials(self, device: str, kind: str = "phone") -> Json:
        return {"phone": self.person.number, "password": PASSWORD, "device": {"id": device, "name": "x", "kind": kind}}

    async def _send(
        self, method: str, path: str, body: bytes | Json | None, *, token: str | None = None, **headers: str
    ) -> httpx.Response | None:
        """None: no answer. A failure of the server is written down: whatever is sent, the answer has a code."""
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        bearer = self._token if token is None else token
        given = {"Content-Type": "application/json", **({"Authorization": f"Bearer {bearer}"} if bearer else {}), **headers}
        try:
            answer = await self._client.request(method, path, content=content, headers=given)
        except httpx.TransportError:
            return None
        if answer.status_code >= 500 and answer.status_code != 503:
            self.failed.append(f"{method} {path}: {answer.status_code} for {str(content)[:300]}")
        if answer.status_code in (401, 403) and bearer == self._token:
            self._token = ""
        return answer

    async def _exchange(self, mutations: list[Json], county: str = COUNTY, **part: Any) -> httpx.Response | None:
        """As the protocol has it, but for what `part` says."""
        n = self._n.get(county, 0)
        for k, mutation in enumerate(mutations):
            mutation.setdefault("n", n + 1 + k)
        counts = {"n_made": n + len(mutations), "n_oldest_held": n + 1, "first_n": n + 1, "mutations": mutations}
        request = self._request() | {"counties": {county: counts | part}}
        answer = await self._send("POST", EXCHANGE_PATH, request)
        for line in answer.text.splitlines() if answer is not None and answer.is_success else []:
            frame = json.loads(line)
            if frame["frame"] == "outcomes":
                self._n[str(frame["county"])] = frame["n_high"]
        return answer

    def _request(self) -> Json:
        clock = {"wall_ms": self.simulation.installation.time.ms, "mono_ms": 1, "session": "x"}
        return {"device": self._device, "contract": 1, "clock": clock, "limits": {"records": 100}}

    def _mutation(self, kind: str, record: str, op: str, **members: Any) -> Json:
        at = self._request()["clock"]
        return {"id": str(uuid7()), "kind": kind, "record": record, "op": op, "at": at, "contract": 1, "base": None, **members}

    def _word(self) -> str:
        """Unlike any word of an honest person."""
        self._words += 1
        return f"x-{self._words:06d}"

    def _site(self, record: str | None = None, **fields: Any) -> Json:
        body = {"name": self._word(), "unit": STRANGERS_VILLAGE, "subjects": ["construction_dust"], **fields}
        return self._mutation("site", record or str(uuid7()), "create", body=body)

    async def _victims(self) -> list[tuple[str, str, str, list[int], Json]]:
        """(id, kind, stream, version, body) of what others have."""
        rows = await self.simulation.installation.sql(SQL_FETCH_VICTIMS, int(COUNTY), f"{STRANGERS_VILLAGE}%")
        return [(r[0], r[1], r[2], [r[3], r[4]], json.loads(r[5])) for r in rows]

    # ------------------------------------------------------------------------------------------ attacks

    async def _garbage(self) -> None:
        bodies = [
            self.random.randbytes(3000),
            b"[" * 60_000,
            b'{"a":' * 30_000,
            b'{"device":"' + b"\\u0000" * 20_000,
            b'{"counties":{"610902":{"mutations":[' + b'"' * 40_001,
            b"9" * 100_000,
            b'{"device": "\xff\xfe", "contract": NaN}',
            json.dumps(self._request() | {"counties": {COUNTY: {"first_n": 1, "mutations": [None, 7, "x", [], {"n": []}]}}}).encode(),
            json.dumps(self._request() | {"cursor": {"../../etc": [-1, 2**70]}, "buckets": ["x" * 200]}).encode(),
            b"",
        ]
        for path in (EXCHANGE_PATH, self.random.choice([UPLOADS_PATH, COMPLETE_PATH, REFRESH_PATH, ENROL_PATH])):
            await self._send("POST", path, self.random.choice(bodies))

    async def _bombs(self) -> None:
        encoding, content = self.random.choice([*bombs(), ("zstd", b"(\xb5/\xfd" + self.random.randbytes(400)), ("br", b"x")])
        await self._send("POST", EXCHANGE_PATH, content, **{"Content-Encoding": encoding})

    async def _touches_others(self) -> None:
        """Edits, deletions, moves, commands and photos on records that are not its own, as if it had seen the newest version."""
        victims = await self._victims()
        made = []
        for record, kind, stream, version, body in self.random.sample(victims, min(len(victims), 4)):
            name = "note" if "note" in body or kind == "site" else "title"
            made += [
                self._mutation(kind, record, "edit", base=version, fields={name: [body.get(name), self._word()]}),
                self._mutation(kind, record, "delete", base=version),
                self._mutation(kind, record, "edit", base=version, fields={"unit": [stream.partition(".")[0], STRANGERS_VILLAGE]}),
                self._mutation(kind, record, self.random.choice(COMMANDS), base=version, args={"note": self._word()}),
                self._mutation("photo", str(uuid7()), "create", body=self._photo(record, self.random.randbytes(32).hex())),
            ]
        await self._exchange(self.random.sample(made, min(len(made), 8)))

    def _photo(self, parent: str, sha256: str) -> Json:
        return {"parent": parent, "sha256": sha256, "bytes": self.random.choice([1, 7000, 10**9]), "type": "image/jpeg"}

    async def _takes_ids(self) -> None:
        """Creations under ids that are others', or will be the server's."""
        victims = await self._victims()
        taken = [self._site(v[0]) for v in self.random.sample(victims, min(len(victims), 3))]
        derived = [self._site(str(uuid.uuid5(uuid.NAMESPACE_URL, self._word())))]
        forged = self._site(by=str(uuid.uuid4()), state="closed_out", steps=[{"id": "x", "command": "x", "at": "2020-01-01T00:00:00Z"}])
        answers = {ITEMS[0]: {"value": "no", "note": self._word()}}
        secret = {"unit": VILLAGES[0], "subject": "construction_dust", "checklist": CHECKLIST, "answers": answers, "secret": True}
        await self._exchange([*taken, *derived, forged, self._mutation("inspection", str(uuid7()), "create", body=secret)])

    async def _forges_receipt(self) -> None:
        """As if the server had been restored: phones would have to hand in everything again."""
        receipt = {"county": int(COUNTY), "device": self._device, "incarnation": 9, "n": 10**9, "digest": "0" * 64, "at_ms": 1, "key": "k"}
        keys = await self._send("GET", "/sync/v1/keys", None)
        if keys is not None and keys.is_success:
            receipt["key"] = keys.json()[0]["key"]
        await self._exchange([], receipt=receipt | {"sig": self.random.randbytes(64).hex()})

    async def _plays_with_numbers(self) -> None:
        """Far ahead, twice with other words, in a county of others; the device is taken for a clone and a new one begins."""
        far = self.random.choice([2**39, 2**41, -1])
        await self._exchange([self._site() | {"n": far}], first_n=far, n_made=far)
        await self._exchange([self._site()])
        await self._exchange([self._site() | {"n": 1}], first_n=1, n_made=1)
        await self._exchange([self._site(unit=f"{OTHER_COUNTY}100001")], OTHER_COUNTY)

    async def _impersonates(self) -> None:
        """Under the device of somebody else, or one that the server keeps for itself."""
        victim = str(self.simulation.anyone().phone.account.device)
        own, self._device = self._device, victim
        await self._send("POST", EXCHANGE_PATH, self._request())
        self._device = own
        for device, kind in ((victim, "phone"), (victim, "console"), (str(uuid.UUID(int=0)), "system"), (str(uuid.uuid4()), "phone")):
            await self._send("POST", ENROL_PATH, self._credentials(device, kind), token="")
        for act in ("lost", "revoke"):
            await self._send("POST", f"/devices/v1/{victim}/{act}", {})
        await self._send("POST", REFRESH_PATH, {"refresh": self.random.randbytes(24).hex()}, token="")

    async def _fills(self) -> None:
        """Much, as often as it may: its own share, and nobody else's."""
        large = "x" * self.random.choice([5_000, 100_000, 300_000])
        await self._exchange([self._site(note=large) for _ in range(4)])
        for _ in range(4):
            await self._send("POST", ENROL_PATH, self._credentials(str(uuid7())), token="")

    async def _claims_photos(self) -> None:
        """Announces pictures of others as its own, with another size; asks for their bytes; says that they are complete."""
        rows = await self.simulation.installation.sql(SQL_FETCH_HASHES, int(COUNTY))
        known = [row[0] for row in rows] + [photo.sha256 for h in self.simulation.handsets for photo in h.phone.photos() if photo.held]
        chosen = self.random.sample(known, min(len(known), 4))
        site = self._site()
        photos = [self._mutation("photo", str(uuid7()), "create", body=self._photo(site["record"], sha256)) for sha256 in chosen]
        await self._exchange([site, *photos])
        for sha256 in [*chosen, "0" * 64]:
            answer = await self._send("POST", UPLOADS_PATH, {"county": int(COUNTY), "sha256": sha256})
            for part in answer.json().get("parts", []) if answer is not None and answer.is_success else []:
                if part.get("url"):
                    await self._put(part, bytes(min(part["bytes"], 100_000)))
            await self._send("POST", COMPLETE_PATH, {"county": int(COUNTY), "sha256": sha256})

    async def _put(self, part: Json, content: bytes) -> None:
        try:
            await self._client.put(part["url"], content=content, headers=part.get("headers", {}))
        except (httpx.TransportError, httpx.InvalidURL):
            return

    async def _administers(self) -> None:
        """What offices, admins and desks do."""
        person = self.random.choice(self.simulation.cast)
        await self._send("POST", "/people/v1/duties", {"person": self.person.id, "duty": {"role": "admin", "unit": COUNTY}})
        await self._send("POST", f"/people/v1/persons/{person.id}/disable", {})
        await self._send("GET", f"/office/v1/held?county={COUNTY}", None)
        await self._send("POST", f"/office/v1/held/{COUNTY}/{self._device}/1/release", {"note": "x"})
        await self._send(
            "POST", "/office/v1/rules", {"county": int(COUNTY), "name": "colours", "starts": "2020-01-01T00:00:00Z", "body": {}}
        )
        await self._send("GET", "/audit/v1/entries", None)

    async def _comes_many_times(self) -> None:
        """Many at once, some of which never read what they are answered."""

        async def listen() -> None:
            headers = {"Authorization": f"Bearer {self._token}"}
            try:
                async with asyncio.timeout(0.3), self._client.stream("GET", LIVE_PATH, headers=headers) as answer:
                    await anext(answer.aiter_raw())
            except (httpx.HTTPError, TimeoutError, StopAsyncIteration):
                return

        await asyncio.gather(*(self._exchange([]) for _ in range(AT_ONCE)), *(listen() for _ in range(AT_ONCE)))
