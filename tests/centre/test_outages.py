"""Hosts, HSM and database that go away under load and come back: nothing is lost, nothing is issued twice.

Two hosts serve one authority, whose records are in a PostgreSQL of these tests and whose key is on a SoftHSM2 token
behind p11-kit's remoting, each of which is killed and started again. A balancer sends connections to either.
"""

import contextlib
import itertools
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from tests.centre.serving import Served, serving, until

from dojang.authority import Founder, LocalAuthority, Submission, create_authority
from dojang.authority.remote import Forgetful, RemoteAuthority, Terms
from dojang.cli.authority_tokens import AuthorityTokens
from dojang.cmp.crmf import CertificateTemplate, build_request
from dojang.errors import DojangError
from dojang.pkcs11 import ModuleSearch, PinGuard, open_token
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.secret import Secret
from dojang.testing.daemon import Daemon
from dojang.testing.modules.parts import library, program
from dojang.testing.postgres import PrivatePostgres, private_postgres
from dojang.x509.name import parse_name

SUBJECT = "CN=Hong Gildong,O=Example,C=KR"


class Balancer:
    """Sends each connection to the next host that takes it."""

    def __init__(self) -> None:
        self.hosts: list[int] = []
        self._turn = itertools.count()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller = self._listener.accept()[0]
                threading.Thread(target=self._connect, args=(caller,), daemon=True).start()

    def _connect(self, caller: socket.socket) -> None:
        start = next(self._turn)
        with caller:
            for number in range(len(self.hosts)):
                with contextlib.suppress(OSError):
                    host = socket.create_connection(("127.0.0.1", self.hosts[(start + number) % len(self.hosts)]))
                    break
            else:
                return
            with host:
                back = threading.Thread(target=_pump, args=(host, caller), daemon=True)
                back.start()
                _pump(caller, host)
                back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@dataclass
class Site:
    """An authority, what it stands on, and a code that works again and again, as only one for tests has."""

    authority: LocalAuthority
    postgres: PrivatePostgres
    hsm: Daemon
    environment: dict[str, str]
    pin: str
    factory: pytest.TempPathFactory
    balancer: Balancer = field(default_factory=Balancer)
    reference: str = ""
    code: str = ""

    @contextlib.contextmanager
    def host(self, *words: object) -> Iterator[Served]:
        """A host behind the balancer for the length of the block."""
        folder = self.factory.mktemp("host")
        with serving(folder, self.environment, "--ca-pin-source", self.pin, "--rate", 0, *words) as served:
            served.began()
            self.balancer.hosts.append(served.port)
            try:
                yield served
            finally:
                self.balancer.hosts.remove(served.port)

    def source(self, needed: bool = False) -> str:
        return self.reference

    def enrol(self, transaction: str, patience: float = 60) -> str:
        """The serial of a certificate that was asked for and confirmed."""
        terms = Terms(introductions=_Introduced(self.reference, Secret(self.code)), seconds=20)
        with RemoteAuthority(f"http://127.0.0.1:{self.balancer.port}/.well-known/cmp/p/office", terms) as remote:
            asked = remote.asked_by(Forgetful())
            template = CertificateTemplate(subject=parse_name(SUBJECT))
            request = build_request(ec.generate_private_key(ec.SECP256R1()), template)
            submission = Submission("issue", request.to_der(), "personal", transaction)
            issued = _persistently(lambda: asked.submit(submission), patience)
            _persistently(lambda: asked.confirm(transaction), patience)
        return f"{x509.load_der_x509_certificate(issued.certificate_der).serial_number:x}"

    def states(self) -> Counter[str]:
        """How many certificates there are in each state."""
        return Counter(one.state for one in self.authority.issued())


@dataclass
class _Introduced:
    number: str
    secret: Secret
    source = None

    def reference(self, *, needed: bool) -> str:
        return self.number

    def code(self, reference: str, source: str | None) -> Secret:
        return self.secret


def _persistently(ask, patience: float) -> Any:
    """Again while the error says that this may help."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return ask()
        except DojangError as error:
            if not error.retryable or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="module")
def site(make_token, softhsm_module, tmp_path_factory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    home = folder / "home" / "dojang"
    (home / "state").mkdir(parents=True)
    made = make_token()
    search, guard = ModuleSearch(module=softhsm_module, discover=False), PinGuard(folder / "guard")
    client = library("pkcs11/p11-kit-client.so", "p11-kit-modules")
    line = folder / "hsm.sock"
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(private_postgres())
        token = stack.enter_context(open_token(made.uri, Secret(made.pin), search=search, guard=guard))
        token.generate_key_pair("ec-p256", label="issuing")
        authority = stack.enter_context(
            _found(home / "state/authorities", f"{made.uri};object=issuing", token, postgres.new_database())
        )
        serve = [program("p11-kit", "p11-kit"), "server", "-f", "-n", str(line), "--provider", softhsm_module, made.uri]
        code = authority.counter.perform("code.new", {"profile": "personal", "subject": SUBJECT, "uses": 100_000})
        hsm = stack.enter_context(Daemon(serve, ready=line.exists, log=folder / "hsm.log"))
        environment = {**os.environ, "HOME": str(home.parent), "DOJANG_HOME": str(home), "DOJANG_MODULE": str(client)}
        environment |= {"P11_KIT_SERVER_ADDRESS": f"unix:path={line}"}
        found = Site(authority, postgres, hsm, environment, made.pin_source, tmp_path_factory)
        found.reference, found.code = code["enrolment"]["reference"], code["code"]
        stack.callback(found.balancer.close)
        yield found


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no answer asks again soon."""
    monkeypatch.setattr("dojang.cmp.client.PAUSES", (0.1, 0.2, 0.4))


