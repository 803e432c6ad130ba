"""``--ca URL``: what people and scripts are told while an authority is asked over HTTP."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from tests.cmp.mock import Pki
from tests.cmp.own_server import OwnServer, own_server, self_signed

from dojang.authority.audit import acting
from dojang.authority.enrolment import EnrolmentPolicy
from dojang.authority.enrolment.policy import ProfileRule
from dojang.authority.hierarchy import rollover
from dojang.authority.hierarchy.scene import Scene
from dojang.cli.files import pem_of
from dojang.cli.run import run as run_here
from dojang.cmp.bodies import Certification, Confirmations, Poll
from dojang.errors import TimedOut
from dojang.x509.name import format_name


@dataclass
class Shell:
    """Runs dojang in this process; what it printed is in the captured output."""

    home: Path
    server: OwnServer
    address: str
    secrets: list[str]
    read: Callable[[], Any]

    def run(self, *words: object, status: int = 0) -> tuple[str, str]:
        ended = run_here([*map(str, words), *self.secrets])
        out, err = self.read()
        assert ended == status, (out, err)
        return out, err

    def json(self, *words: object, status: int = 0) -> Any:
        out, _ = self.run(*words, "--json", status=status)
        envelope = json.loads(out)
        assert envelope["ok"] == (status == 0)
        return envelope["data" if status == 0 else "error"]

    def code(self, name: str = "Hong") -> list[str]:
        """The options that bring a fresh code."""
        reference, code = self.server.hand_out(f"CN={name},C=KR")
        file = self.home / "code"
        file.write_bytes(code + b"\n")
        file.chmod(0o600)
        return ["--reference", reference, "--code-source", f"file:{file}"]

    def kept(self) -> list[tuple[str]]:
        """The URLs of the authorities whose certificates are kept."""
        with sqlite3.connect(self.home / "state" / "ledger.sqlite") as ledger:
            return ledger.execute("SELECT address FROM events WHERE event = 'trusted'").fetchall()

    def issue_words(self, name: str = "Hong") -> list[str]:
        return ["cert", "issue", "--to", self.address, "--subject", f"CN={name},C=KR", "--ca", self.server.url]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    with own_server(tmp_path_factory.mktemp("centre")) as server:
        yield server


@pytest.fixture
def shell(
    home: Path,
    make_token,
    server: OwnServer,
    capsys: pytest.CaptureFixture[str],
    softhsm_module: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    monkeypatch.setenv("DOJANG_MODULE", softhsm_module)
    token = make_token()
    server.between, server.counter.policy = None, EnrolmentPolicy()
    server.asked.clear()
    secrets = ["--pin-source", token.pin_source, "--no-input"]

    def read() -> tuple[str, str]:
        captured = capsys.readouterr()
        return captured.out, captured.err

    return Shell(home, server, token.uri, secrets, read)


def test_from_a_code_to_a_revocation(shell: Shell) -> None:
    """Issued with a code; renewed, reissued and revoked with the URL that the ledger knows. The code is in no file."""
    code = shell.code()
    out, err = shell.run(*shell.issue_words(), *code)
    assert "Issued." in out
    assert "is believed from now on by this certificate" in err
    root = x509.load_der_x509_certificate(shell.server.counter.authority.chain_der()[-1])
    assert format_name(root.subject) in err
    assert root.fingerprint(SHA256()).hex() in err
    address = f"{shell.address};object=Hong"
    renewed = shell.json("renew", "now", address)
    assert renewed["previous"]["state"] == "retired"
    reissued = shell.json("cert", "reissue", address)
    assert reissued["previous"]["state"] == "revoked"
    serial = reissued["credential"]["serial"]
    revoked = shell.json("cert", "revoke", address, "--reason", "cessationOfOperation", "--yes-revoke", serial)
    assert revoked["certificate"]["state"] == "revoked"
    assert revoked["certificate"]["reason"] == "cessationOfOperation"
    assert revoked["authority"] == shell.server.url
    assert shell.server.states()[-3:] == ["confirmed", "revoked", "revoked"]
    secret = (shell.home / "code").read_bytes().strip()
    (shell.home / "code").unlink()
    written = [path for path in shell.home.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if secret in path.read_bytes()]


def test_a_plan_says_whom_it_would_ask(shell: Shell) -> None:
    """Nothing is sent, nothing is made, and nobody is asked for the code."""
    plan = shell.json(*shell.issue_words(), "--reference", "1234567890", "--plan")
    assert any(shell.server.url in step for step in plan["plan"])
    assert shell.server.asked == []
    assert shell.json("cert", "list", shell.address)["credentials"] == []


def test_without_a_reference_number(shell: Shell) -> None:
    """Which option brings it is said."""
    error = shell.json(*shell.issue_words(), status=2)
    assert (error["code"], "--reference" in error["next"]) == ("input-required", True)
    error = shell.json(*shell.issue_words(), "--reference", "1234567890", status=2)
    assert (error["code"], "--code-source" in error["next"]) == ("input-required", True)


def test_nobody_there(shell: Shell) -> None:
    """Status 11, and the next step is about the URL."""
    words = [*shell.issue_words()[:-1], "http://127.0.0.1:9/", *shell.code()]
    error = shell.json(*words, status=11)
    assert (error["code"], "URL" in error["next"]) == ("authority-unreachable", True)


def test_what_is_no_url(shell: Shell) -> None:
    """A password in a URL is refused, and not repeated."""
    words = [*shell.issue_words()[:-1], "https://hong:secret@127.0.0.1/", *shell.code()]
    out, err = shell.run(*words, status=2)
    assert "secret" not in out + err


def test_nothing_of_an_authority_need_be_installed(shell: Shell) -> None:
    """Whoever only asks needs no database: issued, and renewed when it is due, without the extra for authorities."""
    without = "import sys; sys.modules.update(sqlalchemy=None, alembic=None, starlette=None, psycopg=None);"
    start = [sys.executable, "-c", f"{without} from dojang.cli.run import run; sys.exit(run(sys.argv[1:]))"]
    issued = [*shell.issue_words(), *shell.code()]
    for words in (issued, ["renew", "run", shell.address, "--window", "9999d"], ["cert", "revoke", "1234"]):
        done = subprocess.run([*start, *words, *shell.secrets], capture_output=True, text=True)
        assert done.returncode == (3 if "revoke" in words else 0), done.stderr
    assert shell.server.states()[-2:] == ["confirmed", "confirmed"]


def test_waiting(shell: Shell) -> None:
    """Until an officer has approved it is told when it asks again; after --timeout the same command goes on there."""
    shell.server.counter.policy = EnrolmentPolicy(usual=ProfileRule("people", True))
    words = [*shell.issue_words(), *shell.code()]
    command = [sys.executable, "-m", "dojang", *words, *shell.secrets, "--timeout", "5"]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert ended.returncode == TimedOut.exit_status, ended.stderr
    assert "asking again in 5 seconds" in ended.stderr
    with acting("local:another"):
        shell.server.counter.office.approve(words[words.index("--reference") + 1])
    out, err = shell.run(*words)
    assert "is finished now" in err
    assert "Issued." in out
    assert [type(one.body) for one in shell.server.messages] == [Certification, Poll, Poll, Confirmations]


def test_a_code_is_never_tried_for_another_reference_number(shell: Shell) -> None:
    """A command that finds an earlier one cut short asks for that with its own code: no wrong try is counted."""
    first, lost = shell.code(), shell.home / "first-code"
    (shell.home / "code").rename(lost)
    first[-1] = f"file:{lost}"
    shell.server.between = lambda body, honest: lambda handler, body: handler.connection.shutdown(socket.SHUT_RDWR)
    shell.run(*shell.issue_words(), *first, status=11)
    shell.server.between = None
    _, err = shell.run(*shell.issue_words("Kim"), *shell.code("Kim"))
    assert "is finished now" in err
    enrolment = shell.server.counter.office.enrolment(first[1])
    assert enrolment.wrong_tries == 0


def test_a_request_that_waits_is_finished_by_a_run_over_every_place(shell: Shell) -> None:
    """``renew run`` without an address, which the error names, finds the authority at its URL."""
    shell.server.between = lambda body, honest: lambda handler, body: handler.connection.shutdown(socket.SHUT_RDWR)
    shell.run(*shell.issue_words(), *shell.code(), status=11)
    shell.server.between = None
    _, err = shell.run("renew", "run")
    assert "is finished now" in err
    assert shell.server.states()[-1] == "confirmed"


def test_the_authoritys_certificate_given_beforehand(shell: Shell, tmp_path: Path) -> None:
    """It is kept with the URL once an answer has led to it; another's never is, and nothing is believed by that."""
    root, other = tmp_path / "root.der", tmp_path / "other.der"
    root.write_bytes(shell.server.counter.authority.chain_der()[-1])
    other.write_bytes(Pki.found(tmp_path).anchor_der)
    error = shell.json(*shell.issue_words(), *shell.code(), "--ca-certificate", other, status=12)
    assert error["code"] == "answer-mismatch"
    assert shell.kept() == []
    _, err = shell.run(*shell.issue_words(), *shell.code(), "--ca-certificate", root)
    assert "from now on" not in err
    assert shell.kept() == [(shell.server.url,)]
    error = shell.json(*shell.issue_words("Kim"), *shell.code("Kim"), "--ca-certificate", tmp_path / "no.pem", status=3)
    assert error["code"] == "file-unreadable"


