"""Passwords: argon2id in threads of its own, few at a time. Each check costs memory and time by design, so the queue is bounded, and fair."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from api.fair_queue import FairQueue
from api.weak_passwords import RULES_ZH, weakness
from contracts.problems import Problem, ProblemCode

ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is misread when it is copied from paper
GENERATED_CHARACTERS: Final = 12

_T = TypeVar("_T")


class Passwords:
    """Hashes and checks with one set of parameters; older hashes are still checked, and said to be old."""

    def __init__(self, *, memory_kib: int, rounds: int, at_once_max: int, waiting_max: int) -> None:
        self._hasher = PasswordHasher(memory_cost=memory_kib, time_cost=rounds, parallelism=1)
        self._gate = FairQueue(running_max=at_once_max, waiting_max=waiting_max)
        self._threads = ThreadPoolExecutor(at_once_max, thread_name_prefix="password")
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str, party: str = "") -> str:
        """`party`: who asks, an address; those without a name are one party."""
        return await self._in_turn(party, lambda: self._hasher.hash(password))

    async def is_right(self, password_hash: str | None, password: str, party: str = "") -> bool:
        """Whether the password fits. An unknown account (None) takes just as long as a known one."""
        fits = await self._in_turn(party, lambda: self._verify(password_hash or self._nobody, password))
        return fits and password_hash is not None

    async def _in_turn(self, party: str, work: Callable[[], _T]) -> _T:
        async with self._gate.slot(party):
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def is_old(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters, and should be made anew while the password is at hand."""
        return self._hasher.check_needs_rehash(password_hash)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


def generate_password() -> str:
    """About 59 bits, to be told once and then changed."""
    while weakness(made := "".join(secrets.choice(ALPHABET) for _ in range(GENERATED_CHARACTERS))):
        continue  # one in millions happens to look like something
    return made


def check_new_password(password: str, phone: str, *, name: str = "", old: str = "") -> None:
    """Problem for a password that anyone would try first, with the rule that it breaks."""
    if rule := weakness(password, (phone, name), old):
        raise Problem(ProblemCode.INVALID_VALUE, RULES_ZH[rule], field="password", reason="password_too_weak", rule=rule)
