"""PKCS#12: what OpenSSL writes we read, what we write OpenSSL reads, and R is in it before and after."""

import hashlib
import hmac
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12

from dojang.der import OCTET_STRING, SEQUENCE, children, integer, oid, parse, set_of, tlv
from dojang.errors import NotPermitted, PasswordIncorrect, UnsupportedFormat
from dojang.npki import derivation
from dojang.npki.ciphers import TRIPLE_DES
from dojang.npki.keyfile import generate_key
from dojang.npki.passwords import utf16_forms
from dojang.npki.pkcs8 import Pkcs8
from dojang.npki.pkcs12 import read_pkcs12
from dojang.npki.pkcs12_bags import Pkcs12, Pkcs12Entry
from dojang.npki.pkcs12_writing import PROFILES, write_pkcs12
from dojang.npki.schemes import Pkcs12Pbe
from dojang.secret import Secret

PASSWORD = Secret("correct horse 1!")
R = Secret(bytes(range(1, 21)))
LEGACY = ("-provider", "default", "-provider", "legacy")


def certify(key, name: str = "홍길동", issuer: str = "CA", signer=None) -> bytes:
    now = datetime.now(UTC)
    subject, above = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (name, issuer))
    builder = x509.CertificateBuilder(above, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(signer or key, hashes.SHA256()).public_bytes(Encoding.DER)


KEY, KM_KEY, CA_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
SIGN = Pkcs12Entry(Pkcs8.from_key(KEY, R), certify(KEY, signer=CA_KEY), "홍길동")
KM = Pkcs12Entry(Pkcs8.from_key(KM_KEY), certify(KM_KEY, "홍길동 km", signer=CA_KEY))
CA = certify(CA_KEY, "CA")
WHOLE = Pkcs12((SIGN, KM), (CA,))


def openssl(*arguments: object, data: bytes | None = None) -> bytes:
    run = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """Key and certificates as OpenSSL exports them."""
    path = tmp_path / "pair.pem"
    text = openssl("pkey", "-inform", "DER", data=SIGN.pkcs8.der)
    for der in (SIGN.certificate_der, CA):
        text += openssl("x509", "-inform", "DER", data=der)
    path.write_bytes(text)
    return path


FORMS = {
    "default": "",
    "aes128": "-keypbe AES-128-CBC -certpbe AES-128-CBC",
    "aes192": "-keypbe AES-192-CBC -certpbe AES-192-CBC -macalg SHA512",
    "seed": "-keypbe SEED-CBC -certpbe SEED-CBC",
    "old": "-legacy",
    "rc2-40": "-keypbe PBE-SHA1-RC2-40 -certpbe PBE-SHA1-RC2-40 -macalg SHA1",
    "rc2-128": "-keypbe PBE-SHA1-RC2-128 -certpbe PBE-SHA1-RC2-128 -macalg SHA1",
    "3des": "-keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg SHA1",
    "2des": "-keypbe PBE-SHA1-2DES -certpbe PBE-SHA1-2DES -macalg SHA1",
    "plain": "-keypbe NONE -certpbe NONE",
    "mac-free": "-nomac",
    "many": "-iter 50000 -maciter",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_what_openssl_writes_is_read(pem: Path, form: str) -> None:
    """RC2, 3DES, AES, SEED and no encryption; key, its certificate, its name and the one above."""
    made = openssl("pkcs12", "-export", "-in", pem, "-name", "Hong", "-passout", "pass:correct horse 1!", *form.split(),
                   *LEGACY)  # fmt: skip
    found = read_pkcs12(made, PASSWORD, "a.p12")
    (entry,) = found.entries
    assert entry.pkcs8.key().private_numbers() == KEY.private_numbers()
    assert (entry.certificate_der, entry.name, found.others_der) == (SIGN.certificate_der, "Hong", (CA,))


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_written_comes_back_whole(profile: str) -> None:
    """Both pairs in their order, names, the certificate above, and the PKCS#8 with R byte for byte."""
    found = read_pkcs12(write_pkcs12(WHOLE, PASSWORD, profile=profile), PASSWORD, "a.p12")
    assert found == WHOLE
    assert found.entries[0].pkcs8.random_number == R
    assert found.entries[1].pkcs8.random_number is None


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("aes256", ["MAC: sha256", "PBES2, PBKDF2, AES-256-CBC", "hmacWithSHA256"]),
        ("legacy-3des", ["MAC: sha1", "pbeWithSHA1And3-KeyTripleDES-CBC"]),
    ],
)
def test_openssl_reads_what_we_write(tmp_path: Path, profile: str, words: list[str]) -> None:
    """Ours by default, the old form by the legacy provider; the keys and certificates are the same."""
    path = tmp_path / "a.p12"
    path.write_bytes(write_pkcs12(WHOLE, PASSWORD, profile=profile))
    command = ["pkcs12", "-in", path, "-passin", "pass:correct horse 1!", *LEGACY]
    run = subprocess.run(["openssl", *command, "-info", "-noout"], capture_output=True, text=True)
    assert run.returncode == 0
    assert all(word in run.stdout + run.stderr for word in words)
    keys = openssl(*command, "-nodes", "-nocerts")
    assert keys.count(b"BEGIN PRIVATE KEY") == 2
    certificates = openssl(*command, "-nokeys")
    assert certificates.count(b"BEGIN CERTIFICATE") == 3
    public = openssl("pkey", "-pubout", data=keys)
    assert public == openssl("x509", "-noout", "-pubkey", data=certificates)


