"""One person with one location, whose authority is reached over HTTP."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socket import SHUT_RDWR

import pytest
from tests.cmp.own_server import OwnServer, own_server

from dojang.authority.enrolment import EnrolmentPolicy
from dojang.authority.remote import RemoteAuthority, Terms
from dojang.cmp.client import Patience
from dojang.errors import (
    InputRequired,
)
from dojang.ledger import Ledger
from dojang.lifecycle.anchors import anchors_of, keep_anchors
from dojang.lifecycle.issue import IssueOrder, issue
from dojang.lifecycle.workplace import Workplace
from dojang.locations.registry import open_location
from dojang.pkcs11 import ModuleSearch, PinGuard
from dojang.secret import Secret
from dojang.x509.challenge import prove_possession
from dojang.x509.name import parse_name


@dataclass(slots=True)
class Wallet:
    """What a person has in his hand: perhaps a reference number with its code. ``asked`` counts who wanted the code."""

    number: str | None = None
    secret: bytes | None = None
    asked: int = 0
    source: str | None = None

    def reference(self, *, needed: bool) -> str | None:
        if needed and self.number is None:
            raise InputRequired(what="The reference number", option="--reference R")
        return self.number

    def code(self, reference: str, source: str | None) -> Secret:
        self.asked += 1
        if self.secret is None:
            raise InputRequired(what="The code", option="--code-source SRC")
        return Secret(self.secret)


@dataclass(slots=True)
class Desk:
    """One ledger, one location, one authority elsewhere."""

    address: str
    place: Workplace
    server: OwnServer
    wallet: Wallet = field(default_factory=Wallet)
    waits: list[int] = field(default_factory=list)
    changed: list[bytes] = field(default_factory=list)
    succeeded: list[bytes] = field(default_factory=list)
    patience: float = 5.0
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def order(self, name: str = "Hong", **changes: object) -> IssueOrder:
        usual = IssueOrder(self.address, parse_name(f"CN={name},C=KR"), self.server.url, "", "ec-p256", name)
        return replace(usual, **changes)

    def introduce(self, name: str = "Hong", **more: object) -> None:
        self.wallet.number, self.wallet.secret = self.server.hand_out(f"CN={name},C=KR", **more)

    def issue(self, name: str = "Hong"):
        """A certificate that a code brought; then the code is gone."""
        self.introduce(name)
        held = issue(self.order(name), self.place)
        self.wallet = replace(self.wallet, number=None, secret=None)
        return held

    def credentials(self) -> list:
        with self.place.open_location(self.address) as location:
            return list(location.credentials())

    def signs(self, stored) -> bool:
        with self.place.open_location(stored.address) as location:
            prove_possession(location.private_key(stored.key_id), stored.certificate_der)
        return True

    def succeed(self, root_der: bytes) -> None:
        keep_anchors(self.place.ledger, self.server.url, [root_der])
        self.succeeded.append(root_der)

    def open_authority(self, url: str):
        terms = Terms(
            anchors_der=anchors_of(self.place.ledger, url),
            introductions=self.wallet,
            patience=lambda: Patience(self.patience, self.waits.append, lambda seconds: None),
            changed=self.changed.append,
            succeeded=self.succeed,
            trust=lambda der: keep_anchors(self.place.ledger, url, [der]),
            seconds=5,
            now=lambda: self.at,
        )
        return RemoteAuthority(url, terms)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    with own_server(tmp_path_factory.mktemp("centre")) as server:
        yield server


on_disk = pytest.mark.parametrize("desk", ["disk"], indirect=True)


@pytest.fixture(params=["token", "disk"])
def desk(
    request: pytest.FixtureRequest, tmp_path: Path, softhsm_module: str, server: OwnServer, quick_passwords: None
) -> Iterator[Desk]:
    files = {"disk": "npki:{}/NPKI", "pkcs12": "pkcs12:{}/hong.p12", "pem": "pem:{}/hong.pem"}
    address, pins = files.get(request.param, "").format(tmp_path), None
    if request.param == "token":
        token = request.getfixturevalue("make_token")()
        address, pins = token.uri, Secret(token.pin)
    search, guard = ModuleSearch(module=softhsm_module, discover=False), PinGuard(tmp_path / "pin-guard")
    server.asked.clear()
    server.between = None
    server.counter.policy = EnrolmentPolicy()
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        place = Workplace(
            ledger=ledger,
            open_location=lambda text: open_location(
                text, search=search, pins=pins, guard=guard, passwords=lambda path, new: Secret("correct horse 1!")
            ),
            open_authority=lambda url: desk.open_authority(url),
        )
        desk = Desk(address, place, server)
        yield desk


def cut(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
    """Hang up."""
    handler.connection.shutdown(SHUT_RDWR)
