"""Each route of a draw: who may ask, what is refused, and that a request which was cut short is completed by repeating it."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from uuid_utils.compat import uuid7

import api.draws
from contracts.draw import DrawFile, PublishedPage
from contracts.ids import projection_id
from contracts.outcomes import MutationOutcome, Outcome
from contracts.people import Role
from server.settings import Settings
from storage import draw_tasks, draws
from storage.draw_tasks import DrawRef, complete_departure
from storage.draws import Seal, open_draw
from sync.draw import verify
from tests.draws import ISSUER, NONCE, WATER, Drawing
from tests.world import COUNTY, DEPARTMENT, MORNING, TOWNSHIP, open_world


@pytest.fixture
async def drawing(settings: Settings, tmp_path: Path) -> AsyncIterator[Drawing]:
    async with open_world(settings, tmp_path) as world:
        yield await Drawing(world).set_up()


async def prepare(drawing: Drawing, phone: Any = None, **changed: Any) -> Any:
    return await drawing.call(phone or drawing.supervisor, "POST", "/office/v1/draws", json=drawing.wanted(**changed))


# ------------------------------------------------------------------------------------------------ preparing


async def test_only_a_supervisor_or_department_lead_of_the_very_unit_prepares(drawing: Drawing) -> None:
    for phone in (drawing.lead, drawing.member, drawing.auditor):
        assert (await prepare(drawing, phone)).status_code == 403
    assert (await prepare(drawing, unit=DEPARTMENT)).status_code == 403, "the county draws as the county"
    assert (await prepare(drawing, unit="nowhere")).status_code == 403
    lead = await drawing.world.phone(await drawing.world.person("水利", (Role.DEPARTMENT_LEAD, WATER)))
    assert (await prepare(drawing, lead, unit=WATER)).status_code == 201


async def test_a_pool_names_only_what_there_is_in_the_area_of_the_unit(drawing: Drawing) -> None:
    strange = [{"id": str(uuid.UUID(int=5)), "county": COUNTY}]
    refused = await prepare(drawing, sites=strange)
    assert refused.json()["code"] == "invalid_value"
    assert refused.json()["details"]["unknown"] == [str(uuid.UUID(int=5))]
    nobody = await prepare(drawing, inspectors=[{"id": str(drawing.inspectors[0][0].id), "unit": WATER}])
    assert nobody.json()["details"]["unknown"] == [str(drawing.inspectors[0][0].id)], "no duty there"
    hanyin = await drawing.world.phone(await drawing.world.person("汉阴督办", (Role.COUNTY_SUPERVISOR, "610921")))
    outside = await prepare(drawing, hanyin, unit="610921", exclusions=[])
    assert len(outside.json()["details"]["unknown"]) == 6


async def test_control_characters_are_refused_before_anything_is_kept(drawing: Drawing) -> None:
    """A note that PostgreSQL does not keep would stop the departure for good."""
    for changed in ({"title": "a\x00b"}, {"title": ""}, {"sites": [{"id": drawing.sites[0], "county": COUNTY, "why": "\x00"}]}):
        assert (await prepare(drawing, **changed)).json()["code"] == "invalid_value", changed
    await drawing.drawn()
    assert (await drawing.act(drawing.supervisor, "depart", note="a\x00b")).json()["code"] == "invalid_value"
    assert (await drawing.act(drawing.supervisor, "disclose", reason="\x1b[2J")).json()["code"] == "invalid_value"
    assert (await drawing.act(drawing.supervisor, "depart", note="第一行\n第二行")).status_code == 200


async def test_whatever_a_name_holds_the_plan_is_read_again(drawing: Drawing) -> None:
    named = "UPDATE record SET body = jsonb_set(body::jsonb, '{name}', to_jsonb($1::text))::json WHERE id = $2"
    await drawing.world.pool.execute(named, "工地\x1b[2J\n", uuid.UUID(drawing.sites[0]))
    await drawing.world.pool.execute("UPDATE person SET name = $1 WHERE id = $2", "长" * 300, drawing.inspectors[0][0].id)
    await drawing.prepared()
    plan = (await drawing.call(drawing.supervisor, "GET", drawing.path("list"))).json()["plan"]
    assert "工地 [2J " in [site["name"] for site in plan["sites"]]
    assert max(len(one["name"]) for one in plan["inspectors"]) == 200


async def test_rules_that_contradict_each_other_are_named(drawing: Drawing) -> None:
    rules = {"sites": 2, "team_size": 1, "departments": [DEPARTMENT, WATER]}
    refused = await prepare(drawing, rules=rules)
    assert refused.json()["details"]["faults"] == ["每组人数少于部门数"]


@pytest.mark.parametrize("title", [" ", "\u3000\u200b"])
async def test_a_blank_title_and_a_department_of_nowhere_are_refused(drawing: Drawing, title: str) -> None:
    blank = await prepare(drawing, title=title)
    assert (blank.status_code, blank.json()["details"]["field"]) == (422, "title"), blank.text
    for unit in ("x", "610921100"):
        rules = {"sites": 2, "team_size": 2, "departments": [DEPARTMENT, unit]}
        refused = await prepare(drawing, rules=rules)
        assert (refused.status_code, refused.json()["details"]["unknown"]) == (422, [unit]), refused.text
        assert any("\u4e00" <= c <= "\u9fff" for c in refused.json()["detail"])
    assert (await drawing.call(drawing.supervisor, "GET", drawing.path())).status_code == 404


async def test_a_draw_is_prepared_once(drawing: Drawing) -> None:
    await drawing.prepared()
    again = await prepare(drawing, title="另一事项")
    assert (again.status_code, again.json()["code"]) == (409, "conflicting_state")
    listed = await drawing.call(drawing.supervisor, "GET", drawing.path("list"))
    assert listed.json()["plan"]["title"] != "另一事项"
    assert listed.json()["result"] is None


async def test_a_preparation_that_died_before_its_record_is_done_again(drawing: Drawing, monkeypatch: pytest.MonkeyPatch) -> None:
    await break_once(monkeypatch, "api.draws.push_one")
    assert (await failing(prepare(drawing))) is True
    assert (await drawing.call(drawing.supervisor, "GET", drawing.path())).status_code == 404
    assert (await prepare(drawing)).status_code == 201


async def test_a_preparation_that_died_before_its_pool_was_sealed_is_done_again(drawing: Drawing, monkeypatch: pytest.MonkeyPatch) -> None:
    await break_once(monkeypatch, "storage.draws.seal_plan")
    assert await failing(prepare(drawing))
    early = await drawing.act(drawing.supervisor, "commit")
    assert (early.status_code, early.json()["details"]["reason"]) == (409, "no_sealed_pool")
    assert (await prepare(drawing, drawing.second_supervisor)).status_code == 409, "whose draw it is says what is drawn from"
    assert (await prepare(drawing)).status_code == 201
    await drawing.commits()


# ------------------------------------------------------------------------------------------------ cut short


async def break_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The next call of this function never happens: the process died just before it."""

    async def dies(*_: Any, **__: Any) -> None:
        monkeypatch.undo()
        raise RuntimeError("died")

    monkeypatch.setattr(name, dies)


