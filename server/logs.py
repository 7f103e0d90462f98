"""What is logged, and what never is.

One event per line: JSON for machines, or coloured for a console. Everything comes out here, also what libraries log by the standard
library. `request_id` and `exchange_id` ride along in context variables, set once per request. Secrets and the identity of people who
report are struck out by name and by look, whoever passed them in.
"""

import logging
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import asyncpg
import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from server.settings import LogSettings

STRUCK: Final = "[struck out]"
# A field is secret when one of the words of its name is one of these.
SECRET_WORDS: Final = frozenset(
    "password passwd secret token authorization cookie identity credential credentials otp totp nonce dsn pem phone idcard reporter".split()
)
SECRET_PAIRS: Final = ("id_card", "access_key", "private_key", "signing_key", "bank_account", "receipt_code", "set_cookie")
SECRET_LOOKS: Final = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), r"\1 " + STRUCK),
    (re.compile(r"(://[^\s/:@]*:)[^\s/@]+@"), r"\1" + STRUCK + "@"),  # a password in an address
    (re.compile(r"(?i)(X-Amz-(?:Signature|Credential)=)[^&\s\"]+"), r"\1" + STRUCK),
    (re.compile(r"(?<!\d)(1[3-9]\d)\d{4}(\d{4})(?!\d)"), r"\1****\2"),  # a mobile number
    (re.compile(r"(?<!\d)(\d{6})\d{8}(\d{3}[\dXx])(?!\d)"), r"\1********\2"),  # a citizen's number
)
SUSPICIOUS: Final = re.compile(r"\d{9}|://|(?i:bearer|basic|x-amz-)")  # whatever a look of the above matches has one of these
NESTING_MAX: Final = 8
RECONNECTING: Final = frozenset({"asyncpg.pool", "pgqueuer"})  # libraries that connect again by themselves
LOST_CONNECTION: Final = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)


def configure_logs(settings: LogSettings) -> None:
    """Send all logging of this process to standard error in the chosen form. May be called again."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        shorten_lost_connection,
        structlog.processors.format_exc_info,
        drop_duplicates,
        strike_out_secrets,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(settings)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for noisy in ("botocore", "boto3", "urllib3", "s3transfer", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for own_handlers in ("uvicorn", "uvicorn.error"):
        logging.getLogger(own_handlers).handlers.clear()
        logging.getLogger(own_handlers).propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # we log each request ourselves, with its id


def strike_out_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace secret values, at any depth. The names stay, so that one sees that something was there."""
    return {name: _struck(name, value, 0) for name, value in event.items()}


def shorten_lost_connection(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """One plain line when a library reports that PostgreSQL went away. It tries again by itself; a traceback would only hide why."""
    error = sys.exc_info()[1] if (given := event.get("exc_info")) is True else given[1] if isinstance(given, tuple) else given
    if event.get("logger") in RECONNECTING and isinstance(error, LOST_CONNECTION):
        del event["exc_info"]
        event["error"] = f"{type(error).__name__}: {error}"
    return event


def drop_duplicates(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """uvicorn hands over each message a second time, in colour."""
    event.pop("color_message", None)
    return event


@lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").lower()
    return not SECRET_WORDS.isdisjoint(words.split("_")) or any(pair in words for pair in SECRET_PAIRS)


def _struck(name: str, value: Any, depth: int) -> Any:
    if is_secret(name):
        return STRUCK
    if depth >= NESTING_MAX:
        return "[nested too deeply]"
    match value:
        case str():
            return without_secret_looks(value)
        case Mapping():
            return {key: _struck(str(key), inner, depth + 1) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_struck("", inner, depth + 1) for inner in value]
        case bytes() | bytearray():
            return f"[{len(value)} bytes]"
        case _:
            return value


def without_secret_looks(text: str) -> str:
    if not SUSPICIOUS.search(text):  # nearly every text: one search in place of five
        return text
    for look, replacement in SECRET_LOOKS:
        text = look.sub(replacement, text)
    return text


def _renderer(settings: LogSettings) -> Processor:
    if settings.format == "json":
        return structlog.processors.JSONRenderer(serializer=_encode)
    # The plain form: the pretty one prints local variables, and with them whatever secret they hold.
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


def _encode(event: EventDict, **_ignored: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
