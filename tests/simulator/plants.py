"""Bugs planted on purpose: a simulator that never fails proves nothing.

Each is what a tired colleague might really do. They are applied here, to the server process, the phones or the database of
one simulation; product code knows nothing of them. tests/simulation/test_plants.py plants each and sees it caught.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any
from uuid import uuid4

import msgspec

import api.draws
import api.exchange
import api.signing
import phone.copies
import phone.outbox
import phone.photos
import storage.contact
import storage.draws
import storage.plans
import storage.push
import storage.timers
import sync.campaigns
import sync.carrying_out
import sync.consequences
import sync.edit
import sync.intake
import sync.merge
import sync.plan
import sync.projections
import sync.rules
import sync.standing
import sync.tally
from contracts.digest import MODULUS, record_crc
from sync.clock import Interval
from sync.permission import Verdict

Now = Callable[[], datetime]


class Garden:
    """Replaces attributes of modules and classes, and can put them back."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []

    def replace(self, where: ModuleType | type, name: str, instead: Any) -> None:
        """`instead` is made from what was there: instead(original)."""
        original = getattr(where, name)
        self._before.append((where, name, original))
        setattr(where, name, instead(original))

    def restore(self) -> None:
        for where, name, original in reversed(self._before):
            setattr(where, name, original)


@dataclass(frozen=True)
class Plant:
    """`breaks`: the promises that may be seen broken. `scenario`: the plan under which it is looked for."""

    what: str
    breaks: tuple[int, ...]
    scenario: str = "day"
    server: Callable[[Garden, Now], None] | None = None
    phones: Callable[[Garden], None] | None = None
    database: Callable[[str], str] | None = None  # the text of push_read -> what it is replaced by


def plant_in_server(name: str | None, now: Now) -> None:
    plant = PLANTS.get(name or "")
    if plant is not None and plant.server is not None:
        plant.server(Garden(), now)


@contextmanager
def planted_in_phones(name: str | None) -> Iterator[None]:
    garden, plant = Garden(), PLANTS.get(name or "")
    if plant is not None and plant.phones is not None:
        plant.phones(garden)
    try:
        yield
    finally:
        garden.restore()


async def plant_in_database(name: str | None, sql: Callable[[str], Awaitable[Sequence[Any]]]) -> list[str]:
    """Statements that plant it; the database must still be new."""
    plant = PLANTS.get(name or "")
    if plant is None or plant.database is None:
        return []
    before = (await sql("SELECT pg_get_functiondef('push_read'::regproc)"))[0][0]
    after = plant.database(before)
    assert after != before, f"{name} changes nothing"
    return [after]


# ------------------------------------------------------------------------------------------ locks and commits


def _slow_planning(garden: Garden, _now: Now) -> None:
    """Another push gets a chance between reading and writing; with the lock this changes nothing."""

    def slow(fetch_view: Any) -> Any:
        async def fetched(*args: Any, **options: Any) -> Any:
            await asyncio.sleep(0.02)
            return await fetch_view(*args, **options)

        return fetched

    garden.replace(storage.push, "fetch_view", slow)


def _answer_before_commit(garden: Garden, _now: Now) -> None:
    def hopeful(_transaction: Any) -> Any:
        @asynccontextmanager
        async def transaction(pool: Any) -> Any:
            async with pool.acquire() as conn:
                began = conn.transaction()
                await began.start()
                try:
                    yield conn
                except BaseException:
                    await began.rollback()
                    raise
                await (began.rollback() if random.random() < 0.1 else began.commit())

        return transaction

    garden.replace(storage.push, "transaction", hopeful)


# ------------------------------------------------------------------------------------------ pulls and streams


def _cursor_past_a_gap(garden: Garden, _now: Now) -> None:
    """The cursor after a full page is a little too far, as one that was counted and not read."""

    def hasty(fetch_pages: Any) -> Any:
        async def fetched(executor: Any, county: int, cursor: Any, limit: int, *rest: Any) -> Any:
            pages = await fetch_pages(executor, county, cursor, limit, *rest)
            return [msgspec.structs.replace(p, seq=min(p.seq + 1, p.head.seq)) if p.size >= limit else p for p in pages]

        return fetched

    garden.replace(api.exchange, "fetch_pages", hasty)


