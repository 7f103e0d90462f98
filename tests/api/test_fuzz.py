"""Whatever is sent to whichever route: a coded answer (RFC 9457) of the shape the document promises, never a 500.

The cases come from `contracts/openapi.json`, which is what a client is written by: valid ones and broken ones. Half of the
identifiers are such as exist, so that a case comes past the first "not found".
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio.from_thread
import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from pydantic import SecretStr
from schemathesis.generation import GenerationMode

from contracts.people import Role
from server.settings import AuthSettings, LimitSettings, PgSettings, S3Settings, Settings
from tests.api.casework import Office, token_of
from tests.conftest import S3
from tests.world import COUNTY, DEPARTMENT, TOWNSHIP, VILLAGE_A, World, open_world

CASES = 12  # of each operation and mode: a minute in all
WORKBOOK = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
schemathesis.serializer.alias(WORKBOOK, "application/octet-stream")
SCHEMA = schemathesis.openapi.from_dict(json.loads((Path(__file__).parents[2] / "contracts" / "openapi.json").read_text()))
OURS = {"authorization", "accept-encoding"}  # not the case's: who asks, and what this client can unpack
ENDLESS = {"/sync/v1/live"}
OPERATIONS = {f"{found.ok().method.upper()} {found.ok().path}": found.ok() for found in SCHEMA.get_all_operations()}


class Fuzzed:
    """The running app, from a test that is not asynchronous (hypothesis is not), and what exists in it."""

    def __init__(self, portal: Any, world: World, values: dict[str, list[Any]]) -> None:
        self.portal = portal
        self.world = world
        self.values = values
        self.token = ""
        self.seen: Counter[int] = Counter()  # answers of a route, by status

    def send(self, case: Any) -> httpx.Response:
        unmatched = self.unmatched()
        answer = self.portal.call(self._send, case)
        if self.unmatched() == unmatched:
            self.seen[answer.status_code] += 1
        return answer

    def unmatched(self) -> float:
        """Requests that no route took."""
        counted = self.world.app.state.resources.metrics.requests.collect()
        return sum(s.value for one in counted for s in one.samples if s.name.endswith("_total") and s.labels["route"] == "unmatched")

    def log_in(self) -> None:
        """As somebody who may everything, on a device of this operation alone: some operations end the log-in."""
        self.token = self.portal.call(self._log_in)
        self.seen.clear()

    async def _log_in(self) -> str:
        duties = [(Role.COUNTY_SUPERVISOR, str(COUNTY)), (Role.ADMIN, "6109"), (Role.TOWNSHIP_LEAD, TOWNSHIP), (Role.AUDITOR, "6109")]
        return token_of(await self.world.phone(await self.world.person("总管", *duties)))

    async def _send(self, case: Any) -> httpx.Response:
        sent = case.as_transport_kwargs(base_url="http://127.0.0.1")
        headers = {k: v for k, v in dict(sent.pop("headers", None) or {}).items() if k.lower() not in OURS}
        headers = {k: v.encode("utf-8", "replace") for k, v in headers.items()} | {"authorization": f"Bearer {self.token}".encode()}
        body = sent.pop("data", None)
        options: dict[str, Any] = {"content": body} if isinstance(body, bytes | str) else {"data": body} if body else {}
        return await self.world.client.request(
            sent["method"], sent["url"], params=sent.get("params"), headers=headers, json=sent.get("json"), **options
        )


async def prepared(world: World) -> dict[str, list[Any]]:
    office = await Office.opened(world)
    site = await office.site("工地")
    problem = await office.problem("裸土", site=str(site))
    await office.assign(problem)
    somebody = str((await world.person("某人", (Role.GRID_MEMBER, VILLAGE_A))).id)
    return {
        "county": [COUNTY, 610900],
        "unit": [TOWNSHIP, VILLAGE_A, DEPARTMENT, str(COUNTY)],
        "department": [DEPARTMENT],
        "parent": [TOWNSHIP, VILLAGE_A],
        "from_unit": [TOWNSHIP],
        "units": [[VILLAGE_A], [TOWNSHIP, VILLAGE_A]],
        "leads": [[DEPARTMENT]],
        "supporting": [[], [TOWNSHIP]],
        "record": [str(problem), str(site)],
        "problem": [str(problem)],
        "person": [somebody],
        "kind": ["problem", "site", "task"],
        "op": ["create", "edit", "delete", "problem.comment", "problem.assign"],
        "base": [None, [1, 1]],
        "device_id": [str(uuid.uuid4())],
        "person_id": [somebody],
    }


@pytest.fixture(scope="module")
def fuzzed(module_database: str, s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    folder = tmp_path_factory.mktemp("fuzz")
    made = Settings(
        data_dir=folder / "data",
        pg=PgSettings(dsn=SecretStr(module_database), pool_size_min=0),
        s3=S3Settings(endpoint=s3.endpoint, bucket=s3.bucket, access_key=SecretStr(s3.access_key), secret_key=SecretStr(s3.secret_key)),
        auth=AuthSettings(argon2_memory_kib=8, argon2_rounds=1),
        limits=LimitSettings(person_requests_per_minute=0, person_bytes_per_day=0),
    )
    with (
        anyio.from_thread.start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(open_world(made, folder)) as world,
    ):
        yield Fuzzed(portal, world, portal.call(prepared, world))


def fill(place: Any, values: dict[str, list[Any]], data: st.DataObject) -> None:
    """Put what exists in place of half the identifiers, however deep they stand."""
    if isinstance(place, dict):
        for key, value in place.items():
            if key in values and data.draw(st.booleans()):
                place[key] = data.draw(st.sampled_from(values[key]))
            else:
                fill(value, values, data)
    elif isinstance(place, list):
        for value in place:
            fill(value, values, data)


BY_SECRET = {"POST /auth/v1/refresh"}  # what entitles is the token in the body: a made-up one is 401, however one is logged in


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.partition(" ")[2] not in ENDLESS])
def test_any_case_gets_a_coded_answer(fuzzed: Fuzzed, name: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[name]
    fuzzed.log_in()

    @settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @seed(7)
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        for place in (case.path_parameters, case.query, case.body):
            fill(place, fuzzed.values, data)
        answer = fuzzed.send(case)
        told = (case.method, str(answer.request.url), answer.status_code, answer.text[:500])
        assert answer.status_code < 500, told
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json", told
            assert answer.json()["code"], told

    with suppress(Unsatisfiable):  # an operation that takes nothing cannot be asked wrongly
        run()
    if name in BY_SECRET:
        return
    if mode is GenerationMode.POSITIVE:
        assert fuzzed.seen.keys() - {401}, "nothing was sent that its route would answer to somebody who is logged in"
    assert fuzzed.seen.keys() != {401}
