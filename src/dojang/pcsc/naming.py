"""Readers by what PKCS#11 modules say of their slots.

Modules for cards (OpenSC, Yubico's ykcs11) describe a slot by the name of the PC/SC reader, which is in use once on a
machine, in at most 64 bytes.
"""

from collections.abc import Sequence
from typing import Final

_LONGEST_DESCRIPTION: Final = 64


def fits(reader: str, description: str) -> bool:
    """Whether a slot with that description may be this reader: by its whole name, or where that was cut off."""
    wanted = description.encode()
    return reader == description or (len(wanted) >= _LONGEST_DESCRIPTION and reader.encode().startswith(wanted))


def reader_described_as(description: str, readers: Sequence[str]) -> str:
    """The one of ``readers`` that a slot with that description is; the description where that is not certain."""
    fitting = [reader for reader in readers if fits(reader, description)]
    return fitting[0] if len(fitting) == 1 else description
