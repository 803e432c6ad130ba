"""Certificates from an authority that is reached over HTTP: the same promises as with one that is here."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography import x509
from tests.cmp.own_server import OwnServer, own_server

from dojang.authority.remote import RemoteAuthority, Terms
from dojang.cmp.bodies import Certification, Kind
from dojang.cmp.client import Patience
from dojang.errors import InputRequired
from dojang.ledger import Ledger
from dojang.lifecycle.anchors import anchors_of, keep_anchors
from dojang.lifecycle.issue import IssueOrder, issue
from dojang.lifecycle.meant import Meant
from dojang.lifecycle.reissue import ReissueOrder, reissue
from dojang.lifecycle.renew import RenewOrder, renew
from dojang.lifecycle.revoke import RevokeOrder, revoke_meant
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
    patience: float = 5.0

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

    def open_authority(self, url: str):
        terms = Terms(
            anchors_der=anchors_of(self.place.ledger, url),
            introductions=self.wallet,
            patience=lambda: Patience(self.patience, self.waits.append, lambda seconds: None),
            trust=lambda ders: keep_anchors(self.place.ledger, url, ders),
            seconds=5,
        )
        return RemoteAuthority(url, terms)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    with own_server(tmp_path_factory.mktemp("centre")) as server:
        yield server


@pytest.fixture(params=["token", "disk"])
def desk(
    request: pytest.FixtureRequest, tmp_path: Path, softhsm_module: str, server: OwnServer, quick_passwords: None
) -> Iterator[Desk]:
    address, pins = f"npki:{tmp_path}/NPKI", None
    if request.param == "token":
        token = request.getfixturevalue("make_token")()
        address, pins = token.uri, Secret(token.pin)
    search, guard = ModuleSearch(module=softhsm_module, discover=False), PinGuard(tmp_path / "pin-guard")
    server.asked.clear()
    server.between = None
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


def _kinds(server: OwnServer) -> list[Kind | str]:
    return [
        one.body.kind if isinstance(one.body, Certification) else type(one.body).__name__ for one in server.messages
    ]


def test_a_code_brings_a_certificate(desk: Desk) -> None:
    """ir and certConf under the code; the certificate is confirmed there, and complete here."""
    held = desk.issue()
    assert _kinds(desk.server) == [Kind.IR, "Confirmations"]
    assert desk.server.records()[-1].certificate_der == held.stored.certificate_der
    assert desk.server.states()[-1] == "confirmed"
    assert desk.signs(held.stored)
    assert anchors_of(desk.place.ledger, desk.server.url) == (desk.server.counter.authority.chain_der()[-1],)


def test_renewing_needs_nothing_but_the_old_key(desk: Desk) -> None:
    """kur and certConf signed by the old key, which neither code nor certificate of the authority has to be given for."""
    old = desk.issue()
    desk.server.asked.clear()
    done = renew(RenewOrder(old.stored.address), desk.place)
    assert _kinds(desk.server) == [Kind.KUR, "Confirmations"]
    new = x509.load_der_x509_certificate(done.credential.stored.certificate_der)
    assert new.public_key() != x509.load_der_x509_certificate(old.stored.certificate_der).public_key()
    assert desk.server.states()[-2:] == ["confirmed", "confirmed"]
    assert desk.signs(done.credential.stored)
    assert [one.retired for one in desk.credentials()].count(True) == 1


def test_reissuing_revokes_the_old_one(desk: Desk) -> None:
    """cr signed by the old key; afterwards the old certificate is revoked, there and in the ledger."""
    old = desk.issue()
    desk.server.asked.clear()
    done = reissue(ReissueOrder(Meant(address=old.stored.address)), desk.place)
    assert _kinds(desk.server)[:2] == [Kind.CR, "Confirmations"]
    assert desk.server.states()[-2:] == ["revoked", "confirmed"]
    assert done.revoked
    assert done.previous.state == "revoked"
    assert desk.signs(done.credential.stored)


def test_revoking(desk: Desk) -> None:
    """rr signed by the key itself; asked again, nothing is asked of the authority."""
    held = desk.issue()
    desk.server.asked.clear()
    order = RevokeOrder(Meant(address=held.stored.address), "keyCompromise")
    done = revoke_meant(order, desk.place)
    assert (done.record.state, done.record.reason) == ("revoked", "keyCompromise")
    assert done.credential.state == "revoked"
    assert (desk.server.states()[-1], desk.server.records()[-1].reason) == ("revoked", "keyCompromise")
    assert revoke_meant(order, desk.place).record.state == "revoked"
    assert _kinds(desk.server) == ["RevocationRequest"]
