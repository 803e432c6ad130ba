"""A call from end to end: the centre asks a gateway on loopback, the person presses, the gateway tells the door."""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.authority.conftest import Clock
from tests.authority.messages.conftest import Ring
from tests.otp.messages.conftest import Gateway, gateway_server, secret_file

from dojang.authority import LocalAuthority, create_authority
from dojang.authority.audit import acting
from dojang.authority.local import open_authority
from dojang.centre.doors import ars
from dojang.centre.limits import Limits
from dojang.errors import AnswerPending, MessageUnsent
from dojang.otp.messages.desk import Sent
from dojang.x509.name import parse_name

KEY = "0123456789abcdef0123456789abcdef"
SETTINGS = """
[messages]
per-target = 1000
per-day = 1000
[messages.ars]
kind = "call"
url = "{url}/calls"
callback = "http://127.0.0.1:{port}/ars/test"
key-source = "{source}"
"""


@dataclass
class Scene:
    """A centre, its authority, a gateway, and somebody with a telephone."""

    server: Any
    authority: LocalAuthority
    gateway: Gateway
    applicant: str
    clock: Clock
    purpose: str = ""

    def call(self) -> Sent:
        """Ask for a call, a minute after the one before, for a purpose of its own."""
        self.clock.at += timedelta(minutes=1)
        self.purpose = f"issue:{secrets.token_hex(4)}"
        return self.authority.messages.start(self.applicant, "ars", self.purpose, None)

    def tell(self, told: object, *, key: str = KEY, at: float = 0, **changed: str) -> tuple[int, Any]:
        """As the gateway does, by the scheme that it was given."""
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        stamp, nonce = str(int(time.time() + at)), changed.pop("nonce", secrets.token_hex(16))
        lines = f"dojang call outcome 1\n{stamp}\n{nonce}\n{hashlib.sha256(body).hexdigest()}\n"
        signature = hmac.new(key.encode(), lines.encode(), hashlib.sha256).hexdigest()
        fields = {"timestamp": stamp, "nonce": nonce, "signature": signature} | changed
        headers = {f"X-Dojang-{name.title()}": value for name, value in fields.items()}
        status, _headers, content = self.server.ask("/ars/test", body, headers)
        return status, json.loads(content)

    def pressed(self, sent: Sent, digits: str = "", **how: Any) -> tuple[int, Any]:
        digits = digits or sent.shown.reveal().decode()
        return self.tell({"id": sent.id, "outcome": "pressed", "digits": digits}, **how)


