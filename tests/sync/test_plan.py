"""Whole days in memory: what holds whatever several people do, in whatever order it arrives."""

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.kinds import KINDS
from contracts.mutation import CREATE, EDIT, Mutation
from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from sync.intake import NUL_LEFT_OUT, decode_mutation, wanted_of
from sync.machines import MACHINES
from sync.merge import get_field
from sync.words import guarded_fields
from tests.builders import (
    BODIES,
    BYTES_MAX,
    NOW,
    a_creation,
    a_deletion,
    a_mutation,
    a_sender,
    an_edit,
    an_id,
    arrived,
    the_server,
)
from tests.county import TOWNSHIP, VILLAGE_A, VILLAGE_B
from tests.strategies import damaged, days, field_values, json_values, kinds, mutable_paths, operations, texts
from tests.sync.players import Player, typed
from tests.sync.pretend_county import PretendCounty

ORDINARY = settings(max_examples=60, deadline=None)
MANY = settings(max_examples=250, deadline=None)


def played(day: list[Any]) -> tuple[PretendCounty, list[Player]]:
    county = PretendCounty()
    players = [Player(county, k) for k in (1, 2, 3)]
    for step in day:
        players[step.device - 1].play(step)
    for player in players:
        player.sync()
    return county, players


# ---------------------------------------------------------------------------------------------- every day


@ORDINARY
@given(days())
def test_every_mutation_has_exactly_one_outcome(day: list[Any]) -> None:
    """Promise 2."""
    county, players = played(day)
    for player in players:
        known = county.known[player.sender.device]
        assert sorted(known) == [m.n for m in player.sent]
        entries = [e.n for device, e in county.journal if device == player.sender.device and e.what == "mutation"]
        assert entries == sorted(known)
        assert [known[m.n].id for m in player.sent] == [m.id for m in player.sent]


@ORDINARY
@given(days())
def test_seqs_have_no_gap_and_heads_tell_the_truth(day: list[Any]) -> None:
    """Promises 4 and 5. Count and digest equal a recomputation after every push of the day."""
    county = PretendCounty()
    players = [Player(county, k) for k in (1, 2, 3)]
    for step in day:
        players[step.device - 1].play(step)
        county.assert_true()
    for player in players:
        player.sync()
    county.assert_true()


@ORDINARY
@given(days(), st.integers(0, 30), st.integers(1, 30))
def test_a_replayed_push_changes_nothing(day: list[Any], start: int, length: int) -> None:
    """Promise 2. Any part of what was handed in may come again: the same answers, and not a byte differs."""
    county, players = played(day)
    for player in players:
        again = player.sent[start : start + length]
        before = county.snapshot()
        plan = county.push(player.sender, [arrived(m) for m in again])
        assert county.snapshot() == before
        assert plan.outcomes == [county.known[player.sender.device][m.n] for m in again]


@ORDINARY
@given(days(), st.data())
def test_a_push_may_be_split_anywhere(day: list[Any], data: st.DataObject) -> None:
    """Promise 2. Mutations in one batch or in several: the same outcomes and the same records."""
    whole, split = PretendCounty(), PretendCounty()
    sender = a_sender(1)
    author = Player(PretendCounty(), 1)
    for step in day:
        if not step.sync:
            author.play(step)
    batch = [arrived(m) for m in author.pending]
    plan = whole.push(sender, batch)
    outcomes = []
    while batch:
        k = data.draw(st.integers(1, len(batch)))
        outcomes += split.push(sender, batch[:k]).outcomes
        batch = batch[k:]
    assert [(o.n, o.outcome, o.reason) for o in outcomes] == [(o.n, o.outcome, o.reason) for o in plan.outcomes]
    assert {i: (r.version, r.body, r.deleted, r.stream) for i, r in split.records.items()} == {
        i: (r.version, r.body, r.deleted, r.stream) for i, r in whole.records.items()
    }
    split.assert_true()


