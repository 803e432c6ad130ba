"""Key files: what we seal others open, what others seal we open, and what nobody should open is refused unopened."""

import contextlib
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from asn1crypto import core, keys
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dojang.der import OCTET_STRING, SEQUENCE, parse, tlv
from dojang.errors import (
    DojangError,
    NotPermitted,
    PasswordIncorrect,
    UnsupportedFormat,
    UnsupportedMechanism,
)
from dojang.npki.derivation import pbkdf1_sha1
from dojang.npki.keyfile import (
    SCHEMES,
    check_key_file,
    generate_key,
    is_unencrypted,
    open_key,
    open_pkcs8,
    seal_key,
    seal_pkcs8,
)
from dojang.npki.passwords import ENCODINGS
from dojang.npki.pkcs8 import Pkcs8
from dojang.npki.schemes import Pbkdf2, SeedPbe
from dojang.secret import Secret

KEY = ec.generate_private_key(ec.SECP256R1())
PASSWORD = Secret("correct horse 1!")
PLAIN_DER = KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
SEALED_DER = seal_key(KEY, PASSWORD, iterations=1000)
R = Secret(bytes(range(1, 21)))
# One more attribute beside R, a friendlyName, that nobody may drop.
_BESIDE = tlv(0x30, bytes.fromhex("06092a864886f70d010914"), tlv(0x31, tlv(0x1E, "홍".encode("utf-16-be"))))
WITH_R = Pkcs8.from_der(tlv(SEQUENCE, parse(PLAIN_DER).content, tlv(0xA0, _BESIDE))).with_random_number(R)
RSA_DER = generate_key("rsa-2048", where="here").private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
LEGACY = ("-provider", "default", "-provider", "legacy")
PRFS = ("SHA1", "SHA224", "SHA256", "SHA384", "SHA512", "SHA512-224", "SHA512-256")


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
    [
        *(f"-v2 aes-{bits}-cbc" for bits in (128, 192, 256)),
        *(f"-v2 aes-256-cbc -v2prf hmacWith{prf}" for prf in PRFS),
        "-v2 seed-cbc",
        "-v2 seed-cbc -v2prf hmacWithSHA1 -iter 1024",
        "-v2 des3",
        "-v2 rc2-cbc",
        "-v2 rc2-40-cbc",
        "-scrypt",
        "-v1 PBE-SHA1-3DES",
        "-v1 PBE-SHA1-2DES",
        "-v1 PBE-SHA1-RC2-40",
        "-v1 PBE-SHA1-RC2-128",
    ],
)
def test_what_openssl_seals_is_opened(form: str) -> None:
    """SEED, AES of every size, 3DES and RC2; every PRF, PBKDF2, scrypt and the older derivations."""
    sealed = openssl(
        "pkcs8", "-topk8", "-inform", "DER", "-outform", "DER", *form.split(), "-passout", "pass:correct horse 1!",
        *LEGACY, data=PLAIN_DER,
    )  # fmt: skip
    assert open_key(sealed, PASSWORD, "signPri.key").private_numbers() == KEY.private_numbers()


@pytest.mark.parametrize("cipher", ["aria-128-cbc", "aria-192-cbc", "aria-256-cbc", "aria-256-ctr", "camellia-128-cbc"])
def test_a_foreign_cipher_is_named_before_a_password_is_asked(cipher: str) -> None:
    """Not a wrong password: dojang cannot read it, and says with what it was made."""
    sealed = openssl(
        "pkcs8", "-topk8", "-inform", "DER", "-outform", "DER", "-v2", cipher, "-passout", "pass:x", data=PLAIN_DER
    )
    with pytest.raises(UnsupportedFormat, match=f"{cipher[:4]}|1[.]2"):
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


def test_a_key_that_is_not_encrypted_needs_no_password() -> None:
    """Plain PKCS#8 is read too, with its attributes."""
    assert is_unencrypted(PLAIN_DER)
    check_key_file(PLAIN_DER, "signPri.key")
    assert open_key(PLAIN_DER, None, "signPri.key").private_numbers() == KEY.private_numbers()
    assert open_pkcs8(WITH_R.der, None, "signPri.key").random_number == R
    assert not is_unencrypted(SEALED_DER)


