"""Random draws at the offices' computers: step by step, two callers at once, asked again, and the server killed between and within steps.

Who issues, who gives the nonce and most inspectors have no phone. What each was answered is written down for the judge.
"""

import asyncio
import contextlib
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from contracts.people import Role
from phone.wire import OfflineError, RefusedError
from tests.simulator.cast import COUNTY, HOUSING, STRANGERS_TOWNSHIP, WATER, Person, drawers
from tests.simulator.handset import Handset
from tests.simulator.testimony import Answer, DrawTold, canonical

if TYPE_CHECKING:
    from tests.simulator.simulation import Simulation

DRAWS = "/office/v1/draws"
OPEN_MAX, TRIES_MAX = 2, 5
NO_DRAW = ""
# State of a draw as an office sees it -> what is done then.
NEXT = {
    NO_DRAW: ["prepare"],
    "prepared": ["commit", "commit", "commit", "commit", "cancel"],
    "committed": ["nonce", "nonce", "nonce", "nonce", "nonce", "cancel"],
    "seeded": ["draw", "draw", "cancel"],
    "drawn": ["depart", "depart", "depart", "look", "look", "disclose"],
    "failed": ["disclose"],
    "departed": ["disclose", "look"],
}


class Drawing:
    def __init__(self, simulation: "Simulation") -> None:
        self.simulation = simulation
        self.random = simulation.random
        self.people = drawers(simulation.random)
        self.told = simulation.oracle.draws
        self._desks: dict[str, Handset] = {}
        self._rounds = 0

    async def open(self, desk: Any) -> None:
        """`desk` makes a console of a person."""
        for person in self.people[:3]:
            self._desks[person.name] = desk(person)
            await self._desks[person.name].enrol()

    @property
    def issuer(self) -> Handset:
        return self._desks["issuer"]

    def forget(self) -> None:
        """A backup was put back: what was answered before may never have been."""
        for told in self.told:
            told.forget()

    # ------------------------------------------------------------------------------------------ one step

    async def draw_goes_on(self) -> str:
        for desk in self._desks.values():
            await self._freshen(desk)
        told, state = await self._some_draw()
        if told is None:
            return ""
        act = self.random.choice(NEXT[state])
        if act == "look":
            return await self._look(told)
        self._rounds += 1
        callers = self._callers(told, act)
        if self.simulation.plan.rough and self.random.random() < 0.2:
            await self._while_it_dies(told, act, callers)
        else:
            await asyncio.gather(*(self._ask(told, act, desk, send) for desk, send in callers))
        if self.random.random() < 0.3:  # the answer was lost on the way: sent again
            self._rounds += 1
            await self._ask(told, act, *callers[0])
        self.simulation.trace(f"{act} of the draw {told.title}: {[a.status for a in told.answers if a.turn >= self._rounds - 1]}")
        return f"draw: {act}"

    async def _some_draw(self) -> tuple[DrawTold | None, str]:
        """One that has somewhere to go, and its state; or one that is conceived now."""
        open_ones = [(told, state) for told in self.told if (state := await self._state(told)) in NEXT]
        if len(open_ones) < OPEN_MAX and (not open_ones or self.random.random() < 0.2):
            told = await self._conceived()
            return told, NO_DRAW
        return self.random.choice(open_ones)

    async def _state(self, told: DrawTold) -> str:
        try:
            answer = await self.issuer.ask("GET", f"{DRAWS}/{COUNTY}/{told.id}", None, dict[str, Any])
        except RefusedError as refused:
            assert refused.status == 404
            return NO_DRAW
        told.commitment = answer.get("commitment")
        return str(answer["state"])

    async def _freshen(self, desk: Handset) -> None:
        """A console gets its new tokens before it asks for two things at once."""
        await desk.ask("GET", f"{DRAWS}?county={COUNTY}", None, dict[str, Any])

    def _callers(self, told: DrawTold, act: str) -> list[tuple[Handset, dict[str, Any]]]:
        """Alone, twice the same, or somebody with another wish."""
        mine = self._caller(told, act)
        match self.random.choice(["alone", "alone", "twice", "twice", "against"]):
            case "alone":
                return [mine]
            case "twice":
                return [mine, mine]
            case _:
                return [mine, self._rival(told, act)]

    def _caller(self, told: DrawTold, act: str) -> tuple[Handset, dict[str, Any]]:
        word, chance = self.simulation.deeds.word, self.random
        match act:
            case "prepare":
                return self.issuer, told.asked
            case "nonce":
                return self._desks["auditor"], {"commitment": told.commitment, "nonce": f"{chance.getrandbits(128):032x}"}
            case "depart":
                day = self.simulation.installation.time.now().date() + timedelta(days=chance.choice([3, 9]))
                return self.issuer, {"due_on": day.isoformat()}
            case "disclose" | "cancel":
                return self.issuer, {"reason": word()}
            case _:
                return self.issuer, {}

    def _rival(self, told: DrawTold, act: str) -> tuple[Handset, dict[str, Any]]:
        """A colleague who does the same, another nonce, another day, another pool."""
        desk, send = self._caller(told, act)
        if act == "prepare":
            return desk, send | {"sites": send["sites"][:-1]}
        return (desk if act in ("nonce", "depart") else self._desks["colleague"]), send

    # ------------------------------------------------------------------------------------------ asking

    async def _while_it_dies(self, told: DrawTold, act: str, callers: list[tuple[Handset, dict[str, Any]]]) -> None:
        """kill -9 before, during or after; then everybody asks again, for nobody knows what became of it."""
        delay_s = self.random.uniform(0.0, 0.06)

        async def die() -> None:
            await asyncio.sleep(delay_s)
            await self.simulation.installation.kill_server()

        await asyncio.gather(die(), *(self._ask(told, act, desk, send) for desk, send in callers))
        await self.simulation.installation.start_server()
        self._rounds += 1
        for desk, send in callers:
            await self._ask(told, act, desk, send)

    async def _ask(self, told: DrawTold, act: str, desk: Handset, send: dict[str, Any]) -> None:
        """What was answered; a line that broke answers nothing."""
        path = DRAWS if act == "prepare" else f"{DRAWS}/{COUNTY}/{told.id}/{act}"
        turn = self._rounds
        try:
            said, status = await desk.phone.account.call("POST", path, send, dict[str, Any]), 200
        except OfflineError:
            return
        except RefusedError as refused:
            said, status = {"code": refused.code}, refused.status
        told.answers.append(Answer(turn=turn, act=act, by=desk.person.id, sent=send, status=status, said=said))

    async def _look(self, told: DrawTold) -> str:
        """The issuer opens the sealed list; others try."""
        path = f"{DRAWS}/{COUNTY}/{told.id}/list"
        opened = await self.issuer.ask("GET", path, None, dict[str, Any])
        told.lists.append(canonical(opened["result"]))
        for desk in (self._desks["auditor"], self.simulation.anyone()):
            if any(duty.unit == COUNTY and duty.role is Role.COUNTY_SUPERVISOR for duty in desk.person.duties):
                continue
            with contextlib.suppress(RefusedError, OfflineError):
                await desk.ask("GET", path, None, dict[str, Any])
                told.peeped.append(desk.person.name)
        return "draw: list opened"

    # ------------------------------------------------------------------------------------------ a pool

    async def _conceived(self) -> DrawTold | None:
        """Sites of the county as its supervisor might pick them, and rules that may turn out to be impossible."""
        sql = "SELECT id::text FROM record WHERE county = $1 AND kind = 'site' AND NOT deleted AND stream NOT LIKE $2 ORDER BY body ->> 'name'"
        known = [row[0] for row in await self.simulation.installation.sql(sql, int(COUNTY), f"{STRANGERS_TOWNSHIP}%")]
        if len(known) < 2:
            return None
        word, chance = self.simulation.deeds.word, self.random
        sites = [
            {"id": site, "county": int(COUNTY), "weight": chance.choice([1, 1, 2, 9]), "why": word()}
            for site in chance.sample(known, min(len(known), 6))
        ]
        inspectors = self._inspectors()
        pair = {"reason": "conflict_of_interest", "site": sites[0]["id"], "inspector": inspectors[0]["id"], "note": word()}
        joint = chance.random() < 0.5
        rules = {
            "sites": chance.choice([1, 1, 2, len(sites)]),
            "team_size": 2 if joint else chance.choice([1, 2]),
            "visits_max": chance.choice([1, 2]),
            "departments": [HOUSING, WATER] if joint else [],
        }
        asked = {"sites": sites, "inspectors": inspectors, "exclusions": [pair], "rules": rules}
        told = DrawTold(id=str(uuid.uuid4()), title=word(), words={*(site["why"] for site in sites), pair["note"]})
        told.asked = {"draw": told.id, "unit": COUNTY, "title": told.title, **asked}
        self.told.append(told)
        return told

    def _inspectors(self) -> list[dict[str, Any]]:
        serving: list[Person] = [*self.people[3:], *(p for p in self.simulation.cast if p.name.startswith("bureau"))]
        return [{"id": person.id, "unit": person.duties[0].unit} for person in serving]
