"""Keys and credentials on tokens for tests, made in a process of their own.

The process that runs the tests may use any binding, or none: it neither loads a module for this nor logs in anywhere.
"""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from dojang.testing.setup import BringUpFailed, TokenSetup

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.x509 import Certificate

    from dojang.testing.authority import ThrowAwayAuthority

KEY_KINDS: Final = ("rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384", "ec-p521", "ed25519")
"""Every kind of key that can be asked for; making an RSA key takes the longer the larger it is."""

SUBJECT: Final = "CN=Hong Gildong,O=Example,C=KR"


@dataclass(frozen=True, slots=True)
class KeySetup:
    """A key pair that was made on ``token`` and signs there; ``label`` and ``key_id`` are its CKA_LABEL and CKA_ID."""

    token: TokenSetup
    label: str
    key_id: bytes
    algorithm: str
    public_key_pem: str

    @property
    def uri(self) -> str:
        """The key by token, label and id (RFC 7512)."""
        key_id = "".join(f"%{octet:02x}" for octet in self.key_id)
        return f"{self.token.uri};object={quote(self.label)};id={key_id}"

    def public_key(self) -> "PublicKeyTypes":
        """The public key as a ``cryptography`` object."""
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        return load_pem_public_key(self.public_key_pem.encode())


@dataclass(frozen=True, slots=True)
class CredentialSetup(KeySetup):
    """A key with its certificate beside it on the token and in ``certificate_file`` (PEM); ``authority`` issued it."""

    certificate_der: bytes
    certificate_pem: str
    certificate_file: Path
    authority: "ThrowAwayAuthority"

    def certificate(self) -> "Certificate":
        """The certificate as a ``cryptography`` object."""
        from cryptography.x509 import load_der_x509_certificate

        return load_der_x509_certificate(self.certificate_der)


class Keysmith:
    """Makes keys on tokens of one environment; starts its process when first asked. A context manager."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        """``environment`` is that of the tokens; ``folder`` keeps what it writes, and must be there."""
        self._environment = {**os.environ, **environment, "DOJANG_HOME": str(folder / "keysmith")}
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def key(self, token: TokenSetup, algorithm: str = "ec-p256", *, label: str = "key") -> KeySetup:
        """A new key pair on ``token``; ``algorithm`` is one of ``KEY_KINDS``."""
        return self._made(token, algorithm, label, None)[0]

    def credential(
        self,
        token: TokenSetup,
        authority: "ThrowAwayAuthority",
        algorithm: str = "ec-p256",
        *,
        label: str = "key",
        subject: str = SUBJECT,
        profile: str = "personal",
        at: datetime | None = None,
    ) -> CredentialSetup:
        """A new key pair with a certificate that ``authority`` issues for it, as if ``at`` that moment."""
        from dojang.testing.authority import pem_of

        key, request = self._made(token, algorithm, label, subject)
        certificate_der = authority.issue(request, profile=profile, at=at)
        stored = {"key_id": key.key_id.hex(), "label": label, "certificate": _text(certificate_der)}
        self._ask(token, "store", stored)
        certificate_pem = pem_of(certificate_der)
        certificate_file = self._folder / f"{token.serial}-{key.key_id.hex()}.pem"
        certificate_file.write_text(certificate_pem)
        return CredentialSetup(
            token=token,
            label=label,
            key_id=key.key_id,
            algorithm=algorithm,
            public_key_pem=key.public_key_pem,
            certificate_der=certificate_der,
            certificate_pem=certificate_pem,
            certificate_file=certificate_file,
            authority=authority,
        )

    def _made(self, token: TokenSetup, algorithm: str, label: str, subject: str | None) -> tuple[KeySetup, bytes]:
        if algorithm not in KEY_KINDS:
            raise BringUpFailed(f"There is no kind of key {algorithm!r}, only these: {', '.join(KEY_KINDS)}.")
        told = self._ask(token, "make", {"algorithm": algorithm, "label": label, "subject": subject})
        key = KeySetup(token, label, bytes.fromhex(told["key_id"]), algorithm, told["public_key"])
        return key, base64.b64decode(told["request"])

    def _ask(self, token: TokenSetup, verb: str, what: Mapping[str, Any]) -> dict[str, str]:
        question = {"verb": verb, "uri": token.uri, "pin": token.pin, "module": str(token.module), **what}
        with self._turn:
            process = self._process = self._process or self._start()
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        told: dict[str, str] = json.loads(answer) if answer else {"error": "the process that makes keys has ended"}
        if "error" in told:
            raise BringUpFailed(f"No key on token {token.label}: {told['error']}")
        return told

    def _start(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", __name__]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=self._environment)


def main() -> None:
    """Answer one line with one line until there is no more: both ends are of this file."""
    from dojang.errors import DojangError

    for line in sys.stdin:
        try:
            answer = _answer(json.loads(line))
        except DojangError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


def _answer(question: dict[str, Any]) -> dict[str, str]:
    from dojang.pkcs11 import ModuleSearch, PinGuard, open_token
    from dojang.places import pin_guard_path
    from dojang.secret import Secret

    search, guard = ModuleSearch(module=question["module"], discover=False), PinGuard(pin_guard_path())
    with open_token(question["uri"], Secret(question["pin"]), search=search, guard=guard) as token:
        if question["verb"] == "store":
            certificate_der = base64.b64decode(question["certificate"])
            key_id = bytes.fromhex(question["key_id"])
            token.add_certificate(certificate_der, label=question["label"], key_id=key_id)
            return {}
        key_id = os.urandom(20)
        key = token.generate_key_pair(question["algorithm"], label=question["label"], key_id=key_id)
        return {"key_id": key_id.hex(), "public_key": _spki_pem(key), "request": _request(key, question["subject"])}


def _spki_pem(key: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def _request(key: Any, subject: str | None) -> str:
    from dojang.x509.name import parse_name
    from dojang.x509.request import build_request

    return "" if subject is None else _text(build_request(key, parse_name(subject)))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    main()
