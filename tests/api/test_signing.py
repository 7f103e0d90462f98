"""Receipts are known again by looking or by checking, and never otherwise."""

import uuid

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from api.signing import RECENT_MAX, Signer
from contracts.receipt import Receipt

PRIVATE = Ed25519PrivateKey.generate()


def a_receipt(n: int = 7) -> Receipt:
    return Receipt(county=610902, device=uuid.UUID(int=n), incarnation=1, n=n, digest="00", at_ms=1, key="")


@pytest.mark.parametrize("same_process", [True, False])
def test_what_was_signed_is_known_again(same_process: bool) -> None:
    signer = Signer(PRIVATE)
    signed = signer.sign_receipt(a_receipt())
    assert (signer if same_process else Signer(PRIVATE)).has_signed(signed)


@pytest.mark.parametrize("same_process", [True, False])
@pytest.mark.parametrize(
    "changed", [{"n": 8}, {"county": 610921}, {"device": uuid.UUID(int=8)}, {"at_ms": 2}, {"sig": "00" * 64}, {"sig": "no"}]
)
def test_a_receipt_changed_in_one_place_is_not(changed: dict[str, object], same_process: bool) -> None:
    signer = Signer(PRIVATE)
    signed = signer.sign_receipt(a_receipt())
    assert not (signer if same_process else Signer(PRIVATE)).has_signed(replace(signed, **changed))


def test_what_was_signed_long_ago_is_checked() -> None:
    signer = Signer(PRIVATE)
    oldest = signer.sign_receipt(a_receipt())
    for n in range(RECENT_MAX):
        signer.sign_receipt(a_receipt(n + 100))
    assert oldest.sig not in signer._recent
    assert signer.has_signed(oldest)
