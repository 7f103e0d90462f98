"""Verify a disclosed random draw (双随机、一公开) with nothing but Python: this file, and the draw's.

    python3 verify_draw.py draw.json [--commitment HASH] [--key PUBLIC_KEY]...

A second program, written from docs/draws.md alone and sharing nothing with the first. Status 0: everything fits; 1: what differs is said.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import struct
import sys
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import Any

ALGORITHM = "xunling-draw-1"
FORMAT = "xunling-draw-file-1"
WORDS = 2**64


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ---------------------------------------------------------------------------------------------- commitment and seed


def digests_of(plan: Any, secret: str) -> dict[str, str]:
    parts = {
        "about": {name: plan[name] for name in ("county", "draw", "previous", "title", "unit")},
        "sites": [{name: site[name] for name in ("id", "name", "unit", "weight", "why")} for site in plan["sites"]],
        "inspectors": [{name: one[name] for name in ("id", "unit")} for one in plan["inspectors"]],
        "exclusions": [_exclusion(one) for one in plan["exclusions"]],
        "rules": {name: plan["rules"][name] for name in ("departments", "sites", "team_size", "visits_max")},
        "secret": secret,
    }
    return {name: sha256(canonical(part)) for name, part in parts.items()}


def _exclusion(one: Any) -> Any:
    return {name: one[name] for name in ("inspector", "reason", "site")}


def is_in_order(plan: Any) -> bool:
    lists = (
        [site["id"].encode() for site in plan["sites"]],
        [one["id"].encode() for one in plan["inspectors"]],
        [canonical(_exclusion(one)) for one in plan["exclusions"]],
        [unit.encode() for unit in plan["rules"]["departments"]],
    )
    return all(keys == sorted(keys) for keys in lists) and all(len(set(keys)) == len(keys) for keys in (*lists[:2], lists[3]))


# ---------------------------------------------------------------------------------------------- the draw


def words(seed: bytes, label: str) -> Iterator[int]:
    block = 0
    while True:
        yield from struct.unpack(">4Q", hmac.new(seed, f"{ALGORITHM}/{label}/{block}".encode(), "sha256").digest())
        block += 1


def below(numbers: Iterator[int], n: int) -> int:
    return next(word % n for word in numbers if word < WORDS - WORDS % n)


def failed(name: str, wanted: int, possible: int) -> Any:
    return {"visits": [], "failure": {"name": name, "wanted": wanted, "possible": possible}}


def draw(plan: Any, seed: bytes) -> Any:
    rules = plan["rules"]
    barred = {one["site"] for one in plan["exclusions"] if one["inspector"] is None}
    left = [(site["id"], site["weight"]) for site in plan["sites"] if site["id"] not in barred]
    if len(left) < rules["sites"]:
        return failed("too_few_sites", rules["sites"], len(left))
    numbers, drawn = words(seed, "sites"), []
    for _ in range(rules["sites"]):
        ticket, at = below(numbers, sum(weight for _, weight in left)), 0
        while ticket >= left[at][1]:
            ticket, at = ticket - left[at][1], at + 1
        drawn.append(left.pop(at)[0])
    seats = Seats(plan, drawn)
    held = seats.filled({}, 0)
    if len(held) < len(seats.site):
        return failed("too_few_inspectors", len(seats.site), len(held))
    teams = seats.drawn(held, words(seed, "inspectors"))
    size = rules["team_size"]
    return {"visits": [{"site": site, "inspectors": teams[k * size : (k + 1) * size]} for k, site in enumerate(drawn)], "failure": None}


class Seats:
    """The seats of all teams in order: the site of each, and who may sit there."""

    def __init__(self, plan: Any, drawn: list[str]) -> None:
        rules, exclusions = plan["rules"], plan["exclusions"]
        wanted = [*rules["departments"], *[None] * (rules["team_size"] - len(rules["departments"]))]
        barred = {one["inspector"] for one in exclusions if one["site"] is None}
        apart = {(one["site"], one["inspector"]) for one in exclusions}
        people = [one for one in plan["inspectors"] if one["id"] not in barred]
        self.visits_max: int = rules["visits_max"]
        self.site = [site for site in drawn for _ in wanted]
        self.candidates = [
            [one["id"] for one in people if unit in (None, one["unit"]) and (site, one["id"]) not in apart]
            for site in drawn
            for unit in wanted
        ]

    def drawn(self, held: dict[int, str], numbers: Iterator[int]) -> list[str]:
        """Seat by seat, in order; `held` is an arrangement of all seats."""
        for seat, candidates in enumerate(self.candidates):
            left = list(candidates)
            while True:
                person = left.pop(below(numbers, len(left)))
                other = held if held[seat] == person else self._with(held, seat, person)
                if len(other) == len(held):
                    held = other
                    break
        return [held[seat] for seat in range(len(held))]

    def _with(self, held: dict[int, str], seat: int, person: str) -> dict[int, str]:
        """The arrangement with the person on this seat, as far as there is one; seats before it stay as they are."""
        before = {k: who for k, who in held.items() if k < seat} | {seat: person}
        mine = [k for k, who in before.items() if who == person]
        if len(mine) > self.visits_max or len({self.site[k] for k in mine}) < len(mine):
            return {}
        return self.filled(before, seat + 1, held)

    def filled(self, held: dict[int, str], first: int, hint: dict[int, str] | None = None) -> dict[int, str]:
        """As many seats as can be, from `first` on; those before it are not touched. `hint`: where to begin."""
        held = dict(held)
        sits: dict[str, set[int]] = {}
        for seat, person in held.items():
            sits.setdefault(person, set()).add(seat)
        for seat in range(first, len(self.site)):
            person = (hint or {}).get(seat)
            if person is not None and self._may(sits, person, seat):
                held[seat] = person
                sits.setdefault(person, set()).add(seat)
        for seat in range(first, len(self.site)):
            if seat not in held:
                self._augment(held, sits, seat, first)
        return held

    def _may(self, sits: dict[str, set[int]], person: str, seat: int) -> bool:
        mine = sits.get(person, set())
        return len(mine) < self.visits_max and all(self.site[k] != self.site[seat] for k in mine)

    def _augment(self, held: dict[int, str], sits: dict[str, set[int]], seat: int, first: int) -> None:
        came: dict[int, tuple[int, str] | None] = {seat: None}
        waiting = deque([seat])
        while waiting:
            at = waiting.popleft()
            for person in self.candidates[at]:
                mine = sits.get(person, set())
                here = {k for k in mine if self.site[k] == self.site[at]}
                if not here and len(mine) < self.visits_max:
                    return self._shift(held, sits, at, person, came)
                for other in here or mine:
                    if other >= first and other not in came:
                        came[other] = (at, person)
                        waiting.append(other)
        return None

    def _shift(
        self, held: dict[int, str], sits: dict[str, set[int]], seat: int, person: str, came: dict[int, tuple[int, str] | None]
    ) -> None:
        step: tuple[int, str] | None = (seat, person)
        while step is not None:
            seat, person = step
            step = came[seat]
            if seat in held:
                sits[held[seat]].discard(seat)
            held[seat] = person
            sits.setdefault(person, set()).add(seat)


# ---------------------------------------------------------------------------------------------- Ed25519 (RFC 8032)

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Point = tuple[int, int, int, int]


def add(a: Point, b: Point) -> Point:
    m, n = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    t, z = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = n - m, z - t, z + t, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar: int, point: Point) -> Point:
    total = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point, scalar = add(point, point), scalar >> 1
    return total


def point_of(data: bytes) -> Point:
    number = int.from_bytes(data, "little")
    y, sign = number & (2**255 - 1), number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        raise ValueError("no point of the curve")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = point_of((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(public: str, signature: str, message: bytes) -> bool:
    try:
        key, sig = bytes.fromhex(public), bytes.fromhex(signature)
        scalar = int.from_bytes(sig[32:], "little")
        if len(key) != 32 or len(sig) != 64 or scalar >= ORDER or sig.hex() != signature:
            return False
        challenge = int.from_bytes(hashlib.sha512(sig[:32] + key + message).digest(), "little") % ORDER
        left, right = times(scalar, BASE), add(point_of(sig[:32]), times(challenge, point_of(key)))
    except ValueError:
        return False
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


# ---------------------------------------------------------------------------------------------- the verdict


def differences(file: Any, commitment: str | None, keys: list[str]) -> Iterator[str]:
    """Everything that does not fit."""
    plan, statement = file["plan"], file["statement"]
    if file["format"] != FORMAT or statement["algorithm"] != ALGORITHM:
        yield "格式或算法未知 · format or algorithm: unknown to this program"
    if not is_in_order(plan):
        yield "名单次序有误或有重复 · plan: not in its order, or something stands twice"
    expected = digests_of(plan, file["secret"])
    yield from (f"与承诺时不同 · differs from what was committed: {n}" for n in expected if file["digests"].get(n) != expected[n])
    if sha256(canonical({"algorithm": statement["algorithm"], "digests": file["digests"]})) != statement["commitment"]:
        yield "承诺哈希不符 · commitment: is not the hash of the digests"
    if commitment is not None and statement["commitment"] != commitment.lower():
        yield "不是公示的承诺 · commitment: is not the one that was published"
    seed = hashlib.sha256(bytes.fromhex(file["secret"]) + file["nonce"].encode() + bytes.fromhex(statement["commitment"]))
    if seed.hexdigest() != file["seed"]:
        yield "种子不符 · seed: is not the hash of secret, nonce and commitment"
    if file["nonce_by"] in (file["prepared_by"], file["committed_by"]) or moment(file["nonce_at"]) < moment(statement["at"]):
        yield "随机数不是他人其后提供的 · nonce: not a second party's later one"
    if draw(plan, seed.digest()) != file["result"]:
        yield "抽取结果不符 · result: another one follows from the seed"
    head = f"xunling-draw-commitment-1\n{statement['commitment']}\n{statement['algorithm']}\n{statement['at']}\n{statement['key']}\n"
    for part, signed, message in (
        ("statement", statement, head.encode()),
        ("file", file, b"xunling-draw-file-1\n" + canonical({**file, "sig": ""})),
    ):
        public = signed["public"]
        if sha256(bytes.fromhex(public))[:16] != signed["key"] or (keys and public not in keys):
            yield f"公钥不是公布的 · key of the {part}: is not one that was published"
        elif not is_signed(public, signed["sig"], message):
            yield f"签名不符 · {part}: the signature does not fit"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a member stands twice")
    return dict(pairs)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--commitment")
    parser.add_argument("--key", action="append", default=[])
    given = parser.parse_args(arguments)
    try:
        with open(given.file, "rb") as opened:
            file = json.loads(opened.read().decode(), object_pairs_hook=members)
        found = list(differences(file, given.commitment, [key.lower() for key in given.key]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        found = [f"不是抽查结果文件 · not a draw file: {error!r}"]
    print("不一致 · DOES NOT VERIFY" if found else "一致 · VERIFIED", *found, sep="\n- ")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
