"""Finding near pictures among very many: none is missed, and the index is used."""

import json
import random

import asyncpg
import pytest

from storage.looks import Look
from storage.pictures import SQL_FETCH_NEAR, fetch_look, fetch_near, insert_picture
from sync.evidence import NEAR_BITS_MAX, Exif, probe_words
from tests.photo_builder import sha256_of

COUNTY = 610902
MANY = 30_000

SQL_INSERT_MANY = """
    INSERT INTO picture (county, sha256, format, width, height, exif, pdq, pdq_quality, words)
    SELECT $1::integer, encode(sha256(i::text::bytea), 'hex'), 'image/jpeg', 1, 1, '{}', repeat('0', 256)::bit(256), 100,
           ARRAY(SELECT ($1::integer::bigint << 20) + (place << 16) + (random() * 65535)::bigint + i * 0 FROM generate_series(0, 15) place)
    FROM generate_series(1, $2::integer) i
"""


def looked(bits: int, quality: int = 100) -> Look:
    return Look(format="image/jpeg", width=4000, height=3000, exif=Exif(lat=32.6), pdq=f"{bits:064x}", pdq_quality=quality)


def turned(bits: int, count: int, seed: int) -> int:
    return bits ^ sum(1 << bit for bit in random.Random(seed).sample(range(256), count))


async def test_what_was_seen_is_kept(pool) -> None:
    look = looked(2**255 + 5)
    async with pool.acquire() as conn:
        await insert_picture(conn, COUNTY, "a", look)
        await insert_picture(conn, COUNTY, "a", looked(1))  # a repeated job
    assert await fetch_look(pool, COUNTY, "a") == look
    assert await fetch_look(pool, COUNTY, "b") is None


async def test_near_pictures_are_found_nearest_first_and_no_other(pool) -> None:
    base = random.Random(1).getrandbits(256)
    async with pool.acquire() as conn:
        for count in (0, 3, NEAR_BITS_MAX, NEAR_BITS_MAX + 1, 120):
            await insert_picture(conn, COUNTY, f"{count}", looked(turned(base, count, count)))
        await insert_picture(conn, COUNTY + 1, "other county", looked(base))
        await insert_picture(conn, COUNTY, "plain", looked(base, quality=10))
    found = await fetch_near(pool, COUNTY, "asking", looked(base))
    assert [(each.sha256, each.bits) for each in found] == [("0", 0), ("3", 3), (f"{NEAR_BITS_MAX}", NEAR_BITS_MAX)]
    assert await fetch_near(pool, COUNTY, "asking", looked(base, quality=10)) == []
    assert "0" not in {each.sha256 for each in await fetch_near(pool, COUNTY, "0", looked(base))}


async def test_no_distance_up_to_the_bound_is_missed(pool) -> None:
    """Every share of turned bits among the words, drawn many times."""
    base = random.Random(2).getrandbits(256)
    async with pool.acquire() as conn:
        for seed in range(150):
            await insert_picture(conn, COUNTY, sha256_of(b"%d" % seed), looked(turned(base, NEAR_BITS_MAX, seed)))
    rows = await pool.fetch(SQL_FETCH_NEAR, COUNTY, "x", probe_words(COUNTY, f"{base:064x}"), bits_of(base), NEAR_BITS_MAX, 1000)
    assert len(rows) == 150


def bits_of(value: int) -> asyncpg.BitString:
    return asyncpg.BitString.frombytes(value.to_bytes(32))


async def test_the_search_uses_its_index_among_many(pool) -> None:
    base = random.Random(3).getrandbits(256)
    async with pool.acquire() as conn:
        await conn.execute(SQL_INSERT_MANY, COUNTY, MANY)
        await insert_picture(conn, COUNTY, "near", looked(turned(base, 20, 9)))
        await conn.execute("VACUUM ANALYZE picture")
        explained = await conn.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {SQL_FETCH_NEAR}",
            COUNTY,
            "x",
            probe_words(COUNTY, f"{base:064x}"),
            bits_of(base),
            NEAR_BITS_MAX,
            50,
        )
    [plan] = json.loads(explained)
    assert "picture_words" in explained
    assert "Seq Scan" not in explained
    assert plan["Execution Time"] < 500, plan["Execution Time"]  # 5 ms on a quiet machine
    assert [each.sha256 for each in await fetch_near(pool, COUNTY, "x", looked(base))] == ["near"]


@pytest.mark.parametrize("bits", [0, 2**256 - 1])
async def test_extreme_hashes_are_words_too(pool, bits) -> None:
    async with pool.acquire() as conn:
        await insert_picture(conn, COUNTY, "a", looked(bits))
    assert [each.bits for each in await fetch_near(pool, COUNTY, "b", looked(bits))] == [0]
