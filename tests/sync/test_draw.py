"""The draw: total, without doubles, true to exclusions and weights, the same everywhere, and every change is found."""

import hashlib
import hmac
import itertools
import random
import struct
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from contracts.draw import (
    FORMAT,
    DrawFile,
    DrawPlan,
    DrawResult,
    DrawRules,
    Exclusion,
    PoolInspector,
    PoolSite,
    Statement,
    canonical,
    commitment_of,
    digests_of,
    ordered,
    plan_faults,
    published,
    seed_of,
)
from sync.draw import Seating, Stream, draw, draw_sites, verify

SECRET = bytes(range(32))
NONCE = "0123456789abcdef-second-party"
AT = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
UNITS = ("env", "water", "housing")


def a_plan(sites: int = 6, inspectors: int = 6, exclusions: list[Exclusion] | None = None) -> DrawPlan:
    return DrawPlan(
        draw=uuid.UUID(int=7),
        county=610902,
        unit="610902",
        title="扬尘抽查",
        sites=[PoolSite(id=f"s{k:03}", name=f"工地{k}", unit="610902001001", weight=k + 1) for k in range(sites)],
        inspectors=[PoolInspector(id=f"p{k:03}", name=f"人{k}", unit=UNITS[k % 2]) for k in range(inspectors)],
        exclusions=exclusions or [],
        rules=DrawRules(sites=3, team_size=2, visits_max=1, departments=["env", "water"]),
    )


def seed(k: int) -> bytes:
    return hashlib.sha256(str(k).encode()).digest()


@st.composite
def plans(make: st.DrawFn) -> DrawPlan:
    sites = make(st.integers(1, 6))
    inspectors = make(st.integers(1, 6))
    people = [PoolInspector(id=f"p{k}", name="", unit=make(st.sampled_from(UNITS))) for k in range(inspectors)]
    pool = [PoolSite(id=f"s{k}", name="", unit="", weight=make(st.integers(1, 9))) for k in range(sites)]
    site = st.sampled_from([None, *(s.id for s in pool)])
    person = st.sampled_from([None, *(p.id for p in people)])
    barred = make(st.lists(st.builds(lambda s, p: Exclusion(reason="x", site=s, inspector=p), site, person), max_size=8))
    size = make(st.integers(1, 3))
    rules = DrawRules(
        sites=make(st.integers(1, 4)),
        team_size=size,
        visits_max=make(st.integers(1, 3)),
        departments=make(st.lists(st.sampled_from(UNITS), max_size=size, unique=True)),
    )
    plan = DrawPlan(draw=uuid.UUID(int=1), county=1, unit="u", title="", sites=pool, inspectors=people, exclusions=barred, rules=rules)
    assume(not plan_faults(plan))
    return plan


seeds = st.binary(min_size=32, max_size=32)


@given(plans(), seeds)
@settings(max_examples=400, deadline=None)
def test_every_plan_has_an_answer_that_keeps_all_rules(plan: DrawPlan, seed: bytes) -> None:
    result = draw(plan, seed)
    if result.failure is not None:
        assert result.visits == []
        assert result.failure.possible < result.failure.wanted
        return
    keeps_the_rules(plan, result)


def keeps_the_rules(plan: DrawPlan, result: DrawResult) -> None:
    unit_of = {p.id: p.unit for p in plan.inspectors}
    drawn = [visit.site for visit in result.visits]
    assert len(drawn) == len(set(drawn)) == plan.rules.sites
    assert all(len(visit.inspectors) == len(set(visit.inspectors)) == plan.rules.team_size for visit in result.visits)
    busy = Counter(person for visit in result.visits for person in visit.inspectors)
    assert max(busy.values()) <= plan.rules.visits_max
    for visit in result.visits:
        assert set(plan.rules.departments) <= {unit_of[p] for p in visit.inspectors}
        for one in plan.exclusions:
            if one.inspector is None:
                assert one.site != visit.site
            elif one.site in (None, visit.site):
                assert one.inspector not in visit.inspectors


@given(plans(), seeds)
@settings(max_examples=300, deadline=None)
def test_a_draw_fails_only_if_no_arrangement_exists(plan: DrawPlan, seed: bytes) -> None:
    """Against a search that tries everything."""
    assume(plan.rules.sites * plan.rules.team_size <= 6)
    result = draw(plan, seed)
    if result.failure is not None and result.failure.name == "too_few_sites":
        return
    barred = {one.site for one in plan.exclusions if one.inspector is None}
    sites = [visit.site for visit in result.visits] or _drawn_sites(plan, seed, barred)
    assert any_arrangement(Seating(ordered(plan), sites), 0, [], plan.rules.visits_max) == (result.failure is None)