def _found(directory: Path, address: str, token, database: str) -> LocalAuthority:
    """A root in memory, which is away from here on, and below it the key on the token; for tests."""
    from dojang.authority.local import open_authority

    uri = Pkcs11Uri.from_text(address)
    below = Founder(parse_name("CN=Office,C=KR"), token.private_key(label="issuing"), address)
    root = ec.generate_private_key(ec.SECP256R1())
    create_authority(
        directory,
        name="office",
        subject=parse_name("CN=Root,C=KR"),
        key=root,
        key_address="pkcs11:token=away;object=root",
        issuing=below,
        database=database,
    ).close()
    with (directory / "office/authority.toml").open("a") as file:
        file.write("test = true\n")
    assert uri.object == "issuing"
    return open_authority(directory, "office", AuthorityTokens(lambda _address: token))


def _enrol_all(site: Site, threads: int, each: int) -> dict[str, str]:
    """Serials by transaction, of so many threads that enrol one after the other; whatever one raises is raised."""
    serials: dict[str, str] = {}
    failures: list[BaseException] = []

    def enrol() -> None:
        try:
            for _ in range(each):
                transaction = uuid4().hex
                serials[transaction] = site.enrol(transaction)
        except BaseException as error:
            failures.append(error)

    running = [threading.Thread(target=enrol) for _ in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    if failures:
        raise failures[0]
    return serials


def test_one_of_two_hosts_is_killed_under_load(site: Site):
    """Who was talking to it goes on with the other, even while that loses a worker: each gets one certificate, each is
    on record, no serial twice.
    """
    with site.host() as doomed, site.host("--workers", 2) as other:
        before = site.states()

        def kill() -> None:
            time.sleep(0.5)
            os.kill(doomed.process.pid, signal.SIGKILL)
            time.sleep(0.5)
            os.kill(other.workers()[0], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        serials = _enrol_all(site, threads=4, each=5)
        killer.join()
        assert doomed.process.wait(10) == -signal.SIGKILL
    made = site.states() - before
    assert len(set(serials.values())) == 20
    assert made == {"confirmed": 20}
    for serial in serials.values():
        assert site.authority.find(serial).state == "confirmed"


def test_an_hsm_that_goes_away_and_comes_back(site: Site):
    """Not ready and refusing meanwhile; then at work again by itself, in the same process, with nothing lost."""
    with site.host() as host:
        before = site.states()
        _enrol_all(site, 1, 1)
        site.hsm.stop(signal.SIGKILL)
        until(lambda: host.ask("/ready")[0] == 503)
        assert b"hsm:office" in host.ask("/ready", host.admin)[1]
        assert host.ask("/health")[0] == 200
        with pytest.raises(DojangError) as refused:
            site.enrol(uuid4().hex, patience=0)
        assert refused.value.retryable
        waiting = threading.Thread(target=_enrol_all, args=(site, 2, 2))
        waiting.start()
        site.hsm.start()
        until(lambda: host.ask("/ready")[0] == 200)
        waiting.join()
        _enrol_all(site, 2, 2)
        page = host.ask("/metrics", host.admin)[1].decode()
        losses = next(line for line in page.splitlines() if line.startswith("dojang_hsm_session_losses_total"))
        assert float(losses.split()[-1]) > 0
    assert (site.states() - before)["confirmed"] == 1 + 4 + 4


def test_a_database_that_goes_away_and_comes_back(site: Site):
    """The same; what was recorded before is there after the crash."""
    with site.host() as host:
        before = site.states()
        known = _enrol_all(site, 2, 2)
        site.postgres.stop(immediate=True)
        until(lambda: host.ask("/ready")[0] == 503)
        assert set(json.loads(host.ask("/ready", host.admin)[1])["problems"]) == {"database:office"}
        with pytest.raises(DojangError) as refused:
            site.enrol(uuid4().hex, patience=0)
        assert refused.value.retryable
        site.postgres.start()
        until(lambda: host.ask("/ready")[0] == 200)
        known |= _enrol_all(site, 2, 2)
        assert host.process.poll() is None
    assert (site.states() - before)["confirmed"] == 8
    assert all(site.authority.find(serial).state == "confirmed" for serial in known.values())
