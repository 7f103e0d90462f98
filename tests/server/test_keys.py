"""Receipts are signed with a key that is made once and that others can check."""

import stat
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from contracts.receipt import PhotoReceipt, Receipt
from server.keys import load_signer, rotate_signing_key
from server.trouble import StartError

PHOTO = PhotoReceipt(county=610902, sha256="ab" * 32, bytes=3_000_000, at_ms=1_790_000_000_000, key="")
RECEIPT = Receipt(county=610902, device=UUID(int=7), incarnation=1, n=12, digest="cd" * 32, at_ms=1_790_000_000_000, key="")


def test_the_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    first, second = load_signer(tmp_path / "keys"), load_signer(tmp_path / "keys")
    assert first.key == second.key
    assert stat.S_IMODE((tmp_path / "keys" / "signing.pem").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["signing.pem"]


def test_anyone_with_the_public_key_can_check_a_receipt(tmp_path: Path) -> None:
    signer = load_signer(tmp_path)
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer.public_keys[0].public))
    for signed in (signer.sign_photo(PHOTO), signer.sign_receipt(RECEIPT)):
        assert signed.key == signer.public_keys[0].key == signer.key
        public.verify(bytes.fromhex(signed.sig), signed.signed_bytes())
        assert signer.has_signed(signed)


@pytest.mark.parametrize(
    "change",
    [{"bytes": 1}, {"sha256": "00" * 32}, {"county": 610921}, {"at_ms": 1}, {"sig": "00"}, {"sig": "x"}, {"key": ""}],
)
def test_a_changed_receipt_is_not_ours(tmp_path: Path, change: dict[str, object]) -> None:
    signer = load_signer(tmp_path)
    assert not signer.has_signed(msgspec.structs.replace(signer.sign_photo(PHOTO), **change))


def test_a_rotated_key_still_checks_but_no_longer_signs(tmp_path: Path) -> None:
    old = load_signer(tmp_path)
    receipt = old.sign_receipt(RECEIPT)
    kept = rotate_signing_key(tmp_path)
    new = load_signer(tmp_path)
    assert new.key != old.key
    assert new.has_signed(receipt)
    assert new.sign_receipt(RECEIPT).key == new.key
    assert kept.name == f"{old.key}.pem"
    assert stat.S_IMODE((tmp_path / "signing.pem").stat().st_mode) == 0o600


def test_a_rotation_that_died_in_the_middle_is_repeated(tmp_path: Path) -> None:
    old = load_signer(tmp_path)
    rotate_signing_key(tmp_path)
    (tmp_path / "signing.pem.new").write_text("half a")
    second = load_signer(tmp_path)
    rotate_signing_key(tmp_path)
    new = load_signer(tmp_path)
    assert {each.key for each in new.public_keys} == {old.key, second.key, new.key}


def test_a_damaged_key_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "signing.pem").write_text("not a key")
    with pytest.raises(StartError, match="Ed25519"):
        load_signer(tmp_path)


def test_a_key_of_another_server_did_not_sign(tmp_path: Path) -> None:
    stranger = load_signer(tmp_path / "stranger")
    assert not load_signer(tmp_path / "ours").has_signed(stranger.sign_photo(PHOTO))
