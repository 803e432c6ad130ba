"""PKCS#12 files as locations: what other programs wrote is read and kept, what is written they read."""

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12
from tests.contract.credentials import NOW, SmallAuthority, proves
from tests.locations.life import FIRST, SECOND, issue, renew

from dojang.der import BIT_STRING, SEQUENCE, SET, oid, tlv
from dojang.errors import FileMalformed, FileUnwritable, NotFound, PasswordIncorrect
from dojang.locations.address import parse_address
from dojang.locations.base import ChangesPassword, Companions
from dojang.locations.password_tries import PasswordTries
from dojang.locations.registry import open_location
from dojang.npki.pkcs8 import RANDOM_NUMBER, Pkcs8
from dojang.npki.pkcs12 import MAX_BAGS, read_bags
from dojang.npki.pkcs12_bags import Bags, CertificateBag, KeyBag
from dojang.npki.pkcs12_writing import write_bags
from dojang.secret import Secret

pytestmark = pytest.mark.usefixtures("quick_passwords")
PASSWORD = Secret("correct horse 1!")
R = Secret(bytes(range(1, 21)))
OPEN = ("-passin", "pass:correct horse 1!", "-provider", "default", "-provider", "legacy")


def openssl(*arguments: object) -> str:
    run = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, errors="replace")
    assert run.returncode == 0, run.stderr
    return run.stdout + run.stderr


@pytest.fixture(scope="module")
def authority() -> SmallAuthority:
    return SmallAuthority()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hong.p12"


def opened(path: Path, profile: str | None = None, password: Secret = PASSWORD):
    return open_location(f"pkcs12:{path}", passwords=lambda path, new: password, pkcs12_profile=profile)


