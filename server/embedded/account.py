"""Who the embedded servers run as. PostgreSQL refuses to run as root, so root steps down to an unprivileged user.

When the project lies in a folder that others may not pass (`/root/xunling`), that one user, and nobody else, is given
the right to pass through (an ACL entry with `x`), on the folders above only. No mode bit is changed.
"""

import os
import pwd
import shutil
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.trouble import StartError

SYSTEM_USER = "xunling-embedded"
ACL_ATTRIBUTE = "system.posix_acl_access"
ACL_OWNER, ACL_USER, ACL_GROUP, ACL_MASK, ACL_OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
ACL_NO_ID = 0xFFFFFFFF
READ_BY_ALL, PASS_BY_ALL = 0o444, 0o111
PASS = 1  # the x bit: pass through, without listing


@dataclass(frozen=True)
class Account:
    """A system user to run programs as; `steps_down` when that is not the user we are."""

    uid: int
    gid: int
    steps_down: bool

    def popen_arguments(self) -> dict[str, Any]:
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.steps_down else {}

    def own(self, path: Path) -> None:
        """Give a file or folder to this user."""
        if self.steps_down:
            os.chown(path, self.uid, self.gid)

    def can(self, test: str, path: Path) -> bool:
        """Ask `test(1)` as that user, e.g. `-x`."""
        return (
            subprocess.run(["/bin/sh", "-c", f'test {test} "$1"', "sh", path], check=False, cwd="/", **self.popen_arguments()).returncode
            == 0
        )


def service_account(folder: Path) -> Account:
    """The user the servers with data in `folder` run as: us, or for root the folder's owner or the system user."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), steps_down=False)
    if folder.exists() and folder.stat().st_uid != 0:
        owner = folder.stat()
        return Account(owner.st_uid, owner.st_gid, steps_down=True)
    entry = system_user()
    return Account(entry.pw_uid, entry.pw_gid, steps_down=True)


def system_user() -> pwd.struct_passwd:
    """The unprivileged user for root's servers, made when missing; `nobody` where users cannot be made."""
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    if useradd := shutil.which("useradd"):
        subprocess.run(
            [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER], check=False, capture_output=True
        )
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return pwd.getpwnam("nobody")


def ensure_passage(account: Account, target: Path) -> None:
    """Make sure the account reaches `target`, and passes into it when it is a folder. StartError where that cannot be arranged."""
    if not account.steps_down or account.can("-x", target):
        return
    for folder in [*reversed(target.parents), *([target] if target.is_dir() else [])]:
        if not account.can("-x", folder):
            try:
                allow_passage(folder, account.uid)
            except OSError:
                raise no_passage(folder) from None
    if not account.can("-x", target):
        raise no_passage(target)


def ensure_readable(account: Account, programs: Path) -> None:
    """Let the account read a program or a tree of programs of ours, which hold no secret.

    Packages that root installs under umask 027 or 077 are closed to everybody else.
    """
    if account.steps_down:
        for path in [programs, *programs.rglob("*")]:
            mode = stat.S_IMODE(path.lstat().st_mode)
            wanted = mode | READ_BY_ALL | (PASS_BY_ALL if mode & stat.S_IXUSR else 0)
            if wanted != mode and not path.is_symlink():
                path.chmod(wanted)


def no_passage(path: Path) -> StartError:
    return StartError(
        f"内置数据库以普通用户运行，但该用户无法进入 {path}。请把项目放到其他用户可进入的目录（如 /opt），或用普通用户启动。",
        f"The embedded database runs as an unprivileged user, who cannot enter {path}. "
        "Move the project to a folder others may pass (such as /opt), or start it as an ordinary user.",
    )


def allow_passage(folder: Path, uid: int) -> None:
    """Add an ACL entry `user:uid:--x` to a folder; what others may do stays as it was."""
    entries = read_acl(folder)
    entries[ACL_USER, uid] = entries.get((ACL_USER, uid), 0) | PASS
    entries[ACL_MASK, ACL_NO_ID] = entries.get((ACL_MASK, ACL_NO_ID), entries[ACL_GROUP, ACL_NO_ID]) | PASS
    packed = b"".join(struct.pack("<HHI", tag, rights, who) for (tag, who), rights in sorted(entries.items()))
    os.setxattr(folder, ACL_ATTRIBUTE, struct.pack("<I", 2) + packed)


def read_acl(folder: Path) -> dict[tuple[int, int], int]:
    """A folder's rights as {(tag, id): rwx bits}; from its mode when it has no ACL yet."""
    try:
        raw = os.getxattr(folder, ACL_ATTRIBUTE)
    except OSError:
        mode = stat.S_IMODE(folder.stat().st_mode)
        return {(ACL_OWNER, ACL_NO_ID): mode >> 6 & 7, (ACL_GROUP, ACL_NO_ID): mode >> 3 & 7, (ACL_OTHER, ACL_NO_ID): mode & 7}
    return {(tag, who): rights for tag, rights, who in struct.iter_unpack("<HHI", raw[4:])}
