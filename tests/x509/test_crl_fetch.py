"""Fetching over HTTP: whatever a server does, the answer comes whole and in time, or a phrase says why not."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.x509.issuer import Issuer
from tests.x509.web import Web, answering, direct, send, web_server

from dojang.x509.fetching import MOST_REDIRECTS, NotFetched, fetch

LIMIT = 1 << 16


@pytest.fixture
def secure_web(tmp_path: Path) -> Iterator[tuple[Web, Path]]:
    """A server with a certificate of its own, and the file that trusts it."""
    issuer, key = Issuer(), ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False
    own = issuer.sign(key.public_key(), "Server", [names])
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "server.pem").write_bytes(own.public_bytes(Encoding.PEM) + plain)
    (tmp_path / "root.pem").write_bytes(issuer.certificate.public_bytes(Encoding.PEM))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server.pem")
    with web_server(tls) as web:
        yield web, tmp_path / "root.pem"


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as web:
        yield web


def why_not(url: str, **options) -> str:
    with pytest.raises(NotFetched) as caught:
        fetch(url, **{"at_most": LIMIT, "seconds": 9, **options})
    return str(caught.value.phrase)


def test_what_lies_there_is_fetched(web: Web) -> None:
    """A page of exactly the limit; one that does not say its length; one that wants something sent."""
    content = bytes(range(256)) * (LIMIT // 256)
    assert fetch(web.put("/all", content), at_most=LIMIT, seconds=9) == content

    def endless(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(content)
        handler.close_connection = True

    assert fetch(web.put("/until-closed", endless), at_most=LIMIT, seconds=9) == content

    def echo(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        send(handler, handler.command.encode() + body + handler.headers["Content-Type"].encode())

    assert fetch(web.put("/echo", echo), at_most=LIMIT, seconds=9, body=b"ask", body_type="a/b") == b"POSTaska/b"


def test_a_redirect_is_followed_with_what_was_sent(web: Web) -> None:
    """To another page, relative or not; the body goes along, and what comes with the redirect is not read."""

    def away(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.send_response(302)
        handler.send_header("Location", "echo")
        handler.end_headers()
        while not web.over.is_set():  # a body that never ends
            handler.wfile.write(bytes(LIMIT))

    web.put("/a/echo", lambda handler, body: send(handler, body))
    assert fetch(web.put("/a/away", away), at_most=LIMIT, seconds=9, body=b"ask", body_type="a/b") == b"ask"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/loop", "without end"),
        ("file:///etc/passwd", "http:"),
        ("ftp://127.0.0.1/", "http:"),
        ("ldap://127.0.0.1/", "LDAP"),
        ("http://[", "cannot be reached"),
    ],
)
def test_a_redirect_that_leads_nowhere(web: Web, target: str, said: str) -> None:
    """Circles end, and nothing but HTTP is ever opened."""
    url = web.put("/loop", answering(b"", 301, Location=target))
    assert said in why_not(url)
    assert len(web.asked) == (MOST_REDIRECTS + 1 if target == "/loop" else 1)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ldap://ds.yessign.or.kr:389/ou=dp4p1,o=yessign,c=kr?certificateRevocationList", "--crl"),
        ("LDAPS://x/", "--crl"),
        ("file:///etc/passwd", "http:"),
        ("data:,x", "http:"),
        ("http:///path", "http:"),
        ("nonsense", "http:"),
        ("", "http:"),
        ("http://127.0.0.1:1/", "cannot be reached"),
        ("http://127.0.0.1:99999/", "cannot be reached"),
        ("http://127.0.0.1/\r\nHost: other", "cannot be reached"),
        ("http://127.0.0.1:1/가", "cannot be reached"),
    ],
)
def test_addresses_that_are_not_fetched_from(url: str, said: str) -> None:
    """Other schemes, no host, nobody there, control characters: a phrase each, never a traceback."""
    assert said in why_not(url)


def _truncated(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"x" * 999)
    handler.close_connection = True


def _bad_chunks(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"ffffff\r\nshort")
    handler.close_connection = True


def _no_http(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
    handler.wfile.write(b"220 mail.example.kr\r\n")
    handler.close_connection = True


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (answering(b"x" * (LIMIT + 1)), f"larger than {LIMIT}"),
        (answering(b"", Content_Length="99999999999999"), "cut short"),
        (answering(b"gone", 404), "status 404"),
        (answering(b"", 204), "status 204"),
        (_truncated, "cut short"),
        (_bad_chunks, "cannot be reached"),
        (_no_http, "cannot be reached"),
    ],
)
def test_answers_that_are_none(web: Web, page, said: str) -> None:
    """Too long, absent, cut short, no HTTP at all."""
    assert said in why_not(web.put("/page", page), seconds=2)


@pytest.mark.parametrize("part", ["nothing", "headers", "body", "body until closed", "redirect"])
def test_a_slow_server_is_given_up_in_time(web: Web, part: str) -> None:
    """Silent, or a byte at a time in headers or body: the limit is for the whole of it."""

    def slow(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        length = b"" if part == "body until closed" else b"Content-Length: 1000\r\n"
        if part.startswith("body"):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")
        if part == "headers":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not web.over.wait(0.05):
            if part != "nothing":
                handler.wfile.write(b"x")

    url = web.put("/slow", slow)
    if part == "redirect":
        url = web.put("/away", answering(b"", 302, Location=url))
    begun = time.monotonic()
    assert "within 0.4 seconds" in why_not(url, seconds=0.4)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("dead", [0, 40], ids=["a silent name server", "many dead addresses"])
def test_what_comes_before_a_connection_is_part_of_the_time(dead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name server's answer, and every address it gives."""
    over, real = threading.Event(), socket.getaddrinfo
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as held:

        def looked_up(*words, **named):
            if not dead:
                over.wait(20)
            return real("127.0.0.1", full.getsockname()[1], type=socket.SOCK_STREAM) * dead

        for _ in range(2):  # nobody accepts these, so there is no room for more
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", looked_up)
        begun = time.monotonic()
        with direct():
            assert "within 0.2 seconds" in why_not("http://127.0.0.1/", seconds=0.2)
        assert time.monotonic() - begun < 3
        over.set()


def test_https_is_checked(secure_web: tuple[Web, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fetched from a server whose certificate is not trusted; from one that is, in time as well."""
    web, root = secure_web
    url = web.put("/list", b"content")
    assert "certificate verify failed" in why_not(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(root))
    assert fetch(url, at_most=LIMIT, seconds=9) == b"content"

    def slow(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not web.over.wait(0.05):
            handler.wfile.write(b"x")

    assert "within 0.4 seconds" in why_not(web.put("/slow", slow), seconds=0.4)


def test_a_proxy_is_used_where_the_environment_names_one(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """As companies have them: the proxy is asked for the whole address."""
    web.put("http://list.example.kr/ca.crl", b"by the proxy")
    monkeypatch.setenv("http_proxy", web.base)
    assert fetch("http://list.example.kr/ca.crl", at_most=LIMIT, seconds=9) == b"by the proxy"
