"""The chain of seals over the audit log: what differs afterwards is found, and the first batch is named."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.sealing import NO_SEAL, AuditSeal, LogEntry, chain_digest, head_faults, seal_faults

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def entry(number: int, **changed: Any) -> LogEntry:
    values: dict[str, Any] = {
        "county": 610902, "id": UUID(int=number), "at": NOW + timedelta(microseconds=number), "unit": None, "action": "enrolled",
        "person": UUID(int=7), "device": None, "subject": "x", "detail": "{}", "source": "", "request": "",
    }  # fmt: skip
    return LogEntry(**values | changed)


def sealed(number: int, entries: list[LogEntry], before: AuditSeal | None) -> AuditSeal:
    digest = chain_digest(number, bytes.fromhex(before.digest) if before else NO_SEAL, [e.digest() for e in entries])
    return AuditSeal(number=number, sealed_at=NOW, entries=len(entries), digest=digest, key="k", sig="good")


def is_signed(_key: str, sig: str, _message: bytes) -> bool:
    return sig == "good"


def test_a_chain_that_nobody_touched_has_no_fault() -> None:
    first = sealed(1, [entry(1), entry(2)], None)
    second = sealed(2, [entry(3)], first)
    assert seal_faults(first, None, [entry(1), entry(2)], is_signed) == []
    assert seal_faults(second, first, [entry(3)], is_signed) == []


CHANGES = {
    "county": 610921, "at": NOW, "unit": "610902", "action": "login_failed", "person": None, "device": UUID(int=9), "subject": None,
    "detail": "{ }", "source": "127.0.0.1", "request": "r",
}  # fmt: skip


@pytest.mark.parametrize("member", CHANGES)
def test_every_member_of_an_entry_is_sealed(member: str) -> None:
    seal = sealed(1, [entry(1), entry(2)], None)
    assert seal_faults(seal, None, [entry(1), entry(2, **{member: CHANGES[member]})], is_signed) != []


def test_a_missing_entry_a_missing_seal_and_another_signature_are_said() -> None:
    first = sealed(1, [entry(1)], None)
    third = sealed(3, [entry(3)], first)
    assert seal_faults(first, None, [None], is_signed) == ["1 of its 1 entries are missing"]
    assert seal_faults(third, first, [entry(3)], is_signed) == ["seals 2 to 2 are missing"]
    foreign = AuditSeal(number=1, sealed_at=NOW, entries=1, digest=first.digest, key="k", sig="other")
    assert seal_faults(foreign, None, [entry(1)], is_signed) == ["its signature is not one of this installation's keys"]
    assert seal_faults(foreign, None, [entry(1)], None) == [], "without the keys it cannot be said"


def test_the_head_in_a_backup_finds_a_cut_tail_and_a_chain_that_was_made_anew() -> None:
    first = sealed(1, [entry(1)], None)
    second = sealed(2, [entry(2)], first)
    anew = sealed(2, [entry(2, action="logged_out")], first)
    assert head_faults({"b": second}, {1: first, 2: second}, is_signed) == []
    assert "cut off" in head_faults({"b": second}, {1: first}, is_signed)[0]
    assert "made anew" in head_faults({"b": second}, {1: first, 2: anew}, is_signed)[0]
    forged = AuditSeal(number=2, sealed_at=NOW, entries=1, digest=anew.digest, key="k", sig="other")
    assert "not signed" in head_faults({"b": forged}, {1: first, 2: anew}, is_signed)[0]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_other_entries_or_another_order_are_another_digest(some: list[int], others: list[int]) -> None:
    digests = [chain_digest(1, NO_SEAL, [entry(n).digest() for n in numbers]) for numbers in (some, others)]
    assert (digests[0] == digests[1]) == (some == others)
