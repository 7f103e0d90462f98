"""Passwords: argon2id in a thread, few at a time. Each check costs memory and time by design, so the queue is bounded."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from api.admission import Admission
from contracts.access import PASSWORD_CHARACTERS_MIN
from contracts.problems import Problem, ProblemCode

ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is misread when it is copied from paper
GENERATED_CHARACTERS: Final = 12


class Passwords:
    """Hashes and checks with one set of parameters; older hashes are still checked, and said to be old."""

    def __init__(self, *, memory_kib: int, rounds: int, at_once_max: int, waiting_max: int) -> None:
        self._hasher = PasswordHasher(memory_cost=memory_kib, time_cost=rounds, parallelism=1)
        self._gate = Admission(running_max=at_once_max, waiting_max=waiting_max)
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        async with self._gate.slot():
            return await asyncio.to_thread(self._hasher.hash, password)

    async def is_right(self, password_hash: str | None, password: str) -> bool:
        """Whether the password fits. An unknown account (None) takes just as long as a known one."""
        async with self._gate.slot():
            fits = await asyncio.to_thread(self._verify, password_hash or self._nobody, password)
        return fits and password_hash is not None

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
    return "".join(secrets.choice(ALPHABET) for _ in range(GENERATED_CHARACTERS))


def check_new_password(password: str, *known: str) -> None:
    """Problem for a password that anyone would try first. `known`: the phone number and the like."""
    lowered = password.lower()
    if len(set(lowered)) < PASSWORD_CHARACTERS_MIN // 2 or lowered in "0123456789876543210" or _contains(lowered, known):
        raise Problem(ProblemCode.INVALID_VALUE, "密码过于简单或包含手机号，请换一个", field="password", reason="password_too_weak")


def _contains(password: str, known: tuple[str, ...]) -> bool:
    return any(word and (word.lower() in password or password in word.lower()) for word in known)
