"""A key out of files of every form, R with it, and files that hold none."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)

from dojang.errors import Ambiguous, FileMalformed, PasswordIncorrect
from dojang.lifecycle.key_file import read_key
from dojang.npki.keyfile import SCHEMES, seal_pkcs8
from dojang.npki.pkcs8 import Pkcs8
from dojang.secret import Secret

PASSWORD = Secret("correct horse 1!")
R = Secret(b"\x5a" * 20)
KEYS = {"ec": ec.generate_private_key(ec.SECP256R1()), "rsa": rsa.generate_private_key(65537, 2048)}


def plain(kind: str, form: PrivateFormat = PrivateFormat.PKCS8, encoding: Encoding = Encoding.PEM) -> bytes:
    return KEYS[kind].private_bytes(encoding, form, NoEncryption())


def encrypted(kind: str, form: PrivateFormat, encoding: Encoding = Encoding.PEM) -> bytes:
    return KEYS[kind].private_bytes(encoding, form, BestAvailableEncryption(PASSWORD.reveal()))


def npki(scheme: str) -> bytes:
    return seal_pkcs8(Pkcs8.from_key(KEYS["rsa"], R).der, PASSWORD, 1000, scheme=scheme)


def bag(password: bytes = PASSWORD.reveal()) -> bytes:
    return pkcs12.serialize_key_and_certificates(b"x", KEYS["ec"], None, None, BestAvailableEncryption(password))


PUBLIC = KEYS["ec"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
OPEN: dict[str, Callable[[], bytes]] = {
    "pkcs8": lambda: plain("ec"),
    "pkcs8 in DER": lambda: plain("rsa", encoding=Encoding.DER),
    "old RSA": lambda: plain("rsa", PrivateFormat.TraditionalOpenSSL),
    "old RSA in DER": lambda: plain("rsa", PrivateFormat.TraditionalOpenSSL, Encoding.DER),
    "old EC": lambda: plain("ec", PrivateFormat.TraditionalOpenSSL),
    "old EC in DER": lambda: plain("ec", PrivateFormat.TraditionalOpenSSL, Encoding.DER),
    "with certificates around it": lambda: CERTIFICATE + plain("ec") + CERTIFICATE,
}
LOCKED: dict[str, Callable[[], bytes]] = {
    "pkcs8": lambda: encrypted("ec", PrivateFormat.PKCS8),
    "pkcs8 in DER": lambda: encrypted("rsa", PrivateFormat.PKCS8, Encoding.DER),
    "old RSA": lambda: encrypted("rsa", PrivateFormat.TraditionalOpenSSL),
    "pkcs12": bag,
    **{f"signPri.key, {scheme}": lambda scheme=scheme: npki(scheme) for scheme in SCHEMES},
}


def unasked() -> Secret:
    raise AssertionError("a password was asked for")


@pytest.mark.parametrize("form", OPEN)
def test_a_file_that_is_not_encrypted_needs_no_password(form: str) -> None:
    """The key is the one that was written."""
    found = read_key(OPEN[form](), "key", unasked).key()
    assert any(found.public_key() == one.public_key() for one in KEYS.values())


@pytest.mark.parametrize("form", LOCKED)
def test_an_encrypted_file_opens_with_its_password_and_no_other(form: str) -> None:
    """R is there where the form keeps it; a wrong password and damage are one error."""
    found = read_key(LOCKED[form](), "key", lambda: PASSWORD)
    assert any(found.key().public_key() == one.public_key() for one in KEYS.values())
    assert found.random_number == (R if form.startswith("signPri") else None)
    with pytest.raises(PasswordIncorrect):
        read_key(LOCKED[form](), "key", lambda: Secret("another one"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no key at all",
        b"-----BEGIN PRIVATE KEY-----",
        plain("ec")[:60],
        plain("ec").replace(b"M", b"!", 3),
        plain("rsa", encoding=Encoding.DER)[:-40],
        npki(SCHEMES[0])[:-9],
        bag()[:-9],
        PUBLIC,
        CERTIFICATE,
        b"\x30\x00",
        b"\x30\x03\x02\x01\x00",
        b"\x30" * 5000,
    ],
)
def test_what_holds_no_key_is_refused(content: bytes) -> None:
    """``FileMalformed``, or what a wrong password gives where it has the shape of a key file."""
    with pytest.raises((FileMalformed, PasswordIncorrect)):
        read_key(content, "key", lambda: PASSWORD)


def test_of_two_keys_none_is_chosen() -> None:
    """Whoever imports names one."""
    with pytest.raises(Ambiguous):
        read_key(plain("ec") + plain("rsa"), "key", unasked)
