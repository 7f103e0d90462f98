"""为什么发这张督办单: the answer to "why is this red?", with rule version, facts and moments, for whoever may see the letter."""

from __future__ import annotations

import uuid
from typing import Final

from litestar import Router, get
from litestar.params import FromPath

from api.auth import LIMITED
from api.dependencies import GivenCaller, GivenNow, GivenPlaces, GivenResources
from api.ledgers import streams_in_force
from contracts.ids import County, RecordId
from contracts.kinds.supervision import Supervision
from contracts.office import Why, WhyLetter
from contracts.problems import Problem, ProblemCode
from contracts.rules import RuleName, RuleVersion
from contracts.stored import read_stored
from storage.pool import snapshot
from storage.rules import load_rules
from storage.story import fetch_record
from sync.colours import ORDER, grounds_of
from sync.places import Places
from sync.rules import RuleBook
from sync.why import reasons


@get("/supervisions/{county:int}/{record:uuid}/why", opt=LIMITED, summary="督办依据 · Why was this letter issued?")
async def tell_why(
    county: FromPath[County],
    record: FromPath[uuid.UUID],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
) -> Why:
    """The letter and those it followed, oldest first, in sentences; with the rule version each was issued under."""
    streams = [stream for stream, c in streams_in_force(caller, places, now).items() if c == county]
    book = (await resources.units.reference()).rules
    letters: list[WhyLetter] = []
    wanted: RecordId | None = record
    async with snapshot(resources.pool) as conn:
        while wanted is not None and len(letters) < len(ORDER):
            found = await fetch_record(conn, county, wanted, streams)
            if found is None or found.kind != "supervision":
                break
            letter = read_stored(bytes(found.body), Supervision)
            if grounds_of(letter) is not None and rule_of(letter, book) is None:
                book = await load_rules(conn)  # published so lately that this process does not know of it
            letters.insert(0, told(wanted, letter, book, places))
            wanted = letter.previous
    if not letters:
        raise Problem(ProblemCode.NOT_FOUND)
    return Why(county=county, letters=letters)


def told(record: RecordId, letter: Supervision, book: RuleBook, places: Places) -> WhyLetter:
    known = (places.units.get(code) for code in (letter.unit, letter.issued_by_unit))
    names = {unit.code: unit.name for unit in known if unit is not None}
    rule = rule_of(letter, book)
    return WhyLetter(
        id=record, colour=letter.colour, state=letter.state, grounds=letter.grounds, rule=rule, sentences=reasons(letter, rule, names)
    )


def rule_of(letter: Supervision, book: RuleBook) -> RuleVersion | None:
    """The version it was issued under; versions are never edited, so it says what it said then."""
    grounds = grounds_of(letter)
    if grounds is None:
        return None
    return next((v for v in book.versions(grounds.county, RuleName.COLOURS) if v.version == grounds.version), None)


WHY: Final = Router("/office/v1", route_handlers=[tell_why], tags=["office"])
