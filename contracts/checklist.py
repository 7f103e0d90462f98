"""Checklists: what a patrol asks, what counts as a finding, who gets it, by when, and on whose word.

A published version is immutable and accepted for ever; a change is a new version beside the old one.
One file is one subject in one jurisdiction (`<slug>.<jurisdiction>.v<N>.json`), because wordings, numbers
and duties of two jurisdictions are never merged. Whatever no source states is marked `derived`.

The published bytes are what is stored and sent (`published_json`); the Structs here are a view of them. They
ignore fields they do not know, so a definition of a newer release works here and loses nothing (decision 0001).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

CHECKLISTS: Final = Path(__file__).parent / "checklists"

ITEM_KEY: Final = re.compile(r"^[a-z0-9_]+$(?!\n)")  # no dots: a record's field path is `answers.<key>`


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """One wording in both languages. `zh` is the wording of the source wherever the source has one."""

    zh: str
    en: str


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rule is written: the source document's file name and a verbatim quote from it."""

    file: str
    quote: str


class AnswerType(str, Enum):
    """What may be answered.

    `ynn`: `"yes"`, `"no"` or `"na"`, worded so that yes is compliant. `num`: a number in `unit`.
    `choice`: one option key. `multi_choice`: a list of option keys. `text`: free text.
    `date`: `YYYY-MM-DD`. Absent or null means not answered.
    """

    YNN = "ynn"
    NUM = "num"
    CHOICE = "choice"
    MULTI_CHOICE = "multi_choice"
    TEXT = "text"
    DATE = "date"


CHOICES: Final = frozenset({AnswerType.CHOICE, AnswerType.MULTI_CHOICE})


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One choice. `derived`: the option is not named by a source of this jurisdiction."""

    key: str
    text: Text
    derived: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of an answer: `unit`, `min` and `max` belong to `num`, `options` to the choices."""

    type: AnswerType
    unit: str | None = None
    min: float | None = None
    max: float | None = None
    options: tuple[Option, ...] = ()


class Photo(str, Enum):
    """When a photo is required. `on_finding`: when the answer opens a finding (a `no`)."""

    NEVER = "never"
    ON_FINDING = "on_finding"
    ALWAYS = "always"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What must prove the answer. No source mentions photos or positions, hence `derived`."""

    photo: Photo = Photo.NEVER
    position: bool = False
    derived: bool = True


class Effect(str, Enum):
    """`finding` opens a problem. `warning` is a figure below its target. `gap` is a missing entry."""

    FINDING = "finding"
    WARNING = "warning"
    GAP = "gap"


class When(msgspec.Struct, frozen=True, kw_only=True):
    """The condition of a finding: any of answers, empty, below, above; and both of overdue, while_no.

    `overdue`: only once the term set for the item has passed. `while_no`: only while one of these items
    is answered `no`.
    """

    answers: tuple[str, ...] = ()
    empty: bool = False
    below: float | None = None
    above: float | None = None
    overdue: bool = False
    while_no: tuple[str, ...] = ()


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """Who gets the finding first: departments, `county` or `township` of `contracts/responsibility`.

    `subject` names the row of the responsibility table that says who leads and who supports; which row
    an item belongs to is our reading. `receivers` get it by default, `one_of` lists alternatives between which
    the dispatcher chooses, `derived_receivers` are those of both that no source names. Empty everywhere
    means: assigned by hand. The county or zone and the township always get it too.
    """

    subject: str | None = None
    receivers: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    derived_receivers: tuple[str, ...] = ()


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer opens. `kind` is missing only for a warning or a gap, which open no problem.

    `outcomes`: if not empty, the only ways it may end. `deduction`: a confirmed finding may cost assessment
    points. `severity` is set only where a source states it. `kind_derived`: the domain names no identifier.
    """

    kind: str | None = None
    effect: Effect = Effect.FINDING
    when: When
    severity: str | None = None
    outcomes: tuple[str, ...] = ()
    deduction: bool = False
    kind_derived: bool = False
    routing: Routing = Routing()


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One question with one answer, found in a record at `answers.<key>`.

    `code` is the row of the domain reference; a row that asks for several values is several items with
    one code. `detail_of` names the item this one only elaborates: if both open a finding, it is one problem.
    `condition` says when the question applies; elsewhere the answer is `na`. `derived`: no source of
    this jurisdiction asks for it. `outside_sources`: public knowledge, never to be shown as a requirement.
    """

    key: str
    code: str
    text: Text
    answer: Answer
    group: str | None = None
    detail_of: str | None = None
    condition: Text | None = None
    evidence: Evidence = Evidence()
    finding: Finding | None = None
    note: Text | None = None
    sources: tuple[Source, ...] = ()
    derived: bool = False
    outside_sources: bool = False


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Items that belong together under a name of their own, such as the six 100%."""

    key: str
    text: Text
    sources: tuple[Source, ...] = ()


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """A time of closer watch. `months` 1-12 in order; empty where no source gives dates."""

    key: str
    text: Text
    months: tuple[int, ...] = ()
    sources: tuple[Source, ...] = ()
    derived: bool = False


