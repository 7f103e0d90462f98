# ruff: noqa: F401, F811 - fixtures of another file
"""Two problems whose pictures look alike are suggested as one, and no more than may be told."""

import json
import uuid
from typing import Any

from contracts.ids import problem_id
from contracts.people import Role
from storage import alike
from storage.alike import suggest_for_changed
from tests.api.office import VILLAGE
from tests.api.photo_story import COUNTY
from tests.api.test_photo_process import PhotoPhone, handed_in, objects, phone, work, work_off
from tests.photo_builder import jpeg, picture

DUST = {"slug": "construction_dust", "jurisdiction": "ankang", "version": 1}


async def problem(phone: PhotoPhone, subject: str = "open_burning", **body: Any) -> uuid.UUID:
    record = uuid.uuid4()
    made = {"unit": VILLAGE, "subject": subject, "title": "冒烟", **body}
    frames = await phone.push(phone.mutation("problem", record, made), command(phone, "problem", record, "problem.report"))
    assert {o["outcome"] for o in frames["outcomes"]["outcomes"]} == {"applied"}, frames
    return record


def command(phone: PhotoPhone, kind: str, record: uuid.UUID, op: str) -> dict[str, Any]:
    made = phone.mutation(kind, record, {})
    del made["body"]
    return made | {"op": op, "args": {}}


async def suspected(pool: Any, record: uuid.UUID) -> list[str]:
    return list(json.loads(await pool.fetchval("SELECT body FROM record WHERE id = $1", record)).get("suspected_duplicates", []))


async def test_problems_with_the_same_or_a_near_same_picture_name_each_other(phone, pool, work) -> None:
    one, same, near, other = [await problem(phone) for _ in range(4)]
    data = jpeg(picture(7, 1200, 900))
    await handed_in(phone, data, one)
    await handed_in(phone, data, same)
    await handed_in(phone, jpeg(picture(7, 1200, 900).resize((800, 600)), quality=50), near)
    await handed_in(phone, jpeg(picture(8)), other)
    await work_off(pool, work)
    for record in (one, same, near):
        assert set(await suspected(pool, record)) == {str(r) for r in (one, same, near)} - {str(record)}
    assert await suspected(pool, other) == []


async def test_pictures_of_the_fixed_state_suggest_nothing_and_what_was_said_to_be_two_stays_two(phone, pool, work) -> None:
    one, two = await problem(phone), await problem(phone)
    data = jpeg(picture(7))
    await handed_in(phone, data, one, purpose="after")
    await handed_in(phone, data, two, purpose="after")
    await work_off(pool, work)
    assert await suspected(pool, one) == []
    for record, other in ((one, two), (two, one)):
        said = json.dumps({"distinct": [str(other)]})
        await pool.execute("UPDATE record SET body = (body::jsonb || $2::jsonb)::json WHERE id = $1", record, said)
    await handed_in(phone, jpeg(picture(9)), one)
    await handed_in(phone, jpeg(picture(9)), two)
    await work_off(pool, work)
    assert await suspected(pool, one) == await suspected(pool, two) == []


async def test_a_problem_that_is_opened_after_its_photo_was_looked_at_is_suggested_by_the_next_timer(phone, pool, work) -> None:
    known = await problem(phone)
    await handed_in(phone, jpeg(picture(7)), known)
    inspection = uuid.uuid4()
    body = {"unit": VILLAGE, "subject": "construction_dust", "checklist": DUST, "answers": {"sprinkling": {"value": "no"}}}
    await phone.push(phone.mutation("inspection", inspection, body))
    await handed_in(phone, jpeg(picture(7)), inspection, item="sprinkling")
    await work_off(pool, work)
    assert await suspected(pool, known) == []
    await phone.push(command(phone, "inspection", inspection, "inspection.submit"))
    await suggest_for_changed(pool, await work.units.reference(), COUNTY, phone.world.clock())
    opened = problem_id(inspection, "sprinkling")
    assert await suspected(pool, opened) == [str(known)]
    assert await suspected(pool, known) == [str(opened)]


async def test_one_problem_that_cannot_be_compared_keeps_no_other_back_and_none_is_left_out(phone, pool, work, monkeypatch) -> None:
    await pool.execute("INSERT INTO timer_run (county, done_until) VALUES ($1, now())", COUNTY)
    made = [await problem(phone) for _ in range(5)]
    looked: list[uuid.UUID] = []

    async def look(_pool: Any, _reference: Any, _county: int, record: uuid.UUID, _now: Any) -> None:
        looked.append(record)
        if record == made[0]:
            raise RuntimeError("planted")

    monkeypatch.setattr(alike, "suggest_for", look)
    monkeypatch.setattr(alike, "BATCH", 2)
    await suggest_for_changed(pool, await work.units.reference(), COUNTY, phone.world.clock())
    assert looked == made
    mark = await pool.fetchval("SELECT alike_until FROM timer_run WHERE county = $1", COUNTY)
    assert mark == await pool.fetchval("SELECT max(changed_at) FROM record WHERE kind = 'problem'")


async def test_a_picture_of_an_unannounced_visit_betrays_nothing(phone, pool, work, world, client) -> None:
    known = await problem(phone)
    data = jpeg(picture(7))
    await handed_in(phone, data, known)
    visitor = PhotoPhone(world, await world.person((Role.COUNTY_SUPERVISOR, str(COUNTY))), client)
    secret = await problem(visitor, unit=str(COUNTY), secret=True)
    await handed_in(visitor, data, secret)
    await work_off(pool, work)
    await suggest_for_changed(pool, await work.units.reference(), COUNTY, phone.world.clock())
    assert await suspected(pool, known) == await suspected(pool, secret) == []
    told = await pool.fetch("SELECT body FROM record WHERE stream NOT LIKE '%.visit'")
    assert not any(str(secret) in row["body"] for row in told)
    entries = await pool.fetchval("SELECT count(*) FROM journal WHERE op = 'problem.suspect'")
    assert entries == 0, "nothing was even tried"
