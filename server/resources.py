"""What the app holds while it runs: opened at the start, closed in reverse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from api.account_keys import AccountKeys
from api.admission import Admission
from api.demo_accounts import DemoAccount
from api.import_queue import ImportQueue
from api.limits import bytes_limit, requests_limit
from api.listeners import Live
from api.metrics import Metrics
from api.passwords import Passwords
from api.photo_urls import PhotoUrls
from api.probes import Probes
from api.readings import Readings
from api.resources import AccessRules, Resources, SyncRules, utc_now
from api.turns import Turns
from server.demo_staff import demo_staff
from server.keys import load_secret, load_signer
from server.migrate import migration_files
from server.settings import LimitSettings, S3Settings, Settings
from storage.draws import Seal
from storage.objects import Objects, S3Access
from storage.photos import PhotoRules
from storage.pool import open_pool
from storage.rate_limit import Rate
from storage.tokens import Lifetimes
from storage.units import UnitsCache

LOGINS_AT_ONCE = 30  # of one account with the right password, then one in two minutes
REFRESHES_AT_ONCE = 30  # of one device, then one a minute: an honest one comes once an hour, or again and again on a bad road
SOURCE_SHARE = 20  # an address regains so many tries while an account regains one


@asynccontextmanager
async def open_resources(settings: Settings, metrics: Metrics, now: Callable[[], datetime] | None = None) -> AsyncIterator[Resources]:
    """Open what the handlers need. Whatever order things fail in, what was opened is closed."""
    auth, limits = settings.auth, settings.limits
    signer = load_signer(settings.keys_folder)
    account_keys = AccountKeys(load_secret(settings.keys_folder, "accounts.key"))
    passwords = Passwords(
        memory_kib=auth.argon2_memory_kib,
        rounds=auth.argon2_rounds,
        at_once_max=auth.password_checks_at_once_max,
        waiting_max=auth.password_checks_waiting_max,
    )
    pool = await open_pool(
        settings.pg.full_dsn(),
        size_min=min(settings.pg.pool_size_min, settings.pg.pool_size_max),
        size_max=settings.pg.pool_size_max,
        waiting_max=settings.pg.waiting_max,
        acquire_seconds_max=settings.pg.acquire_seconds_max,
        statement_seconds_max=settings.pg.statement_seconds_max,
    )
    readings = Readings(pool)
    async with pool, readings.running():
        objects = Objects(s3_access(settings.s3)) if settings.s3.endpoint else None
        imports = ImportQueue()
        try:
            yield Resources(
                pool=pool,
                units=UnitsCache(pool),
                signer=signer,
                draw_seal=Seal(load_secret(settings.keys_folder, "draws.key")),
                objects=objects,
                photo_rules=photo_rules(limits),
                photo_urls=photo_urls(settings),
                now=now or utc_now,
                metrics=metrics,
                passwords=passwords,
                account_keys=account_keys,
                imports=imports,
                access=access_rules(settings),
                exchanges=Admission(
                    running_max=limits.exchanges_at_once_max,
                    waiting_max=limits.exchanges_waiting_max,
                    watch=metrics.show_exchanges,
                ),
                person_limit=requests_limit(limits.person_requests_per_minute),
                turns=Turns(settings.pg.pool_size_max),
                sync=SyncRules(
                    mutations_max=limits.mutations_per_exchange_max,
                    mutation_bytes_max=limits.mutation_bytes_max,
                    page_records_max=limits.page_records_max,
                    exchange_bytes_max=limits.exchange_bytes_max,
                    bytes_of_a_day=bytes_limit(limits.person_bytes_per_day),
                    held_of_person_max=limits.held_of_person_max,
                    backup_configured=settings.backup.configured,
                ),
                live=Live(),
                readings=readings,
                probes=Probes(),
                demo=demo_accounts(settings),
                migration=max(migration_files()),
            )
        finally:
            await imports.close()
            passwords.close()
            if objects is not None:
                await objects.close()


def demo_accounts(settings: Settings) -> tuple[DemoAccount, ...]:
    if not settings.demo:
        return ()
    staff = demo_staff(settings.data_dir / "secrets")
    return tuple(DemoAccount(phone=one.phone, password=one.password, name=one.name, title=one.title) for one in staff)


def access_rules(settings: Settings) -> AccessRules:
    auth = settings.auth
    regain_per_second = 1 / (auth.login_regain_minutes * 60)
    return AccessRules(
        lifetimes=Lifetimes(
            access=timedelta(minutes=auth.access_minutes),
            phone=timedelta(days=auth.device_days),
            console=timedelta(hours=auth.console_hours),
            console_idle=timedelta(hours=auth.console_idle_hours),
        ),
        account=Rate(capacity=auth.login_tries_per_account, per_second=regain_per_second),
        logins=Rate(capacity=LOGINS_AT_ONCE, per_second=1 / 120),
        source=Rate(capacity=auth.login_tries_per_source, per_second=regain_per_second * SOURCE_SHARE),
        refresh=Rate(capacity=auth.login_tries_per_source, per_second=regain_per_second * SOURCE_SHARE),
        session=Rate(capacity=REFRESHES_AT_ONCE, per_second=1 / 60),
        wiped_for=timedelta(days=auth.wiped_days),
        wiped_bytes_max=auth.wiped_bytes_max,
        devices_max=auth.devices_per_person_max,
        backdated_days=auth.backdated_days,
        metrics_token=settings.observe.metrics_token.get_secret_value(),
        second_factor_required=auth.second_factor_required,
        demo=settings.demo,
    )


def s3_access(s3: S3Settings) -> S3Access:
    return S3Access(
        endpoint=s3.endpoint,
        public_endpoint=s3.public_endpoint,
        region=s3.region,
        bucket=s3.bucket,
        access_key=s3.access_key.get_secret_value(),
        secret_key=s3.secret_key.get_secret_value(),
        threads_max=s3.threads_max,
        presigned_seconds=s3.presigned_seconds,
    )


def photo_rules(limits: LimitSettings) -> PhotoRules:
    return PhotoRules(photo_bytes_max=limits.photo_bytes_max, pixels_max=limits.photo_pixels_max, day_bytes_max=limits.photo_day_bytes_max)


def photo_urls(settings: Settings) -> PhotoUrls:
    """Relayed unless the operator says that phones reach S3; every replica needs the same secret to know its siblings' URLs."""
    secret = load_secret(settings.keys_folder, "relay.key") if settings.s3.relay else None
    return PhotoUrls(relay_secret=secret, public_url=settings.public_url, seconds=settings.s3.presigned_seconds)