def exported(tmp_path: Path, authority: SmallAuthority, *options: str, name: str = "Hong") -> tuple[Path, object]:
    """A file as ``openssl pkcs12 -export`` makes it, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for der in (authority.certify(key, name), *authority.chain_der):
        text += x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
    (tmp_path / "parts.pem").write_bytes(text)
    path = tmp_path / "foreign.p12"
    words = ["pkcs12", "-export", "-in", tmp_path / "parts.pem", "-passout", "pass:correct horse 1!", *OPEN[2:]]
    openssl(*words, "-out", path, *options)
    return path, key


@pytest.mark.parametrize("profile", [None, "legacy-3des"])
def test_other_programs_take_the_credential_in_use(path: Path, authority: SmallAuthority, profile: str | None) -> None:
    """After a renewal too, with the retired pair still in the file: OpenSSL and cryptography both take the new one."""
    with opened(path, profile) as location:
        issue(location, authority)
        key = renew(location, authority).certificate_der
    text = openssl("pkcs12", "-in", path, "-nodes", *OPEN)
    assert text.count("BEGIN PRIVATE KEY") == 2
    assert text.count("BEGIN CERTIFICATE") == 2 + len(authority.chain_der)
    assert "localKeyID: 02 02 02 02 02 02 02 02" in text
    first = openssl("pkcs12", "-in", path, "-nodes", "-clcerts", "-nokeys", *OPEN)
    assert x509.load_pem_x509_certificate(first.encode()).public_bytes(Encoding.DER) == key
    found = pkcs12.load_pkcs12(path.read_bytes(), PASSWORD.reveal())
    assert found.cert.certificate.public_bytes(Encoding.DER) == key
    assert found.cert.friendly_name == "홍길동".encode()
    assert found.key.public_key() == found.cert.certificate.public_key()


def test_the_old_profile_is_written_on_request_and_stays(path: Path, authority: SmallAuthority) -> None:
    """3DES and SHA-1 when asked for, also after a renewal that does not ask; AES and SHA-256 otherwise."""
    with opened(path, "legacy-3des") as location:
        issue(location, authority)
    with opened(path) as location:
        renew(location, authority)
    told = openssl("pkcs12", "-in", path, "-info", "-noout", *OPEN)
    assert "pbeWithSHA1And3-KeyTripleDES-CBC" in told
    assert "MAC: sha1" in told
    assert "AES" not in told
    with opened(path, "aes256") as location:
        location.delete(FIRST)
        assert proves(location.private_key(SECOND), location.find(f"pkcs12:{path}").certificate_der)
    told = openssl("pkcs12", "-in", path, "-info", "-noout", *OPEN)
    assert "AES-256-CBC" in told
    assert "MAC: sha256" in told
    assert "3DES" not in told.upper()


FORMS = {
    "default": "-name Hong",
    "old": "-legacy -name Hong",
    "rc2-40": "-keypbe PBE-SHA1-RC2-40 -certpbe PBE-SHA1-RC2-40 -macalg SHA1 -name Hong",
    "mac-free": "-nomac -name Hong",
    "plain": "-keypbe NONE -certpbe NONE -name Hong",
    "nameless": "",
    "csp": "-name Hong -CSP Microsoft",
}


@pytest.mark.parametrize("form", FORMS)
def test_files_of_other_programs_are_renewed(tmp_path: Path, authority: SmallAuthority, form: str) -> None:
    """Listed under the name or else the common name; the old key and what else was in the file is still there."""
    path, key = exported(tmp_path, authority, *FORMS[form].split())
    with opened(path) as location:
        (stored,) = location.credentials()
        assert stored.label == "Hong"
        assert location.chain_of(stored.certificate_der) == authority.chain_der
        assert location.find(stored.address) == stored
        assert location.private_key(stored.key_id).private_numbers() == key.private_numbers()
        new = renew(location, authority)
    with opened(path) as location:
        assert location.find(stored.address) == new
        assert proves(location.private_key(SECOND), new.certificate_der)
        assert location.private_key(stored.key_id).private_numbers() == key.private_numbers()
        assert location.chain_of(new.certificate_der) == authority.chain_der
    found = pkcs12.load_pkcs12(path.read_bytes(), PASSWORD.reveal())
    assert found.cert.certificate.public_bytes(Encoding.DER) == new.certificate_der
    if form == "csp":
        assert "Microsoft CSP Name: Microsoft" in openssl("pkcs12", "-in", path, "-nodes", "-nocerts", *OPEN)


def _pair(authority: SmallAuthority, name: str = "Hong", **usage: bool) -> tuple[Pkcs8, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    if not usage:
        return Pkcs8.from_key(key, R), authority.certify(key, name)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    bits = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    builder = x509.CertificateBuilder(
        authority.issuing.subject, subject, key.public_key(), 4711, NOW, NOW.replace(year=2099)
    )
    builder = builder.add_extension(x509.KeyUsage(**{bit: usage.get(bit, False) for bit in bits}), critical=True)
    return Pkcs8.from_key(key, R), builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.DER)


def _write(
    path: Path, keys: list[KeyBag], certificates: list[CertificateBag], others: list[bytes] | None = None
) -> None:
    path.write_bytes(write_bags(Bags(keys, certificates, others or []), PASSWORD, iterations=1000))


def test_ids_that_tell_nothing_are_not_believed(path: Path, authority: SmallAuthority) -> None:
    """Two keys under one localKeyID, or under none: each goes with the certificate of its public key."""
    for key_id in (b"\1\0\0\0", None, b"x" * 200):
        pairs = [_pair(authority, name) for name in ("Hong", "Kim")]
        keys = [KeyBag(pkcs8.der, sealed=False, key_id=key_id) for pkcs8, _ in pairs]
        _write(path, keys, [CertificateBag(der, key_id=key_id) for _, der in pairs[::-1]])
        with opened(path) as location:
            assert [one.has_key for one in location.credentials()] == [True, True]
            for pkcs8, der in pairs:
                (stored,) = [one for one in location.credentials() if one.certificate_der == der]
                assert location.find(stored.address) == stored
                assert location.export_key(stored.key_id) == pkcs8
                assert proves(location.private_key(stored.key_id), der)


def test_a_key_that_claims_another_certificate_is_found_out(path: Path, authority: SmallAuthority) -> None:
    """localKeyIDs that were swapped: nothing is signed, nothing is copied."""
    (one, one_der), (other, other_der) = _pair(authority), _pair(authority, "Kim")
    keys = [KeyBag(one.der, sealed=False, key_id=b"2"), KeyBag(other.der, sealed=False, key_id=b"1")]
    _write(path, keys, [CertificateBag(one_der, key_id=b"1"), CertificateBag(other_der, key_id=b"2")])
    with opened(path) as location:
        for key_id in (b"1", b"2"):
            with pytest.raises(FileMalformed):
                location.private_key(key_id)
            with pytest.raises(FileMalformed):
                location.export_key(key_id)


def test_the_pair_that_decrypts_is_no_credential(path: Path, authority: SmallAuthority) -> None:
    """As other programs export both pairs of a person: one credential, its km pair beside it and with its successor."""
    sign, sign_der = _pair(authority, digital_signature=True, content_commitment=True)
    km, km_der = _pair(authority, key_encipherment=True, data_encipherment=True)
    keys = [KeyBag(one.der, sealed=False, key_id=key_id) for one, key_id in ((km, b"k"), (sign, b"s"))]
    _write(path, keys, [CertificateBag(km_der, key_id=b"k"), CertificateBag(sign_der, key_id=b"s")])
    with opened(path) as location:
        (stored,) = location.credentials()
        assert stored.certificate_der == sign_der
        assert location.export_companions(stored.key_id) == Companions(km_der, km)
        renew(location, authority)
    with opened(path) as location:
        assert location.export_companions(SECOND) == Companions(km_der, km)
        assert sum(one.live for one in location.credentials()) == 1
    found = pkcs12.load_pkcs12(path.read_bytes(), PASSWORD.reveal())
    assert found.key.public_key() == location_key(path).public_key()


def test_ca_pubs_go_along_with_the_successor(path: Path, authority: SmallAuthority) -> None:
    """As on a disk; and what a successor has already stays."""
    with opened(path) as location:
        issue(location, authority)
        location.import_companions(Companions(ca_pubs=b"CaPubs of old"), key_id=FIRST)
        renew(location, authority)
        assert location.export_companions(SECOND).ca_pubs == b"CaPubs of old"
        location.import_companions(Companions(ca_pubs=b"newer"), key_id=SECOND)
    with opened(path) as location:
        location.switch(old_key_id=FIRST, new_key_id=SECOND)
        assert location.export_companions(SECOND).ca_pubs == b"newer"


def location_key(path: Path):
    with opened(path) as location:
        return location.private_key(SECOND)


def test_an_encrypting_certificate_alone_is_a_credential(path: Path, authority: SmallAuthority) -> None:
    """Beside nobody who signs it is nobody's companion."""
    km, km_der = _pair(authority, key_encipherment=True)
    _write(path, [KeyBag(km.der, sealed=False, key_id=b"k")], [CertificateBag(km_der, key_id=b"k")])
    with opened(path) as location:
        (stored,) = location.credentials()
        assert stored.key_id == b"k"


