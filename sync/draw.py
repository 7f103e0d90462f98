"""The draw itself: a documented, deterministic algorithm over seed and plan, and its verification (docs/draws.md).

Integers only, SHA-256 and HMAC-SHA256 only: the same on every machine and in every version of every language. A seed gives
64-bit numbers (`Stream`); a number below n is taken without bias by throwing away what lies above the largest multiple of n.

1. Sites are drawn by weight without replacement, from the pool in the order of its ids.
2. Each drawn site gets a team, seat by seat. A seat goes to one of the inspectors with whom all later seats can still be
   filled, each with the same chance. Whether they can is decided exactly (augmenting paths), so a draw fails only if no
   arrangement exists, and then by name.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from typing import Final

import msgspec

from contracts.draw import (
    ALGORITHM,
    FORMAT,
    SECRET_BYTES,
    DrawFailure,
    DrawFile,
    DrawPlan,
    DrawResult,
    PoolSite,
    Visit,
    commitment_of,
    digests_of,
    ordered,
    plan_faults,
    seed_of,
)

_WORD_BYTES: Final = 8
_WORDS: Final = 1 << 64


class Stream:
    """Numbers from a seed: HMAC-SHA256(seed, "xunling-draw-1/<label>/<block>") for block 0, 1, ..., cut into 8 bytes, big-endian."""

    def __init__(self, seed: bytes, label: str) -> None:
        self._seed = seed
        self._label = label
        self._block = 0
        self._bytes = b""

    def _word(self) -> int:
        if not self._bytes:
            message = f"{ALGORITHM}/{self._label}/{self._block}".encode()
            self._bytes = hmac.digest(self._seed, message, hashlib.sha256)
            self._block += 1
        word, self._bytes = self._bytes[:_WORD_BYTES], self._bytes[_WORD_BYTES:]
        return int.from_bytes(word, "big")

    def below(self, n: int) -> int:
        """A number of 0 .. n-1, each with the same chance."""
        limit = _WORDS - _WORDS % n
        while True:
            word = self._word()
            if word < limit:
                return word % n


def draw(plan: DrawPlan, seed: bytes) -> DrawResult:
    """Total: every sound plan (`plan_faults` is empty) and every seed has one answer."""
    plan = ordered(plan)
    barred = {one.site for one in plan.exclusions if one.inspector is None}
    pool = [site for site in plan.sites if site.id not in barred]
    if len(pool) < plan.rules.sites:
        return _failed("too_few_sites", plan.rules.sites, len(pool))
    sites = draw_sites(pool, plan.rules.sites, Stream(seed, "sites"))
    seating = Seating(plan, sites)
    seated = seating.seat_all()
    if seated < len(seating.seats):
        return _failed("too_few_inspectors", len(seating.seats), seated)
    seating.draw_all(Stream(seed, "inspectors"))
    return DrawResult(visits=seating.visits())


def _failed(name: str, wanted: int, possible: int) -> DrawResult:
    return DrawResult(failure=DrawFailure(name=name, wanted=wanted, possible=possible))


def draw_sites(pool: list[PoolSite], count: int, stream: Stream) -> list[str]:
    """`count` ids in the order drawn: each time a ticket below the sum of the weights that are left, counted off in order of id."""
    tickets, drawn = Tickets([site.weight for site in pool]), []
    for _ in range(count):
        at = tickets.holder(stream.below(tickets.total))
        tickets.withdraw(at, pool[at].weight)
        drawn.append(pool[at].id)
    return drawn


class Tickets:
    """Counting off in a large pool without walking through it: sums of weights over powers of two (a Fenwick tree)."""

    def __init__(self, weights: list[int]) -> None:
        self.total = sum(weights)
        self._sums = [0, *weights]
        for k in range(1, len(self._sums)):
            above = k + (k & -k)
            if above < len(self._sums):
                self._sums[above] += self._sums[k]

    def holder(self, ticket: int) -> int:
        """Whose ticket it is: the first place at which the weights up to and with it exceed the ticket."""
        at, step = 0, 1 << (len(self._sums) - 1).bit_length()
        while step:
            if at + step < len(self._sums) and self._sums[at + step] <= ticket:
                at += step
                ticket -= self._sums[at]
            step >>= 1
        return at

    def withdraw(self, at: int, weight: int) -> None:
        self.total -= weight
        k = at + 1
        while k < len(self._sums):
            self._sums[k] -= weight
            k += k & -k


class Seating:
    """Who sits where. Seat k belongs to one site; the first seats of a team are its departments', in order, the others open.

    Nobody sits twice at one site, nor at more than `visits_max` sites. `held` is an arrangement of all seats in which the
    seats that were drawn already are fixed.
    """

    def __init__(self, plan: DrawPlan, sites: list[str]) -> None:
        rules = plan.rules
        departments: list[str | None] = [*rules.departments, *([None] * (rules.team_size - len(rules.departments)))]
        self.sites = sites
        self.seats = [(site, department) for site in sites for department in departments]
        self.team_size = rules.team_size
        self.visits_max = rules.visits_max
        barred = {one.inspector for one in plan.exclusions if one.site is None}
        pairs = {(one.site, one.inspector) for one in plan.exclusions}
        people = [inspector for inspector in plan.inspectors if inspector.id not in barred]
        fitting = {department: [p.id for p in people if department in (None, p.unit)] for department in departments}
        apart = {site for site, _ in pairs}
        # most sites have nobody who is kept from them: their seats share one list, which nobody changes
        self.candidates = [
            [one for one in fitting[department] if (site, one) not in pairs] if site in apart else fitting[department]
            for site, department in self.seats
        ]
        self.held: list[str | None] = [None] * len(self.seats)
        self.fixed = [False] * len(self.seats)
        self.sitting: dict[str, set[int]] = {person.id: set() for person in people}
        self.at_site: dict[tuple[str, str], int] = {}

    def seat_all(self) -> int:
        """Fill as many seats as can be filled at the same time; how many."""
        return sum(self._seat(seat) for seat in range(len(self.seats)))

    def draw_all(self, stream: Stream) -> None:
        """Each seat in order: one of those with whom all later seats can be filled. All seats are held."""
        for seat in range(len(self.seats)):
            left = list(self.candidates[seat])
            while not self._fix(seat, left.pop(stream.below(len(left)))):
                pass

    def visits(self) -> list[Visit]:
        teams = [self.held[k : k + self.team_size] for k in range(0, len(self.held), self.team_size)]
        return [Visit(site=site, inspectors=[p for p in team if p is not None]) for site, team in zip(self.sites, teams, strict=True)]

    def _fix(self, seat: int, person: str) -> bool:
        """The person takes the seat for good, if everybody else can still be seated; otherwise nothing changes."""
        if self.held[seat] == person:
            self.fixed[seat] = True
            return True
        there = self.at_site.get((self.seats[seat][0], person))
        is_full = len(self.sitting[person]) >= self.visits_max
        gives_up = [other for other in sorted(self.sitting[person]) if not self.fixed[other]]
        homeless = there if there is not None else gives_up[0] if is_full and gives_up else None
        if (there is not None and self.fixed[there]) or (there is None and is_full and homeless is None):
            return False
        before = self.held[seat]
        self._rise(seat)
        if homeless is not None:
            self._rise(homeless)
        self._sit(seat, person)
        self.fixed[seat] = True
        # which of the person's seats was given up does not matter: the search may give it back and take another
        if homeless is None or self._seat(homeless):
            return True
        self.fixed[seat] = False
        self._rise(seat)
        self._sit(seat, before)
        self._sit(homeless, person)
        return False

    def _seat(self, seat: int) -> bool:
        """Find the seat somebody, moving others if need be: the shortest augmenting path. False: impossible, nothing changes."""
        came: dict[int, tuple[int, str]] = {}  # seat that must move -> the seat whose new holder displaces it, and who that is
        waiting = deque([seat])
        known = {seat}
        met: set[str] = set()  # people all of whose seats are known: met again they add nothing
        while waiting:
            at = waiting.popleft()
            site = self.seats[at][0]
            for person in self.candidates[at]:
                if len(self.sitting[person]) < self.visits_max and (site, person) not in self.at_site:
                    self._move(seat, at, person, came)
                    return True
            for person in self.candidates[at]:
                if person in met:
                    continue
                there = self.at_site.get((site, person))
                if there is None:
                    met.add(person)
                for other in sorted(self.sitting[person]) if there is None else (there,):
                    if other not in known and not self.fixed[other]:
                        known.add(other)
                        came[other] = (at, person)
                        waiting.append(other)
        return False

    def _move(self, first: int, last: int, person: str, came: dict[int, tuple[int, str]]) -> None:
        """Along the path: `last` gets `person`, and each seat before it the one whom the next gave up."""
        takes = [(last, person)]
        while last != first:
            last, person = came[last]
            takes.append((last, person))
        for seat, _ in takes:
            self._rise(seat)
        for seat, who in takes:
            self._sit(seat, who)

    def _rise(self, seat: int) -> None:
        person = self.held[seat]
        if person is not None:
            self.sitting[person].discard(seat)
            del self.at_site[self.seats[seat][0], person]
            self.held[seat] = None

    def _sit(self, seat: int, person: str | None) -> None:
        self.held[seat] = person
        if person is not None:
            self.sitting[person].add(seat)
            self.at_site[self.seats[seat][0], person] = seat


# ------------------------------------------------------------------------------------------------ verification


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it was committed, in both languages."""

    part: str
    zh: str
    en: str