class Season(msgspec.Struct, frozen=True, kw_only=True):
    """When the subject is patrolled. A peak raises the frequency, it never lifts the rule elsewhere."""

    text: Text
    peaks: tuple[Peak, ...] = ()
    sources: tuple[Source, ...] = ()
    derived: bool = False


class Precision(str, Enum):
    """How exactly the source gives the date; `due_on` is the last day of that month or year."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"


class Applies(msgspec.Struct, frozen=True, kw_only=True):
    """Only for checks in which `item` has one of `answers`."""

    item: str
    answers: tuple[str, ...]


class Deadline(msgspec.Struct, frozen=True, kw_only=True):
    """A date a source sets. `applies` missing: for every object of the checklist."""

    key: str
    text: Text
    due_on: date
    precision: Precision
    applies: Applies | None = None
    sources: tuple[Source, ...] = ()
    derived: bool = False


class Checklist(msgspec.Struct, frozen=True, kw_only=True):
    """A published definition.

    `objects`: kinds of inspected object. `valid_from`: issue date of the latest source cited, missing
    where the source carries no date. `protection_zone`: every check records the Qinling zone of its place.
    `position_at_start`: every check records where it began (derived, as all evidence).
    """

    slug: str
    jurisdiction: str
    version: int
    variant: str | None = None
    title: Text
    objects: tuple[str, ...]
    valid_from: date | None = None
    protection_zone: bool = False
    position_at_start: bool = True
    season: Season | None = None
    deadlines: tuple[Deadline, ...] = ()
    note: Text | None = None
    groups: tuple[Group, ...] = ()
    items: tuple[Item, ...]

    @property
    def id(self) -> str:
        return f"{self.slug}.{self.jurisdiction}"

    @property
    def file_name(self) -> str:
        return f"{self.id}.v{self.version}.json"


@cache
def load_checklists() -> dict[tuple[str, int], Checklist]:
    """Every published definition by (`<slug>.<jurisdiction>`, version). ValueError names the file and the fault."""
    loaded: dict[tuple[str, int], Checklist] = {}
    for path in sorted(CHECKLISTS.glob("*.json")):
        try:
            checklist = decode_checklist(path.read_bytes())
        except (msgspec.DecodeError, ValueError) as error:
            raise ValueError(f"{path.name}: {error}") from error
        if path.name != checklist.file_name:
            raise ValueError(f"{path.name}: its content belongs into {checklist.file_name}")
        loaded[checklist.id, checklist.version] = checklist
    return loaded


def published_json(checklist_id: str, version: int) -> bytes:
    """The definition as published, byte for byte: the only form that is stored and sent. KeyError if unknown."""
    return (CHECKLISTS / load_checklists()[checklist_id, version].file_name).read_bytes()


def decode_checklist(data: bytes) -> Checklist:
    """One definition, complete and consistent in itself, or ValueError with every fault found."""
    checklist = msgspec.json.decode(data, type=Checklist)
    faults = list(faults_of(checklist))
    if faults:
        raise ValueError("; ".join(faults))
    return checklist


def faults_of(checklist: Checklist) -> Iterator[str]:
    """What the types alone cannot refuse; empty for a definition that may be published."""
    keys = [item.key for item in checklist.items]
    yield from (f"item key {key!r} appears twice" for key in sorted({k for k in keys if keys.count(k) > 1}))
    groups = {group.key for group in checklist.groups}
    for item in checklist.items:
        for fault in _item_faults(item, keys, groups):
            yield f"item {item.key!r}: {fault}"
    for deadline in checklist.deadlines:
        if deadline.applies and deadline.applies.item not in keys:
            yield f"deadline {deadline.key!r}: no item {deadline.applies.item!r}"


def _item_faults(item: Item, keys: list[str], groups: Collection[str]) -> Iterator[str]:
    answer, finding = item.answer, item.finding
    if not ITEM_KEY.match(item.key):
        yield f"the key must match {ITEM_KEY.pattern}"
    if item.group is not None and item.group not in groups:
        yield f"no group {item.group!r}"
    if item.detail_of is not None and item.detail_of not in keys[: keys.index(item.key)]:
        yield f"detail of {item.detail_of!r}, which is no earlier item"
    if not item.sources and not item.derived:
        yield "neither a source nor marked derived"
    if (answer.type in CHOICES) != bool(answer.options):
        yield "choices need options, and nothing else has them"
    if (answer.type is AnswerType.NUM) != (answer.unit is not None):
        yield "numbers need a unit, and nothing else has one"
    if finding is None:
        if answer.type is AnswerType.YNN:
            yield "a no must open a finding"
        return
    if finding.effect is Effect.FINDING and not finding.kind:
        yield "a finding needs a kind"
    for unknown in sorted(set(finding.when.answers) - set(_possible_answers(answer))):
        yield f"opens a finding on {unknown!r}, which cannot be answered"
    for unknown in sorted(set(finding.when.while_no) - set(keys)):
        yield f"depends on {unknown!r}, which is no item"


def _possible_answers(answer: Answer) -> tuple[str, ...]:
    if answer.type is AnswerType.YNN:
        return ("yes", "no", "na")
    return tuple(option.key for option in answer.options)


def findings_of(checklist: Checklist, answers: Mapping[str, object], overdue: Collection[str] = ()) -> list[tuple[Item, Finding]]:
    """What a completed check opens, in the order of the items. Total: a mistyped answer opens nothing.

    `overdue`: keys of items whose term has passed at the time of capture; the caller knows the dates.
    """
    found: dict[str, tuple[Item, Finding]] = {}
    for item in checklist.items:
        if item.finding is not None and _opens(item, item.finding.when, answers, overdue):
            found.setdefault(item.detail_of or item.key, (item, item.finding))  # an item and its details: one problem
    return list(found.values())


def _opens(item: Item, when: When, answers: Mapping[str, object], overdue: Collection[str]) -> bool:
    answer = answers.get(item.key)
    if when.overdue and item.key not in overdue:
        return False
    if when.while_no and not any(answers.get(key) == "no" for key in when.while_no):
        return False
    if answer is None or answer in ("", []):
        return when.empty
    if isinstance(answer, list):
        return any(one in when.answers for one in answer)
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        too_low = when.below is not None and answer < when.below
        return too_low or (when.above is not None and answer > when.above)
    return answer in when.answers


def deadlines_of(checklist: Checklist, answers: Mapping[str, object]) -> list[Deadline]:
    """The source's deadlines that bind the object as it was answered, earliest first."""
    binding = [
        deadline
        for deadline in checklist.deadlines
        if deadline.applies is None or answers.get(deadline.applies.item) in deadline.applies.answers
    ]
    return sorted(binding, key=lambda deadline: deadline.due_on)