def test_r_beside_the_key_goes_inside(path: Path, authority: SmallAuthority) -> None:
    """Some programs leave R in the clear among the attributes of the bag; once rewritten it is under the password."""
    pkcs8, der = _pair(authority)
    plain = Pkcs8.from_key(pkcs8.key())
    attribute = tlv(SEQUENCE, oid(RANDOM_NUMBER), tlv(SET, tlv(BIT_STRING, b"\0" + R.reveal())))
    _write(
        path,
        [KeyBag(plain.der, sealed=False, key_id=b"1", attributes=(attribute,))],
        [CertificateBag(der, key_id=b"1")],
    )
    assert R.reveal() in path.read_bytes()
    with opened(path) as location:
        assert location.random_number(b"1") == R
        issue(location, authority, SECOND, "Kim")
        assert location.random_number(b"1") == R
    assert R.reveal() not in path.read_bytes()
    with opened(path) as location:
        assert location.random_number(b"1") == R


def test_what_nobody_here_reads_stays(path: Path, authority: SmallAuthority) -> None:
    """Bags of other kinds, and certificates of no known form."""
    pkcs8, der = _pair(authority)
    secret = tlv(SEQUENCE, oid("1.2.840.113549.1.12.10.1.5"), tlv(0xA0, tlv(SEQUENCE, oid("1.2.3"))))
    _write(
        path,
        [KeyBag(pkcs8.der, sealed=False, key_id=b"1")],
        [CertificateBag(der, key_id=b"1"), CertificateBag(b"rubbish")],
        [secret],
    )
    with opened(path) as location:
        issue(location, authority, SECOND, "Kim")
        assert len(list(location.credentials())) == 2
    bags = read_bags(path.read_bytes(), PASSWORD, "a.p12")
    assert bags.others == [secret]
    assert b"rubbish" in [one.der for one in bags.certificates]


def test_the_password_of_a_file_without_mac_is_checked(tmp_path: Path, authority: SmallAuthority) -> None:
    """Else a new key would lie in it under another password than the old one."""
    path, _ = exported(tmp_path, authority, "-nomac", "-certpbe", "NONE")
    before = path.read_bytes()
    with opened(path, password=Secret("wrong horse 2!")) as location, pytest.raises(PasswordIncorrect):
        location.generate("ec-p256", key_id=SECOND, label="Kim")
    assert path.read_bytes() == before


