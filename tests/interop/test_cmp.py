"""OpenSSL's CMP client, unmodified, against an authority of ours over HTTP: with software keys and keys on a token."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select
from tests.authority.conversation.serving import NAME, found_on, served

from dojang.authority import LocalAuthority
from dojang.authority.audit import acting
from dojang.authority.enrolment import Handed, Terms
from dojang.authority.tables import cmp_transaction
from dojang.cmp.bodies import Certified, Confirmed, Kind
from dojang.cmp.faults import FailInfo
from dojang.cmp.messages import read_message
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
from dojang.testing.setup import TokenSetup
from dojang.x509.name import format_name

SUBJECT = "CN=Hong Gildong,C=KR"
SLASHED = "/C=KR/CN=Hong Gildong"
SETTINGS = """
test = true
[cmp]
poll-seconds = 1
[enrolment.profiles.business]
four-eyes = "people"
"""


@dataclass
class Client:
    """``openssl cmp`` in a folder of its own, which has a key ``new.key`` and trusts the root."""

    authority: LocalAuthority
    port: int
    folder: Path
    token: TokenSetup
    environment: dict[str, str]
    path: str = ".well-known/cmp"

    def run(self, command: str, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            ["openssl", "cmp", "-cmd", command, "-server", f"127.0.0.1:{self.port}/{self.path}", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        if check:
            assert done.returncode == 0, done.stdout
        return done

    def said(self) -> set[str]:
        """What the authority has sent last in its conversations."""
        with self.authority.database.reading() as connection:
            sent = connection.execute(select(cmp_transaction.c.response_der)).scalars()
            return {type(read_message(der).body).__name__ for der in sent}

    def post(
        self, path: str, body: bytes, *, kind: str = "application/pkixcmp", method: str = "POST"
    ) -> tuple[int, bytes]:
        with contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(method, path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def hand_out(self, profile: str = "personal", subject: str = SUBJECT) -> Handed:
        with acting("local:clerk"):
            return self.authority.counter.office.new(Terms(profile, subject))

    def code(self, handed: Handed, code: str | None = None) -> tuple[str, ...]:
        shown = code or handed.code.reveal().decode()
        return ("-ref", handed.enrolment.reference, "-secret", f"pass:{shown}", "-recipient", "/CN=anybody")

    def new_key(self, name: str = "new.key") -> str:
        arguments = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", name]
        subprocess.run(arguments, cwd=self.folder, check=True, capture_output=True)
        return name

    def enrol(self, name: str, *more: str) -> tuple[str, ...]:
        """A certificate for a new key; how the client signs with it."""
        key = self.new_key(f"{name}.key")
        code = self.code(self.hand_out())
        self.run("ir", *code, "-newkey", key, "-subject", SLASHED, "-certout", f"{name}.pem", *more)
        return self.signing(name)

    def signing(self, name: str) -> tuple[str, ...]:
        trusted = ("-trusted", "root.pem", "-untrusted", "issuing.pem")
        return (*trusted, "-cert", f"{name}.pem", "-key", f"{name}.key")

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / f"{name}.pem").read_bytes())

    def state(self, name: str) -> str:
        return self.authority.find(f"{self.certificate(name).serial_number:x}").state


@pytest.fixture(scope="module")
def client(
    tmp_path_factory: pytest.TempPathFactory, make_token: Callable[..., TokenSetup], softhsm_module: str
) -> Iterator[Client]:
    """One server for all of them: its keys on one token, the subscribers' on another."""
    folder, search = tmp_path_factory.mktemp("cmp"), ModuleSearch(module=softhsm_module, discover=False)
    office, users = make_token("cmp-office"), make_token("cmp-users")
    environment = {**os.environ, "PKCS11_MODULE_PATH": softhsm_module}
    with (
        open_token(office.uri, Secret(office.pin), search=search) as token,
        found_on(token, folder / "authorities", settings=SETTINGS) as authority,
        served(authority) as port,
    ):
        for name, der in zip(("issuing", "root"), authority.chain_der(), strict=True):
            (folder / f"{name}.pem").write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
        yield Client(authority, port, folder, users, environment)


