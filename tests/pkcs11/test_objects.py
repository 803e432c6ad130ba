"""Objects are found, read, relabelled, copied and destroyed; a bad one never hides the others."""

import datetime
import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11 import hmac_keys, wrapping
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.data_objects import object_id
from dojang.pkcs11.generation import SIGN_ONLY, KeyUse, disobedience


def certificate(name: str = "홍길동") -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(start)
    made = builder.not_valid_after(start + datetime.timedelta(days=365)).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


def test_one_id_ties_key_certificate_and_data(token):
    """Key pair, certificate and data object share a CKA_ID; destroying it removes all of them and nothing else."""
    key_id, der = os.urandom(20), certificate()
    other = certificate("남")
    token.generate_key_pair("ec-p256", label="tied", key_id=key_id)
    token.add_certificate(der, label="tied", key_id=key_id)
    token.add_data(b"R" * 20, label="tied", application="dojang", key_id=key_id)
    token.add_certificate(other, label="other", key_id=b"\x01" * 20)
    assert {found.type for found in token.objects(key_id=key_id)} >= {"cert", "public"}
    assert token.read_data(key_id=key_id) == [b"R" * 20]
    assert [found.value for found in token.certificates(key_id=key_id)] == [der]
    assert token.relabel(key_id, "renamed") == 3
    assert [found.value for found in token.certificates(label="renamed")] == [der]
    assert token.destroy(key_id) == 4
    assert not list(token.objects(key_id=key_id))
    assert token.read_data(key_id=key_id) == []
    assert [found.value for found in token.certificates(label="other")] == [other]


def test_storing_a_certificate_twice_changes_nothing(token):
    der, key_id = certificate(), os.urandom(20)
    for _ in range(2):
        token.add_certificate(der, label="once", key_id=key_id)
    assert len(list(token.certificates(key_id=key_id))) == 1
    assert token.destroy_certificate(key_id, der) == 1


def test_objects_are_copied_under_a_new_name(token):
    der, key_id = certificate(), os.urandom(20)
    token.add_certificate(der, label="original", key_id=key_id)
    token.copy_object("cert", key_id=key_id, new_label="copy", new_key_id=b"\x02" * 20)
    assert [found.value for found in token.certificates(label="copy")] == [der]
    assert [found.value for found in token.certificates(label="original")] == [der]


def test_every_address_of_an_object_finds_it_again(token):
    """What ``object_address`` prints names label and CKA_ID, percent-encoded, Korean too."""
    from dojang.pkcs11 import Pkcs11Uri

    key_id = os.urandom(20)
    token.add_certificate(certificate(), label="도장 ;/?", key_id=key_id)
    (found,) = token.certificates(key_id=key_id)
    uri = Pkcs11Uri.from_text(token.object_address(found))
    assert (uri.object, uri.id, uri.type) == ("도장 ;/?", key_id, "cert")


def test_a_bad_object_never_hides_the_others(token, monkeypatch):
    """An object whose attributes cannot be read is listed with its problem; the rest are listed as ever."""
    for name in ("first", "second", "third"):
        token.add_certificate(certificate(name), label=f"bad {name}", key_id=name.encode())
    cryptoki, real, calls = token.token.module.cryptoki, token.token.module.cryptoki.read_attributes, []

    def one_fails(session, handle, reader):
        calls.append(handle)
        if len(calls) == 2:
            raise CryptokiError("C_GetAttributeValue", ck.CKR_ATTRIBUTE_VALUE_INVALID)
        return real(session, handle, reader)

    monkeypatch.setattr(cryptoki, "read_attributes", one_fails)
    found = list(token.certificates())
    assert len(found) == len(calls) >= 3
    assert sum(bool(item.problem) for item in found) == 1


def test_long_values_are_read_whole(token):
    """A data object longer than the first guess is read in full."""
    value, key_id = os.urandom(100_000), os.urandom(20)
    token.add_data(value, label="long", application="dojang", key_id=key_id)
    assert token.read_data(key_id=key_id) == [value]


def test_the_tie_of_data_objects_is_an_object_identifier():
    """CKA_OBJECT_ID is valid DER: 2.25.N with N below 2^128, different for different keys."""
    from asn1crypto.core import ObjectIdentifier

    first, second = object_id(b"\x01" * 20), object_id(b"\x02" * 20)
    assert first != second
    dotted = ObjectIdentifier.load(first, strict=True).dotted
    assert dotted.startswith("2.25.")
    assert int(dotted.split(".")[2]) < 1 << 128


