"""Backups encrypted with age (age-encryption.org/v1): for the custodians and for the server itself.

The custodians' public keys are the setting `backup.recipients`; their secret keys are on paper or a stick, never on the server.
The server has a key of its own in the keys folder, so that it can verify its backups at night, and the keys folder is in no
backup. The disk with the backups therefore opens to a custodian or to the server, and to nobody who only has the disk.
Without recipients backups are not encrypted.
"""

# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (pyrage is an extension module without type stubs)
from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import pyrage
from pyrage.x25519 import Identity, Recipient

from server.keys import write_once
from server.settings import Settings
from server.trouble import StartError

SUFFIX: Final = ".age"
SERVER_KEY: Final = "backup.age"
PLAIN_OBJECTS: Final = "objects"


class Encryption(msgspec.Struct, frozen=True, kw_only=True):
    """For which age public keys a backup is written, and with which secret keys it is read. Without recipients: plain."""

    recipients: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        """What the name of a stored file ends in."""
        return SUFFIX if self.recipients else ""

    @property
    def objects_folder(self) -> str:
        """Photos are stored once for each set of recipients: after a custodian was replaced they are stored anew."""
        if not self.recipients:
            return PLAIN_OBJECTS
        return f"{PLAIN_OBJECTS}-{hashlib.sha256(' '.join(sorted(self.recipients)).encode()).hexdigest()[:8]}"

    def encrypt(self, reader: BinaryIO, writer: BinaryIO) -> None:
        pyrage.encrypt_io(reader, writer, [Recipient.from_str(each) for each in self.recipients])

    def decrypt(self, reader: BinaryIO, writer: BinaryIO) -> None:
        """StartError when none of our keys opens it, or its bytes were changed."""
        if not self.identities:
            raise StartError(
                "备份已加密：请用 --identity 指定保管人密钥文件。", "The backup is encrypted: name a custodian's key file with --identity."
            )
        try:
            pyrage.decrypt_io(reader, writer, [Identity.from_str(each) for each in self.identities])
        except (pyrage.DecryptError, OSError) as error:
            raise StartError("备份无法解密：", f"The backup cannot be decrypted: {error}") from None

    def stored(self, content: bytes) -> bytes:
        """The bytes that a photo is stored as."""
        if not self.recipients:
            return content
        sealed = io.BytesIO()
        self.encrypt(io.BytesIO(content), sealed)
        return sealed.getvalue()

    def read(self, path: Path) -> bytes:
        """The photo that is stored there."""
        if path.suffix != SUFFIX:
            return path.read_bytes()
        opened = io.BytesIO()
        with path.open("rb") as file:
            self.decrypt(file, opened)
        return opened.getvalue()


PLAIN: Final = Encryption()


def load_encryption(settings: Settings, identity_file: Path | None = None) -> Encryption:
    """What the settings ask for. Makes the server's own key when there are recipients. StartError when a key is not one."""
    recipients = settings.backup.recipients
    server_key = settings.keys_folder / SERVER_KEY
    if recipients and not server_key.exists():
        server_key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_once(server_key, f"{Identity.generate()}\n".encode())
    identities = [read_identity(path) for path in (server_key, identity_file) if path is not None and path.exists()]
    own = [str(Identity.from_str(identities[0]).to_public())] if recipients else []
    return Encryption(recipients=(*own, *recipients), identities=tuple(identities))


def read_recipient(text: str) -> str:
    """An age public key as age writes it. ValueError when it is not one."""
    try:
        return str(Recipient.from_str(text.strip()))
    except pyrage.RecipientError as error:
        raise ValueError(str(error)) from None


def read_identity(path: Path) -> str:
    """The secret key in a file as `age-keygen` and `xunling backup key` write it: comments and one key."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
        return str(Identity.from_str(next(line for line in lines if line and not line.startswith("#"))))
    except (OSError, UnicodeDecodeError, StopIteration, pyrage.IdentityError):
        raise StartError(f"不是可用的 age 密钥文件：{path}", f"Not a usable file with an age secret key: {path}") from None


def make_identity(path: Path) -> str:
    """Write a new custodian's secret key to a file that must not exist yet; returns its public key."""
    identity = Identity.generate()
    public = str(identity.to_public())
    if path.exists():
        raise StartError(f"文件已存在：{path}", f"The file exists already: {path}")
    write_once(path, f"# 巡岭备份保管人密钥 backup custodian's key\n# public key: {public}\n{identity}\n".encode())
    return public
