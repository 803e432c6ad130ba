"""What somebody who has brought up a token hands to those who use it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from dojang.testing.daemon import Daemon


class BringUpFailed(RuntimeError):
    """Something that a token for tests needs is not installed, not allowed or does not start; the text says what."""


@dataclass(frozen=True, slots=True)
class TokenSetup:
    """A token that is there: the module that shows it, what its environment must say, and its PINs.

    ``environment`` belongs into ``os.environ`` before the module is loaded, and into that of every child that uses the
    token. ``pin`` and ``so_pin`` are for tests only; ``so_pin`` is ``None`` where the token has none that we may use.
    ``pin_source`` and ``so_pin_source`` name files with them (mode 0600), as ``--pin-source`` wants it.
    ``unlock_command`` takes back a lock that is the device's and not the PIN's; ``daemons`` stand behind the module.
    """

    name: str
    module: Path
    label: str
    serial: str
    pin: str = field(repr=False)
    so_pin: str | None = field(repr=False)
    pin_source: str
    so_pin_source: str | None
    environment: Mapping[str, str]
    init_string: str | None = None
    unlock_command: tuple[str, ...] = ()
    daemons: "Mapping[str, Daemon]" = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """The token by label and serial (RFC 7512)."""
        serial = f";serial={quote(self.serial)}" if self.serial else ""
        return f"pkcs11:token={quote(self.label)}{serial}"