def test_a_code_becomes_a_certificate(client: Client) -> None:
    """ir under PBM: the certificate names whom the enrolment names, and OpenSSL verifies it up to the root."""
    handed = client.hand_out()
    key = client.new_key()
    out = ("-certout", "a.pem", "-cacertsout", "c.pem", "-reqout", "q1.der,q2.der", "-rspout", "a1.der,a2.der")
    client.run("ir", *client.code(handed), "-newkey", key, "-subject", SLASHED, *out)
    assert format_name(client.certificate("a").subject) == SUBJECT
    subprocess.run(
        ["openssl", "verify", "-CAfile", "root.pem", "-untrusted", "issuing.pem", "a.pem"],
        cwd=client.folder,
        check=True,
        capture_output=True,
    )
    assert client.state("a") == "confirmed"
    kinds = [type(read_message((client.folder / name).read_bytes()).body) for name in ("a1.der", "a2.der")]
    assert kinds == [Certified, Confirmed]
    assert (client.folder / "c.pem").read_bytes().count(b"BEGIN") == 1


def test_a_client_is_served_by_granian_as_well(client: Client) -> None:
    """ir, kur and rr over a server that somebody asked for by name."""
    with served(client.authority, server="granian") as port:
        guest = replace(client, port=port)
        signing = guest.enrol("guest")
        key = guest.new_key("guest-2.key")
        guest.run("kur", *signing, "-oldcert", "guest.pem", "-newkey", key, "-certout", "guest-2.pem")
        guest.run("rr", *guest.signing("guest-2"), "-oldcert", "guest-2.pem", "-revreason", "0")
        assert (client.state("guest"), client.state("guest-2")) == ("confirmed", "revoked")


def test_a_client_may_have_several_where_the_profile_says_so(client: Client) -> None:
    """cr signed with the first certificate brings another beside it; without that word it is a reissue."""
    profiles = client.authority.folder / "profiles"
    profiles.mkdir(exist_ok=True)
    (profiles / "device.toml").write_text('like = "personal"\nseveral = true\n')
    key, code = client.new_key("device.key"), client.code(client.hand_out("device"))
    client.run("ir", *code, "-newkey", key, "-subject", SLASHED, "-certout", "device.pem")
    key = client.new_key("device-2.key")
    client.run("cr", *client.signing("device"), "-newkey", key, "-subject", SLASHED, "-certout", "device-2.pem")
    assert (client.state("device"), client.state("device-2")) == ("confirmed", "confirmed")


def test_a_key_of_ours_is_certified_by_a_stock_client(client: Client, run_dojang: Callable[..., Any]) -> None:
    """``cert request`` where no authority is reached, p10cr from elsewhere, ``cert install`` back at the token."""

    def dojang(*words: object) -> Any:
        done = run_dojang(*words, "--pin-source", client.token.pin_source, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)["data"]

    request, where = client.folder / "far.csr", client.token.uri
    dojang("cert", "request", where, "--label", "far", "--subject", SUBJECT, "-o", request)
    client.run("p10cr", *client.code(client.hand_out()), "-csr", request.name, "-certout", "far.pem")
    done = dojang(
        "cert", "install", where, "--cert", client.folder / "far.pem", "--chain", client.folder / "issuing.pem"
    )
    assert int(done["credential"]["serial"], 16) == client.certificate("far").serial_number
    assert client.state("far") == "confirmed"


@pytest.mark.parametrize("mac", ["hmac-sha1", "hmacWithSHA256"])
@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
def test_every_mac_of_the_client_is_taken(client: Client, mac: str, digest: str) -> None:
    """A genm under each hash and MAC."""
    client.run("genm", *client.code(client.hand_out()), "-mac", mac, "-digest", digest, "-infotype", "caProtEncCert")


def test_a_pkcs10_request_under_a_code(client: Client) -> None:
    """p10cr."""
    key = client.new_key("p10.key")
    subprocess.run(
        ["openssl", "req", "-new", "-key", key, "-subj", SLASHED, "-out", "p10.csr"], cwd=client.folder, check=True
    )
    client.run("p10cr", *client.code(client.hand_out()), "-csr", "p10.csr", "-certout", "p10.pem")
    assert client.state("p10") == "confirmed"


def test_implicit_confirmation(client: Client) -> None:
    """-implicit_confirm: one message each way, and confirmed."""
    client.enrol("implicit", "-implicit_confirm", "-rspout", "i1.der")
    assert client.state("implicit") == "confirmed"
    assert read_message((client.folder / "i1.der").read_bytes()).header.implicit_confirm