def _placed(garden: Garden, change: Callable[[Any, Any], Any]) -> None:
    def changed(place: Any) -> Any:
        def placed(pairs: Any, heads: Any) -> Any:
            pairs = list(pairs)
            return change(place(pairs, heads), pairs)

        return placed

    garden.replace(sync.tally, "place", changed)


def _dropped_marker(garden: Garden, _now: Now) -> None:
    _placed(garden, lambda placed, _pairs: msgspec.structs.replace(placed, markers=[]))


def _digest_not_updated_on_move(garden: Garden, _now: Now) -> None:
    def forgets(placed: Any, pairs: Any) -> Any:
        left = {b.stream: record_crc(b.id, b.version) for b, a in pairs if b is not None and not b.deleted and b.stream != a.stream}
        heads = [msgspec.structs.replace(h, digest=(h.digest + left.get(h.stream, 0)) % MODULUS) for h in placed.heads]
        return msgspec.structs.replace(placed, heads=heads)

    _placed(garden, forgets)


def _children_left_behind(garden: Garden, _now: Now) -> None:
    garden.replace(sync.consequences, "follow", lambda _follow: lambda *_args: [])


def _scope_leak(garden: Garden, _now: Now) -> None:
    """Whoever serves in a village sees the whole township."""

    def generous(streams_of: Any) -> Any:
        def streams(duties: Any, device: Any, places: Any, now: Any) -> Any:
            found = streams_of(duties, device, places, now)
            above = {s[:9]: county for s, county in found.items() if s.endswith(".field")}
            return found | {f"{u}.field": county for t, county in above.items() for u in places.below(t)}

        return streams

    garden.replace(api.exchange, "streams_of", generous)


# ------------------------------------------------------------------------------------------ merging


def _merged_by_wall_clock(garden: Garden, _now: Now) -> None:
    """The value with the newest phone clock wins, as in so many sync engines."""
    newest: dict[tuple[Any, str], int] = {}
    at: list[int] = [0]

    def noted(change: Any) -> Any:
        def changed(mutation: Any, *rest: Any) -> Any:
            at[0] = mutation.at.wall_ms
            return change(mutation, *rest)

        return changed

    def by_clock(merge_fields: Any) -> Any:
        def merged(record: Any, values: Any, edits: Any, *rest: Any) -> Any:
            late = {name for name in edits if newest.get((record.id, name), at[0]) > at[0]}
            for name in edits.keys() - late:
                newest[record.id, name] = at[0]
            return merge_fields(record, values, {k: v for k, v in edits.items() if k not in late}, *rest)

        return merged

    garden.replace(sync.edit, "_change", noted)
    garden.replace(sync.edit, "merge_fields", by_clock)


def _merged(garden: Garden, change: Callable[[Any], Any]) -> None:
    garden.replace(sync.edit, "merge_fields", lambda merge_fields: lambda *args: change(merge_fields(*args)))


def _conflict_forgotten(garden: Garden, _now: Now) -> None:
    _merged(garden, lambda merge: msgspec.structs.replace(merge, lost=()))


def _set_overwritten(garden: Garden, _now: Now) -> None:
    garden.replace(sync.merge, "_union", lambda _union: lambda _current, _old, new: new)


def _list_overwritten(garden: Garden, _now: Now) -> None:
    garden.replace(sync.merge, "_append", lambda _append: lambda _current, new: new)


def _position_mixed(garden: Garden, _now: Now) -> None:
    """Two people's positions become a third place: the newer point with the older accuracy."""

    def mixed(merge_value: Any) -> Any:
        def merged(policy: Any, current: Any, old: Any, new: Any) -> Any:
            value = merge_value(policy, current, old, new)
            both = isinstance(value, dict) and isinstance(current, dict) and "accuracy_m" in value
            return value | {"accuracy_m": current.get("accuracy_m")} if both else value

        return merged

    garden.replace(sync.merge, "_merge_value", mixed)


def _conflict_overwritten(garden: Garden, _now: Now) -> None:
    """One conflict per record and field: the second losing value takes the place of the first."""
    garden.replace(sync.tally, "conflict_id", lambda conflict_id: lambda _mutation, record, field: conflict_id(_NOBODY, record, field))


