"""The key that signs receipts, as files: made once, readable by the server alone.

folder/signing.pem          the private key in use (PKCS 8)
folder/retired/*.pem        public keys that signed before (`xunling keys rotate` puts them there)
folder/*.key                secrets of 32 random bytes, such as the one that seals relayed upload addresses
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from api.signing import Signer, key_id
from server.trouble import StartError

SECRET_BYTES: Final = 32


def load_signer(folder: Path) -> Signer:
    """The signer of this installation; makes its key at the first start. StartError when a file is not such a key."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "signing.pem"
    if not path.exists():
        make_key(path)
    return Signer(read_private(path), [read_public(old) for old in sorted((folder / "retired").glob("*.pem"))])


def load_keys_at_hand(folder: Path) -> Signer | None:
    """The signer of this installation where its keys are; None where they are not, and then none is made."""
    return load_signer(folder) if (folder / "signing.pem").exists() else None


def load_secret(folder: Path, name: str) -> bytes:
    """A secret of this installation; made at the first start."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / name
    if not path.exists():
        write_once(path, secrets.token_bytes(SECRET_BYTES))
    try:
        secret = path.read_bytes()
    except OSError as error:
        raise unusable(path) from error
    if len(secret) < SECRET_BYTES:
        raise unusable(path)
    return secret


def rotate_signing_key(folder: Path) -> Path:
    """Replace the signing key; returns the file that keeps the old public key, by which phones go on believing older receipts.

    The old public key is kept before the new private key appears: a rotation that dies in between is repeated. Servers and workers use
    the new key from their next start on.
    """
    path, retired = folder / "signing.pem", folder / "retired"
    public = read_private(path).public_key()
    retired.mkdir(exist_ok=True, mode=0o700)
    kept = retired / f"{key_id(public)}.pem"
    if not kept.exists():
        write_once(kept, public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    draft = folder / "signing.pem.new"
    draft.unlink(missing_ok=True)
    make_key(draft)
    draft.rename(path)
    return kept


def make_key(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_once(path, pem)


def write_once(path: Path, content: bytes) -> None:
    """Write a file for us alone. Of two processes that start at once one wins: the file appears whole, or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def read_private(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise unusable(path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise unusable(path)
    return key


def read_public(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise unusable(path) from error
    if not isinstance(key, Ed25519PublicKey):
        raise unusable(path)
    return key


def unusable(path: Path) -> StartError:
    return StartError(f"签名密钥文件无法使用：{path}", f"Not a usable Ed25519 key or secret file: {path}")
