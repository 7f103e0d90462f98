"""Promise 14, what is counted is what there was: road checks are actions and their days, however many bureaus entered them."""

from collections.abc import Iterator
from datetime import date, timedelta

from tests.simulator.testimony import RoadChecks, ServerRecord, ServerView, Violation

PROMISE = 14
DAYS_MIN = 2  # "每次不少于2天"


def judge_campaigns(server: ServerView) -> Iterator[Violation]:
    """The figure that an office reads for a month, against what the bureaus have reported as held."""
    for told in server.road_checks:
        counted = [days for days in _actions(server, told) if len(days) >= DAYS_MIN]
        held, days = len(counted), sum(map(len, counted))
        if (told.held, told.days) != (held, days):
            text = f"{told.unit}, {told.month}: {told.held} road checks of {told.days} days are told; {held} of {days} days were held"
            yield Violation(PROMISE, text, told.unit)


def _actions(server: ServerView, told: RoadChecks) -> Iterator[set[date]]:
    """The days of each action that began in the month: who was out on a common day was out together."""
    actions: list[set[date]] = []
    for days in sorted(map(_days, _held(server, told.unit)), key=min):
        together = [action for action in actions if action & days]
        actions = [action for action in actions if not action & days] + [days.union(*together)]
    return (action for action in actions if min(action).isoformat().startswith(told.month))


def _held(server: ServerView, unit: str) -> Iterator[ServerRecord]:
    """The unit's and its bureaus': codes nest by their beginnings."""
    for record in server.records.values():
        if record.kind == "campaign" and not record.deleted and record.body.get("state") == "held" and record.body["unit"].startswith(unit):
            yield record


def _days(campaign: ServerRecord) -> set[date]:
    first, last = (date.fromisoformat(campaign.body[name]) for name in ("starts_on", "ends_on"))
    return {first + timedelta(days=k) for k in range((last - first).days + 1)}
