"""Promise 11, of what was closed out: every fix that stands was shown by a picture whose bytes the server had noted by then."""

from collections.abc import Iterator

from tests.simulator.testimony import ACCEPTED, JournalRow, Json, ServerRecord, ServerView, Violation

PROMISE = 11
SUBMITS, SENT_BACK, CLOSES = ("problem.submit_fix",), ("problem.return", "problem.rebound"), "problem.close_out"
NOTE = b'"received_at"'

Place = tuple[str, int]  # a stream and a place in it


def judge_evidence(server: ServerView) -> Iterator[Violation]:
    noted = _noted(server)
    closed = {row.mutation: row for row in server.journal if row.op == CLOSES and row.what == "mutation" and row.outcome in ACCEPTED}
    for problem in server.records.values():
        if problem.kind == "problem" and problem.moved_to is None and not problem.deleted:
            yield from _closed_out(problem, closed, noted)


def _closed_out(problem: ServerRecord, closed: dict[str | None, JournalRow], noted: dict[str, list[Place]]) -> Iterator[Violation]:
    """Each close-out of its story, beside the submissions since it was last sent back."""
    standing: dict[str, set[str]] = {}  # whose part -> the pictures it showed last
    for step in problem.body.get("steps") or []:
        if step["command"] in SENT_BACK:
            standing = {}
        elif step["command"] in SUBMITS:
            standing |= dict.fromkeys((step.get("sets") or {}).get("handed_in") or [""], _photos(step))
        elif step["command"] == CLOSES and (row := closed.get(step.get("id"))) is not None:
            parts = {key: photos for key, photos in standing.items() if key} or standing
            shown = [_photos(step)] if _is_there(_photos(step), row, noted) else parts.values()
            if not all(_is_there(photos, row, noted) for photos in shown):
                yield Violation(PROMISE, "it was closed out before the picture of its fix had arrived", problem.id)


def _photos(step: dict[str, Json]) -> set[str]:
    return set((step.get("args") or {}).get("photos") or [])


def _is_there(photos: set[str], closed: JournalRow, noted: dict[str, list[Place]]) -> bool:
    """Somewhere before it; what was noted in another stream, from which the problem has moved since, cannot be compared and passes."""
    places = [place for photo in photos for place in noted.get(photo, [])]
    return bool(places) and any(stream != closed.stream or seq < (closed.seq or 0) for stream, seq in _beside(places, closed.stream))


def _beside(places: list[Place], stream: str | None) -> list[Place]:
    return [place for place in places if place[0] == stream] or places


def _noted(server: ServerView) -> dict[str, list[Place]]:
    """Photo -> where it was noted that its bytes are here: in its own stream, and in those of its mirrors."""
    notes = {(r.county, r.device, r.n): r.record for r in server.journal if r.what == "mutation" and r.raw and NOTE in r.raw}
    found: dict[str, list[Place]] = {}
    for row in server.journal:
        photo = notes.get((row.county, row.device, row.n))
        if photo is not None and row.stream is not None and row.seq is not None:
            found.setdefault(photo, []).append((row.stream, row.seq))
    return found
