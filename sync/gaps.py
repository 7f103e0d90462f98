"""Numbers that are missing between what the server knows and what a part begins with (design.md 3.3)."""

from __future__ import annotations

from enum import Enum

from contracts.exchange import CountyPart


class Gap(Enum):
    NONE = "none"
    WAIT = "wait"  # the phone still holds what is missing: it begins there next time, nothing is taken now


def gap_before(part: CountyPart, n_high: int) -> Gap | tuple[int, int]:
    """Whether the part may be taken; a range [from, to] that nobody holds any more is a visible hole, never waited for."""
    if part.mutations:
        if part.first_n <= n_high + 1:
            return Gap.NONE
        # what is held is one range: a phone whose oldest is already known here still holds all that follows it
        if part.n_oldest_held and max(part.n_oldest_held, n_high + 1) < part.first_n:
            return Gap.WAIT
        return (n_high + 1, part.first_n - 1)
    holds_nothing = part.n_oldest_held == 0
    missing_up_to = part.n_made if holds_nothing else part.n_oldest_held - 1
    return (n_high + 1, missing_up_to) if missing_up_to > n_high else Gap.NONE
