"""What was typed, and what phones and server show at a quiet point. Plain values: the oracle judges nothing else."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = Any
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ACCEPTED = frozenset({"applied", "merged", "conflict"})
HELD = frozenset({"quarantined", "deferred"})


def canonical(value: Json) -> str:
    """Equal exactly for equal JSON values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True)
class Write:
    """One value that a person gave one field, and what the screen showed there when they did."""

    over: Json
    value: Json


@dataclass
class Entry:
    """One thing a person did on a phone.

    number    order in which everything was typed, by true time
    store     the local store it was typed on; `device` is what that store calls itself (a cloned store has another's name)
    screen    the whole record as it was shown; {} at a creation
    unit      the unit of the record as it was shown (at a creation: as it was typed)
    entitled  the person had, at that moment, a duty over that unit
    spoilt    what the simulation did to the bytes or the app version: then they may be refused
    said      the outcome that came back with a verified receipt; None: not heard yet
    """

    number: int
    at_ms: int
    mutation: str
    n: int
    store: str
    device: str
    person: str
    county: int
    record: str
    kind: str
    op: str
    writes: dict[str, Write]
    args: dict[str, Json]
    screen: dict[str, Json]
    unit: str
    entitled: bool
    spoilt: str | None = None
    said: str | None = None
    said_at_ms: int = 0


@dataclass(frozen=True)
class ServerRecord:
    """A row of `record`."""

    county: int
    id: str
    kind: str
    stream: str
    seq: int
    version: tuple[int, int]
    crc: int
    parent: str | None
    deleted: bool
    moved_to: int | None
    body: dict[str, Json]


@dataclass(frozen=True)
class JournalRow:
    """A row of `journal`; `raw` only for mutations."""

    county: int
    device: str
    n: int
    entry: int
    what: str
    mutation: str | None
    record: str | None
    op: str | None
    outcome: str
    reason: str
    stream: str | None
    seq: int | None
    version: tuple[int, int] | None
    raw: bytes | None


@dataclass(frozen=True)
class Head:
    county: int
    stream: str
    incarnation: int
    seq: int
    count: int
    digest: int


@dataclass(frozen=True)
class DeviceRow:
    """A row of `device_county`."""

    n_high: int
    holes: list[tuple[int, int]]


@dataclass(frozen=True)
class Rule:
    """A row of `rule_version`."""

    county: int
    name: str
    version: int
    starts: datetime
    body: dict[str, Json]


@dataclass(frozen=True)
class RoadChecks:
    """What an office reads of one month."""

    unit: str
    month: str  # 2027-03
    held: int
    days: int


@dataclass(frozen=True)
class Answer:
    """What somebody at a console was answered. `turn`: equal for what was asked at once, later ones are greater."""

    turn: int
    act: str
    by: str
    sent: dict[str, Json]
    status: int
    said: dict[str, Json]


@dataclass
class DrawTold:
    """One random draw, as its offices know it.

    asked    the plan that was to be sealed
    words    what only the sealed plan says
    lists    the results that the issuer read, each as canonical JSON
    peeped   whoever else could read one
    """

    id: str
    title: str
    words: set[str]
    asked: dict[str, Json] = field(default_factory=dict)
    commitment: str | None = None
    answers: list[Answer] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    peeped: list[str] = field(default_factory=list)

    def forget(self) -> None:
        """After a restore: what was answered may not have been."""
        self.answers.clear()
        self.lists.clear()


@dataclass
class ServerView:
    """The server's tables at a quiet point, and what everybody may read. `held`: mutations on a desk -> settled or not.

    published    commitments of draws, with how far each is
    draw_files   commitment -> the file
    """

    incarnations: dict[int, int]
    records: dict[tuple[int, str], ServerRecord]
    journal: list[JournalRow]
    heads: dict[str, Head]
    markers: dict[str, list[tuple[str, int]]]  # stream -> [(record, seq)]
    held: dict[tuple[int, str, int], bool]  # (county, device, n) -> settled
    devices: dict[tuple[int, str], DeviceRow]
    rules: list[Rule] = field(default_factory=list)
    now: datetime = EPOCH
    published: list[dict[str, Json]] = field(default_factory=list)
    draw_files: dict[str, str] = field(default_factory=dict)
    road_checks: list[RoadChecks] = field(default_factory=list)


@dataclass(frozen=True)
class PhoneRecord:
    """A record as the person sees it; `own` is work of theirs that waits on a desk and is shown all the same."""

    county: int
    version: tuple[int, int] | None
    body: dict[str, Json]
    own: bool


@dataclass
class PhoneView:
    """What one phone shows when nothing is left to do. `streams`: name -> (count, digest) of the copies held."""

    store: str
    device: str
    person: str
    unsent: int
    records: dict[str, PhoneRecord]
    streams: dict[str, tuple[int, int]]
    waiting: set[str]  # mutations on a desk
    refused: set[str]
    refusals: dict[str, Json]  # mutation -> the detail of its refusal
    holds: set[str]  # mutations it could hand in again
    photos: dict[str, str]  # SHA-256 of bytes it no longer has -> state
    ended: str = "complete"


@dataclass
class Circumstances:
    """What the simulation did that excuses what would otherwise be a broken promise.

    scope       person -> streams they may have now, computed from the duties that were given
    restored    true moments (ms) of restores, each with the moment of its backup
    rewinding   a restore has happened since the last quiet point
    forgotten   county -> the incarnation at a restore that lost acknowledged work, and the stores that still held some of it
    odd_apps    stores whose app was of another contract for a while
    gone        stores that exist no more (a phone in the river): what only they held is lost with them
    cloned      devices whose store was copied to a second phone
    strangers   devices of the hostile account
    failed_answers   what the server failed at when a stranger sent it
    """

    scope: dict[str, set[str]] = field(default_factory=dict)
    restored: list[tuple[int, int]] = field(default_factory=list)
    rewinding: bool = False
    forgotten: dict[int, tuple[int, set[str]]] = field(default_factory=dict)
    odd_apps: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    cloned: set[str] = field(default_factory=set)
    strangers: set[str] = field(default_factory=set)
    failed_answers: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Violation:
    """A promise (1 to 10: design.md section 1; 11: judge_casework.py) that did not hold, with the record or device it shows on."""

    promise: int
    text: str
    subject: str = ""

    def __str__(self) -> str:
        return f"promise {self.promise}: {self.text}" + (f" [{self.subject}]" if self.subject else "")
