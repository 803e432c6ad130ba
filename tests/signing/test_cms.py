"""CMS messages we write: programs we did not write verify every form of them."""

import io
import random
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dojang.der import parse
from dojang.errors import CertificateUnusable, FileChanged, FileMalformed, FileUnwritable, Usage
from dojang.signing.cms import CmsOptions, sign_file
from dojang.signing.cms_frame import correct_opening
from dojang.signing.source import CHUNK
from dojang.signing.verify import verify_cms

CASES = [
    ("rsa-2048", {}),
    ("rsa-2048", {"padding": "pss"}),
    ("rsa-2048", {"hash_name": "sha512"}),
    ("ec-p256", {}),
    ("ec-p384", {}),
    ("ec-p521", {}),
]


def _openssl_verify(openssl, pki, message: Path, output: Path, *extra: object, form: str = "DER") -> None:
    """``-cades`` checks the ESS signing certificate too."""
    trusted = ("-CAfile", pki.root_file, "-purpose", "any", "-binary", "-cades")
    openssl("cms", "-verify", "-inform", form, "-in", message, *trusted, "-out", output, *extra)


@pytest.mark.parametrize("pem", [False, True])
@pytest.mark.parametrize(("algorithm", "options"), CASES)
def test_openssl_verifies_enveloping(pki, openssl, document, tmp_path, sign_cms, algorithm, options, pem) -> None:
    """Signature, chain, ESS certificate, and the content comes out as it went in."""
    message = sign_cms(document, tmp_path / "m", algorithm, pem=pem, **options)
    _openssl_verify(openssl, pki, message, tmp_path / "out", form="PEM" if pem else "DER")
    assert (tmp_path / "out").read_bytes() == document.read_bytes()


@pytest.mark.parametrize(("algorithm", "options"), CASES)
def test_openssl_verifies_detached(pki, openssl, document, tmp_path, sign_cms, algorithm, options) -> None:
    """The content stays where it is."""
    message = sign_cms(document, tmp_path / "m", algorithm, detached=True, **options)
    _openssl_verify(openssl, pki, message, tmp_path / "out", "-content", document)
    assert message.stat().st_size < 4096


