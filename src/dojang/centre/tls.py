"""TLS for the centre's listeners: its certificate, and whose certificates callers may show."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dojang.errors import FileMalformed, FileUnreadable, Phrase

TLS_SECONDS: Final[dict[str, float]] = {"ssl_handshake_timeout": 10.0, "ssl_shutdown_timeout": 2.0}
"""How long a caller may take to begin and to end, as ``loop.create_server`` has it."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. With ``client_ca`` a caller may show a certificate that one of these issued, or must."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_required: bool = False

    def context(self) -> ssl.SSLContext:
        """The files as they are now; TLS 1.2 and 1.3. Raises ``FileUnreadable`` and ``FileMalformed``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _read(self.certificate, lambda: context.load_cert_chain(self.certificate, self.key, _no_password), self.key)
        if self.client_ca is not None:
            client_ca = self.client_ca
            _read(client_ca, lambda: context.load_verify_locations(client_ca))
            context.verify_mode = ssl.CERT_REQUIRED if self.client_required else ssl.CERT_OPTIONAL
        return context


def _no_password() -> str:
    raise ValueError("a password")


def _read(path: Path, load: Callable[[], object], *others: Path) -> None:
    for one in (path, *others):
        try:
            one.open("rb").close()
        except OSError as error:
            raise FileUnreadable(path=one, problem=error.strerror or str(error)) from error
    try:
        load()
    except (ssl.SSLError, ValueError) as error:
        expected = Phrase("a TLS certificate with its key, in PEM and without a password")
        problem = getattr(error, "reason", None) or Phrase("it cannot be used")
        raise FileMalformed(path=path, expected=expected, problem=problem) from error
