"""Key files and PKCS#12 files that dojang wrote, opened by GnuTLS, NSS and OpenSSL; and what NSS and GnuTLS write."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.npki.test_pkcs12 import CA, CA_KEY, certify

from dojang.npki.keyfile import generate_key, seal_pkcs8
from dojang.npki.pkcs8 import Pkcs8, new_random_number
from dojang.npki.pkcs12 import read_pkcs12
from dojang.npki.pkcs12_bags import Pkcs12, Pkcs12Entry
from dojang.npki.pkcs12_writing import PROFILES, write_pkcs12
from dojang.secret import Secret

PASSWORD = "correct horse 1!"


@pytest.fixture(scope="module", params=["rsa-2048", "ec-p256"])
def entry(request: pytest.FixtureRequest) -> Pkcs12Entry:
    """A pair with R."""
    return pair(request.param)


def pair(algorithm: str) -> Pkcs12Entry:
    key = generate_key(algorithm, where="here")
    return Pkcs12Entry(Pkcs8.from_key(key, new_random_number()), certify(key, "Hong", signer=CA_KEY), "Hong")


@pytest.fixture
def nss(tmp_path: Path, read) -> Path:
    """An empty NSS database without a password."""
    folder = tmp_path / "nss"
    folder.mkdir()
    read("certutil", "-N", "-d", f"sql:{folder}", "--empty-password")
    return folder


@pytest.mark.parametrize("profile", PROFILES)
def test_gnutls_opens_our_pkcs12(entry: Pkcs12Entry, profile: str, tmp_path: Path, read) -> None:
    """``certtool`` finds the key and both certificates, and its own check of the MAC holds."""
    path = tmp_path / "a.p12"
    path.write_bytes(write_pkcs12(Pkcs12((entry,), (CA,)), Secret(PASSWORD), profile=profile))
    shown = read("certtool", "--p12-info", "--inder", "--infile", path, "--password", PASSWORD, both=True)
    assert shown.count("BEGIN CERTIFICATE") == 2
    assert "PRIVATE KEY" in shown
    assert "Friendly name: Hong" in shown


@pytest.mark.parametrize(("profile", "algorithm"), [(PROFILES[0], "rsa-2048"), (PROFILES[1], "ec-p256")])
def test_nss_takes_our_pkcs12_and_gives_it_back(profile: str, algorithm: str, tmp_path: Path, nss: Path, read) -> None:
    """``pk12util`` imports key and certificates; what it exports again, in its own way, is read here."""
    entry = pair(algorithm)
    ours, theirs = tmp_path / "ours.p12", tmp_path / "theirs.p12"
    ours.write_bytes(write_pkcs12(Pkcs12((entry,), (CA,)), Secret(PASSWORD), profile=profile))
    read("pk12util", "-i", ours, "-d", f"sql:{nss}", "-W", PASSWORD)
    read("pk12util", "-o", theirs, "-n", "Hong", "-d", f"sql:{nss}", "-W", PASSWORD)
    (found,) = read_pkcs12(theirs.read_bytes(), Secret(PASSWORD), "theirs.p12").entries
    assert found.certificate_der == entry.certificate_der
    assert found.pkcs8.key().private_numbers() == entry.pkcs8.key().private_numbers()


def test_what_gnutls_writes_is_read(tmp_path: Path, read) -> None:
    """In the old cipher, with the 600,000 iterations that it asks for there too."""
    entry, key, certificate, made = pair("ec-p256"), tmp_path / "k.pem", tmp_path / "c.pem", tmp_path / "a.p12"
    key.write_text(read("openssl", "pkey", "-inform", "DER", "-in", _file(tmp_path, entry.pkcs8.der)))
    certificate.write_bytes(x509.load_der_x509_certificate(entry.certificate_der).public_bytes(Encoding.PEM))
    given = ["--load-privkey", key, "--load-certificate", certificate, "--password", PASSWORD, "--p12-name", "Hong"]
    read("certtool", "--to-p12", *given, "--pkcs-cipher", "3des-pkcs12", "--outder", "--outfile", made)
    (found,) = read_pkcs12(made.read_bytes(), Secret(PASSWORD), "a.p12").entries
    assert (found.certificate_der, found.name) == (entry.certificate_der, "Hong")


@pytest.mark.parametrize("scheme", ["pbes2-aes256", "pbes2-seed"])
def test_openssl_signs_with_our_key_file(entry: Pkcs12Entry, scheme: str, tmp_path: Path, read) -> None:
    """The encrypted file as it lies in a folder, given to ``openssl dgst``; our certificate verifies the signature."""
    key, letter, signature, public = (tmp_path / name for name in ("signPri.key", "letter", "signature", "public.pem"))
    key.write_bytes(seal_pkcs8(entry.pkcs8.der, Secret(PASSWORD), 1000, scheme=scheme))
    letter.write_text("To whom it may concern\n")
    providers = ["-provider", "default", "-provider", "legacy"]
    use = ["-keyform", "DER", "-sign", key, "-passin", f"pass:{PASSWORD}"]
    read("openssl", "dgst", *providers, "-sha256", *use, "-out", signature, letter)
    certificate = _file(tmp_path, entry.certificate_der)
    public.write_text(read("openssl", "x509", "-inform", "DER", "-in", certificate, "-noout", "-pubkey"))
    assert "OK" in read("openssl", "dgst", "-sha256", "-verify", public, "-signature", signature, letter)


def _file(folder: Path, data: bytes) -> Path:
    path = folder / "file.der"
    path.write_bytes(data)
    return path
