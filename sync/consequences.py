"""What follows from a write, in the same transaction: opened problems, followers, duplicates, deletions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from contracts.checklist import Checklist, Finding, Item, findings_of
from contracts.ids import RecordId, problem_id
from contracts.kind import Position
from contracts.kinds.inspection import Inspection
from contracts.kinds.problem import Problem
from contracts.mutation import DELETE, Mutation
from contracts.outcomes import Reason
from contracts.responsibility import route
from contracts.rules import DuplicatesRule
from contracts.stored import read_stored
from contracts.visits import SOURCE_OF_MODE
from sync.answers import bare
from sync.decision import Change, Sender
from sync.duplicates import is_suspect
from sync.keeping import made_as
from sync.places import is_secret, unit_of
from sync.secrecy import noted_on_task, share_sight
from sync.state import DELETION, RecordState, Writer
from sync.tally import Tally
from sync.whereabouts import site_of
from sync.whistles import retold

OPENS_PROBLEMS = frozenset({"inspection.submit", "inspection.amend"})


def consequences_of(
    mutation: Mutation,
    sender: Sender,
    tally: Tally,
    before: RecordState | None,
    after: RecordState,
    changed: Sequence[str],
) -> tuple[Change, ...]:
    """All that follows from `before` becoming `after`; `changed` names the fields that differ."""
    follows: list[Change] = []
    if before is not None and (before.stream, before.deleted) != (after.stream, after.deleted):
        tally.need_family(after.id)
        follows += follow(mutation, sender, tally, after)
    if after.kind == "inspection" and not after.deleted and _is_submitted(mutation, after, changed):
        follows += _opened_problems(mutation, sender, tally, after)
    if after.kind == "inspection" and before is None:
        follows += noted_on_task(mutation, tally, after)
    if after.kind == "whistle" and before is not None:
        follows += retold(mutation, tally, after, changed)
    if after.kind == "problem" and before is None:
        follows += _linked(mutation, tally, after)
    return tuple(follows)


def _writer(mutation: Mutation, sender: Sender, tally: Tally, state: RecordState) -> Writer:
    return Writer(tally.view.incarnation, state.version[1] + 1, sender.device, mutation.n)


# ------------------------------------------------------------------------------------------------ children


def follow(mutation: Mutation, sender: Sender, tally: Tally, parent: RecordState) -> list[Change]:
    """Children move, go and come back with their parent, in its transaction (design.md section 2).

    One that is still on its way home from another county is not here yet: its copy will find the parent where it is.
    """
    return [
        Change(
            after=replace(
                child,
                stream=parent.stream,
                deleted=parent.deleted,
                moved_to=parent.moved_to,
                version=_writer(mutation, sender, tally, child).at,
            ),
            op="follow",
            patch={},
        )
        for child in sorted(tally.records.values(), key=lambda r: r.id)
        if child.parent == parent.id and child.moved_to is None and (child.stream, child.deleted) != (parent.stream, parent.deleted)
    ]


# ------------------------------------------------------------------------------------------------ problems


def _is_submitted(mutation: Mutation, after: RecordState, changed: Sequence[str]) -> bool:
    if mutation.op in OPENS_PROBLEMS:
        return True
    return any(f.startswith("answers.") for f in changed) and after.values.get("state") in ("submitted", "amended")


def answer_values(answers: dict[str, Any]) -> dict[str, object]:
    """Item -> bare answer: `{"value": "no", "note": ...}` and `"no"` say the same."""
    return {key: bare(a) for key, a in answers.items()}


def _opened_problems(mutation: Mutation, sender: Sender, tally: Tally, after: RecordState) -> list[Change]:
    """A `no` opens a problem with an id that every phone would also have given it (contracts/ids.py)."""
    inspection = read_stored(after.body, Inspection)
    ref = inspection.checklist
    checklist = tally.view.checklists.get((f"{ref.slug}.{ref.jurisdiction}", ref.version))
    if checklist is None:
        tally.flag({"checklist": Reason.UNKNOWN_CHECKLIST.value})
        return []
    opened: list[Change] = []
    for item, finding in findings_of(checklist, answer_values(inspection.answers)):
        record = problem_id(after.id, item.key)
        if finding.kind is None or not tally.is_missing(record):
            continue
        body = _problem(inspection, after, checklist, item, finding, sender, tally)
        change = tally.server_made(record, "problem", after.stream, body, mutation.n)
        opened += [change, *_linked(mutation, tally, change.after)]
    return opened


def _problem(
    inspection: Inspection,
    after: RecordState,
    checklist: Checklist,
    item: Item,
    finding: Finding,
    sender: Sender,
    tally: Tally,
) -> Problem:
    answer = inspection.answers.get(item.key)
    note = answer.get("note") if isinstance(answer, dict) else None
    secret = is_secret(after.stream)
    return Problem(
        unit=unit_of(after.stream),
        subject=inspection.subject,
        source=SOURCE_OF_MODE.get("secret_visit" if secret else inspection.visit_mode or "", "patrol"),
        inspection=after.id,
        item=item.key,
        checklist=inspection.checklist,
        site=inspection.site,
        finding=finding.kind,
        title=_title(item, bare(answer)),
        description=str(note)[:4000] if note else "",
        severity=finding.severity,
        position=inspection.position or _position_of_site(inspection, after, tally),
        found_at=inspection.started_at or tally.view.now,
        reported_by=sender.person,
        reported_as=made_as(sender, unit_of(after.stream), tally.captured, tally),
        departments=list(_departments(checklist, finding, tally)),
        secret=secret,
        state="reported",
    )


def _title(item: Item, answer: object) -> str:
    """The question with its answer: “洒水100%” alone reads as if it were so."""
    words = {"yes": "是", "no": "否"} | {option.key: option.text.zh for option in item.answer.options}
    said = answer if isinstance(answer, list) else ["未填" if answer is None else answer]
    told = "、".join(words.get(str(one), str(one)) for one in said)
    return f"{item.text.zh[:150]}：{told}{item.answer.unit or ''}"[:200]


def _position_of_site(inspection: Inspection, after: RecordState, tally: Tally) -> Position | None:
    """Where the inspection says nothing of its own position, it was at its site."""
    site = site_of(tally, after.stream, inspection.site) if inspection.site else None
    found = site.values.get("position") if site is not None else None
    return msgspec.convert(found, Position) if found else None


def _departments(checklist: Checklist, finding: Finding, tally: Tally) -> tuple[str, ...]:
    """Who gets the finding first, by the responsibility table in force today (domain.md 2.5)."""
    view = tally.view
    found = route(view.responsibility, checklist.jurisdiction, finding.kind or "", view.now.date())
    return tuple(dict.fromkeys((*found.lead, *found.receivers)))


def _linked(mutation: Mutation, tally: Tally, new: RecordState) -> list[Change]:
    """Two reports of the same thing are both kept and name each other (a person decides)."""
    rule = tally.view.rules.body(tally.view.county, DuplicatesRule, tally.view.now)
    within = timedelta(days=rule.within_days) if rule else None
    seen = [r for r in tally.records.values() if r.id != new.id and share_sight(new.stream, r.stream)]
    suspects = [r for r in seen if is_suspect(new, r, within)]
    if not suspects:
        return []
    links = [_with_suspects(mutation, tally, new, [r.id for r in suspects])]
    return links + [_with_suspects(mutation, tally, r, [new.id]) for r in suspects]


def _with_suspects(mutation: Mutation, tally: Tally, record: RecordState, others: list[RecordId]) -> Change:
    """Beside those it names already, by an earlier item of the same inspection, too."""
    named = sorted({*tally.latest(record).values.get("suspected_duplicates", []), *(str(o) for o in others)})
    return tally.edited(record, "link", {"suspected_duplicates": named}, mutation.n)


# ------------------------------------------------------------------------------------------------ deletion


def bury(mutation: Mutation, sender: Sender, tally: Tally, state: RecordState) -> tuple[Change, ...]:
    """The record is deleted; its body stays in the database, and its children go and come back with it."""
    writer = _writer(mutation, sender, tally, state)
    after = replace(state, deleted=True, version=writer.at, fields={**state.fields, DELETION: writer})
    return (
        Change(after=after, op=DELETE, patch={}),
        *consequences_of(mutation, sender, tally, state, after, ()),
    )
