"""A certificate stored beside its key on a PIV card, which PKCS#11 modules leave to other programs.

One PUT DATA, which the card does or does not; what was there before is gone then, so it is handed out first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from yubikit.core.smartcard import SW, ApduError
from yubikit.piv import DEFAULT_MANAGEMENT_KEY, SLOT, PivSession

from dojang.errors import DeviceDisobeyed, ManagementKeyIncorrect, NotFound, Phrase
from dojang.pcsc.told import told
from dojang.pcsc.wire import PATIENCE, line
from dojang.secret import Secret

_APPLICATION: Final = "PIV"
_RETIRED: Final = range(0x82, 0x96)
_SLOTS: Final = dict(enumerate((0x9A, 0x9C, 0x9D, 0x9E, *_RETIRED), start=1))
"""OpenSC's CKA_ID for the key in each slot: four for everyday use, then twenty retired ones."""

_REFUSED: Final = frozenset({SW.SECURITY_CONDITION_NOT_SATISFIED, SW.INCORRECT_PARAMETERS, SW.WRONG_PARAMETERS_P1P2})


def put_certificate(
    reader: str, name: str, key_id: bytes, certificate_der: bytes, management_key: Secret | None
) -> None:
    """Store it for the key with that CKA_ID on the card in ``reader``; what is there is written over.

    ``management_key`` in hexadecimal is what the card wants before it changes anything; ``None`` is the one that every
    card is delivered with. ``ManagementKeyIncorrect`` where it is another one: cards do not count tries of it.
    """
    slot = slot_of(key_id)
    with _administration(reader, name, management_key) as session:
        session.put_certificate(slot, x509.load_der_x509_certificate(certificate_der))
        if session.get_certificate(slot).public_bytes(Encoding.DER) != certificate_der:
            raise DeviceDisobeyed(token=name, problem=Phrase("another certificate than was stored is read back"))


def prove_management_key(reader: str, name: str, management_key: Secret | None) -> None:
    """Whether the card would take a change; ``ManagementKeyIncorrect`` before anything else is begun."""
    with _administration(reader, name, management_key):
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
def _administration(reader: str, name: str, management_key: Secret | None) -> Iterator[PivSession]:
    with told(name, _APPLICATION), line(reader, patience=PATIENCE) as opened:
        session = PivSession(opened)
        _authenticate(session, name, management_key)
        yield session


def _authenticate(session: PivSession, name: str, management_key: Secret | None) -> None:
    try:
        given = DEFAULT_MANAGEMENT_KEY if management_key is None else bytes.fromhex(management_key.reveal().decode())
        session.authenticate(given)
    except (ApduError, ValueError) as error:  # Yubico's library refuses a key of another length with the latter
        if isinstance(error, ApduError) and error.sw not in _REFUSED:
            raise
        raise ManagementKeyIncorrect(token=name) from error
