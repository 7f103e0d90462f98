"""What the command line says when something outside it is wrong: a line in each language, and no traceback."""

import sys
from pathlib import Path

import pytest

from server.__main__ import main
from server.embedded.ports import free_ports


def said(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["xunling", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code != 0
    return capsys.readouterr().err.strip().splitlines()


def test_a_path_that_cannot_be_written_is_a_line_in_each_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(["backup", "key", str(tmp_path / "missing" / "key")], monkeypatch, capsys)
    assert [line.split()[0] for line in lines] == ["无法读写", "Cannot"]
    assert "No such file" in lines[1]


@pytest.mark.parametrize(("words", "wrong"), [(["1", "张三", "610902"], "phone"), (["13900000000", "", "610902"], "name")])
def test_a_wrong_admin_is_named_without_the_pattern(
    words: list[str], wrong: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XUNLING_PG__DSN", "postgresql://a@127.0.0.1:1/x")
    lines = said(["create-admin", *words], monkeypatch, capsys)
    assert len(lines) == 2
    assert all(f"{wrong}" in line and "regex" not in line for line in lines)


@pytest.mark.parametrize(
    ("words", "nearest"),
    [(["chek"], "check"), (["backup", "creat"], "create"), (["keys", "rotat"], "rotate"), (["run", "--dmo"], "--demo")],
)
def test_a_misspelt_verb_or_option_is_answered_with_the_nearest(
    words: list[str], nearest: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"Did you mean '{nearest}'?" in " ".join(said(words, monkeypatch, capsys))


def test_a_server_without_its_database_says_which_setting_and_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XUNLING_PG__DSN", "postgresql://a@127.0.0.1:1/x")
    monkeypatch.setenv("XUNLING_S3__ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("XUNLING_PORT", str(free_ports(1)[0]))
    lines = said(["serve"], monkeypatch, capsys)[-2:]
    assert all("XUNLING_PG__DSN" in line and "Connect call failed" in line for line in lines)
