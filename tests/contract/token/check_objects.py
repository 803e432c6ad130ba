"""Certificates and data objects: stored, found, renamed and destroyed; what the token cannot keep is refused whole."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.contract.token.abilities import attempt

from dojang import errors
from dojang.pkcs11 import hmac_keys, sealing

FIRST, SECOND = b"\x0b\x01", b"\x0b\x02"
VALUE = bytes(range(256)) * 4


def test_a_certificate_is_stored_or_refused(token, certificate, abilities):
    """It is found by label and by CKA_ID as it was given, once, however often it is stored; then it can be removed."""
    der = certificate("Stored").public_bytes(Encoding.DER)
    if attempt(lambda: token.add_certificate(der, label="stored", key_id=FIRST)) is None:
        assert list(token.certificates(label="stored")) == []
        return
    abilities.note("certificates stored")
    token.add_certificate(der, label="stored", key_id=FIRST)
    (by_label,), (by_id,) = token.certificates(label="stored"), token.certificates(key_id=FIRST)
    assert by_label.value == by_id.value == der
    assert token.destroy_certificate(FIRST, der) == 1
    assert list(token.certificates(key_id=FIRST)) == []


def test_two_certificates_under_one_id_are_told_apart(token, certificate):
    """As after a renewal that keeps the key: each can be renamed and removed without touching the other."""
    old, new = (certificate("Twice").public_bytes(Encoding.DER) for _ in range(2))
    if attempt(lambda: token.add_certificate(old, label="old", key_id=SECOND)) is None:
        return
    token.add_certificate(new, label="new", key_id=SECOND)
    token.relabel_certificate(SECOND, old, "retired")
    assert {one.label: one.value for one in token.certificates(key_id=SECOND)} == {"retired": old, "new": new}
    assert token.destroy_certificate(SECOND, old) == 1
    assert [one.value for one in token.certificates(key_id=SECOND)] == [new]
    assert token.destroy(SECOND) == 1


def test_certificates_that_came_with_the_token_fit_its_keys(token):
    """Whatever was there before can be read, and names the key with its CKA_ID."""
    keys = {one.key_id: one for one in list(token.keys())}
    for found in token.certificates():
        if found.key_id in keys:
            from_token = token.private_key(key_id=found.key_id).public_key()
            from cryptography import x509

            assert x509.load_der_x509_certificate(found.value).public_key() == from_token


def test_a_data_object_is_stored_or_refused(token, abilities):
    """Private and public ones come back byte for byte, by label and by the key they belong to, and can be removed."""
    for private in (True, False):
        label, key_id = f"data {private}", bytes([0x0D, private])

        def store(label=label, key_id=key_id, private=private) -> bool:
            token.add_data(VALUE, label=label, application="dojang", key_id=key_id, private=private)
            return True

        if attempt(store) is None:
            assert token.read_data(label=label) == []
            continue
        abilities.note("data objects stored", "private" if private else "public")
        assert token.read_data(label=label) == [VALUE]
        assert token.read_data(key_id=key_id) == [VALUE]
        assert token.destroy(key_id, "data") == 1
        assert token.read_data(label=label) == []


def test_a_secret_for_codes_is_made_or_refused(token):
    """It computes what no other secret does, the same each time; a token that cannot do that keeps nothing of it."""
    ids = (b"\x0e\x01", b"\x0e\x02")
    if attempt(lambda: [hmac_keys.generate_hmac_key(token, label="codes", key_id=one) for one in ids]) is None:
        assert not any(hmac_keys.has_hmac_key(token, one) for one in ids)
        return
    digests = {hmac_keys.hmac_digest(token, b"message", key_id=one) for one in ids * 2}
    assert len(digests) == 2
    for one in ids:
        assert token.destroy(one, "secret-key") == 1


def test_data_is_sealed_or_the_key_for_it_refused(token):
    """What the token has sealed only its own key opens, unchanged and for what it is bound to."""
    key_id = b"\x0f\x01"
    if attempt(lambda: [sealing.generate_sealing_key(token, label="data", key_id=key_id)]) is None:
        assert not sealing.has_sealing_key(token, key_id)
        return
    key = sealing.SealingKey(token, key_id)
    first, second = key.seal([(b"2442", b"1"), (b"8808", b"2")])
    assert key.open([(second, b"2"), (first, b"1")]) == [b"8808", b"2442"]
    for sealed, bound_to in ((first, b"2"), (first[:-1] + bytes([first[-1] ^ 1]), b"1")):
        with pytest.raises(errors.DojangError):
            key.open([(sealed, bound_to)])
    assert len({sealing.random_bytes(token, 16) for _ in range(4)}) == 4
    assert token.destroy(key_id, "secret-key") == 1