@ORDINARY
@given(days())
def test_nothing_that_was_typed_disappears(day: list[Any]) -> None:
    """Promise 3. Each value is in its record, was replaced by somebody who saw it, waits in a conflict, or is held or refused."""
    county, players = played(day)
    disputed = {
        (b["record"], b["field"], _key(value))
        for r in county.records.values()
        if r.kind == "conflict"
        for b in [r.values]
        for value in (b.get("lost"), b.get("kept"))
    }
    kept_raw = {(device, e.n) for device, e in county.journal if e.what == "mutation" and e.raw is not None}
    for player in players:
        for mutation in player.sent:
            assert (player.sender.device, mutation.n) in kept_raw
            outcome = county.known[player.sender.device][mutation.n]
            if outcome.outcome not in (Outcome.APPLIED, Outcome.MERGED, Outcome.CONFLICT) or outcome.reason is Reason.FORWARDED:
                continue
            if outcome.reason is Reason.ALREADY_SO:
                continue  # it wrote nothing: the values were another's, which are looked for here, too
            state = county.records[mutation.record]
            for field, value in typed(mutation).items():
                if field not in mutable_paths(mutation.kind) or not value:
                    continue
                shown = get_field(state.values, field) == value
                replaced = state.writer(field).at > (outcome.version or state.version)
                assert shown or replaced or (str(mutation.record), field, _key(value)) in disputed, (field, value)


