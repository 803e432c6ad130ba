"""Requests taken elsewhere, certificates brought back, credentials deleted, states changed at the authority."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.errors import (
    AlreadyExists,
    AnswerMismatch,
    AuthorityRefused,
    CertificateUnusable,
    FileUnwritable,
    NotFound,
    NotPermitted,
)
from dojang.lifecycle.delete import delete
from dojang.lifecycle.held import held_in
from dojang.lifecycle.install import InstallOrder, install
from dojang.lifecycle.issue import issue
from dojang.lifecycle.recover import recover
from dojang.lifecycle.renew import RenewOrder, renew
from dojang.lifecycle.request import RequestOrder, request
from dojang.lifecycle.revoke import restore, revoke, suspend
from dojang.locations.base import Location
from dojang.x509.name import parse_name

ISSUER = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Elsewhere CA")])
ISSUER_KEY = ec.generate_private_key(ec.SECP256R1())
EC_KEY, UNKNOWN_KEY = bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0277")


def _certify(public_key, subject: x509.Name, *, ended: bool = False, key=ISSUER_KEY) -> bytes:
    now = datetime.now(UTC)
    begin, end = (now - timedelta(days=9), now - timedelta(days=1)) if ended else (now, now + timedelta(days=90))
    builder = x509.CertificateBuilder(ISSUER, subject, public_key, x509.random_serial_number(), begin, end)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.fixture
def made(office):
    """A request whose key waits."""
    order = RequestOrder(office.address, parse_name("CN=Hong,C=KR"), "ec-p256", "Hong")
    written = request(order, office.place)
    return x509.load_der_x509_csr(written.request_der)


def test_a_request_and_its_certificate(office, made) -> None:
    """The request is signed by its key; the certificate finds that key by itself, and again without change."""
    assert made.is_signature_valid
    order = InstallOrder(office.address, _certify(made.public_key(), made.subject))
    for _ in range(2):
        held = install(order, office.place)
        assert held.state == "valid"
        assert len(office.credentials()) == 1


@pytest.mark.parametrize(
    ("certificate", "leaf"),
    [
        (lambda made: _certify(ec.generate_private_key(ec.SECP256R1()).public_key(), made.subject), NotFound),
        (lambda made: _certify(made.public_key(), made.subject, ended=True), CertificateUnusable),
        (lambda made: _certify(made.public_key(), made.subject).replace(EC_KEY, UNKNOWN_KEY), CertificateUnusable),
    ],
)
def test_a_certificate_that_cannot_be_installed(office, made, certificate, leaf) -> None:
    """A stranger's, an expired one or one for an unknown kind of key is refused and nothing is installed."""
    with pytest.raises(leaf):
        install(InstallOrder(office.address, certificate(made)), office.place)
    assert office.credentials() == []
    assert office.place.ledger.incomplete() == []


def test_a_certificate_for_another_key(office, made) -> None:
    """Sent to a key that is not its own, a certificate is refused."""
    (event,) = office.place.ledger.history()
    key_id = bytes.fromhex(str(event.facts["key_id"]))
    other = _certify(ec.generate_private_key(ec.SECP256R1()).public_key(), made.subject)
    with pytest.raises(AnswerMismatch, match="another"):
        install(InstallOrder(office.address, other, key_id=key_id), office.place)
    assert office.credentials() == []


def test_a_chain_that_did_not_issue_it(office, made) -> None:
    """A chain whose signature does not fit is refused."""
    stranger = ec.generate_private_key(ec.SECP256R1())
    issuer = _certify(stranger.public_key(), ISSUER, key=stranger)
    order = InstallOrder(office.address, _certify(made.public_key(), made.subject), (issuer,))
    with pytest.raises(AnswerMismatch, match="did not issue"):
        install(order, office.place)
    assert office.credentials() == []


