"""An unexpected failure of the server itself, on demand: planning a mutation that carries the poison raises.

It is a fault, not a planted bug: the promise is that the culprit is deferred with its error and everybody else goes on.
"""

import storage.push

POISON = "poison-for-the-planner"


class PoisonedError(Exception):
    """What no code expects."""


def poison_the_planner() -> None:
    """From now on `plan_push` fails in this process for a batch that carries the poison."""
    plan_push = storage.push.plan_push

    def plan(batch, *rest, **named):
        if any(POISON.encode() in incoming.raw and incoming.fault is None for incoming in batch):
            raise PoisonedError("a mutation was poisoned")
        return plan_push(batch, *rest, **named)

    storage.push.plan_push = plan
