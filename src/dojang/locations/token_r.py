"""R on a token: a private data object tied to its key, written one way and read in every way others may write it."""

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dojang.der import BIT_STRING, CONSTRUCTED, OCTET_STRING, Element, MalformedDer, children, parse, tlv
from dojang.errors import Ambiguous, DeviceRefused, NotPermitted, Phrase
from dojang.locations.labels import Label
from dojang.npki.pkcs8 import R_BYTES
from dojang.pkcs11 import data_objects
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.locations.base import RObject
    from dojang.pkcs11 import OpenToken

_LONGEST: Final = 64
_ANOTHER: Final = Phrase("Use another token, or leave R behind on purpose with --without-r.")


def read(token: "OpenToken", key_id: bytes, names: "RObject") -> Secret | None:
    """R of one key: what is tied to it, the object with the label that is set before others; else what has that label
    and is tied to nothing. ``Ambiguous`` where several different ones are left.
    """
    tied = data_objects.read_all(token, key_id=key_id)
    named = [one for one in tied if Label.from_text(one.label).name == names.label]
    untied = [] if tied else [one for one in data_objects.read_all(token, label=names.label) if not one.tied]
    for found in (named, tied, untied):
        values = {value for one in found if (value := _from_value(one.value)) is not None}
        if len(values) > 1:
            raise Ambiguous(what=Phrase("R of this key"), matches=", ".join(one.label for one in found))
        if values:
            return Secret(values.pop())
    return None


def write(token: "OpenToken", random_number: Secret, key_id: bytes, label: str, names: "RObject") -> None:
    """Keep R for a key: its 20 bytes as they are; one of another length as an OCTET STRING, which shows its length."""
    value = random_number.reveal()
    stored = value if len(value) == R_BYTES else tlv(OCTET_STRING, value)
    token.add_data(stored, label=label, application=names.application, key_id=key_id)


def refuse_without_room(token: "OpenToken", remedy: Phrase = _ANOTHER) -> None:
    """``NotPermitted`` where the token keeps no private data objects: R would be lost."""
    if not data_objects.can_hold(token):
        raise NotPermitted(
            problem=Phrase(
                "token {token} keeps no data objects, so R, by which the owner is identified, would be lost",
                token=token.token.info.label,
            ),
            remedy=remedy,
        )


def bring_into_use(token: "OpenToken", names: "RObject", key_id: bytes) -> None:
    """A staged R takes its final label, by which programs find it that look for no CKA_ID."""
    _relabel(token, names, key_id, staged=True, state="")


def retire(token: "OpenToken", names: "RObject", key_id: bytes, state: str) -> None:
    """A live R is found by its label no more; ``state`` is what is added to it, as to the label of its certificate."""
    _relabel(token, names, key_id, staged=False, state=state)


def _relabel(token: "OpenToken", names: "RObject", key_id: bytes, *, staged: bool, state: str) -> None:
    for text in data_objects.labels_of(token, key_id):
        label = Label.from_text(text)
        if label.name == names.label and (label.staged if staged else label.live):
            with suppress(DeviceRefused):  # one that another program made unchangeable; its tie still tells
                data_objects.relabel(token, key_id, text, names.label + state)


def _from_value(value: bytes) -> bytes | None:
    """R from what an object holds: bare, or the one string inside DER of any shape; ``None`` for anything else."""
    if len(value) == R_BYTES:
        return value
    try:
        found = list(_strings(parse(value)))
    except MalformedDer:
        return None
    right = [one for one in found if len(one) == R_BYTES] or found
    return right[0] if len(set(right)) == 1 and 0 < len(right[0]) <= _LONGEST else None


def _strings(element: Element) -> list[bytes]:
    if element.tag == OCTET_STRING:
        return [element.content]
    if element.tag == BIT_STRING:
        return [element.content[1:]] if element.content[:1] == b"\0" else []
    if not element.tag & CONSTRUCTED:
        return []
    return [found for one in children(element) for found in _strings(one)]
