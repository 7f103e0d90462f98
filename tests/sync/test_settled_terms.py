"""What a supervisor settles on is judged by every guard of the commands that set the field, as far as it is about the value."""

from datetime import date
from typing import Any, Final

import pytest
from msgspec.structs import replace

from contracts.mutation import CREATE
from contracts.outcomes import MutationOutcome, Outcome, Reason
from contracts.people import Role
from sync.machines import MACHINES
from sync.places import Places
from sync.settlement import GUARDS_OF
from tests.builders import a_mutation, a_sender, an_id, arrived
from tests.county import TOWNSHIP, UNITS, VILLAGE_A, VILLAGE_B
from tests.sync.pretend_county import PretendCounty

PLAN = an_id(101)
DAILY: dict[str, Any] = {"rule": "FREQ=DAILY", "from_on": "2026-11-20", "units": [VILLAGE_A]}
# Who gives the command, when in the life of the record, or what else it brings: none of it is in the value.
NOT_OF_THE_VALUE: Final = {
    "no_secret",
    "has_deadline",
    "not_the_submitter",
    "not_the_answerer",
    "evidence_here",
    "site_checked",
    "days_in_order",
    "days_over",
    "reported_in",
    "refused_at_most_once",
}


def test_every_guard_about_the_value_of_a_field_is_asked_of_a_settlement_too() -> None:
    asked = {guard for guards in GUARDS_OF.values() for guard in guards}
    setting = [t for kind, table in MACHINES.items() if kind != "draw" for t in table.values() if t.sets]  # a draw is never in conflict
    assert {guard for t in setting for guard in t.guards} - asked == NOT_OF_THE_VALUE
    for field, guards in GUARDS_OF.items():
        together = {guard for t in setting if field in t.sets for guard in t.guards if t.sets == {field}}
        assert together - NOT_OF_THE_VALUE <= set(guards), field


def settled(terms: dict[str, Any], *, waits: bool = True) -> MutationOutcome:
    """Two offices revise a plan offline from each other; what the supervisor then gives as a third."""
    places = Places([replace(unit, closed_on=date(2026, 11, 1)) if unit.code == VILLAGE_B else unit for unit in UNITS])
    county = PretendCounty(places)
    first, second = a_sender(1), a_sender(2)

    def push(n: int, sender: Any, op: str, **given: Any) -> MutationOutcome:
        record, kind = given.pop("record", PLAN), given.pop("kind", "plan")
        (outcome,) = county.push(sender, [arrived(a_mutation(n, record, kind, op, **given))]).outcomes
        return outcome

    push(1, first, CREATE, body={"unit": TOWNSHIP, "title": "巡查"})
    push(2, first, "plan.start", base=(1, 1), fields={"terms": (None, DAILY)})
    base = county.records[PLAN].version
    for sender, note in ((first, "甲"), (second, "乙")):
        push(3, sender, "plan.revise", base=base, fields={"terms": (DAILY, DAILY | {"note": note})}, args={"reason": note})
    (conflict,) = [record for record in county.records.values() if record.kind == "conflict"]
    supervisor = replace(a_sender(3, Role.TOWNSHIP_LEAD, TOWNSHIP), waits=waits)
    given = {"choice": "other", "value": DAILY | terms}
    return push(1, supervisor, "conflict.settle", record=conflict.id, kind="conflict", base=conflict.version, args=given)


@pytest.mark.parametrize(
    ("terms", "lacks"),
    [({"seasons": ["nobody_published"]}, "seasons_known"), ({"units": [VILLAGE_B]}, "units_open"), ({"units": ["6109"]}, "units_below")],
)
def test_terms_that_a_revision_could_not_have_are_not_settled_on(terms: dict[str, Any], lacks: str) -> None:
    outcome = settled(terms)
    assert (outcome.outcome, outcome.reason, (outcome.detail or {})["needs"]) == (Outcome.REJECTED, Reason.INCOMPLETE, [lacks])
    assert settled({}).outcome is Outcome.APPLIED
