"""Who speaks: the bearer of a code, or of a certificate of this authority (RFC 9483 sections 3.1 and 3.2).

Who does not prove that is told nothing but that. From outside an unknown reference, a locked one and a wrong code are
the same.
"""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from dojang.authority.audit import acting
from dojang.authority.conversation.kept import KeptKeys, Name
from dojang.authority.conversation.office import Known, Office
from dojang.authority.conversation.replies import key_id_of
from dojang.authority.conversation.transactions import Place, Turn, beside_turn, turn_in
from dojang.authority.store import find_record
from dojang.cmp.faults import CmpFault, FailInfo
from dojang.cmp.macs import Mac, is_mac
from dojang.cmp.messages import Message
from dojang.cmp.protection import verify_signature
from dojang.cmp.schema import Algorithm, der_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dojang.authority.enrolment.enrolments import Offer
    from dojang.secret import Secret

_LONGEST_REFERENCE = 64


class Bearer(NamedTuple):
    """Whoever has a code. ``offer`` tells whether it may be used; under ``name`` his key is kept.

    By ``key`` the sender of a conversation is told from others; ``last`` is where that stood when he was looked up.
    """

    reference: str
    key: bytes
    offer: "Offer"
    mac: Mac
    name: Name | None
    last: Turn | None

    @property
    def actor(self) -> str:
        """As whom the record of the authority has it."""
        return f"cmp:{self.reference}"

    @property
    def secret(self) -> "Secret":
        return self.offer.secret


@dataclass(frozen=True, slots=True)
class Holder:
    """Whoever has the key of a certificate."""

    known: Known
    certificate: x509.Certificate

    @property
    def key(self) -> bytes:
        return b"cert:" + hashlib.sha256(self.known.certificate_der).digest()

    @property
    def actor(self) -> str:
        return f"cmp:certificate {self.known.serial}"

    @property
    def mac(self) -> None:
        return None


Sender = Bearer | Holder


def sender_of_message(office: Office, message: Message, source: str, kept: KeptKeys) -> Sender:
    """Raises ``CmpFault``, and ``TooManyTries`` for a source of too many wrong codes.

    Says nothing about what the sender may do: his code may be used up, his certificate revoked.
    """
    algorithm, protection = message.header.protection, message.protection
    if algorithm is None or protection is None:
        raise CmpFault(FailInfo.BAD_MESSAGE_CHECK, "the message is not protected")
    if is_mac(algorithm):
        return _bearer(office, message, algorithm, protection, source, kept)
    return _holder(office, message, algorithm, protection)


def _bearer(
    office: Office, message: Message, algorithm: Algorithm, protection: bytes, source: str, kept: KeptKeys
) -> Bearer:
    reference = reference_in(message)
    place = Place(message.header.transaction_id or b"", b"code:" + reference.encode())
    offer = office.enrolments.secret_for(reference, source, beside_turn(place))
    name = None if offer.mark is None else (offer.mark, b"".join(map(der_of, algorithm)))
    mac = None if name is None else kept.take(name)
    if mac is None:
        mac = Mac(offer.secret, algorithm, most_iterations=office.settings.longest_iterations)
    try:
        mac.verify(protection, message.protected_der)
    except CmpFault:
        mac.wipe()
        with acting("cmp:nobody"):
            office.enrolments.wrong(reference, source)
        raise
    if offer.wrong_tries:
        office.enrolments.right(reference, source)
    return Bearer(reference, place.sender, offer, mac, name, turn_in(offer.beside))


def reference_in(message: Message) -> str:
    """The reference number: in senderKID, as everybody sends it, or else the CN of the sender.

    Raises ``CmpFault`` with badMessageCheck.
    """
    key_id, sender = message.header.sender_key_id, message.header.sender
    if key_id is not None:
        found = key_id.decode(errors="replace")
    else:
        names = sender.get_attributes_for_oid(NameOID.COMMON_NAME) if sender is not None else []
        found = str(names[0].value) if len(names) == 1 else ""
    if not 0 < len(found) <= _LONGEST_REFERENCE or not found.isprintable():
        raise CmpFault(FailInfo.BAD_MESSAGE_CHECK, "the message does not say whose secret protects it")
    return found


def _holder(office: Office, message: Message, algorithm: Algorithm, protection: bytes) -> Holder:
    """The certificate comes first in extraCerts, and is one that this authority issued."""
    known = office.known(message.certificates[0]) if message.certificates else None
    if known is None:
        raise CmpFault(FailInfo.SIGNER_NOT_TRUSTED, "the signer's certificate was not issued here")
    certificate = known.certificate
    if _is_authority(certificate):
        raise CmpFault(FailInfo.SIGNER_NOT_TRUSTED, "an authority's key signs no requests")
    if message.header.sender != certificate.subject:
        raise CmpFault(FailInfo.BAD_MESSAGE_CHECK, "the sender is not whom the signer's certificate names")
    if message.header.sender_key_id not in (None, key_id_of(certificate)):
        raise CmpFault(FailInfo.BAD_MESSAGE_CHECK, "senderKID does not name the signer's key")
    verify_signature(certificate.public_key(), algorithm, protection, message.protected_der)
    return Holder(known, certificate)


def check_holder(office: Office, holder: Holder) -> None:
    """Whether the certificate is good enough to ask for something new. Raises ``CmpFault``."""
    known, at = holder.known, office.now()
    _check_state(known.state)
    if known.is_replaced:
        raise CmpFault(FailInfo.SIGNER_NOT_TRUSTED, "the signer's certificate was replaced already")
    if not holder.certificate.not_valid_before_utc <= at <= holder.certificate.not_valid_after_utc:
        raise CmpFault(FailInfo.SIGNER_NOT_TRUSTED, "the signer's certificate has expired")
    usage = _key_usage(holder.certificate)
    if usage is not None and not usage.digital_signature:
        raise CmpFault(FailInfo.NOT_AUTHORIZED, "the signer's certificate is not for signing messages")


def check_standing(connection: "Connection", sender: Sender) -> None:
    """Inside ``writing()``: that the certificate of whoever has one was neither revoked nor put on hold meanwhile.

    What was asked for with a key that turned out to be stolen must not be had with it afterwards. Raises ``CmpFault``.
    """
    if isinstance(sender, Holder):
        record = find_record(connection, sender.known.serial)
        _check_state(record.state if record else "revoked")


def _check_state(state: str) -> None:
    if state == "revoked":
        raise CmpFault(FailInfo.CERT_REVOKED, "the signer's certificate is revoked")
    if state == "suspended":
        raise CmpFault(FailInfo.NOT_AUTHORIZED, "the signer's certificate is on hold")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _key_usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None