def test_a_second_certificate_for_one_key(office, made) -> None:
    """A key that has a certificate keeps it."""
    install(InstallOrder(office.address, _certify(made.public_key(), made.subject)), office.place)
    with pytest.raises(AlreadyExists):
        install(InstallOrder(office.address, _certify(made.public_key(), made.subject)), office.place)
    assert len(office.credentials()) == 1


def _interrupted(step: str) -> None:
    raise KeyboardInterrupt


def test_a_certificate_whose_place_is_taken(office, made) -> None:
    """Refused at once or cut short and given up by the next run: either way its key waits on, unharmed."""
    install(InstallOrder(office.address, _certify(made.public_key(), made.subject)), office.place)
    with office.place.open_location(office.address) as location:
        key = location.generate("ec-p256", key_id=b"waiting", label="Waiting")
    order = InstallOrder(office.address, _certify(key.public_key(), made.subject), key_id=b"waiting", label="Hong")
    with pytest.raises(KeyboardInterrupt):
        install(order, replace(office.place, say=_interrupted))
    assert [one.outcome for one in recover(office.place)] == ["undone"]
    with pytest.raises(AlreadyExists):
        install(order, office.place)
    assert office.place.ledger.incomplete() == []
    with office.place.open_location(office.address) as location:
        assert location.has_key(b"waiting")
        delete(next(one.address for one in location.credentials() if one.live), office.place)
    assert install(order, office.place).state == "valid"


def test_delete_destroys_the_pair(office) -> None:
    """Afterwards neither certificate nor key is there, and the ledger says so."""
    held = issue(office.order(), office.place)
    delete(held.stored.address, office.place)
    assert office.credentials() == []
    with office.place.open_location(office.address) as location:
        assert not location.has_key(held.stored.key_id)
    assert [event.event for event in office.place.ledger.history()] == ["issued", "deleted"]


def test_delete_that_was_refused(office) -> None:
    """A credential that a location would not give up is not destroyed by a later run either."""
    held = issue(office.order(), office.place)

    @contextmanager
    def stubborn(address: str) -> Iterator[Location]:
        with office.place.open_location(address) as location:
            location.delete = refuse
            yield location

    def refuse(_key_id: bytes) -> None:
        raise FileUnwritable(path="NPKI", problem="it may only be read")

    by_id = "".join(f"%{byte:02X}" for byte in held.stored.key_id)
    addresses = [held.stored.address]
    if office.address.startswith("pkcs11:"):
        addresses.append(f"{office.address};id={by_id}")
    for address in addresses:
        with pytest.raises(FileUnwritable):
            delete(address, replace(office.place, open_location=stubborn))
        assert recover(office.place) == []
    assert held_in(office.place, office.address) == [held]


def test_delete_of_a_retired_pair_leaves_the_one_in_use(office) -> None:
    """The old pair goes, the new one keeps signing; a kept key is not destroyed under its successor."""
    issued = issue(office.order(), office.place)
    renewal = renew(RenewOrder(issued.stored.address), office.place)
    delete(renewal.previous.stored.address, office.place)
    assert [held.state for held in held_in(office.place, office.address)] == ["valid"]
    kept = renew(RenewOrder(issued.stored.address, keep_key=True, again=True), office.place)
    with pytest.raises(NotPermitted):
        delete(kept.previous.stored.address, office.place)
    with office.place.open_location(office.address) as location:
        assert location.has_key(kept.credential.stored.key_id)


def test_states_at_the_authority_are_known_here(office) -> None:
    """Suspended, restored and revoked show in lists, and a revoked certificate is not renewed."""
    held = issue(office.order(), office.place)
    states = []
    for change in (suspend, restore, lambda *words: revoke(*words, "keyCompromise")):
        change(office.place, "office", held.facts.serial)
        states += [one.state for one in held_in(office.place, office.address)]
    assert states == ["suspended", "valid", "revoked"]
    with pytest.raises(AuthorityRefused, match="revoked"):
        renew(RenewOrder(held.stored.address), office.place)
    assert [one.state for one in held_in(office.place, office.address)] == ["revoked"]
