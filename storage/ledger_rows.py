"""What a record is in its ledger: the row of the read model, computed from the body alone (table ledger_entry).

A kind that shall be listed has one line in `LISTED`; what is not named there is in no ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

import msgspec

from contracts.kinds import KINDS
from contracts.subjects import unknown_subjects
from storage.ledger_words import folded, words_of
from sync.rules import end_of
from sync.state import RecordState

NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)  # where there is no deadline; `due` then sorts last
INTEGER_MAX: Final = 2**31 - 1


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind is listed. Names are fields of its body.

    shown     the field that holds the values, for a projection; None: the body itself
    closed    words of `state` that need nobody any more
    owed      fields that keep it open in any state, while they are true
    signed    (asks for it, has it): open only while it asks for a signature and nobody has signed
    due       deadlines by state: the first that is set counts; a state that is not named has the deadlines of "*"
    about     the record it belongs to; `also_about`: where there is none
    tagged    fields whose values can be filtered by; a list gives a tag for each
    years     a filter's word -> the day whose year it asks for
    searched  fields that text is looked for in
    """

    shown: str | None = None
    state: str = "state"
    closed: frozenset[str] = frozenset()
    owed: tuple[str, ...] = ()
    signed: tuple[str, str] | None = None
    due: Mapping[str, tuple[str, ...]] = {}
    found: tuple[str, ...] = ()
    about: str | None = None
    also_about: str | None = None
    tagged: tuple[str, ...] = ()
    years: Mapping[str, str] = {}
    title: str = "title"
    searched: tuple[str, ...] = ()


_PROBLEM: Final = Listed(
    closed=frozenset({"not_true", "closed_out", "look_back_passed"}),
    due={"suspended": ("suspended_until",), "*": ("due_on",)},  # what is suspended is not overdue before its limit has passed
    found=("found_at",),
    tagged=(
        "subject",
        "source",
        "source_batch",
        "finding",
        "severity",
        "ledgers",
        "leads",
        "supporting",
        "departments",
        "site",
        "item",
        "listed_level",
        "look_back_result",
        "feedback_owed",
    ),
    years={"closed_year": "closed_on"},
    searched=("title", "description", "source_number", "source_body", "measures"),
)

LISTED: Final[Mapping[str, Listed]] = {
    "problem": _PROBLEM,
    "assignment": msgspec.structs.replace(_PROBLEM, shown="shown", about="problem"),
    "whistle": Listed(
        closed=frozenset({"closed", "declined", "withdrawn"}),
        owed=("feedback_owed",),
        due={"*": ("due_at",)},
        found=("blown_at",),
        about="problem",
        tagged=("subject", "site", "called", "optional", "feedback_owed"),
        searched=("title", "text"),
    ),
    "summons": Listed(
        closed=frozenset({"resulted", "confirmed", "cancelled"}),
        due={
            "called": ("sign_due_at", "report_in_due_at", "result_due_at"),
            "signed": ("report_in_due_at", "result_due_at"),
            "reported_in": ("result_due_at",),
        },
        found=("called_at",),
        about="whistle",
        tagged=("site", "problem"),
        searched=("title", "text"),
    ),
    "supervision": Listed(
        closed=frozenset({"lifted"}),
        due={"*": ("due_at",)},
        found=("issued_at",),
        about="subject_record",
        tagged=("colour", "subject_kind", "issued_by_unit", "lifted_because"),
        searched=("title", "text"),
    ),
    "task": Listed(
        closed=frozenset({"finished", "cancelled"}),
        due={"*": ("due_on",)},
        about="origin",
        tagged=("subject", "sites", "assignee"),
        searched=("title", "note", "result"),
    ),
    "inspection": Listed(
        closed=frozenset({"submitted", "amended"}),
        found=("started_at",),
        about="task",
        tagged=("subject", "site", "visit_mode", "inspectors"),
        title="subject",
        searched=("note",),
    ),
    "site": Listed(
        state="status",
        closed=frozenset({"closed"}),
        tagged=("subjects", "protection_zone", "tags"),
        title="name",
        searched=("name", "address", "contact", "note"),
    ),
    "transfer": Listed(
        closed=frozenset({"declined", "result_returned"}),
        about="problem",
        also_about="whistle",
        tagged=("flow", "receiver"),
        searched=("title", "text"),
    ),
    "handover": Listed(
        closed=frozenset({"result_returned"}),
        about="transfer",
        tagged=("flow",),
        searched=("title", "text"),
    ),
    "notice": Listed(
        closed=frozenset({"withdrawn"}),
        signed=("needs_acknowledgement", "acknowledged_by"),
        due={"published": ("acknowledge_by",)},
        found=("published_at",),
        about="subject_record",
        tagged=("category", "letter", "sent_by_unit"),
        searched=("title", "text"),
    ),
    "plan": Listed(closed=frozenset({"ended"}), searched=("title", "note")),
    "response": Listed(closed=frozenset({"lifted", "evaluated"}), tagged=("sites",), searched=("title", "level", "order_number", "note")),
    "campaign": Listed(
        closed=frozenset({"held", "cancelled"}),
        due={"*": ("ends_on",)},
        found=("starts_on",),
        tagged=("category",),
        searched=("title", "place", "result", "note"),
    ),
    "activity": Listed(found=("held_on",), about="subject_record", tagged=("topic",), searched=("title", "place", "text")),
    "conflict": Listed(closed=frozenset({"settled"}), found=("opened_at",), about="record", title="record_title"),
}
# A filter's word, where the field has another: one filter serves several kinds.
TAG_NAMES: Final[Mapping[str, str]] = {
    "subjects": "subject",
    "ledgers": "ledger",
    "sites": "site",
    "leads": "lead",
    "called": "lead",
    "optional": "supporting",
    "tags": "tag",
    "inspectors": "inspector",
    "departments": "suggested",
}


