"""Killed anywhere, cut anywhere, answered into the void: nothing is lost and nothing happens twice (promises 1 to 4).

The day below passes every durable step of the phone. It is lived once per crash point, killed there, opened again and
lived to its end; then with several kills in one day; then with real SIGKILLs of a real process.
"""

import random
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.exchange import Limits
from phone.exchange import Ended
from phone.faults import CrashAt, Fault, Killed, Loss
from tests.phone.pretend_server import COUNTY, NEXT_VILLAGE, VILLAGE
from tests.phone.rig import NEXT_UNIT, Rig, others_records

pytestmark = pytest.mark.anyio
PHOTO = b"\xff\xd8" + bytes(range(256)) * 9
NEVER = 10**9


class Day:
    """One scripted day. Whatever kills the phone, it is opened again and the step repeated unless it was durable."""

    def __init__(self, rig: Rig, crash_point: Callable[[str], None], *, keeps: bool = False) -> None:
        self.rig = rig
        self.crash_point = crash_point
        self.keeps = keeps  # the crash point goes on after a kill
        self.entered = 0
        self.kills = 0

    def reopen(self) -> None:
        self.kills += 1
        self.rig.phone.close()
        while True:
            try:
                self.rig.open(self.crash_point if self.keeps else lambda name: None)
                return
            except Killed:
                self.kills += 1

    def n_made(self) -> int:
        row = self.rig.phone.store.db.execute("SELECT n_made FROM county").fetchone()
        return row[0] if row else 0

    def enter(self, action: Callable[[], object]) -> uuid.UUID:
        """A person enters one thing; after a kill they look whether it is there. Returns the record's id."""
        self.entered += 1
        while self.n_made() < self.entered:
            try:
                action()
            except Killed:
                self.reopen()
        row = self.rig.phone.store.db.execute("SELECT record FROM mutation WHERE n = ?", (self.entered,)).fetchone()
        return uuid.UUID(bytes=row[0])

    async def sync(self) -> None:
        for _ in range(50):
            try:
                if (await self.rig.phone.sync()).ended is Ended.COMPLETE:
                    return
            except Killed:
                self.reopen()
        raise AssertionError("never came to an end")

    async def upload(self) -> None:
        for _ in range(50):
            try:
                if (await self.rig.phone.upload_photos()).ended is Ended.COMPLETE:
                    return
            except Killed:
                self.reopen()
        raise AssertionError("never came to an end")

    async def live(self) -> uuid.UUID:
        """All of it. Returns the photo's parent."""
        rig, server = self.rig, self.rig.server
        theirs = others_records(server, 7)
        await self.sync()
        site = self.enter(lambda: rig.site("new"))
        self.enter(lambda: rig.phone.edit(site, {"note": "first"}))
        self.enter(lambda: rig.phone.edit(theirs[0], {"name": "mine"}))
        photo = self.enter(lambda: rig.phone.add_photo(site, PHOTO))
        server.put(theirs[1], NEXT_VILLAGE, "site", {"unit": NEXT_UNIT, "name": "moved"})
        await self.sync()
        await self.upload()
        self.enter(lambda: rig.phone.edit(site, {"note": "second"}))
        server.delete(theirs[2])
        server.delete(theirs[3])
        server.purge_markers(VILLAGE)
        others_records(server, 3, NEXT_VILLAGE)
        await self.sync()
        server.scope[:] = [NEXT_VILLAGE]
        self.enter(lambda: rig.phone.edit(theirs[4], {"note": "last words"}))
        self.enter(lambda: rig.phone.delete(theirs[5]))
        await self.sync()
        assert rig.phone.view(site) is None
        server.scope[:] = [NEXT_VILLAGE, VILLAGE]
        await self.sync()
        self.assert_all_is_well(site, photo, theirs)
        return site

    def assert_all_is_well(self, site: uuid.UUID, photo: uuid.UUID, theirs: list[uuid.UUID]) -> None:
        rig, server = self.rig, self.rig.server
        ids = [m.id for m in server.world.applied]
        assert len(ids) == len(set(ids)) == self.entered == 7
        bodies = server.bodies()
        assert bodies[site]["note"] == "second"
        assert bodies[theirs[0]]["name"] == "mine"
        assert bodies[theirs[4]]["note"] == "last words"
        assert theirs[5] not in bodies
        assert list(server.world.photos.values()) == [PHOTO]
        assert rig.phone.unsent() == 0
        rig.assert_agrees()
        rig.assert_never_repaired()
        for record, body in bodies.items():
            assert rig.seen(record).body == body
        assert [p.held for p in rig.phone.photos()] == [False]
        assert rig.phone.store.photo_folder is not None
        assert list(rig.phone.store.photo_folder.iterdir()) == []
        assert rig.seen(photo).parent == site


async def a_rig(path) -> Rig:
    rig = Rig(path, durable=False, limits=Limits(records=4), mutations_max=2)
    rig.server.page_records = 2
    return await rig.enrolled()


async def test_a_day_without_kills(tmp_path):
    rig = await a_rig(tmp_path / "store")
    counter = CrashAt(NEVER)
    rig.reopen(counter)
    await Day(rig, counter).live()
    assert {"photo written", "photo named", "frames stored: after commit", "frame Page applied: before commit"} <= set(counter.passed)


