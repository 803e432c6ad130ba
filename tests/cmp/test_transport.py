"""Carrying messages over HTTP: what comes back, what does not, and what is never believed."""

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tests.cmp.own_server import self_signed
from tests.x509.web import Web, answering, send, web_server

from dojang.cmp.transport import MEDIA_TYPE, HttpTransport
from dojang.cmp.urls import Target, is_url
from dojang.errors import AuthorityRefused, AuthorityUnreachable, AuthorityUntrusted, DojangError, InvalidSetting, Usage


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as web:
        yield web


def _cmp(content: bytes, status: int = 200, **headers: str):
    return answering(content, status, Content_Type=MEDIA_TYPE, **headers)


def _post(url: str, **options: object) -> bytes:
    with HttpTransport(url, **{"seconds": 5, **options}) as transport:
        return transport.post(b"question")


def test_a_message_and_its_answer(web: Web) -> None:
    """The message arrives as it is, as CMP, and the body of the answer comes back."""
    seen = {}

    def page(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        seen.update(body=body, kind=handler.headers["Content-Type"])
        send(handler, b"answer", Content_Type=f"{MEDIA_TYPE}; charset=none")

    assert _post(web.put("/pkix", page)) == b"answer"
    assert seen == {"body": b"question", "kind": "application/pkixcmp"}


def test_a_url_without_a_path_means_the_registered_one(web: Web) -> None:
    """As RFC 9811 has it."""
    web.put("/.well-known/cmp", _cmp(b"answer"))
    assert _post(web.base) == _post(web.base + "/") == b"answer"


def test_a_refusal_that_speaks_cmp_is_an_answer(web: Web) -> None:
    """An error message comes back whatever the status of HTTP says of it."""
    assert _post(web.put("/cmp", _cmp(b"error", 400))) == b"error"


@pytest.mark.parametrize(
    ("page", "leaf", "words"),
    [
        (answering(b"<html>", Content_Type="text/html"), AuthorityRefused, "which is not CMP"),
        (answering(b"", 404), AuthorityRefused, "HTTP status 404"),
        (answering(b"", 401), AuthorityRefused, "HTTP status 401"),
        (_cmp(b"x" * 5000), AuthorityRefused, "larger than 4096 bytes"),
        (answering(b"", 302, Location="http://127.0.0.1:1/x"), AuthorityRefused, "it sends elsewhere, to http://127"),
        (answering(b"", 307, Location="/\x1b[2Jcmp"), AuthorityRefused, "it sends elsewhere, to /[2Jcmp"),
        (answering(b"", 503), AuthorityUnreachable, "HTTP status 503"),
        (answering(b"", 429), AuthorityUnreachable, "HTTP status 429"),
        (_cmp(b"half", Content_Length="400"), AuthorityUnreachable, "cut short"),
    ],
)
def test_what_is_no_answer(web: Web, page, leaf: type[DojangError], words: str) -> None:
    """Each is told apart: what will never work, and what may work later."""
    with pytest.raises(leaf) as caught:
        _post(web.put("/cmp", page), most_bytes=4096)
    assert words in str(caught.value)
    assert caught.value.facts.get("sent", True)


def test_nobody_there() -> None:
    """Nothing was sent, and that is said."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(AuthorityUnreachable) as caught:
        _post(f"http://127.0.0.1:{port}/cmp")
    assert caught.value.facts["sent"] is False
    assert caught.value.exit_status == 11


def test_an_answer_drop_by_drop(web: Web) -> None:
    """However it is dragged out, the exchange ends in its time."""

    def drip(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", MEDIA_TYPE)
        handler.end_headers()
        while not web.over.wait(0.05):
            handler.wfile.write(b"x")

    began = time.monotonic()
    with pytest.raises(AuthorityUnreachable, match=r"did not answer within 0\.5 seconds"):
        _post(web.put("/cmp", drip), seconds=0.5)
    assert time.monotonic() - began < 5


def test_a_connection_that_is_cut(web: Web) -> None:
    """No answer, and the message may have been read."""

    def cut(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.connection.shutdown(socket.SHUT_RDWR)

    with pytest.raises(AuthorityUnreachable, match="closed the connection") as caught:
        _post(web.put("/cmp", cut))
    assert caught.value.facts["sent"] is True
    assert web.asked == ["/cmp"]


def test_one_connection_for_a_conversation() -> None:
    """The second message goes the way of the first; where that was closed meanwhile, over a new one."""
    connections = []

    def serve(listener: socket.socket) -> None:
        for asked in (2, 1):  # and then hangs up
            wire, _ = listener.accept()
            connections.append(wire)
            with wire:
                for _ in range(asked):
                    while b"question" not in wire.recv(65536):
                        pass
                    kind = f"HTTP/1.1 200 OK\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: 6\r\n\r\n"
                    wire.sendall(kind.encode() + b"answer")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        with HttpTransport(f"http://127.0.0.1:{listener.getsockname()[1]}/cmp", seconds=5) as transport:
            answers = [transport.post(b"question") for _ in range(3)]
        server.join()
    assert answers == [b"answer"] * 3
    assert len(connections) == 2


def test_tls_is_checked(tmp_path: Path) -> None:
    """A server whose certificate nobody trusts is not spoken to; the file with its authority makes it trusted."""
    context, certificate = self_signed(tmp_path)
    with web_server(context) as web:
        url = web.put("/cmp", _cmp(b"answer"))
        with pytest.raises(AuthorityUntrusted) as caught:
            _post(url)
        assert caught.value.exit_status == 13
        assert web.asked == []
        assert _post(url, tls_certificates=certificate) == b"answer"
        with pytest.raises(InvalidSetting):
            _post(url, tls_certificates=tmp_path / "tls.key")


def test_the_environments_proxy(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is given the whole URL and its own password, and the host that needs none is asked itself."""
    seen = {}

    def page(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        seen.update(path=handler.path, word=handler.headers["Proxy-Authorization"])
        send(handler, b"answer", Content_Type=MEDIA_TYPE)

    web.pages["http://authority.invalid/cmp"] = page
    monkeypatch.setenv("http_proxy", web.base.replace("//", "//me:word@"))
    assert _post("http://authority.invalid/cmp") == b"answer"
    assert seen == {"path": "http://authority.invalid/cmp", "word": "Basic bWU6d29yZA=="}
    assert _post(web.put("/cmp", _cmp(b"direct"))) == b"direct"


@pytest.mark.parametrize(
    "url",
    ["ftp://host/x", "https://", "host/x", "https://user:word@host/", "https://host:99999/", "http://ho st/", "http:x"],
)
def test_what_is_no_url(url: str) -> None:
    """Only http and https, a host, and no password."""
    with pytest.raises(Usage) as caught:
        HttpTransport(url)
    assert "word" not in str(caught.value)


def test_what_a_url_says() -> None:
    """Host, port and path; people are told the host, with its port where that is unusual."""
    assert Target.from_url("https://ca.example/cmp?x=1") == ("https", "ca.example", 443, "/cmp?x=1")
    assert [Target.from_url(one).name for one in ("http://ca.example:8080/", "http://[::1]:80/")] == [
        "ca.example:8080",
        "[::1]",
    ]
    assert [is_url(one) for one in ("HTTPS://x", "http://x", "office", "http", "npki:")] == [True, True] + [False] * 3
