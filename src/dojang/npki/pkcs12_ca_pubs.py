"""CaPubs in a PKCS#12 file: an attribute of the key's bag, whose type is ours; other programs pass over it."""

from dataclasses import replace
from typing import Final

from dojang.der import OCTET_STRING, SEQUENCE, SET, MalformedDer, expect, oid, parse, parts, tlv
from dojang.npki.pkcs12_bags import KeyBag

CA_PUBS: Final = "2.25.255928962815619643064559621422692894281"
"""A UUID as an object identifier (X.667): nobody has one for this file, whose inner form nobody has confirmed."""

_CA_PUBS_DER: Final = oid(CA_PUBS)


def with_ca_pubs(bag: KeyBag, ca_pubs: bytes) -> KeyBag:
    """The same key with these CaPubs in place of any other; none when they are empty."""
    others = tuple(one for one in bag.attributes if _value(one) is None)
    made = tlv(SEQUENCE, _CA_PUBS_DER, tlv(SET, tlv(OCTET_STRING, ca_pubs)))
    return replace(bag, attributes=(*others, made) if ca_pubs else others)


def ca_pubs_in(bag: KeyBag) -> bytes:
    """What ``with_ca_pubs`` put there, byte for byte; empty where there is nothing."""
    return next((value for one in bag.attributes if (value := _value(one)) is not None), b"")


def _value(attribute: bytes) -> bytes | None:
    try:
        kind, values = parts(parse(attribute, SEQUENCE), 2, 2)
        if kind.der != _CA_PUBS_DER:
            return None
        (value,) = parts(expect(values, SET), 1, 1)
        return expect(value, OCTET_STRING).content
    except MalformedDer:
        return None