def test_two_keys_under_one_id_are_ambiguous(token):
    """dojang makes no second key under a CKA_ID; where another program did, it does not choose between them."""
    key_id = os.urandom(20)
    token.generate_key_pair("ec-p256", label="one", key_id=key_id)
    with pytest.raises(errors.AlreadyExists):
        token.generate_key_pair("ec-p256", label="two", key_id=key_id)
    token.copy_object("private", key_id=key_id, new_label="two")
    with pytest.raises(errors.Ambiguous):
        token.signer(key_id=key_id)
    token.destroy(key_id)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({ck.CKA_SENSITIVE: b"\0"}, "sensitive"),
        ({ck.CKA_EXTRACTABLE: b"\1"}, "extractable"),
        ({ck.CKA_PRIVATE: b"\0"}, "private"),
        ({ck.CKA_SIGN: b"\0"}, "sign"),
        ({ck.CKA_DECRYPT: b"\1"}, "decrypt"),
        ({ck.CKA_NEVER_EXTRACTABLE: b"\0"}, "at some time"),
        ({ck.CKA_SENSITIVE: None}, "not told"),
        ({ck.CKA_EC_PARAMS: bytes.fromhex("06052b81040022")}, "ec-p384"),
        ({ck.CKA_EC_POINT: None}, "public half"),
    ],
)
def test_a_token_that_disobeys_is_caught_and_the_key_removed(token, monkeypatch, change, complaint):
    """Attributes are read back before a key is trusted; a difference is an error and leaves nothing behind."""
    cryptoki, real = token.token.module.cryptoki, token.token.module.cryptoki.read_attributes
    token.log_in()

    def lie(session, handle, reader):
        values = {**real(session, handle, reader), **{kind: raw for kind, raw in change.items() if raw is not None}}
        return {kind: raw for kind, raw in values.items() if change.get(kind, b"") is not None}

    monkeypatch.setattr(cryptoki, "read_attributes", lie)
    with pytest.raises(errors.DeviceDisobeyed) as caught:
        token.generate_key_pair("ec-p256", label="disobedient")
    assert complaint in caught.value.facts["problem"]
    monkeypatch.undo()
    assert not list(token.objects(label="disobedient"))
    assert not list(token.keys(label="disobedient"))


def test_disobedience_lists_every_difference():
    assert len(disobedience({}, "ec-p256", SIGN_ONLY)) >= 7
    assert "always-authenticate is not set" in disobedience({}, "ec-p256", KeyUse(always_authenticate=True))


def test_hmac_on_the_token_is_hmac(token):
    """HMAC under a secret that cannot be read back equals the host's."""
    import hmac as host

    secret, key_id = os.urandom(64), os.urandom(20)
    hmac_keys.import_hmac_key(token, secret, label="h", key_id=key_id)
    for name in ("sha1", "sha256", "sha512"):
        assert hmac_keys.hmac_digest(token, b"m", key_id=key_id, hash_name=name) == host.digest(secret, b"m", name)


def test_a_secret_for_hmac_that_the_token_makes(token):
    """It is there under its id, gives different digests from another, and does not leave."""
    ids = [os.urandom(20), os.urandom(20)]
    assert not hmac_keys.has_hmac_key(token, ids[0])
    for key_id in ids:
        hmac_keys.generate_hmac_key(token, label="codes", key_id=key_id)
    first, second = (hmac_keys.hmac_digest(token, b"m", key_id=key_id) for key_id in ids)
    assert (len(first), len(second)) == (32, 32)
    assert first != second
    assert hmac_keys.has_hmac_key(token, ids[0])
    (found,) = token.private_objects(key_id=ids[0])
    assert found.attributes["sensitive"]
    assert not found.attributes["extractable"]


def test_a_secret_that_could_leave_is_not_kept(token, monkeypatch):
    """A token that does not do as it was told gets what it made removed."""
    monkeypatch.setitem(hmac_keys._MUST_BE, ck.CKA_EXTRACTABLE, b"\x01")
    key_id = os.urandom(20)
    with pytest.raises(errors.DeviceDisobeyed):
        hmac_keys.generate_hmac_key(token, label="codes", key_id=key_id)
    assert not hmac_keys.has_hmac_key(token, key_id)


def test_a_wrapped_key_opens_elsewhere_as_rfc_5649(token):
    """What the token wraps is AES-KWP over PKCS#8; wrapped again by software it comes back as a working key."""
    from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

    kek_id, key_id = os.urandom(20), os.urandom(20)
    wrapping.generate_wrapping_key(token, label="kek", key_id=kek_id)
    token.generate_key_pair("ec-p256", label="stays", key_id=key_id)
    with pytest.raises(errors.DeviceRefused):
        wrapping.wrap_key(token, object_type="private", key_id=key_id, under=kek_id)
    software = ec.generate_private_key(ec.SECP256R1())
    kek = os.urandom(32)
    known = os.urandom(20)
    session_key = [
        (ck.CKA_CLASS, ck.CKO_SECRET_KEY),
        (ck.CKA_KEY_TYPE, ck.CKK_AES),
        (ck.CKA_TOKEN, True),
        (ck.CKA_UNWRAP, True),
        (ck.CKA_ID, known),
        (ck.CKA_VALUE, kek),
    ]
    token.logged_in(lambda session: session.cryptoki.create_object(session.handle, session_key))
    pkcs8 = software.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    wrapped = aes_key_wrap_with_padding(kek, pkcs8)
    unwrapped_id = os.urandom(20)
    wrapping.unwrap_private_key(token, wrapped, key_type=ck.CKK_EC, label="u", key_id=unwrapped_id, under=known)
    signature = token.signer(key_id=unwrapped_id).sign_message(b"m", "sha256")
    software.public_key().verify(signature, b"m", ec.ECDSA(hashes.SHA256()))