_NOBODY = "00000000-0000-0000-0000-000000000000"


def _deletion_beats_edit(garden: Garden, _now: Now) -> None:
    garden.replace(sync.edit, "_knew_deletion", lambda _knew: lambda _sight, _state: True)


# ------------------------------------------------------------------------------------------ judging and keeping


def _closed(garden: Garden, change: Callable[[Any, Any], Any]) -> None:
    def changed(closed: Any) -> Any:
        def finished(tally: Any) -> Any:
            plan = closed(tally)
            return change(plan, tally) if hasattr(plan, "entries") else plan

        return finished

    garden.replace(sync.tally.Tally, "closed", changed)


def _repeat_applied_again(garden: Garden, _now: Now) -> None:
    """Known numbers are planned again; the journal keeps the first row."""
    garden.replace(sync.plan, "_known", lambda _known: lambda *_args: None)
    _closed(garden, lambda plan, tally: msgspec.structs.replace(plan, entries=[e for e in plan.entries if e.n not in tally.view.known]))


def _desk_forgotten(garden: Garden, _now: Now) -> None:
    _closed(garden, lambda plan, _tally: msgspec.structs.replace(plan, held=[]))


def _dependents_applied(garden: Garden, _now: Now) -> None:
    garden.replace(sync.tally.Tally, "waits_for", lambda _waits_for: lambda _tally, _mutation: None)


def _duty_judged_at_receipt(garden: Garden, now: Now) -> None:
    def today(may: Any) -> Any:
        def judged(duties: Any, places: Any, kind: str, op: str, unit: str, _when: Any) -> Any:
            ms = int(now().timestamp() * 1000)
            return may(duties, places, kind, op, unit, Interval(ms, ms))

        return judged

    for module in (sync.plan, sync.standing):
        garden.replace(module, "may", today)


def _capture_by_wall_clock(garden: Garden, _now: Now) -> None:
    """The phone says when it was, and is believed."""
    garden.replace(sync.intake, "captured", lambda _captured: lambda at, *_rest: Interval(at.wall_ms, at.wall_ms))


def _restore_unnoticed(garden: Garden, _now: Now) -> None:
    for module in (storage.push, storage.contact):
        garden.replace(module, "is_rewound", lambda _is_rewound: lambda *_args: False)


# ------------------------------------------------------------------------------------------ casework


def _assignment_not_rewritten(garden: Garden, _now: Now) -> None:
    """The department is shown the problem once, when it is assigned, and not what becomes of it."""

    def once(assignments: Any) -> Any:
        def shown(writing: Any, problem: Any) -> Any:
            before = writing.tally.records.get(problem.id)
            same = before is not None and before.values.get("leads") == problem.values.get("leads")
            return () if same else assignments(writing, problem)

        return shown

    garden.replace(sync.projections.Writing, "assignments", once)


def _submitter_accepts(garden: Garden, _now: Now) -> None:
    garden.replace(sync.carrying_out, "GUARDS", lambda guards: {**guards, "not_the_submitter": lambda _situation, _values: True})


def _closed_unseen(garden: Garden, _now: Now) -> None:
    garden.replace(sync.carrying_out, "GUARDS", lambda guards: {**guards, "evidence_here": lambda _situation, _values: True})


def _part_forgotten(garden: Garden, _now: Now) -> None:
    """Of two leads, one is enough."""
    garden.replace(sync.edit, "EFFECTS", lambda effects: {**effects, "every_part": lambda _situation, _merge: ()})


def _story_without_reasons(garden: Garden, _now: Now) -> None:
    """The step says who and when, and not what they said."""
    garden.replace(sync.carrying_out, "step_of", lambda step_of: lambda *args: msgspec.structs.replace(step_of(*args), args={}, sets={}))


# ------------------------------------------------------------------------------------------ timers


def _issued_again(garden: Garden, _now: Now) -> None:
    """Nobody looks whether there is a letter for it already, and its id derives from nothing."""

    def carelessly(judge: Any) -> Any:
        def every(run: Any, family: Any) -> Any:
            judged = judge(run, family)
            if not 0 < len(family.letters) < 3:
                return judged
            unwritten = judge(run, msgspec.structs.replace(family, letters=[]))
            again = [msgspec.structs.replace(one, record=uuid4()) for one in unwritten.due if one.kind == "supervision"]
            return msgspec.structs.replace(judged, due=[*judged.due, *again])

        return every

    garden.replace(storage.timers.Run, "judge", carelessly)


