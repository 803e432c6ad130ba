"""What becomes of every request: its answer when something fails, its line in the log, its place in the counts."""

import http.client
import io
import json
import logging
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dojang.centre.backdoor import BackDoor
from dojang.centre.health import Readiness
from dojang.centre.limits import Limits
from dojang.centre.logs import Log, redacted, tell
from dojang.centre.metrics import FOLDER_VARIABLE
from dojang.centre.sockets import address_of, listen, read_address
from dojang.centre.tls import TlsFiles
from dojang.errors import CannotListen, FileMalformed, FileUnreadable, Usage

from .conftest import Server, knock


def test_what_is_missing_is_404_with_advice(server: Server):
    """A problem document with the code that scripts know, and what to do next."""
    status, problem = server.problem("/fail/missing")
    assert (status, problem["status"], problem["code"]) == (404, 404, "not-found")
    assert "dojang ca list" in problem["next"]


def test_what_may_succeed_later_is_503(server: Server):
    """With Retry-After, and without telling a stranger what is wrong behind."""
    status, headers, body = server.ask("/fail/away")
    assert (status, headers["retry-after"]) == (503, "5")
    assert json.loads(body) == {
        "type": "about:blank",
        "title": "Not available just now",
        "status": 503,
        "code": "authority-unreachable",
    }


def test_a_mistake_of_ours_is_500_and_names_itself_by_a_number(server: Server):
    """The number stands in the log beside the traceback; the caller learns nothing else."""
    status, problem = server.problem("/fail/bug")
    assert status == 500
    assert set(problem) == {"type", "title", "status", "request"}


def test_an_unknown_path_or_method_does_no_harm(server: Server):
    """404 and 405, as problem documents like every other refusal; 405 says what is taken."""
    for path, body, status in (("/nothing", None, 404), ("/fail/missing", b"x", 405)):
        found, headers, problem = server.ask(path, body)
        assert (found, headers["content-type"], json.loads(problem)["status"]) == (
            status,
            "application/problem+json",
            status,
        )
        assert ("GET" in headers.get("allow", "")) is (status == 405)


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 100, b"GET  \r\n\r\n"])
def test_what_is_not_http_is_400(server: Server, junk):
    """And the connection ends."""
    with server.raw() as connection:
        connection.sendall(junk)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_each_request_has_one_line_and_no_line_has_a_secret(server: Server):
    """Identifier, method, path, status, duration, source and transaction; neither body nor query nor what fails."""
    written = io.StringIO()
    with Log(stream=written):
        _status, headers, _body = server.ask("/echo?code=SECRET-IN-A-QUERY", b"SECRET-IN-A-BODY", {"X-A": "SECRET"})
        server.ask("/fail/bug")
        server.ask("/fail/away")
        tell("opened", address="https://a.example/x?code=SECRET", note='{"pin": "SECRET", "so_pin":"SECRET"}')
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    request = next(line for line in lines if line.get("path") == "/echo")
    assert request["request"] == headers["x-request-id"]
    assert (request["method"], request["status"], request["source"]) == ("POST", 200, "127.0.0.1")
    assert request["transaction"] == "t-1"
    assert request["seconds"] < 5
    assert sum(line["event"] == "request" for line in lines) == 3
    assert any("RuntimeError" in line.get("traceback", "") for line in lines)
    assert "SECRET" not in written.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:token=A?pin-value=SECRET",
        "pin=SECRET&x=1",
        'password: "SECRET with blanks"',
        "Authorization: SECRET",
        "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----\nSECRET",
        "http://h/p?q=SECRET",
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text):
    """Whoever wrote it into a log."""
    assert "SECRET" not in redacted(f"before {text} ")


def test_a_log_that_nobody_reads_holds_nobody_up():
    """Lines beyond the room for waiting ones are dropped, counted, and told of."""
    held, written = threading.Event(), []

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            held.wait(20)
            written.extend(text.splitlines())
            return len(text)

    with Log(stream=Stuck()):
        for number in range(12_000):
            logging.getLogger("any").info("line %d", number)
        held.set()
    assert any('"lines dropped"' in line for line in written)
    assert 10_000 <= len([line for line in written if "line " in line]) < 12_000


def test_the_log_gives_back_what_was_there_before():
    """A program that uses the centre keeps its own handlers."""
    before = logging.getLogger().handlers[:], logging.getLogger().level
    with Log(stream=io.StringIO()):
        assert logging.getLogger().handlers != before[0]
    assert (logging.getLogger().handlers, logging.getLogger().level) == before


