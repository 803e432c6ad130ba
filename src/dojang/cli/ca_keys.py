"""The keys that commands of ``ca`` are given by address: found on their token, or made there."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from dojang.cli.context import Invocation
from dojang.cli.language import _
from dojang.errors import Ambiguous, Phrase

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

    from dojang.pkcs11.opened import OpenToken
    from dojang.pkcs11.uri import Pkcs11Uri

    Journal = Callable[["KeyPlace"], AbstractContextManager[None]]


class KeyPlace:
    """Where the key is or will be: on which token, under which id and lasting address; ``made`` if it is not there."""

    def __init__(self, token: "OpenToken", uri: "Pkcs11Uri", label: str) -> None:
        from secrets import token_bytes

        there = _key_there(token, uri, label)
        self.token, self.made = token, there is None
        self.key_id = there or uri.id or token_bytes(8)
        self.address = _lasting_address(token, uri, self.key_id)

    @property
    def location(self) -> str:
        """The address of its token."""
        from dojang.pkcs11.uri import Pkcs11Uri

        return Pkcs11Uri.from_text(self.address).token_part().to_text()


@contextlib.contextmanager
def key_at(
    invocation: Invocation, address: str, usual_label: str, algorithm: str, journal: "Journal"
) -> "Iterator[tuple[PrivateKey, str]]":
    """The key at ``address`` and where it is found again. One that is not there is made, inside ``journal``, which
    removes it again where it was made for nothing.
    """
    from dojang.pkcs11 import open_token
    from dojang.pkcs11.uri import Pkcs11Uri

    uri = Pkcs11Uri.from_text(invocation.address(address))
    opened = open_token(
        replace(uri.token_part(), pin_source=None, pin_value=None),
        invocation.ca_pin_provider(uri),
        search=invocation.search(),
        guard=invocation.pin_guard(),
        last_try=invocation.last_try,
    )
    with opened as token:
        label = uri.object or usual_label
        place = KeyPlace(token, uri, label)
        with journal(place):
            if place.made:
                invocation.out.note(_("Making the key …"))
                token.generate_key_pair(algorithm, label=label, key_id=place.key_id)
            yield token.private_key(key_id=place.key_id), place.address


def _key_there(token: "OpenToken", uri: "Pkcs11Uri", label: str) -> bytes | None:
    """The id of the key that the address names, if it is there; ``Ambiguous`` where several are."""
    found = list(token.keys(label=None if uri.id else label, key_id=uri.id))
    if len(found) > 1:
        raise Ambiguous(what=Phrase("key {label}", label=label), matches=[token.object_address(one) for one in found])
    return found[0].key_id if found else None


def _lasting_address(token: "OpenToken", uri: "Pkcs11Uri", key_id: bytes) -> str:
    """Where the key is found again: by its token and its id, through the same module and PIN source; never a PIN."""
    from dojang.pkcs11.uri import Pkcs11Uri

    found = Pkcs11Uri.from_text(token.address)
    same = replace(found, module_name=uri.module_name, module_path=uri.module_path, pin_source=uri.pin_source)
    return same.for_object(id=key_id, type="private").to_text()
