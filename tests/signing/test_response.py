"""Responses to challenges, as openssl makes them: bare, CMS with and without the content, and what is none."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.x509.issuer import Issuer, der

from dojang.signing.response import LARGEST, is_response

ISSUER = Issuer()
KEYS = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "ec-p384": ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}
CERTIFICATES = {kind: ISSUER.sign(key.public_key()) for kind, key in KEYS.items()}
TEXT = b"dojang proof of possession 00ff 1234"
CONTENTS = [TEXT, TEXT + b"\n", TEXT + b"\r\n"]
DIGESTS = {"rsa": "sha256", "ec": "sha256", "ec-p384": "sha384"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind, key in KEYS.items():
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{kind}.key").write_bytes(plain)
        (tmp_path / f"{kind}.pem").write_bytes(CERTIFICATES[kind].public_bytes(Encoding.PEM))
    (tmp_path / "text").write_bytes(TEXT + b"\n")
    return tmp_path


def openssl(folder: Path, words: str) -> bytes:
    verb, *options = words.split()
    subprocess.run(["openssl", verb, "-out", "out", *options], cwd=folder, check=True, capture_output=True)
    return (folder / "out").read_bytes()


def accepted(response: bytes, kind: str) -> bool:
    return is_response(response, der(CERTIFICATES[kind]), CONTENTS)


@pytest.mark.parametrize("kind", KEYS)
def test_a_bare_signature(folder: Path, kind: str) -> None:
    """By each kind of key, over the text with its line end; nobody else's."""
    words = f"dgst -{DIGESTS.get(kind)} -sign {kind}.key text"
    if kind == "ed25519":
        words = "pkeyutl -sign -rawin -inkey ed25519.key -in text"
    response = openssl(folder, words)
    assert [other for other in KEYS if accepted(response, other)] == [kind]
    assert not is_response(response, der(CERTIFICATES[kind]), [TEXT])


@pytest.mark.parametrize("kind", ["rsa", "ec", "ec-p384"])
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_any_strong_hash_will_do(folder: Path, kind: str, digest: str) -> None:
    """Other programs choose by habit, not by the size of the key; SHA-1 never counts."""
    assert accepted(openssl(folder, f"dgst -{digest} -sign {kind}.key text"), kind)
    assert not accepted(openssl(folder, f"dgst -sha1 -sign {kind}.key text"), kind)


def test_a_kind_of_key_that_is_not_known_signs_nothing() -> None:
    """It is told with everything else that is wrong, not as an error of its own."""
    key = ed448.Ed448PrivateKey.generate()
    assert not is_response(key.sign(TEXT), der(ISSUER.sign(key.public_key())), CONTENTS)


@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize("form", ["DER", "PEM"])
@pytest.mark.parametrize(
    "options",
    ["-nodetach -binary", "-binary", "-nodetach", "", "-binary -noattr", "-binary -nocerts"],
)
def test_a_cms_message(folder: Path, kind: str, form: str, options: str) -> None:
    """With the content inside or apart, line ends changed or not, with attributes or without."""
    words = f"cms -sign -in text -signer {kind}.pem -inkey {kind}.key -md sha256 -outform {form} {options}"
    response = openssl(folder, words)
    assert accepted(response, kind)
    assert not accepted(response, "rsa" if kind == "ec" else "ec")
    assert not is_response(response, der(CERTIFICATES[kind]), [b"something else"])


def test_a_message_that_only_holds_the_certificate(folder: Path) -> None:
    """Somebody else's signature with the right certificate beside it proves nothing, nor one of two signers' alone."""
    words = "cms -sign -in text -signer ec.pem -inkey ec.key -outform DER -nodetach -binary"
    assert not accepted(openssl(folder, f"{words} -certfile rsa.pem"), "rsa")
    both = openssl(folder, f"{words} -signer rsa.pem -inkey rsa.key")
    assert accepted(both, "rsa")
    assert accepted(both, "ec")


@settings(max_examples=30)
@given(st.binary(max_size=200))
def test_noise_is_no_response(noise: bytes) -> None:
    """Nothing is raised for what anybody may hand in."""
    for kind in ("rsa", "ec", "ed25519"):
        assert not accepted(noise, kind)
        assert not accepted(b"0" + noise, kind)


def test_a_huge_file_is_no_response() -> None:
    """It is not even looked into."""
    assert not accepted(b"0" * (LARGEST + 1), "ec")
