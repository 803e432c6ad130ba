"""A gateway whose requests are templates: what it gets, what counts as taken, and where nothing goes any further."""

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.otp.messages.conftest import CODE, Gateway, Tls, gateway_server, message_to, secret_file, wire

from dojang.errors import MessageUnsent
from dojang.otp.messages.posting import MOST_BYTES
from dojang.otp.messages.senders.gateway import pointed
from dojang.otp.messages.sending import Sender, sender_from

HONG = message_to("sms", "010-1234-5678")
FIELDS = {"to": "{to}", "text": "{text}"}


def sender(folder: Path, url: str, **more: Any) -> Sender:
    """As an authority's settings describe it."""
    table = {"kind": "https", "url": f"{url}/send?v=2", "fields": FIELDS, "seconds": 5, **more}
    return sender_from(table, "sms", folder, is_test=False)


def problem(found: Sender, message: Any = HONG) -> str:
    """Why it was not sent; never with the number, the code or a secret."""
    with pytest.raises(MessageUnsent) as unsent:
        found.send(message)
    shown = f"{unsent.value} {unsent.value.facts}"
    for secret in ("12345678", CODE, "s3cret"):
        assert secret not in shown
    return str(unsent.value.facts["problem"])


@pytest.fixture(scope="module")
def web() -> Any:
    with gateway_server() as server:
        yield server


@pytest.fixture
def gateway(web: Gateway) -> Gateway:
    """As new."""
    fresh = Gateway()
    web.status, web.headers, web.body = fresh.status, fresh.headers, fresh.body
    web.posted.clear()
    return web


def test_a_message_in_json(tmp_path: Path, gateway: Gateway) -> None:
    """Fields as deep as the gateway wants them, numbers as numbers, secrets from where they are."""
    fields = {
        "from": "0212345678",
        "priority": 1,
        "trace": {"id": "{id}", "kinds": ["{purpose}", "{language}", True]},
        "messages": [{"to": "{to-national}", "e164": "{to}", "text": "{text}", "only": "<{code}>"}],
        "account": "{secret.account}",
    }
    secrets = {
        "token": secret_file(tmp_path, "token", "s3cret"),
        "account": secret_file(tmp_path, "account", 'q"uo{to}te'),
    }
    headers = {"Authorization": "Bearer {secret.token}", "X-Request-Id": "{id}"}
    sender(tmp_path, gateway.url, fields=fields, secrets=secrets, headers=headers).send(HONG)
    (posted,) = gateway.posted
    assert (posted.method, posted.path) == ("POST", "/send?v=2")
    assert posted.headers["Authorization"] == "Bearer s3cret"
    assert posted.headers["X-Request-Id"] == HONG.id
    assert posted.headers["Content-Type"] == "application/json"
    assert posted.json == {
        "from": "0212345678",
        "priority": 1,
        "trace": {"id": HONG.id, "kinds": ["issue", "ko", True]},
        "messages": [{"to": "01012345678", "e164": "+821012345678", "text": HONG.text, "only": f"<{CODE}>"}],
        "account": 'q"uo{to}te',  # what a placeholder brings is no template
    }


def test_a_message_as_a_form(tmp_path: Path, gateway: Gateway) -> None:
    """With HTTP's own login."""
    source = secret_file(tmp_path, "password", "s3cret")
    found = sender(tmp_path, gateway.url, form="form", method="PUT", user="u", **{"password-source": source})
    found.send(HONG)
    (posted,) = gateway.posted
    assert posted.method == "PUT"
    assert posted.headers["Authorization"] == "Basic dTpzM2NyZXQ="
    assert posted.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qs(posted.body.decode()) == {"to": ["+821012345678"], "text": [HONG.text]}


@given(name=st.text(max_size=30))
def test_no_text_breaks_out_of_its_field(name: str) -> None:
    """Whatever an authority is called, the body is JSON, and has the fields of the template and no other."""
    message = message_to("sms", "010-1234-5678", name)
    folder = Path("/nowhere")
    found = sender(folder, "http://localhost:1")
    body = found.body(message, {})  # type: ignore[attr-defined]
    assert json.loads(body) == {"to": "+821012345678", "text": message.text}


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 404, 429, 500, 503])
def test_what_does_not_mean_that_it_was_taken(tmp_path: Path, gateway: Gateway, status: int) -> None:
    """Any status but 2xx; a redirection is not followed, wherever it leads."""
    gateway.status = status
    gateway.headers = {"Location": f"{gateway.url}/elsewhere"}
    assert problem(sender(tmp_path, gateway.url)) == f"it answered with HTTP status {status}"
    assert len(gateway.posted) == 1


def test_the_statuses_that_the_settings_name(tmp_path: Path, gateway: Gateway) -> None:
    """And none beside them."""
    found = sender(tmp_path, gateway.url, success=[202, 302])
    assert problem(found) == "it answered with HTTP status 200"
    gateway.status = 302
    found.send(HONG)


