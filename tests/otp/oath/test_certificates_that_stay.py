"""A certificate on a card gives way only where it was looked at, on the card that was looked at, and may go."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from tests.otp.oath.conftest import READER, put_in

from dojang.errors import AlreadyExists, NotFound, TokenRemoved
from dojang.locations.base import Access
from dojang.locations.token import open_at
from dojang.pcsc.naming import reader_described_as
from dojang.pcsc.piv import Place, prove_management_key, put_certificate
from dojang.pkcs11 import ModuleSearch, PinGuard
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.secret import Secret
from dojang.testing.oath import SecurityKey
from dojang.testing.piv import Ins, Slot

KEY_ID = b"\x01"


@pytest.fixture
def certificate_by(piv_keys) -> Callable[..., bytes]:
    """A certificate for the key in the first slot, signed by ``issuer``; by that key itself unless said."""

    def make(issuer: str, *, by: ec.EllipticCurvePrivateKey | None = None, authority: bool = False) -> bytes:
        now = datetime.now(UTC)
        named = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("Hong", issuer)]
        own = piv_keys[Slot.AUTHENTICATION]
        builder = (
            x509.CertificateBuilder(*reversed(named), own.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )
        if authority:
            builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
        return builder.sign(by or own, hashes.SHA256()).public_bytes(Encoding.DER)

    return make


@pytest.fixture
def card(plugged, key, tmp_path):
    """Opens the card as a location, anew each time; its certificates are as they were delivered afterwards."""
    delivered = dict(key.objects)
    uri = Pkcs11Uri.from_text(f"pkcs11:serial={plugged.setup.serial}")  # its label is the holder in its certificate
    search = ModuleSearch(module=str(plugged.setup.module), discover=False)
    pins = Secret(plugged.setup.pin)
    yield lambda: open_at(uri, Access(search=search, pins=pins, guard=PinGuard(tmp_path / "guard"), agent=False))
    key.objects.clear()
    key.objects.update(delivered)


def lay(plugged, certificate: bytes) -> None:
    """Into the first slot by another program, before dojang and OpenSC meet the card."""
    plugged.card.put_certificate(Slot.AUTHENTICATION, certificate)
    put_in(plugged.card, plugged.port)


def seen(key: SecurityKey, description: str = READER) -> Place:
    return Place(description, "Hong", KEY_ID, key.certificate(Slot.AUTHENTICATION))


def watch_authentication(key: SecurityKey) -> list[int]:
    """What asks for the management key from now on."""
    asked: list[int] = []

    def note(command, proceed):
        if command.p2 == 0x9B:
            asked.append(command.ins)
        return proceed()

    key.faults.add(note, on=Ins.GENERAL_AUTHENTICATE, times=None)
    return asked


def test_another_card_in_the_reader_gets_nothing(plugged, key, card, certificate_by):
    """Exchanged between the look and the write: no certificate of it goes, and no management key is tried on it."""
    place, new = seen(key), certificate_by("Office", by=ec.generate_private_key(ec.SECP256R1()))
    key.remove()
    with SecurityKey(keys={Slot.AUTHENTICATION: "ec-p256"}) as other:
        put_in(other, plugged.port)
        before, asked = other.certificate(Slot.AUTHENTICATION), watch_authentication(other)
        for act in (lambda: put_certificate(place, new, None), lambda: prove_management_key(place, None)):
            with pytest.raises(TokenRemoved):
                act()
        del other.objects[0x5FC105]
        with pytest.raises(TokenRemoved):
            put_certificate(place, new, None)
        other.put_certificate(Slot.AUTHENTICATION, before)
        assert (other.certificate(Slot.AUTHENTICATION), asked) == (before, [])


def test_what_came_meanwhile_stays(key, card, certificate_by):
    """Another program, or another dojang, has put one there for the same key since the look."""
    place, new = seen(key), certificate_by("Office", by=ec.generate_private_key(ec.SECP256R1()))
    other = certificate_by("Bank", by=ec.generate_private_key(ec.SECP256R1()))
    key.put_certificate(Slot.AUTHENTICATION, other)
    asked = watch_authentication(key)
    with pytest.raises(AlreadyExists):
        put_certificate(place, new, None)
    assert (key.certificate(Slot.AUTHENTICATION), asked) == (other, [])


def test_a_certificate_of_another_key_is_not_put_beside_this_one(plugged, key, card, certificate_by):
    """The key was made anew with another program while what was issued waited in the journal."""
    new = certificate_by("Office", by=ec.generate_private_key(ec.SECP256R1()))
    lay(plugged, key.certificate(Slot.SIGNATURE))
    with card() as location, pytest.raises(NotFound):
        location.install(key_id=KEY_ID, label="Hong", certificate_der=new)
    with card() as location, pytest.raises(NotFound):
        location.switch(old_key_id=KEY_ID, new_key_id=KEY_ID, certificate_der=new)
    assert key.certificate(Slot.AUTHENTICATION) == key.certificate(Slot.SIGNATURE)


@pytest.mark.parametrize(("by_another", "authority"), [(True, False), (False, True)])
def test_what_only_looks_self_signed_stays(plugged, card, certificate_by, by_another, authority):
    """An issuer of the same name has signed it, or it is an authority's root."""
    by = ec.generate_private_key(ec.SECP256R1()) if by_another else None
    lay(plugged, certificate_by("Hong", by=by, authority=authority))
    with card() as location, pytest.raises(AlreadyExists):
        location.waiting_key(f"pkcs11:serial={plugged.setup.serial};id=%01")


def test_one_that_the_key_signed_for_itself_gives_way(plugged, card, certificate_by):
    lay(plugged, certificate_by("Hong"))
    with card() as location:
        assert location.waiting_key(f"pkcs11:serial={plugged.setup.serial};id=%01").key_id == KEY_ID


def test_a_reader_with_a_long_name_is_found():
    """PKCS#11 has room for 64 bytes of it; where those fit two readers, neither is taken."""
    long = "A reader with a name of more than sixty-four bytes, as some have it 0"
    assert reader_described_as(long[:64], [long + "0", "Reader 1"]) == long + "0"
    assert reader_described_as("Reader 1", [long + "0", "Reader 1", "Reader 10"]) == "Reader 1"
    assert reader_described_as(long[:64], [long + "0", long + "1"]) == long[:64]
    assert reader_described_as("Reader", ["Reader 1"]) == "Reader"
