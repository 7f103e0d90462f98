"""What a command does to other records, in the same transaction; named in the tables of sync/machines.py.

An effect answers with changes, or with a refusal that undoes the command. It reads what `merge` says the record becomes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sync.assigning import call_units, every_part
from sync.clues import hand_over
from sync.decision import Change, Refuse
from sync.disclosure import disclose_problem, disclose_visit
from sync.links import link, suspect, unlink
from sync.merge import Merge
from sync.settlement import settle
from sync.situation import Situation
from sync.whistles import act_on_summons, call_more, dismiss, reroute, summon, tell_whistle

Effect: TypeAlias = Callable[[Situation, Merge], tuple[Change, ...] | Refuse]


EFFECTS: dict[str, Effect] = {
    "settle_conflict": settle,
    "call_units": call_units,
    "every_part": every_part,
    "hand_over": hand_over,
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
