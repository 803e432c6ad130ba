"""Bare signatures: openssl reads ours, we read openssl's, and a token key needs no cryptography to be loaded."""

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import pytest

from dojang.errors import FileChanged, NotPermitted, UnsupportedMechanism, VerificationFailed
from dojang.signing.ecdsa import der_from_plain, plain_from_der
from dojang.signing.raw import ED25519_LIMIT, RawOptions, sign_file, sign_raw
from dojang.signing.verify_raw import verify_raw

ALGORITHMS = ("rsa-2048", "ec-p256", "ec-p384", "ec-p521")


def _public_key_file(pki, openssl, algorithm: str) -> Path:
    path = pki.folder / f"{algorithm}.pub"
    path.write_bytes(openssl("pkey", "-in", pki.subscriber(algorithm).key_file, "-pubout"))
    return path


@pytest.mark.parametrize(
    ("algorithm", "padding", "hash_name", "label"),
    [
        ("rsa-2048", None, None, "rsa-sha256"),
        ("rsa-2048", "pss", "sha384", "rsa-pss-sha384"),
        ("ec-p256", None, None, "ecdsa-sha256"),
        ("ec-p256", None, "sha512", "ecdsa-sha512"),
        ("ec-p384", None, None, "ecdsa-sha384"),
        ("ec-p521", None, None, "ecdsa-sha512"),
    ],
)
def test_openssl_verifies(pki, openssl, document, tmp_path, algorithm, padding, hash_name, label) -> None:
    """Each key with the hash that suits it, or the one asked for."""
    output = tmp_path / "s.sig"
    done = sign_file(document, output, pki.subscriber(algorithm).signer, RawOptions(hash_name, padding))
    assert (done.output, done.format, done.algorithm) == (str(output), "raw", label)
    extra = ("-sigopt", "rsa_padding_mode:pss") if padding else ()
    digest = f"-{label.rsplit('-', 1)[1]}"
    key = _public_key_file(pki, openssl, algorithm)
    assert b"Verified OK" in openssl("dgst", digest, *extra, "-verify", key, "-signature", output, document)


def test_openssl_verifies_ed25519(pki, openssl, document, tmp_path) -> None:
    """PureEdDSA over the whole file."""
    output = tmp_path / "s.sig"
    sign_file(document, output, pki.subscriber("ed25519").signer)
    key = _public_key_file(pki, openssl, "ed25519")
    openssl("pkeyutl", "-verify", "-pubin", "-inkey", key, "-rawin", "-in", document, "-sigfile", output)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_we_verify_what_openssl_signed(pki, openssl, document, algorithm) -> None:
    """The hash is the one that suits the key; RSA padding is found out."""
    subscriber = pki.subscriber(algorithm)
    digest = {"ec-p384": "-sha384", "ec-p521": "-sha512"}.get(algorithm, "-sha256")
    signature = openssl("dgst", digest, "-sign", subscriber.key_file, document)
    found = verify_raw(document, signature, certificate_der=subscriber.certificate_der, trust=_with_chain(pki))
    assert found.valid
    assert found.signers[0].subject == f"CN=Hong {algorithm},C=KR"


def test_we_verify_pss_of_openssl_with_any_salt(pki, openssl, document) -> None:
    """openssl's own choice is the longest salt."""
    subscriber = pki.subscriber("rsa-2048")
    options = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:max")
    signature = openssl("dgst", "-sha256", *options, "-sign", subscriber.key_file, document)
    found = verify_raw(document, signature, certificate_der=subscriber.certificate_der)
    assert found.signers[0].algorithm == "rsa-pss-sha256"


def test_a_public_key_alone_is_enough(pki, openssl, document) -> None:
    """Then nobody is named."""
    subscriber = pki.subscriber("ed25519")
    signature, _ = sign_raw(document, subscriber.signer, RawOptions())
    public = openssl("pkey", "-in", subscriber.key_file, "-pubout", "-outform", "DER")
    found = verify_raw(document, signature, public_key_der=public)
    assert (found.valid, found.signers[0].subject, found.content_bytes) == (True, "", document.stat().st_size)


@pytest.mark.parametrize("algorithm", ["ec-p256", "ec-p384", "ec-p521"])
def test_plain_ecdsa_has_a_fixed_length_and_verifies(pki, document, algorithm) -> None:
    """r and s as long as the order of the curve, whatever their value."""
    subscriber = pki.subscriber(algorithm)
    signature, _ = sign_raw(document, subscriber.signer, RawOptions(plain_ecdsa=True))
    assert len(signature) == 2 * {"ec-p256": 32, "ec-p384": 48, "ec-p521": 66}[algorithm]
    assert verify_raw(document, signature, certificate_der=subscriber.certificate_der).valid