def test_requests_are_counted_by_door_and_status(run_centre):
    """And timed; a request that no door answers counts as nobody's."""
    with run_centre(Limits(rate=0)) as server:
        assert server.ask("/ready")[0] == 200
        server.ask("/nothing")
        page = server.state.metrics.page().decode()
    assert 'dojang_requests_total{door="health",status="200"} 1.0' in page
    assert 'dojang_requests_total{door="none",status="404"} 1.0' in page
    assert 'dojang_request_seconds_count{door="health"} 1.0' in page


def test_several_processes_count_together(tmp_path, monkeypatch):
    """What two processes counted is added up, also after one has died; what the dead one had under way is not."""
    program = (
        "from dojang.centre.metrics import Metrics; import os\n"
        "m = Metrics(); m.issued('a', 'personal'); m.answered('cmp', 200, 0.1); m.under_way(3); print(os.getpid())"
    )
    environment = {FOLDER_VARIABLE: str(tmp_path), "PATH": "/usr/bin"}
    pids = [
        int(subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True).stdout)
        for _ in range(2)
    ]
    program = (
        "import sys; from dojang.centre.metrics import forget_process, page_of\n"
        "forget_process(int(sys.argv[1])); sys.stdout.buffer.write(page_of())"
    )
    page = subprocess.run(
        [sys.executable, "-c", program, str(pids[0])], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert 'dojang_certificates_total{authority="a",profile="personal"} 2.0' in page
    assert 'dojang_requests_total{door="cmp",status="200"} 2.0' in page
    assert "dojang_work_under_way 3.0" in page


def test_readiness_follows_what_the_checks_find(run_centre):
    """Not ready while something is away, ready when it is back, without a restart; alive all the while."""
    away = [True]

    def check() -> None:
        if away[0]:
            raise CannotListen(address="a", problem="b")

    with run_centre(Limits(rate=0), checks={"database": check}) as server:
        assert server.pulse.readiness() == Readiness(ok=False, problems={"database": "cannot-listen"})
        assert server.ask("/ready")[0] == 503
        assert server.ask("/health")[0] == 200
        away[0] = False
        _until(lambda: server.ask("/ready")[0] == 200)


def test_a_check_that_hangs_is_an_answer_too(run_centre, monkeypatch):
    """A finding that is old says no."""
    hang = threading.Event()
    monkeypatch.setattr("dojang.centre.health.OLD", 0.2)
    with run_centre(Limits(rate=0)) as server:
        server.pulse._checks = {"hsm": lambda: hang.wait(20) and None}
        _until(lambda: server.pulse.readiness().problems == {"centre": "no-answer"})
        hang.set()
        _until(lambda: server.pulse.readiness().ok)


def test_a_drain_says_not_ready_finishes_what_is_under_way_and_ends(run_centre):
    """While it drains a new connection hears that the centre is not ready; the request under way gets its answer."""
    with run_centre(Limits(rate=0, notice_seconds=0.5, drain_seconds=10)) as server:
        under_way = server.connection()
        under_way.request("GET", "/work")
        assert server.at_work.acquire(timeout=10)
        server.host.stop()
        _until(lambda: not server.pulse.readiness().ok)
        assert server.ask("/ready")[0] == 503
        time.sleep(0.7)
        with pytest.raises(ConnectionRefusedError):
            knock(server)
        server.held.set()
        assert under_way.getresponse().read() == b"done"


def test_a_request_that_outlasts_the_drain_does_not_hold_up_the_end(run_centre):
    """It is told to come again."""
    with run_centre(Limits(rate=0, drain_seconds=1)) as server:
        under_way = server.connection()
        under_way.request("GET", "/work")
        assert server.at_work.acquire(timeout=10)
        server.host.stop()
        assert under_way.getresponse().status == 503


def test_the_back_door_gives_reasons_and_counts(run_centre):
    """On a listener of its own: metrics, health, readiness with what is wrong; nothing else."""
    with run_centre(Limits(rate=0), checks={"hsm": lambda: 1 / 0 and None}) as server:
        (listener,) = listen("127.0.0.1", 0)
        host, port = listener.getsockname()
        with BackDoor(listener, alive=server.host.alive, ready=server.pulse.readiness, page=server.state.metrics.page):

            def ask(path: str) -> tuple[int, bytes]:
                connection = http.client.HTTPConnection(host, port, timeout=10)
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read()

            assert ask("/health") == (200, b'{"ok": true, "problems": {}}\n')
            assert ask("/ready") == (503, b'{"ok": false, "problems": {"hsm": "ZeroDivisionError"}}\n')
            assert ask("/metrics")[0] == 200
            assert ask("/echo")[0] == 404


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory):
    """Certificates of OpenSSL's making: ``tls(name)`` gives certificate and key, self-signed."""
    folder = tmp_path_factory.mktemp("tls")

    def make(name: str) -> tuple[Path, Path]:
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        if not certificate.exists():
            command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
            extensions = ["-addext", "subjectAltName=IP:127.0.0.1"]
            subprocess.run(
                [*command.split(), "-subj", f"/CN={name}", "-keyout", key, "-out", certificate, *extensions],
                check=True,
                capture_output=True,
            )
        return certificate, key

    return make