PARTS_ZH: Final = {
    "about": "抽查事项（编号、单位、标题）",
    "sites": "检查对象名单或权重",
    "inspectors": "检查人员名单",
    "exclusions": "排除（回避）名单",
    "rules": "抽取规则",
    "secret": "密值",
}


def verify(file: DrawFile) -> list[Difference]:
    """Everything that recomputing shows to differ; the signatures are the caller's to check. Empty: the draw is as committed."""
    secret = _secret_of(file)
    if secret is None:
        return [Difference(part="secret", zh="密值不是 64 位小写十六进制数", en="secret: not 64 lower-case hexadecimal digits")]
    found = [_unsound(fault) for fault in plan_faults(file.plan)]
    if file.plan != ordered(file.plan):
        found.append(Difference(part="plan", zh="名单不按规定的顺序排列", en="plan: its lists are not in their order"))
    if file.format != FORMAT or file.statement.algorithm != ALGORITHM:
        found.append(Difference(part="algorithm", zh="文件格式或算法版本未知", en="format or algorithm: unknown to this program"))
    found += _uncommitted(file, secret)
    seed = seed_of(secret, file.nonce, file.statement.commitment)
    if seed.hex() != file.seed:
        en = "nonce or seed: the seed is not SHA-256 of secret, nonce and commitment"
        found.append(Difference(part="seed", zh="随机数或种子不符：种子不是密值、随机数与承诺的哈希", en=en))
    found += _one_party(file)
    if not found:
        found += _other_result(draw(file.plan, seed), file.result)
    return found


