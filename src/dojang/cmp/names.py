"""GeneralName, as far as CMP names people by it: nearly always a directoryName (RFC 5280 section 4.2.1.6)."""

from functools import lru_cache

from cryptography import x509

from dojang.cmp.schema import decode, malformed, tlv_of
from dojang.der import tlv

_DIRECTORY_NAME = 0xA4
_LONGEST = 4096
"""Bytes. Names are read before anybody has proved who he is, and a name taken apart is fifty times its size."""
NOBODY = x509.Name([])
"""NULL-DN: the sender of a message that only a shared secret protects (RFC 9810 section 5.1.1)."""


def directory_name(general_name_der: bytes) -> x509.Name | None:
    """The distinguished name, ``None`` for another kind of name. Raises ``CmpFault`` with badDataFormat."""
    if len(general_name_der) > _LONGEST:
        raise malformed()
    if general_name_der[0] != _DIRECTORY_NAME:
        return None
    return _name(general_name_der)


@lru_cache(maxsize=64)
def _name(general_name_der: bytes) -> x509.Name:
    return decode(x509.Name, tlv_of(general_name_der).data)


@lru_cache(maxsize=256)
def directory_name_der(name: x509.Name) -> bytes:
    """The distinguished name as a GeneralName."""
    return tlv(_DIRECTORY_NAME, name.public_bytes())
