"""A PIV card in a reader, ready for OpenSC: what tests ask for."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509

from dojang.testing.pcsc import Pcscd, pcscd
from dojang.testing.piv import objects
from dojang.testing.piv.application import Slot
from dojang.testing.piv.card import PIN, PUK, Card
from dojang.testing.setup import BringUpFailed, TokenSetup

MODULE_NAME: Final = "opensc-pkcs11.so"
_LABEL_WITHOUT_CERTIFICATE: Final = "PIV_II"
_SERIAL_DIGITS: Final = 16  # CK_TOKEN_INFO has room for the end of the GUID


class PluggedIn(NamedTuple):
    """``setup`` for whoever uses the token, ``card`` for whoever counts and disturbs, ``daemon`` and its ``port``."""

    setup: TokenSetup
    card: Card
    daemon: Pcscd
    port: int


@contextmanager
def plugged_in(card: Card | None = None, *, pin: str = PIN, puk: str = PUK) -> Iterator[PluggedIn]:
    """A card (a fresh one, or ``card`` with its ``pin`` and ``puk``) in a reader of this process's own pcscd.

    ``with plugged_in() as (setup, card, daemon, port)``: ``setup.module`` is OpenSC's, ``setup.uri`` names the token,
    ``setup.environment`` is for child processes. Pull the card with ``card.remove()``, put it back with
    ``card.insert(port)``, kill and restart the daemon with ``daemon.restart()`` (then insert again).

    Enter it **before this process loads the module**: libpcsclite reads the name of its socket once. This sets it in
    ``os.environ``, and every later ``plugged_in()`` of the process uses the same one.
    """
    card = card or Card(pin=pin, puk=puk)
    with pcscd() as daemon, daemon.reader() as port, tempfile.TemporaryDirectory(prefix="dojang-piv-") as folder, card:
        card.insert(port)
        setup = TokenSetup(
            name="piv",
            module=opensc_module(),
            label=_label(card),
            serial=card.guid.hex()[-_SERIAL_DIGITS:],
            pin=pin,
            so_pin=puk,
            pin_source=_secret_file(Path(folder) / "pin", pin),
            so_pin_source=_secret_file(Path(folder) / "puk", puk),
            environment=dict(daemon.environment),
        )
        yield PluggedIn(setup, card, daemon, port)


def opensc_module() -> Path:
    """OpenSC's PKCS#11 module."""
    for folder in (*Path("/usr/lib").glob("*-linux-gnu"), Path("/usr/lib64"), Path("/usr/lib"), Path("/usr/local/lib")):
        if (folder / MODULE_NAME).exists():
            return folder / MODULE_NAME
    raise BringUpFailed(f"{MODULE_NAME} is not installed (Debian: apt-get install opensc-pkcs11).")


def _label(card: Card) -> str:
    """What OpenSC makes the label of: the common name in the certificate for authentication."""
    if objects.CERTIFICATE[Slot.AUTHENTICATION] not in card.objects:
        return _LABEL_WITHOUT_CERTIFICATE
    subject = x509.load_der_x509_certificate(card.certificate(Slot.AUTHENTICATION)).subject
    return str(subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def _secret_file(path: Path, secret: str) -> str:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret)
    return f"file:{path}"
