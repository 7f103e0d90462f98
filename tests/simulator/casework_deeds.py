"""What people do about problems, whistles and letters: townships, departments and the supervisor, mostly without signal.

Each table says what somebody might do to a record in the state that their screen shows, which may be long past: then the server
says no, and the phone must show why. Every command carries a word that occurs nowhere else, so that its step can be found.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from contracts.people import Role
from phone.phone import RecordView
from tests.photo_builder import jpeg, picture
from tests.simulator.cast import COUNTY, HOUSING, TOWNSHIPS, WATER, departments
from tests.simulator.deeds import Choice, Deeds
from tests.simulator.handset import Handset
from tests.simulator.testimony import Write

BUREAU = {Role.DEPARTMENT_LEAD, Role.DEPARTMENT_STAFF}
DEADLINE_DAYS = [0, 1, 1, 2, 9, 30]
CHINA = timezone(timedelta(hours=8))
OPEN_MAX = 4

# State on the screen -> what is done then; what is named twice is done twice as often.
PROBLEM = {
    "draft": ["report"],
    "reported": ["verify", "verify", "assign", "not_true", "link"],
    "verified": ["assign", "assign", "assign", "not_true"],
    "not_true": ["reopen"],
    "assigned": ["suspend", "assign", "extend", "remind", "submit_fix", "submit_fix"],
    "rectifying": ["suspend", "penalize", "submit_fix", "submit_fix", "submit_fix", "submit_fix"],
    "suspended": ["resume"],
    "submitted": ["accept", "accept", "accept", "accept", "return", "return", "link"],
    "accepted": ["close_out", "close_out", "return"],
    "closed_out": ["rebound", "look_back", "look_back_failed", "plan_look_back", "feed_back"],
    "look_back_passed": ["rebound", "look_back_failed", "feed_back"],
}
ASSIGNMENT = {
    "assigned": ["start", "submit_fix", "penalize"],
    "rectifying": ["submit_fix", "submit_fix", "submit_fix", "penalize"],
}
WHISTLE = {
    "proposed": ["blow", "blow", "blow", "blow", "decline"],
    "blown": ["answer_back", "answer_back", "answer_back", "answer_back", "answer_back", "release", "call", "reroute", "withdraw"],
    "answered": ["answer_back", "answer_back", "answer_back", "feed_back", "feed_back", "close", "close"],
    "withdrawn": ["feed_back"],
    "declined": ["feed_back"],
}
SUMMONS = {
    "called": ["sign", "sign", "report_in", "contact", "refuse"],
    "signed": ["report_in", "report_in", "report_in", "contact", "refuse"],
    "reported_in": ["result", "result", "result", "contact"],
    "refused": ["comment"],
}
LETTER_OF_ISSUER = {"issued": ["comment"], "acknowledged": ["comment"], "answered": ["lift", "lift", "reject_answer"]}
LETTER_OF_UNIT = {"issued": ["acknowledge", "acknowledge", "answer"], "acknowledged": ["answer", "answer", "comment"]}
LEADS_TO = {
    "problem.report": "reported",
    "problem.verify": "verified",
    "problem.not_true": "not_true",
    "problem.reopen": "reported",
    "problem.assign": "assigned",
    "problem.start": "rectifying",
    "problem.submit_fix": "submitted",
    "problem.return": "rectifying",
    "problem.accept": "accepted",
    "problem.close_out": "closed_out",
    "problem.look_back": "look_back_passed",
    "problem.rebound": "rectifying",
    "problem.suspend": "suspended",
    "whistle.blow": "blown",
    "whistle.decline": "declined",
    "whistle.withdraw": "withdrawn",
    "whistle.close": "closed",
    "summons.sign": "signed",
    "summons.report_in": "reported_in",
    "summons.result": "resulted",
    "summons.refuse": "refused",
    "supervision.acknowledge": "acknowledged",
    "supervision.answer": "answered",
    "supervision.reject_answer": "acknowledged",
    "supervision.lift": "lifted",
    "plan.start": "active",
    "plan.end": "ended",
    "notice.withdraw": "withdrawn",
    "transfer.approve": "approved",
    "transfer.decline": "declined",
    "transfer.send": "sent",
    "transfer.receive": "received",
    "transfer.return_result": "result_returned",
}


class CaseworkDeeds(Deeds):
    """The deeds of a patrol day, and what comes of them in offices."""

    def something(self, handset: Handset) -> str:
        if self._role(handset) in BUREAU:
            return self.one_of(handset, self.casework(handset))
        return super().something(handset)

    def choices(self, handset: Handset) -> list[Choice]:
        return [*super().choices(handset), *self.casework(handset)]

    def casework(self, handset: Handset) -> list[Choice]:
        """What this person does about cases, by weight."""
        match self._role(handset):
            case Role.DEPARTMENT_LEAD | Role.DEPARTMENT_STAFF:
                return [(10, self.work_on_assignment), (10, self.work_on_summons), (4, self.answer_letter)]
            case Role.TOWNSHIP_LEAD:
                return [(30, self.steer_problem), (20, self.steer_whistle), (4, self.answer_letter), (3, self.work_on_assignment)]
            case Role.COUNTY_SUPERVISOR:
                return [(10, self.issue_letter), (12, self.steer_letter), (6, self.steer_problem)]
            case _:
                return [(6, self.propose_whistle), (8, self.report_problem)]

    def problems(self, handset: Handset) -> list[Choice]:
        """What an office does about problems and nothing else."""
        return [(1, self.work_on_assignment if self._role(handset) in BUREAU else self.steer_problem)]

    def _role(self, handset: Handset) -> Role:
        return handset.person.role_at(self.true_ms())

    # ------------------------------------------------------------------------------------------ problems

    def report_problem(self, handset: Handset) -> str:
        view = self._any(handset, "problem", where=lambda v: v.body.get("state", "draft") == "draft")
        if view is not None:
            return self._does(handset, view, "problem.report")
        return "" if self._has_enough(handset, "problem", PROBLEM) else self.create_problem(handset)

    def steer_problem(self, handset: Handset) -> str:
        view, deed = self._next(handset, "problem", PROBLEM)
        if view is None:
            return ""
        random = handset.random
        match deed:
            case "assign":
                housing, water = departments(str(view.body.get("unit")))
                leads = random.choice([[housing], [housing], [housing], [water], [housing, water], [self._township(view)]])
                return self._does(handset, view, "problem.assign", {"due_on": self._deadline(handset), "leads": leads})
            case "suspend":
                return self._does(handset, view, "problem.suspend", {"suspended_until": self._limit(handset)}, reason=self.word())
            case "resume":
                return self._does(handset, view, "problem.resume", leads_to=str(view.body.get("suspended_from") or "assigned"))
            case "return":
                words = ["surface", "false", "perfunctory"]
                due_on = {} if view.body.get("due_on") else {"due_on": self._deadline(handset)}
                return self._does(handset, view, "problem.return", due_on, reason=random.choice(words))
            case "link":
                other = self._any(handset, "problem", where=lambda v: v.id != view.id and v.body.get("state", "draft") != "draft")
                return "" if other is None else self._does(handset, view, "problem.link", other=str(other.id))
            case "plan_look_back":
                return self._does(handset, view, "problem.plan_look_back", {"look_back_on": self._deadline(handset)})
            case "look_back_failed":
                result = random.choice(["rebound", "false"])
                return self._does(handset, view, "problem.look_back_failed", position=self._position(), result=result)
            case "accept":
                return self._accept(handset, view)
            case "look_back":
                return self._does(handset, view, "problem.look_back", position=self._position())
            case "rebound":
                reason = random.choice(["rebound", "false"])
                return self._does(handset, view, "problem.rebound", {"due_on": self._deadline(handset)}, reason=reason)
            case "extend":
                return self._does(handset, view, "problem.extend", {"due_on": self._deadline(handset)}, reason=self.word())
            case "penalize":
                return self._does(handset, view, "problem.penalize", measure=random.choice(["fine", "stoppage", "talk"]))
            case "feed_back":
                return self._does(handset, view, "problem.feed_back", to=self.word())
            case "submit_fix":
                return self._submit_fix(handset, view)
            case _:
                return self._does(handset, view, f"problem.{deed}", reason=self.word())

    def _today(self) -> date:
        return datetime.fromtimestamp(self.true_ms() / 1000, UTC).astimezone(CHINA).date()

    def _deadline(self, handset: Handset) -> str:
        return (self._today() + timedelta(days=handset.random.choice(DEADLINE_DAYS))).isoformat()

    def _limit(self, handset: Handset) -> str:
        """Of a suspension: it may have passed when the phone finds signal."""
        return (self._today() + timedelta(days=handset.random.choice([2, 9, 60]))).isoformat()

    def _township(self, view: RecordView) -> str:
        return str(view.body.get("unit", TOWNSHIPS[0]))[:9]

    def work_on_assignment(self, handset: Handset) -> str:
        view, deed = self._next(handset, "assignment", ASSIGNMENT)
        if view is None:
            return ""
        if deed == "submit_fix":
            return self._submit_fix(handset, view)
        return self._does(handset, view, f"problem.{deed}", **({"measure": "talk"} if deed == "penalize" else {}))

    def _submit_fix(self, handset: Handset, view: RecordView) -> str:
        """An after photo, and the submission that names it; a township in a hurry would accept its own at once."""
        if not self.has_photos:
            return ""
        photo = self._after_photo(handset, view)
        if photo is None:
            return "phone killed while typing"
        done = self._does(handset, view, "problem.submit_fix", photos=[str(photo)])
        now = handset.phone.view(view.id)
        if view.kind == "problem" and now is not None and handset.random.random() < 0.4:
            return self._accept(handset, now)
        return done

    def _accept(self, handset: Handset, view: RecordView) -> str:
        """Whoever looks sees whose part is missing; some do without it, and some do not look."""
        missing = [unit for unit in view.body.get("leads") or [] if unit not in (view.body.get("handed_in") or [])]
        spared = {"without": missing, "reason": self.word()} if missing and handset.random.random() < 0.6 else {}
        return self._does(handset, view, "problem.accept", position=self._position(), **spared)

    def _after_photo(self, handset: Handset, view: RecordView) -> UUID | None:
        caption = self.word()
        content = jpeg(picture(self._words, 64, 48))
        record: list[UUID] = []

        def take() -> None:
            record.append(handset.phone.add_photo(view.id, content, purpose="after", caption=caption))

        if not self._survives(handset, take):
            record += [v.id for v in handset.phone.records("photo") if v.body.get("caption") == caption]
        if not record:
            return None
        writes, args = {"caption": Write(None, caption)}, {"parent": str(view.id)}
        self._log(handset, record[0], "photo", "create", writes, args, {}, str(view.body.get("unit", "")))
        return record[0]

    # ------------------------------------------------------------------------------------------ whistles

    def propose_whistle(self, handset: Handset) -> str:
        if self._has_enough(handset, "whistle", WHISTLE):
            return ""
        unit = self._home(handset)
        return self._create(handset, "whistle", {"unit": unit, "title": self.word(), "text": self.word()}, unit)

    def steer_whistle(self, handset: Handset) -> str:
        view, deed = self._next(handset, "whistle", WHISTLE)
        if view is None:
            return ""
        match deed:
            case "blow":
                housing, water = departments(str(view.body.get("unit")))
                called = handset.random.choice([[housing], [housing, water], [housing, water]])
                optional = [water] if called == [housing] and handset.random.random() < 0.4 else []
                return self._does(handset, view, "whistle.blow", {"called": called, "optional": optional})
            case "answer_back" | "release":
                return self._answer_back(handset, view, deed)
            case "call" | "reroute":
                return self._call_another(handset, view, deed)
            case "feed_back":
                return self._does(handset, view, "whistle.feed_back", to=self.word())
            case _:
                return self._does(handset, view, f"whistle.{deed}", reason=self.word())

    def _answer_back(self, handset: Handset, view: RecordView, deed: str) -> str:
        """What the township says to one department, by how its summons stands."""
        summons = {unit: one.get("state") for unit, one in (view.body.get("summons") or {}).items()}
        ways = {
            "resulted": ["confirm", "confirm", "confirm", "send_back"],
            "refused": ["insist", "insist", "release"],
            **({"called": ["release"], "signed": ["release"]} if deed == "release" else {}),
        }
        found = [(unit, way) for unit, state in sorted(summons.items()) for way in ways.get(str(state), [])]
        if not found:
            return ""
        unit, way = handset.random.choice(found)
        rated = {"rating": handset.random.randint(1, 5)} if way == "confirm" else {"reason": self.word()}
        return self._does(handset, view, f"whistle.{way}", unit=unit, **rated)

    def _call_another(self, handset: Handset, view: RecordView, deed: str) -> str:
        """One more department, or another in the place of one that refused; also one that is there already."""
        unit = handset.random.choice(departments(str(view.body.get("unit"))))
        if deed == "call":
            return self._does(handset, view, "whistle.call", unit=unit, reason=self.word())
        refused = sorted(code for code, one in (view.body.get("summons") or {}).items() if one.get("state") == "refused")
        if not refused:
            return ""
        return self._does(handset, view, "whistle.reroute", unit=refused[0], to=unit, reason=self.word())

    def work_on_summons(self, handset: Handset) -> str:
        view, deed = self._next(handset, "summons", SUMMONS)
        if view is None:
            return ""
        match deed:
            case "report_in":
                return self._does(handset, view, "summons.report_in", position=self._position())
            case "result" | "contact":
                return self._does(handset, view, f"summons.{deed}", typed={deed: self.word()})
            case "refuse":
                return self._does(handset, view, "summons.refuse", typed={"legal_basis": self.word()})
            case _:
                return self._does(handset, view, f"summons.{deed}")

    # ------------------------------------------------------------------------------------------ letters

    def issue_letter(self, handset: Handset) -> str:
        if self._has_enough(handset, "supervision", LETTER_OF_ISSUER):
            return ""
        unit = handset.random.choice([HOUSING, HOUSING, WATER, TOWNSHIPS[0]])
        colour = handset.random.choice(["white", "yellow", "red"])
        body = {"unit": unit, "colour": colour, "title": self.word(), "text": self.word(), "issued_by_unit": COUNTY}
        return self._create(handset, "supervision", body, unit)

    def steer_letter(self, handset: Handset) -> str:
        view, deed = self._next(handset, "supervision", LETTER_OF_ISSUER)
        if view is None:
            return ""
        values = {"lifted_because": "answered"} if deed == "lift" else {}
        return self._does(handset, view, f"supervision.{deed}", values, reason=self.word())

    def answer_letter(self, handset: Handset) -> str:
        view, deed = self._next(handset, "supervision", LETTER_OF_UNIT)
        if view is None:
            return ""
        return self._does(handset, view, f"supervision.{deed}", typed={"answer": self.word()} if deed == "answer" else {})

    # ------------------------------------------------------------------------------------------ all of them

    def _has_enough(self, handset: Handset, kind: str, table: dict[str, list[str]]) -> bool:
        """Cases under way on this screen: a few that go far tell more than many that begin."""
        return sum(view.body.get("state", next(iter(table))) in table for view in handset.phone.records(kind)) >= OPEN_MAX

    def _next(self, handset: Handset, kind: str, table: dict[str, list[str]]) -> tuple[RecordView | None, str]:
        """A record on this screen that has somewhere to go, and what is done to it."""
        state_of: Callable[[RecordView], str] = lambda v: str(v.body.get("state") or next(iter(table)))  # noqa: E731
        home = tuple(duty.unit for duty in handset.person.held(self.true_ms()))
        view = self._any(handset, kind, where=lambda v: state_of(v) in table and str(v.body.get("unit", "")).startswith(home))
        return (None, "") if view is None else (view, handset.random.choice(table[state_of(view)]))

    def _does(
        self,
        handset: Handset,
        view: RecordView,
        op: str,
        values: dict[str, Any] | None = None,
        *,
        typed: dict[str, str] | None = None,
        leads_to: str = "",
        **args: Any,
    ) -> str:
        """`values` are words that many may say; `typed` those that nobody else does. A note with a word of its own is always there."""
        args |= {"note": self.word()}
        to = leads_to or LEADS_TO.get(op)
        shows = {"state": to} if to else None
        writes = {name: Write(view.body.get(name), value) for name, value in (typed or {}).items()}
        given = {**(values or {}), **(typed or {})}
        enter = lambda: handset.phone.command(view.id, op, given, args=args, shows=shows, seen=view)  # noqa: E731
        return self._enter(handset, view, op, writes, args, enter)