def test_an_update_a_reissue_and_a_revocation(client: Client) -> None:
    """kur, cr, p10cr and rr, each signed with the certificate before; what came before is replaced or revoked."""
    signed = client.enrol("one")
    new = client.new_key("two.key")
    client.run("kur", *signed, "-newkey", new, "-certout", "two.pem")
    assert (client.state("one"), client.state("two")) == ("confirmed", "confirmed")
    new = client.new_key("three.key")
    client.run("cr", *client.signing("two"), "-newkey", new, "-subject", SLASHED, "-certout", "three.pem")
    assert (client.state("two"), client.state("three")) == ("revoked", "confirmed")
    key = client.new_key("four.key")
    subprocess.run(
        ["openssl", "req", "-new", "-key", key, "-subj", SLASHED, "-out", "four.csr"], cwd=client.folder, check=True
    )
    client.run("p10cr", *client.signing("three"), "-csr", "four.csr", "-certout", "four.pem")
    assert (client.state("three"), client.state("four")) == ("revoked", "confirmed")
    client.run("rr", *client.signing("four"), "-oldcert", "four.pem", "-revreason", "4")
    assert client.state("four") == "revoked"
    refused = client.run("kur", *client.signing("four"), "-newkey", new, "-certout", "x.pem", check=False)
    assert refused.returncode == 1
    assert "certRevoked" in refused.stdout


def test_extensions_that_a_client_asks_for_are_not_granted(client: Client) -> None:
    """-reqexts and -days: the certificate is what was registered, and the answer says that it is not what was asked."""
    wishes = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\nsubjectAltName=DNS:evil.example.com\n"
    (client.folder / "wishes.cnf").write_text(f"[wishes]\n{wishes}")
    key, code = client.new_key("greedy.key"), client.code(client.hand_out())
    asked = ("-config", "wishes.cnf", "-reqexts", "wishes", "-days", "9999")
    said = client.run("ir", *code, *asked, "-newkey", key, "-subject", SLASHED, "-certout", "greedy.pem").stdout
    assert "grantedWithMods" in said
    client.enrol("modest", "-implicit_confirm")
    greedy, modest = client.certificate("greedy"), client.certificate("modest")
    assert [one.oid for one in greedy.extensions] == [one.oid for one in modest.extensions]
    assert greedy.extensions.get_extension_for_class(x509.KeyUsage) == modest.extensions.get_extension_for_class(
        x509.KeyUsage
    )
    assert abs(greedy.not_valid_after_utc - modest.not_valid_after_utc) < timedelta(minutes=1)


def test_a_revocation_under_the_code(client: Client) -> None:
    """Whoever has lost his key still has the code that the certificate was issued for."""
    handed = client.hand_out()
    key = client.new_key("lost.key")
    client.run("ir", *client.code(handed), "-newkey", key, "-subject", SLASHED, "-certout", "lost.pem")
    client.run("rr", *client.code(handed), "-oldcert", "lost.pem", "-revreason", "1")
    assert client.state("lost") == "revoked"
    assert client.authority.find(f"{client.certificate('lost').serial_number:x}").reason == "keyCompromise"


@pytest.mark.parametrize("asked", ["caProtEncCert", "signKeyPairTypes", "currentCRL"])
def test_questions(client: Client, asked: str) -> None:
    """genm, signed and under a code."""
    signed = client.enrol(f"asking-{asked}", "-implicit_confirm")
    for protection in (signed, client.code(client.hand_out())):
        client.run("genm", *protection, "-infotype", asked, "-rspout", "genp.der")
        assert read_message((client.folder / "genp.der").read_bytes()).body.kind is Kind.GENP