RENEW = ("renew", "now", "--again")


def _prepare_root(shell: Shell, server: OwnServer) -> tuple[Scene, dict[str, Any]]:
    """Whoever has a certificate of the old one; the next keys of the authority, of which the root's is published."""
    shell.server = server
    shell.run(*shell.issue_words(), *shell.code())
    scene, keys = server.counter.authority.scene(), server.counter.keys
    keys |= {f"pkcs11:object={name}": ec.generate_private_key(ec.SECP256R1()) for name in ("root-2", "issuing-2")}
    rollover.prepare(scene, "root", keys["pkcs11:object=root-2"], "pkcs11:object=root-2")
    return scene, keys


def test_a_new_root_that_cannot_be_written_is_believed(shell: Shell, tmp_path: Path) -> None:
    """That there is no file for other programs is a warning; the renewal is done."""
    with own_server(tmp_path / "moving") as server:
        _prepare_root(shell, server)
        (shell.home / "state" / "roots").write_text("in the way")
        out, err = shell.run(*RENEW, f"{shell.address};object=Hong", "--json", status=15)
        assert [one["code"] for one in json.loads(out)["data"]["warnings"]] == ["file-unwritable"]
        assert "for which the old one vouches" in err
        assert shell.kept() == [(server.url,)] * 2


