"""What a command does to other records, in the same transaction; named in the tables of sync/machines.py.

An effect answers with changes, or with a refusal that undoes the command. It reads what `merge` says the record becomes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from contracts.outcomes import Reason
from sync.consequences import settle
from sync.decision import Change, Refuse
from sync.disclosure import disclose_problem, disclose_visit
from sync.links import link, suspect, unlink
from sync.merge import Merge
from sync.situation import Situation
from sync.whistles import act_on_summons, call_more, dismiss, reroute, summon, tell_whistle

Effect: TypeAlias = Callable[[Situation, Merge], tuple[Change, ...] | Refuse]


def settle_conflict(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    return settle(s.mutation, s.sender, s.tally, merge)


def call_units(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """Whoever shall fix it is a unit of this county, and will have it on their desk; the projections do the rest."""
    places, named = s.tally.view.places, [*(merge.values.get("leads") or []), *(merge.values.get("supporting") or [])]
    unknown = [unit for unit in named if places.county_of(unit) is None]
    if unknown:
        return Refuse(reason=Reason.UNKNOWN_UNIT, detail={"units": unknown})
    elsewhere = [unit for unit in named if places.county_of(unit) != s.tally.view.county]
    return Refuse(reason=Reason.UNIT_ELSEWHERE, detail={"units": elsewhere}) if elsewhere else ()


EFFECTS: dict[str, Effect] = {
    "settle_conflict": settle_conflict,
    "call_units": call_units,
    "link": link,
    "unlink": unlink,
    "suspect": suspect,
    "summon": summon,
    "tell_whistle": tell_whistle,
    "act_on_summons": act_on_summons,
    "call_more": call_more,
    "reroute": reroute,
    "dismiss": dismiss,
    "disclose_visit": disclose_visit,
    "disclose_problem": disclose_problem,
}
