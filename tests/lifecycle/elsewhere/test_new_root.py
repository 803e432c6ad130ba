"""A new root of an authority elsewhere is learned by who renews, if the old one vouches for it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from tests.cmp.own_server import OwnServer, own_server
from tests.lifecycle.elsewhere.conftest import Desk, cut, on_disk

from dojang.authority.hierarchy import rollover
from dojang.authority.remote import RemoteAuthority
from dojang.cmp.bodies import General
from dojang.cmp.messages import read_message
from dojang.lifecycle.anchors import anchors_of
from dojang.lifecycle.renew import RenewOrder, renew
from dojang.x509.name import parse_name
from dojang.x509.path import check_path


@pytest.fixture
def moving(desk: Desk, tmp_path: Path) -> Iterator[Desk]:
    """A desk whose authority is its own, and may have a new root."""
    with own_server(tmp_path / "moving") as server:
        desk.server = server
        yield desk


def _new_root(server: OwnServer, name: str, subject: str | None = None) -> bytes:
    """Prepared, and so published."""
    key = server.counter.keys[f"pkcs11:object={name}"] = ec.generate_private_key(ec.SECP256R1())
    named = None if subject is None else parse_name(subject)
    scene = server.counter.authority.scene()
    return rollover.prepare(scene, "root", key, f"pkcs11:object={name}", named).certificate_der


def _new_issuer(server: OwnServer, name: str) -> None:
    scene, key = server.counter.authority.scene(), ec.generate_private_key(ec.SECP256R1())
    server.counter.keys[f"pkcs11:object={name}"] = key
    rollover.switch(scene, "root")
    rollover.prepare(scene, "issuing", key, f"pkcs11:object={name}")
    rollover.switch(scene, "issuing")


@on_disk
def test_a_new_root_is_known_before_it_is_needed(moving: Desk) -> None:
    """A renewal brings the root for which the old one vouches, once; with that alone what comes later is verified.
    The one after that is learned in the same way.
    """
    desk, server = moving, moving.server
    address = desk.issue().stored.address
    _new_root(server, "root-2")
    renew(RenewOrder(address, again=True), desk.place)
    old, second = anchors_of(desk.place.ledger, server.url)
    assert (
        x509.load_der_x509_certificate(second).public_key() == server.counter.keys["pkcs11:object=root-2"].public_key()
    )
    assert desk.succeeded == [second]
    _new_issuer(server, "issuing-2")
    later = renew(RenewOrder(address, again=True), desk.place).credential.stored
    assert anchors_of(desk.place.ledger, server.url) == (old, second)
    chain_der = server.counter.authority.chain_der()
    for anchor_der in (old, second):
        report = check_path(
            later.certificate_der, intermediates_der=chain_der, anchors_der=(anchor_der,), at=datetime.now(UTC)
        )
        assert report.ok, report.problems
    _new_root(server, "root-3")
    renew(RenewOrder(address, again=True), desk.place)
    assert anchors_of(desk.place.ledger, server.url)[:2] == (old, second)
    assert len(desk.succeeded) == 2


@on_disk
def test_a_new_root_that_nobody_vouches_for_is_told_of_and_not_believed(moving: Desk, monkeypatch) -> None:
    """The renewal is done all the same, and what is believed stays as it is."""
    desk, warned = moving, []
    desk.place = replace(desk.place, warn=warned.append)
    address = desk.issue().stored.address
    before = anchors_of(desk.place.ledger, desk.server.url)
    _new_root(desk.server, "root-2")
    monkeypatch.setattr("dojang.authority.hierarchy.chains.crossing_of", lambda *_: None)
    done = renew(RenewOrder(address, again=True), desk.place)
    assert desk.signs(done.credential.stored)
    assert anchors_of(desk.place.ledger, desk.server.url) == before
    (warning,) = warned
    assert (warning.code, "does not vouch" in str(warning)) == ("authority-untrusted", True)


@on_disk
def test_a_new_root_under_another_name_is_given_once(moving: Desk) -> None:
    """Who vouches for another name may vouch for another authority: it is told of, until it is given by another way."""
    desk, warned = moving, []
    desk.place = replace(desk.place, warn=warned.append)
    address = desk.issue().stored.address
    root_der = _new_root(desk.server, "root-2", "CN=Another Root,C=KR")
    renew(RenewOrder(address, again=True), desk.place)
    assert ["another name" in str(one) for one in warned] == [True]
    desk.place = replace(desk.place, open_authority=lambda url: _knowing(desk.open_authority(url), root_der))
    renew(RenewOrder(address, again=True), desk.place)
    assert (len(warned), desk.succeeded) == (1, [])


def _knowing(authority: RemoteAuthority, root_der: bytes) -> RemoteAuthority:
    """With a certificate that was given for this time, before those that were kept."""
    return RemoteAuthority(authority.name, replace(authority._terms, anchors_der=(root_der, *authority.chain_der())))


@on_disk
@pytest.mark.parametrize("answer", ["hangs up", "garbage", "refuses"])
def test_an_authority_that_tells_nothing_of_roots(moving: Desk, monkeypatch, answer: str) -> None:
    """The renewal is done, nobody is warned, and it is asked once."""
    desk, warned = moving, []
    desk.place = replace(desk.place, warn=warned.append)
    address = desk.issue().stored.address
    if answer == "refuses":
        monkeypatch.setattr("dojang.authority.conversation.informing._ANSWERS", {})
    else:
        silence = {"hangs up": cut, "garbage": b"0\x03\x02\x01\x05"}[answer]
        desk.server.between = lambda body, honest: (
            silence if isinstance(read_message(body).body, General) else honest(body)
        )
    done = renew(RenewOrder(address, again=True), desk.place)
    assert desk.signs(done.credential.stored)
    assert warned == []
    assert len([one for one in desk.server.asked if isinstance(read_message(one).body, General)]) == 1