@pytest.fixture(scope="module")
def scene(run_centre: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("ars")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = parse_name("CN=Test Root,O=Example,C=KR")
    with gateway_server() as gateway, run_centre(Limits(rate=0), doors=(ars.routes,)) as server:
        create_authority(folder, name="test", subject=subject, key=key, key_address="pkcs11:object=root").close()
        told = {"url": gateway.url, "port": server.port, "source": secret_file(folder, "key", KEY)}
        (folder / "test" / "authority.toml").write_text(SETTINGS.format(**told))
        clock = Clock()
        with open_authority(folder, "test", Ring(), clock=clock) as authority:
            authority.count_message = lambda *told: server.state.metrics.message("test", *told)
            server.state.authorities["test"] = authority
            with acting("test"):
                one = authority.counter.office.add_applicant("person", "홍길동", {"phone": "010-1234-5678"})
            yield Scene(server, authority, gateway, one.id, clock)


def test_a_call_from_end_to_end(scene: Scene) -> None:
    """The gateway is told whom to call and what to say, signed, and not the digits; pressed, they pass once."""
    sent = scene.call()
    posted = scene.gateway.posted[-1]
    assert posted.path == "/calls"
    stamp, nonce = posted.headers["X-Dojang-Timestamp"], posted.headers["X-Dojang-Nonce"]
    lines = f"dojang call request 1\n{stamp}\n{nonce}\n{hashlib.sha256(posted.body).hexdigest()}\n"
    assert posted.headers["X-Dojang-Signature"] == hmac.new(KEY.encode(), lines.encode(), hashlib.sha256).hexdigest()
    assert abs(int(stamp) - time.time()) < 60
    told = posted.json
    assert (told["id"], told["to"], told["digits"], told["language"]) == (sent.id, "+821012345678", 6, "ko")
    assert told["callback"] == f"http://127.0.0.1:{scene.server.port}/ars/test"
    assert "인증서 발급" in told["prompt"]
    assert sent.shown.reveal() not in posted.body
    with pytest.raises(AnswerPending):
        scene.authority.messages.answer(scene.applicant, scene.purpose, None)
    assert scene.pressed(sent, f"{(int(sent.shown.reveal()) + 1) % 10**6:06}") == (200, {"result": "again"})
    assert scene.pressed(sent) == (200, {"result": "right"})
    assert scene.pressed(sent) == (200, {"result": "over"})
    assert scene.authority.messages.answer(scene.applicant, scene.purpose, None).channel == "ars"
    page = scene.server.state.metrics.page().decode()
    assert 'dojang_messages_total{authority="test",channel="ars",outcome="sent"}' in page


def test_what_is_not_signed_is_refused_without_a_reason(scene: Scene) -> None:
    """Another key, another time, a field that was changed, another authority's name: one and the same answer."""
    sent = scene.call()
    answers = [
        scene.pressed(sent, key="another key, as long as it is"),
        scene.pressed(sent, at=-301),
        scene.pressed(sent, at=302),
        scene.pressed(sent, signature="0" * 64),
        scene.pressed(sent, signature=""),
        scene.pressed(sent, timestamp="1"),
        scene.tell(b"{", key="another key, as long as it is"),
    ]
    answers.append((scene.server.ask("/ars/test", b"{}")[0], answers[0][1]))
    assert {status for status, _ in answers} == {403}
    assert len({json.dumps(problem) for _, problem in answers}) == 1
    assert scene.pressed(sent, at=-290) == (200, {"result": "right"})


def test_an_outcome_is_taken_once(scene: Scene) -> None:
    """The same again is refused, and so is another with its nonce."""
    sent, nonce = scene.call(), secrets.token_hex(16)
    assert scene.pressed(sent, "000000" if sent.shown.reveal() != b"000000" else "1", nonce=nonce)[0] == 200
    status, problem = scene.pressed(sent, nonce=nonce)
    assert (status, problem["code"]) == (409, "already-exists")
    assert scene.pressed(sent) == (200, {"result": "right"})


def test_what_is_signed_and_no_outcome(scene: Scene) -> None:
    """The gateway is told that it is wrong; a call that never was is told nothing about."""
    assert scene.tell({"id": "x"})[0] == 400
    assert scene.tell({"id": "0f" * 16, "outcome": "pressed", "digits": "1"}) == (200, {"result": "over"})
    assert scene.tell({"id": "0f" * 16, "outcome": "unanswered"}) == (200, {"result": "over"})
    assert scene.tell(b" " * 5000)[0] == 413


def test_a_gateway_that_takes_no_call(scene: Scene) -> None:
    """The person is told, and the call that it might make after all is over."""
    scene.gateway.status = 503
    try:
        with pytest.raises(MessageUnsent, match="HTTP status 503"):
            scene.call()
    finally:
        scene.gateway.status = 200
    assert scene.tell({"id": scene.gateway.posted[-1].json["id"], "outcome": "unanswered"})[1] == {"result": "over"}


def test_an_authority_that_calls_nobody(scene: Scene, tmp_path: Path) -> None:
    """Its door refuses everything; one that is not there is not found."""
    assert scene.server.problem("/ars/nobody", b"{}")[0] == 404
    key = ec.generate_private_key(ec.SECP256R1())
    subject = parse_name("CN=Quiet,O=Example,C=KR")
    with create_authority(tmp_path, name="quiet", subject=subject, key=key, key_address="pkcs11:object=r") as quiet:
        scene.server.state.authorities["quiet"] = quiet
        try:
            assert scene.server.problem("/ars/quiet", b"{}")[0] == 403
        finally:
            del scene.server.state.authorities["quiet"]
