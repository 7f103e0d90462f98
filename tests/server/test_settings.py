"""Where values come from, and what is said when they are wrong."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from server.settings import PgSettings, Settings, each_setting, load_settings, settings_in_force, settings_table, variable_name
from server.trouble import StartError


def test_nothing_set_means_everything_embedded_on_loopback() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.demo) == ("127.0.0.1", 8686, False)
    assert settings.pg.full_dsn() == settings.s3.endpoint == ""
    assert settings.keys_folder == Path(".data/keys")


def test_settings_are_frozen() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.port = 1
    with pytest.raises(ValidationError):
        settings.pg.pool_size_max = 1


def test_the_environment_reaches_every_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XUNLING_PORT", "99")
    monkeypatch.setenv("XUNLING_LIMITS__BODY_BYTES_MAX", "100000")
    monkeypatch.setenv("XUNLING_TRUSTED_PROXIES", '["10.0.0.0/8"]')
    settings = load_settings()
    assert (settings.port, settings.limits.body_bytes_max, str(settings.trusted_proxies[0])) == (99, 100000, "10.0.0.0/8")


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XUNLING_PORT", "")
    monkeypatch.setenv("XUNLING_S3__PUBLIC_ENDPOINT", "")
    assert load_settings().port == 8686


def test_a_secret_comes_from_a_file_unless_it_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("p4ss\n")
    monkeypatch.setenv("XUNLING_PG__PASSWORD_FILE", str(tmp_path / "secret"))
    assert load_settings().pg.password.get_secret_value() == "p4ss"
    monkeypatch.setenv("XUNLING_PG__PASSWORD", "other")
    assert load_settings().pg.password.get_secret_value() == "other"


def test_the_platforms_name_for_the_database_is_the_last_resort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://a@b/c")
    assert load_settings().pg.full_dsn() == "postgresql://a@b/c"
    monkeypatch.setenv("XUNLING_PG__DSN", "postgresql://x@y/z")
    assert load_settings().pg.full_dsn() == "postgresql://x@y/z"


@pytest.mark.parametrize(
    ("dsn", "full"),
    [
        ("postgresql://a@h:5432/d?x=1", "postgresql://a:p%2F%40s@h:5432/d?x=1"),
        ("postgresql://a:own@h/d", "postgresql://a:own@h/d"),
        ("postgresql://a@/d?host=%2Frun", "postgresql://a:p%2F%40s@/d?host=%2Frun"),
        ("", ""),
    ],
)
def test_the_password_is_put_into_a_dsn_that_has_none(dsn: str, full: str) -> None:
    assert PgSettings(dsn=SecretStr(dsn), password=SecretStr("p/@s" if dsn else "")).full_dsn() == full


def test_every_wrong_value_is_named_and_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XUNLING_PORT", "s3cret-1")
    monkeypatch.setenv("XUNLING_PG__POOL_SIZE_MAX", "0")
    monkeypatch.setenv("XUNLING_PG__TYPO", "s3cret-2")
    with pytest.raises(StartError) as told:
        load_settings()
    message = str(told.value)
    assert all(name in message for name in ("XUNLING_PORT", "XUNLING_PG__POOL_SIZE_MAX", "XUNLING_PG__TYPO"))
    assert "s3cret" not in message


def test_a_missing_secret_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XUNLING_S3__SECRET_KEY_FILE", "/nowhere")
    with pytest.raises(StartError, match=r"XUNLING_S3__SECRET_KEY_FILE: .*No such file"):
        load_settings()


def test_the_table_for_the_manual_explains_every_setting() -> None:
    table = settings_table()
    for place, field in each_setting():
        assert field.description, place
        assert f"`{variable_name(place)}`" in table
    assert table.count("\n") == len(list(each_setting())) + 2


def test_the_values_in_force_show_no_secret() -> None:
    shown = settings_in_force(Settings(pg=PgSettings(dsn=SecretStr("postgresql://a:hidden@b/c"))))
    assert shown["XUNLING_PG__DSN"] == "(set)"
    assert shown["XUNLING_S3__SECRET_KEY"] == ""
    assert "hidden" not in str(shown)
