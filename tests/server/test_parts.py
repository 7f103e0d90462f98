"""The parts an installation stands on: the configured ones are used, missing ones are started, and `check` says what fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from server.__main__ import cli
from server.bucket import ensure_bucket
from server.check import check
from server.parts import environment_of, parts
from server.roles import bring_up
from server.settings import Settings, load_settings
from server.trouble import StartError
from tests import servers
from tests.conftest import S3


@pytest.fixture
def folder() -> Iterator[Path]:
    path = servers.run_folder() / "parts"
    path.mkdir()
    yield path
    servers.end_run(path)


def test_configured_parts_are_used_as_they_are(settings: Settings) -> None:
    with parts(settings) as complete:
        assert complete is settings
    assert not settings.data_dir.exists()


def test_missing_parts_are_started_and_stopped(folder: Path) -> None:
    with parts(Settings(data_dir=folder)) as complete:
        assert check_fails(complete) == "Cannot connect to the database"  # the role of server and worker is made by migrating
        bring_up(complete.pg)
        assert len(check(complete)) == 4
    assert check_fails(complete) == "Cannot connect to the database"


def test_commands_beside_a_running_installation_find_its_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XUNLING_DATA_DIR", str(folder))
    monkeypatch.setenv("XUNLING_OBSERVE__DISK_FREE_SHARE_MIN", "0")
    with parts(Settings()) as complete:
        bring_up(complete.pg)
        well = CliRunner().invoke(cli, ["check"], catch_exceptions=False)
        assert (well.exit_code, well.stdout.count("\n")) == (0, 4)
    for words in (["check"], ["ledger"], ["migrate"], ["create-admin", "1", "a", "610902"], ["reset-second-factor", "1"]):
        with pytest.raises(StartError, match=f"no Xunling runs on {folder}.*make run in another terminal"):
            CliRunner().invoke(cli, words, catch_exceptions=False)


def check_fails(settings: Settings) -> str:
    with pytest.raises(StartError) as told:
        check(settings)
    return str(told.value).splitlines()[1].split(":")[0]


def test_a_child_process_finds_the_same_parts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XUNLING_PG__OWNER_PASSWORD", "secret")
    given = environment_of(settings)
    monkeypatch.delenv("XUNLING_PG__OWNER_PASSWORD")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    child = load_settings()
    assert child.pg.full_owner_dsn() == child.pg.full_dsn(), "it is not told how to be the owner"
    assert (child.pg.full_dsn(), child.s3.endpoint, child.s3.secret_key) == (
        settings.pg.full_dsn(),
        settings.s3.endpoint,
        settings.s3.secret_key,
    )


def test_the_bucket_is_made_once(settings: Settings, s3: S3) -> None:
    wanted = settings.s3.model_copy(update={"bucket": "made-at-start"})
    for _ in range(2):
        ensure_bucket(wanted)
    assert "made-at-start" in {bucket["Name"] for bucket in s3.client().list_buckets()["Buckets"]}


@pytest.mark.parametrize("wrong", [{"secret_key": SecretStr("guessed")}, {"endpoint": "http://127.0.0.1:1"}])
def test_an_s3_that_refuses_us_is_said(settings: Settings, wrong: dict[str, object]) -> None:
    with pytest.raises(StartError, match="cannot be used"):
        ensure_bucket(settings.s3.model_copy(update=wrong))
