"""Codes of a second factor: six digits from an authenticator app (TOTP, RFC 6238), or a recovery code from paper."""

from __future__ import annotations

import base64
import secrets
import unicodedata
from datetime import datetime
from typing import Final

from pyotp.totp import TOTP

from api.account_keys import AccountKeys
from api.passwords import ALPHABET
from contracts.ids import PersonId
from storage.pool import Connection
from storage.second_factor import Factor, take_step, use_recovery_code

ISSUER: Final = "巡岭 Xunling"
SECRET_BYTES: Final = 20  # what RFC 4226 recommends for SHA-1
STEP_SECONDS: Final = 30
STEPS_OFF_MAX: Final = 1  # an authenticator's clock may be half a minute early or late
TOTP_DIGITS: Final = 6
RECOVERY_CODES: Final = 10
RECOVERY_CHARACTERS: Final = 12  # 59 bits


def new_secret() -> str:
    return base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode()


def provisioning_uri(secret: str, phone: str) -> str:
    """What an authenticator app reads as a QR code."""
    return TOTP(secret).provisioning_uri(name=phone, issuer_name=ISSUER)


def new_recovery_codes() -> list[str]:
    return ["".join(secrets.choice(ALPHABET) for _ in range(RECOVERY_CHARACTERS)) for _ in range(RECOVERY_CODES)]


def typed(code: str) -> str:
    """As people type it: full-width digits, spaces and hyphens between groups, capitals."""
    return "".join(c for c in unicodedata.normalize("NFKC", code).lower() if c.isalnum())


def step_of(secret: str, code: str, now: datetime) -> int | None:
    """The time step whose code this is; None: no step that is valid now."""
    totp, present = TOTP(secret), int(now.timestamp()) // STEP_SECONDS
    steps = range(present - STEPS_OFF_MAX, present + STEPS_OFF_MAX + 1)
    return next((step for step in steps if secrets.compare_digest(totp.generate_otp(step).encode(), code.encode())), None)


async def is_code_right(conn: Connection, keys: AccountKeys, factor: Factor, given: str, now: datetime) -> bool:
    """Whether the code is good, which uses it up. Inside a transaction that is rolled back where the rest fails."""
    code = typed(given)
    if len(code) != TOTP_DIGITS or not code.isdigit():
        return await use_recovery_code(conn, factor.person, keys.hash_code(factor.person, code), now)
    secret = keys.open(factor.person, factor.secret)
    step = step_of(secret, code, now) if secret is not None else None
    return step is not None and await take_step(conn, factor.person, step)


def hashes_of(keys: AccountKeys, person: PersonId, codes: list[str]) -> list[bytes]:
    """Recovery codes as they are stored."""
    return [keys.hash_code(person, code) for code in codes]
