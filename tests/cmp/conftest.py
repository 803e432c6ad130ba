"""Messages that OpenSSL's client and its mock server exchanged, and the server itself, which anybody may ask."""

import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

SECRET = "authcode123"
REFERENCE = "20261122"


@dataclass(frozen=True)
class MockServer:
    """``openssl cmp`` as a server on loopback, which shares a secret with whoever asks."""

    folder: Path
    port: int

    def client(self, command: str, *arguments: str, secret: str = SECRET, check: bool = True) -> list[bytes]:
        """What the client sent and received, in that order, doing ``command``."""
        names = [self.folder / f"{command}-{part}.der" for part in ("q1", "q2", "a1", "a2")]
        for name in names:
            name.unlink(missing_ok=True)
        subprocess.run(
            [
                *("openssl", "cmp", "-cmd", command, "-server", f"127.0.0.1:{self.port}/pkix/", "-ref", REFERENCE),
                *("-secret", f"pass:{secret}", "-recipient", "/CN=Mock CA", *arguments),
                *("-reqout", f"{names[0]},{names[1]}", "-rspout", f"{names[2]},{names[3]}"),
            ],
            cwd=self.folder,
            check=check,
            capture_output=True,
            timeout=30,
        )
        return [name.read_bytes() for name in names if name.exists()]

    def post(self, der: bytes) -> bytes:
        """The answer to a message of ours."""
        request = Request(f"http://127.0.0.1:{self.port}/pkix/", der, {"Content-Type": "application/pkixcmp"})
        with urlopen(request, timeout=10) as answer:
            return bytes(answer.read())


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="session")
def mock_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockServer]:
    """An authority to throw away, and the server that answers everything with one certificate of it."""
    folder = tmp_path_factory.mktemp("cmp")
    for name, subject in (("ca", "/CN=Mock CA"), ("ee", "/C=KR/CN=Hong Gildong")):
        _openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
        _openssl(folder, "req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
    _openssl(folder, "req", "-x509", "-key", "ca.key", "-subj", "/CN=Mock CA", "-days", "30", "-out", "ca.crt")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-days", "20", "-set_serial", "77")
    _openssl(folder, "x509", "-req", "-in", "ee.csr", *signed, "-out", "ee.crt")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [
            *("openssl", "cmp", "-port", str(port), "-srv_ref", "CA", "-srv_secret", f"pass:{SECRET}"),
            *("-rsp_cert", "ee.crt", "-rsp_capubs", "ca.crt"),
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield MockServer(folder, port)
    finally:
        server.kill()
        server.wait()


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the mock server does not listen")


@pytest.fixture(scope="session")
def exchanged(mock_server: MockServer) -> dict[str, bytes]:
    """One message of each kind that OpenSSL makes, by its name in the standard."""
    enrol = ("-newkey", "ee.key", "-subject", "/C=KR/CN=Hong Gildong", "-sans", "www.example.kr", "-certout", "o.pem")
    ir, conf, ip, pkiconf = mock_server.client("ir", *enrol)
    p10cr, _, cp, _ = mock_server.client("p10cr", "-csr", "ee.csr", "-certout", "o.pem")
    rr, rp = mock_server.client("rr", "-oldcert", "ee.crt", "-revreason", "4")
    genm, genp = mock_server.client("genm", "-infotype", "caProtEncCert")
    found = {"ir": ir, "ip": ip, "certconf": conf, "pkiconf": pkiconf, "p10cr": p10cr, "cp": cp}
    return {**found, "rr": rr, "rp": rp, "genm": genm, "genp": genp}
