"""Who may do what, where: a table over (kind, operation), judged by the duties at the time of capture.

Roles and levels come from domain.md 1.1 and 2.1; where the sources are silent the table is a product decision (decision
0006) and the place to change it is here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum

from contracts.ids import UnitCode
from contracts.people import Duty, Role
from sync.clock import Interval
from sync.places import Places

FIELD = frozenset({Role.GRID_MEMBER, Role.QINLING_GRID_MEMBER, Role.VILLAGE_LEAD})
TOWNSHIP = frozenset({Role.TOWNSHIP_STAFF, Role.TOWNSHIP_LEAD})
DEPARTMENT = frozenset({Role.DEPARTMENT_STAFF, Role.DEPARTMENT_LEAD})
SUPERVISORS = frozenset({Role.COUNTY_SUPERVISOR, Role.CITY_SUPERVISOR})
LEADS = frozenset({Role.TOWNSHIP_LEAD, Role.DEPARTMENT_LEAD}) | SUPERVISORS
ACTIVE = FIELD | TOWNSHIP | DEPARTMENT | SUPERVISORS
OFFICE = TOWNSHIP | SUPERVISORS | {Role.DEPARTMENT_LEAD}
COMMANDERS = SUPERVISORS | {Role.DEPARTMENT_LEAD}  # who draw, pass clues on, and send unannounced visits and disclose them
SERVER_ONLY: frozenset[Role] = frozenset()
LEAVE = "leave"  # not an operation: giving a record to another county, which an edit of its unit does

PERMITTED: dict[tuple[str, str], frozenset[Role]] = {
    ("site", "create"): ACTIVE,
    ("site", "edit"): ACTIVE,
    ("site", "delete"): OFFICE,
    ("task", "create"): OFFICE,
    ("task", "edit"): ACTIVE,
    ("task", "delete"): OFFICE,
    ("task", "task.accept"): ACTIVE,
    ("task", "task.start"): ACTIVE,
    ("task", "task.finish"): ACTIVE,
    ("task", "task.cancel"): OFFICE,
    ("task", "task.reassign"): OFFICE,
    ("task", "task.lapse"): frozenset({Role.SYSTEM}),
    ("task", "task.call_off"): frozenset({Role.SYSTEM}),
    ("task", "task.disclose"): COMMANDERS,
    ("inspection", "create"): ACTIVE,
    ("inspection", "edit"): ACTIVE,
    ("inspection", "delete"): ACTIVE,
    ("inspection", "inspection.submit"): ACTIVE,
    ("inspection", "inspection.amend"): ACTIVE,
    ("problem", "create"): ACTIVE,
    ("problem", "edit"): ACTIVE,
    ("problem", "delete"): OFFICE,
    ("problem", "problem.report"): ACTIVE,
    ("problem", "problem.comment"): ACTIVE,
    ("problem", "problem.verify"): OFFICE,
    ("problem", "problem.not_true"): OFFICE,
    ("problem", "problem.reopen"): OFFICE,
    ("problem", "problem.assign"): OFFICE,
    ("problem", "problem.disclose"): COMMANDERS,
    ("problem", "problem.start"): ACTIVE,
    ("problem", "problem.submit_fix"): ACTIVE,
    ("problem", "problem.fix_on_spot"): ACTIVE,
    ("problem", "problem.return"): OFFICE,
    ("problem", "problem.accept"): OFFICE,
    ("problem", "problem.close_out"): LEADS,
    ("problem", "problem.plan_look_back"): OFFICE,
    ("problem", "problem.look_back"): ACTIVE,
    ("problem", "problem.look_back_failed"): ACTIVE,
    ("problem", "problem.rebound"): OFFICE,
    ("problem", "problem.suspend"): LEADS,
    ("problem", "problem.resume"): LEADS,
    ("problem", "problem.extend"): LEADS,
    ("problem", "problem.penalize"): OFFICE | DEPARTMENT,
    ("problem", "problem.remind"): OFFICE,
    ("problem", "problem.supervise_on_site"): OFFICE,
    ("problem", "problem.list"): SUPERVISORS,
    ("problem", "problem.unlist"): SUPERVISORS,
    ("problem", "problem.feed_back"): OFFICE,
    ("problem", "problem.link"): ACTIVE,
    ("problem", "problem.unlink"): OFFICE,
    ("problem", "problem.suspect"): frozenset({Role.SYSTEM}),
    ("assignment", "problem.start"): DEPARTMENT | TOWNSHIP | FIELD,
    ("assignment", "problem.submit_fix"): DEPARTMENT | TOWNSHIP | FIELD,
    ("assignment", "problem.comment"): DEPARTMENT | TOWNSHIP | FIELD,
    ("assignment", "problem.penalize"): DEPARTMENT,
    ("whistle", "create"): FIELD | TOWNSHIP,
    ("whistle", "edit"): FIELD | TOWNSHIP,
    ("whistle", "whistle.blow"): TOWNSHIP,
    ("whistle", "whistle.decline"): TOWNSHIP,
    ("whistle", "whistle.withdraw"): TOWNSHIP,
    ("whistle", "whistle.confirm"): TOWNSHIP,
    ("whistle", "whistle.send_back"): TOWNSHIP,
    ("whistle", "whistle.insist"): TOWNSHIP,
    ("whistle", "whistle.release"): TOWNSHIP,
    ("whistle", "whistle.call"): TOWNSHIP,
    ("whistle", "whistle.reroute"): TOWNSHIP,
    ("whistle", "whistle.feed_back"): TOWNSHIP,
    ("whistle", "whistle.close"): TOWNSHIP,
    ("whistle", "whistle.comment"): ACTIVE,
    ("summons", "summons.sign"): DEPARTMENT,
    ("summons", "summons.contact"): DEPARTMENT,
    ("summons", "summons.report_in"): DEPARTMENT,
    ("summons", "summons.result"): DEPARTMENT,
    ("summons", "summons.refuse"): frozenset({Role.DEPARTMENT_LEAD}),
    ("summons", "summons.correct_terms"): frozenset({Role.SYSTEM}),
    ("summons", "summons.comment"): DEPARTMENT,
    ("supervision", "create"): SUPERVISORS,
    ("supervision", "edit"): SUPERVISORS,
    ("supervision", "supervision.acknowledge"): TOWNSHIP | DEPARTMENT | SUPERVISORS,
    ("supervision", "supervision.answer"): LEADS,
    ("supervision", "supervision.reject_answer"): SUPERVISORS,
    ("supervision", "supervision.lift"): SUPERVISORS,
    ("supervision", "supervision.correct_term"): frozenset({Role.SYSTEM}),
    ("supervision", "supervision.comment"): ACTIVE,
    # of departments enforcement information alone (sync/clues.py)
    ("transfer", "create"): SUPERVISORS | DEPARTMENT,
    ("transfer", "edit"): SUPERVISORS | DEPARTMENT,
    ("transfer", "transfer.approve"): COMMANDERS,
    ("transfer", "transfer.decline"): COMMANDERS,
    ("transfer", "transfer.send"): COMMANDERS,
    ("transfer", "transfer.receive"): SUPERVISORS | DEPARTMENT,
    ("transfer", "transfer.return_result"): SUPERVISORS | DEPARTMENT,
    ("transfer", "transfer.comment"): SUPERVISORS | DEPARTMENT,
    ("handover", "transfer.receive"): DEPARTMENT,
    ("handover", "transfer.return_result"): DEPARTMENT,
    ("handover", "transfer.comment"): DEPARTMENT,
    ("draw", "create"): COMMANDERS,
    ("draw", "draw.commit"): COMMANDERS,
    ("draw", "draw.seed"): frozenset({Role.AUDITOR}),  # the second party: whoever draws must not be able to
    ("draw", "draw.draw"): COMMANDERS,
    ("draw", "draw.fail"): COMMANDERS,
    ("draw", "draw.depart"): COMMANDERS,
    ("draw", "draw.disclose"): COMMANDERS,
    ("draw", "draw.cancel"): COMMANDERS,
    ("photo", "create"): ACTIVE,
    ("photo", "edit"): ACTIVE,
    ("notice", "create"): OFFICE,
    ("notice", "edit"): OFFICE,
    ("notice", "notice.acknowledge"): ACTIVE,
    ("notice", "notice.withdraw"): OFFICE,
    ("plan", "create"): OFFICE,
    ("plan", "edit"): OFFICE,
    ("plan", "plan.start"): OFFICE,
    ("plan", "plan.revise"): OFFICE,
    ("plan", "plan.end"): OFFICE,
    ("response", "create"): SUPERVISORS,
    ("response", "edit"): SUPERVISORS,
    ("response", "response.start"): SUPERVISORS,
    ("response", "response.respond"): SUPERVISORS,
    ("response", "response.lift"): SUPERVISORS,
    ("response", "response.forecast"): SUPERVISORS,
    ("response", "response.track"): SUPERVISORS,
    ("response", "response.evaluate"): SUPERVISORS,
    ("campaign", "create"): SUPERVISORS | DEPARTMENT,
    ("campaign", "edit"): SUPERVISORS | DEPARTMENT,
    ("campaign", "campaign.finish"): SUPERVISORS | DEPARTMENT,
    ("campaign", "campaign.cancel"): COMMANDERS,
    ("activity", "create"): ACTIVE,
    ("activity", "edit"): ACTIVE,
    ("activity", "delete"): OFFICE,
    ("conflict", "conflict.settle"): OFFICE,
    ("site", LEAVE): OFFICE,
    ("task", LEAVE): OFFICE,
    ("inspection", LEAVE): OFFICE,
    ("problem", LEAVE): OFFICE,
}


class Verdict(Enum):
    """Whether a person may, on the evidence of duties and capture interval."""

    YES = "yes"
    FLAGGED = "flagged"  # a duty covers only part of the interval in which it may have been captured (decision 0022: sync/standing.py)
    WRONG_ROLE = "wrong_role"
    NO_DUTY = "no_duty"

    @property
    def is_yes(self) -> bool:
        return self in (Verdict.YES, Verdict.FLAGGED)


def who_may(kind: str, op: str) -> list[str]:
    """The roles that may do it: part of every refusal."""
    return sorted(role.value for role in PERMITTED.get((kind, op), SERVER_ONLY))


def may(duties: Iterable[Duty], places: Places, kind: str, op: str, unit: UnitCode, when: Interval) -> Verdict:
    """Judge one operation on a record of `unit`, captured within `when`."""
    return judge(duties, places, PERMITTED.get((kind, op), SERVER_ONLY), unit, when)


def judge(duties: Iterable[Duty], places: Places, roles: Collection[Role], unit: UnitCode, when: Interval) -> Verdict:
    """Judge by duties what only these roles may do on a record of `unit`, captured within `when`."""
    verdict = Verdict.NO_DUTY
    for duty in duties:
        if duty.role is Role.SYSTEM:
            return Verdict.YES
        if not places.covers(duty.unit, unit):
            continue
        part, whole = _overlap(duty, when)
        if part and duty.role not in roles:
            verdict = Verdict.WRONG_ROLE if verdict is Verdict.NO_DUTY else verdict
        elif whole:
            return Verdict.YES
        elif part:
            verdict = Verdict.FLAGGED
    return verdict


def movers(kind: str, op: str) -> frozenset[Role]:
    """Who may move a record to where they have no duty: what leaves its author's hands is office work."""
    return PERMITTED.get((kind, LEAVE)) or PERMITTED.get((kind, op), SERVER_ONLY) & OFFICE


def has_ended(duty: Duty, now_ms: int) -> bool:
    return duty.ends is not None and duty.ends.timestamp() * 1000 <= now_ms


def holds_within(duty: Duty, when: Interval) -> bool:
    """Whether the duty was held in some of the interval."""
    return _overlap(duty, when)[0]


def holds_surely(duty: Duty, when: Interval, now_ms: int) -> bool:
    """Whether the duty was held in all of the interval, or in some of it and is held now."""
    part, whole = _overlap(duty, when)
    return whole or (part and not has_ended(duty, now_ms))


def _overlap(duty: Duty, when: Interval) -> tuple[bool, bool]:
    """(the duty covers some of the interval, it covers all of it)."""
    starts = duty.starts.timestamp() * 1000
    ends = duty.ends.timestamp() * 1000 if duty.ends else float("inf")
    part = starts <= when.end_ms and when.start_ms < ends
    return part, part and starts <= when.start_ms and when.end_ms < ends
