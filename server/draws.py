"""`xunling draw verify FILE`: recompute a disclosed draw anywhere, without database, settings or network (docs/draws.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from api.signing import is_signature, key_id
from contracts.draw import DrawFile
from sync.draw import Difference, verify

FILE_BYTES_MAX: Final = 64 * 1024 * 1024


def verify_file(path: Path, key: str | None = None, commitment: str | None = None) -> tuple[DrawFile | None, list[Difference]]:
    """The file and all that differs; nothing differs: it is as it was committed, drawn and signed.

    key         the server's public key (hex) as it was published; without it the key in the file is believed
    commitment  the hash as it was published; without it the one in the file is believed
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            return None, [Difference(part="file", zh="文件过大", en="file: too large")]
        file = msgspec.json.decode(path.read_bytes(), type=DrawFile)
    except OSError as error:
        return None, [Difference(part="file", zh="文件无法读取", en=f"file: cannot be read: {error.strerror}")]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return None, [Difference(part="file", zh="不是抽查结果文件", en=f"file: not a draw file: {error}")]
    found = verify(file)
    if commitment is not None and commitment.lower() != file.statement.commitment:
        en = "commitment: is not the one that was published"
        found.append(Difference(part="commitment", zh="承诺哈希不是公示的哈希", en=en))
    return file, [*found, *_unsigned(file, key)]


def _unsigned(file: DrawFile, key: str | None) -> list[Difference]:
    public = _public_key(file.public)
    if public is None or key_id(public) != file.key or (key is not None and key.lower() != file.public):
        return [Difference(part="key", zh="签名公钥不是公布的公钥", en="key: is not the one that was published")]
    signed = (
        ("statement", "承诺声明", file.statement.sig, file.statement.signed_bytes()),
        ("sig", "文件", file.sig, file.signed_bytes()),
    )
    return [
        Difference(part=part, zh=f"{zh}的签名不符，内容已被改动", en=f"{part}: the signature does not fit, something was changed")
        for part, zh, sig, message in signed
        if not _is_signed(public, sig, message)
    ]


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
    return is_signature(public, signature, message)


def report(file: DrawFile | None, found: list[Difference], *, key: str | None, commitment: str | None) -> list[str]:
    """What the command line says."""
    if found or file is None:
        return ["不一致 · DOES NOT VERIFY", *(f"- {one.zh} · {one.en}" for one in found)]
    result = file.result
    what = f"{len(result.visits)} 个检查对象 sites" if result.failure is None else f"抽取失败 failed: {result.failure.name}"
    lines = ["一致 · VERIFIED", f"{file.plan.title} ({file.plan.unit}): {what}"]
    if commitment is None:
        lines.append(f"请与公示的承诺比对 · compare with the published commitment: {file.statement.commitment}")
    if key is None:
        lines.append(f"请与公布的公钥比对 · compare with the published key: {file.public}")
    return lines
