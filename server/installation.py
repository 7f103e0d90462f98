"""One installation is one data folder, used by one server at a time. Looked at before anything is started."""

import errno
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from server.settings import Settings
from server.trouble import StartError

DISK_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def occupied(settings: Settings) -> Iterator[socket.socket]:
    """Hold the data folder and the port for as long as the block runs; yields the bound socket.

    StartError when another server has either, or when the folder cannot be written.
    """
    folder = prepared_folder(settings.data_dir, settings.disk_free_bytes_min)
    with locked(folder / "lock", url(settings)), bound(settings.host, settings.port) as listener:
        yield listener


def url(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return settings.public_url or f"http://{host}:{settings.port}"


def prepared_folder(folder: Path, free_bytes_min: int) -> Path:
    """The data folder, made and tried out."""
    folder = folder.absolute()
    try:
        # others may pass, not list: root's embedded servers run as another user; every secret file is closed by itself
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise disk_trouble(folder, error) from None
    if free < free_bytes_min:
        raise disk_full(folder, f"{free // 2**20} MiB free, {free_bytes_min // 2**20} MiB wanted (XUNLING_DISK_FREE_BYTES_MIN)")
    return folder


def disk_trouble(folder: Path, error: OSError) -> StartError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(folder, str(error.strerror))
    return StartError(
        f"无法写入数据目录 {folder}（只读磁盘或没有权限）。请修复，或用 XUNLING_DATA_DIR 指定其他目录。",
        f"The data folder {folder} cannot be written: {error.strerror}. Mend that, or name another one by XUNLING_DATA_DIR.",
    )


def disk_full(folder: Path, detail: str) -> StartError:
    return StartError(
        f"磁盘空间不足：{folder}。请清理，或用 XUNLING_DATA_DIR 指定其他目录。",
        f"The disk of {folder} is full: {detail}. Make room, or name another folder by XUNLING_DATA_DIR.",
    )


@contextmanager
def locked(path: Path, address: str) -> Iterator[None]:
    """Hold the installation's lock. The file tells a second start whom it met; the lock itself ends with our process."""
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise already_running(path) from None
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid(), "url": address}))
        lock.flush()
        yield


def already_running(path: Path) -> StartError:
    try:
        holder = json.loads(path.read_text())
        who = f"{holder['url']} (pid {holder['pid']})"
    except (OSError, ValueError, KeyError):
        who = "starting"
    return StartError(f"巡岭已在该数据目录上运行：{who}", f"Xunling already runs on this data folder: {who}")


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket bound to the address: nobody else can take it while we prepare, and nobody is answered yet."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise StartError(
                f"无法监听 {host}:{port}（端口可能被其他程序占用）。可用 XUNLING_PORT 换一个端口。",
                f"Cannot listen on {host}:{port}: {error.strerror}. Choose another port by XUNLING_PORT.",
            ) from None
        yield listener