def test_cryptography_reads_what_we_write() -> None:
    """The same certificate for the first key, with its name."""
    found = pkcs12.load_pkcs12(write_pkcs12(Pkcs12((SIGN,), (CA,)), PASSWORD), PASSWORD.reveal())
    assert found.key.private_numbers() == KEY.private_numbers()
    assert found.cert.certificate.public_bytes(Encoding.DER) == SIGN.certificate_der
    assert found.cert.friendly_name == "홍길동".encode()


def test_what_cryptography_writes_is_read() -> None:
    """With a name beyond ASCII."""
    certificate = x509.load_der_x509_certificate(SIGN.certificate_der)
    made = pkcs12.serialize_key_and_certificates(
        "홍길동".encode(), KEY, certificate, [], BestAvailableEncryption(PASSWORD.reveal())
    )
    (entry,) = read_pkcs12(made, PASSWORD, "a.p12").entries
    assert (entry.name, entry.certificate_der) == ("홍길동", SIGN.certificate_der)


def test_r_beside_the_key_is_kept_too() -> None:
    """Some programs put it among the bag's attributes; it comes out inside the PKCS#8 and goes on from there."""
    r = tlv(SEQUENCE, oid("1.2.410.200004.10.1.1.3"), tlv(0x31, tlv(0x03, b"\0" + R.reveal())))
    bag = tlv(SEQUENCE, oid("1.2.840.113549.1.12.10.1.1"), tlv(0xA0, KM.pkcs8.der), set_of(r))
    safes = tlv(SEQUENCE, data_content(tlv(SEQUENCE, bag)))
    (entry,) = read_pkcs12(tlv(SEQUENCE, integer(3), data_content(safes)), PASSWORD, "a.p12").entries
    assert entry.pkcs8.random_number == R
    (again,) = read_pkcs12(write_pkcs12(Pkcs12((entry,)), PASSWORD), PASSWORD, "a.p12").entries
    assert again == entry


def data_content(octets: bytes) -> bytes:
    return tlv(SEQUENCE, oid("1.2.840.113549.1.7.1"), tlv(0xA0, tlv(OCTET_STRING, octets)))


def test_a_file_in_pieces_is_read() -> None:
    """BER as Windows and browsers write it: indefinite lengths and OCTET STRINGs in pieces."""
    made = write_pkcs12(WHOLE, PASSWORD)
    version, content, mac = children(parse(made))
    safes = children(children(content)[1])[0].content
    pieces = b"".join(tlv(OCTET_STRING, safes[at : at + 100]) for at in range(0, len(safes), 100))
    octets = b"\x24\x80" + pieces + b"\0\0"
    content_der = b"\x30\x80" + children(content)[0].der + b"\xa0\x80" + octets + b"\0\0\0\0"
    assert read_pkcs12(b"\x30\x80" + version.der + content_der + mac.der + b"\0\0", PASSWORD, "a.p12") == WHOLE