def _drawn_sites(plan: DrawPlan, seed: bytes, barred: set[str | None]) -> list[str]:
    """With one inspector who suits everybody the same sites are drawn: inspectors have no say in it."""
    rules = replace(plan.rules, departments=[], team_size=1, visits_max=100)
    anybody = [PoolInspector(id="anybody", name="", unit="")]
    exclusions = [Exclusion(reason="x", site=site) for site in sorted(filter(None, barred))]
    return [v.site for v in draw(replace(plan, rules=rules, inspectors=anybody, exclusions=exclusions), seed).visits]


def any_arrangement(seating: Seating, seat: int, taken: list[tuple[str, str]], visits_max: int) -> bool:
    if seat == len(seating.seats):
        return True
    return any(
        any_arrangement(seating, seat + 1, [*taken, (seating.seats[seat][0], person)], visits_max)
        for person in seating.candidates[seat]
        if may_sit(seating, seat, person, taken, visits_max)
    )


def may_sit(seating: Seating, seat: int, person: str, taken: list[tuple[str, str]], visits_max: int) -> bool:
    return (seating.seats[seat][0], person) not in taken and sum(p == person for _, p in taken) < visits_max


@given(plans(), seeds)
@settings(max_examples=300, deadline=None)
def test_a_second_program_written_from_the_document_draws_the_same(plan: DrawPlan, seed: bytes) -> None:
    """It knows no augmenting paths: whether later seats can be filled it finds by trying everything."""
    assume(plan.rules.sites * plan.rules.team_size <= 6)
    result = draw(plan, seed)
    assume(result.failure is None)
    seating = Seating(ordered(plan), [visit.site for visit in result.visits])
    words, taken = words_of(seed, "inspectors"), list[tuple[str, str]]()
    for seat, (site, _) in enumerate(seating.seats):
        left = sorted(seating.candidates[seat])
        while True:
            person = left.pop(number_below(words, len(left)))
            after = [*taken, (site, person)]
            if may_sit(seating, seat, person, taken, plan.rules.visits_max) and any_arrangement(
                seating, seat + 1, after, plan.rules.visits_max
            ):
                break
        taken = after
    assert taken == [(visit.site, person) for visit in result.visits for person in visit.inspectors]


def words_of(seed: bytes, label: str) -> Iterator[int]:
    for block in itertools.count():
        digest = hmac.new(seed, f"xunling-draw-1/{label}/{block}".encode(), "sha256").digest()
        yield from struct.unpack(">4Q", digest)


