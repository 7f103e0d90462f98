"""What happens with the timers: rules are published, two workers run at once, are killed, have slow clocks; days pass without any."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from contracts.rules import PublishRule, RuleName, RuleVersion
from tests.simulator.cast import COUNTY, DAY_MS, HOUR_MS

if TYPE_CHECKING:
    from tests.simulator.simulation import Simulation

WORKER_SECONDS_MAX = 30.0

# In hours by the clock, so that the judge needs no calendar; working days have tests of their own (tests/sync).
OTHER_RULES: dict[RuleName, dict[str, Any]] = {
    RuleName.WHISTLE: {"sign": {"hours": 3}, "report_in": {"hours": 9}, "result": {"hours": 40}},
    RuleName.REMINDERS: {"before": [{"hours": 12}]},
    RuleName.LOOK_BACK: {"after": {"hours": 10}},
}


def colours(late_h: int, answer_h: int, silent_h: int) -> dict[str, Any]:
    """White when a deadline has passed, the next colour when nobody answers, yellow for a second return, white for who stays away."""
    late = {"after": {"hours": late_h}} if late_h else {}
    answer = {"answer_within": {"hours": answer_h}}
    return {
        "triggers": [
            {"key": "late", "colour": "white", "fact": "overdue", **late, **answer},
            {"key": "silent", "colour": "yellow", "fact": "unanswered", "after": {"hours": silent_h}, **answer},
            {"key": "still_silent", "colour": "red", "fact": "unanswered", "after": {"hours": silent_h}},
            {"key": "returned", "colour": "yellow", "fact": "returned", "count": 2, **answer},
            {"key": "absent", "colour": "white", "fact": "summons_overdue", **answer},
        ]
    }


class Clockwork:
    def __init__(self, simulation: "Simulation") -> None:
        self.simulation = simulation
        self.random = simulation.random
        self.installation = simulation.installation

    async def first_rules(self) -> None:
        """As an installation's supervisors publish them on their first day."""
        for name, body in OTHER_RULES.items():
            await self._publish(name, body)
        await self._publish(RuleName.COLOURS, colours(0, 20, 6))

    async def rules_change(self) -> str:
        """New terms, from some time ahead: what fell due before is judged by the old ones for ever."""
        new = colours(*(self.random.choice(hours) for hours in ([0, 1, 5], [4, 20, 30], [2, 6])))
        await self._publish(RuleName.COLOURS, new, ahead_ms=self.random.choice([0, 3 * HOUR_MS, 30 * HOUR_MS]))
        return "rules changed"

    async def _publish(self, name: RuleName, body: dict[str, Any], ahead_ms: int = 0) -> None:
        starts = datetime.fromtimestamp((self.installation.time.ms + ahead_ms) / 1000, UTC)
        rule = PublishRule(county=int(COUNTY), name=name, starts=starts, body=body)
        await self.simulation.disasters.administer("POST", "/office/v1/rules", rule, RuleVersion)

    async def days_pass(self) -> str:
        """Nobody runs the timers meanwhile: a long weekend without power."""
        self.installation.time.ms += self.random.randint(DAY_MS // 4, 4 * DAY_MS)
        return "days passed"

    async def workers_run(self) -> str:
        """One worker, or two at once; phones come in between; one clock may be late; each may be killed at any moment."""
        s = self.simulation
        behind_ms = self.random.choice([0, 0, 0, 3 * HOUR_MS, 2 * DAY_MS])
        workers = [self._worker(behind_ms), *([self._worker(0)] if self.random.random() < 0.6 else [])]
        coming = self.random.sample(s.handsets, 2) if self.random.random() < 0.5 else []
        killed = await asyncio.gather(*workers, *(s.sync(handset, storm=0.0) for handset in coming))
        return "worker killed" if True in killed else "timers ran"

    async def _worker(self, behind_ms: int) -> bool:
        kill_after_s = self.random.uniform(0.02, 0.25) if self.random.random() < 0.4 else None
        return await self.installation.run_timers(behind_ms=behind_ms, kill_after_s=kill_after_s)

    async def catch_up(self) -> None:
        """At quiet points: all that has fallen due is there, however often workers were killed before."""
        async with asyncio.timeout(WORKER_SECONDS_MAX):
            await asyncio.gather(self.installation.run_timers(), self.installation.run_timers())
