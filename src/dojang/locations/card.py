"""A card whose PKCS#11 module only reads: its keys were put there by another program, and get their certificates here.

On a PIV card each key has one place for a certificate. What is delivered there, or put there so that modules see the
key, is a certificate that the key has signed for itself; that one gives way to an issued one, and nothing else does.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from dojang.errors import AlreadyExists, Phrase, UnsupportedOperation
from dojang.locations.base import R_OBJECT, RObject, StoredCredential, WaitingKey
from dojang.locations.issuers import is_authority
from dojang.locations.token import TokenLocation
from dojang.pcsc.extra import smartcard_extra
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from dojang.locations.base import PrivateKey
    from dojang.pcsc.piv import Place
    from dojang.pkcs11 import OpenToken
    from dojang.pkcs11.objects import TokenObject
    from dojang.pkcs11.pin import PinProvider


class CardLocation(TokenLocation):
    """As a token, for keys that are there already. ``management_keys`` gives what the card wants for a change."""

    def __init__(
        self,
        token: "OpenToken",
        asked: Pkcs11Uri,
        r_object: RObject = R_OBJECT,
        management_keys: "PinProvider | None" = None,
    ) -> None:
        """Where ``management_keys`` is ``None``, or gives none: the key that every card is delivered with."""
        super().__init__(token, asked, r_object)
        if self._uri.serial:  # OpenSC names the token after the holder of its first certificate, so that name changes
            self._uri = dataclasses.replace(self._uri, token=None)
        self._management_keys = management_keys
        self._chosen: set[bytes] = set()
        self._installed: dict[bytes, bytes] = {}
        self._issuers: tuple[bytes, ...] = ()

    def waiting_key(self, address: str) -> WaitingKey | None:
        """As ``KeepsKeys``; told by the certificates, so that no PIN is asked."""
        from cryptography import x509

        from dojang.x509.keys import algorithm_of

        wanted = Pkcs11Uri.from_text(address)
        found = self._certificates(label=wanted.object, key_id=wanted.id)
        if len(found) != 1:
            return None
        self._refuse_issued(found[0])
        self._chosen.add(found[0].key_id)
        public_key = x509.load_der_x509_certificate(found[0].value).public_key()
        return WaitingKey(found[0].key_id, algorithm_of(public_key))

    def generate(self, algorithm: str, *, key_id: bytes, label: str, replaces: bytes | None = None) -> "PrivateKey":
        """The key that was chosen; none is chosen for somebody who named none, and none is made."""
        if key_id not in self._chosen:
            self.refuse_new_key()
        self._prove_management_key(self._here(key_id))
        return self.private_key(key_id)

    def refuse_new_key(self) -> NoReturn:
        """As ``KeepsKeys``."""
        keys = ", ".join(self._credential(one, named=False).address for one in self._certificates())
        by = {"program": self._token.key_making_program}
        advice = Phrase("Make it with the module's own program: {program}", **by)
        if keys:
            advice = Phrase(
                "Name a key that is there ({keys}), or make one with: {program}. The module shows a key only where it "
                "has a certificate, such as one that it signs for itself ('ykman piv certificates generate').",
                keys=keys,
                **by,
            )
        raise UnsupportedOperation(
            where=Phrase("Token {token}", token=self._token.token.info.label),
            operation=Phrase("make this key through its module"),
            next_step=advice,
        )

    def install(
        self,
        *,
        key_id: bytes,
        label: str,
        certificate_der: bytes,
        chain_der: Sequence[bytes] = (),
        replaces: bytes | None = None,
    ) -> StoredCredential:
        """Beside its key; issuers have no place on such a card, and the label is the card's own.

        A successor for the same key waits in the journal until ``switch``: there is no second place for it.
        """
        here = self._here(key_id, certificate_der)
        self._issuers = tuple(chain_der)
        if replaces == key_id:
            self._prove_management_key(here)
            staged = here._replace(value=certificate_der)
            return dataclasses.replace(self._credential(staged, named=False), staged=True)
        if here.value != certificate_der:
            self._refuse_issued(here)
            self._put(here, certificate_der)
        return self._shown(here, certificate_der)

    def switch(self, *, old_key_id: bytes, new_key_id: bytes, certificate_der: bytes | None = None) -> StoredCredential:
        """The successor takes the one place, in one step; of the old certificate the record tells."""
        if old_key_id != new_key_id or certificate_der is None:
            return super().switch(old_key_id=old_key_id, new_key_id=new_key_id, certificate_der=certificate_der)
        here = self._here(new_key_id, certificate_der)
        if here.value != certificate_der:
            self._put(here, certificate_der)
        return self._shown(here, certificate_der)

    def _here(self, key_id: bytes, successor: bytes | None = None) -> "TokenObject":
        """What lies there now; nothing where a ``successor`` is for another key: that one was made anew meanwhile."""
        for one in self._certificates(key_id=key_id):
            if successor is None or _key_in(one.value) == _key_in(successor):
                return one
        raise self._missing(Phrase("The private key"))

    def _shown(self, here: "TokenObject", certificate_der: bytes) -> StoredCredential:
        self._installed[here.key_id] = certificate_der
        return self._credential(here._replace(value=certificate_der), named=False)

    def discard(self, key_id: bytes) -> None:
        """Nothing: the key was there before, and what was undone had not come to its certificate."""

    def chain_of(self, certificate_der: bytes) -> tuple[bytes, ...]:
        """Those that came with what was installed just now; none stays on the card."""
        return self._issuers if certificate_der in self._installed.values() else super().chain_of(certificate_der)

    def _certificates(self, *, label: str | None = None, key_id: bytes | None = None) -> "list[TokenObject]":
        """With what was installed just now: OpenSC goes on showing what it read when it met the card."""
        found = super()._certificates(label=label, key_id=key_id)
        return [one._replace(value=self._installed.get(one.key_id, one.value)) for one in found]

    def _put(self, here: "TokenObject", certificate_der: bytes) -> None:
        with smartcard_extra():
            from dojang.pcsc.piv import put_certificate
        put_certificate(self._place(here), certificate_der, self._management_key())

    def _prove_management_key(self, here: "TokenObject") -> None:
        with smartcard_extra():
            from dojang.pcsc.piv import prove_management_key
        prove_management_key(self._place(here), self._management_key())

    def _place(self, here: "TokenObject") -> "Place":
        from dojang.pcsc.piv import Place

        token = self._token.token
        return Place(token.slot.description, token.info.label, here.key_id, here.value)

    def _management_key(self) -> Secret | None:
        if self._management_keys is None:
            return None
        from dojang.pkcs11.pin import PinRequest

        info = self._token.token.info
        return self._management_keys(PinRequest(info.label, info.serial, "so", False, False, 32, 64))

    def _refuse_issued(self, one: "TokenObject") -> None:
        """Whatever anybody else has signed, and an authority's root: neither can be had again from the key."""
        from cryptography import x509

        from dojang.x509.path import is_signed_by

        certificate = x509.load_der_x509_certificate(one.value)
        if not is_signed_by(certificate, certificate) or is_authority(one.value):
            address = self._credential(one, named=False).address
            raise AlreadyExists(
                what=Phrase("A certificate for '{label}'", label=one.label),
                where=address,
                next_step="Choose another key: 'dojang token show' lists them. A card holds one certificate for each.",
            )


def _key_in(certificate_der: bytes) -> "CertificatePublicKeyTypes":
    from cryptography import x509

    return x509.load_der_x509_certificate(certificate_der).public_key()
