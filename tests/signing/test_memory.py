"""Files larger than memory: the peak of a whole process that signs, verifies and extracts does not grow with the file.

The peak is VmHWM, which begins anew with the program; ``ru_maxrss`` would count what pytest had before the fork.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CODE = """
import hashlib, pathlib, sys, time
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from dojang.signing.cms import CmsOptions, sign_file
from dojang.signing.private_key import PrivateKeySigner
from dojang.signing.raw import RawOptions, sign_raw
from dojang.signing.verification import Trust
from dojang.signing.verify import verify_cms
from dojang.signing.verify_raw import verify_raw
from dojang.x509.reading import certificates_in
folder, key_file, certificate_file, root_file = map(pathlib.Path, sys.argv[1:])
content, message, extracted = folder / "content", folder / "message", folder / "extracted"
signer = PrivateKeySigner(load_pem_private_key(key_file.read_bytes(), None))
certificate, *chain = certificates_in(certificate_file.read_bytes())
trust = Trust(tuple(certificates_in(root_file.read_bytes())))
options = {"certificate_der": certificate, "chain_der": tuple(chain)}

def timed(name, act):
    start = time.process_time()
    result = act()
    print(name, time.process_time() - start)
    return result

def read():
    with content.open("rb") as file:
        hashlib.file_digest(file, "sha256")

timed("hashlib", read)
signature, _ = timed("raw", lambda: sign_raw(content, signer, RawOptions()))
timed("verify-raw", lambda: verify_raw(content, signature, certificate_der=certificate))
timed("detached", lambda: sign_file(content, message, signer, CmsOptions(**options, detached=True)))
timed("verify-detached", lambda: verify_cms(message, trust=trust, content=content))
timed("enveloping", lambda: sign_file(content, message, signer, CmsOptions(**options)))
timed("extract", lambda: verify_cms(message, trust=trust, extract_to=extracted))
assert extracted.stat().st_size == content.stat().st_size
extracted.unlink()
with content.open("rb") as pipe:
    import subprocess
    piped = subprocess.Popen(["cat"], stdin=pipe, stdout=subprocess.PIPE)
    timed("pipe", lambda: sign_file(piped.stdout, message, signer, CmsOptions(**options)))
    piped.wait()
timed("verify-pipe", lambda: verify_cms(message, trust=trust))
timed("pem", lambda: sign_file(content, message, signer, CmsOptions(**options, pem=True)))
timed("verify-pem", lambda: verify_cms(message, trust=trust))
print("peak", next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
PEAK_KIB = 80 * 1024


@pytest.fixture
def measure(pki) -> Iterator[Callable[[int, str], dict[str, float]]]:
    """Runs everything over a sparse file of that size in one process; CPU seconds of each step and the peak in KiB."""
    large = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="dojang-test-", dir=large))

    def run(size: int, algorithm: str) -> dict[str, float]:
        with (folder / "content").open("wb") as file:
            file.truncate(size)
        subscriber = pki.subscriber(algorithm)
        files = (subscriber.key_file, subscriber.certificate_file, pki.root_file)
        command = [sys.executable, "-c", CODE, folder, *files]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return {name: float(value) for name, value in (line.split() for line in done.stdout.splitlines())}

    yield run
    shutil.rmtree(folder)


def test_two_hundred_mebibytes(measure) -> None:
    """Every way of signing and verifying stays under 80 MiB, the interpreter and its libraries included."""
    assert measure(200 << 20, "ec-p256")["peak"] < PEAK_KIB


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256"])
def test_two_gibibytes(measure, algorithm) -> None:
    """Over the border of 32-bit lengths the same, and at the speed of hashlib."""
    found = measure((2 << 30) + 12_345, algorithm)
    assert found["peak"] < PEAK_KIB
    for step in ("raw", "verify-raw", "detached", "verify-detached"):
        assert found[step] < 1.5 * found["hashlib"], found


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_openssl_agrees_on_more_than_four_gibibytes(pki, openssl, sign_cms, tmp_path) -> None:
    """Detached, because openssl holds a whole message in memory."""
    content, message = tmp_path / "content", tmp_path / "message"
    with content.open("wb") as file:
        file.truncate((4 << 30) + 1)
    sign_cms(content, message, detached=True)
    trusted = ("-CAfile", pki.root_file, "-purpose", "any", "-binary")
    openssl("cms", "-verify", "-inform", "DER", "-in", message, "-content", content, *trusted, "-out", "/dev/null")
