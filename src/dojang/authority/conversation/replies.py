"""What is sent back: headers that fit the question, protected as the question was (RFC 9483 section 3)."""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509

from dojang.authority.conversation.office import Office
from dojang.cmp.bodies import Body, Failure, Information, Status
from dojang.cmp.faults import CmpFault
from dojang.cmp.macs import Mac
from dojang.cmp.messages import VERSION_2, VERSION_3, Header, new_nonce, write_message
from dojang.cmp.names import directory_name_der
from dojang.cmp.protection import Signing

if TYPE_CHECKING:
    from dojang.cmp.protection import Protector


class Reply(NamedTuple):
    """A message and the nonce that the next one will repeat."""

    der: bytes
    nonce: bytes


class Replies:
    """Answers to one question. Without a ``mac`` they are signed by the authority's spokesman."""

    def __init__(self, office: Office, asked: Header, mac: Mac | None, at: datetime) -> None:
        self._office, self._asked, self._mac, self._at = office, asked, mac, at

    def reply(
        self, body: Body, information: Iterable[Information] = (), certificates: Iterable[bytes] | None = None
    ) -> Reply:
        """``certificates`` go along besides those that the protection needs."""
        nonce, protector, extra = new_nonce(), self._mac, tuple(certificates or ())
        sender_der, key_id = sender_of(self._office.chain_der()[0])[0], self._asked.sender_key_id
        if protector is None:
            spokesman = self._office.spokesman()
            sender_der, key_id = sender_of(spokesman.certificate_der)
            extra = tuple(dict.fromkeys((spokesman.certificate_der, *spokesman.chain_der, *extra)))
            return Reply(
                self._written(body, information, Signing(spokesman.key), extra, sender_der, key_id, nonce), nonce
            )
        return Reply(self._written(body, information, protector, extra, sender_der, key_id, nonce), nonce)

    def _written(
        self,
        body: Body,
        information: Iterable[Information],
        protector: "Protector",
        certificates: tuple[bytes, ...],
        sender_der: bytes,
        key_id: bytes | None,
        nonce: bytes,
    ) -> bytes:
        header = answering(self._asked, self._at, nonce, sender_der, key_id, tuple(information))
        return write_message(header, body, protector, certificates)


def answering(
    asked: Header,
    at: datetime,
    nonce: bytes,
    sender_der: bytes,
    key_id: bytes | None,
    information: tuple[Information, ...] = (),
) -> Header:
    """The header of an answer to ``asked``."""
    return Header(
        sender_der=sender_der,
        recipient_der=asked.sender_der,
        transaction_id=asked.transaction_id,
        sender_nonce=nonce,
        recipient_nonce=asked.sender_nonce,
        message_at=at,
        sender_key_id=key_id,
        information=information,
        version=asked.version if asked.version in (VERSION_2, VERSION_3) else VERSION_2,
    )


def unprotected(office: Office, asked: Header, fault: CmpFault) -> bytes:
    """The error for a message whose sender is not known, which is all that he gets (RFC 9483 section 3.6.4)."""
    sender_der, _ = sender_of(office.chain_der()[0])
    return write_message(answering(asked, office.now(), new_nonce(), sender_der, None), failure(fault))


def failure(fault: CmpFault) -> Failure:
    """The body that tells of a fault."""
    return Failure(status_of(fault))


def status_of(fault: CmpFault) -> Status:
    """PKIStatusInfo with the fault's bit and its sentence, in English."""
    return Status(fault.status, (str(fault.phrase),), frozenset((fault.failure,)))


@lru_cache(maxsize=32)
def sender_of(certificate_der: bytes) -> tuple[bytes, bytes | None]:
    """Name and key identifier of whose certificate this is, as a header has them."""
    certificate = x509.load_der_x509_certificate(certificate_der)
    return directory_name_der(certificate.subject), key_id_of(certificate)


def key_id_of(certificate: x509.Certificate) -> bytes | None:
    """The subjectKeyIdentifier."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None