async def failing(request: Any) -> bool:
    """Whether the server failed; the app in process passes its error on, or says 500."""
    try:
        return (await request).status_code == 500
    except RuntimeError:
        return True


async def test_a_commitment_that_died_before_its_record_keeps_its_secret(drawing: Drawing, monkeypatch: pytest.MonkeyPatch) -> None:
    await drawing.prepared()
    await break_once(monkeypatch, "api.draws.act")
    assert await failing(drawing.act(drawing.supervisor, "commit"))
    (published,) = (await drawing.world.client.get("/public/v1/draws")).json()["draws"]
    drawing.world.at(10)
    assert await drawing.commits() == published["statement"]["commitment"]


async def test_a_departure_that_died_before_its_tasks_is_completed(drawing: Drawing, monkeypatch: pytest.MonkeyPatch) -> None:
    await drawing.drawn()
    await break_once(monkeypatch, "storage.draw_tasks.system_push")
    assert await failing(drawing.act(drawing.supervisor, "depart"))
    assert await tasks(drawing) == 0
    for _ in range(2):
        assert (await drawing.act(drawing.supervisor, "depart")).status_code == 200
    assert await tasks(drawing) == 4


async def test_a_departure_that_nobody_asks_for_again_is_completed_by_the_worker(drawing: Drawing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it was disclosed meanwhile. What waits in the queue names the draw and nothing that is sealed."""
    await drawing.drawn()
    resources = drawing.world.app.state.resources
    ref = DrawRef(county=COUNTY, draw=drawing.draw)
    reference = await resources.units.reference()
    await complete_departure(resources.pool, reference, resources.draw_seal, ref, MORNING)
    assert await tasks(drawing) == 0, "it has not departed"
    await break_once(monkeypatch, "storage.draw_tasks.system_push")
    assert await failing(drawing.act(drawing.supervisor, "depart", due_on="2026-11-27"))
    (payload,) = [bytes(row[0]) for row in await resources.pool.fetch("SELECT payload FROM pgqueuer WHERE entrypoint = 'draw.depart'")]
    assert msgspec.json.decode(payload, type=DrawRef) == ref
    assert (await drawing.act(drawing.supervisor, "disclose")).status_code == 200
    for _ in range(2):
        await complete_departure(resources.pool, reference, resources.draw_seal, ref, MORNING)
    assert await tasks(drawing) == 4
    due = await resources.pool.fetch("SELECT DISTINCT body ->> 'due_on' FROM record WHERE kind = 'task'")
    assert [row[0] for row in due] == ["2026-11-27"]


async def test_whoever_could_not_be_given_a_task_is_named(drawing: Drawing, monkeypatch: pytest.MonkeyPatch) -> None:
    await drawing.drawn()
    person = drawing.inspectors[0][0].id
    push = draw_tasks.system_push

    async def refusing(*given: Any) -> Any:
        pushed = await push(*given)
        lost = MutationOutcome(n=1, outcome=Outcome.QUARANTINED)
        return msgspec.structs.replace(
            pushed,
            outcomes=[
                lost if projection_id(drawing.draw, str(person)) == task.record else one
                for task, one in zip(given[3], pushed.outcomes, strict=True)
            ],
        )

    monkeypatch.setattr("storage.draw_tasks.system_push", refusing)
    assert (await drawing.act(drawing.supervisor, "depart")).json()["untold"] == [str(person)]


async def test_asked_again_after_a_lost_answer_everything_is_as_it_was(drawing: Drawing) -> None:
    for _ in range(2):
        assert (await prepare(drawing)).status_code == 201
    commitment = await drawing.commits()
    assert await drawing.commits() == commitment
    assert (await prepare(drawing)).status_code == 201
    for _ in range(2):
        assert (await drawing.act(drawing.auditor, "nonce", commitment=commitment, nonce=NONCE)).status_code == 200
    for _ in range(2):
        assert (await drawing.act(drawing.supervisor, "draw")).json()["state"] == "drawn"
    assert (await drawing.act(drawing.supervisor, "depart", due_on="2026-11-19")).status_code == 409, "that day has passed"
    for due_on in ("2026-11-27", "2026-11-27"):
        assert (await drawing.act(drawing.supervisor, "depart", due_on=due_on)).json()["untold"] == []
    refused = await drawing.act(drawing.supervisor, "depart", due_on="2026-12-31")
    assert (refused.status_code, refused.json()["details"]["done"]["args"]) == (409, {"due_on": "2026-11-27"})
    steps = (await drawing.call(drawing.supervisor, "GET", drawing.path())).json()["steps"]
    assert [step["command"] for step in steps] == ["draw.commit", "draw.seed", "draw.draw", "draw.depart"]
    due = await drawing.world.pool.fetch("SELECT DISTINCT body ->> 'due_on' FROM record WHERE kind = 'task'")
    assert [row[0] for row in due] == ["2026-11-27"], "the departure's, not the repetition's"


async def test_clicked_twice_at_once_every_step_is_taken_once_and_answered_alike(drawing: Drawing) -> None:
    """Two clicks, or a retry that overtakes the lost answer: the same caller is told the same, whichever came first."""

    async def three(phone: Any, act: str, **body: Any) -> list[Any]:
        answers = await asyncio.gather(*(drawing.act(phone, act, **body) for _ in range(3)))
        assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
        return [answer.json() for answer in answers]

    made = await asyncio.gather(*(prepare(drawing) for _ in range(3)))
    assert {answer.status_code for answer in made} == {201}, [answer.text for answer in made]
    (commitment,) = {answer["commitment"] for answer in await three(drawing.supervisor, "commit")}
    await three(drawing.auditor, "nonce", commitment=commitment, nonce=NONCE)
    assert {answer["state"] for answer in await three(drawing.supervisor, "draw")} == {"drawn"}
    assert [answer["untold"] for answer in await three(drawing.supervisor, "depart", due_on="2026-11-27")] == [[]] * 3
    file, *others = await three(drawing.supervisor, "disclose")
    assert others == [file, file]
    story = (await drawing.call(drawing.supervisor, "GET", drawing.path())).json()["steps"]
    assert [step["command"] for step in story] == ["draw.commit", "draw.seed", "draw.draw", "draw.depart", "draw.disclose"]
    assert await tasks(drawing) == 4
    late = [(drawing.supervisor, "commit", {}), (drawing.auditor, "nonce", {"commitment": commitment, "nonce": NONCE})]
    late += [(drawing.supervisor, "draw", {}), (drawing.supervisor, "depart", {"due_on": "2026-11-27"})]
    for phone, act, body in late:
        answer = await drawing.act(phone, act, **body)
        assert (answer.status_code, answer.json()["state"]) == (200, "disclosed"), (act, answer.text)


async def test_given_up_twice_at_once_a_draw_is_given_up_once(drawing: Drawing) -> None:
    await drawing.committed()
    answers = await asyncio.gather(*(drawing.act(drawing.supervisor, "cancel", reason="暴雨") for _ in range(3)))
    assert [(answer.status_code, answer.json()["state"]) for answer in answers] == [(200, "cancelled")] * 3
    steps = (await drawing.call(drawing.supervisor, "GET", drawing.path())).json()["steps"]
    assert [step["command"] for step in steps] == ["draw.commit", "draw.cancel"]


async def test_of_two_plans_at_once_one_is_kept_and_its_sender_is_told_so(drawing: Drawing) -> None:
    pools = [drawing.wanted()["sites"], drawing.wanted()["sites"][:5]]
    first, second = await asyncio.gather(*(prepare(drawing, sites=sites) for sites in pools))
    assert sorted((first.status_code, second.status_code)) == [201, 409], (first.text, second.text)
    kept = (await drawing.call(drawing.supervisor, "GET", drawing.path("list"))).json()["plan"]["sites"]
    assert len(kept) == len(pools[0] if first.status_code == 201 else pools[1])
    other = await prepare(drawing, drawing.second_supervisor, sites=pools[first.status_code != 201])
    assert (other.status_code, other.json()["details"]["reason"]) == (409, "draw_exists"), "the same words of somebody else"


async def test_of_two_departures_at_once_with_two_terms_one_is_told(drawing: Drawing) -> None:
    await drawing.drawn()
    days = ("2026-11-27", "2026-11-28")
    answers = await asyncio.gather(*(drawing.act(drawing.supervisor, "depart", due_on=day) for day in days))
    assert sorted(answer.status_code for answer in answers) == [200, 409], [answer.text for answer in answers]
    due = await drawing.world.pool.fetch("SELECT DISTINCT body ->> 'due_on' FROM record WHERE kind = 'task'")
    assert [row[0] for row in due] == [days[answers[0].status_code != 200]]


async def refused_with_what_is(drawing: Drawing, phone: Any, act: str, **body: Any) -> dict[str, Any]:
    """The arguments of the step that is there."""
    before = (await drawing.call(drawing.supervisor, "GET", drawing.path())).json()["steps"]
    answer = await drawing.act(phone, act, **body)
    assert answer.status_code == 409, answer.text
    problem = answer.json()
    assert problem["detail"] != problem["title"]
    assert (await drawing.call(drawing.supervisor, "GET", drawing.path())).json()["steps"] == before
    assert problem["details"]["done"]["by"] == before[-1]["by"]
    said: dict[str, Any] = problem["details"]["done"]["args"]
    return said


async def test_what_another_types_is_never_dropped_with_an_answer_of_done(drawing: Drawing) -> None:
    """Only the same request of the same caller is one that was here before."""
    await drawing.drawn()
    assert (await drawing.act(drawing.supervisor, "depart", note="九时出发")).status_code == 200
    for phone, note in ((drawing.second_supervisor, "十时出发"), (drawing.second_supervisor, "九时出发"), (drawing.supervisor, "十时出发")):
        assert await refused_with_what_is(drawing, phone, "depart", note=note) == {"note": "九时出发"}
    made = await drawing.act(drawing.supervisor, "disclose", reason="按期公开")
    assert made.status_code == 200
    for phone, reason in ((drawing.second_supervisor, "另有原因"), (drawing.supervisor, "")):
        assert await refused_with_what_is(drawing, phone, "disclose", reason=reason) == {"reason": "按期公开"}
    assert (await drawing.act(drawing.supervisor, "disclose", reason="按期公开")).content == made.content


async def test_the_reason_of_whoever_gives_it_up_second_is_refused(drawing: Drawing) -> None:
    await drawing.committed()
    assert (await drawing.act(drawing.supervisor, "cancel", reason="名单有误")).status_code == 200
    for phone in (drawing.second_supervisor, drawing.supervisor):
        assert await refused_with_what_is(drawing, phone, "cancel", reason="人员变动") == {"reason": "名单有误"}


async def test_a_disclosure_that_died_is_completed_also_by_another_who_is_refused(
    drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    commitment = await drawing.departed()
    await break_once(monkeypatch, "storage.draws.keep_file")
    assert await failing(drawing.act(drawing.supervisor, "disclose"))
    assert (await drawing.act(drawing.second_supervisor, "disclose")).status_code == 409
    assert (await drawing.world.client.get(f"/public/v1/draws/{commitment}/file")).status_code == 200


async def tasks(drawing: Drawing) -> int:
    return int(await drawing.world.pool.fetchval("SELECT count(*) FROM record WHERE kind = 'task'"))


async def test_a_disclosure_that_died_before_its_file_makes_the_same_file(drawing: Drawing, monkeypatch: pytest.MonkeyPatch) -> None:
    commitment = await drawing.departed()
    await break_once(monkeypatch, "storage.draws.keep_file")
    assert await failing(drawing.act(drawing.supervisor, "disclose"))
    assert (await drawing.world.client.get(f"/public/v1/draws/{commitment}/file")).status_code == 404
    drawing.world.at(20)
    made = await drawing.act(drawing.supervisor, "disclose")
    file = msgspec.json.decode(made.content, type=DrawFile)
    assert verify(file) == []
    assert file.disclosed_at == MORNING, "when it was disclosed, not when the file was made"
    drawing.world.at(40)
    assert (await drawing.act(drawing.supervisor, "disclose")).content == made.content
    assert (await drawing.world.client.get(f"/public/v1/draws/{commitment}/file")).content == made.content


# ------------------------------------------------------------------------------------------------ reading and deciding


async def test_the_list_of_draws_is_scoped_by_duty(drawing: Drawing) -> None:
    await drawing.prepared()
    hanyin = await drawing.world.phone(await drawing.world.person("汉阴督办", (Role.COUNTY_SUPERVISOR, "610921")))

    async def listed(phone: Any) -> Any:
        answer = await drawing.call(phone, "GET", f"/office/v1/draws?county={COUNTY}")
        return answer.status_code, [one["draw"] for one in answer.json().get("draws", [])]

    for phone in (drawing.supervisor, drawing.second_supervisor, drawing.auditor):
        assert await listed(phone) == (200, [str(drawing.draw)])
    for phone in (drawing.lead, drawing.member, hanyin):
        assert await listed(phone) == (403, [])
    water = await drawing.world.phone(await drawing.world.person("水利", (Role.DEPARTMENT_LEAD, WATER)))
    assert await listed(water) == (200, []), "another unit's draws are not theirs"


REFUSED = (400, 409, 422)  # by its shape, or by the machine


@pytest.mark.parametrize("nonce", ["short", "x" * 201, "0123456789abcde\n", "0123456789 abcdef", "零一二三四五六七八九零一二三四五六"])
async def test_a_weak_or_odd_nonce_is_refused(drawing: Drawing, nonce: str) -> None:
    commitment = await drawing.committed()
    assert (await drawing.act(drawing.auditor, "nonce", commitment=commitment, nonce=nonce)).status_code in REFUSED
    assert (await drawing.call(drawing.auditor, "GET", drawing.path())).json()["state"] == "committed"


async def test_each_act_has_its_time(drawing: Drawing) -> None:
    await drawing.prepared()
    for act in ("draw", "depart", "disclose"):
        assert (await drawing.act(drawing.supervisor, act)).status_code == 409, act
    commitment = await drawing.commits()
    for act in ("draw", "depart", "disclose"):
        assert (await drawing.act(drawing.supervisor, act)).status_code == 409, act
    await drawing.act(drawing.auditor, "nonce", commitment=commitment, nonce=NONCE)
    for act in ("depart", "disclose", "commit", "cancel"):
        assert (await drawing.act(drawing.second_supervisor, act, **({"reason": "x"} if act == "cancel" else {}))).status_code == 409, act
    assert (await drawing.act(drawing.auditor, "draw")).status_code == 403, "the second party gives the nonce and nothing else"


async def test_commitments_are_paged_and_say_nothing_else(drawing: Drawing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.draw_files.PAGE_ROWS", 2)
    made = []
    for k in range(5):
        drawing.draw = uuid.uuid4()
        drawing.world.at(k // 2)  # two of them in the same moment
        made.append(await drawing.committed())
    told, following = [], None
    while True:
        query = {} if following is None else {"before": following}
        answer = await drawing.world.client.get("/public/v1/draws", params=query)
        page = msgspec.json.decode(answer.content, type=PublishedPage)
        told += [one.statement.commitment for one in page.draws]
        for one in answer.json()["draws"]:
            assert set(one) == {"statement", "seeded_at", "nonce_sha256", "disclosed_at", "cancelled_at"}
            assert set(one["statement"]) == {"commitment", "algorithm", "at", "public", "key", "sig"}
        following = page.next
        if following is None:
            break
    assert sorted(told) == sorted(made)
    assert len(told) == 5
    for wrong in ("x", "x|y", "2026-01-01|y", "|"):
        assert (await drawing.world.client.get("/public/v1/draws", params={"before": wrong})).json()["code"] == "invalid_value", wrong


# ------------------------------------------------------------------------------------------------ sealed


async def test_what_is_sealed_opens_only_in_its_place_and_with_its_key(drawing: Drawing) -> None:
    await drawing.committed()
    pool = drawing.world.pool
    mine: Seal = drawing.world.app.state.resources.draw_seal
    opened = await open_draw(pool, mine, COUNTY, drawing.draw)
    assert opened is not None
    assert opened.secret is not None
    assert len(opened.plan.sites) == 6
    with pytest.raises(InvalidTag):
        await open_draw(pool, Seal(bytes(32)), COUNTY, drawing.draw)
    other = uuid.uuid4()
    await pool.execute("UPDATE draw_sealed SET draw = $1", other)
    with pytest.raises(InvalidTag):
        await open_draw(pool, mine, COUNTY, other)
    await pool.execute("UPDATE draw_sealed SET draw = $1, plan = secret", drawing.draw)
    with pytest.raises(InvalidTag):
        await open_draw(pool, mine, COUNTY, drawing.draw)


async def test_two_draws_of_one_pool_have_two_secrets(drawing: Drawing) -> None:
    first = await drawing.committed()
    drawing.draw = uuid.uuid4()
    assert await drawing.committed() != first


async def test_inspectors_who_were_drawn_recently_and_followed_are_left_out_only_within_the_days(drawing: Drawing) -> None:
    await drawing.departed()
    resources = drawing.world.app.state.resources
    for days, expected in ((1, 4), (0, 0)):
        since = MORNING - timedelta(days=days) + timedelta(seconds=1)
        _, inspectors = await draws.fetch_recently_drawn(resources.pool, resources.draw_seal, COUNTY, ISSUER, since)
        assert len(inspectors) == expected
    sites, _ = await draws.fetch_recently_drawn(resources.pool, resources.draw_seal, COUNTY, TOWNSHIP, MORNING - timedelta(days=1))
    assert sites == {}, "another unit's draws do not count"


async def test_the_list_of_draws_is_read_on_where_the_page_ended(drawing: Drawing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.draws, "DRAWS_MAX", 2)
    made = [str(uuid7()) for _ in range(3)]
    for draw in made:
        await drawing.prepared(draw=draw)
    found: list[str] = []
    path = f"/office/v1/draws?county={COUNTY}"
    for _ in range(2):
        page = (await drawing.call(drawing.supervisor, "GET", path)).json()
        found += [one["draw"] for one in page["draws"]]
        path = f"/office/v1/draws?county={COUNTY}&before={quote(page['next'] or '')}"
    assert (found, page["next"]) == ([*reversed(made)], None)
    odd = await drawing.call(drawing.supervisor, "GET", f"/office/v1/draws?county={COUNTY}&before={quote('2026-01-01T00:00:00Z|x')}")
    assert odd.status_code == 422
