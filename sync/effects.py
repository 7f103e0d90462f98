"""What a command does to other records, in the same transaction; named in the tables of sync/machines.py.

An effect answers with changes, or with a refusal that undoes the command. It reads what `merge` says the record becomes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sync.carrying_out import Situation
from sync.consequences import settle
from sync.decision import Change, Refuse
from sync.disclosure import disclose_problem, disclose_visit
from sync.merge import Merge
from sync.whistles import act_on_summons, call_more, dismiss, reroute, summon, tell_whistle

Effect: TypeAlias = Callable[[Situation, Merge], tuple[Change, ...] | Refuse]


def settle_conflict(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    return settle(s.mutation, s.sender, s.tally, merge)


EFFECTS: dict[str, Effect] = {
    "settle_conflict": settle_conflict,
    "summon": summon,
    "tell_whistle": tell_whistle,
    "act_on_summons": act_on_summons,
    "call_more": call_more,
    "reroute": reroute,
    "dismiss": dismiss,
    "disclose_visit": disclose_visit,
    "disclose_problem": disclose_problem,
}