def _rule_of_today(garden: Garden, now: Now) -> None:
    """What fell due under an earlier version is judged by the one that is in force when the worker comes."""
    garden.replace(sync.rules.RuleBook, "at", lambda at: lambda book, county, name, _moment: at(book, county, name, now()))


def _downtime_skipped(garden: Garden, _now: Now) -> None:
    """Only what fell due in the last two hours is issued."""

    def recently(judge: Any) -> Any:
        def recent(run: Any, family: Any) -> Any:
            judged = judge(run, family)
            return msgspec.structs.replace(judged, due=[one for one in judged.due if one.moment >= run.now - timedelta(hours=2)])

        return recent

    garden.replace(storage.timers.Run, "judge", recently)


def _days_made_twice(garden: Garden, _now: Now) -> None:
    """A plan's task is known by chance, not by its plan, day and unit."""

    def another(plan_tasks: Any) -> Any:
        return lambda *args: (msgspec.structs.replace(wanted, id=uuid4()) for wanted in plan_tasks(*args))

    garden.replace(storage.plans, "plan_tasks", another)


def _visit_seen_from_below(garden: Garden, _now: Now) -> None:
    """What a county's visitors are about lies in the county's own stream, where everybody below it may read."""

    def told(streams_of: Any) -> Any:
        def streams(duties: Any, device: Any, places: Any, now: Any) -> Any:
            found = streams_of(duties, device, places, now)
            return found | {f"{county}.visit": county for county in found.values()}

        return streams

    garden.replace(api.exchange, "streams_of", told)


# ------------------------------------------------------------------------------------------ draws, responses, road checks


def _sent_when_drawn(garden: Garden, _now: Now) -> None:
    """Why wait for the departure? The tasks are sent as soon as there is a list."""

    def hurried(act: Any) -> Any:
        async def acted(resources: Any, caller: Any, found: Any, op: str, now: datetime, *rest: Any, **options: Any) -> Any:
            after = await act(resources, caller, found, op, now, *rest, **options)
            if op == "draw.draw":
                opened = await api.draws.opened_of(resources, after)
                step = msgspec.structs.replace(after.body.steps[-1], command="draw.depart")
                early = msgspec.structs.replace(after, body=msgspec.structs.replace(after.body, steps=[step]))
                result = await api.draws.result_of(after, opened)
                await api.draws.send_tasks(resources.pool, await resources.units.reference(), early, opened, result, now)
            return after

        return acted

    garden.replace(api.draws, "act", hurried)


def _sent_again_is_refused(garden: Garden, _now: Now) -> None:
    """A step that was taken is not allowed now: whoever lost the answer is told that it was not taken."""
    never = {"was_done": lambda _draw: False}
    garden.replace(api.draws, "act", lambda act: lambda *args, **options: act(*args, **{**options, **never}))


def _secret_made_again(garden: Garden, _now: Now) -> None:
    """Two commitments at once: the second secret takes the place of the first, whose hash may have been told."""
    garden.replace(storage.draws, "SQL_COMMIT_SEALED", lambda sql: sql.replace(" AND commitment IS NULL", ""))


def _second_nonce(garden: Garden, _now: Now) -> None:
    """A nonce may be given again until the list is drawn."""

    def lenient(transition_of: Any) -> Any:
        def found(kind: str, command: str) -> Any:
            transition = transition_of(kind, command)
            if command != "draw.seed":
                return transition
            return msgspec.structs.replace(transition, sources=transition.sources | {"seeded"})

        return found

    garden.replace(sync.edit, "transition_of", lenient)


def _never_called_off(garden: Garden, _now: Now) -> None:
    garden.replace(storage.plans, "ended_with", lambda _ended_with: lambda *_args: [])


def _checks_of_today_only(garden: Garden, _now: Now) -> None:
    """A response that repeats makes the checks of the day on which a worker looks."""

    def today(response_tasks: Any) -> Any:
        return lambda record, response, sites, _since, now: response_tasks(record, response, sites, storage.plans.day_of(now), now)

    garden.replace(storage.plans, "response_tasks", today)


