"""The same promises where granian speaks HTTP; and what it cannot keep is refused, never kept a little less."""

import asyncio
import contextlib
import http.client
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path

import pytest
from starlette.responses import Response
from starlette.routing import Route, Router

from dojang.centre.gate import Gate
from dojang.centre.granian_server import Listener
from dojang.centre.health import Pulse
from dojang.centre.host import Host
from dojang.centre.limits import Limits
from dojang.centre.metrics import Metrics
from dojang.centre.servers import check_server
from dojang.centre.sockets import listen
from dojang.centre.state import Centre
from dojang.centre.tls import TlsFiles
from dojang.errors import ExtraMissing, FileMalformed, Usage

from .conftest import ODD_REQUESTS, QUICK, Server, knock, rest, running

LARGE = bytes(48 << 20)
"""More than all buffers on the way can hold."""


def _large(_state) -> list[Route]:
    async def answer(_request) -> Response:
        return Response(LARGE)

    return [Route("/large", answer)]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """With narrow limits, and no limit on how often one comes."""
    with running(QUICK, doors=(_large,), server="granian") as running_server:
        yield running_server


def test_bodies_are_held_to_their_limit(server: Server) -> None:
    """1000 bytes of 1000 arrive; 413 for a header that says more, and for a body that grows longer."""
    assert server.ask("/echo", b"x" * 1000)[2] == b"x" * 1000
    with server.raw() as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    with server.raw() as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(30):
            connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert rest(connection).startswith(b"HTTP/1.1 413 ")


def test_who_is_slow_is_cut_off_and_others_are_served(server: Server) -> None:
    """A header that does not end however steadily it comes, a body that does not come (408), a connection without a
    request, one that is idle after an answer.
    """
    began = time.monotonic()
    with server.raw() as header, server.raw() as body, server.raw() as silent, server.raw() as idle:
        header.sendall(b"GET /echo HTTP/1.1\r\n")
        body.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx")
        idle.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(100):
                header.sendall(b"a: b\r\n")
                time.sleep(0.05)
        assert time.monotonic() - began < 4
        assert server.ask("/echo", b"others")[2] == b"others"
        assert rest(silent) == b""
        assert rest(idle).startswith(b"HTTP/1.1 200 ")
        assert rest(body).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 8


def test_who_does_not_take_an_answer_is_cut_off(server: Server) -> None:
    """After the time of a whole request, and counted; who takes it gets all of it."""
    assert server.ask("/large")[2] == LARGE
    with server.raw() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        deadline = time.monotonic() + 10
        while b'refused_connections_total{why="slow"} 2.0' not in server.state.metrics.page():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len(rest(connection)) < len(LARGE)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        *ODD_REQUESTS,
        (b"GET /echo HTTP/1.1\r\n" + b"a: " + b"b" * 100_000, b"431"),
        (b"\x16\x03\x01\x02\x00", b"400"),
    ],
)
def test_odd_requests_have_one_answer(server: Server, request_bytes: bytes, status: bytes) -> None:
    """And it comes at once; nobody is switched to another protocol."""
    with server.raw() as connection, contextlib.suppress(BrokenPipeError):
        connection.sendall(request_bytes)
        assert connection.recv(1000).split(b" ")[1] == status


def test_two_lengths_are_one_request_and_the_end_of_the_connection(server: Server) -> None:
    """Chunks count where a length is given too, and what follows them is never taken for a request (RFC 9112 6.3)."""
    with server.raw() as connection:
        head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"0\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = rest(connection)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer


def test_one_connection_too_many_waits_until_another_ends(server: Server) -> None:
    """The ninth of eight is let in when one of them closes."""
    open_ones = [server.connection() for _ in range(8)]
    for one in open_ones:
        one.request("GET", "/echo")
        assert one.getresponse().read() == b""
    with server.raw() as ninth:
        ninth.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        ninth.settimeout(0.15)
        with pytest.raises(TimeoutError):
            ninth.recv(100)
        for one in open_ones:
            one.close()
        ninth.settimeout(10)
        assert ninth.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_drain_finishes_what_is_under_way_and_lets_nobody_in(run_centre) -> None:
    """The request under way gets its answer; a new connection is refused; one that idles holds nobody up."""
    with run_centre(Limits(rate=0, drain_seconds=10), server="granian") as server, server.raw() as idle:
        under_way = server.connection()
        under_way.request("GET", "/work")
        idle.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        assert idle.recv(1000)
        assert server.at_work.acquire(timeout=10)
        server.host.stop()
        with pytest.raises(ConnectionRefusedError):
            knock(server)
        server.held.set()
        assert under_way.getresponse().read() == b"done"
        assert idle.recv(1000) == b""


def test_a_request_that_outlasts_the_drain_does_not_hold_up_the_end(run_centre) -> None:
    """It is told to come again."""
    with run_centre(Limits(rate=0, drain_seconds=1), server="granian") as server:
        under_way = server.connection()
        under_way.request("GET", "/work")
        assert server.at_work.acquire(timeout=10)
        server.host.stop()
        assert under_way.getresponse().status == 503


