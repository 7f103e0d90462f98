"""Who acts in days in memory: phones of the simplest kind, which show what they last saw with their own work over it; and anybody who
pushes one deed at a time.
"""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import seed

from contracts.ids import MutationId, RecordId, Version
from contracts.mutation import CREATE, DELETE, EDIT, Mutation
from contracts.outcomes import MutationOutcome
from contracts.people import Role
from sync.merge import get_field, set_field
from sync.planned import Plan
from tests.builders import BODIES, a_mutation, a_sender, an_id, arrived
from tests.county import TOWNSHIP
from tests.strategies import Step
from tests.sync.pretend_county import PretendCounty


class Player:
    """One device of one person, who may do everything an office may, in every village of the township."""

    def __init__(self, county: PretendCounty, device: int, role: Role = Role.TOWNSHIP_LEAD) -> None:
        self.county = county
        self.sender = a_sender(device, role, TOWNSHIP)
        self.n = itertools.count(1)
        self.shown: dict[RecordId, dict[str, Any]] = {}
        self.bases: dict[RecordId, Version | MutationId] = {}
        self.pending: list[Mutation] = []
        self.sent: list[Mutation] = []

    def play(self, step: Step) -> None:
        if step.sync:
            self.sync()
            return
        record = an_id(100 + step.record)
        if step.op == CREATE:
            self._enter(record, step, None, {**BODIES[step.kind], **_flat(step.values)})
        else:
            self._enter(record, step, self.bases.get(record, (0, 0)), None)

    def _enter(self, record: RecordId, step: Step, base: Version | MutationId | None, body: dict[str, Any] | None) -> None:
        n = next(self.n)
        shown = self.shown.setdefault(record, {})
        fields = {} if body is not None or step.op == DELETE else {f: (get_field(shown, f), v) for f, v in step.values.items()}
        if body is not None and step.kind == "photo":
            body = {**BODIES["photo"], "parent": str(an_id(101)), "caption": body.get("caption", "")}
        mutation = a_mutation(
            n,
            record,
            step.kind,
            step.op,
            id=an_id(hash((self.sender.device, n)) % 10**12),
            base=base,
            body=body,
            fields=fields,
            args=step.args,
        )
        self.pending.append(mutation)
        self.bases[record] = mutation.id
        if body is not None:
            self.shown[record] = copy.deepcopy(body)
        for field, (_, new) in fields.items():
            set_field(self.shown[record], field, new)

    def sync(self) -> Plan:
        plan = self.county.push(self.sender, [arrived(m) for m in self.pending])
        self.sent += self.pending
        self.pending = []
        self.look()
        return plan

    def look(self) -> None:
        self.shown = {r.id: copy.deepcopy(r.values) for r in self.county.records.values() if not r.deleted}
        self.bases = {r.id: r.version for r in self.county.records.values() if not r.deleted}


Who = tuple[int, Role, str]  # device, role, unit


class Deeds:
    """A county in which deeds are done, one push each, by whoever it is."""

    def __init__(self, county: PretendCounty) -> None:
        self.county = county
        self.n: dict[int, int] = {}

    def next(self, device: int) -> int:
        self.n[device] = self.n.get(device, 0) + 1
        return self.n[device]

    def push(self, who: Who, mutation: Mutation) -> MutationOutcome:
        device, role, unit = who
        (outcome,) = self.county.push(a_sender(device, role, unit), [arrived(mutation)]).outcomes
        return outcome

    def on(
        self, who: Who, record: RecordId, kind: str, command: str, stale: bool, fields: dict[str, Any], args: dict[str, Any]
    ) -> MutationOutcome:
        """`stale`: its author has seen nothing newer than the beginning."""
        base = (1, 1) if stale else self.county.records[record].version
        pairs = {name: (None, value) for name, value in fields.items()}
        return self.push(who, a_mutation(self.next(who[0]), record, kind, command, base=base, fields=pairs, args=args))


SEEDS = 20


def walked(walk: Callable[[], None], is_enough: Callable[[], bool]) -> bool:
    """Random days, with one seed after another: which ways a seed takes changes with every word in the code."""
    for k in range(SEEDS):
        if not is_enough():
            seed(k)(walk)()
    return is_enough()


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if "." not in name}


def typed(mutation: Mutation) -> dict[str, Any]:
    """Field -> value that this mutation's author typed."""
    if mutation.op == CREATE:
        return msgspec.json.decode(mutation.body)  # type: ignore[arg-type, no-any-return]
    return {f: new for f, (_, new) in mutation.fields.items()} if mutation.op != DELETE else {}


def edit_step(device: int, record: int, **values: Any) -> Step:
    return Step(device=device, record=record, kind="site", op=EDIT, values=values)
