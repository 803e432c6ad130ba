"""What modules do differently and cannot be asked about: one row each, with its source."""

from typing import NamedTuple


class Quirk(NamedTuple):
    """Applies to tokens whose manufacturer begins with ``manufacturer``."""

    manufacturer: str
    max_sessions: int
    reason: str


QUIRKS = (
    Quirk("OpenSC", 1, "A card does one thing at a time and each extra session probes it (0.2 s, seen with 0.23)."),
    Quirk("Yubico", 1, "A card does one thing at a time; see the row above."),
    Quirk("IBM", 8, "opencryptoki serialises in its daemon; more sessions only cost (seen with 3.8.1)."),
)

DEFAULT_MAX_SESSIONS = 16

ONE_CALL_AT_A_TIME = ("p11-kit-client",)
"""Modules, by the beginning of their file's name, that are not called by two threads at once. p11-kit's client has one
connection for all; when its server dies, the threads that wait for each other's answers never return (seen, 0.24.1)."""


def max_sessions(manufacturer: str, stated: int | None) -> int:
    """How many sessions to keep on a token: the quirk's number or the default, within what the token itself states."""
    wanted = next((quirk.max_sessions for quirk in QUIRKS if manufacturer.startswith(quirk.manufacturer)), None)
    limit = wanted if wanted is not None else DEFAULT_MAX_SESSIONS
    return min(limit, stated) if stated else limit
