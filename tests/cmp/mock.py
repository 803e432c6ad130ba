"""OpenSSL's mock server of CMP (``openssl cmp -port``), with a throw-away authority and certificates to hand out."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_connection, create_server
from typing import Any
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

CMC_CA = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.27")


@dataclass(slots=True)
class Pki:
    """An authority with a key in a file, and the certificate of a server that speaks for it."""

    folder: Path
    key: Any
    certificate: x509.Certificate

    @classmethod
    def found(cls, folder: Path) -> "Pki":
        key = ec.generate_private_key(ec.SECP256R1())
        pki = cls(folder, key, None)  # type: ignore[arg-type]
        pki.certificate = pki.certify(key.public_key(), "Mock CA", ca=True)
        pki.save("ca", pki.certificate, key)
        speaker = ec.generate_private_key(ec.SECP256R1())
        pki.save("cmps", pki.certify(speaker.public_key(), "Mock CMP", usages=[CMC_CA]), speaker)
        return pki

    @property
    def anchor_der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def certify(self, public_key: Any, name: str, *, ca: bool = False, usages: Any = ()) -> x509.Certificate:
        now = datetime.now(UTC)
        issuer = _name("Mock CA")
        builder = x509.CertificateBuilder(
            issuer, _name(name), public_key, x509.random_serial_number(), now - timedelta(1), now + timedelta(300)
        )
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def save(self, name: str, certificate: x509.Certificate, key: Any = None) -> Path:
        path = self.folder / f"{name}.crt"
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
        if key is not None:
            text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            (self.folder / f"{name}.key").write_bytes(text)
        return path


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@contextmanager
def mock_server(pki: Pki, *words: object) -> Iterator[str]:
    """Its URL, until the block ends."""
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["openssl", "cmp", "-port", str(port), *map(str, words)]
    log = (pki.folder / "mock.log").open("ab")
    with patch.dict(os.environ, {"no_proxy": "127.0.0.1"}), log:
        process = subprocess.Popen(command, cwd=pki.folder, stdout=log, stderr=log)
        try:
            _await(port, process)
            yield f"http://127.0.0.1:{port}/pkix/"
        finally:
            process.terminate()
            process.wait()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        assert process.poll() is None, "the mock server did not start"
        try:
            create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the mock server does not listen")