def test_no_password_opens_nothing_that_is_encrypted() -> None:
    """The same error as a wrong one."""
    with pytest.raises(PasswordIncorrect):
        open_key(SEALED_DER, None, "signPri.key")


# PBKDF1 of the public test password, by the facts on the Korean formats (section 2)
def test_scheme_a_derives_what_others_derive() -> None:
    """The published key, and the IV from the rest of it."""
    scheme = SeedPbe(bytes.fromhex("C8EA2FA25023C285"), 2048)
    derived = pbkdf1_sha1(b"WTuA8Ev0lWXVFSiI!", scheme.salt, scheme.iterations)
    assert derived.hex() == "6240e2686a6abbc48c922ccba906bb91c58eec36"
    key, iv = scheme.key_and_iv(b"WTuA8Ev0lWXVFSiI!")
    assert (key, iv.hex()) == (derived[:16], "4471a1fd154167f22848770d578a5b73")


def test_scheme_b_has_the_same_key_and_a_constant_iv() -> None:
    """The digits 0 to 9 and 0 to 5."""
    scheme = SeedPbe(bytes.fromhex("C8EA2FA25023C285"), 2048, constant_iv=True)
    assert scheme.key_and_iv(b"WTuA8Ev0lWXVFSiI!") == (
        bytes.fromhex("6240e2686a6abbc48c922ccba906bb91"),
        b"0123456789012345",
    )


def test_scheme_c_derives_what_others_derive() -> None:
    """PBKDF2 with the PRF left out, which means HMAC-SHA1."""
    derived = Pbkdf2(bytes.fromhex("28CE9089E2828009"), 1024).derive(b"WTuA8Ev0lWXVFSiI!", 16)
    assert derived.hex() == "01739401d7f3df5319eff4edb0afa66f"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_r_survives_every_scheme(scheme: str) -> None:
    """What is sealed comes back byte for byte, from one scheme to the next, with R and the attribute beside it."""
    first = seal_pkcs8(WITH_R.der, PASSWORD, 1000, scheme=scheme)
    for other in SCHEMES:
        opened = open_pkcs8(first, PASSWORD, "signPri.key")
        assert opened == WITH_R
        assert opened.random_number == R
        again = seal_pkcs8(opened.der, PASSWORD, 1000, scheme=other)
        assert open_pkcs8(again, PASSWORD, "signPri.key") == WITH_R


def test_scheme_c_is_written_as_openssl_reads_it() -> None:
    """PBES2 with SEED by the legacy provider; the PRF is left out, since HMAC-SHA1 is the default."""
    sealed = seal_key(KEY, PASSWORD, scheme="pbes2-seed")
    plain = openssl(
        "pkcs8", "-inform", "DER", "-outform", "DER", "-passin", "pass:correct horse 1!", *LEGACY, data=sealed
    )
    assert load_der_private_key(plain, None).private_numbers() == KEY.private_numbers()
    shown = openssl("asn1parse", "-inform", "DER", data=sealed).decode()
    assert "seed-cbc" in shown
    assert "hmac" not in shown


@pytest.mark.parametrize(("scheme", "constant_iv"), [("seed-cbc-sha1", False), (None, True)])
def test_schemes_a_and_b_are_seed_under_the_derived_key(scheme: str | None, constant_iv: bool) -> None:
    """OpenSSL's SEED, given the key and the IV worked out here step by step, finds the PKCS#8 in the file."""
    if scheme:
        sealed = seal_pkcs8(WITH_R.der, PASSWORD, 100, scheme=scheme)
    else:
        old = SeedPbe(b"saltsalt", 100, constant_iv=True)
        sealed = tlv(SEQUENCE, old.algorithm(), tlv(OCTET_STRING, old.encrypt(PASSWORD.reveal(), WITH_R.der)))
    envelope = keys.EncryptedPrivateKeyInfo.load(sealed)
    parameters = core.SequenceOf.load(envelope["encryption_algorithm"]["parameters"].dump(), spec=core.Any)
    salt, count = (one.parse().native for one in parameters)
    derived = PASSWORD.reveal() + salt
    for _ in range(count):
        derived = hashlib.sha1(derived).digest()
    iv = b"0123456789012345" if constant_iv else hashlib.sha1(derived[16:]).digest()[:16]
    command = ["enc", "-seed-cbc", "-d", "-K", derived[:16].hex(), "-iv", iv.hex(), *LEGACY]
    assert openssl(*command, data=envelope["encrypted_data"].native) == WITH_R.der
    assert open_pkcs8(sealed, PASSWORD, "signPri.key") == WITH_R