def ledger_arguments(records: Iterable[RecordState]) -> tuple[list[tuple[Any, ...]], list[UUID]]:
    """(p_rows, p_gone) of SQL function ledger_write, for the records of one push."""
    rows, gone = [], []
    for record in records:
        if record.kind in LISTED:
            if record.deleted:
                gone.append(record.id)
            else:
                values = msgspec.structs.asdict(_reader(record.kind).decode(record.body))
                rows.append(ledger_row(record.id, record.kind, record.stream, values))
    return rows, gone


@cache
def _reader(kind: str) -> msgspec.json.Decoder[Any]:
    """Reads the fields that the ledger looks at and no others: every push of every record pays for this."""
    listed = LISTED[kind]
    due = (name for names in listed.due.values() for name in names)
    kept = {*listed.owed, *(listed.signed or ())}
    inner = {
        *kept,
        listed.state,
        listed.title,
        "site",
        "colour",
        "returns",
        "rebounds",
        *due,
        *listed.found,
        *listed.tagged,
        *listed.years.values(),
        *listed.searched,
    }
    outer: set[str | None] = {listed.shown} if listed.shown else {*inner}
    named = sorted(name for name in {*outer, listed.about, listed.also_about} if name is not None)
    return msgspec.json.Decoder(msgspec.defstruct(f"Listed_{kind}", [(name, Any, None) for name in named]))


def ledger_row(record: UUID, kind: str, stream: str, body: Mapping[str, Any], changed_at: datetime | None = None) -> tuple[Any, ...]:
    """One row, in the order of type ledger_row. Total: whatever a newer app put into a field makes no row impossible."""
    listed = LISTED[kind]
    values = body.get(listed.shown) if listed.shown else body
    values = values if isinstance(values, Mapping) else {}
    state = _text(values.get(listed.state)) or _first_state(kind)
    text = folded(" ".join(_text(values.get(name)) for name in listed.searched))
    return (
        record,
        kind,
        stream,
        _is_open(listed, state, values),
        _due(listed, state, values),
        next((moment for name in listed.found if (moment := _moment(values.get(name)))), None),
        changed_at,
        next((found for name in (listed.about, listed.also_about) if name and (found := _id(body.get(name)))), None),
        _id(values.get("site")),
        _text(values.get("colour")) or None,
        _count(values.get("returns")),
        _count(values.get("rebounds")),
        _text(values.get(listed.title))[:200],
        _tags(listed, state, values),
        words_of(kind, text),
        text,
    )


@cache
def _first_state(kind: str) -> str:
    """What a body means that does not say its state."""
    default = next((f.default for f in msgspec.structs.fields(KINDS[kind].body) if f.name == LISTED[kind].state), None)
    return _text(default)


def _is_open(listed: Listed, state: str, values: Mapping[str, Any]) -> bool:
    if any(values.get(name) is True for name in listed.owed):
        return True
    if listed.signed is not None and not (values.get(listed.signed[0]) is True and not values.get(listed.signed[1])):
        return False
    return state not in listed.closed


def tag(name: str, value: Any) -> str:
    return f"{name}:{value}"


def _tags(listed: Listed, state: str, values: Mapping[str, Any]) -> list[str]:
    tags = {tag("state", state)}
    for name in listed.tagged:
        value = values.get(name)
        words = value if isinstance(value, list) else [value]
        tags |= {tag(TAG_NAMES.get(name, name), _text(word)) for word in words if _text(word)}
        if name in ("subject", "subjects") and unknown_subjects(words):
            tags.add(tag("subject_unknown", True))
    tags |= {tag(word, day[:4]) for word, name in listed.years.items() if (day := _text(values.get(name)))}
    return sorted(tags)


def _due(listed: Listed, state: str, values: Mapping[str, Any]) -> datetime:
    for name in listed.due.get(state, listed.due.get("*", ())):
        moment = _moment(values.get(name))
        if moment is not None:
            return moment
    return NEVER


def _moment(value: Any) -> datetime | None:
    """A moment; of a day, when it has passed. None for whatever is neither."""
    if not isinstance(value, str):
        return None
    try:
        if len(value) == len("2026-01-01"):
            return end_of(date.fromisoformat(value))
        moment = datetime.fromisoformat(value)
        return min(moment.astimezone(UTC), NEVER) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _id(value: Any) -> UUID | None:
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None


def _count(value: Any) -> int:
    return min(max(value, 0), INTEGER_MAX) if isinstance(value, int) else 0


def _text(value: Any) -> str:
    """What PostgreSQL takes as text: no NUL, no half of a surrogate pair."""
    if isinstance(value, str) and value.isascii() and "\x00" not in value:
        return value  # most are codes, and this is called for every tag of every record pushed
    if not isinstance(value, (str, int, float)):
        return ""
    return str(value).replace("\x00", "").encode(errors="replace").decode()