def test_one_that_ends_by_itself_ends_the_process() -> None:
    """With an error, so that whoever started it starts another; nobody goes on without listening."""
    limits, state = Limits(rate=0, drain_seconds=1), Centre({}, Metrics())
    with listen("127.0.0.1", 0)[0] as one, ThreadPoolExecutor(1) as pool:
        host = Host(Gate(Router(), limits, state.metrics), state, limits, Pulse({}), [one], server="granian")
        running_host = pool.submit(host.run, signals=False)
        assert host.started.wait(20)
        host._loop.call_soon_threadsafe(host._server._listeners[0].stop)
        with pytest.raises(RuntimeError, match="ended by itself"):
            running_host.result(20)


def test_who_asks_too_often_is_told_when_to_come_again(run_centre) -> None:
    """429 with Retry-After, by who asks: the address behind a trusted proxy is known as it is elsewhere."""
    limits = Limits(rate=0.01, burst=2, trusted_proxies=(ip_network("127.0.0.0/8"),))
    with run_centre(limits, server="granian") as server:
        mine, yours = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
        assert [server.ask("/echo", headers=mine)[0] for _ in range(3)] == [200, 200, 429]
        assert int(server.ask("/echo", headers=mine)[1]["retry-after"]) > 60
        assert server.ask("/echo", headers=yours)[1]["x-source"] == "192.0.2.2"


def _make(folder: Path, name: str, *algorithm: str) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", *algorithm, "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def test_tls_files_that_changed_are_used_after_a_reload(run_centre, tmp_path: Path) -> None:
    """The next connection sees the new certificate. Files that are broken, or of a kind that would abort granian,
    change nothing.
    """
    p256 = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    sources = [_make(tmp_path, name, *kind) for name, kind in (("old", p256), ("odd", ("ed448",)), ("new", p256))]
    old, odd, new = sources
    files = TlsFiles(tmp_path / "c.pem", tmp_path / "k.pem")

    def put(source: tuple[Path, Path]) -> None:
        files.certificate.write_bytes(source[0].read_bytes())
        files.key.write_bytes(source[1].read_bytes())

    def shown(port: int) -> str:
        return ssl.get_server_certificate(("127.0.0.1", port), timeout=10)

    def reload() -> None:
        before, deadline = server.host._reloading, time.monotonic() + 20
        server.host.reload()
        while server.host._reloading is before or not server.host._reloading.done():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    put(odd)
    with pytest.raises(FileMalformed, match="granian"), run_centre(Limits(rate=0), tls=files, server="granian"):
        pass
    put(old)
    with run_centre(Limits(rate=0), tls=files, server="granian") as server:
        trust = ssl.create_default_context(cafile=old[0])
        first = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=trust)
        first.request("GET", "/health")
        assert first.getresponse().read() == b"ok\n"
        first.close()
        for unusable in (odd, (old[0], new[1])):
            put(unusable)
            reload()
            assert shown(server.port) == old[0].read_text()
        put(new)
        reload()
        deadline = time.monotonic() + 20
        seen = ""
        while seen != new[0].read_text():  # the earlier threads may still be taking one, and cut it off
            assert time.monotonic() < deadline
            with contextlib.suppress(OSError):
                seen = shown(server.port)


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return TlsFiles(*_make(tmp_path, "files", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"))


def test_an_end_that_comes_in_the_middle_of_a_reload_lets_nobody_in(run_centre, files, monkeypatch) -> None:
    """What listens anew by then goes, too, while what is under way is still waited for."""
    begin = Listener.begin

    async def begin_at_the_end(listener: Listener) -> None:
        await begin(listener)
        server.host._server.end()
        await asyncio.sleep(0.3)

    with run_centre(Limits(rate=0, drain_seconds=10), server="granian") as server:
        under_way = server.connection()
        under_way.request("GET", "/work")
        assert server.at_work.acquire(timeout=10)
        monkeypatch.setattr(Listener, "begin", begin_at_the_end)
        asyncio.run_coroutine_threadsafe(server.host._server.use_tls(files), server.host._loop).result(20)
        with pytest.raises(ConnectionRefusedError):
            knock(server)
        server.held.set()
        assert under_way.getresponse().read() == b"done"


def test_a_reload_that_fails_half_way_changes_nothing(run_centre, files, monkeypatch) -> None:
    """Where one of several sockets cannot be listened on anew, all go on with what they had."""
    begin, failing = Listener.begin, []

    async def fail_after_beginning(listener: Listener) -> None:
        await begin(listener)
        failing.append(listener)
        raise RuntimeError("no")

    with run_centre(Limits(rate=0), server="granian") as server:
        monkeypatch.setattr(Listener, "begin", fail_after_beginning)
        with pytest.raises(RuntimeError):
            asyncio.run_coroutine_threadsafe(server.host._server.use_tls(files), server.host._loop).result(20)
        (failed,) = failing
        deadline = time.monotonic() + 20
        while not failed.has_ended:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert server.ask("/echo", b"plain")[2] == b"plain"


def test_what_granian_cannot_keep_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers' certificates, which it does not hand on; and itself where it is not installed, with what to install."""
    files = TlsFiles(tmp_path / "c.pem", tmp_path / "k.pem")
    check_server("granian", files)
    with pytest.raises(Usage, match="--client-ca needs --server uvicorn"):
        check_server("granian", TlsFiles(files.certificate, files.key, client_ca=tmp_path / "ca.pem"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExtraMissing) as caught:
        check_server("granian", None)
    assert "dojang[granian]" in caught.value.advice()