def _counted_by_bureau(garden: Garden, _now: Now) -> None:
    """What each bureau entered is counted, and not what was held."""
    each = lambda campaigns: [(c.starts_on, c.ends_on) for c in campaigns]  # noqa: E731
    garden.replace(sync.campaigns, "joined", lambda _joined: each)


def _receipt_believed(garden: Garden, _now: Now) -> None:
    """A receipt is taken at its word: anybody can make the server believe that it was restored."""
    garden.replace(api.signing.Signer, "has_signed", lambda _has_signed: lambda *_args: True)


def _anybody_may(garden: Garden, _now: Now) -> None:
    for module in (sync.plan, sync.standing):
        garden.replace(module, "may", lambda _may: lambda *_args: Verdict.YES)


def _number_unthought_of(garden: Garden, _now: Now) -> None:
    """A body that surprises is a failure of the server, with no code."""

    def surprised(decode: Any) -> Any:
        async def decoded(body: bytes) -> Any:
            wanted = await decode(body)
            if wanted.counties and any(part.n_made > 2**38 for part in wanted.counties.values()):
                raise RuntimeError("a number as large as that was never thought of")
            return wanted

        return decoded

    garden.replace(api.exchange, "decode_request", surprised)


# ------------------------------------------------------------------------------------------ phones


def _overlay_forgotten(garden: Garden) -> None:
    """With the receipt the overlay goes, although no page has shown the result yet."""
    garden.replace(phone.outbox, "fetch_overlaid", lambda fetch: lambda *args: [own for own in fetch(*args) if own.outcome is None])


def _nothing_handed_back(garden: Garden) -> None:
    garden.replace(phone.outbox, "offer_again", lambda _offer_again: lambda *_args: None)


def _markers_ignored(garden: Garden) -> None:
    garden.replace(phone.copies, "take_marked", lambda _take_marked: lambda *_args: None)


def _barrier_forgotten(garden: Garden) -> None:
    """Leaving a stream, the phone throws away what was not handed in."""

    def careless(leave_streams: Any) -> Any:
        def left(db: Any) -> None:
            db.execute(
                "DELETE FROM mutation WHERE outcome IS NULL AND record IN ("
                "SELECT c.record FROM confirmed c JOIN stream s ON s.name = c.stream WHERE s.state = 'leaving')"
            )
            leave_streams(db)

        return left

    garden.replace(phone.copies, "leave_streams", careless)


def _photo_let_go_early(garden: Garden) -> None:
    """The bytes go with the announcement's receipt instead of their own."""
    garden.replace(phone.photos, "SQL_LET_GO", lambda _sql: "UPDATE photo SET held = 0, content = NULL WHERE held = 1")


def _heads_unlocked(text: str) -> str:
    return text.replace("ORDER BY h.stream FOR UPDATE", "ORDER BY h.stream")


