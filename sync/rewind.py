"""Noticing that the database was restored from a backup (promise 9)."""

from __future__ import annotations


def is_rewound(proven: tuple[int, int], incarnation: int, n_high: int) -> bool:
    """A valid receipt, (incarnation, n), names what this database has never seen.

    One of the present incarnation proves it by its mutation, one of a later incarnation by itself: the backup is older
    than that incarnation. One of an earlier incarnation proves nothing new: that rewind has been noticed already.
    """
    proven_incarnation, proven_n = proven
    return proven_incarnation > incarnation or (proven_incarnation == incarnation and proven_n > n_high)
