"""Numbers that are missing: waited for while the phone holds them, a hole once nobody does (promise 9)."""

import pytest
from msgspec import Raw

from contracts.exchange import CountyPart
from sync.gaps import Gap, gap_before

ONE = [Raw(b"{}")]


@pytest.mark.parametrize(
    ("n_high", "oldest", "first", "expected"),
    [
        (0, 1, 1, Gap.NONE),
        (5, 3, 6, Gap.NONE),
        (5, 3, 4, Gap.NONE),  # a repeat
        (1, 1, 3, Gap.WAIT),  # restored: 2 is still held, although the oldest held is already known here
        (40, 41, 101, Gap.WAIT),
        (40, 60, 101, Gap.WAIT),  # first what is held, from 60
        (40, 60, 60, (41, 59)),  # then the rest is known to be gone
        (0, 3, 3, (1, 2)),
    ],
)
def test_before_a_batch(n_high, oldest, first, expected):
    part = CountyPart(n_made=first, n_oldest_held=oldest, first_n=first, mutations=ONE)
    assert gap_before(part, n_high) == expected


@pytest.mark.parametrize(
    ("n_high", "n_made", "oldest", "expected"),
    [(7, 7, 0, Gap.NONE), (7, 7, 3, Gap.NONE), (4, 7, 0, (5, 7)), (4, 7, 7, (5, 6)), (4, 7, 5, Gap.NONE)],
)
def test_without_a_batch(n_high, n_made, oldest, expected):
    part = CountyPart(n_made=n_made, n_oldest_held=oldest)
    assert gap_before(part, n_high) == expected