def number_below(words: Iterator[int], n: int) -> int:
    return next(word % n for word in words if word < 2**64 // n * n)


@given(plans(), seeds, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_lists_has_no_meaning(plan: DrawPlan, seed: bytes, chance: random.Random) -> None:
    def shuffled(values: list[Any]) -> list[Any]:
        return chance.sample(values, len(values))

    rules = replace(plan.rules, departments=shuffled(plan.rules.departments))
    other = replace(
        plan, sites=shuffled(plan.sites), inspectors=shuffled(plan.inspectors), exclusions=shuffled(plan.exclusions), rules=rules
    )
    assert draw(other, seed) == draw(plan, seed)
    assert digests_of(other, SECRET) == digests_of(plan, SECRET)


def chi_square(seen: Counter[Any], expected: dict[Any, float]) -> float:
    assert set(seen) <= set(expected)
    return sum((seen[key] - wanted) ** 2 / wanted for key, wanted in expected.items())


def test_weights_are_chances() -> None:
    """4 sites of weights 1 to 4 over 4,000 seeds: below 16.3 at 3 degrees of freedom in 999 of 1,000 fair draws."""
    plan = _first_of_four()
    seen = Counter(draw(plan, seed(k)).visits[0].site for k in range(4000))
    assert chi_square(seen, {f"s{k:03}": 400.0 * (k + 1) for k in range(4)}) < 16.3


def _first_of_four() -> DrawPlan:
    plan = a_plan(sites=4)
    return replace(plan, rules=replace(plan.rules, sites=1))


def test_without_replacement_the_second_draw_follows_the_weights_that_are_left() -> None:
    plan = a_plan(sites=3)
    plan = replace(plan, rules=replace(plan.rules, sites=2))
    seen = Counter(tuple(v.site for v in draw(plan, seed(k)).visits) for k in range(6000))
    weights = {"s000": 1, "s001": 2, "s002": 3}
    expected = {(a, b): 6000 * weights[a] / 6 * weights[b] / (6 - weights[a]) for a, b in itertools.permutations(weights, 2)}
    assert chi_square(seen, expected) < 20.6  # 5 degrees of freedom, 999 of 1,000


def drawn_by_walking(weights: list[int], count: int, seed: bytes) -> list[int]:
    """As docs/draws.md has it, site by site."""
    words, left, drawn = words_of(seed, "sites"), dict(enumerate(weights)), []
    for _ in range(count):
        ticket = number_below(words, sum(left.values()))
        sums = zip(left, itertools.accumulate(left.values()), strict=True)
        drawn.append(next(at for at, upto in sums if ticket < upto))
        del left[drawn[-1]]
    return drawn


@given(st.lists(st.integers(1, 1_000_000), min_size=1, max_size=70), st.data(), seeds)
@settings(deadline=None)
def test_counting_off_without_walking_gives_the_same_sites(weights: list[int], data: st.DataObject, seed: bytes) -> None:
    pool = [PoolSite(id=str(k), name="", unit="", weight=weight) for k, weight in enumerate(weights)]
    count = data.draw(st.integers(1, len(pool)))
    assert draw_sites(pool, count, Stream(seed, "sites")) == [str(k) for k in drawn_by_walking(weights, count, seed)]


def test_a_hundred_thousand_sites_are_drawn_from_at_once() -> None:
    pool = [PoolSite(id=f"s{k:06}", name="", unit="", weight=k % 9 + 1) for k in range(100_000)]
    began = time.process_time()
    drawn = draw_sites(pool, 500, Stream(seed(1), "sites"))
    assert len(set(drawn)) == 500
    assert time.process_time() - began < 1.5


def test_a_pool_of_one_and_a_pool_of_nothing() -> None:
    plan = a_plan(sites=1, inspectors=2)
    one = draw(replace(plan, rules=replace(plan.rules, sites=1)), seed(1))
    assert [(visit.site, sorted(visit.inspectors)) for visit in one.visits] == [("s000", ["p000", "p001"])]
    nothing = draw(a_plan(exclusions=[Exclusion(reason="x", site=f"s{k:03}") for k in range(6)]), seed(1))
    assert nothing.failure is not None
    assert (nothing.failure.name, nothing.failure.possible) == ("too_few_sites", 0)


@pytest.mark.parametrize("weight", [0, -1, 1_000_001, 1.5, float("nan"), 10**30, "1", None, True])
def test_a_weight_that_is_no_chance_is_refused(weight: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"id": "s1", "name": "", "unit": "", "weight": weight}, PoolSite)


def test_every_inspector_of_a_department_has_the_same_chance() -> None:
    plan = a_plan(sites=1, inspectors=8)
    plan = replace(plan, rules=replace(plan.rules, sites=1))
    seen = Counter(p for k in range(4000) for p in draw(plan, seed(k)).visits[0].inspectors)
    assert chi_square(seen, {f"p{k:03}": 1000.0 for k in range(8)}) < 24.4  # 7 degrees of freedom


def test_numbers_below_n_are_even() -> None:
    stream = Stream(seed(1), "test")
    seen = Counter(stream.below(7) for _ in range(7000))
    assert chi_square(seen, dict.fromkeys(range(7), 1000.0)) < 22.5  # 6 degrees of freedom


def test_a_number_that_would_be_biased_is_thrown_away() -> None:
    """Just above half of 2^64 nearly every second word lies above the only multiple of n."""
    n = (1 << 63) + 1
    stream, plain = Stream(seed(2), "test"), Stream(seed(2), "test")
    words = [plain._word() for _ in range(64)]
    kept = [word for word in words if word < n]
    assert 16 < len(kept) < 48
    assert [stream.below(n) for _ in kept] == kept


def test_what_is_impossible_fails_by_name() -> None:
    few = draw(a_plan(sites=2), seed(1)).failure
    assert few is not None
    assert (few.name, few.wanted, few.possible) == ("too_few_sites", 3, 2)
    alone = [Exclusion(reason="on_leave", inspector=f"p{k:03}") for k in (1, 3)]
    nobody = draw(a_plan(exclusions=alone), seed(1)).failure
    assert nobody is not None
    assert (nobody.name, nobody.wanted, nobody.possible) == ("too_few_inspectors", 6, 4)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda p: replace(p, sites=[*p.sites, p.sites[0]]), "监管对象重复"),
        (lambda p: replace(p, inspectors=[*p.inspectors, p.inspectors[0]]), "检查人员重复"),
        (lambda p: replace(p, rules=replace(p.rules, departments=["env", "env"])), "部门重复"),
        (lambda p: replace(p, rules=replace(p.rules, team_size=1)), "每组人数少于部门数"),
        (lambda p: replace(p, exclusions=[Exclusion(reason="x")]), "排除项未指明监管对象或检查人员"),
        (lambda p: replace(p, exclusions=[Exclusion(reason="x", site="s9")]), "排除项不在名单内"),
    ],
)
def test_an_unsound_plan_says_what_is_wrong(change: Any, fault: str) -> None:
    assert plan_faults(change(a_plan())) == [fault]


