"""Quiet points: everybody gets through to the server until nothing moves, then phones and tables are read."""

import json
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from contracts.kinds import KINDS
from phone.exchange import Ended, Synced
from phone.phone import Phone
from tests.simulator.cast import COUNTY
from tests.simulator.handset import NO_TLS, PATIENCE_S, Handset
from tests.simulator.installation import Installation
from tests.simulator.testimony import (
    DeviceRow,
    Head,
    JournalRow,
    PhoneRecord,
    PhoneView,
    RoadChecks,
    Rule,
    ServerRecord,
    ServerView,
    Violation,
)

ROUNDS_MAX = 14

SQL_SUM_HEADS = "SELECT coalesce(sum(seq), 0) + coalesce(sum(incarnation), 0) * 1000000 FROM stream_head"


async def come_to_rest(installation: Installation, handsets: list[Handset]) -> dict[str, Synced]:
    """How each phone's last sync ended, after a round in which no stream moved; or after too many rounds."""
    ended: dict[str, Synced] = {}
    before = None
    for _ in range(ROUNDS_MAX):
        ended = {handset.name: await handset.sync_fully() for handset in handsets}
        now = (await installation.sql(SQL_SUM_HEADS))[0][0]
        if now == before and all(synced.ended is Ended.COMPLETE for synced in ended.values()):
            break
        if any(synced.code and synced.code.startswith("no end") for synced in ended.values()):
            break
        before = now
    return ended


async def photos_left(handset: Handset, unreadable: set[int]) -> list[Violation]:
    """On a good line every announced photo gets its receipt, but for those whose announcement no server could read."""
    uploaded = await handset.upload()
    numbers = dict(handset.phone.store.db.execute("SELECT sha256, n FROM photo"))
    left = [photo for photo in handset.phone.photos() if photo.held and numbers[photo.sha256] not in unreadable]
    waiting = [f"{photo.sha256[:12]} ({photo.state}, {photo.reason})" for photo in left]
    if not uploaded.waiting or not left:
        return []
    return [
        Violation(
            10, f"{handset.name} does not get rid of its photos: {uploaded.ended.value} {uploaded.code or ''} {waiting}", handset.name
        )
    ]


def read_phone(handset: Handset, ended: str) -> PhoneView:
    phone = handset.phone
    records = {
        str(view.id): PhoneRecord(county=view.county, version=view.version, body=view.body, own=bool(view.waiting or view.unsent))
        for kind in KINDS
        for view in phone.records(kind)
    }
    return PhoneView(
        store=handset.name,
        device=str(phone.account.device),
        person=handset.person.id,
        unsent=phone.unsent(),
        records=records,
        streams={stream.name: phone.digest(stream.name) for stream in phone.streams()},
        waiting={str(pending.mutation.id) for pending in phone.waiting() if pending.mutation} | unreadable(phone),
        refused={str(pending.mutation.id) for pending in phone.refused()},
        refusals={str(pending.mutation.id): pending.detail for pending in phone.refused()},
        holds={str(UUID(bytes=row[0])) for row in phone.store.db.execute("SELECT id FROM mutation")},
        photos={photo.sha256: photo.state for photo in phone.photos() if not photo.held},
        ended=ended,
    )


def unreadable(phone: Phone) -> set[str]:
    """Own mutations on a desk, by id: also those whose bytes the simulation spoilt."""
    rows = phone.store.db.execute("SELECT id FROM mutation WHERE outcome IN ('quarantined', 'deferred')")
    return {str(UUID(bytes=row[0])) for row in rows}


SQL_FETCH_RECORDS = """
    SELECT county, id::text, kind, stream, seq, incarnation, version, crc, parent::text, deleted, moved_to, body FROM record
"""
SQL_FETCH_JOURNAL = """
    SELECT county, device::text, n, entry, what, mutation::text, record::text, op, outcome, reason, stream, seq, incarnation, version, raw
    FROM journal
"""
SQL_FETCH_HEADS = "SELECT county, stream, incarnation, seq, count, digest FROM stream_head"
SQL_FETCH_MARKERS = "SELECT stream, record::text, seq FROM marker"
SQL_FETCH_HELD = "SELECT county, device::text, n, settled_at IS NOT NULL FROM held"
SQL_FETCH_DEVICES = "SELECT county, device::text, n_high, holes FROM device_county"
SQL_FETCH_RULES = "SELECT county, name, version, starts, body FROM rule_version"
SQL_FETCH_INCARNATIONS = "SELECT county, incarnation FROM county"


async def read_server(installation: Installation) -> ServerView:
    """The tables as they stand."""
    conn = await asyncpg.connect(installation.cluster.dsn(installation.database))
    try:
        records = [_record(row) for row in await conn.fetch(SQL_FETCH_RECORDS)]
        markers: dict[str, list[tuple[str, int]]] = {}
        for stream, record, seq in await conn.fetch(SQL_FETCH_MARKERS):
            markers.setdefault(stream, []).append((record, seq))
        return ServerView(
            incarnations=dict(await conn.fetch(SQL_FETCH_INCARNATIONS)),
            records={(record.county, record.id): record for record in records},
            journal=[_journal(row) for row in await conn.fetch(SQL_FETCH_JOURNAL)],
            heads={row["stream"]: Head(*row) for row in await conn.fetch(SQL_FETCH_HEADS)},
            markers=markers,
            held={(county, device, n): settled for county, device, n, settled in await conn.fetch(SQL_FETCH_HELD)},
            devices={
                (county, device): DeviceRow(n_high, [(a, b) for a, b in json.loads(holes)])
                for county, device, n_high, holes in await conn.fetch(SQL_FETCH_DEVICES)
            },
            rules=[Rule(*row[:4], json.loads(row["body"])) for row in await conn.fetch(SQL_FETCH_RULES)],
            now=installation.time.now(),
        )
    finally:
        await conn.close()


async def read_public(installation: Installation, server: ServerView, issuer: Handset) -> None:
    """What everybody may read of draws, and what an office reads of road checks."""
    async with httpx.AsyncClient(base_url=installation.url, timeout=PATIENCE_S, verify=NO_TLS) as client:
        page = (await client.get("/public/v1/draws")).raise_for_status().json()
        server.published = page["draws"]
        for one in server.published:
            commitment = one["statement"]["commitment"]
            answer = await client.get(f"/public/v1/draws/{commitment}/file")
            if answer.is_success:
                server.draw_files[commitment] = answer.text
    begun = {str(r.body["starts_on"])[:7] for r in server.records.values() if r.kind == "campaign"}
    for month in sorted(begun):
        path = f"/office/v1/road-checks/{COUNTY}?month={month}"
        told = await issuer.ask("GET", path, None, dict[str, Any])
        server.road_checks.append(RoadChecks(unit=COUNTY, month=month, held=told["held"], days=told["days"]))


def _record(row: asyncpg.Record) -> ServerRecord:
    county, record, kind, stream, seq, incarnation, version, crc, parent, deleted, moved_to, body = row
    return ServerRecord(county, record, kind, stream, seq, (incarnation, version), crc, parent, deleted, moved_to, json.loads(body))


def _journal(row: asyncpg.Record) -> JournalRow:
    *first, incarnation, version, raw = row
    return JournalRow(*first, (incarnation, version) if version is not None else None, raw)