def _one_party(file: DrawFile) -> list[Difference]:
    """Whether the nonce was a second party's, and a later one."""
    found = []
    if file.nonce_by in (file.committed_by, file.prepared_by):
        en = "nonce_by: whoever prepared or committed must not give the nonce"
        found.append(Difference(part="nonce_by", zh="准备人或承诺人与随机数提供人为同一人", en=en))
    if file.nonce_at < file.statement.at:
        en = "nonce_at: the nonce was given before the commitment"
        found.append(Difference(part="nonce_at", zh="随机数早于承诺", en=en))
    return found


def _secret_of(file: DrawFile) -> bytes | None:
    try:
        secret = bytes.fromhex(file.secret)
    except ValueError:
        return None
    return secret if len(secret) == SECRET_BYTES and secret.hex() == file.secret else None


def _unsound(fault: str) -> Difference:
    return Difference(part="plan", zh=f"名单或规则有误：{fault}", en=f"plan: {fault}")


def _uncommitted(file: DrawFile, secret: bytes) -> list[Difference]:
    now = digests_of(file.plan, secret)
    found = [
        Difference(part=name, zh=f"{PARTS_ZH[name]}与承诺时不同", en=f"{name}: differs from what was committed")
        for name, digest in now.items()
        if file.digests.get(name) != digest
    ]
    if commitment_of(file.digests, file.statement.algorithm) != file.statement.commitment:
        en = "commitment: is not the hash of the digests in this file"
        found.append(Difference(part="commitment", zh="承诺哈希与各部分摘要不符", en=en))
    return found


def _other_result(expected: DrawResult, claimed: DrawResult) -> list[Difference]:
    if expected == claimed:
        return []
    for k, (ours, theirs) in enumerate(zip(expected.visits, claimed.visits, strict=False), start=1):
        if ours != theirs:
            en = f"result: visit {k} must be {ours.site} by {', '.join(ours.inspectors)}"
            zh = f"抽取结果不符：第 {k} 项应为 {ours.site}（{'、'.join(ours.inspectors)}）"
            return [Difference(part="result", zh=zh, en=en)]
    return [Difference(part="result", zh="抽取结果不符：项数或失败原因不同", en="result: another number of visits, or another failure")]
