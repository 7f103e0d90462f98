"""Promises 1, 2, 3 and 9: what was acknowledged is there, once, as it was typed; what was not taken says why."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from tests.simulator.testimony import ACCEPTED, HELD, Circumstances, Entry, JournalRow, PhoneView, ServerRecord, ServerView, Violation

# What may become of an edit that nobody spoilt, by its reason.
REFUSALS = frozenset({"not_allowed_now", "not_your_role", "record_missing", "discarded", "parts_missing"})
# Who made a record, by its kind: their own work is not refused as another's, but for what the office has taken over since.
MADE_BY = {"inspection": "recorded_by", "problem": "reported_by"}
TAKEN_OVER = frozenset({"task", "whistle", "transfer", "photo", "conflict"})
BEFORE_THE_OFFICE = frozenset({"draft", "reported"})


# A command -> the only things that may be missing of it, as they depend on what else happened.
GUARDED: dict[str, set[str]] = {
    "problem.accept": {"not_the_submitter"},
    "problem.close_out": {"not_the_submitter", "evidence_here"},
    "problem.submit_fix": {"new_after_photo"},
    "problem.suspend": {"limit_ahead"},
    "whistle.confirm": {"not_the_answerer"},
    "whistle.close": {"all_confirmed"},
    "summons.refuse": {"refused_at_most_once"},
    "summons.result": {"reported_in"},
    "supervision.lift": {"answered_if_it_says_so"},
    # what lost may be out of date by the time that somebody settles it
    "conflict.settle": {"deadline_ahead", "limit_ahead", "look_back_ahead", "each_unit_once"},
}
# What may be missing only after a restore: it lost a reporting-in, and that phone has not handed it back when the result comes.
AFTER_RESTORE = frozenset({"summons.result"})
# Records that carry the name of the one they are about.
SHADOWS = frozenset({"conflict", "assignment", "summons"})
# What says that the server made a record because of another one, and gave it that one's name: a plan's task, a letter by rule.
CAUSES = ("origin", "grounds")


class Fates:
    """How each mutation ended, as the server's journal tells it."""

    def __init__(self, server: ServerView) -> None:
        self._last: dict[str, JournalRow] = {}
        self._by_number: dict[tuple[int, str, int], JournalRow] = {}
        self.arrivals: Counter[str] = Counter()
        self.raw: dict[str, bytes] = {}
        for row in sorted(server.journal, key=lambda r: (r.device, r.n, r.entry)):
            if row.what == "consequence":
                continue
            self._by_number[row.county, row.device, row.n] = row
            if row.mutation is None:
                continue
            if row.what == "mutation":
                self.arrivals[row.mutation] += 1
                self.raw[row.mutation] = row.raw or b""
            self._last[row.mutation] = row

    def of(self, entry: Entry) -> JournalRow | None:
        """None: the server has never heard of it."""
        found = self._last.get(entry.mutation)
        if found is None and entry.spoilt:  # bytes that do not decode are known by their number only
            found = self._by_number.get((entry.county, entry.device, entry.n))
            found = found if found is not None and found.mutation is None else None
        return found

    def accepted(self, entry: Entry) -> bool:
        row = self.of(entry)
        return row is not None and row.outcome in ACCEPTED and row.reason != "forwarded"


