"""A certificate stored beside its key on a PIV card, which PKCS#11 modules leave to other programs.

One PUT DATA, which the card does or does not; what was there before is gone then, so it is handed out first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from yubikit.core.smartcard import SW, ApduError
from yubikit.piv import DEFAULT_MANAGEMENT_KEY, SLOT, PivSession

from dojang.errors import (
    AlreadyExists,
    DeviceDisobeyed,
    ManagementKeyIncorrect,
    NotFound,
    Phrase,
    TokenRemoved,
)
from dojang.pcsc.naming import reader_described_as
from dojang.pcsc.told import told
from dojang.pcsc.wire import PATIENCE, line, readers
from dojang.secret import Secret

_APPLICATION: Final = "PIV"
_RETIRED: Final = range(0x82, 0x96)
_SLOTS: Final = dict(enumerate((0x9A, 0x9C, 0x9D, 0x9E, *_RETIRED), start=1))
"""OpenSC's CKA_ID for the key in each slot: four for everyday use, then twenty retired ones."""

_REFUSED: Final = frozenset({SW.SECURITY_CONDITION_NOT_SATISFIED, SW.INCORRECT_PARAMETERS, SW.WRONG_PARAMETERS_P1P2})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a certificate goes: beside the key with that CKA_ID, instead of the one that was ``seen`` there.

    ``reader`` is what the module calls the slot, ``name`` what people call the card. What was seen tells the card, too.
    """

    reader: str
    name: str
    key_id: bytes
    seen: bytes


def put_certificate(place: Place, certificate_der: bytes, management_key: Secret | None) -> None:
    """Store it instead of what was seen there.

    ``management_key`` in hexadecimal is what the card wants before it changes anything; ``None`` is the one that every
    card is delivered with. ``ManagementKeyIncorrect`` where it is another one: cards do not count tries of it.
    ``TokenRemoved`` where the reader holds another card by now, ``AlreadyExists`` where another certificate for the
    same key has come meanwhile; neither is given the management key.
    """
    slot = slot_of(place.key_id)
    with _administration(place, management_key) as session:
        session.put_certificate(slot, x509.load_der_x509_certificate(certificate_der))
        if session.get_certificate(slot).public_bytes(Encoding.DER) != certificate_der:
            raise DeviceDisobeyed(token=place.name, problem=Phrase("another certificate than was stored is read back"))


def prove_management_key(place: Place, management_key: Secret | None) -> None:
    """Whether the card would take a change; the errors of ``put_certificate`` before anything else is begun."""
    with _administration(place, management_key):
        pass


def slot_of(key_id: bytes) -> SLOT:
    """The slot of the key with that CKA_ID; ``NotFound`` for one that no PIV card has."""
    slot = _SLOTS.get(int.from_bytes(key_id, "big")) if len(key_id) == 1 else None
    if slot is None:
        raise NotFound(
            what=Phrase("The key {key_id}", key_id=key_id.hex()),
            where=Phrase("the slots of a PIV card"),
            command="dojang token show ADDRESS",
        )
    return SLOT(slot)


@contextmanager
def _administration(place: Place, management_key: Secret | None) -> Iterator[PivSession]:
    with told(place.name, _APPLICATION):
        reader = reader_described_as(place.reader, readers())
        with line(reader, patience=PATIENCE) as opened:
            session = PivSession(opened)
            _refuse_another(session, place)
            _authenticate(session, place.name, management_key)
            yield session


def _refuse_another(session: PivSession, place: Place) -> None:
    """Neither a card that was exchanged in its reader nor a certificate that was is written over."""
    seen = x509.load_der_x509_certificate(place.seen)
    try:
        there = session.get_certificate(slot_of(place.key_id))
    except ApduError as error:
        if error.sw != SW.FILE_NOT_FOUND:
            raise
        raise TokenRemoved(token=place.name) from error
    if there.public_key() != seen.public_key():
        raise TokenRemoved(token=place.name)
    if there != seen:
        raise AlreadyExists(
            what=Phrase("Another certificate than before"),
            where=place.name,
            next_step="See what it is, and decide anew: dojang cert list",
        )


def _authenticate(session: PivSession, name: str, management_key: Secret | None) -> None:
    try:
        given = DEFAULT_MANAGEMENT_KEY if management_key is None else bytes.fromhex(management_key.reveal().decode())
        session.authenticate(given)
    except (ApduError, ValueError) as error:  # Yubico's library refuses a key of another length with the latter
        if isinstance(error, ApduError) and error.sw not in _REFUSED:
            raise
        raise ManagementKeyIncorrect(token=name) from error
