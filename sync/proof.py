"""Guards on a problem's proof: what shows that it was fixed, that somebody was there, and that nobody judges his own work."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from contracts.ids import RecordId, projection_id
from contracts.kind import Position
from sync.located import given
from sync.secrecy import share_sight
from sync.situation import STORIED, Situation
from sync.state import RecordState

ON_SPOT: Final = "problem.fix_on_spot"
SUBMITTING: Final = frozenset({"problem.submit_fix", ON_SPOT})
ANSWERING: Final = frozenset({"summons.result", "supervision.answer"})
SENT_BACK: Final = frozenset({"problem.return", "problem.rebound"})
AFTER: Final = ("after",)
BEFORE: Final = ("before", "evidence")
VISITED: Final = ("submitted", "amended")


def photos_of(situation: Situation, values: dict[str, Any], purposes: tuple[str, ...]) -> list[RecordState]:
    """Photos of the problem with one of these purposes: its own, those of units it is assigned to, those beside the item that opened it."""
    tally, record = situation.tally, situation.state.id
    parents = {record, *(projection_id(record, unit) for unit in (*values.get("leads", []), *values.get("supporting", [])))}
    inspection = RecordId(values["inspection"]) if values.get("inspection") and values.get("item") else None
    for parent in (*parents, *((inspection,) if inspection else ())):
        tally.need_family(parent)

    def belongs(photo: RecordState) -> bool:
        return photo.parent in parents or (photo.parent == inspection and photo.values.get("item") == values.get("item"))

    return [
        photo
        for photo in tally.records.values()
        if photo.kind == "photo" and photo.parent is not None and not photo.deleted and belongs(photo)
        if photo.values.get("purpose", "evidence") in purposes
    ]


def _bytes_of(photos: list[RecordState]) -> set[str]:
    return {str(photo.values.get("sha256")) for photo in photos}


def _is_named(photo: RecordState, named: set[str]) -> bool:
    """By its own id, or by that of the photo it mirrors."""
    return not named.isdisjoint({str(photo.id), str(photo.values.get("mirror_of"))})


def _named(args: dict[str, Any]) -> set[str]:
    named = args.get("photos")
    return {str(photo) for photo in named} if isinstance(named, list) else set()


def new_after_photo(situation: Situation, values: dict[str, Any]) -> bool:
    """The submission names a photo of the fixed state whose picture is neither that of the problem nor of an earlier submission.

    Judged by the bytes: the same picture announced again, or shown again beside the problem, is not a new one.
    """
    shown = {photo for step in values.get(STORIED, []) for photo in _shown_by(step)}
    after = photos_of(situation, values, AFTER)
    used = _bytes_of(photos_of(situation, values, BEFORE)) | _bytes_of([photo for photo in after if _is_named(photo, shown)])
    named = _named(situation.mutation.args)
    return bool(_bytes_of([photo for photo in after if _is_named(photo, named)]) - used)


def before_and_after(situation: Situation, values: dict[str, Any]) -> bool:
    """Fixed on the spot: two pictures, of before and of after."""
    before, after = _bytes_of(photos_of(situation, values, BEFORE)), _bytes_of(photos_of(situation, values, AFTER))
    return bool(before) and bool(after - before)


def evidence_here(situation: Situation, values: dict[str, Any]) -> bool:
    """The server holds the bytes that show the fix: a new picture of what each part handed in last, or a newer one that the close-out names.

    Asked at the close-out and not before: whoever accepts was on the place, maybe without signal, while the pictures of others are
    still on their way (docs/decisions/0019). Of what was fixed on the spot, a picture of before, too.
    """
    gone, standing = _submissions(values)
    after, before = photos_of(situation, values, AFTER), photos_of(situation, values, BEFORE)

    def are_here(named: set[str], used: set[str]) -> bool:
        return any(_is_received(photo) and _is_named(photo, named) for photo in after if str(photo.values.get("sha256")) not in used)

    def shown_by(steps: Iterable[dict[str, Any]]) -> set[str]:
        named = {photo for step in steps for photo in _shown_by(step)}
        return _bytes_of(before) | _bytes_of([photo for photo in after if _is_named(photo, named)])

    old = {str(photo.id) for photo in after if not _came_since(photo, values)}
    anew = _named(situation.mutation.args) - old
    was_here = all(any(_is_received(photo) for photo in before) for step in standing if step.get("command") == ON_SPOT)
    return was_here and (
        are_here(anew, shown_by([*gone, *standing])) or all(are_here(_shown_by(step), shown_by(gone)) for step in _parts(standing))
    )


def _parts(standing: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each lead handed in last; where nothing is the part of a lead, what each person did."""
    last: dict[str, dict[str, Any]] = {}
    for step in standing:
        units = step.get("sets", {}).get("handed_in") or ([ON_SPOT] if step.get("command") == ON_SPOT else [])
        last |= dict.fromkeys(units or [str(step.get("by"))], step)
    of_leads = {key: step for key, step in last.items() if key == ON_SPOT or step.get("sets", {}).get("handed_in")}
    return list((of_leads or last).values())


