"""What is said before anything starts: somebody is there already, the port is taken, the disk is full or closed."""

import errno
import os
import socket
from pathlib import Path

import pytest

from server.embedded.ports import free_ports
from server.installation import bound, disk_trouble, locked, occupied, prepared_folder, url
from server.settings import Settings
from server.trouble import StartError


@pytest.fixture
def installation(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "deep" / "data", port=free_ports(1)[0], disk_free_bytes_min=0)


def test_a_second_start_is_told_who_is_there(installation: Settings) -> None:
    with occupied(installation), pytest.raises(StartError, match=rf"{url(installation)} \(pid {os.getpid()}\)"), occupied(installation):
        pass


def test_a_finished_start_leaves_the_way_free(installation: Settings) -> None:
    for _ in range(2):
        with occupied(installation) as folder, bound(installation.host, installation.port) as listener:
            assert (folder / "lock").exists()
            assert listener.getsockname() == ("127.0.0.1", installation.port)


def test_a_damaged_lock_file_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"\xff{")
    with locked(tmp_path / "lock", "here"):
        assert b"here" in (tmp_path / "lock").read_bytes()


def test_a_busy_port_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(StartError, match=rf"Cannot listen on 127\.0\.0\.1:{port}: another program uses the port"),
            bound("127.0.0.1", port),
        ):
            pass


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "::zz", "x" * 70, "."])
def test_a_wrong_host_is_not_said_to_be_a_wrong_port(host: str) -> None:
    with pytest.raises(StartError, match=r"is no address of this machine\. Correct XUNLING_HOST") as told, bound(host, 8686):
        pass
    assert "XUNLING_PORT" not in str(told.value)


def test_a_full_disk_is_said_before_it_hurts(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"\d+ MiB are free, 8796093022208 MiB are wanted"):
        prepared_folder(tmp_path, 2**63)


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "is full"), (errno.EDQUOT, "is full"), (errno.EROFS, "cannot be written"), (errno.EACCES, "cannot be written")],
)
def test_a_disk_that_fails_later_is_said_too(code: int, words: str, tmp_path: Path) -> None:
    assert words in str(disk_trouble(tmp_path, OSError(code, os.strerror(code))))


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="cannot be written: Not a directory"):
        prepared_folder(tmp_path / "file" / "data", 0)


def test_others_may_pass_but_not_list(tmp_path: Path) -> None:
    assert prepared_folder(tmp_path / "data", 0).stat().st_mode & 0o777 == 0o711


def test_an_address_for_people(tmp_path: Path) -> None:
    assert url(Settings(host="::1", port=80)) == "http://[::1]:80"
    assert url(Settings(public_url="https://xunling.example.cn")) == "https://xunling.example.cn"
