"""What is too large for the roads: a record has a bound, a page is cut by its bytes, and the desk can take in or cut out what is held for it."""

import json
import uuid
from typing import Any

import msgspec
import pytest

from contracts.exchange import EXCHANGE_PATH, Limits
from contracts.mutation import MUTATION_BYTES_MAX, RECORD_BYTES_MAX
from contracts.people import Role
from storage import desk
from storage.audit import audit
from sync.intake import FIELDS_MAX
from tests.api.office import HANBIN, TOWNSHIP, VILLAGE, Someone, World
from tests.api.test_exchange import a_part, a_site, exchanged, named
from tests.builders import a_mutation, an_edit

pytestmark = pytest.mark.anyio


@pytest.fixture
async def member(world: World) -> Someone:
    return await world.person((Role.GRID_MEMBER, VILLAGE))


@pytest.fixture
async def lead(world: World) -> Someone:
    return await world.person((Role.TOWNSHIP_LEAD, TOWNSHIP), kind="console")


def outcomes_of(frames: list[Any]) -> list[tuple[int, str, str]]:
    return [(o.n, o.outcome.value, o.reason.value) for frame in named(frames, "Outcomes") for o in frame.outcomes]


async def decided(world: World, lead: Someone, member: Someone, n: int, action: str) -> list[tuple[int, str, str]]:
    path = f"/office/v1/held/{HANBIN}/{member.device}/{n}/{action}"
    answer = await world.client.post(path, json={}, headers=lead.headers)
    assert answer.status_code == 200, answer.text
    return [(o["n"], o["outcome"], o.get("reason", "ok")) for o in answer.json()["outcomes"]]


# ------------------------------------------------------------------------------------------------ a record


async def test_a_record_stops_growing_and_what_would_make_it_larger_is_held(world: World, member: Someone) -> None:
    """H3: with 84 edits of unknown fields one record became 18 MiB, which every phone of its stream had to fetch."""
    site = a_site(1)
    assert outcomes_of(await exchanged(world, member, a_part(site))) == [(1, "applied", "ok")]
    for n in (2, 3, 4):
        edit = an_edit(n, site.record, (1, n - 1), **{f"newer_{n}": (None, "x" * 200_000)})
        outcomes = outcomes_of(await exchanged(world, member, a_part(edit)))
    assert outcomes == [(4, "quarantined", "too_large")]
    body = await world.pool.fetchval("SELECT body FROM record WHERE id = $1", site.record)
    assert 400_000 < len(body) <= RECORD_BYTES_MAX


async def test_what_makes_a_large_record_smaller_is_taken(world: World, member: Someone) -> None:
    """The bound may be newer than the record."""
    site = a_site(1)
    await exchanged(world, member, a_part(site))
    big = json.dumps({"name": "工地", "unit": VILLAGE, "subjects": [], "newer": "x" * RECORD_BYTES_MAX, "note": "长长"})
    await world.pool.execute("UPDATE record SET body = $2 WHERE id = $1", site.record, big)
    edit = an_edit(2, site.record, (1, 1), note=("长长", "短"))
    assert outcomes_of(await exchanged(world, member, a_part(edit), limits=Limits(records=0))) == [(2, "applied", "ok")]


async def test_a_record_has_a_bound_of_fields_too(world: World, member: Someone) -> None:
    """Each field has a writer of its own, beside the body."""
    site = a_site(1)
    await exchanged(world, member, a_part(site))
    ends = []
    for n in range(2, 8):
        edit = an_edit(n, site.record, (1, n - 1), **{f"f{n}_{k}": (None, 1) for k in range(450)})
        ends += outcomes_of(await exchanged(world, member, a_part(edit), limits=Limits(records=0)))
    assert [outcome for _, outcome, _ in ends] == ["applied"] * 4 + ["quarantined", "deferred"]


# ------------------------------------------------------------------------------------------------ pages