@pytest.mark.parametrize("password", ["한글암호1!", "ünïcode", ""])
def test_passwords_beyond_ascii_open(tmp_path: Path, password: str) -> None:
    """As OpenSSL encodes them; also no password at all, where another program made such a file."""
    key = tmp_path / "k.pem"
    key.write_bytes(openssl("pkey", "-inform", "DER", data=SIGN.pkcs8.der))
    made = openssl("pkcs12", "-export", "-nocerts", "-inkey", key, "-passout", f"pass:{password}", "-keypbe",
                   "PBE-SHA1-3DES")  # fmt: skip
    assert read_pkcs12(made, Secret(password), "a.p12").entries[0].pkcs8.key()


def test_our_own_file_with_a_korean_password(tmp_path: Path) -> None:
    """Opens here and in OpenSSL."""
    path = tmp_path / "a.p12"
    for profile in PROFILES:
        path.write_bytes(write_pkcs12(WHOLE, Secret("한글암호1!"), profile=profile))
        assert read_pkcs12(path.read_bytes(), Secret("한글암호1!"), "a.p12") == WHOLE
        assert openssl("pkcs12", "-in", path, "-nodes", "-passin", "pass:한글암호1!", *LEGACY)


def test_a_wrong_password_and_damage_look_the_same() -> None:
    """One error with one text, wherever the damage is."""
    made = write_pkcs12(WHOLE, PASSWORD, iterations=100)
    texts = set()
    damaged = [made[:place] + bytes([made[place] ^ 0x10]) + made[place + 1 :] for place in range(200, len(made), 97)]
    for data, password in [(made, Secret("wrong")), (made[:-1], PASSWORD), (b"", PASSWORD)] + [
        (one, PASSWORD) for one in damaged
    ]:
        with pytest.raises((PasswordIncorrect, UnsupportedFormat)) as caught:
            read_pkcs12(data, password, "a.p12")
        texts.add(str(caught.value))
    assert "The password is wrong or the file is damaged: a.p12." in texts
    assert len({text for text in texts if "protected with" not in text}) == 1


@pytest.mark.parametrize("where", ["mac", "key", "certificates"])
@pytest.mark.timeout(20)
def test_a_hostile_iteration_count_is_refused_at_once(where: str) -> None:
    """2^31 - 1 in the MAC, in a key bag or in the encrypted certificates."""
    for count in (2**31 - 1, 2**63, 0):
        with pytest.raises(NotPermitted):
            read_pkcs12(_with_count(where, count), PASSWORD, "a.p12")


def _with_count(where: str, count: int) -> bytes:
    """A file that asks for so many iterations; what it hides is nonsense."""
    scheme = tlv(
        SEQUENCE,
        oid("1.2.840.113549.1.12.1.3"),
        tlv(SEQUENCE, tlv(OCTET_STRING, bytes(8)), integer(count)),
    )
    if where == "key":
        shrouded = tlv(SEQUENCE, scheme, tlv(OCTET_STRING, bytes(16)))
        safe = data_content(tlv(SEQUENCE, tlv(SEQUENCE, oid("1.2.840.113549.1.12.10.1.2"), tlv(0xA0, shrouded))))
    else:
        encrypted = tlv(SEQUENCE, oid("1.2.840.113549.1.7.1"), scheme, tlv(0x80, bytes(16)))
        value = tlv(SEQUENCE, integer(0), encrypted)
        safe = tlv(SEQUENCE, oid("1.2.840.113549.1.7.6"), tlv(0xA0, value))
    mac = tlv(
        SEQUENCE,
        tlv(SEQUENCE, tlv(SEQUENCE, oid("1.3.14.3.2.26")), tlv(OCTET_STRING, bytes(20))),
        tlv(OCTET_STRING, bytes(8)),
        integer(count),
    )
    return tlv(SEQUENCE, integer(3), data_content(tlv(SEQUENCE, safe)), mac if where == "mac" else b"")