def test_certtool_verifies_ed25519(pki, document, tmp_path, sign_cms) -> None:
    """OpenSSL 3.0 has no Ed25519 in CMS (RFC 8419); GnuTLS has."""
    enveloping = sign_cms(document, tmp_path / "e", "ed25519")
    detached = sign_cms(document, tmp_path / "d", "ed25519", detached=True)
    base = ["certtool", "--p7-verify", "--inder", "--load-ca-certificate", pki.root_file]
    for extra in (["--infile", enveloping], ["--infile", detached, "--load-data", document]):
        done = subprocess.run([*base, *extra], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Signature status: ok" in done.stdout + done.stderr


def test_the_signed_attributes_are_the_four(openssl, document, tmp_path, sign_cms) -> None:
    """Content type, message digest, signing time and ESS signing certificate, version 2."""
    now = datetime.now(UTC)
    message = sign_cms(document, tmp_path / "m", detached=True, signed_at=now)
    shown = openssl("cms", "-cmsout", "-print", "-inform", "DER", "-in", message).decode()
    for name in ("contentType", "messageDigest", "signingTime", "id-smime-aa-signingCertificateV2"):
        assert shown.count(f"object: {name} ") == 1
    assert f"{now:%b} {now.day:2} {now:%H:%M:%S %Y} GMT" in shown


def test_the_time_is_utc_whatever_zone_it_is_given_in(pki, document, tmp_path, sign_cms) -> None:
    """And without fractions."""
    local = datetime.now().astimezone()
    message = sign_cms(document, tmp_path / "m", signed_at=local)
    assert verify_cms(message, trust=pki.trust).signers[0].signed_at == local.replace(microsecond=0)


def test_a_file_gives_der(document, tmp_path, sign_cms) -> None:
    """Definite lengths everywhere, in their shortest form."""
    for algorithm in ("rsa-2048", "ec-p256", "ed25519"):
        parse(sign_cms(document, tmp_path / algorithm, algorithm).read_bytes())


def test_der_holds_where_the_length_of_the_signature_decides(pki, tmp_path, sign_cms) -> None:
    """An ECDSA signature is 70 to 72 bytes; near 64 KiB that moves every length and the content with it."""
    overhead = len(sign_cms(_file(tmp_path, 60_000), tmp_path / "m").read_bytes()) - 60_000
    for size in range(65_536 - overhead - 4, 65_536 - overhead + 40):
        source = _file(tmp_path, size)
        message = sign_cms(source, tmp_path / "m")
        parse(message.read_bytes())
        verify_cms(message, trust=pki.trust, extract_to=tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == source.read_bytes()


def test_a_shorter_opening_takes_its_content_along() -> None:
    """The content moves forward whole, also when it is larger than the buffer; what is written next follows it."""
    content = random.Random(1).randbytes(2 * CHUNK + 100)
    output = io.BytesIO(b"opening" + content)
    correct_opening(output, b"opening", b"open", len(content))
    output.write(b"trailer")
    assert output.getvalue() == b"open" + content + b"trailer"


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65_535, 65_536, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256"])
def test_every_size_survives(pki, openssl, tmp_path, sign_cms, size, algorithm) -> None:
    """Lengths at every border of DER and of our buffer, through openssl and through a pipe as well."""
    source = _file(tmp_path, size)
    message = sign_cms(source, tmp_path / "m", algorithm)
    _openssl_verify(openssl, pki, message, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == source.read_bytes()
    with source.open("rb") as stream:
        piped = subprocess.Popen(["cat"], stdin=stream, stdout=subprocess.PIPE)
        sign_cms(piped.stdout, tmp_path / "p", algorithm)
        piped.wait()
    _openssl_verify(openssl, pki, tmp_path / "p", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == source.read_bytes()


def test_a_pipe_gives_indefinite_ber(pki, document, tmp_path, sign_cms) -> None:
    """Nobody knows the length of a pipe; the outer frame says so, in PEM too."""
    message = sign_cms(io.BytesIO(document.read_bytes()), tmp_path / "m")
    assert message.read_bytes()[:2] == b"\x30\x80"
    armoured = sign_cms(io.BytesIO(document.read_bytes()), tmp_path / "p", pem=True)
    assert verify_cms(armoured, trust=pki.trust).valid


@pytest.mark.parametrize("size", [1000, CHUNK + 1])
@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256"])
def test_standard_output_takes_a_whole_message(pki, openssl, tmp_path, sign_cms, algorithm, size) -> None:
    """A stream cannot be gone back in, and needs not."""
    source, stream = _file(tmp_path, size), io.BytesIO()
    sign_cms(source, stream, algorithm)
    (tmp_path / "m").write_bytes(stream.getvalue())
    _openssl_verify(openssl, pki, tmp_path / "m", tmp_path / "out")
    assert (stream.getvalue()[:2] == b"\x30\x80") == (algorithm == "ec-p256" and size > CHUNK)


def test_a_device_is_written_not_replaced(document, sign_cms) -> None:
    """/dev/null stays what it is; /dev/full is full."""
    sign_cms(document, Path("/dev/null"))
    assert Path("/dev/null").is_char_device()
    for detached in (False, True):
        with pytest.raises(FileUnwritable):
            sign_cms(document, Path("/dev/full"), detached=detached)


class _Counting:
    """Passes on to a real key and counts."""

    def __init__(self, signer: object) -> None:
        self.algorithm = signer.algorithm
        self.count = 0
        self._signer = signer

    def sign_digest(self, *arguments: object) -> bytes:
        self.count += 1
        return self._signer.sign_digest(*arguments)

    def sign_message(self, message: bytes) -> bytes:
        self.count += 1
        return self._signer.sign_message(message)


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256", "ed25519"])
def test_the_key_signs_once(pki, document, tmp_path, algorithm) -> None:
    """A device that asks for a touch asks for one; a device that fails is not asked again."""
    subscriber = pki.subscriber(algorithm)
    signer = _Counting(subscriber.signer)
    sign_file(document, tmp_path / "m", signer, CmsOptions(subscriber.certificate_der))
    assert signer.count == 1


@pytest.mark.parametrize("detached", [False, True])
def test_a_file_that_changes_is_not_signed(pki, document, tmp_path, detached) -> None:
    """FileChanged, no signature made, nothing written."""
    subscriber = pki.subscriber("ec-p256")
    signer = _Counting(subscriber.signer)

    def append(done: int, total: int | None) -> None:
        with document.open("ab") as file:
            file.write(b"!")

    options = CmsOptions(subscriber.certificate_der, detached=detached)
    with pytest.raises(FileChanged):
        sign_file(document, tmp_path / "m", signer, options, append)
    assert signer.count == 0
    assert _names(tmp_path) == ["document.bin"]


def test_progress_is_reported(pki, tmp_path) -> None:
    """Bytes done and total, or ``None`` for a pipe."""
    subscriber, seen = pki.subscriber("ec-p256"), []
    source = _file(tmp_path, 2 * CHUNK)
    for given in (source, io.BytesIO(source.read_bytes())):
        sign_file(given, tmp_path / "m", subscriber.signer, CmsOptions(subscriber.certificate_der), _append_to(seen))
    assert seen == [(CHUNK, 2 * CHUNK), (2 * CHUNK, 2 * CHUNK), (CHUNK, None), (2 * CHUNK, None)]


def _append_to(seen: list):
    return lambda done, total: seen.append((done, total))


def test_a_certificate_of_another_key_is_refused(pki, document, tmp_path) -> None:
    """Of another algorithm before signing; of the same algorithm after, but before anything is written."""
    signer = pki.subscriber("ec-p256").signer
    other = pki.certificate("Other", pki.root_key, "Issuing", pki.issuing_key)
    from cryptography.hazmat.primitives.serialization import Encoding

    for certificate_der in (pki.subscriber("rsa-2048").certificate_der, other.public_bytes(Encoding.DER)):
        with pytest.raises(CertificateUnusable):
            sign_file(document, tmp_path / "m", signer, CmsOptions(certificate_der))
    assert not (tmp_path / "m").exists()


def test_an_expired_certificate_is_refused(pki, document, tmp_path) -> None:
    """Its signature would verify nowhere."""
    expired = pki.subscriber("ec-p256", days=(-30, -1))
    with pytest.raises(CertificateUnusable, match="valid from"):
        sign_file(document, tmp_path / "m", expired.signer, CmsOptions(expired.certificate_der))


def test_what_is_no_certificate_is_refused(pki, document, tmp_path) -> None:
    """Rubbish where the certificate should be."""
    with pytest.raises(FileMalformed):
        sign_file(document, tmp_path / "m", pki.subscriber("ec-p256").signer, CmsOptions(b"\x30\x03\x02\x01\x01"))


def test_the_output_may_not_be_the_input(document, sign_cms) -> None:
    """The file to be signed is not lost to its own signature."""
    before = document.read_bytes()
    with pytest.raises(Usage):
        sign_cms(document, document)
    assert document.read_bytes() == before


def test_interrupting_leaves_nothing_behind(pki, tmp_path) -> None:
    """SIGINT while a large file is being enveloped: no output, no temporary file."""
    large, output = tmp_path / "large", tmp_path / "out" / "m"
    output.parent.mkdir()
    with large.open("wb") as file:
        file.truncate(4 << 30)
    code = (
        "import sys, pathlib\n"
        "from cryptography import x509\n"
        "from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key\n"
        "from dojang.signing.cms import CmsOptions, sign_file\n"
        "from dojang.signing.private_key import PrivateKeySigner\n"
        "large, output, key, certificate = map(pathlib.Path, sys.argv[1:])\n"
        "der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER)\n"
        "signer = PrivateKeySigner(load_pem_private_key(key.read_bytes(), None))\n"
        "def told(done, total):\n"
        "    if done == 8 << 20: print('running', flush=True)\n"
        "sign_file(large, output, signer, CmsOptions(der), told)\n"
    )
    subscriber = pki.subscriber("ec-p256")
    command = [sys.executable, "-c", code, large, output, subscriber.key_file, subscriber.certificate_file]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=30)[1]
    assert _names(output.parent) == []


def test_many_threads_sign_at_once(pki, document, tmp_path, sign_cms) -> None:
    """No state is shared between two signatures."""
    threads = [threading.Thread(target=sign_cms, args=(document, tmp_path / f"m{n}")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(verify_cms(tmp_path / f"m{n}", trust=pki.trust).valid for n in range(8))


def _file(folder: Path, size: int) -> Path:
    path = folder / "content"
    path.write_bytes(random.Random(size).randbytes(size))
    return path


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
