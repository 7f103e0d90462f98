"""The state machines of all kinds, as data (design.md sections 3.1 and 5).

A transition says from which states a command leads where, which command-only fields it may set, what it needs, which guards
it must pass and what it stamps on the record (sync/carrying_out.py), what it does to other records (sync/effects.py), and
`late_from`: the states in which it is still accepted when the phone could not have seen them. A command that is allowed nowhere is refused with what would be allowed
and who may do it. A new kind with states: one table here.
"""

from __future__ import annotations

from msgspec import Struct

from sync.permission import who_may

ANY = "*"  # every state


BACK = "<"  # `to`: the state that the record was suspended from


class Transition(Struct, frozen=True, kw_only=True):
    """`to` None: the state stays. `sets`: fields with policy `command` that this command may write.

    needs    fields or arguments that must be given and not be empty
    choices  argument -> the words it may be
    """

    command: str
    sources: frozenset[str]
    to: str | None
    late_from: frozenset[str] = frozenset()
    late_stays: bool = False  # accepted late, the state stays what it is
    sets: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    choices: dict[str, frozenset[str]] = {}
    guards: tuple[str, ...] = ()
    stamps: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()

    def accepts(self, state: str) -> bool:
        return state in self.sources or ANY in self.sources


def _t(
    command: str,
    sources: str,
    to: str | None,
    *,
    late_from: str = "",
    late_stays: bool = False,
    sets: str = "",
    needs: str = "",
    choices: dict[str, str] | None = None,
    guards: str = "",
    stamps: str = "",
    effects: str = "",
) -> Transition:
    """Words separated by spaces, so that a machine reads as a table."""
    return Transition(
        command=command,
        sources=frozenset(sources.split()),
        to=to,
        late_from=frozenset(late_from.split()),
        late_stays=late_stays,
        sets=frozenset(sets.split()),
        needs=frozenset(needs.split()),
        choices={name: frozenset(words.split()) for name, words in (choices or {}).items()},
        guards=tuple(guards.split()),
        stamps=tuple(stamps.split()),
        effects=tuple(effects.split()),
    )


_OPEN = "reported verified assigned rectifying submitted accepted suspended"
_UNDER_WAY = "assigned rectifying submitted suspended"  # submitted: the other lead's part may still be to come
DONE = "closed_out look_back_passed"
_UNANSWERED = ("called", "signed", "reported_in", "refused")


