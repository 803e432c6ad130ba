"""Who speaks to an authority elsewhere: the bearer of a code, or of a key (RFC 9483 sections 3.1 and 3.2)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID

from dojang.authority.elsewhere import Signer
from dojang.cmp.macs import Mac, new_pbm
from dojang.cmp.messages import Header
from dojang.cmp.names import NOBODY, directory_name_der
from dojang.cmp.protection import Signing
from dojang.cmp.trust import key_id_of
from dojang.x509.reading import read_certificate

if TYPE_CHECKING:
    from dojang.cmp.protection import Protector
    from dojang.secret import Secret


class ByCode:
    """A reference number says who it is, a MAC under its code that he is."""

    def __init__(self, reference: str, code: "Callable[[], Secret]", recipient: x509.Name | None) -> None:
        """The code is asked for when something is protected."""
        self._reference, self._code, self._recipient = reference, code, recipient
        self._mac: Mac | None = None

    def header(self) -> Header:
        sender = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._reference)])
        return Header(
            sender_der=directory_name_der(sender),
            recipient_der=directory_name_der(self._recipient or NOBODY),
            sender_key_id=self._reference.encode(),
        )

    def protector(self) -> "Protector":
        if self._mac is None:
            self._mac = Mac(self._code(), new_pbm())
        return self._mac

    def certificates(self) -> tuple[bytes, ...]:
        return ()


class BySignature:
    """The holder of a certificate, with a signature of its key where that lies."""

    def __init__(self, signer: Callable[[], Signer], recipient: x509.Name | None) -> None:
        """The key is opened when something is protected."""
        self._signer, self._recipient = signer, recipient

    def header(self) -> Header:
        certificate = read_certificate(self._signer().certificate_der)
        return Header(
            sender_der=directory_name_der(certificate.subject),
            recipient_der=directory_name_der(self._recipient or certificate.issuer),
            sender_key_id=key_id_of(certificate),
        )

    def protector(self) -> "Protector":
        return Signing(self._signer().key)

    def certificates(self) -> tuple[bytes, ...]:
        signer = self._signer()
        return tuple(dict.fromkeys((signer.certificate_der, *signer.chain_der)))
