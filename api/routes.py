"""Every route on one screen."""

from __future__ import annotations

from typing import Final

from litestar.types import ControllerRouterHandler

from api.accounts import ACCOUNTS
from api.exchange import exchange
from api.health import live, metrics, ready
from api.live import live_streams

ROUTES: Final[tuple[ControllerRouterHandler, ...]] = (
    ACCOUNTS,
    live,
    ready,
    metrics,
    exchange,
    live_streams,
)