PLANTS: dict[str, Plant] = {
    "no_head_lock": Plant(
        "pushes read the stream heads without locking them", (2, 3, 4, 5), "races", _slow_planning, database=_heads_unlocked
    ),
    "answer_before_commit": Plant(
        "the answer is given before the commit, which then sometimes fails", (1, 3), "day", _answer_before_commit
    ),
    "cursor_past_a_gap": Plant("a full page's cursor is one too far", (4, 5), "day", _cursor_past_a_gap),
    "dropped_marker": Plant("no marker is left where a record left", (3, 4, 5, 6), "moves", _dropped_marker),
    "overlay_forgotten": Plant("a receipted value is not shown before its page", (3,), "storms", phones=_overlay_forgotten),
    "merged_by_wall_clock": Plant("the newest phone clock wins", (3, 7, 8), "day", _merged_by_wall_clock),
    "conflict_forgotten": Plant("the losing value is dropped", (3,), "day", _conflict_forgotten),
    "conflict_overwritten": Plant("a second losing value takes the first one's place", (3,), "day", _conflict_overwritten),
    "set_overwritten": Plant("a set takes the last writer's list", (3,), "day", _set_overwritten),
    "list_overwritten": Plant("an append-only list takes the last writer's list", (3,), "day", _list_overwritten),
    "position_mixed": Plant("the parts of a position are merged one by one", (3,), "day", _position_mixed),
    "deletion_beats_edit": Plant("an edit that did not know of a deletion is refused", (3,), "moves", _deletion_beats_edit),
    "repeat_applied_again": Plant("a repeated push is applied again", (2, 3, 4, 8), "storms", _repeat_applied_again),
    "desk_forgotten": Plant("held mutations reach no desk", (3,), "people", _desk_forgotten),
    "dependents_applied": Plant("what builds on a held mutation does not wait", (3, 7), "people", _dependents_applied),
    "duty_judged_at_receipt": Plant("permission is judged when the work arrives", (3,), "people", _duty_judged_at_receipt),
    "capture_by_wall_clock": Plant("the phone's clock says which duty held", (3,), "people", _capture_by_wall_clock),
    "photo_let_go_early": Plant("a photo is deleted before its receipt", (10,), "photos", phones=_photo_let_go_early),
    "children_left_behind": Plant("photos stay when their record moves", (6,), "photos", _children_left_behind),
    "scope_leak": Plant("a village sees its whole township", (6,), "day", _scope_leak),
    "digest_not_updated_on_move": Plant("a stream's digest keeps what left", (3, 4, 5), "moves", _digest_not_updated_on_move),
    "assignment_not_rewritten": Plant("a department keeps an old copy of its problem", (11,), "casework", _assignment_not_rewritten),
    "part_forgotten": Plant("a problem is accepted without the part of a unit that leads", (11,), "fixes", _part_forgotten),
    "submitter_accepts": Plant("who submits a fix may accept it", (11,), "fixes", _submitter_accepts),
    "closed_unseen": Plant("a problem is closed out before the photo of its fix has arrived", (11,), "fixes", _closed_unseen),
    "story_without_reasons": Plant("a step forgets what was said", (11,), "casework", _story_without_reasons),
    "issued_again": Plant("a letter is issued at every round", (12,), "timers", _issued_again),
    "rule_of_today": Plant("old deadlines are judged by new rules", (12,), "timers", _rule_of_today),
    "downtime_skipped": Plant("what fell due while nobody ran is forgotten", (12,), "timers", _downtime_skipped),
    "days_made_twice": Plant("a plan makes its day's tasks at every round", (12,), "timers", _days_made_twice),
    "visit_seen_from_below": Plant("an unannounced visit is told to the inspected side", (6,), "timers", _visit_seen_from_below),
    "sent_when_drawn": Plant("inspectors are told as soon as there is a list", (13,), "draws", _sent_when_drawn),
    "sent_again_is_refused": Plant("a step that is asked for again is refused", (13,), "draws", _sent_again_is_refused),
    "secret_made_again": Plant("a second commitment takes the first one's place", (13,), "draws", _secret_made_again),
    "second_nonce": Plant("a second nonce is taken", (13,), "draws", _second_nonce),
    "never_called_off": Plant("checks go on when a response is lifted", (12,), "weather", _never_called_off),
    "checks_of_today_only": Plant("a response's days without a worker have no checks", (12,), "weather", _checks_of_today_only),
    "counted_by_bureau": Plant("a joint road check counts once for each bureau", (14,), "weather", _counted_by_bureau),
    "receipt_believed": Plant("a receipt's signature is not asked for", (1, 4), "strangers", _receipt_believed),
    "anybody_may": Plant("what needs a duty is done without one", (15,), "strangers", _anybody_may),
    "number_unthought_of": Plant("a number that no phone gives makes the server fail", (15,), "strangers", _number_unthought_of),
    "restore_unnoticed": Plant("the server does not notice that it was restored", (1, 3, 4, 9), "restores", _restore_unnoticed),
    "nothing_handed_back": Plant("phones do not hand back what a restore lost", (1, 3, 9), "restores", phones=_nothing_handed_back),
    "markers_ignored": Plant("phones keep what left a stream", (3, 4, 5, 6), "moves", phones=_markers_ignored),
    "barrier_forgotten": Plant("leaving a stream drops unsent work", (3,), "people", phones=_barrier_forgotten),
}