@pytest.mark.timeout(20)
def test_the_work_of_all_bags_counts_together(monkeypatch) -> None:
    """A hundred keys, each of them under an honest count, are refused when the file has had its share."""
    monkeypatch.setattr(derivation, "MAX_ITERATIONS_PER_FILE", 200_000)
    scheme = Pkcs12Pbe(TRIPLE_DES, bytes(8), 4_000)
    hidden = scheme.encrypt(utf16_forms(PASSWORD)[0], KM.pkcs8.der)
    shrouded = tlv(SEQUENCE, scheme.algorithm(), tlv(OCTET_STRING, hidden))
    bag = tlv(SEQUENCE, oid("1.2.840.113549.1.12.10.1.2"), tlv(0xA0, shrouded))
    for count in (1, 100):
        safe = data_content(tlv(SEQUENCE, *[bag] * count))
        made = tlv(SEQUENCE, integer(3), data_content(tlv(SEQUENCE, safe)))
        if count == 1:
            assert read_pkcs12(made, PASSWORD, "a.p12").entries == (Pkcs12Entry(KM.pkcs8),)
        else:
            with pytest.raises(NotPermitted):
                read_pkcs12(made, PASSWORD, "a.p12")


def test_bags_in_bags_end() -> None:
    """SafeContents inside SafeContents, deeper than anybody nests."""
    contents = tlv(SEQUENCE)
    for _ in range(10):
        contents = tlv(SEQUENCE, tlv(SEQUENCE, oid("1.2.840.113549.1.12.10.1.6"), tlv(0xA0, contents)))
    made = tlv(SEQUENCE, integer(3), data_content(tlv(SEQUENCE, data_content(contents))))
    with pytest.raises(PasswordIncorrect):
        read_pkcs12(made, PASSWORD, "a.p12")


def test_ways_that_nobody_here_knows_are_named(tmp_path: Path, pem: Path) -> None:
    """ARIA and RC4: not a wrong password."""
    for form in ("-keypbe ARIA-256-CBC -certpbe ARIA-256-CBC", "-keypbe PBE-SHA1-RC4-128 -certpbe NONE"):
        made = openssl("pkcs12", "-export", "-in", pem, "-passout", "pass:correct horse 1!", *form.split(), *LEGACY)
        with pytest.raises(UnsupportedFormat, match=r"aria256-cbc|RC4"):
            read_pkcs12(made, PASSWORD, "a.p12")


def test_an_empty_password_protects_nothing() -> None:
    """It is refused for what we write."""
    with pytest.raises(NotPermitted):
        write_pkcs12(WHOLE, Secret(""))


def test_an_rsa_pair_finds_its_certificate() -> None:
    """By its public key, whatever localKeyID says, and in any order."""
    key = generate_key("rsa-2048", where="here")
    entry = Pkcs12Entry(Pkcs8.from_key(key, R), certify(key, signer=CA_KEY))
    made = write_pkcs12(Pkcs12((KM, entry), (CA,)), PASSWORD, iterations=100)
    assert read_pkcs12(made, PASSWORD, "a.p12") == Pkcs12((KM, entry), (CA,))


def test_pbmac1_is_read() -> None:
    """RFC 9579: the MAC's key by PBKDF2; a wrong password is noticed by it."""
    salt, safes = os.urandom(8), tlv(SEQUENCE, data_content(tlv(SEQUENCE)))
    prf = tlv(SEQUENCE, oid("1.2.840.113549.2.9"), b"\x05\x00")
    function = tlv(
        SEQUENCE,
        oid("1.2.840.113549.1.5.12"),
        tlv(SEQUENCE, tlv(OCTET_STRING, salt), integer(1000), integer(32), prf),
    )
    algorithm = tlv(SEQUENCE, oid("1.2.840.113549.1.5.14"), tlv(SEQUENCE, function, prf))
    key = hashlib.pbkdf2_hmac("sha256", PASSWORD.reveal(), salt, 1000, 32)
    digest = tlv(SEQUENCE, algorithm, tlv(OCTET_STRING, hmac.digest(key, safes, "sha256")))
    mac = tlv(SEQUENCE, digest, tlv(OCTET_STRING, b"NOT USED"), integer(1))
    made = tlv(SEQUENCE, integer(3), data_content(safes), mac)
    assert read_pkcs12(made, PASSWORD, "a.p12") == Pkcs12(())
    with pytest.raises(PasswordIncorrect):
        read_pkcs12(made, Secret("wrong"), "a.p12")