async def test_killed_at_every_durable_step_of_a_day(tmp_path):
    counter = CrashAt(NEVER)
    rig = await a_rig(tmp_path / "count")
    rig.reopen(counter)
    await Day(rig, counter).live()
    assert len(counter.passed) > 100
    for k in range(len(counter.passed)):
        rig = await a_rig(tmp_path / str(k))
        rig.reopen(CrashAt(NEVER))
        crash = CrashAt(k)
        rig.phone.close()
        rig.open(crash)
        day = Day(rig, crash)
        await day.live()
        assert day.kills == 1, crash.passed[k]
        rig.phone.close()


@pytest.mark.parametrize("seed", range(12))
async def test_killed_again_and_again(tmp_path, seed):
    dice = random.Random(seed)

    def sometimes(name: str) -> None:
        if dice.random() < 0.04:
            raise Killed(name)

    rig = await a_rig(tmp_path / "store")
    rig.phone.close()
    day = Day(rig, sometimes, keeps=True)
    day.reopen()
    await day.live()
    assert day.kills > 1


LOSSES = st.sampled_from([Loss.NONE, Loss.NONE, Loss.REQUEST, Loss.ANSWER, Loss.TWICE, Loss.CUT])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    losses=st.lists(st.tuples(LOSSES, st.integers(0, 2500)), max_size=40),
    encoding=st.sampled_from(["zstd", "gzip", "identity"]),
)
async def test_a_connection_that_fails_in_every_way(tmp_path_factory, losses, encoding):
    rig = await a_rig(tmp_path_factory.mktemp("phone") / "store")
    rig.server.encoding = encoding
    coming = iter(losses)

    def plan(request: httpx.Request) -> Fault:
        loss, cut = next(coming, (Loss.NONE, 0))
        return Fault(loss=loss, cut_after_bytes=cut)

    rig.plan = plan
    await Day(rig, CrashAt(NEVER)).live()
    rig.phone.close()


@pytest.mark.parametrize("encoding", ["zstd", "gzip", "identity"])
async def test_an_answer_cut_after_any_byte_keeps_its_whole_frames(encoding):
    """Every complete frame counts, and nothing of a half one."""
    for cut in range(0, 12_000, 31):
        rig = await Rig().enrolled()
        rig.server.encoding, rig.server.page_records = encoding, 2
        others_records(rig.server, 9)
        record = rig.site("own")
        rig.plan = lambda request, cut=cut: Fault(loss=Loss.CUT, cut_after_bytes=cut)
        first = await rig.phone.sync()
        if first.ended is Ended.COMPLETE:
            assert cut > 100
            break
        cursors = [(s.seq, rig.phone.digest(s.name)[0]) for s in rig.phone.streams()]
        assert all(held == seq for seq, held in cursors)  # the cursor says exactly what is here
        rig.plan = lambda request: Fault()
        await rig.sync()
        rig.assert_agrees()
        assert [m.record for m in rig.server.world.applied] == [record]
    else:
        raise AssertionError("the answer was never read to its end")


async def test_frames_that_had_arrived_count_also_when_there_is_no_signal_after_the_restart(tmp_path):
    rig = await Rig(tmp_path / "store").enrolled()
    (record,) = others_records(rig.server, 1)

    def after_storing(name: str) -> None:
        if name == "frames stored: after commit":
            raise Killed(name)

    rig.reopen(after_storing)
    with pytest.raises(Killed):
        await rig.phone.sync()
    rig.reopen()
    assert rig.seen(record).body["name"] == "site 1"


CHILD = """
    import asyncio, os, signal, sys, httpx
    from pathlib import Path
    from phone.phone import Phone
    from contracts.ids import RecordId
    from phone.store import set_meta

    die_at, passed = int(sys.argv[2]), 0
    def crash_point(name):
        global passed
        passed += 1
        if passed == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
    phone = Phone(Path(sys.argv[1]), httpx.AsyncClient(), crash_point=crash_point)
    for k in range(50):
        record = phone.create("site", 610902, {"unit": "610902001001", "name": str(k), "subjects": []})
        phone.add_photo(record, b"photo %d" % k)
        print(k, flush=True)
"""


@pytest.mark.parametrize("die_at", [4, 9, 14, 40, 111])
def test_what_was_said_to_be_saved_survives_a_real_sigkill(tmp_path, die_at):
    path = tmp_path / "store"
    child = subprocess.run([sys.executable, "-c", textwrap.dedent(CHILD), str(path), str(die_at)], capture_output=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    said = len(child.stdout.split())
    rig = Rig(path)
    names = {view.body["name"] for view in rig.phone.records("site")}
    assert {str(k) for k in range(said)} <= names
    announced = rig.phone.store.db.execute("SELECT n, sha256 FROM photo ORDER BY n").fetchall()
    assert len(announced) >= said
    folder = rig.phone.store.photo_folder
    assert folder is not None
    assert all((folder / sha256).read_bytes().startswith(b"photo") for _, sha256 in announced)
    numbers = [n for (n,) in rig.phone.store.db.execute("SELECT n FROM mutation ORDER BY n")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert rig.phone.store.db.execute("SELECT n_made FROM county WHERE county = ?", (COUNTY,)).fetchone()[0] == len(numbers)
