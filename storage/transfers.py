"""What is to be carried to another county: rows written by the push that plans it, and found again until they are done.

storage/carrying.py does them. A row and its job are in the transaction of the move, so none is without the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, LiteralString

import msgspec

from contracts.ids import County, RecordId
from storage.jobs import JobRequest, enqueue, fetch_given_up
from storage.pool import Connection, Pool
from sync.transfers import Transfer

CARRY_JOB: Final = "transfer.carry"
CARRY_BLOB_JOB: Final = "transfer.carry_blob"


class TransferRef(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of the job: a family that has something to be carried out of `county`."""

    county: County
    family: RecordId


class BlobTransferRef(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of the job: a photo's bytes that `target` shall have, too."""

    county: County
    target: County
    sha256: str


# The steps of a family are numbered under the lock of its stream's head, which every push that plans one holds.
SQL_INSERT_TRANSFERS: Final[LiteralString] = """
    INSERT INTO transfer (county, family, step, target, record, is_copy, by_system, device, n, person, mutation)
    SELECT c.county, u.family,
           u.k + coalesce((SELECT max(t.step) FROM transfer t WHERE t.county = $1 AND t.family = u.family), 0),
           u.target, u.record, u.is_copy, u.by_system, u.device, u.n, u.person, u.mutation::json
    FROM county c, unnest($2::uuid[], $3::bigint[], $4::integer[], $5::uuid[], $6::boolean[], $7::boolean[], $8::uuid[], $9::bigint[],
                          $10::uuid[], $11::text[])
         AS u (family, k, target, record, is_copy, by_system, device, n, person, mutation)
    WHERE c.county = $1
"""
# A child that was made after its parent had left is written as new, and push_write's insert knows no moved_to.
SQL_MARK_LEFT: Final[LiteralString] = """
    UPDATE record SET moved_to = u.target FROM unnest($2::uuid[], $3::integer[]) AS u (id, target)
    WHERE record.county = $1 AND record.id = u.id AND record.deleted AND record.moved_to IS NULL
"""
SQL_INSERT_BLOBS: Final[LiteralString] = """
    INSERT INTO transfer_blob (county, target, sha256)
    SELECT DISTINCT c.county, u.target, u.sha256 FROM county c, unnest($2::integer[], $3::text[]) AS u (target, sha256)
    WHERE c.county = $1
    ON CONFLICT (county, target, sha256) DO UPDATE SET done_at = NULL
"""


async def write_transfers(conn: Connection, county: County, transfers: Sequence[Transfer]) -> None:
    """In the transaction of the push that planned them, with the jobs that will carry them."""
    columns = zip(*((t.target, t.mutation.record, t.is_copy, t.by_system, t.device, t.n, t.person) for t in transfers), strict=True)
    targets, records, copies, by_system, devices, ns, persons = map(list, columns)
    families = [t.family for t in transfers]
    ranks = list(range(1, len(transfers) + 1))
    mutations = [msgspec.json.encode(t.mutation).decode() for t in transfers]
    await conn.execute(SQL_INSERT_TRANSFERS, county, families, ranks, targets, records, copies, by_system, devices, ns, persons, mutations)
    left = [t for t in transfers if t.is_copy]
    await conn.execute(SQL_MARK_LEFT, county, [t.mutation.record for t in left], [t.target for t in left])
    photos = [t for t in left if t.sha256 is not None]
    await conn.execute(SQL_INSERT_BLOBS, county, [t.target for t in photos], [t.sha256 for t in photos])
    await enqueue(conn, [_carry(TransferRef(county=county, family=family)) for family in dict.fromkeys(families)])


def _carry(ref: TransferRef) -> JobRequest:
    return JobRequest(job=CARRY_JOB, key=f"{ref.county}/{ref.family}", payload=ref)


def _carry_blob(ref: BlobTransferRef) -> JobRequest:
    return JobRequest(job=CARRY_BLOB_JOB, key=f"{ref.county}/{ref.target}/{ref.sha256}", payload=ref)


SQL_FETCH_OPEN: Final[LiteralString] = """
    SELECT DISTINCT county, family FROM transfer WHERE county = $1 AND done_at IS NULL LIMIT $2
"""
SQL_FETCH_OPEN_BLOBS: Final[LiteralString] = """
    SELECT t.county, t.target, t.sha256 FROM transfer_blob t
    JOIN blob b ON b.county = t.county AND b.sha256 = t.sha256 AND b.received_at IS NOT NULL
    WHERE t.county = $1 AND t.done_at IS NULL
    LIMIT $2
"""


async def enqueue_open(pool: Pool, county: County, limit: int = 1000) -> int:
    """Ask again for what waits: a job that was skipped because one just ended, bytes that have come since.

    Not for what was given up and is held for a person: it would be tried, and be given up, every minute for ever.
    """
    families = [TransferRef(county=r["county"], family=r["family"]) for r in await pool.fetch(SQL_FETCH_OPEN, county, limit)]
    blobs = [BlobTransferRef(**dict(r)) for r in await pool.fetch(SQL_FETCH_OPEN_BLOBS, county, limit)]
    requests = [*map(_carry, families), *map(_carry_blob, blobs)]
    if not requests:
        return 0
    given_up = {job: await fetch_given_up(pool, job) for job in (CARRY_JOB, CARRY_BLOB_JOB)}
    requests = [request for request in requests if request.key not in given_up[request.job]]
    await enqueue(pool, requests)
    return len(requests)
