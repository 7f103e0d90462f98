"""Promise 11, casework keeps its own rules: stories without gaps, counts that are counted, nobody who accepts what they submitted."""

from collections.abc import Iterable, Iterator

from tests.simulator.judge_keeping import GUARDED, Fates, tokens_of
from tests.simulator.testimony import Entry, Json, PhoneView, ServerRecord, ServerView, Violation, canonical

PROMISE = 11
BEGINS = {
    "problem": "draft",
    "whistle": "proposed",
    "summons": "called",
    "supervision": "issued",
    "task": "open",
    "plan": "drafted",
    "notice": "published",
    "transfer": "proposed",
    "response": "drafted",
    "campaign": "planned",
    "draw": "prepared",
}
COUNTED = {"returns": "problem.return", "rebounds": "problem.rebound"}
SUBMITS, ACCEPTS = ("problem.submit_fix", "problem.fix_on_spot"), "problem.accept"
SENDS_BACK = frozenset(COUNTED.values())
DONE = frozenset({"resulted", "confirmed", "cancelled"})  # a summons that nobody waits for
TOLD = {"not_allowed_now": "allowed", "incomplete": "needs", "parts_missing": "units"}  # why it was refused -> what its author must be told


def judge_casework(
    entries: Iterable[Entry], fates: Fates, server: ServerView, phones: dict[str, PhoneView], scope: dict[str, set[str]]
) -> Iterator[Violation]:
    """All of it, at a quiet point. `scope`: person -> streams."""
    entries = list(entries)
    typed = {entry.mutation: entry for entry in entries}
    yield from _secrets(server, entries, phones.values(), scope)
    live = [record for record in server.records.values() if record.moved_to is None and not record.deleted]
    for record in live:
        if record.kind in BEGINS:
            yield from _story(record)
        if record.kind == "problem":
            yield from _counts(record)
            yield from _acceptance(record)
            yield from _parts(record, typed)
            yield from _assignments(record, live)
        if record.kind == "whistle":
            yield from _answered(record, live)
    for phone in phones.values():
        yield from _shown(phone, server)
    for entry in entries:
        yield from _words(entry, fates, server)
        yield from _refused(entry, fates, phones.get(entry.store))


def steps_of(record: ServerRecord) -> list[dict[str, Json]]:
    return record.body.get("steps") or []


def _state(record: ServerRecord) -> str:
    return str(record.body.get("state") or BEGINS[record.kind])


def _story(record: ServerRecord) -> Iterator[Violation]:
    """Each step begins where the one before it ended, and the last ends where the record stands."""
    now = "reported" if record.body.get("inspection") else BEGINS[record.kind]  # a `no` on a checklist is a report
    for i, step in enumerate(steps_of(record)):
        if step.get("source", "") != now:
            text = f"{record.kind}: step {i} ({step['command']}) goes from {step.get('source')!r}, the story was at {now!r}"
            yield Violation(PROMISE, text, record.id)
        now = step.get("to", "")
    if now != _state(record):
        yield Violation(PROMISE, f"{record.kind} is {_state(record)}, its story ends at {now!r}", record.id)


def _counts(problem: ServerRecord) -> Iterator[Violation]:
    for field, command in COUNTED.items():
        counted, told = problem.body.get(field) or 0, sum(step["command"] == command for step in steps_of(problem))
        if counted != told:
            yield Violation(PROMISE, f"{field} is {counted}, its story tells of {told}", problem.id)


def _acceptance(problem: ServerRecord) -> Iterator[Violation]:
    submitted_by = None
    for step in steps_of(problem):
        if step["command"] in SUBMITS:
            submitted_by = step.get("by")
        if step["command"] == ACCEPTS and step.get("by") == submitted_by:
            yield Violation(PROMISE, f"{submitted_by} accepted what they had submitted", problem.id)


def _parts(problem: ServerRecord, typed: dict[str, Entry]) -> Iterator[Violation]:
    """What is accepted has the part of each unit that leads, or says why it is not needed. A settled conflict changes the leads untold."""
    leads: list[Json] = []
    handed_in, forgotten = set[str](), list[set[str]]()
    for step in steps_of(problem):
        told, said, entry = step.get("sets") or {}, step.get("args") or {}, typed.get(step["id"])
        leads = told.get("leads", leads)
        if step["command"] in SENDS_BACK:
            handed_in = set()
        elif step["command"] == "problem.fix_on_spot":
            handed_in |= set(leads)
        elif step["command"] == "problem.submit_fix":
            handed_in |= {entry.unit} if entry is not None and entry.kind == "assignment" else set(told.get("handed_in") or [])
        elif step["command"] == ACCEPTS:
            forgotten.append(set(leads) - handed_in - set(said.get("without") or [] if said.get("reason") else []))
    if any(forgotten) and leads == problem.body.get("leads"):
        yield Violation(PROMISE, f"accepted without the parts of {forgotten}", problem.id)


def _assignments(problem: ServerRecord, live: list[ServerRecord]) -> Iterator[Violation]:
    """Every unit that must fix it is shown the problem, once, as it is; nobody else is."""
    units = {*(problem.body.get("leads") or []), *(problem.body.get("supporting") or [])}
    shown = [r for r in live if r.kind == "assignment" and r.body.get("problem") == problem.id]
    if sorted(str(r.body.get("unit")) for r in shown) != sorted(units):
        yield Violation(PROMISE, f"it is for {sorted(units)}, and shown to {sorted(str(r.body.get('unit')) for r in shown)}", problem.id)
    for assignment in shown:
        if assignment.stream != f"{assignment.body.get('unit')}.field":
            yield Violation(PROMISE, f"an assignment of {assignment.body.get('unit')} lies in {assignment.stream}", problem.id)


