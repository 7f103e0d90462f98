"""What people do on their phones, and how it is written down for the oracle.

Every value is a word that occurs nowhere else, so that it can be found again wherever it went. What the screen showed when
it was typed is taken from the view that the person had before them, which may be a form opened long ago.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from contracts.people import Role
from phone.faults import Killed
from phone.phone import RecordView
from tests.photo_builder import jpeg, picture
from tests.simulator.cast import OTHER_VILLAGES, STRANGERS_TOWNSHIP, VILLAGES, county_of
from tests.simulator.handset import Handset
from tests.simulator.oracle import Oracle
from tests.simulator.poison import POISON
from tests.simulator.testimony import Entry, Write

CHECKLIST = {"slug": "construction_dust", "jurisdiction": "ankang", "version": 1}
ITEMS = ["sprinkling", "covering", "hardening", "washing"]
Choice = tuple[int, Callable[[Handset], str]]
# Fields in which nobody types a word.
CHOSEN = frozenset("- unit leads supporting called optional due_on suspended_until lifted_because".split())
OFFICE = {Role.TOWNSHIP_LEAD, Role.COUNTY_SUPERVISOR}


def is_strangers(view: RecordView) -> bool:
    """What a stranger made is on the screens of those above, who leave it alone: the judge knows only what honest people typed."""
    return str(view.body.get("record_unit") or view.body.get("unit", "")).startswith(STRANGERS_TOWNSHIP)


class Deeds:
    """One simulation's typing: words, numbers, and the oracle's log."""

    def __init__(self, oracle: Oracle, true_ms: Callable[[], int], *, has_photos: bool) -> None:
        self.oracle = oracle
        self.has_photos = has_photos
        self.true_ms = true_ms
        self._words = 0
        self.done = 0

    def word(self) -> str:
        self._words += 1
        return f"w-{self._words:06d}"

    # ------------------------------------------------------------------------------------------ choosing

    def something(self, handset: Handset) -> str:
        """One thing that this person might do now; returns what it was."""
        return self.one_of(handset, self.choices(handset)) or self.create_site(handset)

    def choices(self, handset: Handset) -> list[Choice]:
        """What this person does, by weight."""
        choices: list[Choice] = [
            (8, self.create_site),
            (30, self.edit_site),
            (5, self.create_inspection),
            (16, self.fill_inspection),
            (6, self.command_inspection),
            (4, self.create_problem),
            (7, self.work_on_problem),
            (9, self.work_on_task),
            (6, self.open_form),
            (7, self.take_photo),
        ]
        if handset.person.role_at(self.true_ms()) in OFFICE:
            choices += [(14, self.create_task), (12, self.move), (4, self.delete), (14, self.settle_conflict)]
        return choices

    def one_of(self, handset: Handset, choices: list[Choice]) -> str:
        """What there is nothing for is passed over, up to four times; then ''."""
        weights = [weight for weight, _ in choices]
        for _ in range(4):
            done = handset.random.choices(choices, weights)[0][1](handset)
            if done:
                self.done += 1
                return done
        return ""

    def open_form(self, handset: Handset) -> str:
        """Look at a record now, type later: what others do meanwhile is not seen."""
        view = self._any(handset, "site")
        if view is None:
            return ""
        handset.forms[str(view.id)] = (view, len(self.oracle.entries))
        return "form opened"

    def _any(self, handset: Handset, kind: str, *, where: Callable[[RecordView], bool] = lambda _: True) -> RecordView | None:
        views = [view for view in handset.phone.records(kind) if where(view) and not is_strangers(view)]
        if not views:
            return None
        views.sort(key=familiar)  # not by id: those are made anew in every run of a seed
        recent = views[-4:] if handset.random.random() < 0.7 else views
        return handset.random.choice(recent)

    def _on_screen(self, handset: Handset, view: RecordView) -> RecordView:
        """The present view, or that of a form opened earlier, if the person did not touch the record since."""
        opened = handset.forms.pop(str(view.id), None)
        if opened is None:
            return view
        form, number = opened
        touched = any(e.store == handset.name and e.record == str(view.id) for e in self.oracle.entries[number:])
        assert isinstance(form, RecordView)
        return view if touched else form

    # ------------------------------------------------------------------------------------------ sites

    def create_site(self, handset: Handset) -> str:
        unit = self._home(handset)
        body = {"name": self.word(), "unit": unit, "subjects": ["construction_dust"], "note": self.word()}
        if handset.random.random() < 0.5:
            body["position"] = self._position()
        return self._create(handset, "site", body, unit)

    def _home(self, handset: Handset) -> str:
        """A village of the person's; sometimes one that was theirs, when they do not know better."""
        ms = self.true_ms()
        held = handset.person.held(ms) or handset.person.duties[-1:]
        unit = handset.random.choice(held).unit
        below = [v for v in [*VILLAGES, *OTHER_VILLAGES] if v.startswith(unit)]
        return handset.random.choice(below)

    def _position(self) -> dict[str, float]:
        self._words += 1
        return {"lat": round(32 + self._words * 1e-6, 6), "lng": 109.03, "accuracy_m": self._words / 2}

    def edit_site(self, handset: Handset) -> str:
        view = self._any(handset, "site")
        if view is None:
            return ""
        view = self._on_screen(handset, view)
        values: dict[str, Any] = {}
        for _ in range(handset.random.choice([1, 1, 2])):
            match handset.random.choice(["note", "note", "contact", "address", "position", "tags", "tags", "comments"]):
                case "position":
                    values["position"] = self._position()
                case "tags":
                    values["tags"] = self._tags(handset, view)
                case "comments":
                    values["comments"] = self._with_comment(view)
                case name:
                    values[name] = self.word()
        return self._edit(handset, view, values)

    def _tags(self, handset: Handset, view: RecordView) -> list[str]:
        tags = list(view.body.get("tags") or [])
        if tags and handset.random.random() < 0.4:
            tags.remove(handset.random.choice(tags))
            return tags
        return [*tags, self.word()]

    def _with_comment(self, view: RecordView) -> list[dict[str, str]]:
        word = self.word()
        return [*(view.body.get("comments") or []), {"id": word, "text": f"{word} 已到现场"}]

    def move(self, handset: Handset) -> str:
        kind = handset.random.choice(["site", "site", "task", "inspection"])
        view = self._any(handset, kind, where=lambda v: not v.body.get("secret"))  # a secret is disclosed, never moved
        if view is None:
            return ""
        ours = (
            [v for v in VILLAGES if v.startswith(handset.person.held(self.true_ms())[-1].unit)]
            if handset.person.held(self.true_ms())
            else []
        )
        others = [v for v in ours if v != view.body.get("unit")]
        return self._edit(handset, view, {"unit": handset.random.choice(others)}) if others else ""

    def delete(self, handset: Handset) -> str:
        view = self._any(handset, handset.random.choice(["site", "task"]))
        if view is None:
            return ""
        view = self._on_screen(handset, view)
        return self._enter(handset, view, "delete", {}, {}, lambda: handset.phone.delete(view.id, seen=view))

    # ------------------------------------------------------------------------------------------ inspections and problems

    def create_inspection(self, handset: Handset) -> str:
        unit = self._home(handset)
        answers = {ITEMS[0]: {"value": "yes", "note": self.word()}}
        body = {"unit": unit, "subject": "construction_dust", "checklist": CHECKLIST, "answers": answers, "note": self.word()}
        return self._create(handset, "inspection", body, unit)

    def fill_inspection(self, handset: Handset) -> str:
        view = self._any(handset, "inspection")
        if view is None:
            return ""
        item = handset.random.choice(ITEMS)
        value = handset.random.choice(["yes", "yes", "no"])
        values: dict[str, Any] = {f"answers.{item}": {"value": value, "note": self.word()}}
        if handset.random.random() < 0.3:
            values["note"] = self.word()
        return self._edit(handset, view, values)

    def command_inspection(self, handset: Handset) -> str:
        view = self._any(handset, "inspection")
        if view is None:
            return ""
        op = "inspection.submit" if view.body.get("state", "draft") == "draft" else "inspection.amend"
        state = "submitted" if op == "inspection.submit" else "amended"
        return self._command(handset, view, op, {"note": self.word()}, shows={"state": state})

    def take_photo(self, handset: Handset) -> str:
        """A picture that nobody took before, of a site or for an inspection."""
        view = self._any(handset, handset.random.choice(["site", "inspection"])) if self.has_photos else None
        if view is None:
            return ""
        caption = self.word()
        content = jpeg(picture(self._words, 64, 48))
        record: list[UUID] = []
        writes = {"caption": Write(None, caption)}

        def take() -> None:
            record.append(handset.phone.add_photo(view.id, content, caption=caption))

        if not self._survives(handset, take):
            record += [v.id for v in handset.phone.records("photo") if v.body.get("caption") == caption]
            if not record:
                return "phone killed while typing"
        self._log(handset, record[0], "photo", "create", writes, {"parent": str(view.id)}, {}, str(view.body.get("unit", "")))
        return "photo taken"

    def create_problem(self, handset: Handset) -> str:
        unit = self._home(handset)
        body = {"unit": unit, "subject": "construction_dust", "source": "patrol", "title": self.word(), "description": self.word()}
        return self._create(handset, "problem", body, unit)

    def work_on_problem(self, handset: Handset) -> str:
        view = self._any(handset, "problem")
        if view is None:
            return ""
        if view.body.get("state", "draft") == "draft" and handset.random.random() < 0.5:
            return self._command(handset, view, "problem.report", {}, shows={"state": "reported"})
        if handset.random.random() < 0.5:
            return self._command(handset, view, "problem.comment", {"comments": self._with_comment(view)})
        return self._edit(handset, view, {"description": self.word()})

    # ------------------------------------------------------------------------------------------ tasks and conflicts

    def create_task(self, handset: Handset) -> str:
        unit = self._home(handset)
        return self._create(handset, "task", {"title": self.word(), "unit": unit, "note": self.word()}, unit)

    def work_on_task(self, handset: Handset) -> str:
        view = self._any(handset, "task")
        if view is None:
            return ""
        state = view.body.get("state", "open")
        steps = {"open": ["task.accept", "task.finish", ""], "accepted": ["task.start", "task.finish"], "started": ["task.finish", ""]}
        op = handset.random.choice(steps.get(state, [""]))
        if handset.person.role_at(self.true_ms()) in OFFICE and state in steps and handset.random.random() < 0.5:
            return self._command(handset, view, "task.cancel", {"cancel_reason": self.word()}, shows={"state": "cancelled"})
        match op:
            case "task.finish":
                return self._command(handset, view, op, {"result": self.word()}, shows={"state": "finished"})
            case "task.accept" | "task.start":
                return self._command(handset, view, op, {}, shows={"state": {"task.accept": "accepted", "task.start": "started"}[op]})
            case _:
                return self._edit(handset, view, {"note": self.word()})

    def settle_conflict(self, handset: Handset) -> str:
        view = self._any(handset, "conflict", where=lambda v: v.body.get("state", "open") == "open")
        if view is None:
            return ""
        choice = handset.random.choice(["kept", "lost", "lost", "other"])
        args: dict[str, Any] = {"choice": choice, "record": view.body["record"]}
        if choice == "other":
            if view.body["field"] in CHOSEN:
                return ""
            args["value"] = self._position() if view.body["field"] == "position" else self.word()
            if str(view.body["field"]).startswith("answers."):
                args["value"] = {"value": "yes", "note": args["value"]}
        return self._command(handset, view, "conflict.settle", {}, args=args, shows={"state": "settled"})

    # ------------------------------------------------------------------------------------------ writing it down

    def poison(self, handset: Handset) -> str:
        """A comment that makes the server fail while it plans."""
        view = self._any(handset, "site")
        if view is None:
            return ""
        word = self.word()
        comment = {"id": word, "text": f"{word} {POISON}"}
        return self._edit(handset, view, {"comments": [*(view.body.get("comments") or []), comment]})

    def garble(self, handset: Handset) -> str:
        """An app from another time: an unsent mutation travels in words that no server of ours understands."""
        own = [e for e in self.oracle.of_store(handset.name) if e.said is None and not e.spoilt]
        if not own:
            return ""
        entry = handset.random.choice(own[-5:])
        held = handset.phone.find(UUID(entry.mutation))
        if held is None or held.outcome is not None:
            return ""
        db = handset.phone.store.db
        raw = bytes(db.execute("SELECT raw FROM mutation WHERE id = ?", (UUID(entry.mutation).bytes,)).fetchone()[0])
        ways = {
            "unknown kind": (b'"kind":"' + entry.kind.encode() + b'"', b'"kind":"sighting"'),
            "old contract": (b'"contract":1', b'"contract":0'),
            "new contract": (b'"contract":1', b'"contract":7'),
            "mistyped": (b'"n":' + str(entry.n).encode(), b'"n":"' + str(entry.n).encode() + b'"'),
        }
        way = handset.random.choice([name for name, (old, _) in ways.items() if old in raw])
        old, new = ways[way]
        handset.garbled[raw] = raw.replace(old, new, 1)
        entry.spoilt = way
        return f"garbled: {way}"

    def _create(self, handset: Handset, kind: str, body: dict[str, Any], unit: str) -> str:
        writes = {name: Write(None, value) for name, value in body.items() if name != "answers"}
        writes |= {f"answers.{item}": Write(None, answer) for item, answer in body.get("answers", {}).items()}
        record: list[UUID] = []

        def create() -> None:
            record.append(handset.phone.create(kind, county_of(unit), body))

        if not self._survives(handset, create):
            words = {value for value in body.values() if isinstance(value, str) and value.startswith("w-")}
            record += [v.id for v in handset.phone.records(kind) if words <= {x for x in v.body.values() if isinstance(x, str)}]
            if not record:
                return "phone killed while typing"
        self._log(handset, record[0], kind, "create", writes, {}, {}, unit)
        return f"{kind} created"

    def _edit(self, handset: Handset, view: RecordView, values: dict[str, Any]) -> str:
        writes = {name: Write(shown(view.body, name), value) for name, value in values.items()}
        return self._enter(handset, view, "edit", writes, {}, lambda: handset.phone.edit(view.id, values, seen=view))

    def _command(
        self,
        handset: Handset,
        view: RecordView,
        op: str,
        values: dict[str, Any],
        *,
        shows: dict[str, Any] | None = None,
        args: dict[str, Any] | None = None,
    ) -> str:
        writes = {name: Write(shown(view.body, name), value) for name, value in values.items()}
        enter = lambda: handset.phone.command(view.id, op, values, args=args, shows=shows, seen=view)  # noqa: E731
        return self._enter(handset, view, op, writes, args or {}, enter)

    def _enter(
        self, handset: Handset, view: RecordView, op: str, writes: dict[str, Write], args: dict[str, Any], enter: Callable[[], object]
    ) -> str:
        before = newest(handset, view.id)
        self._survives(handset, enter)
        if newest(handset, view.id) == before:
            return "phone killed while typing"
        unit = str(view.body.get("unit", ""))
        self._log(handset, view.id, view.kind, op, writes, args, view.body, unit)
        return f"{view.kind} {op.rpartition('.')[2]}"

    def _survives(self, handset: Handset, enter: Callable[[], object]) -> bool:
        """Type it; now and then the battery ends in the middle, and what was durable then is what counts."""
        if handset.random.random() < 0.015:
            handset.battery.steps_left = handset.random.choice([0, 1])
        try:
            enter()
        except Killed:
            handset.faults["phone killed while typing"] += 1
            handset.reopen(reboot=True)
            return False
        finally:
            handset.battery.steps_left = None
        return True

    def _log(
        self,
        handset: Handset,
        record: UUID,
        kind: str,
        op: str,
        writes: dict[str, Write],
        args: dict[str, Any],
        screen: dict[str, Any],
        unit: str,
    ) -> None:
        mutation = newest(handset, record)
        assert mutation is not None
        held = handset.phone.find(UUID(mutation))
        assert held is not None
        ms = self.true_ms()
        self.oracle.typed(
            Entry(
                number=len(self.oracle.entries),
                at_ms=ms,
                mutation=mutation,
                n=held.n,
                store=handset.name,
                device=str(handset.phone.account.device),
                person=handset.person.id,
                county=held.county,
                record=str(record),
                kind=kind,
                op=op,
                writes=writes,
                args=args,
                screen=screen,
                unit=unit,
                entitled=handset.person.is_entitled(unit, ms),
                spoilt="another app version" if handset.contract != 1 else "poisoned" if POISON in repr(writes) else None,
            )
        )


def newest(handset: Handset, record: UUID) -> str | None:
    """The newest own mutation on a record in this store."""
    db = handset.phone.store.db
    row = db.execute("SELECT id FROM mutation WHERE record = ? ORDER BY n DESC LIMIT 1", (record.bytes,)).fetchone()
    return None if row is None else str(UUID(bytes=row[0]))


def familiar(view: RecordView) -> tuple[str, ...]:
    """An order that is the same in every run of a seed: by the words a record was made with."""
    names = ("name", "title", "note", "item", "field", "lost", "kept")
    return tuple(str(view.body.get(name)) for name in names)


def shown(body: dict[str, Any], name: str) -> Any:
    head, dot, key = name.partition(".")
    value = body.get(head)
    return (value or {}).get(key) if dot else value
