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

MIB: Final = 2**20
DISK_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def occupied(settings: Settings) -> Iterator[Path]:
    """Hold the data folder for as long as the block runs. StartError when another server has it, or when it cannot be written."""
    folder = prepared_folder(settings.data_dir, settings.disk_free_bytes_min)
    with locked(folder / "lock", url(settings)):
        yield folder


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
        raise too_little_room(folder, free // MIB, free_bytes_min // MIB)
    return folder


def disk_trouble(folder: Path, error: OSError) -> StartError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(folder, str(error.strerror))
    return StartError(
        f"无法写入数据目录 {folder}（{error.strerror}）。请修复，或用 XUNLING_DATA_DIR 指定其他目录。",
        f"The data folder {folder} cannot be written: {error.strerror}. Mend that, or name another one by XUNLING_DATA_DIR.",
    )


def disk_full(folder: Path, detail: str) -> StartError:
    return StartError(
        f"磁盘已满：{folder}。请清理，或用 XUNLING_DATA_DIR 指定其他目录。",
        f"The disk of {folder} is full: {detail}. Make room, or name another folder by XUNLING_DATA_DIR.",
    )


def too_little_room(folder: Path, free: int, wanted: int) -> StartError:
    """`free` and `wanted` in MiB."""
    return StartError(
        f"磁盘空间不足：{folder} 所在磁盘剩余 {free} MiB，至少需要 {wanted} MiB（XUNLING_DISK_FREE_BYTES_MIN）。"
        "请清理，或用 XUNLING_DATA_DIR 指定其他目录。",
        f"Too little room on the disk of {folder}: {free} MiB are free, {wanted} MiB are wanted (XUNLING_DISK_FREE_BYTES_MIN). "
        "Make room, or name another folder by XUNLING_DATA_DIR.",
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
        except (OSError, UnicodeError) as error:
            raise cannot_listen(host, port, error) from None
        yield listener


def cannot_listen(host: str, port: int, error: OSError | UnicodeError) -> StartError:
    """Which of the two is at fault: the address is of no network card here, or the port is taken or reserved."""
    place = f"{host}:{port}"
    match error:
        case OSError(errno=errno.EADDRINUSE):
            return StartError(
                f"无法监听 {place}：端口已被其他程序占用。可用 XUNLING_PORT 换一个端口。",
                f"Cannot listen on {place}: another program uses the port. Choose another one by XUNLING_PORT.",
            )
        case OSError(errno=errno.EACCES):
            return StartError(
                f"无法监听 {place}：1024 以下的端口需要管理员权限。可用 XUNLING_PORT 换一个端口。",
                f"Cannot listen on {place}: ports below 1024 are for administrators. Choose another one by XUNLING_PORT.",
            )
        case _:
            return StartError(
                f"无法监听 {place}：{host} 不是本机的地址。请改正 XUNLING_HOST（本机用 127.0.0.1，所有网卡用 0.0.0.0）。",
                f"Cannot listen on {place}: {host} is no address of this machine. Correct XUNLING_HOST (127.0.0.1: this machine; "
                "0.0.0.0: every network card).",
            )
