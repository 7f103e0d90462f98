"""One simulation: a seed, some phones, some hours; what happens is drawn from the seed, and judged at quiet points."""

import copy
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import asyncpg

from phone.exchange import Ended
from tests.simulator.cast import HOUR_MS, MORNING_MS, Person, Served, administrator, bureau, people, settle_in, stranger
from tests.simulator.clockwork import Clockwork
from tests.simulator.deeds import Choice, Deeds
from tests.simulator.disasters import Disasters
from tests.simulator.drawing import Drawing
from tests.simulator.handset import Handset, is_logged_out
from tests.simulator.installation import Installation
from tests.simulator.oracle import Oracle
from tests.simulator.plants import planted_in_phones
from tests.simulator.rest import come_to_rest, photos_left, read_phone, read_public, read_server
from tests.simulator.stranger import Stranger
from tests.simulator.testimony import HELD, Violation
from tests.simulator.weather_deeds import WeatherDeeds

DEEDS_PER_HOUR = 4  # of one phone
QUIET_EVERY_MS = 2 * HOUR_MS


@dataclass(frozen=True)
class Plan:
    """What to simulate.

    rough      also what stops the whole server (kills, backups, restores)
    emphasis   events that come so many times as often, by the name of the method that makes them
    hostile    an account is in hostile hands (stranger.py)
    casework   departments have phones, problems, whistles, letters, plans, visits, responses and draws go their way, and workers run
    plant      a planted bug (tests/simulator/plants.py)
    """

    seed: int = 1
    phones: int = 8
    hours: float = 4.0
    rough: bool = True
    quiet_every_ms: int = QUIET_EVERY_MS
    emphasis: Mapping[str, float] = field(default_factory=dict)
    casework: bool = True
    hostile: bool = True
    plant: str | None = None


@dataclass
class Report:
    plan: Plan
    violations: list[Violation] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    fates: Counter[str] = field(default_factory=Counter)
    typed: int = 0
    quiet_points: int = 0
    seconds: float = 0.0
    trace: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)


