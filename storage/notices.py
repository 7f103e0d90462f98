"""The copies of a letter, and who was to have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, LiteralString

import msgspec

from contracts.ids import County, PersonId, RecordId, StreamName, UnitCode
from contracts.kinds.notice import Notice
from contracts.people import Role
from contracts.planning import Addressee, Signature
from storage.pool import Executor
from sync.permission import ACTIVE

SQL_FETCH_LETTER: Final[LiteralString] = """
    SELECT id, body FROM record
    WHERE county = $1 AND kind = 'notice' AND NOT deleted AND (body ->> 'letter') IS NOT NULL AND (body ->> 'letter') = $2
      AND stream = ANY ($3::text[])
    ORDER BY id
"""


async def fetch_letter(
    executor: Executor, county: County, letter: RecordId, streams: Sequence[StreamName]
) -> list[tuple[RecordId, Notice]]:
    """The copies of a letter that lie in these streams."""
    rows = await executor.fetch(SQL_FETCH_LETTER, county, str(letter), list(streams))
    return [(row["id"], msgspec.json.decode(row["body"], type=Notice)) for row in rows]


SQL_FETCH_ADDRESSEES: Final[LiteralString] = """
    SELECT DISTINCT ON (y.unit, p.id) y.unit, p.id, p.name, y.role FROM duty y JOIN person p ON p.id = y.person
    WHERE y.unit = ANY ($1::text[]) AND y.role = ANY ($2::text[]) AND y.starts <= $3 AND (y.ends IS NULL OR y.ends > $3)
      AND p.disabled_at IS NULL
    ORDER BY y.unit, p.id, y.role
"""


async def fetch_addressees(
    executor: Executor, units: Sequence[UnitCode], roles: Sequence[Role], now: datetime
) -> dict[UnitCode, list[Addressee]]:
    """Who has a duty at each unit itself, of these roles; of any role that works where none is named."""
    wanted = [role.value for role in roles or sorted(ACTIVE)]
    found: dict[UnitCode, list[Addressee]] = {unit: [] for unit in units}
    for row in await executor.fetch(SQL_FETCH_ADDRESSEES, list(units), wanted, now):
        found[row["unit"]].append(Addressee(person=row["id"], name=row["name"], role=Role(row["role"])))
    return found


SQL_FETCH_NAMES: Final[LiteralString] = "SELECT id, name FROM person WHERE id = ANY ($1::uuid[])"


async def fetch_names(executor: Executor, people: Sequence[PersonId]) -> dict[PersonId, str]:
    """Names of people, also of those who have left."""
    return {row["id"]: row["name"] for row in await executor.fetch(SQL_FETCH_NAMES, list(people))}


def signatures(notice: Notice, names: Mapping[PersonId, str]) -> list[Signature]:
    """Everybody who signed for a copy, the first to sign first."""
    signed = {step.by: step.captured_at or step.at for step in reversed(notice.steps) if step.command == "notice.acknowledge"}
    found = [signature_of(person, names.get(person, ""), signed.get(person), notice.acknowledge_by) for person in notice.acknowledged_by]
    return sorted(found, key=lambda one: (one.signed_at is None, one.signed_at, one.name))


def signature_of(person: PersonId, name: str, signed_at: datetime | None, until: datetime | None) -> Signature:
    late = signed_at is not None and until is not None and signed_at > until
    return Signature(person=person, name=name, signed_at=signed_at, late=late)
