"""`xunling draw verify FILE`: recompute a disclosed draw anywhere, without database, settings or network (docs/draws.md)."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from api.signing import is_signature, key_id
from contracts.draw import DrawFile, Statement, canonical
from sync.draw import Difference, verify

FILE_BYTES_MAX: Final = 64 * 1024 * 1024


def verify_file(path: Path, keys: Collection[str] = (), commitment: str | None = None) -> tuple[DrawFile | None, list[Difference]]:
    """The file and all that differs; nothing differs: it is as it was committed, drawn and signed.

    keys        the server's public keys (hex) as they were published; without them those in the file are believed
    commitment  the hash as it was published; without it the one in the file is believed
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            return None, [Difference(part="file", zh="文件过大", en="file: too large")]
        content = path.read_bytes()
        file = msgspec.json.decode(content, type=DrawFile)
        is_whole = _plain(content) == canonical(file)
    except OSError as error:
        return None, [Difference(part="file", zh="文件无法读取", en=f"file: cannot be read: {error.strerror}")]
    except (ValueError, RecursionError) as error:  # msgspec's and json's errors are ValueErrors
        return None, [Difference(part="file", zh="不是抽查结果文件", en=f"file: not a draw file: {error}")]
    found = verify(file)
    if not is_whole:
        en = "file: something is missing, or not written as it was signed"
        found.append(Difference(part="file", zh="文件缺少内容，或写法与签名时不同", en=en))
    if commitment is not None and commitment.lower() != file.statement.commitment:
        en = "commitment: is not the one that was published"
        found.append(Difference(part="commitment", zh="承诺哈希不是公示的哈希", en=en))
    known = {key.lower() for key in keys}
    return file, [*found, *_unsigned("statement", "承诺声明", file.statement, known), *_unsigned("sig", "文件", file, known)]


def _plain(content: bytes) -> bytes:
    """What stands in the file, whatever its white space and the order of its members; a member that stands twice is refused."""
    return canonical(json.loads(content, object_pairs_hook=_object))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member stands twice")
    return members


def _unsigned(part: str, zh: str, signed: Statement | DrawFile, known: Collection[str]) -> list[Difference]:
    """What is wrong with a signature, or with the key that made it."""
    public = _public_key(signed.public)
    if public is None or key_id(public) != signed.key or (known and signed.public not in known):
        return [Difference(part="key", zh=f"{zh}的签名公钥不是公布的公钥", en=f"key: of the {part} is not one that was published")]
    if _is_signed(public, signed.sig, signed.signed_bytes()):
        return []
    en = f"{part}: the signature does not fit, something was changed"
    return [Difference(part=part, zh=f"{zh}的签名不符，内容已被改动", en=en)]


def _public_key(public: str) -> Ed25519PublicKey | None:
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    except ValueError:
        return None


def _is_signed(public: Ed25519PublicKey, sig: str, message: bytes) -> bool:
    try:
        signature = bytes.fromhex(sig)
    except ValueError:
        return False
    return signature.hex() == sig and is_signature(public, signature, message)


def report(file: DrawFile | None, found: list[Difference], *, keys: Collection[str], commitment: str | None) -> list[str]:
    """What the command line says."""
    if found or file is None:
        return ["不一致 · DOES NOT VERIFY", *(f"- {one.zh} · {one.en}" for one in found)]
    result = file.result
    what = f"{len(result.visits)} 个检查对象 sites" if result.failure is None else f"抽取失败 failed: {result.failure.name}"
    if result.failure is None and file.departed_at is None:
        what += f"；未出发 nobody was sent: {file.why}"
    lines = ["一致 · VERIFIED", f"{file.plan.title} ({file.plan.unit}): {what}"]
    if file.plan.previous is not None:
        lines.append(f"该单位上一次承诺，也应公开 · the unit's commitment before it, to be disclosed, too: {file.plan.previous}")
    if commitment is None:
        lines.append(f"请与公示的承诺比对 · compare with the published commitment: {file.statement.commitment}")
    if not keys:
        published = sorted({file.statement.public, file.public})
        lines += [f"请与公布的公钥比对 · compare with the published key: {public}" for public in published]
    return lines
