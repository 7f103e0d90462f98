"""What is logged, and what never is."""

import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from server.logs import STRUCK, configure_logs, is_secret, strike_out_secrets
from server.settings import LogSettings
from tests.conftest import plain_logs


@pytest.fixture(autouse=True)
def quiet_afterwards() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    plain_logs()
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize(
    "name",
    ["password", "new_password", "Authorization", "set-cookie", "accessToken", "reporter_identity", "idCard", "id_card_number", "pg_dsn"],
)
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert is_secret(name)
    assert strike_out_secrets(None, "info", {"deep": [{name: "xyz"}]}) == {"deep": [{name: STRUCK}]}


@pytest.mark.parametrize("name", ["event", "record_id", "stream", "keys", "broken", "county", "phones_online"])
def test_other_names_stay(name: str) -> None:
    assert strike_out_secrets(None, "info", {name: "xyz"}) == {name: "xyz"}


@pytest.mark.parametrize(
    ("text", "leak"),
    [
        ("header was Bearer abcdefgh12345678", "abcdefgh12345678"),
        ("cannot connect to postgresql://xunling:p4ss-word@10.0.0.1/x", "p4ss-word"),
        ("PUT /photos/a?X-Amz-Signature=deadbeef&x=1", "deadbeef"),
        ("call 13891512345 back", "13891512345"),
        ("citizen 610902199001011234 said", "610902199001011234"),
    ],
)
def test_a_secret_is_known_by_its_look(text: str, leak: str) -> None:
    struck = strike_out_secrets(None, "info", {"event": text})["event"]
    assert leak not in struck
    assert struck.split(maxsplit=1)[0] == text.split(maxsplit=1)[0]


def test_a_line_is_json_and_names_request_and_exchange(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogSettings(format="json"))
    with structlog.contextvars.bound_contextvars(request_id="r1", exchange_id="e1"):
        structlog.get_logger("api").info("pushed", count=3, token="t")
        logging.getLogger("library").warning("from a %s", "library")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first | {"timestamp": ""} == {
        "event": "pushed",
        "level": "info",
        "logger": "api",
        "timestamp": "",
        "count": 3,
        "token": STRUCK,
        "request_id": "r1",
        "exchange_id": "e1",
    }
    assert (second["event"], second["level"], second["request_id"]) == ("from a library", "warning", "r1")


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_keeps_its_traceback_and_loses_its_secrets(
    form: Literal["json", "console"], capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(LogSettings(format=form))
    local_secret = "hidden too"
    try:
        assert local_secret
        raise RuntimeError("postgresql://a:hidden@h/x")
    except RuntimeError:
        structlog.get_logger().exception("failed")
    line = capsys.readouterr().err
    assert "Traceback" in line
    assert "hidden" not in line


def test_the_console_form_is_for_reading(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogSettings(format="console"))
    structlog.get_logger().info("pushed", password="p4ss")
    shown = capsys.readouterr().err
    assert "pushed" in shown
    assert "p4ss" not in shown


def test_less_than_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogSettings(level="warning"))
    structlog.get_logger().info("x")
    logging.getLogger("library").info("x")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("logger", ["asyncpg.pool", "pgqueuer"])
def test_a_library_that_connects_again_says_so_in_a_line(logger: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogSettings(format="json"))
    for error in (ConnectionRefusedError("refused"), ValueError("a fault of ours")):
        try:
            raise error
        except Exception:  # as libraries do
            logging.getLogger(logger).warning("no connection", exc_info=True)
    lost, fault = map(json.loads, capsys.readouterr().err.splitlines())
    assert (lost["error"], "exception" in lost) == ("ConnectionRefusedError: refused", False)
    assert "Traceback" in fault["exception"]