async def test_a_page_is_cut_by_its_bytes(world: World, member: Someone) -> None:
    """Case 11: 300 records of 12 kB were one line of 3.6 MB, whatever the phone asked for. Going on from each page misses nothing."""
    for first in (1, 101, 201):
        await exchanged(world, member, a_part(*(a_site(n, note="长" * 1000) for n in range(first, first + 100))), limits=Limits(records=0))
    cursor: dict[str, Any] = {}
    replacing: list[str] = []
    seqs: list[int] = []
    for _ in range(40):
        given = {"cursor": cursor, "replacing": replacing, "limits": Limits(bytes=64 * 1024)}
        answer = await world.client.post(
            EXCHANGE_PATH, content=body_of(member, given), headers=member.headers | {"accept-encoding": "identity"}
        )
        lines = answer.content.splitlines()
        assert max(map(len, lines)) < 64 * 1024 + 8 * 1024
        pages = [json.loads(line) for line in lines if b'"frame":"page"' in line]
        seqs += [r["seq"] for page in pages for r in page["records"]]
        cursor |= {page["stream"]: page["cursor"] for page in pages}
        replacing = [page["stream"] for page in pages if page["replace"] and not page["last"]]
        if not json.loads(lines[-1])["more"]:
            break
    assert seqs == list(range(1, 301))
    assert cursor[f"{VILLAGE}.field"][1] == 300


async def test_ordinary_limits_cut_pages_too(world: World, member: Someone) -> None:
    for first in (1, 101):
        await exchanged(world, member, a_part(*(a_site(n, note="长" * 3000) for n in range(first, first + 100))), limits=Limits(records=0))
    pages = named(await exchanged(world, member), "Page")
    assert sum(len(page.records) for page in pages) == 200
    assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
    assert len(pages) > 2


async def test_repairs_count_against_the_bytes_and_come_whole_bucket_by_bucket(world: World, member: Someone) -> None:
    """H5. What does not fit is not sent, and a frame says which buckets it holds."""
    await exchanged(world, member, a_part(*(a_site(n, note="长" * 1000) for n in range(1, 101))), limits=Limits(records=0))
    stream = f"{VILLAGE}.field"
    given: dict[str, Any] = {"cursor": {stream: (1, 100)}, "repair": {stream: list(range(256))}}
    (part,) = named(await exchanged(world, member, limits=Limits(bytes=20_000), **given), "Repair")
    assert 1 <= len(part.records) < 100
    assert {r.id.int & 0xFF for r in part.records} <= set(part.buckets) < set(range(256))
    (whole,) = named(await exchanged(world, member, **given), "Repair")
    assert len(whole.records) == 100
    assert sorted(whole.buckets) == list(range(256))
    assert {r.id for r in part.records} == {r.id for r in whole.records if r.id.int & 0xFF in part.buckets}


def body_of(someone: Someone, given: dict[str, Any]) -> bytes:
    clock = {"wall_ms": 0, "mono_ms": 0, "session": "s"}
    return msgspec.json.encode({"device": someone.device, "contract": 1, "clock": clock, **given})


# ------------------------------------------------------------------------------------------------ held chains


async def held_chain(world: World, member: Someone) -> uuid.UUID:
    """A creation one KiB too large, and three edits that build on it."""
    large = a_site(1, newer="x" * (MUTATION_BYTES_MAX + 1024))
    chain = [large]
    for n in (2, 3, 4):
        chain.append(a_mutation(n, large.record, "site", base=chain[-1].id, fields={"note": (f"第{n - 1}" if n > 2 else None, f"第{n}")}))
    ends = outcomes_of(await exchanged(world, member, a_part(*chain), limits=Limits(records=0)))
    assert ends == [(1, "quarantined", "too_large"), *((n, "deferred", "waits_for") for n in (2, 3, 4))]
    return large.record


