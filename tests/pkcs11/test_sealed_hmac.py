"""Seeds that lie wrapped outside the token: used on it for one turn, and never seen."""

import hmac
import os

import pytest
from cryptography.hazmat.primitives import keywrap

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11 import sealed_hmac as sealed
from dojang.pkcs11.wrapping import generate_wrapping_key, unwrap_value

MESSAGES = [number.to_bytes(8, "big") for number in range(3)]
PASSING = ((ck.CKA_CLASS, ck.CKO_SECRET_KEY), (ck.CKA_TOKEN, False))
LENGTHS = {"sha1": 32, "sha256": 32, "sha512": 64}


@pytest.fixture
def kek(token) -> bytes:
    key_id = os.urandom(20)
    generate_wrapping_key(token, label="seeds", key_id=key_id)
    return key_id


def left_behind(token) -> int:
    """How many secrets of sessions there are."""
    return token.logged_in(lambda session: len(session.cryptoki.find_objects(session.handle, PASSING)))


@pytest.mark.parametrize("name", LENGTHS)
def test_a_seed_that_the_token_made_computes(token, kek, name):
    """What it computes is HMAC under what is wrapped; afterwards nothing of it is left on the token."""
    wrapped = sealed.new_seed(token, LENGTHS[name], under=kek)
    made = sealed.seed_hmacs(token, wrapped, MESSAGES, under=kek, hash_name=name)
    seed = unwrap_value(token, wrapped, under=kek)
    assert made == [hmac.digest(seed, message, name) for message in MESSAGES]
    assert left_behind(token) == 0
    assert len(seed) == LENGTHS[name]


def test_a_seed_from_elsewhere_goes_in_once(token, kek):
    """Filled up with zeros to a length that every module wraps; where it came from there are zeros afterwards."""
    value = bytearray(b"12345678901234567890")
    wrapped = sealed.seal_seed(token, value, under=kek)
    assert value == bytes(24)
    assert sealed.seed_hmacs(token, wrapped, MESSAGES, under=kek, hash_name="sha1") == [
        hmac.digest(b"12345678901234567890", message, "sha1") for message in MESSAGES
    ]


def test_seeds_change_their_key(token, kek):
    """Wrapped anew they compute the same, and nothing under the old key."""
    other = os.urandom(20)
    generate_wrapping_key(token, label="next", key_id=other)
    old = [sealed.new_seed(token, 32, under=kek) for _ in range(3)]
    new = sealed.rewrap_seeds(token, old, under=kek, to=other)
    for one, again in zip(old, new, strict=True):
        made = sealed.seed_hmacs(token, one, MESSAGES, under=kek, hash_name="sha256")
        assert sealed.seed_hmacs(token, again, MESSAGES, under=other, hash_name="sha256") == made
        with pytest.raises(errors.DeviceError):
            sealed.seed_hmacs(token, again, MESSAGES, under=kek, hash_name="sha256")
    assert left_behind(token) == 0


@pytest.mark.parametrize("way", ["kw", "kwp"])
def test_a_seed_travels_under_a_common_key(token, kek, way):
    """In and out again; a program that we did not write wraps it and reads it. With another key nothing comes in."""
    wrap, unwrap = {
        "kw": (keywrap.aes_key_wrap, keywrap.aes_key_unwrap),
        "kwp": (keywrap.aes_key_wrap_with_padding, keywrap.aes_key_unwrap_with_padding),
    }[way]
    seed, common = os.urandom(32), os.urandom(16)
    taken = sealed.take_seed(token, wrap(common, seed), common, way, under=kek)
    made = sealed.seed_hmacs(token, taken, MESSAGES[:1], under=kek, hash_name="sha256")
    assert made == [hmac.digest(seed, MESSAGES[0], "sha256")]
    assert unwrap(common, sealed.give_seed(token, taken, common, way, under=kek)) == seed
    with pytest.raises(errors.DeviceError):
        sealed.take_seed(token, wrap(os.urandom(16), seed), common, way, under=kek)
    assert left_behind(token) == 0


def test_what_was_changed_is_no_seed(token, kek):
    """A bit turned in what is kept: an error, and nothing is left on the token."""
    wrapped = bytearray(sealed.new_seed(token, 32, under=kek))
    wrapped[11] ^= 1
    with pytest.raises(errors.DeviceError):
        sealed.seed_hmacs(token, bytes(wrapped), MESSAGES, under=kek, hash_name="sha256")
    assert left_behind(token) == 0


def test_a_seed_in_use_cannot_be_taken_out(token, kek):
    """The key that computes is sensitive and not extractable, for as long as it is there."""
    wrapped = sealed.new_seed(token, 32, under=kek)
    seen = []

    class Watching(list):
        def __iter__(self):
            def look(session):
                (handle,) = session.cryptoki.find_objects(session.handle, PASSING)
                seen.append(session.read(handle, (ck.CKA_SENSITIVE, ck.CKA_EXTRACTABLE, ck.CKA_VALUE)))

            token.logged_in(look)
            return super().__iter__()

    sealed.seed_hmacs(token, wrapped, Watching(MESSAGES), under=kek, hash_name="sha256")
    assert seen == [{ck.CKA_SENSITIVE: b"\x01", ck.CKA_EXTRACTABLE: b"\0"}]
