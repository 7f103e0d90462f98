"""What handlers are given: connections, values, clocks. Made in the lifespan of the app, frozen, injected by Litestar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from api.account_keys import AccountKeys
from api.admission import Admission
from api.demo_accounts import DemoAccount
from api.import_queue import ImportQueue
from api.limits import PersonLimit
from api.listeners import Live
from api.metrics import Metrics
from api.passwords import Passwords
from api.photo_urls import PhotoUrls
from api.probes import Probes
from api.readings import Readings
from api.signing import Signer
from api.turns import Turns
from storage.draws import Seal
from storage.objects import Objects
from storage.photos import PhotoRules
from storage.pool import Pool
from storage.rate_limit import Rate
from storage.tokens import Lifetimes
from storage.units import UnitsCache


@dataclass(frozen=True, kw_only=True)
class AccessRules:
    """How long what is good, and how often what may be tried."""

    lifetimes: Lifetimes
    account: Rate  # wrong passwords per account, of strangers and of each device that was logged in before: the lock-out
    logins: Rate  # right passwords per account
    source: Rate  # wrong log-ins of strangers per address
    refresh: Rate  # refreshes per address that failed
    session: Rate  # refreshes of one device
    wiped_for: timedelta
    wiped_bytes_max: int
    devices_max: int  # live devices of one person
    backdated_days: int  # a duty starts so many days before today at most
    metrics_token: str = ""
    second_factor_required: bool = True  # of the roles in sync/administration.py
    demo: bool = False  # demo accounts are open, and need none


@dataclass(frozen=True, kw_only=True)
class SyncRules:
    """Bounds of one exchange."""

    mutations_max: int
    mutation_bytes_max: int
    page_records_max: int
    exchange_bytes_max: int
    bytes_of_a_day: PersonLimit  # of mutations handed in
    held_of_person_max: int
    backup_configured: bool = False  # then phones hold what no verified backup has (design.md 3.3)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Everything a handler may use. `now` is injected, so that a test owns time."""

    pool: Pool
    units: UnitsCache
    signer: Signer
    draw_seal: Seal  # over what a random draw must not show before it is disclosed
    objects: Objects | None  # None where this process has no S3
    photo_rules: PhotoRules
    photo_urls: PhotoUrls
    now: Callable[[], datetime]
    metrics: Metrics
    passwords: Passwords
    imports: ImportQueue
    account_keys: AccountKeys
    access: AccessRules
    exchanges: Admission
    person_limit: PersonLimit
    turns: Turns
    sync: SyncRules
    live: Live
    readings: Readings
    probes: Probes
    demo: tuple[DemoAccount, ...]  # who may log in where an installation is for trying out; else empty
    migration: str  # the newest migration this program knows


def utc_now() -> datetime:
    return datetime.now(UTC)
