"""Promises 3, 7 and 8: of the values that people gave a field, the right one stands and no other vanished.

Everything follows from what people saw. A value typed over another *replaces* it; so does what the same phone typed later.
Of the values that nobody replaced one may stand, and every other must be shown in the conflict inbox. Who of two overlapping
people comes second is chance and not judged; that the later of two who saw each other's work wins is.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.simulator.judge_keeping import Fates
from tests.simulator.testimony import Circumstances, Entry, Json, ServerRecord, ServerView, Violation, canonical

APPENDED = frozenset({"comments"})
SETS = frozenset({"tags", "subjects", "inspectors", "sites"})
# Where the same word may be typed by many, or the server chooses: judged by other rules or not at all.
REPEATED = frozenset({"unit", "state", "choice", "settled_by", "departments", "suspected_duplicates"})
DELETION = "-"

DISCLOSURE = {"secret", "unit"}  # what the end of an unannounced visit changes


@dataclass
class Node:
    """One value given to one field of one record."""

    entry: Entry
    value: str
    over: set[str]
    accepted: bool
    tapped: bool = False  # a supervisor's settlement: it puts an old value back
    replaces: list["Node"] = field(default_factory=list)

    def saw(self, other: "Node", *, taps: bool = True) -> bool:
        """Directly or through what it replaces. Without `taps`: only by what people typed."""
        seen: set[int] = set()
        stack = [self]
        while stack:
            for node in stack.pop().replaces:
                if node is other:
                    return True
                if id(node) not in seen and (taps or not node.tapped):
                    seen.add(id(node))
                    stack.append(node)
        return False


def judge_fields(entries: Iterable[Entry], fates: Fates, server: ServerView, circumstances: Circumstances) -> Iterator[Violation]:
    by_record: dict[tuple[int, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        by_record[entry.county, entry.record].append(entry)
    lost, settled = conflicts_of(server), settlements_of(by_record, fates)
    for key, told in by_record.items():
        record = server.records.get(key)
        if record is None:
            if any(fates.accepted(entry) for entry in told):
                yield Violation(3, f"{told[0].kind}: values were accepted and there is no record", key[1])
            continue
        if record.kind in ("conflict", "photo", "assignment") or record.moved_to is not None:
            continue
        yield from _judge_record(record, told, fates, lost, settled.get(key, []), circumstances)


def conflicts_of(server: ServerView) -> dict[tuple[int, str, str], list[tuple[str, str]]]:
    """(county, record, field) -> [(kept, lost)] of the conflict inbox, settled ones included."""
    found: dict[tuple[int, str, str], list[tuple[str, str]]] = defaultdict(list)
    for (county, _), record in server.records.items():
        if record.kind == "conflict":
            b = record.body
            found[county, str(b["record"]), str(b["field"])].append((canonical(b.get("kept")), canonical(b.get("lost"))))
    return found


def settlements_of(by_record: dict[tuple[int, str], list[Entry]], fates: Fates) -> dict[tuple[int, str], list[tuple[str, Entry, Json]]]:
    """(county, record) -> [(field, the supervisor's tap, the value it puts there)]."""
    taps: dict[tuple[int, str], list[tuple[str, Entry, Json]]] = defaultdict(list)
    for told in by_record.values():
        for entry in told:
            if entry.op == "conflict.settle" and entry.args.get("choice") in ("lost", "other") and fates.accepted(entry):
                value = entry.screen["lost"] if entry.args["choice"] == "lost" else entry.args.get("value")
                taps[entry.county, str(entry.screen["record"])].append((str(entry.screen["field"]), entry, value))
    return taps


def _judge_record(
    record: ServerRecord,
    told: list[Entry],
    fates: Fates,
    conflicts: dict[tuple[int, str, str], list[tuple[str, str]]],
    taps: list[tuple[str, Entry, Json]],
    circumstances: Circumstances,
) -> Iterator[Violation]:
    deletions = [e for e in told if e.op == "delete" and fates.accepted(e)]
    tapped_away = any(name == DELETION and e.args["choice"] == "lost" for name, e, _ in taps)
    disputed = conflicts.get((record.county, record.id, DELETION))
    if deletions and not record.deleted and not disputed and not circumstances.restored:
        yield Violation(3, f"{record.kind} was deleted by {deletions[0].store}, lives, and no conflict says why", record.id)
    if record.deleted and not deletions and not tapped_away and not circumstances.restored:
        yield Violation(3, f"{record.kind} is deleted, and nobody deleted it", record.id)
    fields = {name for entry in told for name in entry.writes} | {name for name, _, _ in taps}
    disclosed = DISCLOSURE if record.body.get("disclosed_at") else set()
    for name in sorted(fields - REPEATED - disclosed - {DELETION}):
        if name in APPENDED:
            yield from _judge_appended(record, name, told, fates)
        elif name in SETS:
            yield from _judge_set(record, name, told, fates, circumstances)
        else:
            nodes = nodes_of(name, told, taps, fates)
            known = conflicts.get((record.county, record.id, name), [])
            gone = _deleted_values(name, deletions) if record.deleted else None
            yield from _judge_field(record, name, nodes, known, None if tapped_away else gone, circumstances)


def nodes_of(name: str, told: list[Entry], taps: list[tuple[str, Entry, Json]], fates: Fates) -> list[Node]:
    """All values given to a field, in the order they were typed, each linked to what its author saw."""
    nodes = [
        Node(entry, canonical(entry.writes[name].value), {canonical(entry.writes[name].over)}, fates.accepted(entry))
        for entry in told
        if name in entry.writes
    ]
    nodes += [
        Node(
            entry, canonical(value), {canonical(entry.screen.get("kept")), canonical(entry.screen.get("lost"))}, accepted=True, tapped=True
        )
        for tapped, entry, value in taps
        if tapped == name
    ]
    nodes.sort(key=lambda node: node.entry.number)
    for i, node in enumerate(nodes):
        node.replaces = [other for other in nodes[:i] if other.value in node.over or other.entry.store == node.entry.store]
    return nodes


def _judge_field(
    record: ServerRecord,
    name: str,
    nodes: list[Node],
    known: list[tuple[str, str]],
    gone: set[str] | None,
    circumstances: Circumstances,
) -> Iterator[Violation]:
    accepted = [node for node in nodes if node.accepted]
    if not accepted:
        return
    now, rewound = canonical(value_in(record.body, name)), bool(circumstances.restored)
    unreplaced = [node for node in accepted if not any(other.saw(node) for other in accepted if other is not node)]
    lost = {value for _, value in known}
    put_back = {node.value for node in nodes if node.tapped}  # the same word again: who saw which of the two is not known
    if all(node.value != now for node in nodes):
        yield Violation(3, f"{name} is {now}, which nobody typed", record.id)
    elif not rewound and now not in put_back and all(node.value != now for node in unreplaced) and gone is None:
        standing = next(node for node in nodes if node.value == now)
        winner = next((node for node in accepted if node.saw(standing)), unreplaced[-1])
        promise = 7 if winner.entry.store == standing.entry.store else 8
        yield Violation(promise, f"{name} is {now}, but {winner.value} was typed after it by somebody who saw it", record.id)
    for node in unreplaced:
        if node.tapped and rewound:  # what the supervisor saw may be of a history that is no more
            continue
        if node.value != now and node.value not in lost and (gone is None or node.value not in gone):
            yield Violation(3, f"{name}: {node.value} (#{node.entry.number} of {node.entry.store}) vanished; it is {now}", record.id)
    if rewound:
        return
    for kept, value in known:
        if kept in put_back or value in put_back:
            continue
        typed = [node for node in nodes if not node.tapped]
        winners, losers = [n for n in typed if n.value == kept], [n for n in typed if n.value == value]
        if any(w.saw(l, taps=False) or l.saw(w, taps=False) for w in winners for l in losers):
            yield Violation(8, f"{name}: {kept} and {value} were typed one after the other, and yet there is a conflict", record.id)


def _deleted_values(name: str, deletions: list[Entry]) -> set[str]:
    """What those who deleted the record saw in a field when they did."""
    return {canonical(value_in(entry.screen, name)) for entry in deletions}


def _judge_appended(record: ServerRecord, name: str, told: list[Entry], fates: Fates) -> Iterator[Violation]:
    there = {str(entry.get("id")) for entry in value_in(record.body, name) or []}
    for entry in told:
        if name in entry.writes and fates.accepted(entry):
            for one in entry.writes[name].value or []:
                if str(one["id"]) not in there and not any(str(one["id"]) == str(o.get("id")) for o in entry.writes[name].over or []):
                    yield Violation(3, f"{name}: the entry {one['id']} (#{entry.number} of {entry.store}) is not there", record.id)


def _judge_set(record: ServerRecord, name: str, told: list[Entry], fates: Fates, circumstances: Circumstances) -> Iterator[Violation]:
    """Every word is added at most once, by one person; it stays until somebody who saw it takes it away."""
    there = set(value_in(record.body, name) or [])
    added: dict[str, Entry] = {}
    removed: dict[str, Entry] = {}
    for entry in told:
        if name in entry.writes and fates.accepted(entry):
            before, after = set(entry.writes[name].over or []), set(entry.writes[name].value or [])
            added |= dict.fromkeys(after - before, entry)
            removed |= dict.fromkeys(before - after, entry)
    for word, entry in added.items():
        if word not in there and word not in removed:
            yield Violation(3, f"{name}: {word} (#{entry.number} of {entry.store}) vanished", record.id)
    for word in removed.keys() & there:
        if not circumstances.restored:
            yield Violation(3, f"{name}: {word} is back, though {removed[word].store} took it away", record.id)


def value_in(body: dict[str, Json], name: str) -> Json:
    """`answers.item` is one key of the map `answers`."""
    head, dot, key = name.partition(".")
    value = body.get(head)
    return (value or {}).get(key) if dot else value