def _shown(phone: PhoneView, server: ServerView) -> Iterator[Violation]:
    """What a department reads on its phone is the problem, in its version and word by word."""
    for record_id, held in phone.records.items():
        problem_id = held.body.get("problem")
        if held.own or "shown" not in held.body or problem_id is None:
            continue
        problem = server.records.get((held.county, str(problem_id)))
        if problem is None:
            yield Violation(PROMISE, f"{phone.store} shows an assignment of no problem", record_id)
        elif held.version != problem.version:
            yield Violation(PROMISE, f"{phone.store} shows version {held.version} of a problem that is at {problem.version}", problem.id)
        elif held.body.get("state") != problem.body.get("state") or canonical(held.body["shown"]) != canonical(problem.body):
            yield Violation(PROMISE, f"{phone.store} shows a department another problem than there is", problem.id)


def _secrets(server: ServerView, entries: Iterable[Entry], phones: Iterable[PhoneView], scope: dict[str, set[str]]) -> Iterator[Violation]:
    """Of an unannounced visit no word stands on a phone whose person does not send visitors, before it is disclosed."""
    secret = {key for key, r in server.records.items() if r.stream.endswith(".visit") and not r.body.get("disclosed_at")}
    words = {word: e for e in entries if (e.county, e.record) in secret for word in tokens_of(e)}
    for phone in phones:
        if any(stream.endswith(".visit") for stream in scope[phone.person]):
            continue
        shown = " ".join(canonical(held.body) for held in phone.records.values())
        yield from (
            Violation(6, f"{phone.store} shows {word} of an unannounced visit", e.record) for word, e in words.items() if word in shown
        )


def _answered(whistle: ServerRecord, live: list[ServerRecord]) -> Iterator[Violation]:
    summons = {str(r.body["unit"]): r for r in live if r.kind == "summons" and r.body.get("whistle") == whistle.id}
    told = {unit: one.get("state") for unit, one in (whistle.body.get("summons") or {}).items()}
    real = {unit: _state(one) for unit, one in summons.items()}
    if told != real:
        yield Violation(PROMISE, f"the whistle says {told} of its departments; they are {real}", whistle.id)
    waits = sorted(unit for unit, one in summons.items() if one.body.get("required", True) and _state(one) not in DONE)
    state = _state(whistle)
    if state == "blown" and not waits:
        yield Violation(PROMISE, "all required departments have answered, and the whistle is not answered", whistle.id)
    if state in ("answered", "closed") and waits:
        yield Violation(PROMISE, f"the whistle is {state}, and {waits} have not answered", whistle.id)
    if state == "closed" and whistle.body.get("feedback_owed"):
        yield Violation(PROMISE, "the whistle is closed, and who raised it has not been told", whistle.id)


def _is_casework(entry: Entry) -> bool:
    return entry.op.partition(".")[0] in BEGINS


def _words(entry: Entry, fates: Fates, server: ServerView) -> Iterator[Violation]:
    """What was said with a command that was taken stands in the story of its record."""
    if not _is_casework(entry) or not fates.accepted(entry):
        return
    record = server.records.get((entry.county, str(entry.screen.get("problem")) if entry.kind == "assignment" else entry.record))
    if record is None or record.moved_to is not None:
        return
    told = [step for step in steps_of(record) if step.get("id") == entry.mutation]
    if len(told) != 1:
        yield Violation(PROMISE, f"#{entry.number} {entry.op} of {entry.store} was taken and is {len(told)} times in the story", record.id)
    elif missing := [word for word in tokens_of(entry) if word in canonical(entry.args) and word not in canonical(told[0].get("args"))]:
        yield Violation(PROMISE, f"#{entry.number} {entry.op} of {entry.store}: the story lacks {missing}", record.id)


def _refused(entry: Entry, fates: Fates, phone: PhoneView | None) -> Iterator[Violation]:
    """Its author can read that it was refused, and what would be allowed and by whom."""
    row = fates.of(entry)
    if not _is_casework(entry) or row is None or row.outcome != "rejected" or phone is None or entry.mutation not in phone.holds:
        return
    if entry.mutation not in phone.refusals:
        yield Violation(PROMISE, f"#{entry.number} {entry.op} was refused, and {entry.store} does not say so", entry.record)
        return
    said, named = phone.refusals[entry.mutation], TOLD.get(row.reason)
    detail = said if isinstance(said, dict) else {}
    if named is not None and named not in detail:
        yield Violation(PROMISE, f"#{entry.number} {entry.op} was refused ({row.reason}) and {entry.store} reads only {said}", entry.record)
    if row.reason == "incomplete" and not set(detail.get("needs") or ["nothing"]) <= GUARDED.get(entry.op, set()):
        yield Violation(PROMISE, f"#{entry.number} {entry.op} was refused, as if it lacked {detail.get('needs')}", entry.record)
    allowed = detail.get("allowed", {})
    if any(not by for by in allowed.values()):
        yield Violation(PROMISE, f"#{entry.number} {entry.op}: nobody is named who may do {allowed}", entry.record)