async def test_a_mutation_that_was_too_large_is_released_with_all_that_waited_for_it(world: World, member: Someone, lead: Someone) -> None:
    site = await held_chain(world, member)
    assert await decided(world, lead, member, 1, "retry") == [(1, "quarantined", "too_large")]  # as it is, it is as large as it was
    ends = await decided(world, lead, member, 1, "release")
    assert ends == [(1, "applied", "released"), (2, "applied", "ok"), (3, "applied", "ok"), (4, "applied", "ok")]
    assert await world.pool.fetchval("SELECT body ->> 'note' FROM record WHERE id = $1", site) == "第4"
    assert await world.pool.fetchval("SELECT count(*) FROM held WHERE settled_at IS NULL") == 0


async def test_a_mutation_that_was_too_large_is_cut_out_and_what_waited_is_decided_in_order(
    world: World, member: Someone, lead: Someone
) -> None:
    await held_chain(world, member)
    ends = await decided(world, lead, member, 1, "discard")
    assert ends[0] == (1, "rejected", "discarded")
    assert ends[1] == (2, "quarantined", "record_missing")  # an edit of what was never made waits for a person itself
    assert [n for n, _, _ in ends] == [1, 2, 3, 4]
    for n in (2, 3, 4):
        assert (await decided(world, lead, member, n, "discard"))[0] == (n, "rejected", "discarded")
    assert await world.pool.fetchval("SELECT count(*) FROM held WHERE settled_at IS NULL") == 0


async def test_an_edit_that_was_too_large_is_cut_out_and_the_record_goes_on(world: World, member: Someone, lead: Someone) -> None:
    site = a_site(1)
    large = an_edit(2, site.record, site.id, newer=(None, "x" * MUTATION_BYTES_MAX))
    small = a_mutation(3, site.record, "site", base=large.id, fields={"note": (None, "改")})
    ends = outcomes_of(await exchanged(world, member, a_part(site, large, small), limits=Limits(records=0)))
    assert ends == [(1, "applied", "ok"), (2, "quarantined", "too_large"), (3, "deferred", "waits_for")]
    assert await decided(world, lead, member, 2, "discard") == [(2, "rejected", "discarded"), (3, "applied", "ok")]
    assert await world.pool.fetchval("SELECT body ->> 'note' FROM record WHERE id = $1", site.record) == "改"


async def test_an_edit_of_too_many_fields_stays_held_at_the_desk_too(world: World, member: Someone, lead: Someone) -> None:
    site = a_site(1)
    wide = an_edit(2, site.record, site.id, **{f"f{k}": (None, 1) for k in range(FIELDS_MAX + 1)})
    ends = outcomes_of(await exchanged(world, member, a_part(site, wide), limits=Limits(records=0)))
    assert ends == [(1, "applied", "ok"), (2, "quarantined", "too_large")]
    for action in ("retry", "release"):
        assert await decided(world, lead, member, 2, action) == [(2, "quarantined", "too_large")]
    assert await decided(world, lead, member, 2, "discard") == [(2, "rejected", "discarded")]


# ------------------------------------------------------------------------------------------------ characters


def raw_site(n: int, note: str) -> tuple[uuid.UUID, str]:
    mutation = a_site(n, note="NOTE")
    return mutation.record, msgspec.json.encode(mutation).decode().replace('"NOTE"', note)


async def pushed_raw(world: World, member: Someone, *raws: str) -> list[Any]:
    part = f'{{"n_made":{len(raws)},"n_oldest_held":1,"first_n":1,"mutations":[{",".join(raws)}]}}'
    clock = '{"wall_ms":0,"mono_ms":0,"session":"s"}'
    body = f'{{"device":"{member.device}","contract":1,"clock":{clock},"counties":{{"{HANBIN}":{part}}}}}'
    answer = await world.client.post(EXCHANGE_PATH, content=body.encode(), headers=member.headers)
    assert answer.status_code == 200, answer.text
    (outcomes,) = [frame for line in answer.text.splitlines() if (frame := json.loads(line))["frame"] == "outcomes"]
    return outcomes["outcomes"]