# ------------------------------------------------------------------------------------------------ the file


def a_file(plan: DrawPlan | None = None) -> DrawFile:
    plan = plan or a_plan(exclusions=[Exclusion(reason="conflict_of_interest", site="s001", inspector="p000", note="亲属")])
    digests = digests_of(plan, SECRET)
    commitment = commitment_of(digests)
    seed = seed_of(SECRET, NONCE, commitment)
    return DrawFile(
        format=FORMAT,
        plan=ordered(plan),
        secret=SECRET.hex(),
        digests=digests,
        statement=Statement(commitment=commitment, algorithm="xunling-draw-1", at=AT),
        prepared_by=uuid.UUID(int=3),
        committed_by=uuid.UUID(int=1),
        nonce=NONCE,
        nonce_by=uuid.UUID(int=2),
        nonce_at=AT,
        seed=seed.hex(),
        result=draw(plan, seed),
        drawn_at=AT,
        disclosed_at=AT,
    )


def test_an_honest_file_has_no_differences() -> None:
    assert verify(a_file()) == []
    assert verify(a_file(a_plan(sites=2))) == []  # a draw that failed is verified, too


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    if isinstance(value, list):
        return [leaf for k, inner in enumerate(value) for leaf in leaves(inner, (*path, k))]
    return [path]


