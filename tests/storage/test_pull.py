"""Reading on a real database: pages cut anywhere, digests, repair, and a head of the same snapshot as its rows."""

import itertools
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from contracts.digest import bucket_of, record_crc
from contracts.mutation import CREATE, Mutation
from storage.pool import Pool
from storage.pull import fetch_buckets, fetch_heads, fetch_pages, fetch_repair
from storage.reference import Reference
from tests.builders import BODIES, a_creation, a_deletion, a_mutation, an_edit, an_id
from tests.county import COUNTY, TOWNSHIP, VILLAGE_A, VILLAGE_B
from tests.storage.pushing import Reader, assert_true, hand_in, load_county

VILLAGES = [VILLAGE_A, VILLAGE_B, TOWNSHIP]
STREAMS = [f"{unit}.field" for unit in VILLAGES]
FIELD_A = STREAMS[0]


def a_random_day(chance: random.Random, first_n: int) -> list[Mutation]:
    """Some creations, photos, edits, moves and deletions, by somebody who saw nothing but what they made."""
    made: list[Mutation] = []
    for n in itertools.count(first_n):
        if len(made) >= 6:
            return made
        record = an_id(chance.randint(1, 12))
        choice = chance.choice(["create", "edit", "move", "delete", "photo"])
        mutation = {
            "create": lambda n=n, record=record: a_creation(n, record, unit=chance.choice(VILLAGES)),
            "edit": lambda n=n, record=record: an_edit(n, record, (1, 50), note=(None, f"{n}")),
            "move": lambda n=n, record=record: an_edit(n, record, (1, 50), unit=(None, chance.choice(VILLAGES))),
            "delete": lambda n=n, record=record: a_deletion(n, record, (1, 50)),
            "photo": lambda n=n, record=record: a_mutation(
                n, an_id(1000 + n), "photo", CREATE, body={**BODIES["photo"], "parent": str(record)}
            ),
        }[choice]()
        made.append(mutation)
    raise AssertionError("count() does not end")


@pytest.mark.parametrize("seed", range(6))
async def test_pages_of_any_size_equal_all_at_once(pool: Pool, seed: int) -> None:
    """Promises 4 and 5. Readers who come after every push, seldom, or only in the end, by one or by a thousand, agree."""
    reference = await load_county(pool)
    chance = random.Random(seed)
    readers = [Reader(pool, STREAMS, limit) for limit in (1, 2, 3, 1000)]
    for k in range(15):
        await hand_in(pool, reference, a_random_day(chance, 6 * k + 1), device=1 + seed)
        for reader in readers:
            if chance.random() < 0.4:
                await reader.read_once()
    last = Reader(pool, STREAMS, 1000)
    for reader in (*readers, last):
        await reader.read_all()
    await assert_true(pool, *readers, last)
    assert all(reader.held == last.held for reader in readers)


async def test_a_page_and_its_head_are_one_snapshot(pool: Pool) -> None:
    """Promise 5. The page that is not cut ends at the head, and the head's count and digest are those of exactly these rows."""
    reference = await load_county(pool)
    await filled(pool, reference, 5)
    (page,) = await fetch_pages(pool, COUNTY, {FIELD_A: 0}, 100)
    records = msgspec.json.decode(b"[%s]" % page.records)
    assert (page.seq, page.size) == (page.head.seq, 5)
    assert (page.head.count, page.head.digest) == (5, digest_of(records))
    (cut,) = await fetch_pages(pool, COUNTY, {FIELD_A: 0}, 3)
    assert (cut.seq, cut.size) == (3, 3)
    assert cut.head == page.head


async def test_a_stream_that_does_not_exist_has_no_page(pool: Pool) -> None:
    await load_county(pool)
    assert await fetch_pages(pool, COUNTY, {"nowhere.field": 0}, 10) == []
    assert await fetch_heads(pool, COUNTY, ["nowhere.field"]) == {}
    assert await fetch_buckets(pool, COUNTY, "nowhere.field") is None
    assert await fetch_repair(pool, COUNTY, "nowhere.field", [1]) is None


async def test_a_cursor_behind_and_ahead(pool: Pool) -> None:
    """A cursor beyond the head gets nothing; streams are answered in the order asked."""
    reference = await load_county(pool)
    await filled(pool, reference, 4)
    pages = await fetch_pages(pool, COUNTY, {FIELD_A: 99}, 10)
    assert [(p.size, p.records, p.markers) for p in pages] == [(0, b"", b"")]
    other = a_creation(5, an_id(5), unit=VILLAGE_B)
    await hand_in(pool, reference, [other])
    for order in (STREAMS[:2], STREAMS[1::-1]):
        assert [p.stream for p in await fetch_pages(pool, COUNTY, dict.fromkeys(order, 0), 10)] == list(order)


async def test_bodies_pass_through_as_they_came(pool: Pool) -> None:
    """Promise 3. Numbers, escapes and unknown fields reach the next phone byte for byte."""
    reference = await load_county(pool)
    newer = '"newer":{"n":1.10,"e":1e2,"u":"😀","s":"\\\\"}'
    body = f'{{"name":"\\u5de5\\u5730 \\"一\\"","unit":"{VILLAGE_A}","subjects":[],{newer}}}'
    mutation = msgspec.structs.replace(a_creation(1, an_id(1)), body=msgspec.Raw(body.encode()))
    await hand_in(pool, reference, [mutation])
    (page,) = await fetch_pages(pool, COUNTY, {FIELD_A: 0}, 10)
    assert body.encode() in page.records


async def test_buckets_sum_to_the_digest_and_repair_brings_exactly_what_they_name(pool: Pool) -> None:
    """Promise 4."""
    reference = await load_county(pool)
    await filled(pool, reference, 60)
    await hand_in(pool, reference, [a_deletion(61, an_id(1), (1, 1)), an_edit(62, an_id(2), (1, 1), note=(None, "x"))])
    found = await fetch_buckets(pool, COUNTY, FIELD_A)
    assert found is not None
    head, sums = found
    assert sum(sums.values()) % 2**32 == head.digest
    assert set(sums) == {bucket_of(an_id(k)) for k in range(2, 61)}
    wanted = sorted(sums)[:5]
    repaired = await fetch_repair(pool, COUNTY, FIELD_A, wanted)
    assert repaired is not None
    text = repaired[2]
    records: list[dict[str, Any]] = msgspec.json.decode(b"[%s]" % (text.encode() if isinstance(text, str) else text))
    assert {r["id"] for r in records} == {str(an_id(k)) for k in range(2, 61) if bucket_of(an_id(k)) in wanted}
    for bucket in wanted:
        assert digest_of([r for r in records if bucket_of(msgspec.convert(r["id"], type=type(an_id(1)))) == bucket]) == sums[bucket] % 2**32


async def filled(pool: Pool, reference: Reference, count: int) -> None:
    await hand_in(pool, reference, [a_creation(n, an_id(n)) for n in range(1, count + 1)])


def digest_of(records: Sequence[dict[str, Any]]) -> int:
    return sum(record_crc(msgspec.convert(r["id"], type=type(an_id(1))), tuple(r["v"])) for r in records) % 2**32
