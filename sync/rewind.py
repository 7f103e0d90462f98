"""Noticing that the database was restored from a backup (promise 9)."""

from __future__ import annotations


def is_rewound(proven: tuple[int, int], incarnation: int, n_high: int) -> bool:
    """A valid receipt of the present incarnation names a mutation that is not here.

    A receipt of an earlier incarnation proves nothing new: that rewind has been noticed already.
    """
    proven_incarnation, proven_n = proven
    return proven_incarnation == incarnation and proven_n > n_high
