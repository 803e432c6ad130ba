"""Data sealed under keys on a token: only that token opens it, and notices what was changed."""

import os

import pytest

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11 import sealing


@pytest.fixture
def key(token) -> sealing.SealingKey:
    key_id = os.urandom(20)
    sealing.generate_sealing_key(token, label="cards", key_id=key_id)
    return sealing.SealingKey(token, key_id)


def test_what_was_sealed_is_opened_again(token, key):
    """In the order in which it was sealed; the same is never sealed twice alike."""
    plain = [(b"2442", b"card/1"), (b"8808", b"card/2"), (b"2442", b"card/3")]
    sealed = key.seal(plain)
    assert len(set(sealed)) == 3
    assert not any(b"2442" in one for one in sealed)
    bound = [(one, to) for one, (_, to) in zip(sealed, plain, strict=True)]
    assert key.open(bound[1:]) == [b"8808", b"2442"]
    assert key.seal(plain) != sealed


@pytest.mark.parametrize("change", ["bound", "ciphertext", "nonce", "short"])
def test_what_was_changed_is_not_opened(token, key, change):
    """Neither with a bit turned, nor bound to another entry, nor cut short; the key works afterwards."""
    (sealed,) = key.seal([(b"2442", b"card/1")])
    turned = bytearray(sealed)
    turned[12 if change == "ciphertext" else 0] ^= 1
    wrong = {"bound": (sealed, b"card/2"), "short": (sealed[:20], b"card/1")}.get(change, (bytes(turned), b"card/1"))
    with pytest.raises(errors.DeviceError):
        key.open([wrong])
    assert key.open([(sealed, b"card/1")]) == [b"2442"]


def test_a_sealing_key_does_nothing_else(token):
    """It does not leave, and wraps no keys; one that could is not kept."""
    key_id = os.urandom(20)
    assert not sealing.has_sealing_key(token, key_id)
    sealing.generate_sealing_key(token, label="cards", key_id=key_id)
    assert sealing.has_sealing_key(token, key_id)
    (found,) = token.private_objects(key_id=key_id)
    allowed = {name for name, value in found.attributes.items() if value}
    assert not allowed & {"extractable", "wrap", "unwrap", "sign"}


def test_a_key_that_could_leave_is_not_kept(token, monkeypatch):
    """A token that does not do as it was told gets what it made removed."""
    monkeypatch.setitem(sealing._MUST_BE, ck.CKA_EXTRACTABLE, b"\x01")
    key_id = os.urandom(20)
    with pytest.raises(errors.DeviceDisobeyed):
        sealing.generate_sealing_key(token, label="cards", key_id=key_id)
    assert not sealing.has_sealing_key(token, key_id)


def test_the_token_draws_random_numbers(token):
    """As many bytes as were asked for, never the same."""
    drawn = {sealing.random_bytes(token, 32) for _ in range(8)}
    assert len(drawn) == 8
    assert {len(one) for one in drawn} == {32}