class Simulation:
    """`report` grows while it runs; it ends early at the first quiet point with a violation."""

    def __init__(self, plan: Plan, installation: Installation, progress: Callable[[Report, float], None] | None = None) -> None:
        self.plan = plan
        self.installation = installation
        self.random = Random(plan.seed)
        self.oracle = Oracle()
        self.report = Report(plan)
        deeds = WeatherDeeds if plan.casework else Deeds
        self.deeds = deeds(self.oracle, lambda: installation.time.ms, has_photos=installation.has_photos)
        called = bureau(self.random) if plan.casework else []
        self.cast = [*people(plan.phones - len(called), self.random), *called]
        self.admin = administrator(self.random)
        self.handsets: list[Handset] = []
        self.disasters = Disasters(self)
        self.clockwork = Clockwork(self)
        self.drawing = Drawing(self)
        self.stranger = Stranger(self, stranger(self.random))
        self._progress = progress or (lambda _report, _share: None)
        self._opened: list[Handset] = []

    # ------------------------------------------------------------------------------------------ life

    async def run(self) -> Report:
        began = time.monotonic()
        self.installation.time.ms = MORNING_MS
        await self.installation.open()
        try:
            with planted_in_phones(self.plan.plant):
                await self._begin()
                await self._live()
        finally:
            for opened in (*self._opened, self.stranger):
                await opened.close()
            await self.installation.close()
            self.report.seconds = time.monotonic() - began
        return self.report

    async def _begin(self) -> None:
        conn = await asyncpg.connect(self.installation.cluster.dsn(self.installation.database))
        try:
            await settle_in(conn, [*self.cast, *self.drawing.people, self.admin, self.stranger.person])
        finally:
            await conn.close()
        await self.installation.start_server()
        for person in self.cast[: self.plan.phones]:
            await self.new_handset(person)
        self.disasters.console = self._made(self.admin)
        await self.disasters.console.enrol()
        if self.plan.casework:
            await self.clockwork.first_rules()
            await self.drawing.open(self._made)

    def _made(self, person: Person) -> Handset:
        number = len(self._opened) + 1
        name = f"{person.name}/{number}"
        handset = Handset(
            name,
            person,
            self.installation.folder / f"phone-{number}.sqlite",
            self.installation.url,
            lambda: self.installation.time.ms,
            f"{self.plan.seed}/{name}",
            repaired=self.oracle.repaired,
            faults=self.report.faults,
        )
        self._opened.append(handset)
        return handset

    async def new_handset(self, person: Person) -> Handset:
        handset = self._made(person)
        await handset.enrol()
        self.handsets.append(handset)
        return handset

    async def _live(self) -> None:
        clock = self.installation.time
        end_ms = MORNING_MS + int(self.plan.hours * HOUR_MS)
        next_quiet_ms = clock.ms + self.plan.quiet_every_ms
        lived_ms = 0
        while lived_ms < self.plan.hours * HOUR_MS and not self.report.violations:
            step_ms = int(self.random.expovariate(self.plan.phones * DEEDS_PER_HOUR * 1.5 / HOUR_MS))
            clock.ms += step_ms
            lived_ms += step_ms
            await self._one_event()
            if clock.ms >= next_quiet_ms:
                await self.quiet_point()
                next_quiet_ms = clock.ms + self.plan.quiet_every_ms
            self._progress(self.report, min(1.0, lived_ms / (end_ms - MORNING_MS)))
        if not self.report.violations:
            await self.quiet_point()

    # ------------------------------------------------------------------------------------------ events

    async def _one_event(self) -> None:
        weights, events = zip(*self._weights(), strict=True)
        happened = await self.random.choices(events, weights)[0]()
        if happened:
            self.report.events[happened] += 1
            self.trace(happened)

    def _weights(self) -> list[tuple[float, Callable[[], Awaitable[str]]]]:
        d, c = self.disasters, self.clockwork
        ordinary = [
            (60.0, self._deed),
            (20.0 if self.plan.casework else 0.0, self._case_goes_on),
            (2.0, self._office_deed),
            (16.0, self._sync),
            (4.0, d.many_at_once),
            (2.0, d.storm_breaks),
            (1.5, d.app_restarts),
            (1.2, d.clock_jumps),
        ]
        people_change = [(1.2, d.duty_changes), (1.5, d.desk_decides), (0.7, d.garbles), (0.5, d.poisons), (0.4, d.another_app_version)]
        timers = [
            (3.0, c.workers_run),
            (1.0, c.days_pass),
            (0.4, c.rules_change),
            (3.0, self.drawing.draw_goes_on),
            (3.0, self._weather_goes_on),
            (1.0, self._problem_goes_on),
        ]
        hostile = [(1.0, self.stranger.attacks)]
        rough = [
            (0.6, d.server_dies),
            (0.5, d.postgres_dies),
            (0.8, d.backs_up),
            (0.5, d.restores),
            (0.3, d.phone_drowns),
            (0.2, d.weeks_pass),
        ]
        assert self.plan.emphasis.keys() <= {event.__name__ for _, event in [*ordinary, *people_change, *timers, *hostile, *rough]}
        every = [*ordinary, *people_change]
        every += [*(timers if self.plan.casework else []), *(hostile if self.plan.hostile else []), *(rough if self.plan.rough else [])]
        return [(weight * self.plan.emphasis.get(event.__name__, 1), event) for weight, event in every]

    def anyone(self) -> Handset:
        return self.random.choice(self.handsets)

    async def _deed(self) -> str:
        handset = self.anyone()
        happened = self.deeds.something(handset)
        self.trace(f"{handset.name}: {happened} (#{len(self.oracle.entries) - 1})")
        self.look_at_screen(handset)
        return happened

    async def _case_goes_on(self) -> str:
        """Somebody, mostly of an office, does what comes next in a case."""
        offices = [handset for handset in self.handsets if handset.person.name.startswith(("lead", "bureau", "supervisor"))]
        return await self._goes_on(self.random.choice([*self.handsets, *offices, *offices]), self._deeds().casework)

    async def _weather_goes_on(self) -> str:
        """Bad air: those who declare responses and send out road checks."""
        offices = [handset for handset in self.handsets if handset.person.name.startswith(("bureau-lead", "supervisor"))]
        supervisors = [handset for handset in offices if handset.person.name == "supervisor"]
        return await self._goes_on(self.random.choice([*offices, *supervisors]), self._deeds().weather) if offices else ""

    async def _problem_goes_on(self) -> str:
        """An office does what comes next with a problem, and has its answer at once: verified, assigned, fixed, accepted within the hour."""
        offices = [handset for handset in self.handsets if handset.person.name.startswith(("lead", "supervisor", "bureau"))]
        handset = self.random.choice(offices)
        await self.sync(handset, storm=0.0)
        return await self._goes_on(handset, self._deeds().problems)

    def _deeds(self) -> WeatherDeeds:
        assert isinstance(self.deeds, WeatherDeeds)
        return self.deeds

    async def _goes_on(self, handset: Handset, choices: Callable[[Handset], list[Choice]]) -> str:
        """Some had signal before, some have it after."""
        if handset.random.random() < 0.6:
            await self.sync(handset, storm=0.0)
        happened = self.deeds.one_of(handset, choices(handset))
        self.trace(f"{handset.name}: {happened} (#{len(self.oracle.entries) - 1})")
        self.look_at_screen(handset)
        if handset.random.random() < 0.6:
            await self.sync(handset, storm=0.0)
        return happened

    async def _office_deed(self) -> str:
        """Somebody moves or deletes what others may be working on."""
        offices = [handset for handset in self.handsets if handset.person.name.startswith(("lead", "supervisor"))]
        handset = self.random.choice(offices)
        happened = self.deeds.delete(handset) if self.random.random() < 0.4 else self.deeds.move(handset)
        self.trace(f"{handset.name}: {happened} (#{len(self.oracle.entries) - 1})")
        return happened

    async def _sync(self) -> str:
        handset = self.anyone()
        kill_after_steps = self.random.choice([0, 1, 2, 3, 5, 8, 13, 21]) if self.random.random() < 0.15 else None
        return await self.sync(handset, storm=self.random.choice([0.0, 0.0, 0.4, 0.8]), kill_after_steps=kill_after_steps)

    async def sync(self, handset: Handset, *, storm: float, kill_after_steps: int | None = None) -> str:
        synced = await handset.sync(storm=storm, kill_after_steps=kill_after_steps)
        if synced is not None and is_logged_out(synced):
            await handset.log_in_again()
            synced = await handset.sync(storm=storm)
        self.hear(handset)
        self.look_at_screen(handset)
        if synced is not None and synced.ended is Ended.COMPLETE:
            await handset.upload(storm=storm)
        ended = synced.ended.value if synced else "phone killed"
        self.trace(f"{handset.name}: sync {ended}" + (f" ({synced.code})" if synced and synced.code else ""))
        return f"sync {ended}"

    # ------------------------------------------------------------------------------------------ watching

    def hear(self, handset: Handset) -> None:
        """Note what the phone has a verified receipt for."""
        for entry in self.oracle.of_store(handset.name):
            if entry.said is None or entry.said in HELD:
                row = handset.phone.store.db.execute("SELECT outcome FROM mutation WHERE id = ?", (UUID(entry.mutation).bytes,)).fetchone()
                if row is not None and row[0] is not None:
                    entry.said_at_ms = entry.said_at_ms or self.installation.time.ms
                    entry.said = row[0]

    def look_at_screen(self, handset: Handset) -> None:
        records = {entry.record for entry in self.oracle.of_store(handset.name)[-12:]}
        views = {record: handset.phone.view(UUID(record)) for record in sorted(records)}
        shown = {record: view.body if view is not None and not view.deleted else None for record, view in views.items()}
        refused = {str(pending.mutation.id) for pending in handset.phone.refused()}
        self.complain(self.oracle.judge_screen(handset.name, shown, refused))

    async def quiet_point(self) -> None:
        """Signal for everybody; then all promises are judged."""
        self.trace("quiet point")
        for handset in self.handsets:
            if handset.contract != 1:
                handset.contract = 1
                handset.reopen(reboot=False)
        ended = await come_to_rest(self.installation, self.handsets)
        if self.plan.casework:
            await self.clockwork.catch_up()
            ended = await come_to_rest(self.installation, self.handsets)
        for handset in self.handsets:
            self.hear(handset)
            self.look_at_screen(handset)
        if self.installation.has_photos:
            self.complain([v for handset in self.handsets for v in await photos_left(handset, self.oracle.spoilt_of(handset.name))])
        stuck = {name: synced for name, synced in ended.items() if synced.ended.value != "complete"}
        self.complain(
            [
                Violation(3, f"{name} does not come to rest: {synced.ended.value} {synced.code or ''}", name)
                for name, synced in stuck.items()
            ]
        )
        now = self.installation.time.ms
        self.oracle.circumstances.scope = {person.id: person.scope(now) for person in self.cast}
        server = await read_server(self.installation)
        if self.plan.casework:
            await read_public(self.installation, server, self.drawing.issuer)
        phones = [read_phone(handset, ended[handset.name].ended.value) for handset in self.handsets]
        self.complain(self.oracle.judge(server, phones, await self.installation.photos()))
        self.oracle.circumstances.rewinding = False
        self.oracle.circumstances.forgotten.clear()
        self.report.quiet_points += 1
        self.report.typed = len(self.oracle.entries) + sum(len(told.answers) for told in self.oracle.draws)
        self.report.fates = self.oracle.fates(server)
        if self.report.violations:
            self.report.story = self.oracle.story(self.report.violations[0].subject, server)
            self.report.story += ["", *self.installation.last_words()]

    def complain(self, violations: list[Violation]) -> None:
        self.report.violations += [v for v in violations if v not in self.report.violations]

    def trace(self, what: str) -> None:
        minutes = (self.installation.time.ms - MORNING_MS) / 60_000
        self.report.trace.append(f"{minutes:9.1f} min  {what}")

    def duties(self) -> dict[str, list[Served]]:
        """Who serves where, as a backup would keep it."""
        return {person.id: copy.deepcopy(person.duties) for person in self.cast}