def judge_keeping(
    entries: Iterable[Entry], fates: Fates, server: ServerView, phones: dict[str, PhoneView], circumstances: Circumstances
) -> Iterator[Violation]:
    deleted: set[tuple[str, str]] = set()  # (store, record): who deletes a record and writes on knows that it is away
    uncreated: set[tuple[int, str]] = set()  # records whose creation was lost, held or discarded
    made: set[tuple[str, str]] = set()  # (store, record)
    for entry in entries:
        if entry.op == "create":
            made.add((entry.store, entry.record))
        if entry.op == "create" and not fates.accepted(entry):
            uncreated.add((entry.county, entry.record))
        row = fates.of(entry)
        if entry.op == "delete" or entry.args.get("choice"):
            deleted.add((entry.store, str(entry.args.get("record") or entry.record)))
        if row is None:
            yield from _absent(entry, server, phones.get(entry.store), circumstances)
            continue
        if fates.arrivals[entry.mutation] > 1:
            yield Violation(2, f"{_named(entry)} is in the journal {fates.arrivals[entry.mutation]} times", entry.record)
        if not entry.spoilt and (missing := [t for t in tokens_of(entry) if t.encode() not in fates.raw[entry.mutation]]):
            yield Violation(3, f"{_named(entry)}: the journal's raw mutation lacks {missing}", entry.record)
        knew = row.reason == "record_deleted" and ((entry.store, entry.record) in deleted or circumstances.restored)
        may_lack = entry.op in GUARDED and (entry.op not in AFTER_RESTORE or bool(circumstances.restored))
        guarded = row.reason == "incomplete" and may_lack
        others = row.reason == "not_yours" and _is_others(entry, server)
        if row.outcome == "rejected" and row.reason not in REFUSALS and not (knew or guarded or others or entry.spoilt):
            yield Violation(3, f"{_named(entry)} was refused: {row.reason}", entry.record)
        if row.outcome in HELD:
            missing_base = bool({(entry.county, entry.record), (entry.county, str(entry.args.get("parent")))} & uncreated)
            is_own = (entry.store, entry.record) in made
            yield from _held(entry, row, server, phones.get(entry.store), circumstances, missing_base, is_own)
    yield from _incarnations(server, circumstances)


def _is_others(entry: Entry, server: ServerView) -> bool:
    """Evidence that somebody else's side made, or that the office has taken over."""
    record = server.records.get((entry.county, entry.record))
    if record is None or record.kind in TAKEN_OVER:
        return record is not None
    field = MADE_BY.get(record.kind)
    return field is not None and (_was_taken_over(record) or record.body.get(field) != entry.person)


def _was_taken_over(record: ServerRecord) -> bool:
    """A problem that is the office's, or was before the office gave it back: an edit may have arrived in between."""
    was = {record.body.get("state"), *(step.get("to") or "draft" for step in record.body.get("steps") or [])}
    return record.kind == "problem" and not was <= BEFORE_THE_OFFICE


def _named(entry: Entry) -> str:
    return f"#{entry.number} {entry.kind} {entry.op} n={entry.n} of {entry.store}"


def tokens_of(entry: Entry) -> list[str]:
    """The words that were typed, which occur nowhere else."""
    return [
        word for word in _words(entry.args) + [w for write in entry.writes.values() for w in _words(write.value)] if word.startswith("w-")
    ]


