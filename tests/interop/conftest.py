"""One office for all programs we did not write: an authority on a token and, beside it, a credential of every kind."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ALGORITHMS = ("rsa-2048", "rsa-3072", "ec-p256", "ec-p384", "ec-p521", "ed25519")


@dataclass(frozen=True, slots=True)
class Office:
    """What dojang made: certificates as PEM files in ``folder``, the JSON of each credential, the PIN of the token."""

    folder: Path
    module: str
    label: str
    serial: str
    pin: str
    root: Path
    issuing: Path
    credentials: dict[str, dict[str, Any]]
    dojang: Callable[..., dict[str, Any]]

    def certificate(self, algorithm: str) -> Path:
        return self.folder / f"{algorithm}.pem"

    def signed(self, algorithm: str, *, detached: bool) -> Path:
        """``letter.txt`` signed by the key of this kind."""
        path = self.folder / f"{algorithm}-{detached}.p7s"
        if not path.exists():
            form = ["--detached"] if detached else []
            address = self.credentials[algorithm]["address"]
            self.dojang("sign", "cms", "--key", address, *form, "-o", path, self.letter)
        return path

    @property
    def letter(self) -> Path:
        return self.folder / "letter.txt"


def read_by(*command: object, stdin: str = "", env: dict[str, str] | None = None, both: bool = False) -> str:
    """What another program prints (``both``: on standard error too); its failure is the test's."""
    run = subprocess.run(list(map(str, command)), input=stdin, env=env, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, f"{command}\n{run.stdout}\n{run.stderr}"
    return run.stdout + (run.stderr if both else "")


@pytest.fixture(scope="session")
def read() -> Callable[..., str]:
    return read_by


@pytest.fixture(scope="session")
def office(tmp_path_factory, make_token, softhsm_module, dojang_at) -> Office:
    """A root, an issuing authority below it, and one credential for each algorithm on one token."""
    folder = tmp_path_factory.mktemp("office")
    token, authority = make_token(), make_token()
    (folder / "home").mkdir()
    run = dojang_at(folder / "home")

    def dojang(*args: object) -> dict[str, Any]:
        pins = ["--pin-source", token.pin_source, "--ca-pin-source", authority.pin_source]
        done = run(*args, *pins, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)["data"]

    root, issuing = f"{authority.uri};object=root", f"{authority.uri};object=issuing"
    names = ["--name", "CN=Office Root CA,O=Example,C=KR", "--issuing-name", "CN=Office CA,O=Example,C=KR"]
    founded = dojang("ca", "init", "--alias", "office", "--key", root, "--issuing-key", issuing, *names)
    below, _, above = founded["authority"]["chain"].partition("-----END CERTIFICATE-----\n")
    (folder / "root.pem").write_text(above)
    (folder / "issuing.pem").write_text(f"{below}-----END CERTIFICATE-----\n")
    (folder / "letter.txt").write_text("To whom it may concern\n" * 1000)
    credentials = {}
    for algorithm in ALGORITHMS:
        subject = f"CN=Hong {algorithm},O=Example,C=KR"
        kind = ["--label", algorithm, "--algorithm", algorithm, "--profile", "personal"]
        issued = dojang("cert", "issue", "--to", token.uri, "--subject", subject, *kind)
        credentials[algorithm] = issued["credential"]
        where = ["--module", softhsm_module, "--token-label", token.label, "--type", "cert"]
        der = folder / f"{algorithm}.der"
        read_by("pkcs11-tool", *where, "--id", issued["credential"]["id"], "--read-object", "-o", der)
        read_by("openssl", "x509", "-in", der, "-out", der.with_suffix(".pem"))
    paths = (folder / "root.pem", folder / "issuing.pem")
    return Office(folder, softhsm_module, token.label, token.serial, token.pin, *paths, credentials, dojang)
