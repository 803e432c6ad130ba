"""Key files: what we seal others open, what others seal we open, and what nobody should open is refused unopened."""

import contextlib
import hashlib
import subprocess
from pathlib import Path

import pytest
from asn1crypto import algos, core, keys
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dojang.errors import (
    DojangError,
    FileMalformed,
    NotPermitted,
    PasswordIncorrect,
    UnsupportedFormat,
    UnsupportedMechanism,
)
from dojang.npki.keyfile import check_key_file, generate_key, open_key, seal_key, seal_pkcs8
from dojang.secret import Secret

KEY = ec.generate_private_key(ec.SECP256R1())
PASSWORD = Secret("correct horse 1!")
PLAIN_DER = KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
SEALED_DER = seal_key(KEY, PASSWORD, iterations=1000)


def openssl(*arguments: str, data: bytes) -> bytes:
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


def test_openssl_opens_what_we_seal(tmp_path: Path) -> None:
    """PBES2 with PBKDF2-HMAC-SHA256 and AES-256-CBC, as written by ``seal_key``."""
    plain = openssl("pkcs8", "-inform", "DER", "-outform", "DER", "-passin", "pass:correct horse 1!", data=SEALED_DER)
    assert load_der_private_key(plain, None).private_numbers() == KEY.private_numbers()
    shown = openssl("asn1parse", "-inform", "DER", data=SEALED_DER).decode()
    assert "PBKDF2" in shown
    assert "hmacWithSHA256" in shown
    assert "aes-256-cbc" in shown


def test_sealing_costs_whoever_guesses_passwords() -> None:
    """600,000 iterations unless told otherwise."""
    envelope = keys.EncryptedPrivateKeyInfo.load(seal_key(KEY, PASSWORD))
    derivation = envelope["encryption_algorithm"]["parameters"]["key_derivation_func"]["parameters"]
    assert derivation["iteration_count"].native == 600_000
    assert len(derivation["salt"].native) == 16


@pytest.mark.parametrize(
    "form",
    ["-v2 aes-128-cbc", "-v2 aes-256-cbc -v2prf hmacWithSHA512", "-v2 des3", "-scrypt", "-v1 PBE-SHA1-3DES"],
)
def test_what_openssl_seals_is_opened(form: str) -> None:
    """Every form that cryptography reads."""
    sealed = openssl(
        "pkcs8", "-topk8", "-inform", "DER", "-outform", "DER", *form.split(), "-passout", "pass:correct horse 1!",
        data=PLAIN_DER,
    )  # fmt: skip
    assert open_key(sealed, PASSWORD, "signPri.key").private_numbers() == KEY.private_numbers()


@pytest.mark.parametrize("cipher", ["seed-cbc", "aria-256-cbc"])
def test_a_korean_cipher_is_named_before_a_password_is_asked(cipher: str) -> None:
    """Not a wrong password: dojang cannot read it yet."""
    sealed = openssl(
        "pkcs8", "-topk8", "-inform", "DER", "-outform", "DER", "-v2", cipher, "-passout", "pass:x",
        "-provider", "default", "-provider", "legacy", data=PLAIN_DER,
    )  # fmt: skip
    with pytest.raises(UnsupportedFormat, match=cipher.split("-")[0]):
        check_key_file(sealed, "signPri.key")


def test_the_old_seed_scheme_is_named_too() -> None:
    """seedCBCWithSHA1 (1.2.410.200004.1.15), in which most existing files are."""
    scheme = algos.EncryptionAlgorithm(
        {"algorithm": "1.2.410.200004.1.15", "parameters": algos.Pbes1Params({"salt": b"12345678", "iterations": 2048})}
    )
    sealed = keys.EncryptedPrivateKeyInfo({"encryption_algorithm": scheme, "encrypted_data": b"x" * 16}).dump()
    with pytest.raises(UnsupportedFormat, match="seedCBCWithSHA1"):
        check_key_file(sealed, "signPri.key")


def test_a_wrong_password_and_a_damaged_file_look_the_same() -> None:
    """One error with one text, so that nothing is learned from it."""
    damaged = SEALED_DER[:-20] + bytes(20)
    texts = set()
    for der, password in (
        (SEALED_DER, Secret("wrong")),
        (damaged, PASSWORD),
        (SEALED_DER[:-1], PASSWORD),
        (b"", PASSWORD),
    ):
        with pytest.raises(PasswordIncorrect) as caught:
            open_key(der, password, "signPri.key")
        texts.add(str(caught.value))
    assert len(texts) == 1