def _words(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [word for one in value.values() for word in _words(one)]
        case list():
            return [word for one in value for word in _words(one)]
        case _:
            return []


def _absent(entry: Entry, server: ServerView, phone: PhoneView | None, circumstances: Circumstances) -> Iterator[Violation]:
    """The server does not have it."""
    if phone is not None and entry.mutation in phone.holds:
        if phone.ended == "complete" or phone.unsent == 0:
            yield Violation(3, f"{_named(entry)}: the phone holds it, says that nothing is unsent, and the server lacks it", entry.record)
        return
    lost_by_restore = entry.said is not None and any(back <= entry.said_at_ms <= at for at, back in circumstances.restored)
    if entry.said is not None and not lost_by_restore:
        yield Violation(1, f"{_named(entry)} was acknowledged ({entry.said}) and is gone", entry.record)
    if entry.said is None and entry.store not in circumstances.gone:
        yield Violation(3, f"{_named(entry)} is neither on the phone nor on the server", entry.record)
    row = server.devices.get((entry.county, entry.device))
    if lost_by_restore and phone is not None and row is not None and not any(a <= entry.n <= b for a, b in row.holes):
        yield Violation(9, f"{_named(entry)} was lost by a restore and is no visible hole", entry.record)


def _held(
    entry: Entry, row: JournalRow, server: ServerView, phone: PhoneView | None, circumstances: Circumstances, uncreated: bool, is_own: bool
) -> Iterator[Violation]:
    settled = server.held.get((row.county, row.device, row.n))
    if settled is None:
        yield Violation(3, f"{_named(entry)} is {row.outcome} ({row.reason}) and on no desk", entry.record)
    elif settled:
        yield Violation(3, f"{_named(entry)} is {row.outcome} ({row.reason}), but its desk says that it is settled", entry.record)
    cloned = entry.device in circumstances.cloned
    if phone is not None and not cloned and entry.mutation in phone.holds and entry.mutation not in phone.waiting:
        yield Violation(3, f"{_named(entry)} is {row.outcome} ({row.reason}), and its phone does not show that it waits", entry.record)
    if row.reason == "waits_for" or entry.spoilt or cloned:
        return
    if row.reason.startswith("contract_too") and entry.store in circumstances.odd_apps and circumstances.restored:
        return  # handed in again by that app
    if row.reason in ("record_missing", "parent_missing") and (uncreated or circumstances.restored):
        return
    if row.reason == "duty_uncertain" and not is_own:
        return  # somebody else's record, after a reassignment
    if row.reason == "no_duty" and (not entry.entitled or circumstances.restored or _has_moved(entry, server)):
        return
    yield Violation(3, f"{_named(entry)} was held without a reason: {row.outcome} ({row.reason})", entry.record)


def _has_moved(entry: Entry, server: ServerView) -> bool:
    """Whether the record was ever elsewhere than where its author saw it: then their duty may not reach it."""
    places = (entry.record, entry.args.get("parent"))
    streams = {row.stream for row in server.journal if row.record in places and row.stream}
    return any(stream.rpartition(".")[0] != entry.unit for stream in streams)


def _incarnations(server: ServerView, circumstances: Circumstances) -> Iterator[Violation]:
    """A new incarnation says that the server forgot something: only a restore may do that."""
    for county, incarnation in server.incarnations.items():
        if incarnation > 1 + len(circumstances.restored):
            yield Violation(1, f"county {county} is in incarnation {incarnation} after {len(circumstances.restored)} restores", str(county))

    for county, (incarnation, stores) in circumstances.forgotten.items():
        if server.incarnations[county] <= incarnation and stores - circumstances.gone:  # a phone that is lost shows nothing
            yield Violation(9, f"county {county} was restored, phones held what it had lost, and it did not notice", str(county))


def judge_order(entries: Iterable[Entry], fates: Fates, circumstances: Circumstances) -> Iterator[Violation]:
    """Promises 3 and 7: what depends on a held mutation waits with it."""
    waiting: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        if entry.device in circumstances.cloned:
            continue
        row, key = fates.of(entry), (entry.store, entry.record)
        if row is not None and row.outcome in HELD:
            waiting.setdefault(key, entry)
        elif row is not None and row.outcome in ACCEPTED and key in waiting and not circumstances.restored:
            yield Violation(7, f"{_named(entry)} was applied, but {_named(waiting[key])} before it still waits", entry.record)


def judge_words(entries: Iterable[Entry], server: ServerView) -> Iterator[Violation]:
    """Promise 2: a name that was typed once names one record; an entry that was appended once is there once."""
    named: dict[str, list[str]] = defaultdict(list)
    for (_, record_id), record in server.records.items():
        if (
            isinstance(name := record.body.get("name") or record.body.get("title"), str)
            and name.startswith("w-")
            and record.kind not in SHADOWS
            and not any(record.body.get(cause) for cause in CAUSES)
        ):
            named[name].append(record_id)
        for field in ("comments", "tags", "subjects", "inspectors", "sites"):
            values = record.body.get(field)
            if isinstance(values, list):
                keys = [v.get("id") if isinstance(v, dict) else v for v in values]
                for key, times in Counter(map(str, keys)).items():
                    if times > 1:
                        yield Violation(2, f"{field} has {key} {times} times", record_id)
    for name, records in named.items():
        if len(set(records)) > 1 and not any(server.records[k].moved_to for k in server.records if k[1] in records):
            yield Violation(2, f"{name} names {len(records)} records", records[0])
