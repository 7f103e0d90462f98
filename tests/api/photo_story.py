"""A phone that hands in photos by hand: what it announces, what it is told, what it sends where."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
from uuid_utils.compat import uuid7

from tests.api.office import VILLAGE, Someone, World
from tests.photo_builder import sha256_of

COUNTY = 610902


async def another_device(world: World, someone: Someone) -> Someone:
    """The same person, logged in on a new phone."""
    new = Someone(someone.id, someone.phone, someone.password, uuid7())
    await world.log_in(new)
    return new


class PhotoPhone:
    """One device with its own numbering. `s3`: a client for addresses that are not ours."""

    def __init__(self, world: World, someone: Someone, s3: httpx.AsyncClient) -> None:
        self.world = world
        self.someone = someone
        self.s3 = s3
        self.n = 0

    def capture(self) -> dict[str, Any]:
        wall_ms = int(self.world.clock().timestamp() * 1000)
        return {"wall_ms": wall_ms, "mono_ms": wall_ms % 10**9, "session": "s1"}

    def mutation(self, kind: str, record: uuid.UUID, body: dict[str, Any]) -> dict[str, Any]:
        self.n += 1
        return {
            "id": str(uuid.uuid4()),
            "n": self.n,
            "kind": kind,
            "record": str(record),
            "op": "create",
            "at": self.capture(),
            "contract": 1,
            "body": body,
        }

    async def push(self, *mutations: dict[str, Any]) -> dict[str, Any]:
        """One exchange; returns its frames by name, the outcomes as a list of their words."""
        part = {"n_made": self.n, "first_n": mutations[0]["n"] if mutations else 0, "mutations": list(mutations)}
        request = {
            "device": str(self.someone.device),
            "contract": 1,
            "clock": self.capture(),
            "counties": {str(COUNTY): part},
        }
        answer = await self.world.client.post("/sync/v1/exchange", json=request, headers=self.someone.headers)
        assert answer.status_code == 200, answer.text
        return {frame["frame"]: frame for frame in map(json.loads, answer.text.splitlines())}

    async def site(self, unit: str = VILLAGE, **body: Any) -> uuid.UUID:
        record = uuid.uuid4()
        frames = await self.push(self.mutation("site", record, {"name": "三号排污口", "unit": unit, "subjects": ["river_outfall"], **body}))
        assert frames["outcomes"]["outcomes"][0]["outcome"] == "applied", frames
        return record

    async def announce(self, data: bytes, parent: uuid.UUID, **body: Any) -> uuid.UUID:
        """A photo record; the bytes come later."""
        record = uuid.uuid4()
        whole = {"parent": str(parent), "sha256": sha256_of(data), "bytes": len(data), "media_type": "image/jpeg", **body}
        frames = await self.push(self.mutation("photo", record, whole))
        self.outcome = frames["outcomes"]["outcomes"][0]["outcome"]
        return record

    async def ask(self, sha256: str, path: str = "uploads") -> httpx.Response:
        body = {"county": COUNTY, "sha256": sha256}
        return await self.world.client.post(f"/photos/v1/{path}", json=body, headers=self.someone.headers)

    async def complete(self, sha256: str) -> httpx.Response:
        return await self.ask(sha256, "complete")

    async def send(self, part: dict[str, Any], data: bytes) -> httpx.Response:
        """Put one part where the server said, without any token."""
        stretch = data[part["offset"] : part["offset"] + part["bytes"]]
        return await self.put(part, stretch)

    async def put(self, part: dict[str, Any], body: bytes) -> httpx.Response:
        client = self.world.client if part["url"].startswith("/") else self.s3
        return await client.put(part["url"], content=body, headers=part["headers"])

    async def hand_in(self, data: bytes) -> httpx.Response:
        """All missing parts, then `complete`."""
        answer = (await self.ask(sha256_of(data))).json()
        for part in answer.get("parts", []):
            if not part["have"]:
                sent = await self.send(part, data)
                assert sent.status_code == 200, sent.text
        return await self.complete(sha256_of(data))
