"""Every route on one screen."""

from __future__ import annotations

from typing import Final

from litestar.types import ControllerRouterHandler

from api.accounts import ACCOUNTS
from api.audit_log import AUDIT
from api.bulk import BULK
from api.desk import DESK
from api.devices import DEVICES
from api.draw_files import PUBLIC_DRAWS
from api.draws import DRAWS
from api.exchange import exchange
from api.health import live, metrics, ready
from api.imports import IMPORTS
from api.ledgers import LEDGERS
from api.live import live_streams
from api.notices import NOTICES
from api.people import PEOPLE
from api.photos import PHOTOS, list_keys
from api.plans import PLANS
from api.rules import RULES
from api.second_factor import SECOND_FACTOR_RESETS, SECOND_FACTOR_ROUTES
from api.story import STORIES
from api.subjects import list_subjects
from api.welcome import welcome
from api.why import WHY

ROUTES: Final[tuple[ControllerRouterHandler, ...]] = (
    welcome,
    ACCOUNTS,
    SECOND_FACTOR_ROUTES,
    SECOND_FACTOR_RESETS,
    DEVICES,
    PEOPLE,
    AUDIT,
    live,
    ready,
    metrics,
    DESK,
    DRAWS,
    PUBLIC_DRAWS,
    LEDGERS,
    PLANS,
    NOTICES,
    STORIES,
    WHY,
    BULK,
    IMPORTS,
    RULES,
    exchange,
    live_streams,
    PHOTOS,
    list_keys,
    list_subjects,
)