def test_a_new_root_comes_with_a_renewal(shell: Shell, tmp_path: Path) -> None:
    """It is told of and put into a file, by which OpenSSL verifies what is issued once the new root has taken over."""
    with own_server(tmp_path / "moving") as server:
        scene, keys = _prepare_root(shell, server)
        renew = (*RENEW, f"{shell.address};object=Hong")
        _, err = shell.run(*renew)
        assert "for which the old one vouches" in err
        (file,) = (shell.home / "state" / "roots").iterdir()
        assert str(file) in err
        assert shell.kept() == [(server.url,)] * 2
        rollover.switch(scene, "root")
        rollover.prepare(scene, "issuing", keys["pkcs11:object=issuing-2"], "pkcs11:object=issuing-2")
        rollover.switch(scene, "issuing")
        _, err = shell.run(*renew)
        assert "vouches" not in err
        issuing, new = tmp_path / "issuing.pem", tmp_path / "new.pem"
        issuing.write_text(pem_of(server.counter.authority.chain_der()[:1]))
        new.write_text(pem_of([server.records()[-1].certificate_der]))
        command = ["openssl", "verify", "-no-CApath", "-CAfile", file, "-untrusted", issuing, new]
        assert subprocess.run(command, capture_output=True, text=True).stdout == f"{new}: OK\n"


def test_other_names_are_told(shell: Shell) -> None:
    """What the authority changed is a warning; the certificate is there."""
    _, err = shell.run(*shell.issue_words("Hong"), *shell.code("Kim"))
    assert "the certificate is for CN=Kim,C=KR" in err


def test_a_person_is_asked(shell: Shell, terminal) -> None:
    """At a terminal the reference number and the code are asked for, and the code is not shown."""
    reference, code = shell.server.hand_out("CN=Hong,C=KR")
    child = terminal(*shell.issue_words(), *shell.secrets[:2], "--lang", "en")
    child.expect("The reference number: ")
    child.sendline(reference)
    child.expect(f"The code for {reference}: ")
    child.sendline(code.decode())
    child.expect("Issued.")
    assert code.decode() not in child.before


def test_over_tls(shell: Shell, tmp_path: Path) -> None:
    """A server that TLS does not show to be it is told nothing; the setting names what its certificate comes from."""
    context, certificate = self_signed(tmp_path)
    with own_server(tmp_path / "authority", context) as server:
        shell.server = server
        words = [*shell.issue_words(), *shell.code()]
        assert shell.json(*words, status=13)["code"] == "authority-untrusted"
        assert server.asked == []
        (shell.home / "config.toml").write_text(f'ca-tls-certificate = "{certificate}"\n')
        assert shell.json(*words)["authority"] == server.url
        assert server.url.startswith("https://")