def test_what_its_answer_must_say(tmp_path: Path, gateway: Gateway) -> None:
    """A value in its JSON, of the same kind; an answer of another form is none."""
    said = {"pointer": "/result/code", "equals": "0000"}
    sender(tmp_path, gateway.url, **said).send(HONG)
    sender(tmp_path, gateway.url, pointer="/result/ids/0", equals="a/b").send(HONG)
    says_no = "its answer says that it did not take the message"
    assert problem(sender(tmp_path, gateway.url, pointer="/result/code", equals=0)) == says_no
    for body in (b"", b"[", b'{"result": {}}', b'{"result": []}', b"[" * 20_000, b'"result"', b"\xff"):
        gateway.body = body
        assert problem(sender(tmp_path, gateway.url, **said)) == "its answer is not in the form that the settings say"
    gateway.body = b'{"ok": 1}'
    assert problem(sender(tmp_path, gateway.url, pointer="/ok", equals=True)) == says_no


def test_json_pointers() -> None:
    """As RFC 6901 section 5 has them."""
    document = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "m~n": 8, " ": 7}
    told = {"": document, "/foo/0": "bar", "/": 0, "/a~1b": 1, "/c%d": 2, "/m~0n": 8, "/ ": 7}
    assert {pointer: pointed(document, pointer) for pointer in told} == told
    for pointer in ("/foo/2", "/foo/-", "/foo/x", "/no", "/a~1b/x"):
        with pytest.raises(LookupError):
            pointed(document, pointer)


def test_a_long_answer_is_none(tmp_path: Path, gateway: Gateway) -> None:
    """No gateway fills the memory."""
    gateway.body = b" " * (MOST_BYTES + 1)
    assert problem(sender(tmp_path, gateway.url)) == "its answer is too long"


def test_tls_is_checked(tmp_path: Path, tls: Tls) -> None:
    """A certificate from an authority that is not trusted, or for another name, gets nothing."""
    with gateway_server(tls) as gateway:
        trusted = {"ca-certificate": str(tls.trust)}
        sender(tmp_path, gateway.url, **trusted).send(HONG)
        assert problem(sender(tmp_path, gateway.url)).startswith("its certificate is not trusted")
        other = gateway.url.replace("localhost", "127.0.0.1")
        assert problem(sender(tmp_path, other, **trusted)).startswith("its certificate is not trusted")
        assert len(gateway.posted) == 1
        plain = gateway.url.replace("https", "http")
        assert "whether the message arrived is unknown" in problem(sender(tmp_path, plain))


def test_a_gateway_that_is_not_there(tmp_path: Path) -> None:
    """Then it is certain that nothing arrived."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert "cannot be reached" in problem(sender(tmp_path, f"http://localhost:{unused.getsockname()[1]}"))


def dripping(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not over.wait(0.1):
        connection.sendall(b" ")


def silent(_connection: socket.socket, over: threading.Event) -> None:
    over.wait(20)


@pytest.mark.parametrize("talk", [silent, dripping])
def test_a_gateway_that_keeps_one_waiting(tmp_path: Path, talk: Any) -> None:
    """It ends in the time that the settings give it, and is not asked again."""
    with wire(talk) as met:
        began = time.monotonic()
        said = problem(sender(tmp_path, f"http://127.0.0.1:{met.port}", seconds=1))
        assert time.monotonic() - began < 4
    assert said == "it did not answer in time; whether the message arrived is unknown"
    assert len(met.met) == 1


@pytest.mark.parametrize(
    "answer", [b"", b"220 smtp here\r\n", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000]
)
def test_a_gateway_that_breaks_off(tmp_path: Path, answer: bytes) -> None:
    """Nobody knows whether it took the message: it is not asked again."""

    def talk(connection: socket.socket, _over: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with wire(talk) as met:
        assert "whether the message arrived is unknown" in problem(sender(tmp_path, f"http://127.0.0.1:{met.port}"))
    assert len(met.met) == 1


def test_a_secret_that_cannot_stand_in_a_header(tmp_path: Path, gateway: Gateway) -> None:
    """Nothing is sent, and neither what is told nor any cause of it has the secret."""
    token = secret_file(tmp_path, "token", "s3cret\ttoken")
    found = sender(tmp_path, gateway.url, headers={"X-Token": "{secret.token}"}, secrets={"token": token})
    with pytest.raises(MessageUnsent, match="cannot stand in a header") as unsent:
        found.send(HONG)
    chain: BaseException | None = unsent.value
    while chain is not None:
        assert "s3cret" not in repr(chain)
        chain = chain.__cause__ or chain.__context__
    assert gateway.posted == []


def test_another_content_type(tmp_path: Path, gateway: Gateway) -> None:
    """However it is written, there is one."""
    sender(tmp_path, gateway.url, headers={"content-type": "application/vnd.sms+json"}).send(HONG)
    found = {name.lower(): value for name, value in gateway.posted[0].headers.items()}
    assert found["content-type"] == "application/vnd.sms+json"
    assert [name.lower() for name in gateway.posted[0].headers].count("content-type") == 1
