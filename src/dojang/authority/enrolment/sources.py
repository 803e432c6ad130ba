"""Who is counted as one source of wrong tries: an address, and for IPv6 the network of a household (/64)."""

import ipaddress
from functools import lru_cache
from typing import Final

_LONGEST: Final = 64
_HOUSEHOLD: Final = 64


@lru_cache(maxsize=128)
def source_of(peer: str) -> str:
    """The source behind an address; what is none stands for itself (``local``)."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer[:_LONGEST] if peer.isascii() and peer.isprintable() else "?"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _HOUSEHOLD), strict=False))
    return str(address)
