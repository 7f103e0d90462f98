"""Who is asking: one indexed query from the token's hash to the person, the device and all duties."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, LiteralString

import msgspec

from contracts.caller import Caller, DeviceKind
from contracts.ids import PersonId, UnitCode
from contracts.people import Duty, Role
from contracts.problems import ProblemCode
from storage.pool import Executor
from storage.tokens import Refused, standing_refusal

DEFAULT_WIPED_FOR: Final = timedelta(days=30)

SQL_FETCH_CALLER: Final[LiteralString] = """
    SELECT t.expires_at, t.strong, p.demo, d.id AS device, d.kind, d.first_enrolled_at, d.wiped_at, d.revoked_at, d.revoked_why,
           p.id AS person, p.name, p.disabled_at,
           (SELECT json_agg(json_build_array(y.role, y.unit, y.starts, y.ends) ORDER BY y.starts)
            FROM duty y WHERE y.person = p.id) AS duties
    FROM token t JOIN device d ON d.id = t.device JOIN person p ON p.id = d.person
    WHERE t.hash = $1 AND t.purpose = 'access'
"""


async def fetch_caller(executor: Executor, token_hash: bytes, now: datetime, wiped_for: timedelta = DEFAULT_WIPED_FOR) -> Caller | Refused:
    """The caller, or why the token is not good (any more). `wiped_for`: how long a wiped device may still hand in."""
    row = await executor.fetchrow(SQL_FETCH_CALLER, token_hash)
    if row is None:
        return Refused(ProblemCode.NOT_AUTHENTICATED)
    if row["expires_at"] <= now:
        return Refused(ProblemCode.TOKEN_EXPIRED)
    if refusal := standing_refusal(row["revoked_at"], row["revoked_why"], row["wiped_at"], row["disabled_at"], now, wiped_for):
        return refusal
    return Caller(
        person=row["person"],
        name=row["name"],
        device=row["device"],
        device_kind=DeviceKind(row["kind"]),
        duties=duties_from(row["person"], row["duties"]),
        enrolled_at=row["first_enrolled_at"],
        wiped=row["wiped_at"] is not None,
        cloned=row["revoked_at"] is not None,
        strong=row["strong"],
        demo=row["demo"],
    )


_DUTIES: Final = msgspec.json.Decoder(list[tuple[Role, UnitCode, datetime, datetime | None]])


@lru_cache(maxsize=4096)  # a phone comes several times within a minute, and its duties change a few times a year
def duties_from(person: PersonId, rows: str | None) -> tuple[Duty, ...]:
    """The duties of a `json_agg` of [role, unit, starts, ends]."""
    if rows is None:
        return ()
    return tuple(Duty(person=person, role=role, unit=unit, starts=starts, ends=ends) for role, unit, starts, ends in _DUTIES.decode(rows))
