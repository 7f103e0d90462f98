"""Records that are there before measuring begins, put in by SQL in the shape that pushes leave: heads, counts and digests hold.

They have no journal entries (a pull reads none); `audit` would therefore complain about such a database.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, Final

from bench.population import Phone
from bench.talk import KIND, inspection_body
from contracts.digest import MODULUS, record_crc

SEEDER: Final = uuid.UUID(int=1)
COLUMNS: Final = ("county", "id", "kind", "stream", "seq", "incarnation", "version", "crc", "fields", "body")
INSERT_HEAD: Final = """
    INSERT INTO stream_head (county, stream, incarnation, seq, count, digest) VALUES ($1, $2, 1, $3, $3, $4)
"""


async def copy_records(conn: Any, home: Phone, records: Iterable[tuple[str, bytes]]) -> int:
    """(id, JSON object) of each, in the order of their seq; returns how many."""
    digest, seq = 0, 0
    rows = []
    for seq, (text, members) in enumerate(records, 1):
        record = uuid.UUID(text)
        crc = record_crc(record, (1, 1))
        digest = (digest + crc) % MODULUS
        fields = f'{{"*":[1,1,"{SEEDER}",{seq}]}}'
        body = inspection_body(home.unit, members).decode()
        rows.append((home.county, record, KIND, home.stream, seq, 1, 1, crc, fields, body))
    async with conn.transaction():
        await conn.copy_records_to_table("record", columns=COLUMNS, records=rows)
        await conn.execute(INSERT_HEAD, home.county, home.stream, seq, digest)
    await conn.execute("VACUUM ANALYZE record, stream_head")
    return seq


# crc32() is of PostgreSQL 18, which is what is embedded. uuidv7() keeps the primary key's index warm, as phones' ids do.
GENERATE: Final = """
    INSERT INTO record (county, id, kind, stream, seq, incarnation, version, crc, fields, body)
    SELECT $1, g.id, s.kind, $2, g.seq, 1, 1, crc32(uuid_send(g.id) || int4send(1) || int8send(1)), s.fields,
           replace(s.body::text, $8, $9)::json
    FROM (SELECT seq, uuidv7() AS id FROM generate_series($4::bigint + 1, $5::bigint) seq) g
    JOIN record s ON s.county = $7 AND s.stream = $3 AND s.seq = 1 + g.seq % $6
"""
SUM_DIGEST: Final = "SELECT (sum(crc) % 4294967296)::bigint FROM record WHERE county = $1 AND stream = $2 AND NOT deleted"
SLICE: Final = 250_000


async def generate_records(conn: Any, home: Phone, model: Phone, count: int) -> None:
    """`count` records with the bodies of `model`'s stream over and over, each with an id of its own."""
    models = await conn.fetchval("SELECT count FROM stream_head WHERE county = $1 AND stream = $2", model.county, model.stream)
    for first in range(0, count, SLICE):
        last = min(count, first + SLICE)
        places = (home.county, home.stream, model.stream, first, last, models, model.county, model.unit, home.unit)
        await conn.execute(GENERATE, *places, timeout=600)
    digest = await conn.fetchval(SUM_DIGEST, home.county, home.stream)
    await conn.execute(INSERT_HEAD, home.county, home.stream, count, digest)
    await conn.execute("VACUUM ANALYZE record, stream_head", timeout=600)
