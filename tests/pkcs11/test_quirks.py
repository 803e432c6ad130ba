"""Differences between modules are data with a sentence; the flow knows no vendor."""

import ast
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.contract.credentials import SmallAuthority

from dojang.errors import DeviceFailure, DeviceRefused, UnsupportedMechanism
from dojang.pkcs11 import constants as ck
from dojang.pkcs11 import failures, keys, opened, quirks
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.secret import Secret

SRC = Path(__file__).parents[2] / "src/dojang"
ROOMS = ("pkcs11", "locations", "lifecycle", "signing", "authority", "cli", "agent")
DATA = (
    "quirks.py",
    "well_known.py",
    "load_failure.py",
    "discovery.py",
    "p11_kit.py",
    "daemons.py",
    "softhsm.py",
    "stores.py",
)
VENDORS = ("opensc", "yubi", "ibm", "opencryptoki", "tpm2", "softhsm", "nss", "mozilla", "p11-kit", "piv")


@pytest.fixture
def token(make_token, search, guard):
    made = make_token()
    with opened.open_token(made.uri, Secret(made.pin), search=search, guard=guard) as token:
        yield token


def test_every_quirk_has_a_sentence_that_says_where_it_was_seen():
    for quirk in quirks.QUIRKS:
        assert quirk.library
        assert quirk.reason.endswith(".")
        assert any(word in quirk.reason for word in ("seen", "row above")), quirk.library


def decisions(tree: ast.AST):
    """The text constants that a program compares with, or looks for at the beginning or end of something."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("startswith", "endswith", "find"):
            parts = node.args
        else:
            continue
        for part in parts:
            yield from (
                one.value for one in ast.walk(part) if isinstance(one, ast.Constant) and isinstance(one.value, str)
            )


def test_no_vendor_is_asked_for_in_the_flow():
    """Nothing outside of the files that are data decides by a vendor's name."""
    wrong = [
        f"{path.relative_to(SRC)}: {text!r}"
        for room in ROOMS
        for path in (SRC / room).rglob("*.py")
        if path.name not in DATA
        for text in decisions(ast.parse(path.read_text()))
        if any(vendor in text.lower() for vendor in VENDORS)
    ]
    assert wrong == []


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_point_is_read_with_and_without_its_wrapping(curve):
    """As DER has it, with a length byte too few, and bare; a bare one may look as if it began with a wrapping."""
    point = ec.generate_private_key(curve).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    size = len(point)
    der = bytes([4, size]) + point if size < 128 else bytes([4, 0x81, size]) + point
    deceptive = bytes([4, size - 2]) + point[2:]
    for stored, meant in ((der, point), (bytes([4, size]) + point, point), (point, point), (deceptive, deceptive)):
        assert keys._unwrapped(stored, size) == meant


def test_a_kind_of_key_that_a_module_makes_in_vain_is_refused(token, monkeypatch):
    """Nothing is made; the error is that of a mechanism which is not there."""
    monkeypatch.setattr(
        token._shared, "quirk", quirks.Quirk("some", "It makes them in vain.", useless=frozenset({"ec-p256"}))
    )
    with pytest.raises(UnsupportedMechanism):
        token.generate_key_pair("ec-p256", label="useless")
    assert list(token.private_objects(label="useless")) == []


def test_what_a_module_must_not_be_told_is_left_out(token, monkeypatch):
    """The pair is made and signs all the same; what it may do besides is read back."""
    unsaid = frozenset({ck.CKA_VERIFY, ck.CKA_ENCRYPT})
    monkeypatch.setattr(token._shared, "quirk", quirks.Quirk("some", "Seen.", unsaid=unsaid, rsa_decrypts=True))
    key = token.generate_key_pair("rsa-2048", label="told less")
    (found,) = token.keys(label="told less")
    assert found.attributes["decrypt"]
    assert len(key.signer.sign_message(b"m")) == 256


def test_a_key_is_found_by_the_label_of_its_certificate(token):
    """On cards a key and its certificate have names of their own; what is printed for the one leads to the other."""
    authority = SmallAuthority()
    key = token.generate_key_pair("ec-p256", label="KEY", key_id=b"\x07")
    token.add_certificate(authority.certify(key, "Card"), label="Certificate for signing", key_id=b"\x07")
    assert token.signer(label="Certificate for signing").attributes[ck.CKA_ID] == b"\x07"
    assert token.signer(label="Certificate for signing", key_id=b"\x07").attributes[ck.CKA_LABEL] == b"KEY"


def test_a_module_that_speaks_unasked_is_told_not_to(monkeypatch):
    """Its own variable says so, unless somebody has set it to read along."""
    ((beginning, (variable, value)),) = quirks.SPEAK_UNASKED.items()
    monkeypatch.setenv(variable, "")
    monkeypatch.delenv(variable)
    quirks.quiet("/usr/lib/other.so")
    assert variable not in os.environ
    quirks.quiet(f"/usr/lib/{beginning}.so.0")
    assert os.environ[variable] == value
    monkeypatch.setenv(variable, "all+DEBUG")
    quirks.quiet(f"/usr/lib/{beginning}.so.0")
    assert os.environ[variable] == "all+DEBUG"


def test_a_card_that_fails_half_way_is_not_taken_for_a_refusal():
    """CKR_DATA_INVALID of C_Sign, over data that was made for it, is the device's failure and may be retried."""
    error = failures.explain(CryptokiError("C_Sign", ck.CKR_DATA_INVALID), token="t")
    assert isinstance(error, DeviceFailure)
    assert error.retryable
    assert isinstance(failures.explain(CryptokiError("C_Encrypt", ck.CKR_DATA_INVALID), token="t"), DeviceRefused)