def _key(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def unsigned(entry: Any) -> Any:
    """A comment without what the server wrote in it (decision 0012)."""
    return {name: value for name, value in entry.items() if name not in ("by", "at")} if isinstance(entry, dict) else entry


@ORDINARY
@given(days())
def test_no_value_appears_that_nobody_wrote(day: list[Any]) -> None:
    """Promise 3."""
    county, players = played(day)
    wrote: dict[tuple[Any, str], list[Any]] = {}
    for mutation in itertools.chain.from_iterable(p.sent for p in players):
        for field, value in typed(mutation).items():
            wrote.setdefault((mutation.record, field), []).append(value)
    for record in county.records.values():
        for field, value in record.values.items():
            given_values = wrote.get((record.id, field))
            if record.kind in ("conflict", "outcome") or given_values is None or field in ("state", "answers"):
                continue
            if isinstance(value, list):
                allowed = [unsigned(entry) for one in given_values if isinstance(one, list) for entry in one]
                assert all(unsigned(entry) in allowed for entry in value), field
            else:
                assert value in given_values, field


@ORDINARY
@given(days())
def test_what_nobody_touched_stays(day: list[Any]) -> None:
    """Promise 3. Fields that this server does not know, and fields that no mutation names, are as they were made."""
    county = PretendCounty()
    keeper = Player(county, 9)
    keeper.pending.append(a_creation(1, an_id(101), "task", from_a_newer_app={"drone": [1, 2]}, due_on="2026-12-01"))
    keeper.sync()
    players = [Player(county, k) for k in (1, 2, 3)]
    for player in players:
        player.look()
    for step in day:
        players[step.device - 1].play(step)
    for player in players:
        player.sync()
    values = county.records[an_id(101)].values
    assert values["from_a_newer_app"] == {"drone": [1, 2]}
    assert values["due_on"] == "2026-12-01"


# ---------------------------------------------------------------------------------------------- two devices, any order


@MANY
@given(field_values("site"), field_values("site"))
def test_two_devices_agree_whatever_the_order(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Promises 4 and 8. Keep-both fields end up alike; of a field where one must win, both values stay visible."""
    one, other = _both_orders(a, b)
    for field in {*a, *b} - {"unit"}:
        left, right = get_field(one.records[an_id(101)].values, field), get_field(other.records[an_id(101)].values, field)
        if field in ("tags", "subjects"):
            assert sorted(left or []) == sorted(right or []), field
        elif field == "comments":
            assert {c["id"] for c in left or []} == {c["id"] for c in right or []}
        elif field in a and field in b:
            for county in (one, other):
                visible = [get_field(county.records[an_id(101)].values, field), *_lost(county, field)]
                assert all(value in visible or value in (None, "") for value in (a[field], b[field])), field
        else:
            assert left == right, field


def _both_orders(a: dict[str, Any], b: dict[str, Any]) -> tuple[PretendCounty, PretendCounty]:
    found = []
    for first, second in ((1, 2), (2, 1)):
        county = PretendCounty()
        Player(county, 9).county.push(
            a_sender(9), [arrived(a_creation(1, an_id(101), tags=["丁"], comments=[{"id": "c0", "text": "留言0"}]))]
        )
        edits = {1: {k: v for k, v in a.items() if k != "unit"}, 2: {k: v for k, v in b.items() if k != "unit"}}
        parent = county.records[an_id(101)]
        for device in (first, second):
            fields = {f: (get_field(parent.values, f), v) for f, v in edits[device].items()}
            county.push(a_sender(device), [arrived(an_edit(1, an_id(101), parent.version, **fields))])
        found.append(county)
    return found[0], found[1]


def _lost(county: PretendCounty, field: str) -> list[Any]:
    return [r.values.get("lost") for r in county.records.values() if r.kind == "conflict" and r.values["field"] == field]


@ORDINARY
@given(st.lists(st.sampled_from(["甲", "乙", "丙"]), min_size=1, max_size=6))
def test_a_chain_applies_in_the_order_it_was_made(values: list[str]) -> None:
    """Promise 7. The last value of one device's chain stands, and the chain never disputes with itself."""
    county = PretendCounty()
    author = a_sender(1)
    chain: list[Mutation] = [a_creation(1, an_id(101))]
    for n, value in enumerate(values, start=2):
        chain.append(an_edit(n, an_id(101), chain[-1].id, note=(None, value)))
    county.push(author, [arrived(m) for m in chain])
    assert county.records[an_id(101)].values["note"] == values[-1]
    assert not [r for r in county.records.values() if r.kind == "conflict"]


@ORDINARY
@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_no_clock_decides_between_two_values(first_ms: int, second_ms: int) -> None:
    """Promise 8. Whatever the wall clocks say, the result is that of the order in which the edits saw one another."""
    county = PretendCounty()
    county.push(a_sender(9), [arrived(a_creation(1, an_id(101)))])
    for device, wall, value in ((1, first_ms, "先"), (2, second_ms, "后")):
        at = msgspec.structs.replace(a_mutation(1, an_id(1), "site").at, wall_ms=wall)
        version = county.records[an_id(101)].version
        county.push(a_sender(device), [arrived(msgspec.structs.replace(an_edit(1, an_id(101), version, note=(None, value)), at=at))])
    assert county.records[an_id(101)].values["note"] == "后"
    assert not [r for r in county.records.values() if r.kind == "conflict"]


# ---------------------------------------------------------------------------------------------- totality


def _settled_county() -> PretendCounty:
    """A record of every kind, an open conflict and a held mutation."""
    county = PretendCounty()
    batch = [
        arrived(a_creation(n, an_id(100 + n), kind)) for n, kind in enumerate(("task", "inspection", "problem", "site", "notice"), start=1)
    ]
    photo = {**BODIES["photo"], "parent": str(an_id(104))}
    batch.append(arrived(a_mutation(6, an_id(106), "photo", CREATE, body=photo)))
    county.push(a_sender(1), batch)
    county.push(a_sender(2), [arrived(an_edit(1, an_id(104), (1, 0), name=("x", "另一个名字")))])
    county.push(a_sender(3), [arrived(an_edit(1, an_id(777), (1, 1), name=("x", "没有这条")))])
    return county


WORLD = _settled_county()
IDS = st.sampled_from(sorted(WORLD.records)) | st.uuids()
BASES = st.none() | st.tuples(st.integers(0, 3), st.integers(0, 5)) | st.sampled_from(sorted(WORLD.seen)) | st.uuids()
FIELD_NAMES = st.sampled_from([
    "name", "unit", "state", "position", "position.lat", "tags", "comments", "answers", "answers.covering", "answers.", "subjects", "parent",
    "checklist", "checklist.version", "steps", "departments", "lost", "choice", "caption", "due_on", "unit.x", ".", "*", "-", "",
]) | texts  # fmt: skip
ALL_KINDS = st.sampled_from(sorted(KINDS)) | texts
OPS = st.sampled_from(sorted({"create", "edit", "delete", *(c for table in MACHINES.values() for c in table)})) | texts
SENDERS = st.builds(
    a_sender,
    st.integers(1, 4),
    st.sampled_from(list(Role)),
    st.sampled_from([TOWNSHIP, VILLAGE_A, VILLAGE_B, "610902", "6109", "nowhere"]),
    st.sampled_from([None, Reason.DEVICE_WIPED]),
) | st.builds(the_server)


@st.composite
def any_mutations(draw: st.DrawFn) -> bytes:
    """Well-formed envelopes with any content, near to what a phone sends."""
    kind = draw(ALL_KINDS)
    body = draw(json_values | st.sampled_from(list(BODIES.values())))
    if isinstance(body, dict):
        body = {**body, **draw(st.dictionaries(FIELD_NAMES, json_values, max_size=2))}
    message = {
        "id": str(draw(st.uuids() | st.sampled_from(sorted(WORLD.seen)))),
        "n": draw(st.just(50) | st.integers(-1, 60)),
        "kind": kind,
        "record": str(draw(IDS)),
        "op": draw(OPS),
        "at": {"wall_ms": draw(st.integers(-(2**53), 2**53)), "mono_ms": draw(st.integers(0, 2**53)), "session": draw(texts)},
        "contract": draw(st.sampled_from([0, 1, 1, 1, 2])),
        "base": _plain(draw(BASES)),
        "fields": draw(st.dictionaries(FIELD_NAMES, st.tuples(json_values, json_values), max_size=3)),
        "args": draw(
            st.dictionaries(
                st.sampled_from(["choice", "value", "reason", "to", "x"]),
                json_values | st.sampled_from(["kept", "lost", "other"]),
                max_size=3,
            )
        ),
    }
    if draw(st.booleans()):
        message["body"] = body
    return _json(message)


def _plain(base: Any) -> Any:
    return base if base is None or isinstance(base, tuple) else str(base)


def _json(message: Any) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode()


@settings(max_examples=600, deadline=None)
@given(any_mutations(), SENDERS)
def test_planning_never_raises_for_any_message(raw: bytes, sender: Any) -> None:
    """Promise 3. Whatever it says, it has one outcome, and what is written still decodes."""
    incoming = decode_mutation(50, raw, NOW, BYTES_MAX)
    _check(WORLD.plan(sender, [incoming]), raw)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_planning_never_raises_for_damaged_bytes(data: st.DataObject) -> None:
    """Promise 3. Valid mutations with bytes replaced, cut out or doubled."""
    kind = data.draw(kinds())
    op = data.draw(operations(kind))
    values = data.draw(field_values(kind))
    record = data.draw(st.sampled_from(sorted(WORLD.records)))
    body = {**BODIES[kind], **{k: v for k, v in values.items() if "." not in k}} if op == CREATE else None
    good = a_mutation(50, record, kind, op, body=body, base=(1, 1), fields={} if body else {k: (None, v) for k, v in values.items()})
    raw = data.draw(damaged(msgspec.json.encode(good)))
    incoming = decode_mutation(50, raw, NOW, BYTES_MAX)
    assert incoming.raw == raw
    _check(WORLD.plan(a_sender(4), [incoming]), raw)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | json_values.map(_json))
def test_planning_never_raises_for_any_bytes(raw: bytes) -> None:
    """Promise 3."""
    incoming = decode_mutation(50, raw, NOW, BYTES_MAX)
    wanted_of([incoming])
    _check(WORLD.plan(a_sender(4), [incoming]), raw)


def test_deeply_nested_bytes_are_held_and_not_followed_down() -> None:
    """Promise 3. A body that would exhaust the stack is kept as bytes."""
    for depth in (70, 700, 20_000):
        deep = b'{"a":' * depth + b"1" + b"}" * depth
        raw = _json(_creation_with_body({**BODIES["site"], "newer": "DEEP"})).replace(b'"DEEP"', deep)
        plan = WORLD.plan(a_sender(4), [decode_mutation(50, raw, NOW, BYTES_MAX)])
        assert [o.outcome for o in plan.outcomes] == [Outcome.QUARANTINED]
        assert plan.entries[0].raw == raw


def test_brackets_in_a_text_are_not_nesting() -> None:
    raw = _json(_creation_with_body({**BODIES["site"], "note": "[{" * 200 + '\\"[{' * 100}))
    plan = WORLD.plan(a_sender(4), [decode_mutation(50, raw, NOW, BYTES_MAX)])
    assert [o.outcome for o in plan.outcomes] == [Outcome.APPLIED]


@pytest.mark.parametrize("unreadable", [b'"\xff\xfe"', b"1e999"])
def test_what_no_phone_could_read_never_enters_a_record(unreadable: bytes) -> None:
    """Promise 3. Also where only a newer app would look."""
    raw = _json(_creation_with_body({**BODIES["site"], "newer": "HERE"})).replace(b'"HERE"', unreadable)
    plan = WORLD.plan(a_sender(4), [decode_mutation(50, raw, NOW, BYTES_MAX)])
    assert [(o.outcome, o.reason) for o in plan.outcomes] == [(Outcome.QUARANTINED, Reason.MALFORMED)]


def test_a_nul_never_enters_a_record_and_its_absence_is_said() -> None:
    """Promise 3. PostgreSQL has no NUL, and nobody typed one: what stands around it is kept, also where only a newer app would look."""
    raw = _json(_creation_with_body({**BODIES["site"], "note": "HERE", "newer": "HERE"})).replace(b"HERE", b"a\\u0000b")
    plan = WORLD.plan(a_sender(4), [decode_mutation(50, raw, NOW, BYTES_MAX)])
    assert [(o.outcome, o.reason, o.detail) for o in plan.outcomes] == [(Outcome.APPLIED, Reason.OK, {"left_out": (NUL_LEFT_OUT,)})]
    kept = json.loads(plan.records[0].body)
    assert (kept["note"], kept["newer"]) == ("ab", "ab")
    assert plan.entries[0].raw == raw


def _creation_with_body(body: Any) -> dict[str, Any]:
    at = {"wall_ms": 0, "mono_ms": 0, "session": "s"}
    return {"id": str(an_id(5)), "n": 50, "kind": "site", "record": str(an_id(6)), "op": "create", "at": at, "contract": 1, "body": body}


def _check(plan: Any, raw: bytes) -> None:
    assert len(plan.outcomes) == 1
    known = [e for e in plan.entries if e.what == "mutation"]
    assert [e.raw for e in known] == [raw] * len(known)
    for record in plan.records:
        body = msgspec.json.decode(record.body, type=KINDS[record.kind].body)
        assert body is not None
        record.body.decode()
    for head in plan.heads:
        assert 0 <= head.count <= head.seq
        assert 0 <= head.digest < 2**32


# ---------------------------------------------------------------------------------------------- state machines


def states_of(kind: str) -> set[str]:
    default = next(d for name, d in guarded_fields(kind) if name == "state")
    table = MACHINES[kind].values()
    words = {default, *(t.to for t in table if t.to), *(s for t in table for s in t.sources)}
    return {word for word in words if word.isidentifier()}  # without the tables' signs for "every" and "as before"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_sequence_of_commands_reaches_an_illegal_state(data: st.DataObject) -> None:
    """Promise 3. Any roles, any order, any sight: the state is one of the machine's, and a refusal says what is allowed and by whom."""
    kind = data.draw(st.sampled_from(sorted(k for k in MACHINES if k in BODIES and any(n == "state" for n, _ in guarded_fields(k)))))
    county = PretendCounty()
    county.push(a_sender(9), [arrived(a_creation(1, an_id(101), kind))])
    legal = states_of(kind)
    commands = st.sampled_from(sorted(MACHINES[kind]))
    roles = st.sampled_from([r for r in Role if r is not Role.SYSTEM])
    for n, (command, role, stale) in enumerate(data.draw(st.lists(st.tuples(commands, roles, st.booleans()), max_size=8)), start=1):
        sender = a_sender(10 + n, role, "610902")
        base = (1, 1) if stale else county.records[an_id(101)].version
        sets = {f: (None, "x") for f in MACHINES[kind][command].sets if f.endswith(("reason", "result"))}
        plan = county.push(sender, [arrived(a_mutation(1, an_id(101), kind, command, id=an_id(500 + n), base=base, fields=sets))])
        (outcome,) = plan.outcomes
        assert county.records[an_id(101)].values.get("state", _default(kind)) in legal
        if outcome.reason is Reason.NOT_ALLOWED_NOW:
            assert outcome.detail is not None
            assert all(by for by in outcome.detail["allowed"].values()), outcome.detail
        if outcome.reason is Reason.NOT_YOUR_ROLE:
            assert outcome.detail is not None
            assert "by" in outcome.detail


def _default(kind: str) -> str:
    return str(next(d for name, d in guarded_fields(kind) if name == "state"))


def test_a_device_cannot_write_a_state_past_its_machine() -> None:
    """Promise 3. Neither at creation nor by an edit."""
    for kind in (k for k in MACHINES if k in BODIES and any(n == "state" for n, _ in guarded_fields(k))):
        county = PretendCounty()
        made = county.push(a_sender(1), [arrived(a_creation(1, an_id(101), kind, state=_other_state(kind)))])
        assert [o.reason for o in made.outcomes] == [Reason.READ_ONLY_FIELD]
        county.push(a_sender(1), [arrived(a_creation(2, an_id(102), kind))])
        edit = a_mutation(3, an_id(102), kind, EDIT, base=(1, 1), fields={"state": (_default(kind), _other_state(kind))})
        assert [o.reason for o in county.push(a_sender(1), [arrived(edit)]).outcomes] == [Reason.READ_ONLY_FIELD]


def _other_state(kind: str) -> str:
    return min(states_of(kind) - {_default(kind)})


# ---------------------------------------------------------------------------------------------- children


@ORDINARY
@given(st.lists(st.sampled_from(["move", "delete", "edit", "photo", "caption"]), max_size=8))
def test_children_are_always_where_their_parent_is(steps: list[str]) -> None:
    """Promises 4 and 6. They move, go and come back with it, whatever happens in between."""
    county = PretendCounty()
    sender, site = a_sender(1), an_id(101)
    county.push(sender, [arrived(a_creation(1, site))])
    county.push(sender, [arrived(a_mutation(2, an_id(200), "photo", CREATE, body={**BODIES["photo"], "parent": str(site)}))])
    for n, step in enumerate(steps, start=3):
        state = county.records[site]
        blind = a_sender(50 + n)  # somebody who saw only the first version
        now = state.values["unit"]
        mutation = {
            "move": an_edit(n, site, state.version, unit=(now, VILLAGE_B if now == VILLAGE_A else VILLAGE_A)),
            "delete": a_deletion(n, site, state.version),
            "edit": a_mutation(1, site, "site", EDIT, id=an_id(900 + n), base=(1, 1), fields={"note": (None, f"{n}")}),
            "photo": a_mutation(1, an_id(300 + n), "photo", CREATE, id=an_id(900 + n), body={**BODIES["photo"], "parent": str(site)}),
            "caption": a_mutation(n, an_id(200), "photo", EDIT, base=(1, 1), fields={"caption": ("", f"{n}")}),
        }[step]
        county.push(blind if step in ("edit", "photo") else sender, [arrived(mutation)])
        county.assert_true()
        parent = county.records[site]
        for child in (r for r in county.records.values() if r.parent == site):
            assert (child.stream, child.deleted) == (parent.stream, parent.deleted), step