def changed(value: Any) -> Any:
    """Another value of the same type, as near as possible."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if not value:
        return "x"
    return value[:-1] + ("0" if value[-1] != "0" else "1")


COMMITTED = ("plan", "secret", "digests", "nonce", "seed", "result")  # what else there is in a file is under its signatures
PRIVATE = ("name", "note")  # of a person, of an exclusion: under the signature alone
LEAVES = [p for p in leaves(msgspec.to_builtins(a_file())) if p[0] in COMMITTED or p == ("statement", "commitment")]


@pytest.mark.parametrize("path", [p for p in LEAVES if p[1:2] == ("sites",) or p[-1] not in PRIVATE], ids=str)
def test_every_changed_value_is_found_without_any_signature(path: tuple[Any, ...]) -> None:
    plain = msgspec.to_builtins(a_file())
    at: Any = plain
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = changed(at[path[-1]]) if at[path[-1]] is not None else "s001"
    try:
        file = msgspec.convert(plain, DrawFile)
    except msgspec.ValidationError:
        return  # not even a file
    assert verify(file) != []


def test_nobodys_name_is_published_but_of_those_who_were_drawn_and_no_note() -> None:
    plan = a_plan(inspectors=8, exclusions=[Exclusion(reason="on_leave", inspector="p000", note="病假")])
    result = draw(plan, seed(1))
    shown = published(plan, result)
    drawn = {person for visit in result.visits for person in visit.inspectors}
    assert {one.id for one in shown.inspectors if one.name} == drawn < {one.id for one in plan.inspectors}
    assert [one.note for one in shown.exclusions] == [""]
    assert digests_of(shown, SECRET) == digests_of(plan, SECRET)
    assert draw(shown, seed(1)) == result


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda f: replace(f, plan=replace(f.plan, sites=[replace(f.plan.sites[0], weight=99), *f.plan.sites[1:]])), {"sites"}),
        (lambda f: replace(f, plan=replace(f.plan, sites=f.plan.sites[1:], exclusions=[])), {"sites", "exclusions"}),
        (lambda f: replace(f, plan=replace(f.plan, inspectors=f.plan.inspectors[1:], exclusions=[])), {"inspectors", "exclusions"}),
        (lambda f: replace(f, plan=replace(f.plan, rules=replace(f.plan.rules, visits_max=2))), {"rules"}),
        (lambda f: replace(f, plan=replace(f.plan, title="另一事项")), {"about"}),
        (lambda f: replace(f, secret=bytes(32).hex()), {"secret", "seed"}),
        (lambda f: replace(f, secret=f.secret + " "), {"secret"}),
        (lambda f: replace(f, nonce=f.nonce + "0"), {"seed"}),
        (lambda f: replace(f, seed="0" * 64), {"seed"}),
        (lambda f: replace(f, result=replace(f.result, visits=f.result.visits[::-1])), {"result"}),
        (lambda f: replace(f, result=replace(f.result, visits=f.result.visits[:-1])), {"result"}),
        (lambda f: replace(f, nonce_by=f.committed_by), {"nonce_by"}),
        (lambda f: replace(f, nonce_by=f.prepared_by), {"nonce_by"}),
        (lambda f: replace(f, nonce_at=AT - timedelta(seconds=1)), {"nonce_at"}),
        (lambda f: replace(f, plan=replace(f.plan, previous="0" * 64)), {"about"}),
        (lambda f: replace(f, plan=replace(f.plan, sites=f.plan.sites[::-1])), {"plan"}),
        (lambda f: replace(f, statement=replace(f.statement, algorithm="other-draw-1")), {"algorithm", "commitment"}),
    ],
)
def test_a_change_is_named(change: Any, parts: set[str]) -> None:
    assert {difference.part for difference in verify(change(a_file()))} == parts


def test_a_forger_who_repairs_the_digests_changes_the_commitment() -> None:
    file = a_file()
    plan = replace(file.plan, sites=[replace(file.plan.sites[0], weight=99), *file.plan.sites[1:]])
    forged = replace(file, plan=plan, digests=digests_of(plan, SECRET))
    assert {difference.part for difference in verify(forged)} == {"commitment"}


# ------------------------------------------------------------------------------------------------ golden vectors


def test_the_canonical_form_is_fixed() -> None:
    assert canonical({"b": 1, "a": ['巡\n"\\', None, True]}) == '{"a":["巡\\n\\"\\\\",null,true],"b":1}'.encode()


def test_golden_vectors() -> None:
    """Computed once; any program and any version must find the same (docs/draws.md repeats them)."""
    stream = Stream(bytes(32), "sites")
    assert [stream.below(1000) for _ in range(6)] == GOLDEN_NUMBERS
    file = a_file()
    assert file.statement.commitment == GOLDEN_COMMITMENT
    assert file.seed == GOLDEN_SEED
    assert [(v.site, v.inspectors) for v in file.result.visits] == GOLDEN_VISITS


@pytest.mark.parametrize(
    ("sites", "inspectors", "visits_max", "expected"), [(40, 16, 10, "b98a07ab7e67b27e"), (60, 30, 8, "da73f19ee1b1d2c2")]
)
def test_where_every_choice_moves_others_the_list_is_what_it_always_was(
    sites: int, inspectors: int, visits_max: int, expected: str
) -> None:
    """Nobody has a visit to spare, so however seats are searched for, it must be exact. Computed once, by the first program there was."""
    pairs = {(f"s{k % sites:03}", f"p{k * 7 % inspectors:03}") for k in range(sites * 2)}
    plan = a_plan(sites, inspectors, [Exclusion(reason="conflict_of_interest", site=site, inspector=person) for site, person in pairs])
    plan = msgspec.structs.replace(plan, rules=DrawRules(sites=sites, team_size=4, visits_max=visits_max, departments=[]))
    assert hashlib.sha256(canonical(draw(plan, SECRET))).hexdigest()[:16] == expected


GOLDEN_NUMBERS = [798, 334, 930, 255, 377, 268]
GOLDEN_COMMITMENT = "2167c1c63de1f6d19664d264c774ff7c179974c80f10b2e33c40a1626ff19b03"
GOLDEN_SEED = "a91d515ee6ff85c4b6acba1626ecd87e77cb31d8cf8c5e6e85242062a162abc9"
GOLDEN_VISITS = [("s002", ["p000", "p001"]), ("s005", ["p004", "p003"]), ("s001", ["p002", "p005"])]