def test_a_key_file_of_other_lengths_is_read() -> None:
    """BER: an indefinite length outside and a length with zeros in front, as some programs write."""
    inside = SEALED_DER[4:] if SEALED_DER[1] == 0x82 else SEALED_DER[3:]
    assert open_key(b"\x30\x80" + inside + b"\0\0", PASSWORD, "signPri.key")
    assert open_key(b"\x30\x84" + len(inside).to_bytes(4) + inside, PASSWORD, "signPri.key")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_korean_password_opens_in_either_encoding(scheme: str, encoding: str) -> None:
    """UTF-8 is tried first, then CP949; told which, only that is tried."""
    password = Secret("한글암호뷁1!")
    sealed = seal_pkcs8(WITH_R.der, password, 1000, scheme=scheme, encoding=encoding)
    assert open_pkcs8(sealed, password, "signPri.key") == WITH_R
    assert open_pkcs8(sealed, password, "signPri.key", (encoding,)) == WITH_R
    (other,) = set(ENCODINGS) - {encoding}
    with pytest.raises(PasswordIncorrect):
        open_pkcs8(sealed, password, "signPri.key", (other,))


def test_a_password_that_an_encoding_lacks_is_refused_when_sealing() -> None:
    """CP949 has no emoji; on reading that encoding is left out."""
    password = Secret("correct horse 🐴")
    with pytest.raises(NotPermitted, match="cp949"):
        seal_pkcs8(PLAIN_DER, password, 1000, encoding="cp949")
    assert open_key(seal_key(KEY, password, iterations=1000), password, "signPri.key")


def test_a_password_that_is_no_text_is_used_as_it_is() -> None:
    """Bytes of CP949 given by a file or a pipe."""
    sealed = seal_pkcs8(PLAIN_DER, Secret("암호"), 1000, encoding="cp949")
    assert open_key(sealed, Secret("암호".encode("cp949")), "signPri.key")


def test_an_rsa_key_whose_parts_do_not_fit_is_damage() -> None:
    """With one exponent changed a signature would give the key away; so it is refused like a damaged file."""
    plain = bytearray(RSA_DER)
    numbers = load_der_private_key(RSA_DER, None).private_numbers()
    for number in (numbers.dmp1, numbers.dmq1, numbers.iqmp, numbers.p, numbers.d):
        place = plain.index(number.to_bytes(-(-number.bit_length() // 8)))
        spoilt = bytes(plain[: place + 9]) + bytes([plain[place + 9] ^ 4]) + bytes(plain[place + 10 :])
        with pytest.raises(PasswordIncorrect):
            open_key(seal_pkcs8(spoilt, PASSWORD, 1000), PASSWORD, "signPri.key")
    assert open_key(seal_pkcs8(RSA_DER, PASSWORD, 1000), PASSWORD, "signPri.key")


def test_key_files_open_without_the_legacy_provider(tmp_path: Path) -> None:
    """Schemes A and C where the library knows no SEED."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from dojang.npki.keyfile import open_pkcs8\n"
        "from dojang.secret import Secret\n"
        "for path in sys.argv[1:]:\n"
        "    opened = open_pkcs8(Path(path).read_bytes(), Secret('correct horse 1!'), path)\n"
        "    assert opened.key() and len(opened.random_number) == 20\n"
    )
    paths = []
    for scheme in ("seed-cbc-sha1", "pbes2-seed"):
        paths.append(tmp_path / scheme)
        paths[-1].write_bytes(seal_pkcs8(WITH_R.der, PASSWORD, 1000, scheme=scheme))
    environment = os.environ | {"CRYPTOGRAPHY_OPENSSL_NO_LEGACY": "1"}
    subprocess.run([sys.executable, "-c", program, *paths], env=environment, check=True)


def test_r_is_shown_by_nothing() -> None:
    """Neither R nor the key appears in what an opened file prints of itself."""
    opened = open_pkcs8(seal_pkcs8(WITH_R.der, PASSWORD, 1000), PASSWORD, "signPri.key")
    assert repr(opened) == "Pkcs8(random_number=Secret(…))"


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