_TABLE: dict[str, tuple[Transition, ...]] = {
    "task": (
        # two people may be sent to one place, or one task be given to another while the first is already there: both are kept
        _t("task.accept", "open", "accepted", late_from="accepted started finished", late_stays=True),
        _t("task.start", "open accepted", "started", late_from="started finished", late_stays=True),
        # finished work beats a cancellation, and a second person's result is never turned away
        _t("task.finish", "open accepted started", "finished", late_from="cancelled finished", sets="result"),
        # to another person or unit, with the reason; the other accepts anew
        _t("task.reassign", "open accepted started", "open", needs="reason", guards="to_another"),
        _t("task.cancel", "open accepted started", "cancelled", sets="cancel_reason"),
        # by the server, when its plan was changed or ended: what somebody has accepted stays
        _t("task.lapse", "open", "cancelled", sets="cancel_reason"),
        # by the server, when the response was lifted: what somebody has begun stays
        _t("task.call_off", "open accepted", "cancelled", sets="cancel_reason"),
        # an unannounced visit is over: what was found goes to the inspected units (sync/disclosure.py)
        _t("task.disclose", "finished cancelled", None, guards="still_secret", stamps="disclosed", effects="disclose_visit"),
    ),
    "inspection": (
        _t("inspection.submit", "draft", "submitted", late_from="submitted amended", late_stays=True, stamps="submitted recorded"),
        _t("inspection.amend", "submitted amended", "amended"),
    ),
    "problem": (
        _t("problem.report", "draft", "reported", late_from="reported", late_stays=True),
        _t("problem.comment", ANY, None),
        _t("problem.verify", "reported", "verified"),
        _t("problem.not_true", "reported verified", "not_true", needs="reason", stamps="answered"),
        _t("problem.reopen", "not_true", "reported", needs="reason"),
        # Rule 1: an assigned problem has a deadline. Two leads are possible (domain.md 2.5).
        _t(
            "problem.assign",
            "reported verified assigned rectifying",
            "assigned",
            sets="due_on leads supporting",
            needs="due_on leads",
            guards="no_secret each_unit_once deadline_ahead",
            effects="call_units",
        ),
        # found by an unannounced visit: it becomes a problem of the inspected unit, with its history
        _t("problem.disclose", ANY, None, needs="unit", guards="still_secret", effects="disclose_problem"),
        _t("problem.start", "assigned", "rectifying", late_from="rectifying submitted", late_stays=True),
        # of two leads each hands in its part: what is submitted may be added to
        _t(
            "problem.submit_fix",
            "assigned rectifying submitted",
            "submitted",
            late_from="suspended",
            guards="new_after_photo",
            stamps="submitter",
        ),
        # Rule 5: fixed on the spot is still an entry, with before and after photos.
        _t("problem.fix_on_spot", "draft reported verified assigned", "submitted", guards="before_and_after", stamps="submitter_of_all"),
        # Rule 2: bad rectification goes back, with one of three words, and is counted.
        _t(
            "problem.return",
            "submitted accepted",
            "rectifying",
            sets="due_on",
            needs="reason",
            choices={"reason": "surface false perfunctory"},
            guards="has_deadline deadline_ahead",
            stamps="returned",
        ),
        # Rule 6: who submits does not accept; acceptance is a check on the place.
        _t("problem.accept", "submitted", "accepted", guards="not_the_submitter site_checked", effects="every_part"),
        # 销号: nothing is struck off whose proof the server does not hold (docs/decisions/0019).
        _t(
            "problem.close_out",
            "accepted",
            "closed_out",
            sets="look_back_on",
            guards="not_the_submitter evidence_here look_back_ahead",
            stamps="closed",
        ),
        # 回头看 (domain.md 4.7): its result is `held`, or `rebound` or `false`, upon which the office reopens the problem.
        _t("problem.plan_look_back", DONE, None, sets="look_back_on", needs="look_back_on", guards="look_back_ahead"),
        _t("problem.look_back", DONE, "look_back_passed", sets="look_back_on", guards="site_checked look_back_ahead", stamps="looked_back"),
        _t(
            "problem.look_back_failed",
            DONE,
            None,
            needs="result",
            choices={"result": "rebound false"},
            guards="site_checked",
            stamps="looked_back",
        ),
        # Rule 4: a rebound reopens the same record with its history.
        _t(
            "problem.rebound",
            DONE,
            "rectifying",
            sets="due_on",
            needs="reason due_on",
            choices={"reason": "rebound false"},
            guards="deadline_ahead",
            stamps="rebounded",
        ),
        # With reason and limit. Suspended again, it has a later limit; when that has passed, the server resumes it (sync/timers.py).
        _t(
            "problem.suspend",
            "assigned rectifying suspended",
            "suspended",
            sets="suspended_until",
            needs="reason suspended_until",
            guards="limit_ahead",
            stamps="suspended",
        ),
        _t("problem.resume", "suspended", BACK, guards="limit_as_set", stamps="resumed"),
        _t("problem.extend", _UNDER_WAY, None, sets="due_on", needs="reason due_on", guards="deadline_ahead"),
        # Rule 3: a fine, a stoppage or a talk is noted and changes no state.
        _t("problem.penalize", f"{_OPEN} {DONE}", None, needs="measure", choices={"measure": "fine stoppage talk other"}),
        _t("problem.remind", _UNDER_WAY, None, needs="note"),
        _t("problem.supervise_on_site", _OPEN, None, needs="note", guards="site_checked"),
        _t(
            "problem.list",
            f"{_OPEN} {DONE}",
            None,
            sets="listed_level",
            needs="listed_level",
            choices={"listed_level": "city province"},
            stamps="listed",
        ),
        _t("problem.unlist", f"{_OPEN} {DONE}", None, needs="reason", guards="is_listed", stamps="unlisted"),
        _t("problem.feed_back", f"{_OPEN} {DONE} not_true", None, needs="to note", stamps="fed_back"),
        # The same problem from two sources is linked, not merged (sync/links.py).
        _t("problem.link", f"{_OPEN} {DONE} not_true", None, needs="other", effects="link"),
        _t("problem.unlink", f"{_OPEN} {DONE} not_true", None, needs="other reason", effects="unlink"),
        _t("problem.suspect", _OPEN, None, needs="other", effects="suspect"),
    ),
    "notice": (
        _t("notice.acknowledge", "published", None, late_from="withdrawn", late_stays=True, guards="addressed", stamps="acknowledged"),
        _t("notice.withdraw", "published", "withdrawn", needs="reason"),
    ),
    # Changed terms hold for later days only, so every version that ever held is kept (sync/plans.py).
    "plan": (
        _t(
            "plan.start",
            "drafted",
            "active",
            sets="terms",
            needs="terms",
            guards="terms_read terms_recur terms_occur terms_in_order seasons_known units_below units_open visits_open",
            stamps="new_terms",
        ),
        _t(
            "plan.revise",
            "active",
            None,
            sets="terms",
            needs="terms reason",
            guards="terms_read terms_recur terms_occur terms_in_order seasons_known units_below units_open visits_open",
            stamps="new_terms",
        ),
        _t("plan.end", "drafted active", "ended", needs="reason", stamps="end_terms"),
    ),
    # 启动、响应、解除 (domain.md 4.15); the second path is Lizhou's 事前预判、事中跟踪、事后评估.
    "response": (
        _t("response.start", "drafted", "started", guards="of_city_or_county"),
        _t("response.respond", "started", "responding", guards="checks_recur"),
        _t("response.lift", "started responding", "lifted", needs="reason"),
        _t("response.forecast", "drafted", "forecast", guards="of_city_or_county"),
        _t("response.track", "forecast", "tracking", guards="checks_recur"),
        _t("response.evaluate", "forecast tracking", "evaluated", needs="note"),
    ),
    "campaign": (
        _t("campaign.finish", "planned", "held", sets="result", guards="days_in_order days_over"),
        _t("campaign.cancel", "planned", "cancelled", needs="reason"),
    ),
    "conflict": (_t("conflict.settle", "open", "settled", sets="choice settled_by", effects="settle_conflict"),),
    "whistle": (
        _t("whistle.blow", "proposed", "blown", sets="called optional", needs="called", guards="each_unit_once", effects="summon"),
        _t("whistle.decline", "proposed", "declined", needs="reason", stamps="feedback_owed"),
        _t("whistle.withdraw", "blown answered", "withdrawn", needs="reason", stamps="feedback_owed", effects="dismiss"),
        _t(
            "whistle.confirm",
            "blown answered",
            None,
            needs="unit rating",
            guards="rating_1_to_5 not_the_answerer",
            effects="act_on_summons",
        ),
        # a closed one, too: what was confirmed turns out not to be so
        _t("whistle.send_back", "blown answered closed", None, needs="unit reason", effects="act_on_summons"),
        _t("whistle.insist", "blown answered", None, needs="unit reason", effects="act_on_summons"),
        _t("whistle.release", "blown answered", None, needs="unit reason", effects="act_on_summons"),
        # one more department, which the place turned out to need
        _t("whistle.call", "blown answered", None, needs="unit reason", effects="call_more"),
        _t("whistle.reroute", "blown answered", None, needs="unit to reason", effects="reroute"),
        # 信息反馈 is obligatory: a whistle is not closed before whoever raised it has been told.
        _t("whistle.feed_back", "answered withdrawn declined", None, needs="to note", stamps="fed_back"),
        _t("whistle.close", "answered", "closed", guards="all_confirmed", effects="dismiss"),
        _t("whistle.comment", ANY, None),
    ),
    "summons": (
        # Several handlers of one department, each without signal, beside a township that goes on: what was done is kept, and
        # nobody's later word is undone by it. Only a result outlives a cancellation or a refusal: the work has been done.
        _t(
            "summons.sign",
            "called",
            "signed",
            late_from="signed reported_in resulted confirmed refused cancelled",
            late_stays=True,
            effects="tell_whistle",
        ),
        _t(
            "summons.contact",
            "called signed reported_in",
            None,
            late_from="resulted confirmed refused cancelled",
            late_stays=True,
            sets="contact",
            needs="contact",
            effects="tell_whistle",
        ),
        _t(
            "summons.report_in",
            "called signed",
            "reported_in",
            late_from="reported_in resulted confirmed refused cancelled",
            late_stays=True,
            needs="position",
            stamps="reported_in",
            effects="tell_whistle",
        ),
        _t(
            "summons.result",
            "reported_in",
            "resulted",
            late_from="resulted refused cancelled",
            sets="result",
            needs="result",
            guards="reported_in",
            effects="tell_whistle",
        ),
        _t(
            "summons.refuse",
            "called signed",
            "refused",
            sets="legal_basis",
            needs="legal_basis",
            guards="refused_at_most_once",
            stamps="refused",
            effects="tell_whistle",
        ),
        # by the server, when the working days of a year were published on which a term rested
        _t("summons.correct_terms", "called signed reported_in", None, needs="terms", stamps="corrected_terms", effects="tell_whistle"),
        _t("summons.comment", ANY, None),
    ),
    "supervision": (
        _t("supervision.acknowledge", "issued", "acknowledged", late_from="acknowledged", late_stays=True),
        _t("supervision.answer", "issued acknowledged", "answered", sets="answer", needs="answer"),
        _t("supervision.reject_answer", "answered", "acknowledged", needs="reason"),
        # answered and accepted, or overturned by evidence that came late: lifted with that reason, never erased
        # (sync/letters.py: by the side that issued it)
        _t(
            "supervision.lift",
            "issued acknowledged answered",
            "lifted",
            sets="lifted_because",
            needs="lifted_because",
            choices={"lifted_because": "answered closed mistaken overturned"},
            guards="answered_if_it_says_so not_the_answerer",
        ),
        _t("supervision.correct_term", "issued acknowledged answered", None, needs="due_at", stamps="corrected_term"),
        _t("supervision.comment", ANY, None),
    ),
    "transfer": (
        _t("transfer.approve", "proposed", "approved"),
        # also after approval, when it cannot be sent any more (its department was closed)
        _t("transfer.decline", "proposed approved", "declined", needs="reason"),
        _t("transfer.send", "approved", "sent", effects="hand_over"),
        _t("transfer.receive", "sent", "received", sets="receipt_number", needs="receipt_number"),
        _t("transfer.return_result", "received", "result_returned", sets="result", needs="result"),
        _t("transfer.comment", ANY, None),
    ),
    # Given up only before anybody could know what would be drawn: after the nonce every draw ends in a disclosed file.
    "draw": (
        _t("draw.commit", "prepared", "committed", sets="commitment", needs="commitment", guards="with_sealed_part", stamps="committer"),
        _t(
            "draw.seed",
            "committed",
            "seeded",
            sets="nonce",
            needs="nonce commitment",
            guards="second_party names_the_commitment sound_nonce",
            stamps="seeder",
        ),
        _t("draw.draw", "seeded", "drawn", guards="with_sealed_part"),
        _t("draw.fail", "seeded", "failed", needs="failure", guards="with_sealed_part"),
        _t("draw.depart", "drawn", "departed", guards="with_sealed_part departs_ahead"),
        _t("draw.disclose", "drawn departed failed", "disclosed", guards="with_sealed_part departed_or_reason"),
        _t("draw.cancel", "prepared committed", "cancelled", needs="reason", guards="with_sealed_part"),
    ),
}