async def note_of(world: World, record: uuid.UUID) -> str | None:
    return await world.pool.fetchval("SELECT body ->> 'note' FROM record WHERE id = $1", record)


async def test_a_pasted_nul_is_left_out_and_said_so(world: World, member: Someone) -> None:
    """Case 12. The journal keeps what came; the audit makes the record of it again."""
    record, raw = raw_site(1, '"纸\\u0000面 \\\\u0000 \\\\\\u0000"')
    (outcome,) = await pushed_raw(world, member, raw)
    assert (outcome["outcome"], outcome["detail"]) == ("applied", {"left_out": ["nul"]})
    assert await note_of(world, record) == "纸面 \\u0000 \\"
    kept = await world.pool.fetchval("SELECT raw FROM journal WHERE device = $1 AND n = 1 AND entry = 0", member.device)
    assert bytes(kept) == raw.encode()
    assert [found async for county in audit(world.pool) for found in county.differences] == []


async def test_six_typed_characters_are_no_nul(world: World, member: Someone) -> None:
    record, raw = raw_site(1, '"path C:\\\\u0000folder"')
    (outcome,) = await pushed_raw(world, member, raw)
    assert (outcome["outcome"], outcome.get("detail")) == ("applied", None)
    assert await note_of(world, record) == r"path C:\u0000folder"


@pytest.mark.parametrize(
    ("note", "mended"),
    [
        (r'"half of an emoji \ud83d!"', "half of an emoji \ufffd!"),
        ("NaN", None),
        ("-Infinity", None),
        (r'"whole \ud83d\ude00 \udc00"', "whole 😀 \ufffd"),
    ],
    ids=["surrogate", "nan", "infinity", "both"],
)
async def test_what_json_does_not_have_is_released_without_it(
    world: World, member: Someone, lead: Someone, note: str, mended: str | None
) -> None:
    """Only a person may say that the rest is what was meant; a retry changes nothing."""
    record, raw = raw_site(1, note)
    (outcome,) = await pushed_raw(world, member, raw)
    assert (outcome["outcome"], outcome["reason"]) == ("quarantined", "malformed")
    assert await decided(world, lead, member, 1, "retry") == [(1, "quarantined", "malformed")]
    assert await decided(world, lead, member, 1, "release") == [(1, "applied", "released")]
    assert await note_of(world, record) == mended
    assert [found async for county in audit(world.pool) for found in county.differences] == []


async def test_a_mutation_under_a_wrong_number_takes_that_of_its_place_when_it_is_released(
    world: World, member: Someone, lead: Someone
) -> None:
    record, raw = raw_site(1, '"x"')
    (outcome,) = await pushed_raw(world, member, raw.replace('"n":1', '"n":7'))
    assert outcome["reason"] == "malformed"
    assert await decided(world, lead, member, 1, "retry") == [(1, "quarantined", "malformed")]
    assert await decided(world, lead, member, 1, "release") == [(1, "applied", "released")]
    assert await note_of(world, record) == "x"


async def test_a_page_of_the_desk_is_bounded_in_bytes(
    world: World, member: Someone, lead: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that are too large fill a page; the rest is on the next, and nothing is left out."""
    monkeypatch.setattr(desk, "HELD_PAGE_BYTES_MAX", 2 * MUTATION_BYTES_MAX)
    large = [a_site(n, newer="x" * MUTATION_BYTES_MAX) for n in (1, 2, 3, 4, 5)]
    await exchanged(world, member, a_part(*large), limits=Limits(records=0))
    pages: list[list[int]] = []
    after: dict[str, str] = {}
    while not pages or after:
        query: dict[str, Any] = {"county": HANBIN, **after}
        page = (await world.client.get("/office/v1/held", params=query, headers=lead.headers)).json()
        pages.append([item["n"] for item in page["items"]])
        after = {"after": page["next"]} if page.get("next") else {}
    assert pages == [[1, 2], [3, 4], [5]]