def _came_since(photo: RecordState, values: dict[str, Any]) -> bool:
    """After the fix before it was sent back: what was here then is a picture of that one."""
    back = [str(step.get("at")) for step in values.get(STORIED, []) if step.get("command") in SENT_BACK]
    came = photo.values.get("received_at")
    return came is not None and (not back or datetime.fromisoformat(str(came)) > datetime.fromisoformat(back[-1]))


def _submissions(values: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What was submitted and sent back, and what was submitted since."""
    gone: list[dict[str, Any]] = []
    standing: list[dict[str, Any]] = []
    for step in values.get(STORIED, []):
        if step.get("command") in SENT_BACK:
            gone, standing = [*gone, *standing], []
        elif step.get("command") in SUBMITTING:
            standing.append(step)
    return gone, standing


def _shown_by(step: dict[str, Any]) -> set[str]:
    return _named(step.get("args", {}) | step.get("sets", {}))


def _is_received(photo: RecordState) -> bool:
    return bool(photo.values.get("received_at")) and not photo.values.get("refused")


def after_photos(situation: Situation, values: dict[str, Any]) -> list[str]:
    return sorted(str(photo.id) for photo in photos_of(situation, values, AFTER))


def not_the_submitter(situation: Situation, values: dict[str, Any]) -> bool:
    """Nobody who submitted since it was last sent back, on whatever device and by whatever duty."""
    _, standing = _submissions(values)
    return str(situation.sender.person) not in {values.get("submitted_by"), *(step.get("by") for step in standing)}


def not_the_answerer(situation: Situation, values: dict[str, Any]) -> bool:
    """Whoever gave the answer that stands does not judge it: a department's result on its summons, an addressee's on its letter."""
    answered = _summons_of(situation) if situation.state.kind == "whistle" else values
    gave = [step.get("by") for step in answered.get(STORIED, []) if step.get("command") in ANSWERING]
    return not gave or str(situation.sender.person) != str(gave[-1])


def _summons_of(situation: Situation) -> dict[str, Any]:
    """What the summons of the department named says; of one that there is not, the effect speaks."""
    record = projection_id(situation.state.id, str(situation.mutation.args.get("unit", "")))
    summons = None if situation.tally.is_missing(record) else situation.tally.records.get(record)
    return summons.values if summons is not None else {}


def site_checked(situation: Situation, values: dict[str, Any]) -> bool:
    """Somebody was there: a position, or an inspection of the place that was submitted, other than the one that found it."""
    args = situation.mutation.args
    return _is_position(args.get("position")) or _is_visit(args.get("inspection"), situation, values)


def _is_position(value: object) -> bool:
    try:
        return given(msgspec.convert(value, Position)) is not None
    except msgspec.ValidationError:
        return False


def _is_visit(value: object, situation: Situation, values: dict[str, Any]) -> bool:
    try:
        record = RecordId(str(value))
    except ValueError:
        return False
    if situation.tally.is_missing(record):
        return False
    visit = situation.tally.records.get(record)
    if visit is None:
        return True  # not read yet: it is, and planning begins again
    found = visit.values
    return (
        visit.kind == "inspection"
        and not visit.deleted
        and found.get("state") in VISITED
        and str(record) != values.get("inspection")
        and share_sight(visit.stream, situation.state.stream)
        and values.get("site") in (None, found.get("site"))
    )
