"""Messages that OpenSSL's client and its mock server exchanged, and the server itself, which anybody may ask."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.cmp.mock import Pki, mock_server

SECRET = "authcode123"
REFERENCE = "20261122"
SHARED = ("-srv_ref", "CA", "-srv_secret", f"pass:{SECRET}", "-rsp_cert", "ee.crt", "-rsp_capubs", "ca.crt")
"""How the mock server shares a secret with whoever asks, and has one certificate for all of them."""


@dataclass(frozen=True)
class MockServer:
    """``openssl cmp`` as a server on loopback."""

    folder: Path
    url: str

    def client(self, command: str, *arguments: str) -> list[bytes]:
        """What the client sent and received, in that order, doing ``command``."""
        names = [self.folder / f"{command}-{part}.der" for part in ("q1", "q2", "a1", "a2")]
        subprocess.run(
            [
                *("openssl", "cmp", "-cmd", command, "-server", self.url.removeprefix("http://"), "-ref", REFERENCE),
                *("-secret", f"pass:{SECRET}", "-recipient", "/CN=Mock CA", *arguments),
                *("-reqout", f"{names[0]},{names[1]}", "-rspout", f"{names[2]},{names[3]}"),
            ],
            cwd=self.folder,
            check=True,
            capture_output=True,
            timeout=30,
        )
        return [name.read_bytes() for name in names if name.exists()]

    def post(self, der: bytes) -> bytes:
        """The answer to a message of ours."""
        request = Request(self.url, der, {"Content-Type": "application/pkixcmp"})
        with urlopen(request, timeout=10) as answer:
            return bytes(answer.read())


def found_mock(folder: Path) -> Pki:
    """An authority to throw away, and the one certificate that its mock server has for everybody."""
    pki, key = Pki.found(folder), ec.generate_private_key(ec.SECP256R1())
    pki.save("ee", pki.certify(key.public_key(), "Hong Gildong"), key)
    return pki


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockServer]:
    """For all tests of a process."""
    pki = found_mock(tmp_path_factory.mktemp("cmp"))
    request = ["openssl", "req", "-new", "-key", "ee.key", "-subj", "/C=KR/CN=Hong Gildong", "-out", "ee.csr"]
    subprocess.run(request, cwd=pki.folder, check=True, capture_output=True)
    with mock_server(pki, *SHARED) as url:
        yield MockServer(pki.folder, url)


@pytest.fixture(scope="session")
def exchanged(shared_server: MockServer) -> dict[str, bytes]:
    """One message of each kind that OpenSSL makes, by its name in the standard."""
    enrol = ("-newkey", "ee.key", "-subject", "/C=KR/CN=Hong Gildong", "-sans", "www.example.kr", "-certout", "o.pem")
    ir, conf, ip, pkiconf = shared_server.client("ir", *enrol)
    p10cr, _, cp, _ = shared_server.client("p10cr", "-csr", "ee.csr", "-certout", "o.pem")
    rr, rp = shared_server.client("rr", "-oldcert", "ee.crt", "-revreason", "4")
    genm, genp = shared_server.client("genm", "-infotype", "caProtEncCert")
    found = {"ir": ir, "ip": ip, "certconf": conf, "pkiconf": pkiconf, "p10cr": p10cr, "cp": cp}
    return {**found, "rr": rr, "rp": rp, "genm": genm, "genp": genp}
