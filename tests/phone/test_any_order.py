"""Any interleaving of people, pages, receipts, faults and kills keeps the overlay and the copies honest (promises 3, 4, 6).

The oracle knows only what was typed, in order, and what the scripted server holds.
"""

import asyncio
import contextlib
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from contracts.exchange import Limits
from contracts.outcomes import Outcome, Reason
from phone.exchange import Ended
from phone.faults import CrashAt, Fault, Killed, Loss
from tests.phone.pretend_server import NEXT_VILLAGE, VILLAGE
from tests.phone.rig import NEXT_UNIT, UNIT, Rig, others_records

UNITS = {VILLAGE: UNIT, NEXT_VILLAGE: NEXT_UNIT}


class PhoneInTheField(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.rig = Rig(self.folder / "store", durable=False, limits=Limits(records=5), mutations_max=2)
        self.rig.server.page_records = 2
        self.theirs = others_records(self.rig.server, 4)
        self.typed: dict[tuple[uuid.UUID, str], Any] = {}  # the last value typed, by record and field
        self.entered = 0
        self.number = 0
        self.restored = False
        self.loop.run_until_complete(self.rig.enrolled())

    def teardown(self) -> None:
        try:
            self.quieten()
        finally:
            self.rig.phone.close()
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()
            shutil.rmtree(self.folder)

    def next_value(self) -> str:
        self.number += 1
        return f"value {self.number}"

    def sync(self) -> Ended:
        return self.loop.run_until_complete(self.rig.phone.sync()).ended

    # ------------------------------------------------------------------------------------------- the person

    @rule()
    def creates(self) -> None:
        value = self.next_value()
        record = self.rig.site(value)
        self.entered += 1
        self.typed[record, "name"] = value
        self.theirs.append(record)

    @rule(pick=st.integers(0, 99), field=st.sampled_from(["note", "contact"]))
    def edits(self, pick: int, field: str) -> None:
        record = self.theirs[pick % len(self.theirs)]
        if self.rig.phone.view(record) is not None:
            value = self.next_value()
            self.rig.phone.edit(record, {field: value})
            self.entered += 1
            self.typed[record, field] = value

    # ------------------------------------------------------------------------------------------- other people

    @rule(pick=st.integers(0, 99), stream=st.sampled_from([VILLAGE, NEXT_VILLAGE]))
    def others_write_or_move(self, pick: int, stream: str) -> None:
        record = self.theirs[pick % len(self.theirs)]
        found = self.rig.server.where(record)
        if found is not None:
            body = {**found[1].body, "unit": UNITS[stream], "address": self.next_value()}
            self.rig.server.put(record, stream, "site", body)

    @rule(pick=st.integers(0, 99))
    def others_delete(self, pick: int) -> None:
        self.rig.server.delete(self.theirs[pick % len(self.theirs)])

    @rule(stream=st.sampled_from([VILLAGE, NEXT_VILLAGE]))
    def markers_are_purged(self, stream: str) -> None:
        self.rig.server.purge_markers(stream)

    @rule(scope=st.sampled_from([[VILLAGE], [NEXT_VILLAGE], [VILLAGE, NEXT_VILLAGE], [NEXT_VILLAGE, VILLAGE]]))
    def duties_change(self, scope: list[str]) -> None:
        device = [name for name in self.rig.server.scope if name.endswith(".device")]
        self.rig.server.scope = [*scope, *device]

    @rule(held=st.booleans())
    def the_desk_is_strict(self, held: bool) -> None:
        verdict = (Outcome.QUARANTINED, Reason.NO_DUTY) if held else (Outcome.APPLIED, Reason.OK)
        self.rig.server.judge = lambda mutation: verdict

    # ------------------------------------------------------------------------------------------- the road

    @rule(losses=st.lists(st.tuples(st.sampled_from([Loss.NONE, Loss.ANSWER, Loss.TWICE, Loss.CUT]), st.integers(0, 1500)), max_size=4))
    def syncs_on_a_bad_line(self, losses: list[tuple[Loss, int]]) -> None:
        coming = iter(losses)

        def plan(request: httpx.Request) -> Fault:
            loss, cut = next(coming, (Loss.NONE, 0))
            return Fault(loss=loss, cut_after_bytes=cut)

        self.rig.plan = plan
        self.sync()
        self.rig.plan = lambda request: Fault()

    @rule(k=st.integers(0, 40))
    def is_killed_while_syncing(self, k: int) -> None:
        self.rig.reopen(CrashAt(k))
        with contextlib.suppress(Killed):
            self.sync()
        self.rig.reopen()

    @precondition(lambda self: not self.restored)
    @rule()
    def the_server_is_restored_from_now(self) -> None:
        """A backup is taken, one more sync happens, and the backup comes back."""
        self.restored = True
        backup = self.rig.server.backup()
        self.sync()
        self.rig.server.restore(backup)

    # ------------------------------------------------------------------------------------------- always

    @invariant()
    def unsent_values_are_on_the_screen(self) -> None:
        db = self.rig.phone.store.db
        unsent = {uuid.UUID(bytes=r) for (r,) in db.execute("SELECT record FROM mutation WHERE outcome IS NULL")}
        for (record, field), value in self.typed.items():
            view = self.rig.phone.view(record) if record in unsent else None
            own = db.execute(
                "SELECT 1 FROM mutation WHERE outcome IS NULL AND record = ? AND instr(raw, ?)", (record.bytes, f'"{value}"')
            ).fetchone()
            if view is not None and own is not None:
                assert view.body[field] == value

    @invariant()
    def held_mutations_are_one_range_up_to_the_last(self) -> None:
        db = self.rig.phone.store.db
        numbers = [n for (n,) in db.execute("SELECT n FROM mutation ORDER BY n")]
        made = db.execute("SELECT coalesce(max(n_made), 0) FROM county").fetchone()[0]
        assert made == self.entered
        assert numbers == list(range(made - len(numbers) + 1, made + 1))

    def quieten(self) -> None:
        """Once the line is good, both sides agree, and every value typed is on the server or on a desk."""
        for _ in range(6):
            if self.sync() is Ended.COMPLETE and self.sync() is Ended.COMPLETE:
                break
        else:
            raise AssertionError("never quiet")
        self.rig.assert_agrees()
        self.rig.assert_never_repaired()
        server, phone = self.rig.server, self.rig.phone
        known = {n for device, n in server.world.outcomes if device == phone.account.device}
        assert known == set(range(1, self.entered + 1))
        applied = [m.id for m in server.world.applied]
        assert len(applied) == len(set(applied))
        waiting = {p.mutation.record for p in phone.waiting()}
        for name in server.scope:
            for record, body in server.bodies(name).items():
                if record not in waiting:
                    view = phone.view(record)
                    assert view is not None
                    assert view.body == body


TestPhoneInTheField = PhoneInTheField.TestCase
TestPhoneInTheField.settings = settings(max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
