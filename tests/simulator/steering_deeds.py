"""What offices steer with: patrol plans, tasks given to others, notices, transfers of clues, unannounced visits."""

from datetime import timedelta
from typing import Any

from contracts.people import Role
from phone.phone import RecordView
from tests.simulator.casework_deeds import CaseworkDeeds
from tests.simulator.cast import COUNTY, OTHER_VILLAGES, VILLAGES
from tests.simulator.deeds import CHECKLIST, ITEMS, Choice
from tests.simulator.handset import Handset

PLANS_MAX, NOTICES_MAX, TRANSFERS_MAX, VISITS_MAX = 2, 4, 3, 2
PLAN = {"drafted": ["start", "start", "start", "end"], "active": ["revise", "revise", "end"]}
NOTICE = {"published": ["withdraw"]}
TRANSFER = {
    "proposed": ["approve", "approve", "decline"],
    "approved": ["send"],
    "sent": ["receive"],
    "received": ["return_result"],
}


class SteeringDeeds(CaseworkDeeds):
    """The deeds of casework, and those that send others out."""

    def casework(self, handset: Handset) -> list[Choice]:
        return [*super().casework(handset), *self._steering(handset)]

    def _steering(self, handset: Handset) -> list[Choice]:
        match self._role(handset):
            case Role.TOWNSHIP_LEAD:
                return [(6, self.steer_plan), (6, self.give_task_to_others), (4, self.send_notice), (1, self.withdraw_notice)]
            case Role.COUNTY_SUPERVISOR:
                return [(6, self.steer_transfer), (12, self.steer_visit), (3, self.send_notice)]
            case Role.DEPARTMENT_LEAD | Role.DEPARTMENT_STAFF:
                return [(2, self.sign_for_notice)]
            case _:
                return [(8, self.sign_for_notice)]

    # ------------------------------------------------------------------------------------------ plans and tasks

    def steer_plan(self, handset: Handset) -> str:
        view, deed = self._next(handset, "plan", PLAN)
        if view is None or (deed == "end" and handset.random.random() < 0.7):
            unit = handset.person.held(self.true_ms())[-1].unit
            if sum(1 for _ in handset.phone.records("plan")) >= PLANS_MAX:
                return ""
            return self._create(handset, "plan", {"unit": unit, "title": self.word()}, unit)
        if deed == "end":
            return self._does(handset, view, "plan.end", reason=self.word())
        return self._does(handset, view, f"plan.{deed}", {"terms": self._terms(handset, view)}, reason=self.word())

    def _terms(self, handset: Handset, view: RecordView) -> dict[str, Any]:
        """Every day, nothing ahead; sometimes from tomorrow on."""
        below = [v for v in [*VILLAGES, *OTHER_VILLAGES] if v.startswith(str(view.body["unit"]))]
        units = sorted(handset.random.sample(below, min(len(below), handset.random.choice([1, 2]))))
        from_on = self._today() + timedelta(days=handset.random.choice([0, 0, 1]))
        return {"rule": "FREQ=DAILY", "from_on": from_on.isoformat(), "units": units, "note": self.word()}

    def give_task_to_others(self, handset: Handset) -> str:
        """To another village, while whoever has it may be out in the mountains with it."""
        view = self._any(handset, "task", where=lambda v: v.body.get("state", "open") in ("open", "accepted", "started"))
        others = [v for v in VILLAGES if view is not None and v != view.body.get("unit") and v[:9] == str(view.body.get("unit"))[:9]]
        if view is None or not others:
            return ""
        return self._command(
            handset, view, "task.reassign", {"unit": handset.random.choice(others)}, args={"reason": self.word()}, shows={"state": "open"}
        )

    # ------------------------------------------------------------------------------------------ notices

    def send_notice(self, handset: Handset) -> str:
        if sum(v.body.get("state") == "published" for v in handset.phone.records("notice")) >= NOTICES_MAX:
            return ""
        held = handset.person.held(self.true_ms())[-1].unit
        unit = handset.random.choice([v for v in [*VILLAGES, *OTHER_VILLAGES] if v.startswith(held)])
        body = {"unit": unit, "title": self.word(), "text": self.word(), "needs_acknowledgement": True, "sent_by_unit": held}
        return self._create(handset, "notice", body, unit)

    def withdraw_notice(self, handset: Handset) -> str:
        view, _deed = self._next(handset, "notice", NOTICE)
        return "" if view is None else self._does(handset, view, "notice.withdraw", reason=self.word())

    def sign_for_notice(self, handset: Handset) -> str:
        """By those it is for: of the very unit; nobody signs twice who sees that they have."""
        ms = self.true_ms()
        units = {duty.unit for duty in handset.person.held(ms)}
        view = self._any(
            handset,
            "notice",
            where=lambda v: v.body.get("unit") in units and handset.person.id not in (v.body.get("acknowledged_by") or []),
        )
        return "" if view is None else self._does(handset, view, "notice.acknowledge")

    # ------------------------------------------------------------------------------------------ transfers

    def steer_transfer(self, handset: Handset) -> str:
        view, deed = self._next(handset, "transfer", TRANSFER)
        if view is None:
            if sum(1 for _ in handset.phone.records("transfer")) >= TRANSFERS_MAX:
                return ""
            body = {"unit": COUNTY, "flow": "accountability_clue", "receiver": "discipline", "title": self.word(), "text": self.word()}
            return self._create(handset, "transfer", body, COUNTY)
        typed = {"receive": "receipt_number", "return_result": "result"}.get(deed)
        return self._does(handset, view, f"transfer.{deed}", typed={typed: self.word()} if typed else {}, reason=self.word())

    # ------------------------------------------------------------------------------------------ unannounced visits

    def steer_visit(self, handset: Handset) -> str:
        """One person sends and goes: what nobody of the inspected side may see is made, worked on, and disclosed at the end."""
        view = self._any(handset, "task", where=lambda v: bool(v.body.get("secret")) and not v.body.get("disclosed_at"))
        if view is None:
            if sum(bool(v.body.get("secret")) for v in handset.phone.records("task")) >= VISITS_MAX:
                return ""
            targets = [{"unit": handset.random.choice(VILLAGES), "name": self.word(), "address": self.word()}]
            body = {"title": self.word(), "unit": COUNTY, "secret": True, "visit_mode": "secret_visit", "targets": targets}
            return self._create(handset, "task", body, COUNTY)
        state = view.body.get("state", "open")
        if state == "finished":
            return self._command(handset, view, "task.disclose", {}, args={"note": self.word()})
        if state == "open":
            return self._command(handset, view, "task.accept", {}, shows={"state": "accepted"})
        if handset.random.random() < 0.5:
            return self._visit(handset, view)
        return self._command(handset, view, "task.finish", {"result": self.word()}, shows={"state": "finished"})

    def _visit(self, handset: Handset, task: RecordView) -> str:
        answers = {ITEMS[1]: {"value": "yes", "note": self.word()}}
        body = {
            "unit": COUNTY,
            "subject": "construction_dust",
            "checklist": CHECKLIST,
            "answers": answers,
            "note": self.word(),
            "task": str(task.id),
            "visit_mode": "secret_visit",
            "secret": True,
        }
        return self._create(handset, "inspection", body, COUNTY)
