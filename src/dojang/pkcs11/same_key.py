"""Whether the private key that a search finds now is the one it found before: its public half tells.

Between two looks another process may have initialised the token anew and made a key under the same label and CKA_ID.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from dojang.pkcs11 import constants as ck

if TYPE_CHECKING:
    from dojang.pkcs11.session import Search, Session

PUBLIC_HALF: Final = -1
"""Last in a search, and no attribute of the standard: what ``half_of`` said of the key that is meant."""

_END_OF_POINT: Final = 32
_SHOWN: Final = (ck.CKA_MODULUS, ck.CKA_EC_POINT, ck.CKA_VALUE)


def half_of(values: Mapping[int, bytes]) -> bytes | None:
    """What names one public key wherever it is written down, in a certificate too; ``None`` where nothing shows it.

    The modulus without leading zeros, or the end of the point, whose beginning modules write in different ways.
    """
    modulus, point = values.get(ck.CKA_MODULUS), values.get(ck.CKA_EC_POINT)
    if modulus:
        return modulus.lstrip(b"\0")
    return point[-_END_OF_POINT:] if point and len(point) >= _END_OF_POINT else None


def narrowed(search: "Search", half: bytes | None) -> "Search":
    """``search`` for the key with this public half and no other."""
    return search if half is None else (*search, (PUBLIC_HALF, half))


def has_half(session: "Session", handle: int, half: bytes) -> bool:
    """Whether the private key itself, the public key or a certificate under its CKA_ID shows this public half."""
    values = session.read(handle, (ck.CKA_ID, ck.CKA_MODULUS))
    if own := half_of(values):
        return own == half
    key_id = values.get(ck.CKA_ID)
    if not key_id:
        return False
    for kind in (ck.CKO_PUBLIC_KEY, ck.CKO_CERTIFICATE):
        for found in session.cryptoki.find_objects(session.handle, ((ck.CKA_CLASS, kind), (ck.CKA_ID, key_id))):
            if any(half in value for value in session.read(found, _SHOWN).values()):
                return True
    return False
