"""What the week's scenes have in common: problems found by their site, fixes with photos, letters, and the worker's timers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import asyncpg

from contracts.ids import RecordId, projection_id
from contracts.kind import Position
from demo.hands import Hand
from demo.morning import SITES
from demo.people import COUNTY
from demo.radio import Signal
from demo.stage import Stage, near
from phone.exchange import Ended
from phone.phone import RecordView

PATIENCE_S: Final = 60.0
UPLOADS_MAX: Final = 20
SQL_COUNT_UNNOTED: Final = """
    SELECT count(*) FROM blob_announcement a
    JOIN record r ON r.county = a.county AND r.id = a.photo
    WHERE a.county = $1 AND a.noted_at IS NULL
    AND EXISTS (
        SELECT FROM blob_sending s
        WHERE s.county = a.county AND s.sha256 = a.sha256 AND (s.completed_at IS NOT NULL OR s.sent_at IS NOT NULL))
"""
SQL_FETCH_DONE: Final = "SELECT done_until FROM timer_run WHERE county = $1"


async def in_reach(*hands: Hand) -> None:
    """Signal for a while: forms, photos, and what others have done meanwhile. A refusal is a broken story: it raises."""
    for hand in hands:
        await hand.sync_fully(Signal.GOOD)
        if refused := hand.phone.refused():
            raise RuntimeError(f"{hand.name}: {refused[-1]}")
        for _ in range(UPLOADS_MAX):
            if (await hand.upload(Signal.GOOD)).ended is Ended.COMPLETE:
                break


def spot(site: str) -> dict[str, Any]:
    """Where somebody stands who has gone to a site, as a command's argument says it."""
    place = place_of(site)
    return {"lat": place.lat, "lng": place.lng, "accuracy_m": place.accuracy_m}


async def pictures_noted(stage: Stage) -> None:
    """Until the worker has looked at every photo that has arrived: nothing is closed out before."""
    await _until(stage, SQL_COUNT_UNNOTED, lambda left: left == 0, "the worker does not look at the photos")


def place_of(site: str) -> Position:
    return near(SITES[site][3])


def problem_at(hand: Hand, stage: Stage, site: str, item: str) -> RecordId:
    """The problem that a `no` to this item opened on this site, as the phone has it; the older one of two."""
    found = [
        one for one in hand.phone.records("problem") if one.body.get("site") == str(stage.sites[site]) and one.body.get("item") == item
    ]
    assert found, f"{hand.name} has no problem {site}/{item}"
    return min(found, key=lambda one: str(one.body.get("found_at"))).id


def called(site: str) -> str:
    return f"问题·{SITES[site][0]}"


async def assigned(stage: Stage, site: str, item: str, lead: str, due_on: str, key: str) -> RecordId:
    """The township's lead verifies and assigns with a deadline, by phone."""
    gao = stage.hands["gao"]
    problem = problem_at(gao, stage, site, item)
    gao.command(problem, called(site), "problem.verify", shows={"state": "verified"})
    gao.command(problem, called(site), "problem.assign", {"due_on": due_on, "leads": [lead]}, shows={"state": "assigned"})
    stage.records[key] = problem
    await gao.sync_fully(Signal.GOOD)
    return problem


def fixed(hand: Hand, problem: RecordId, site: str, scene: str, caption: str, note: str) -> RecordId:
    """A photo of the fixed state and the submission, all offline, on the unit's own view of the problem."""
    assignment = projection_id(problem, hand.member.unit)
    photo = hand.take_photo(assignment, scene, caption, place_of(site), purpose="after")
    args = {"photos": [str(photo)], "note": note}
    hand.command(assignment, f"交办件·{SITES[site][0]}", "problem.submit_fix", args=args, shows={"state": "submitted"})
    return photo


def body_of(hand: Hand, record: RecordId) -> dict[str, Any]:
    return hand.seen(record).body


def letters_on(hand: Hand) -> list[RecordView]:
    """Supervision letters on a phone, oldest moment first."""
    return sorted(hand.phone.records("supervision"), key=lambda one: str(one.body["issued_at"]))


async def timers_struck(stage: Stage) -> None:
    """A minute on: until the worker has done what fell due up to then, with what it knew then."""
    stage.installation.time.pass_seconds(60)
    now = stage.installation.time.now() - timedelta(milliseconds=1)  # PostgreSQL rounds
    await _until(stage, SQL_FETCH_DONE, lambda done: done is not None and done >= now, "the worker's timers do not strike")


async def _until(stage: Stage, statement: str, is_so: Callable[[Any], bool], otherwise: str) -> None:
    """Until the database says so."""
    until = time.monotonic() + PATIENCE_S
    conn = await asyncpg.connect(stage.installation.dsn)
    try:
        while time.monotonic() < until:
            if is_so(await conn.fetchval(statement, COUNTY)):
                return
            await asyncio.sleep(0.1)
    finally:
        await conn.close()
    raise RuntimeError(f"{otherwise}; see {stage.installation.log}")
