"""What else happens: races, kills, clocks, reassignments, old apps, restores. Each returns what it was, '' for nothing."""

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

from contracts.access import DutyIn, EndDuty, GrantDuty, PersonOut
from contracts.people import Role
from phone.wire import OfflineError, RefusedError
from tests.simulator.cast import DAY_MS, OTHER_VILLAGES, VILLAGES, Served
from tests.simulator.handset import Handset

if TYPE_CHECKING:
    from tests.simulator.simulation import Simulation

BACKUPS_MAX = 4


class Disasters:
    def __init__(self, simulation: "Simulation") -> None:
        self.simulation = simulation
        self.random = simulation.random
        self.installation = simulation.installation
        self.console: Handset
        self._backups: list[tuple[str, int, dict[str, list[Served]]]] = []

    # ------------------------------------------------------------------------------------------ races and kills

    async def many_at_once(self) -> str:
        """Several phones reach the server in the same moment."""
        s = self.simulation
        for handset in s.handsets:
            for _ in range(self.random.choice([0, 1, 1, 2])):
                s.deeds.something(handset)
        chosen = self.random.sample(s.handsets, min(len(s.handsets), self.random.randint(3, 12)))
        storm = self.random.choice([0.0, 0.3])
        await asyncio.gather(*(s.sync(handset, storm=storm) for handset in chosen))
        return "many at once"

    async def storm_breaks(self) -> str:
        """One phone tries again and again on a line that breaks off in the middle of nearly every answer."""
        s = self.simulation
        handset = s.anyone()
        for _ in range(3):
            s.deeds.something(handset)
        for _ in range(self.random.randint(1, 4)):
            await s.sync(handset, storm=0.9)
        return "storm"

    async def server_dies(self) -> str:
        """kill -9 while phones are in the middle of it."""
        await self._dies_among_many(self.installation.kill_server)
        await self.installation.start_server()
        return "server killed"

    async def postgres_dies(self) -> str:
        """kill -9 of PostgreSQL; it starts again at once, and the server is the same process."""

        async def kill_and_start() -> None:
            await self.installation.kill_postgres()
            await self.installation.start_postgres()

        await self._dies_among_many(kill_and_start)
        return "PostgreSQL killed"

    async def _dies_among_many(self, die: Any) -> None:
        s = self.simulation
        for handset in s.handsets:
            s.deeds.something(handset)
        delay_s = self.random.uniform(0.0, 0.08)

        async def soon() -> None:
            await asyncio.sleep(delay_s)
            await die()

        await asyncio.gather(soon(), *(s.sync(handset, storm=0.0) for handset in s.handsets))

    # ------------------------------------------------------------------------------------------ phones

    async def app_restarts(self) -> str:
        self.simulation.anyone().reopen(reboot=self.random.random() < 0.5)
        return "app restarted"

    async def clock_jumps(self) -> str:
        by_ms = self.random.choice([-3 * DAY_MS, -7_200_000, 5_400_000, 2 * DAY_MS, 900 * DAY_MS])
        self.simulation.anyone().clock.jump(by_ms)
        return "phone clock set wrong"

    async def garbles(self) -> str:
        return self.simulation.deeds.garble(self.simulation.anyone())

    async def poisons(self) -> str:
        handset = self.simulation.anyone()
        return "server made to fail" if self.simulation.deeds.poison(handset) else ""

    async def another_app_version(self) -> str:
        """A test build, or one from years ago: all it makes is kept, and nothing is applied. Mended at the next quiet point."""
        handset = self.simulation.anyone()
        handset.contract = self.random.choice([0, 2])
        handset.reopen(reboot=False)
        self.simulation.oracle.circumstances.odd_apps.add(handset.name)
        for entry in self.simulation.oracle.of_store(handset.name):
            if entry.said is None:
                entry.spoilt = entry.spoilt or "another app version"
        return f"app of contract {handset.contract}"

    async def phone_drowns(self) -> str:
        """With all that it had not handed in. Its owner gets a new one."""
        s = self.simulation
        if len(s.handsets) < 3:
            return ""
        handset = s.anyone()
        s.handsets.remove(handset)
        s.oracle.circumstances.gone.add(handset.name)
        await handset.destroy()
        await s.new_handset(handset.person)
        s.trace(f"{handset.name} drowned")
        return "phone drowned"

    async def second_phone(self) -> str:
        await self.simulation.new_handset(self.random.choice(self.simulation.cast))
        return "second phone"

    async def weeks_pass(self) -> str:
        """Winter: phones forget what was received long ago."""
        self.installation.time.ms += 33 * DAY_MS
        return "weeks passed"

    # ------------------------------------------------------------------------------------------ the office

    async def duty_changes(self) -> str:
        """Somebody of the field is moved to another village, or gets a second one."""
        s, ms = self.simulation, self.installation.time.ms
        movable = [person for person in s.cast if person.role_at(ms) is Role.GRID_MEMBER and person.held(ms)]
        if not movable:
            return ""
        person = self.random.choice(movable)
        there = [v for v in VILLAGES if v not in {d.unit for d in person.held(ms)}]
        if person.held(ms)[0].unit in OTHER_VILLAGES or not there:
            return ""
        grant = GrantDuty(person=UUID(person.id), duty=DutyIn(role=Role.GRID_MEMBER, unit=self.random.choice(there)))
        answer = await self.administer("POST", "/people/v1/duties", grant, PersonOut)
        new = next(d for d in answer.duties if str(d.id) not in {old.id for old in person.duties} and d.unit == grant.duty.unit)
        leaves = self.random.random() < 0.6
        if leaves:
            old = self.random.choice(person.held(ms))
            await self.administer("POST", f"/people/v1/duties/{old.id}/end", EndDuty(), PersonOut)
            old.ends_ms = ms
        person.duties.append(Served(Role.GRID_MEMBER, new.unit, ms, None, str(new.id)))
        s.trace(f"{person.name} serves in {new.unit}" + (f", no longer in {old.unit}" if leaves else " too"))
        return "reassigned" if leaves else "second duty"

    async def administer(self, method: str, path: str, send: Any, expect: type[Any]) -> Any:
        """As the administrator at the console."""
        return await self.console.ask(method, path, send, expect)

    async def desk_decides(self) -> str:
        """Somebody of the office opens the desk and decides one held mutation."""
        s = self.simulation
        offices = [h for h in s.handsets if h.person.role_at(self.installation.time.ms) in (Role.TOWNSHIP_LEAD, Role.COUNTY_SUPERVISOR)]
        if not offices:
            return ""
        handset = self.random.choice(offices)
        county = int(handset.person.duties[0].unit[:6])
        try:
            page = await handset.ask("GET", f"/office/v1/held?county={county}", None, dict[str, Any])
            items = [item for item in page["items"] if item["device"] not in s.oracle.circumstances.strangers]
            if not items:
                return ""
            item = self.random.choice(items)
            action = self.random.choice(["retry", "release", "discard"])
            path = f"/office/v1/held/{county}/{item['device']}/{item['n']}/{action}"
            await handset.ask("POST", path, {"note": "看过了"}, dict[str, Any])
        except (RefusedError, OfflineError) as error:
            s.trace(f"{handset.name}: the desk says {error}")
            return "desk refused"
        s.trace(f"{handset.name}: {action} of n={item['n']} of {item['device']}")
        return f"desk: {action}"

    # ------------------------------------------------------------------------------------------ backups

    async def backs_up(self) -> str:
        if len(self._backups) >= BACKUPS_MAX:
            return ""
        name = await self.installation.back_up()
        self._backups.append((name, self.installation.time.ms, self.simulation.duties()))
        return "backup made"

    async def restores(self) -> str:
        """An old backup is put back, and nobody says so. What the server knew since then only phones know."""
        if not self._backups:
            return ""
        s = self.simulation
        name, ms, duties = self.random.choice(self._backups)
        await self.installation.restore(name)
        s.oracle.circumstances.restored.append((self.installation.time.ms, ms))
        s.oracle.circumstances.rewinding = True
        await self._note_what_is_lost()
        s.drawing.forget()
        for person in s.cast:
            person.duties = [Served(d.role, d.unit, d.starts_ms, d.ends_ms, d.id) for d in duties[person.id]]
        self._backups = [kept for kept in self._backups if kept[1] <= ms]
        return "backup restored"

    async def _note_what_is_lost(self) -> None:
        """Acknowledged, unknown to the restored server, and still on a phone: the server must notice when it comes. What an earlier
        restore had lost counts as far as it is so now.
        """
        s, forgotten = self.simulation, self.simulation.oracle.circumstances.forgotten
        forgotten.clear()
        known = {row[0] for row in await self.installation.sql("SELECT mutation::text FROM journal WHERE what = 'mutation'")}
        incarnations = dict(await self.installation.sql("SELECT county, incarnation FROM county"))
        for handset in s.handsets:
            for entry in s.oracle.of_store(handset.name):
                if entry.said is not None and entry.mutation not in known and handset.phone.find(UUID(entry.mutation)) is not None:
                    forgotten.setdefault(entry.county, (incarnations[entry.county], set()))[1].add(handset.name)
