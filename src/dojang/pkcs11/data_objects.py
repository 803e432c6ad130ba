"""Data objects, tied to their keys by CKA_ID, by CKA_OBJECT_ID or by CKA_APPLICATION, whichever the token takes."""

import hashlib
import os

from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.generation import Attributes
from dojang.pkcs11.objects import search_for
from dojang.pkcs11.session import Search, Session


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


def object_id(key_id: bytes) -> bytes:
    """CKA_OBJECT_ID that ties a data object to a key: the identifier 2.25.N (X.667), N made of the CKA_ID."""
    number = int.from_bytes(hashlib.sha256(key_id).digest()[:16], "big")
    arcs = bytearray([number & 0x7F])
    while number := number >> 7:
        arcs.insert(0, 0x80 | (number & 0x7F))
    body = bytes([2 * 40 + 25]) + bytes(arcs)
    return b"\x06" + bytes([len(body)]) + body


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
    return ck.CKA_APPLICATION, b"for the key " + key_id.hex().encode()
