"""Short days with an emphasis, under which planted bugs are looked for; without a plant each must be clean."""

from dataclasses import replace

from tests.simulator.cast import DAY_MS, HOUR_MS
from tests.simulator.simulation import Plan

_SHORT = Plan(phones=7, hours=4.0, rough=False, quiet_every_ms=2 * HOUR_MS, casework=False, hostile=False)

SCENARIOS: dict[str, Plan] = {
    "day": replace(_SHORT, emphasis={"many_at_once": 2}),
    "races": replace(_SHORT, seed=2, hours=2.0, emphasis={"many_at_once": 12}),
    "storms": replace(_SHORT, seed=3, emphasis={"storm_breaks": 12}),
    "moves": replace(_SHORT, seed=4, emphasis={"_office_deed": 8, "many_at_once": 3}),
    "people": replace(_SHORT, seed=5, emphasis={"storm_breaks": 3, "duty_changes": 8, "garbles": 6, "poisons": 6}),
    "photos": replace(_SHORT, seed=7, emphasis={"_office_deed": 8}),
    "casework": replace(_SHORT, seed=8, phones=8, casework=True, emphasis={"_case_goes_on": 6, "_deed": 0.3, "_sync": 2}),
    "fixes": replace(
        _SHORT,
        seed=12,
        phones=8,
        casework=True,
        quiet_every_ms=HOUR_MS,
        emphasis={"_problem_goes_on": 200, "_case_goes_on": 0.3, "_deed": 0.4, "_sync": 0.3, "draw_goes_on": 0.2, "workers_run": 1.5},
    ),
    "timers": replace(
        _SHORT,
        seed=9,
        phones=8,
        casework=True,
        quiet_every_ms=HOUR_MS,
        emphasis={"_problem_goes_on": 30, "_case_goes_on": 4, "_deed": 0.2, "workers_run": 3, "days_pass": 3, "rules_change": 6},
    ),
    "draws": replace(
        _SHORT,
        seed=10,
        phones=8,
        hours=2.0,
        rough=True,
        casework=True,
        quiet_every_ms=HOUR_MS * 2 // 3,
        emphasis={
            "draw_goes_on": 30,
            "_deed": 0.4,
            "many_at_once": 0,
            "storm_breaks": 0,
            **dict.fromkeys(["server_dies", "postgres_dies", "backs_up", "restores", "phone_drowns", "weeks_pass"], 0),
        },
    ),
    "weather": replace(
        _SHORT,
        seed=11,
        phones=8,
        hours=3.0,
        casework=True,
        quiet_every_ms=HOUR_MS,
        emphasis={"_weather_goes_on": 25, "_case_goes_on": 0.2, "_deed": 0.3, "workers_run": 3, "days_pass": 4, "many_at_once": 0},
    ),
    "strangers": replace(
        _SHORT, seed=14, hours=3.0, hostile=True, quiet_every_ms=HOUR_MS, emphasis={"attacks": 25, "_deed": 0.6, "many_at_once": 2}
    ),
    "months": replace(  # tokens end, phones forget what was received long ago, deadlines are long past
        _SHORT,
        seed=13,
        phones=8,
        rough=True,
        casework=True,
        quiet_every_ms=40 * DAY_MS,
        emphasis={
            "weeks_pass": 60,
            "days_pass": 6,
            "draw_goes_on": 3,
            "_case_goes_on": 2,
            **dict.fromkeys(["server_dies", "postgres_dies", "backs_up", "restores"], 0),
        },
    ),
    "restores": replace(
        _SHORT,
        seed=6,
        hours=3.0,
        rough=True,
        emphasis={"backs_up": 4, "restores": 4, "weeks_pass": 0, "server_dies": 0, "postgres_dies": 0},
    ),
}
