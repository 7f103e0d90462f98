"""The server's tables as they stand at the end, read straight from PostgreSQL: no code of the product interprets them."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, LiteralString

import asyncpg

Json = Any
HELD: Final = ("quarantined", "deferred")
ACCEPTED: Final = ("applied", "merged", "conflict")

SQL_FETCH_RECORDS: Final[LiteralString] = "SELECT id::text, kind, stream, incarnation, version, deleted, fields, body FROM record"
SQL_FETCH_JOURNAL: Final[LiteralString] = """
    SELECT device::text, n, entry, what, record::text, op, outcome, reason, received_at, captured_from, captured_to, raw FROM journal
    ORDER BY received_at, device, n, entry
"""
SQL_FETCH_HEADS: Final[LiteralString] = "SELECT stream, count, digest FROM stream_head"
SQL_FETCH_HELD: Final[LiteralString] = "SELECT device::text, n, unit, settled_at IS NULL AS open FROM held"
SQL_FETCH_NUMBERS: Final[LiteralString] = "SELECT device::text, n, count(*) FROM journal WHERE entry = 0 GROUP BY device, n"


@dataclass(frozen=True)
class Record:
    id: str
    kind: str
    stream: str
    version: tuple[int, int]
    deleted: bool
    fields: dict[str, list[Any]]  # field -> [incarnation, version, device, n]
    body: dict[str, Json]


@dataclass(frozen=True)
class Entry:
    """A row of the journal; `raw`: the mutation as it came, None for what followed from it."""

    device: str
    n: int
    entry: int
    what: str
    record: str | None
    op: str | None
    outcome: str
    reason: str
    captured: tuple[datetime, datetime] | None
    raw: dict[str, Json] | None


@dataclass
class Tables:
    records: dict[str, Record]
    journal: list[Entry]
    heads: dict[str, tuple[int, int]]
    held: dict[tuple[str, int], tuple[str, bool]]  # (device, n) -> (unit, still open)
    twice: list[tuple[str, int]]  # numbers journaled more than once
    last: dict[tuple[str, int], Entry] = field(default_factory=dict)  # the newest decision on each mutation
    by_record: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for entry in self.journal:
            if entry.what != "consequence":
                self.last[entry.device, entry.n] = entry
            if entry.what == "mutation" and entry.record:
                self.by_record[entry.record].append(entry)

    def of_kind(self, kind: str) -> list[Record]:
        return [record for record in self.records.values() if record.kind == kind and not record.deleted]


async def read_tables(dsn: str) -> Tables:
    conn = await asyncpg.connect(dsn)
    try:
        records = [_record(row) for row in await conn.fetch(SQL_FETCH_RECORDS)]
        return Tables(
            records={record.id: record for record in records},
            journal=[_entry(row) for row in await conn.fetch(SQL_FETCH_JOURNAL)],
            heads={stream: (count, digest) for stream, count, digest in await conn.fetch(SQL_FETCH_HEADS)},
            held={(device, n): (unit, is_open) for device, n, unit, is_open in await conn.fetch(SQL_FETCH_HELD)},
            twice=[(device, n) for device, n, count in await conn.fetch(SQL_FETCH_NUMBERS) if count != 1],
        )
    finally:
        await conn.close()


def _record(row: asyncpg.Record) -> Record:
    record, kind, stream, incarnation, version, deleted, fields, body = row
    return Record(record, kind, stream, (incarnation, version), deleted, json.loads(fields), json.loads(body))


def _entry(row: asyncpg.Record) -> Entry:
    device, n, entry, what, record, op, outcome, reason, _received, start, end, raw = row
    captured = (start, end) if start and end else None
    return Entry(device, n, entry, what, record, op, outcome, reason, captured, json.loads(raw) if raw else None)


SQL_TAMPER: Final[LiteralString] = (
    "UPDATE record SET body = replace(body::text, $1, '')::json WHERE position($1 IN body::text) > 0 AND kind = $2"
)


async def tamper(dsn: str, words: str, kind: str) -> None:
    """Take some words out of a record, as only somebody with the database's password can."""
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute(SQL_TAMPER, words, kind)
    finally:
        await conn.close()