def test_plain_and_der_are_the_same_signature() -> None:
    """Small and large r and s survive both ways."""
    for r, s in ((1, 2), (0x80, 1 << 255), ((1 << 256) - 1, 3)):
        plain = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        assert plain_from_der(der_from_plain(plain, "ec-p256"), "ec-p256") == plain


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "ed25519"])
def test_another_content_fails(pki, document, algorithm) -> None:
    """One byte more, and the signature check says so; the other checks are still told."""
    subscriber = pki.subscriber(algorithm)
    signature, _ = sign_raw(document, subscriber.signer, RawOptions())
    document.write_bytes(document.read_bytes() + b"!")
    with pytest.raises(VerificationFailed) as caught:
        verify_raw(document, signature, certificate_der=subscriber.certificate_der)
    assert {check.name: check.ok for check in caught.value.facts["checks"]} == {"key": True, "signature": False}


@pytest.mark.parametrize("signature", [b"", b"\0", b"\x30\x80", bytes(256), b"\xff" * 10_000_000])
def test_rubbish_is_not_a_signature(pki, document, signature) -> None:
    """Of whatever length."""
    for algorithm in (*ALGORITHMS, "ed25519"):
        with pytest.raises(VerificationFailed):
            verify_raw(document, signature, certificate_der=pki.subscriber(algorithm).certificate_der)


def test_ed25519_refuses_what_does_not_fit_in_memory(pki, tmp_path) -> None:
    """Before reading a file whose size is known, and while reading a pipe; the advice is CMS; nothing is left."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(ED25519_LIMIT + 1)
    for source in (large, io.BytesIO(bytes(ED25519_LIMIT + 1))):
        with pytest.raises(NotPermitted, match="16 MiB") as caught:
            sign_file(source, tmp_path / "s.sig", pki.subscriber("ed25519").signer)
        assert "cms" in caught.value.advice()
    assert not (tmp_path / "s.sig").exists()


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        ("ec-p256", RawOptions(padding="pss")),
        ("rsa-2048", RawOptions(padding="ecdsa")),
        ("rsa-2048", RawOptions(plain_ecdsa=True)),
        ("rsa-2048", RawOptions(hash_name="sha1")),
        ("ed25519", RawOptions(hash_name="sha512")),
    ],
)
def test_what_a_key_cannot_do_is_refused(pki, document, algorithm, options) -> None:
    """Before anything is read or signed."""
    with pytest.raises(UnsupportedMechanism):
        sign_raw(document, pki.subscriber(algorithm).signer, options)


class _Counting:
    """Stands for a token; counts what it is asked to sign."""

    algorithm = "ec-p256"

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, str, str]] = []

    def sign_digest(self, digest: bytes, hash_name: str, scheme: str) -> bytes:
        self.asked.append((digest, hash_name, scheme))
        return b"signature"

    def sign_message(self, message: bytes) -> bytes:
        raise AssertionError("a digest is enough")


def test_the_key_is_asked_once_for_the_digest(document) -> None:
    """The host hashes; the key sees 32 bytes."""
    signer = _Counting()
    sign_raw(document, signer, RawOptions())
    assert signer.asked == [(hashlib.sha256(document.read_bytes()).digest(), "sha256", "ecdsa")]


def test_nothing_is_signed_when_the_file_changed(document) -> None:
    """The signature would be over neither the old nor the new content."""

    def append(done: int, total: int | None) -> None:
        with document.open("ab") as file:
            file.write(b"!")

    signer = _Counting()
    with pytest.raises(FileChanged):
        sign_raw(document, signer, RawOptions(), append)
    assert signer.asked == []


def test_a_failed_signature_leaves_no_file(document, tmp_path) -> None:
    """The device gives up; the output never appears."""

    class Failing(_Counting):
        def sign_digest(self, digest: bytes, hash_name: str, scheme: str) -> bytes:
            raise KeyboardInterrupt

    output = tmp_path / "out" / "s.sig"
    output.parent.mkdir()
    with pytest.raises(KeyboardInterrupt):
        sign_file(document, output, Failing())
    assert list(output.parent.iterdir()) == []


def test_a_token_key_signs_without_heavy_imports(document, tmp_path) -> None:
    """Neither cryptography nor asn1crypto is loaded for a bare signature, plain r‖s included."""
    code = (
        "import sys, pathlib\n"
        "from dojang.signing.registry import signing_format\n"
        "from dojang.signing.raw import RawOptions\n"
        "class Signer:\n"
        "    algorithm = 'ec-p256'\n"
        "    def sign_digest(self, digest, hash_name, scheme): return bytes.fromhex('3006020101020102')\n"
        "sign = signing_format('raw').load()\n"
        "sign(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), Signer(), RawOptions(plain_ecdsa=True))\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} & {'cryptography', 'asn1crypto', 'dojang'}))\n"
    )
    command = [sys.executable, "-c", code, document, tmp_path / "s"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["dojang"]
    assert (tmp_path / "s").read_bytes() == (1).to_bytes(32, "big") + (2).to_bytes(32, "big")


def _with_chain(pki):
    from dataclasses import replace

    return replace(pki.trust, intermediates_der=pki.chain_der)