def test_what_waits_for_approval_is_polled_for(client: Client) -> None:
    """The client asks again until an officer has approved."""
    handed = client.hand_out("business", "CN=Example Inc.,O=Example,C=KR")
    key = client.new_key("polled.key")
    arguments = ("-newkey", key, "-subject", "/C=KR/O=Example/CN=Example Inc.", "-certout", "polled.pem")
    process = subprocess.Popen(
        ["openssl", "cmp", "-cmd", "ir", "-server", f"127.0.0.1:{client.port}/pkix/", *client.code(handed), *arguments],
        cwd=client.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while "Waiting" not in client.said():
        assert process.poll() is None
        time.sleep(0.05)
    with acting("local:another"):
        client.authority.counter.office.approve(handed.enrolment.reference)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert client.state("polled") == "confirmed"


def test_a_wrong_code_is_refused_and_counted(client: Client) -> None:
    """badMessageCheck; the right code works after it, and used once it does not again."""
    handed = client.hand_out()
    key = client.new_key("wrong.key")
    enrol = ("-newkey", key, "-subject", SLASHED, "-certout", "wrong.pem")
    refused = client.run("ir", *client.code(handed, "WRONGWRONGWRONG0"), *enrol, "-unprotected_errors", check=False)
    assert refused.returncode == 1
    assert "badMessageCheck" in refused.stdout
    assert client.authority.counter.office.enrolment(handed.enrolment.reference).wrong_tries == 1
    client.run("ir", *client.code(handed), *enrol)
    used = client.run("ir", *client.code(handed), *enrol, check=False)
    assert used.returncode == 1
    assert "notAuthorized" in used.stdout


def test_the_key_of_another_is_refused(client: Client) -> None:
    """A signature by a key that is not the certificate's."""
    client.enrol("victim", "-implicit_confirm")
    other = client.new_key("other.key")
    client.folder.joinpath("fake.pem").write_bytes(client.folder.joinpath("victim.pem").read_bytes())
    subprocess.run(["cp", "other.key", "fake.key"], cwd=client.folder, check=True)
    refused = client.run("kur", *client.signing("fake"), "-newkey", other, "-certout", "x.pem", check=False)
    assert refused.returncode == 1
    assert client.state("victim") == "confirmed"


def test_a_message_sent_again_gets_the_same_answer(client: Client) -> None:
    """What the client recorded, sent once more: the same bytes come back, and nothing new is issued."""
    out = ("-certout", "again.pem", "-reqout", "r1.der,r2.der", "-rspout", "s1.der,s2.der")
    client.run("ir", *client.code(client.hand_out()), "-newkey", client.new_key(), "-subject", SLASHED, *out)
    issued = len(list(client.authority.issued()))
    status, answer = client.post("/pkix/", (client.folder / "r2.der").read_bytes())
    assert (status, answer) == (200, (client.folder / "s2.der").read_bytes())
    status, answer = client.post("/pkix/", (client.folder / "r1.der").read_bytes())
    assert read_message(answer).body.status.failures == {FailInfo.TRANSACTION_ID_IN_USE}
    assert len(list(client.authority.issued())) == issued


def test_addresses(client: Client) -> None:
    """By the authority's name, by a profile's, by both; an unknown one is 404, another type 415, GET 405."""
    client.new_key("path.key")
    out = ("-newkey", "path.key", "-subject", SLASHED, "-certout", "path.pem")
    for path in (f".well-known/cmp/p/{NAME}", ".well-known/cmp/p/personal", f".well-known/cmp/p/{NAME}/personal"):
        client.new_key("path.key")
        replace(client, path=path).run("ir", *client.code(client.hand_out()), *out)
    other = replace(client, path=".well-known/cmp/p/business")
    assert "badCertTemplate" in other.run("ir", *client.code(client.hand_out()), *out, check=False).stdout
    assert client.post("/.well-known/cmp/p/other/personal", b"x")[0] == 404
    assert client.post("/.well-known/cmp", b"x", kind="text/plain")[0] == 415
    assert client.post("/.well-known/cmp", b"", method="GET")[0] == 405
    status, answer = client.post("/.well-known/cmp", b"x")
    assert (status, read_message(answer).body.status.failures) == (200, {FailInfo.BAD_DATA_FORMAT})


def test_a_key_on_a_token_with_no_code_of_ours(client: Client, softhsm_module: str) -> None:
    """ir, kur and rr by OpenSSL's PKCS#11 engine: the keys never leave the subscriber's token."""
    users = client.token
    search = ModuleSearch(module=softhsm_module, discover=False)
    with open_token(users.uri, Secret(users.pin), search=search) as token:
        for label in ("one", "two"):
            token.generate_key_pair("ec-p256", label=label)
    one, two = (f"pkcs11:token={users.label};object={name};type=private;pin-value=1234" for name in ("one", "two"))
    engine = ("-engine", "pkcs11", "-keyform", "engine")
    code = client.code(client.hand_out())
    client.run("ir", *code, *engine, "-newkey", one, "-subject", SLASHED, "-certout", "hsm.pem")
    trusted = ("-trusted", "root.pem", "-untrusted", "issuing.pem", *engine)
    new = ("-newkey", two, "-implicit_confirm", "-certout", "hsm2.pem")
    client.run("kur", *trusted, "-cert", "hsm.pem", "-key", one, *new)
    assert client.state("hsm2") == "confirmed"
    client.run("rr", *trusted, "-cert", "hsm2.pem", "-key", two, "-oldcert", "hsm2.pem", "-revreason", "5")
    assert client.state("hsm2") == "revoked"
