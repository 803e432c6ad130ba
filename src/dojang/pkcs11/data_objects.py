"""Data objects, tied to their keys by CKA_ID, by CKA_OBJECT_ID or by CKA_APPLICATION, whichever the token takes."""

import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple

from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.generation import Attributes
from dojang.pkcs11.objects import ABOUT_THE_SESSION, search_for
from dojang.pkcs11.session import Search, Session
from dojang.pkcs11.structures import utf8

if TYPE_CHECKING:
    from dojang.pkcs11.opened import OpenToken

_TIES = (ck.CKA_LABEL, ck.CKA_ID, ck.CKA_OBJECT_ID, ck.CKA_APPLICATION)
_READ = (*_TIES, ck.CKA_VALUE)
_TIE = b"for the key "
_SAY_NOTHING = (ck.CKR_USER_NOT_LOGGED_IN, ck.CKR_HOST_MEMORY, ck.CKR_DEVICE_MEMORY, ck.CKR_TOKEN_RESOURCE_EXCEEDED)
"""Answers that are no refusal of data objects as such."""


class DataObject(NamedTuple):
    """One data object; ``tied`` says whether it tells which key it belongs to. Its value may be a secret."""

    label: str
    value: bytes
    tied: bool

    def __repr__(self) -> str:
        return f"DataObject({self.label!r})"


def store(session: Session, attributes: Attributes, key_id: bytes) -> None:
    """Make a data object on the token, tied to the key."""
    head: Attributes = [(ck.CKA_CLASS, ck.CKO_DATA), (ck.CKA_TOKEN, True)]
    try:
        session.cryptoki.create_object(session.handle, [*head, *attributes, _tie(session, key_id)])
    except CryptokiError as error:
        if error.rv not in (ck.CKR_TEMPLATE_INCONSISTENT, ck.CKR_ATTRIBUTE_TYPE_INVALID):
            raise
        # It takes the attributes alone that every data object has; one of them carries the tie.
        plain = [attribute for attribute in attributes if attribute[0] != ck.CKA_APPLICATION]
        session.cryptoki.create_object(session.handle, [*head, *plain, _application_tie(key_id)])


def searches(key_id: bytes | None, label: str | None = None) -> list[Search]:
    """What finds the data objects of a key, or, without one, those of a label."""
    if key_id is None:
        return [search_for(ck.CKO_DATA, label=label)]
    ties = (ck.CKA_ID, key_id), (ck.CKA_OBJECT_ID, object_id(key_id)), _application_tie(key_id)
    return [((ck.CKA_CLASS, ck.CKO_DATA), tie) for tie in ties]


def read_all(token: "OpenToken", *, key_id: bytes | None = None, label: str | None = None) -> list[DataObject]:
    """The data objects tied to ``key_id``, or those of a label; logs in."""

    def read(session: Session) -> list[DataObject]:
        found = {}
        for search in searches(key_id, label):
            for handle in session.cryptoki.find_objects(session.handle, search):
                found[handle] = _from_attributes(session.read(handle, _READ))
        return list(found.values())

    return token.surely(read)


def labels_of(token: "OpenToken", key_id: bytes) -> list[str]:
    """The labels of the data objects tied to ``key_id``, with one search, whatever ties them; logs in."""
    wanted = (ck.CKA_ID, key_id), (ck.CKA_OBJECT_ID, object_id(key_id)), _application_tie(key_id)

    def read(session: Session) -> list[str]:
        handles = session.cryptoki.find_objects(session.handle, search_for(ck.CKO_DATA))
        found = [session.read(handle, _TIES) for handle in handles]
        tied = [values for values in found if any(values.get(kind) == value for kind, value in wanted)]
        return [_from_attributes(values).label for values in tied]

    return token.surely(read)


def relabel(token: "OpenToken", key_id: bytes, old: str, new: str) -> None:
    """Give the data objects of a key that are called ``old`` another label."""

    def change(session: Session) -> None:
        for search in searches(key_id):
            for handle in session.cryptoki.find_objects(session.handle, (*search, (ck.CKA_LABEL, utf8(old)))):
                session.cryptoki.set_attributes(session.handle, handle, [(ck.CKA_LABEL, utf8(new))])

    token.surely(change)


def can_hold(token: "OpenToken") -> bool:
    """Whether the token keeps private data objects, found out by making one, which is gone afterwards; logs in.

    One that lives no longer than its session says it where the token makes such objects at all.
    """
    return any(token.logged_in(lambda session, lasting=lasting: _holds(session, lasting)) for lasting in (False, True))  # type: ignore[misc]


def object_id(key_id: bytes) -> bytes:
    """CKA_OBJECT_ID that ties a data object to a key: the identifier 2.25.N (X.667), N made of the CKA_ID."""
    number = int.from_bytes(hashlib.sha256(key_id).digest()[:16], "big")
    arcs = bytearray([number & 0x7F])
    while number := number >> 7:
        arcs.insert(0, 0x80 | (number & 0x7F))
    body = bytes([2 * 40 + 25]) + bytes(arcs)
    return b"\x06" + bytes([len(body)]) + body


def _from_attributes(values: dict[int, bytes]) -> DataObject:
    tied = bool(values.get(ck.CKA_ID) or values.get(ck.CKA_OBJECT_ID))
    return DataObject(
        label=values.get(ck.CKA_LABEL, b"").decode("utf-8", "replace").rstrip("\0"),
        value=values.get(ck.CKA_VALUE, b""),
        tied=tied or values.get(ck.CKA_APPLICATION, b"").startswith(_TIE),
    )


def _holds(session: Session, lasting: bool) -> bool:
    mark = (ck.CKA_LABEL, b"trial " + os.urandom(8).hex().encode())
    head: Attributes = [(ck.CKA_CLASS, ck.CKO_DATA), (ck.CKA_TOKEN, lasting), (ck.CKA_PRIVATE, True), mark]
    try:
        session.cryptoki.create_object(session.handle, [*head, (ck.CKA_VALUE, b"?")])
        taken = True
    except CryptokiError as error:
        if error.rv in (*ABOUT_THE_SESSION, *_SAY_NOTHING):
            raise
        taken = False
    for handle in session.cryptoki.find_objects(session.handle, [mark]):
        session.cryptoki.destroy_object(session.handle, handle)
    return taken


def _tie(session: Session, key_id: bytes) -> tuple[int, bytes]:
    """CKA_ID where a data object may have one, found out with a session object: what is refused leaves an empty object
    behind on SoftHSM (seen, 2.6.1), and this one can be told from all others.
    """
    mark = (ck.CKA_LABEL, os.urandom(16).hex().encode())
    passing: Attributes = [(ck.CKA_CLASS, ck.CKO_DATA), (ck.CKA_TOKEN, False), (ck.CKA_PRIVATE, False), mark]
    try:
        session.cryptoki.create_object(session.handle, [*passing, (ck.CKA_ID, key_id)])
        tie = ck.CKA_ID, key_id
    except CryptokiError:
        tie = ck.CKA_OBJECT_ID, object_id(key_id)
    for handle in session.cryptoki.find_objects(session.handle, [mark]):
        session.cryptoki.destroy_object(session.handle, handle)
    return tie


def _application_tie(key_id: bytes) -> tuple[int, bytes]:
    return ck.CKA_APPLICATION, _TIE + key_id.hex().encode()