@pytest.mark.parametrize("iterations", [0, 10_000_001, 2**31, 2**63])
@pytest.mark.timeout(20)
def test_a_hostile_iteration_count_is_refused_at_once(iterations: int) -> None:
    """2^31 rounds would take a quarter of an hour."""
    envelope = keys.EncryptedPrivateKeyInfo.load(SEALED_DER)
    envelope["encryption_algorithm"]["parameters"]["key_derivation_func"]["parameters"]["iteration_count"] = iterations
    with pytest.raises(NotPermitted):
        open_key(envelope.dump(force=True), PASSWORD, "signPri.key")


def test_a_hostile_scrypt_is_refused_at_once() -> None:
    """N = 2^30 would take a terabyte."""
    sealed = openssl(
        "pkcs8", "-topk8", "-inform", "DER", "-outform", "DER", "-scrypt", "-passout", "pass:x", data=PLAIN_DER
    )
    hostile = sealed.replace(core.Integer(16384).dump(), core.Integer(0x7000).dump(), 1)
    assert hostile != sealed
    check_key_file(hostile, "signPri.key")
    hostile = sealed.replace(
        core.Integer(8).dump() + core.Integer(1).dump(), core.Integer(8).dump() + core.Integer(17).dump()
    )
    with pytest.raises(NotPermitted):
        check_key_file(hostile, "signPri.key")


def test_a_key_that_is_not_encrypted_is_said_to_be_so() -> None:
    """It is no key file, whatever the password."""
    with pytest.raises(FileMalformed):
        open_key(PLAIN_DER, PASSWORD, "signPri.key")


def test_attributes_survive_sealing() -> None:
    """A PKCS#8 is encrypted as it stands, with whatever a CA's client put into it."""
    # Attribute { 1.2.410.200004.10.1.1.3, SET { BIT STRING R } } as [0] of the PrivateKeyInfo (npki facts, 3.1)
    random_r = core.BitString((0, 1, 1, 0) * 40).dump()
    attribute = core.ObjectIdentifier("1.2.410.200004.10.1.1.3").dump() + wrapped(0x31, random_r)
    inside = core.Sequence.load(PLAIN_DER).contents + wrapped(0xA0, wrapped(0x30, attribute))
    plain = wrapped(0x30, inside)
    sealed = seal_pkcs8(plain, PASSWORD, 1000)
    opened = openssl("enc", "-aes-256-cbc", "-d", *_raw_parameters(sealed), data=_ciphertext(sealed))
    assert opened == plain


def wrapped(tag: int, contents: bytes) -> bytes:
    length = len(contents)
    return bytes([tag, length] if length < 128 else [tag, 0x81, length]) + contents


def _ciphertext(sealed: bytes) -> bytes:
    return keys.EncryptedPrivateKeyInfo.load(sealed)["encrypted_data"].native


def _raw_parameters(sealed: bytes) -> list[str]:
    parameters = keys.EncryptedPrivateKeyInfo.load(sealed)["encryption_algorithm"]["parameters"]
    derivation = parameters["key_derivation_func"]["parameters"]
    key = hashlib.pbkdf2_hmac(
        "sha256", PASSWORD.reveal(), derivation["salt"].native, derivation["iteration_count"].native, 32
    )
    return ["-K", key.hex(), "-iv", parameters["encryption_scheme"]["parameters"].native.hex()]


def test_an_empty_password_protects_nothing() -> None:
    """It is refused."""
    with pytest.raises(NotPermitted):
        seal_key(KEY, Secret(""))


def test_an_unknown_algorithm_is_refused() -> None:
    """By name, before anything is made."""
    with pytest.raises(UnsupportedMechanism):
        generate_key("rsa-1024", where="npki:")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_a_file_holds_the_answer_is_an_error_of_ours(data: st.DataObject) -> None:
    """Random bytes, and real files with bytes changed, cut off or put in."""
    position = data.draw(st.integers(0, len(SEALED_DER) - 1))
    change = data.draw(st.binary(max_size=8))
    length = data.draw(st.integers(0, 8))
    hostile = data.draw(
        st.sampled_from([SEALED_DER[:position] + change + SEALED_DER[position + length :], change * 20])
    )
    with contextlib.suppress(DojangError):
        check_key_file(hostile, "signPri.key")
