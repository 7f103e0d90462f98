"""Is everything still there? The notebook against the tables, the bytes in S3, and every phone against the server.

Judged by plain rules over plain JSON. What is proven:

values    each value that was typed arrived as it was typed (the journal's raw mutation), and is to be seen: in its record, or in the
          conflict inbox, or on the desk, or refused with a reason, or replaced by somebody who came later
photos    the bytes of each photo are in S3, under the hash that was computed beside the camera
phones    count and digest of every stream on every phone are the server's, and every copy is word for word the server's record
once      no number of any phone is journaled twice
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from uuid import UUID

import boto3
from botocore.config import Config

from demo.hands import Hand
from demo.notebook import Notebook, Typed, at_desk
from demo.office import Office
from demo.tables import ACCEPTED, HELD, Entry, Json, Tables
from server.settings import S3Settings


class Place(Enum):
    """Where a value that was typed can be seen."""

    IN_RECORD = "in_record"
    IN_CONFLICT = "in_conflict"
    ON_DESK = "on_desk"
    REFUSED = "refused"
    REPLACED = "replaced"
    IN_DELETED = "in_deleted"
    IN_HISTORY = "in_history"


DELETION: Final = "-"
DISCLOSURE: Final = "disclose"  # what the journal calls it where it was done to what was found


@dataclass
class Proof:
    """`places`: where the values are. What is wrong stands in the lists, each line for people; all empty: proven."""

    places: Counter[Place] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    photos_missing: list[str] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    streams: dict[str, list[str]] = field(default_factory=dict)  # stream -> phones that hold it, in agreement
    copies: int = 0
    compared: int = 0  # streams of phones
    twice: int = 0

    @property
    def holds(self) -> bool:
        return not (self.missing or self.photos_missing or self.disagreements or self.twice)


def prove(notebook: Notebook, tables: Tables, hands: dict[str, Hand], desks: dict[str, Office], originals: set[str]) -> Proof:
    """`originals`: SHA-256 of everything that S3 gives out, computed from the bytes."""
    proof = Proof(twice=len(tables.twice))
    devices = {key: str(hand.phone.account.device) for key, hand in hands.items()}
    devices |= {at_desk(key): desk.writes_as for key, desk in desks.items()}
    names = {key: hand.name for key, hand in hands.items()} | {at_desk(key): desk.name for key, desk in desks.items()}
    for typed in notebook.typed:
        place = place_of(typed, devices[typed.hand], tables)
        if isinstance(place, Place):
            proof.places[place] += 1
        else:
            proof.missing.append(f"{names[typed.hand]} · {typed.what} · {typed.field or typed.op} = {_shown(typed.value)}：{place}")
    for photo in notebook.taken:
        if photo.sha256 not in originals:
            proof.photos_missing.append(f"{hands[photo.hand].name} · 照片「{photo.caption}」 {photo.sha256[:12]}")
    for hand in hands.values():
        proof.disagreements += _disagreements(hand, tables, proof)
    return proof


# ------------------------------------------------------------------------------------------------ values


def place_of(typed: Typed, device: str, tables: Tables) -> Place | str:
    """Where it is, or what is wrong, in words."""
    arrived = next(_arrivals(typed, device, tables), None)
    if arrived is None:
        return "从未到达服务器 · never arrived"
    fate = tables.last[arrived.device, arrived.n]
    if fate.outcome in HELD:
        is_open = tables.held.get((arrived.device, arrived.n), ("", False))[1]
        return Place.ON_DESK if is_open else "不在核定台上 · held, but on no desk"
    if fate.outcome == "rejected":
        return Place.REFUSED
    return _accepted_place(typed, arrived, tables)


def _arrivals(typed: Typed, device: str, tables: Tables) -> Iterator[Entry]:
    """The mutations that brought exactly this value."""
    for entry in tables.by_record[typed.record]:
        if entry.device != device or entry.op != typed.op or entry.raw is None:
            continue
        if not typed.field or _brought(entry.raw, typed.field) == typed.value:
            yield entry


def _brought(raw: dict[str, Json], name: str) -> Json:
    if name.startswith("args."):
        return raw["args"].get(name.removeprefix("args."))
    if name in raw.get("fields", {}):
        return raw["fields"][name][1]
    return _at(raw.get("body") or {}, name)


def _at(body: dict[str, Json], name: str) -> Json:
    head, dot, key = name.partition(".")
    value = body.get(head)
    return (value or {}).get(key) if dot else value


def _accepted_place(typed: Typed, arrived: Entry, tables: Tables) -> Place | str:
    record = tables.records.get(typed.record)
    if record is None:
        return "记录不存在 · its record does not exist"
    if typed.op == "delete":
        lost = _in_conflict(typed.record, DELETION, "delete", tables)
        return Place.IN_HISTORY if record.deleted else Place.IN_CONFLICT if lost else "删除无影无踪 · the deletion left no trace"
    if not typed.field or typed.field.startswith("args."):
        return Place.IN_HISTORY  # a command: its words are in the journal, as they came
    if _contains(_at(record.body, typed.field), typed.value):
        return Place.IN_DELETED if record.deleted else Place.IN_RECORD
    if _in_conflict(typed.record, typed.field, typed.value, tables):
        return Place.IN_CONFLICT
    if _replaced(typed, arrived, tables) or _moved_by_disclosure(typed, arrived, tables):
        return Place.REPLACED
    return "记录、冲突、核定台都没有 · accepted, and now nowhere to be seen"


def _contains(there: Json, typed: Json) -> bool:
    if isinstance(there, list) and isinstance(typed, list):
        return all(one in there for one in typed)
    return there == typed


def _in_conflict(record: str, name: str, value: Json, tables: Tables) -> bool:
    conflicts = (row.body for row in tables.records.values() if row.kind == "conflict")
    return any(body["record"] == record and body["field"] == name and body["lost"] == value for body in conflicts)


def _replaced(typed: Typed, arrived: Entry, tables: Tables) -> bool:
    """Somebody wrote the field later, and had seen this value: the journal shows both."""
    story = tables.by_record[typed.record]
    later = story[story.index(arrived) + 1 :]
    return any(
        entry.raw is not None
        and tables.last[entry.device, entry.n].outcome in ACCEPTED
        and typed.field in entry.raw.get("fields", {})
        and entry.raw["fields"][typed.field][0] == typed.value
        for entry in later
    )


def _moved_by_disclosure(typed: Typed, arrived: Entry, tables: Tables) -> bool:
    """An unannounced visit belongs to its sender until it is disclosed to the unit that was visited: its unit changes, nothing else."""
    later = tables.journal[tables.journal.index(arrived) + 1 :] if typed.field == "unit" else []
    return any(entry.record == typed.record and entry.what == "consequence" and entry.op == DISCLOSURE for entry in later)


def _shown(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


# ------------------------------------------------------------------------------------------------ phones


def _disagreements(hand: Hand, tables: Tables, proof: Proof) -> Iterator[str]:
    """What one phone holds otherwise than the server."""
    for stream in hand.phone.streams():
        proof.compared += 1
        on_phone, on_server = hand.phone.digest(stream.name), tables.heads.get(stream.name, (0, 0))
        if on_phone != on_server:
            yield f"{hand.name} · {stream.name}：{on_phone} ≠ {on_server}"
        elif on_phone[0]:
            proof.streams.setdefault(stream.name, []).append(hand.name)
    if unsent := hand.phone.unsent():
        yield f"{hand.name}：{unsent} 条未交 · unsent"
    for record, body in hand.phone.store.db.execute("SELECT record, body FROM confirmed WHERE stream IS NOT NULL"):
        proof.copies += 1
        known = tables.records.get(str(UUID(bytes=record)))
        if known is None or known.body != json.loads(body):
            yield f"{hand.name} · {UUID(bytes=record)}：手机与服务器内容不同 · the copy differs from the server's record"


# ------------------------------------------------------------------------------------------------ photos


async def hash_originals(s3: S3Settings) -> set[str]:
    return await asyncio.to_thread(_hash_originals, s3)


def _hash_originals(s3: S3Settings) -> set[str]:
    client: Any = boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        aws_access_key_id=s3.access_key.get_secret_value(),
        aws_secret_access_key=s3.secret_key.get_secret_value(),
        region_name=s3.region,
        config=Config(s3={"addressing_style": "path"}),
    )
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=s3.bucket)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {hashlib.sha256(client.get_object(Bucket=s3.bucket, Key=key)["Body"].read()).hexdigest() for key in keys}