def test_the_password_is_asked_once_however_much_is_done(path: Path, authority: SmallAuthority) -> None:
    """New for a file that is not there; the old one, once, for a file that is."""
    asked = []

    def provide(path: str, new: bool) -> Secret:
        asked.append(new)
        return PASSWORD

    with open_location(f"pkcs12:{path}", passwords=provide) as location:
        assert list(location.credentials()) == []
        assert asked == []
        issue(location, authority)
        renew(location, authority)
    assert asked == [True]
    with open_location(f"pkcs12:{path}", passwords=provide) as location:
        list(location.credentials())
        location.private_key(SECOND)
        issue(location, authority, b"\3", "Kim")
    assert asked == [True, False]


def test_no_file_is_written_that_would_not_be_read(path: Path, authority: SmallAuthority) -> None:
    """A file that is nearly full takes no new key, and what is in it is still there; deleting makes room."""
    pkcs8, der = _pair(authority, "Hong")
    for number in (MAX_BAGS - 6, MAX_BAGS):
        others = [CertificateBag(authority.chain_der[0], str(one), b"") for one in range(number - 2)]
        _write(path, [KeyBag(pkcs8.der, False, "Hong", b"1")], [CertificateBag(der, "Hong", b"1"), *others])
        before = path.read_bytes()
        with opened(path) as location, pytest.raises(FileUnwritable, match="more than anybody"):
            location.generate("ec-p256", key_id=SECOND, label="Hong", replaces=b"1")
        assert path.read_bytes() == before
    with opened(path) as location:
        assert location.find(location.address).label == "Hong"
        location.retire(b"1")
        location.delete(b"1")


def test_a_change_of_password_with_two_wrong_ones_counts_as_one_try(path: Path, authority: SmallAuthority) -> None:
    """Half of the tries that a person has would be gone otherwise."""
    with opened(path) as location:
        stored = issue(location, authority)
    tries, wrong = PasswordTries(path.parent / "tries", 2), Secret("wrong 1!")
    with open_location(f"pkcs12:{path}", passwords=lambda path, new: wrong, tries=tries) as location:
        assert isinstance(location, ChangesPassword)
        with pytest.raises(PasswordIncorrect):
            location.change_password(stored.key_id)
    with open_location(f"pkcs12:{path}", passwords=lambda path, new: PASSWORD, tries=tries) as location:
        assert location.find(stored.address) == stored


def test_hostile_names_are_names(path: Path, authority: SmallAuthority) -> None:
    """Whatever a friendlyName holds, the address that is printed finds the credential."""
    for number, name in enumerate(
        ("", "a\0b", "a\nb", "x" * 5000, "Hong (staged)", "Hong (retired 2020-01-01)", "?#&=%")
    ):
        pkcs8, der = _pair(authority, "Hong")
        _write(path, [KeyBag(pkcs8.der, False, name, b"1")], [CertificateBag(der, name, b"1")])
        with opened(path) as location:
            (stored,) = location.credentials()
            assert location.find(stored.address) == stored, number
            assert parse_address(stored.address).to_text() == stored.address
            with pytest.raises(NotFound):
                location.find(f"pkcs12:{path}?cn=Kim")


def test_nss_and_gnutls_take_a_renewed_file(path: Path, tmp_path: Path, authority: SmallAuthority) -> None:
    """And what NSS gives out again, in its own way, is renewed here."""

    def run(*words: object) -> str:
        ended = subprocess.run([*map(str, words)], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    with opened(path) as location:
        issue(location, authority, name="Hong")
        renew(location, authority)
    told = run("certtool", "--p12-info", "--inder", "--infile", path, "--password", PASSWORD.reveal().decode())
    assert told.index("Friendly name: Hong\n") < told.index("Friendly name: Hong (retired ")
    (tmp_path / "nss").mkdir()
    nss = ["-d", f"sql:{tmp_path}/nss"]
    run("certutil", "-N", *nss, "--empty-password")
    run("pk12util", "-i", path, *nss, "-W", PASSWORD.reveal().decode())
    given = tmp_path / "given.p12"
    run("pk12util", "-o", given, "-n", "Hong", *nss, "-W", PASSWORD.reveal().decode())
    with opened(given) as location:
        live = max(location.credentials(), key=lambda one: one.live)
        assert proves(location.private_key(live.key_id), live.certificate_der)
        assert location.chain_of(live.certificate_der) == authority.chain_der
        issue(location, authority, b"\4", "Kim")
        assert location.has_key(live.key_id)