def _shown(port: int) -> bytes:
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))


def test_a_reload_asked_for_during_another_is_not_lost(run_centre):
    """What the first has read may be what stood there before; asked for several times meanwhile, once is enough."""
    begun, may_end, times = threading.Event(), threading.Event(), []

    def read() -> None:
        times.append(1)
        begun.set()
        assert may_end.wait(20)

    with run_centre(Limits(rate=0)) as server:
        server.host.on_reload = read
        server.host.reload()
        assert begun.wait(20)
        server.host.reload()
        server.host.reload()
        _until(lambda: server.host._is_stale)
        may_end.set()
        _until(lambda: server.host._reloading.done())
        assert len(times) == 2


def test_tls_files_that_changed_are_used_after_a_reload(run_centre, tls, tmp_path):
    """A connection that is open goes on; the next one sees the new certificate. A broken file changes nothing."""
    (old, old_key), (new, new_key) = tls("old"), tls("new")
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    certificate.write_bytes(old.read_bytes())
    key.write_bytes(old_key.read_bytes())
    trust = ssl.create_default_context(cafile=old)
    with run_centre(Limits(rate=0), tls=TlsFiles(certificate, key)) as server:
        open_one = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=trust)
        open_one.request("GET", "/health")
        assert open_one.getresponse().read() == b"ok\n"
        certificate.write_text("nothing")
        server.host.reload()
        assert _shown(server.port) == ssl.PEM_cert_to_DER_cert(old.read_text())
        certificate.write_bytes(new.read_bytes())
        key.write_bytes(new_key.read_bytes())
        server.host.reload()
        _until(lambda: _shown(server.port) == ssl.PEM_cert_to_DER_cert(new.read_text()))
        open_one.request("GET", "/health")
        assert open_one.getresponse().read() == b"ok\n"


def test_a_caller_may_show_a_certificate_and_a_stranger_may_not(run_centre, tls):
    """Without one he is served; with one that nobody trusts the handshake fails; where one is required, without too."""
    server_files, (known, known_key), (strange, strange_key) = tls("server"), tls("known"), tls("strange")

    def ask(server: Server, *shown: Path) -> int:
        context = ssl.create_default_context(cafile=server_files[0])
        if shown:
            context.load_cert_chain(*shown)
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=context)
        connection.request("GET", "/health")
        return connection.getresponse().status

    with run_centre(Limits(rate=0), tls=TlsFiles(*server_files, client_ca=known)) as server:
        assert ask(server) == ask(server, known, known_key) == 200
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(server, strange, strange_key)
    with (
        run_centre(Limits(rate=0), tls=TlsFiles(*server_files, client_ca=known, client_required=True)) as server,
        pytest.raises((OSError, http.client.HTTPException)),
    ):
        ask(server)


def test_tls_files_that_do_not_fit_are_refused_by_name(tls, tmp_path):
    """A missing file, a file of something else, a key of another certificate."""
    (certificate, key), (_other, other_key) = tls("server"), tls("known")
    with pytest.raises(FileUnreadable):
        TlsFiles(certificate, tmp_path / "missing").context()
    with pytest.raises(FileMalformed):
        TlsFiles(key, key).context()
    with pytest.raises(FileMalformed):
        TlsFiles(certificate, other_key).context()


def test_an_address_is_read_or_refused():
    """HOST:PORT, IPv6 in brackets, a port alone; one that is in use says so."""
    assert read_address("127.0.0.1:80") == ("127.0.0.1", 80)
    assert read_address("[::1]:443") == ("::1", 443)
    assert read_address(":8080") == ("", 8080)
    for wrong in ("80", "a:b", "::1:80", "h:99999", ""):
        with pytest.raises(Usage):
            read_address(wrong)
    (one,) = listen("127.0.0.1", 0)
    with one, pytest.raises(CannotListen, match=r"in use"):
        listen("127.0.0.1", int(address_of(one).rpartition(":")[2]))


def _until(holds) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
