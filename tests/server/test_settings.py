"""Where values come from, and what is said when they are wrong."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from annotated_types import Ge, Gt
from pydantic import SecretStr, ValidationError

from server.backup_encryption import make_identity
from server.setting_kinds import expected
from server.settings import (
    OF_THE_DEPLOYMENT,
    PgSettings,
    Settings,
    each_setting,
    load_settings,
    settings_in_force,
    settings_table,
    unknown_variables,
    variable_name,
)
from server.trouble import StartError
from tests.house.tree import ROOT


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


def faults(**overrides: object) -> list[str]:
    """The lines of a refusal, one for each fault."""
    with pytest.raises(StartError) as refusal:
        load_settings(**overrides)
    assert "Traceback" not in str(refusal.value)
    return [line.strip() for line in str(refusal.value).splitlines()[2:]]


FREE_TEXT = {SecretStr, str}
OFTEN_TYPED = {"XUNLING_DATA_DIR": "~/x", "XUNLING_KEYS_DIR": "~x", "XUNLING_BACKUP__FOLDER": "~/b", "XUNLING_CJK_FONT": "/no/such.ttf"}


def wrongly_typed() -> Iterator[tuple[str, str]]:
    """(variable, value that is wrong) of every setting that is not free text."""
    for place, field in each_setting():
        name = variable_name(place)
        if field.annotation not in FREE_TEXT or len(field.metadata) > 0:
            yield name, OFTEN_TYPED.get(name, "8 Mi/B: falsch")
        if field.annotation in (int, float) and any(isinstance(mark, Ge | Gt) for mark in field.metadata):
            yield name, "-1"
        if field.annotation is float:
            yield name, "nan"


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize(("name", "value"), list(wrongly_typed()))
def test_a_wrong_value_of_any_setting_is_one_line_that_says_what_belongs_there(
    name: str, value: str, as_file: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variable = name
    if as_file:
        (tmp_path / "value").write_text(value + "\n")
        variable = name + "_FILE"
    monkeypatch.setenv(variable, str(tmp_path / "value") if as_file else value)
    [line] = faults()
    is_secret = "DSN" in name
    assert line.startswith(f"{variable}: 应为：" if is_secret else f'{variable}="{value}": 应为：')
    assert re.search("应为：[^。]+。 Must be [^.]+.* 例 e\\.g\\. " + name + "=.", line)
    assert (value in line) is not is_secret


def test_every_number_list_path_address_and_choice_is_tried() -> None:
    assert {name for name, _ in wrongly_typed()} == {variable_name(place) for place, _ in each_setting()} - {
        "XUNLING_HOST",
        "XUNLING_PG__PASSWORD",
        "XUNLING_PG__OWNER_PASSWORD",
        "XUNLING_S3__REGION",
        "XUNLING_S3__ACCESS_KEY",
        "XUNLING_S3__SECRET_KEY",
        "XUNLING_OBSERVE__METRICS_TOKEN",
    }


def test_the_examples_are_right_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, field in each_setting():
        example = expected(place[-1], field).example
        if example and place not in {("cjk_font",), ("backup", "recipients")}:
            monkeypatch.setenv(variable_name(place), example)
    load_settings()


def test_every_wrong_value_is_named_and_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XUNLING_PORT", "ninety")
    monkeypatch.setenv("XUNLING_PG__POOL_SIZE_MAX", "0")
    monkeypatch.setenv("XUNLING_PG__TYPO", "s3cret-2")
    lines = faults()
    assert sorted(line.partition(":")[0] for line in lines) == [
        'XUNLING_PG__POOL_SIZE_MAX="0"',
        "XUNLING_PG__TYPO",
        'XUNLING_PORT="ninety"',
    ]
    assert "s3cret" not in str(lines)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XUNLING_PG", "s3cret"),
        ("XUNLING_LIMITS", "s3cret"),
        ("XUNLING_PG__DSN", "s3cret@host/base"),
        ("XUNLING_PG__OWNER_DSN", "mysql://u:s3cret@host/base"),
        ("XUNLING_PG__DSN", "postgresql://u:s3cret@[::1/base"),
        ("XUNLING_PG__DSN", "postgresql://u:s3cret@host:port/base"),
        ("DATABASE_URL", "mysql://u:s3cret@host/base"),
        ("XUNLING_PUBLIC_URL", "ftp://u:s3cret@host"),
        ("XUNLING_PG__DSN__X", "s3cret"),
    ],
)
def test_no_line_shows_what_may_be_secret(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    [line] = faults()
    assert line.startswith(name)
    assert "s3cret" not in line


def test_a_list_is_one_fault_and_names_its_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XUNLING_TRUSTED_PROXIES", '["10.0.0.0/8", "x", "y"]')
    monkeypatch.setenv("XUNLING_BACKUP__RECIPIENTS", "age1abc")
    assert [line.partition(":")[0] for line in faults()] == ['XUNLING_TRUSTED_PROXIES="x"', 'XUNLING_BACKUP__RECIPIENTS="age1abc"']


def test_a_mistyped_letter_of_a_custodians_key_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = make_identity(tmp_path / "key")
    monkeypatch.setenv("XUNLING_BACKUP__RECIPIENTS", json.dumps([key]))
    assert load_settings().backup.recipients == (key,)
    monkeypatch.setenv("XUNLING_BACKUP__RECIPIENTS", json.dumps([key[:-1] + ("q" if key[-1] != "q" else "p")]))
    assert len(faults()) == 1


def test_a_group_as_json_is_read_and_its_faults_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XUNLING_PG", '{"pool_size_max": 3, "waiting_max": 4}')
    monkeypatch.setenv("XUNLING_PG__WAITING_MAX", "5")
    assert (load_settings().pg.pool_size_max, load_settings().pg.waiting_max) == (3, 5)
    monkeypatch.setenv("XUNLING_PG", '{"pool_size_max": "many"}')
    [line] = faults()
    assert line.startswith('XUNLING_PG (pool_size_max)="many": ')


def test_a_socket_and_a_password_that_stands_elsewhere_make_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for dsn in ("postgresql://a@/d?host=%2Frun", "postgres://a@h/d", "postgresql://a:p@h:5432/d?sslmode=require"):
        monkeypatch.setenv("XUNLING_PG__DSN", dsn)
        assert load_settings().pg.full_dsn() == dsn


def test_a_variable_that_nothing_reads_is_said_with_what_may_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XUNLING_PROT", "XUNLING_DATADIR_FILE", "XUNLING_ZZZ", "xunling_wokers", "XUNLING_PORT", "XUNLING_DOMAIN", "XUNLING_PG"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("XUNLING_PG__PASSWORD_FILE", "/somewhere")
    lines = {line.partition(":")[0]: line for line in unknown_variables()}
    assert lines.keys() == {"XUNLING_PROT", "XUNLING_DATADIR_FILE", "XUNLING_ZZZ", "XUNLING_WOKERS"}
    assert "Did you mean XUNLING_PORT?" in lines["XUNLING_PROT"]
    assert "Did you mean XUNLING_DATA_DIR?" in lines["XUNLING_DATADIR_FILE"]
    assert "Did you mean XUNLING_WORKERS?" in lines["XUNLING_WOKERS"]
    assert "Did you mean" not in lines["XUNLING_ZZZ"]


def test_a_misspelt_name_of_a_group_is_refused_with_what_may_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XUNLING_PG__PASWORD", "x")
    with pytest.raises(StartError, match=r"XUNLING_PG__PASWORD: .*Did you mean XUNLING_PG__PASSWORD\?"):
        load_settings()


def test_the_names_of_the_deployment_are_those_of_its_files() -> None:
    used = {
        name
        for file in ("compose.yaml", "deploy/Caddyfile")
        for name in re.findall(r"\$?\{\$?(XUNLING_[A-Z0-9_]+)", (ROOT / file).read_text(encoding="utf-8"))
    }
    settings = {variable_name(place) for place, _ in each_setting()}
    twins = {name.replace("__", "_") for name in settings}  # compose hands these on under their right names
    assert used - settings - twins <= OF_THE_DEPLOYMENT
    assert not OF_THE_DEPLOYMENT & (settings | twins)


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
