"""Enrolments over CMP (ir to pkiConf) on loopback: by the server's CPU time, and beside OpenSSL's mock server.

The clients are the same for both, each with one connection; the mock server knows one transaction at a time, so it has
one client. The ratio of the two is shown and nothing is promised of it. The mock server is C, signs nothing, writes
nothing down and gives one certificate to everybody, while each of ours is signed on a token and durable twice. Five
times its rate is more than any server can reach with these clients: what they need themselves for an enrolment, which
is shown beside it, is half of the time that one takes at the mock server.
"""

import contextlib
import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from place import HERE, Place, Row

sys.path.insert(0, str(HERE.parent.parent))

PER_CPU_SECOND = 250
_EACH = 40
_CLIENTS = 4


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    del seconds
    count = _EACH * rounds
    with _ours(place, count + 20) as ours, _mock(place.folder) as mock:
        for enrolment in ours.take(20):  # what is loaded and compiled at first is not measured
            ours.enrol(enrolment)
        taken = [ours.many(_EACH, _CLIENTS) for _ in range(rounds - 1)]
        alone, _own = _rate(ours.enrol, ours.take(_EACH))
        theirs, own = _rate(mock.enrol, mock.take(_EACH))
    cpu, wall = (median(one) / _EACH for one in zip(*taken, strict=True))
    detail = f"{cpu * 1000:.2f} ms of CPU each, {1 / wall:.0f}/s with {_CLIENTS} clients"
    beside = (
        f"one client: {alone:.0f}/s, mock server {theirs:.0f}/s, of {1000 / theirs:.1f} ms {own * 1000:.1f} its own"
    )
    return [
        Row("cmp_rate", "enrolments per CPU second", 1 / cpu, PER_CPU_SECOND, True, detail),
        Row("cmp_rate", "enrolments beside openssl's mock", alone / theirs, None, True, beside),
    ]


class Bench:
    """Clients of one server, and what they enrol with."""

    def __init__(self, port: int, enrolments: "Iterator[tuple[str, str, str, bytes]]", cpu: Any = None) -> None:
        self._port, self._enrolments, self._cpu = port, enrolments, cpu
        self._local = threading.local()

    def take(self, count: int) -> list[Any]:
        return [next(self._enrolments) for _ in range(count)]

    def enrol(self, enrolment: "tuple[str, str, Any]") -> None:
        """ir and certConf; the answers must be right."""
        from dojang.cmp.bodies import Certification, Confirmation, Confirmations, Confirmed, Kind
        from dojang.cmp.macs import Mac, new_pbm
        from dojang.cmp.messages import Header, new_nonce, read_message, write_message
        from dojang.cmp.signatures import certificate_hash
        from dojang.secret import Secret

        reference, code, request = enrolment
        mac, header = (
            Mac(Secret(code), new_pbm(500)),
            Header(
                transaction_id=new_nonce(),
                sender_nonce=new_nonce(),
                message_at=datetime.now(UTC),
                sender_key_id=reference.encode(),
            ),
        )
        answer = read_message(self._post(write_message(header, Certification(Kind.IR, (request,)), mac)))
        (one,) = answer.body.answers
        said = Confirmations((Confirmation(certificate_hash(one.certificate_der), one.request_id),))
        header = replace(header, sender_nonce=new_nonce(), recipient_nonce=answer.header.sender_nonce)
        assert isinstance(read_message(self._post(write_message(header, said, mac))).body, Confirmed)

    def many(self, count: int, clients: int) -> tuple[float, float]:
        """CPU seconds of the server and seconds on the clock for so many, by so many clients at once."""
        waiting = self.take(count)
        before, start = self._cpu(), time.perf_counter()
        threads = [threading.Thread(target=self._some, args=(waiting[number::clients],)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self._cpu() - before, time.perf_counter() - start

    def _some(self, enrolments: list[Any]) -> None:
        for enrolment in enrolments:
            self.enrol(enrolment)

    def _post(self, der: bytes) -> bytes:
        for _ in range(2):  # the mock server may have closed the connection
            if not hasattr(self._local, "connection"):
                self._local.connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                self._local.connection.request("POST", "/pkix/", der, {"Content-Type": "application/pkixcmp"})
                return bytes(self._local.connection.getresponse().read())
            except (http.client.RemoteDisconnected, ConnectionError):
                self._local.connection.close()
                del self._local.connection
        raise ConnectionError


def _rate(enrol: Any, enrolments: list[Any]) -> tuple[float, float]:
    """Enrolments a second of one client, and CPU seconds of its own for one, by the median."""
    taken, own = [], []
    for enrolment in enrolments:
        start, before = time.perf_counter(), time.thread_time()
        enrol(enrolment)
        taken.append(time.perf_counter() - start)
        own.append(time.thread_time() - before)
    return 1 / median(taken), median(own)


@contextlib.contextmanager
def _ours(place: Place, count: int) -> Iterator[Bench]:
    from tests.authority.conversation.serving import found_on

    from dojang.authority.enrolment import Terms
    from dojang.pkcs11 import ModuleSearch, open_token
    from dojang.secret import Secret

    folder = place.folder / "authorities"
    search = ModuleSearch(module=place.module, discover=False)
    with open_token(place.uri, Secret(place.pin), search=search) as token, found_on(token, folder) as authority:
        new = authority.counter.office.new
        handed = [new(Terms("personal", f"CN=Subscriber {number},C=KR")) for number in range(count)]
    codes = [(one.enrolment.reference, one.code.reveal().decode(), one.enrolment.terms.subject) for one in handed]
    command = [
        sys.executable,
        HERE / "cmp_server.py",
        folder,
        place.module,
        place.uri,
        f"{place.folder}/{place.label}.pin",
    ]
    server = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None

    def cpu() -> float:
        server.stdin.write("\n")
        server.stdin.flush()
        return float(server.stdout.readline())

    try:
        yield Bench(int(server.stdout.readline()), map(_with_request, codes), cpu)
    finally:
        server.stdin.close()
        server.wait(30)


def _with_request(code: tuple[str, str, str]) -> tuple[str, str, Any]:
    """The request is made beforehand: its key and its proof are the subscriber's work."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from dojang.cmp.crmf import CertificateTemplate, build_request
    from dojang.x509.name import parse_name

    reference, secret, subject = code
    request = build_request(ec.generate_private_key(ec.SECP256R1()), CertificateTemplate(subject=parse_name(subject)))
    return reference, secret, request


@contextlib.contextmanager
def _mock(folder: Path) -> Iterator[Bench]:
    """``openssl cmp`` as a server; its certificate is for everybody."""
    from tests.cmp.conftest import REFERENCE, SECRET, SHARED, found_mock
    from tests.cmp.mock import mock_server

    with mock_server(found_mock(folder), *SHARED) as url:
        port = urlsplit(url).port
        assert port is not None
        yield Bench(port, (_with_request((REFERENCE, SECRET, "CN=Mock")) for _ in iter(int, 1)))
