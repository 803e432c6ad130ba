"""Certificates, requests, lists and signatures that dojang wrote, judged by openssl and certtool."""

import subprocess

import pytest

ALGORITHMS = ("rsa-2048", "rsa-3072", "ec-p256", "ec-p384", "ec-p521", "ed25519")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_certificates_pass_the_strict_check(office, read, algorithm):
    """``openssl verify -x509_strict`` accepts the path from every subscriber to the root."""
    path = ["-CAfile", office.root, "-untrusted", office.issuing, office.certificate(algorithm)]
    assert "OK" in read("openssl", "verify", "-x509_strict", "-check_ss_sig", *path)


def test_revocation_lists_fit_the_path(office, read, tmp_path):
    """With the published lists of both authorities, openssl's revocation check of the whole path passes."""
    lists = tmp_path / "lists.pem"
    for form in ([], ["--root"]):
        der = tmp_path / "list.crl"
        office.dojang("ca", "crl", *form, "-o", der)
        with lists.open("a") as file:
            file.write(read("openssl", "crl", "-inform", "DER", "-in", der))
    path = ["-CAfile", office.root, "-untrusted", office.issuing, "-CRLfile", lists]
    checks = ["-x509_strict", "-crl_check_all"]
    assert "OK" in read("openssl", "verify", *checks, *path, office.certificate("ec-p256"))


# OpenSSL 3.0 cannot verify Ed25519 inside CMS (it gives EdDSA a digest); certtool can, see below.
@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "ed25519"])
@pytest.mark.parametrize("detached", [True, False], ids=["detached", "enveloping"])
def test_cms_signatures_verify(office, read, algorithm, detached, tmp_path):
    """``openssl cms -verify`` finds path and signature good and gives the content back byte for byte."""
    signed, content = office.signed(algorithm, detached=detached), tmp_path / "content"
    given = ["-content", office.letter] if detached else []
    trust = ["-CAfile", office.root, "-purpose", "any"]
    read("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", signed, *given, *trust, "-out", content)
    assert content.read_bytes() == office.letter.read_bytes()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_certtool_verifies_cms(office, read, algorithm):
    """GnuTLS finds a detached signature of every kind good."""
    signed, trust = office.signed(algorithm, detached=True), ["--load-ca-certificate", office.root]
    given = ["--inder", "--infile", signed, "--load-data", office.letter]
    assert "Signature status: ok" in read("certtool", "--p7-verify", *given, *trust, both=True)


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256"])
def test_openssl_sees_a_changed_letter(office, algorithm, tmp_path):
    """The same check fails when one byte of the content is another."""
    changed = tmp_path / "changed"
    changed.write_bytes(office.letter.read_bytes()[:-1] + b"!")
    signed, trust = office.signed(algorithm, detached=True), ["-CAfile", office.root, "-purpose", "any"]
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", signed, "-content", changed, *trust]
    assert subprocess.run(command, capture_output=True).returncode != 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_raw_signatures_verify(office, read, algorithm, tmp_path):
    """``sign raw`` writes what ``openssl`` verifies with the public key from the certificate."""
    signature, public = tmp_path / "signature", tmp_path / "public.pem"
    office.dojang("sign", "raw", "--key", office.credentials[algorithm]["address"], "-o", signature, office.letter)
    public.write_text(read("openssl", "x509", "-in", office.certificate(algorithm), "-noout", "-pubkey"))
    hashes = {"ec-p384": "sha384", "ec-p521": "sha512"}
    hashed = [] if algorithm == "ed25519" else ["-digest", hashes.get(algorithm, "sha256")]
    given = ["-pubin", "-inkey", public, "-rawin", "-in", office.letter, "-sigfile", signature]
    assert "Verified Successfully" in read("openssl", "pkeyutl", "-verify", *given, *hashed)


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p384", "ed25519"])
def test_requests_verify(office, read, make_token, dojang_at, algorithm, tmp_path):
    """``cert request`` writes a PKCS#10 request whose own signature openssl finds good."""
    token, path = make_token(), tmp_path / "request.pem"
    (tmp_path / "home").mkdir()
    kind = ["--subject", "CN=홍길동,O=Example,C=KR", "--algorithm", algorithm, "-o", path]
    done = dojang_at(tmp_path / "home")("cert", "request", token.uri, *kind, "--pin-source", token.pin_source)
    assert done.returncode == 0, done.stderr
    shown = read("openssl", "req", "-in", path, "-noout", "-verify", "-subject", "-nameopt", "utf8,-esc_msb")
    assert "홍길동" in shown