class Moved(Struct, frozen=True):
    """A step that a record takes because of a command on another one (sync/effects.py)."""

    source: str
    to: str
    by: str


MOVED: dict[str, tuple[Moved, ...]] = {
    "whistle": (
        Moved("blown", "answered", "the last required summons was answered"),
        Moved("answered", "blown", "a required summons is open again"),
        Moved("closed", "blown", "whistle.send_back"),
    ),
    "summons": (
        Moved("resulted", "confirmed", "whistle.confirm"),
        Moved("resulted", "reported_in", "whistle.send_back"),
        Moved("confirmed", "reported_in", "whistle.send_back"),
        Moved("refused", "called", "whistle.insist"),
        Moved("called", "cancelled", "whistle.release"),
        Moved("signed", "cancelled", "whistle.release"),
        Moved("refused", "cancelled", "whistle.release"),
        Moved("refused", "cancelled", "whistle.reroute"),
        Moved("cancelled", "called", "whistle.reroute"),
        Moved("cancelled", "called", "whistle.call"),
        *(Moved(state, "cancelled", end) for end in ("whistle.withdraw", "whistle.close") for state in _UNANSWERED),
    ),
}

MACHINES: dict[str, dict[str, Transition]] = {
    kind: {transition.command: transition for transition in table} for kind, table in _TABLE.items()
}


# A record that has a story is not taken off the ledger by deleting it: what was entered by mistake is ended with a reason.
DELETED_FROM: dict[str, frozenset[str]] = {
    "problem": frozenset({"draft"}),
    "inspection": frozenset({"draft"}),
    "task": frozenset({"open", "accepted", "started", "cancelled"}),
}

# A projection has the commands of what it shows; they are planned on the source.
PROJECTED: dict[str, str] = {"assignment": "problem", "handover": "transfer"}


def transition_of(kind: str, command: str) -> Transition | None:
    return MACHINES.get(PROJECTED.get(kind, kind), {}).get(command)


def allowed_from(kind: str, state: str, *, secret: bool = False) -> dict[str, list[str]]:
    """Command -> roles, of what would be allowed now: part of every refusal. `secret`: of a record of an unannounced visit."""
    return {
        t.command: by
        for t in _TABLE.get(kind, ())
        if t.accepts(state) and (secret or "still_secret" not in t.guards) and (by := who_may(kind, t.command))
    }
