"""Certificates and requests in files, as commands read and write them."""

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path

from dojang.errors import FileUnreadable, FileUnwritable

LARGEST_FILE = 1 << 25


def read_file(path: str | Path) -> bytes:
    """The whole file, of a certificate's size at most. ``FileUnreadable``."""
    try:
        with Path(path).open("rb") as file:
            return file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        raise FileUnreadable(path=path, problem=getattr(error, "strerror", None) or str(error)) from error


def certificates_of(path: str | Path) -> list[bytes]:
    """The certificates in a file, each in DER. ``FileUnreadable``, ``FileMalformed``."""
    from dojang.x509.reading import certificates_in

    return certificates_in(read_file(path), path)


def pem_of(certificates_der: Iterable[bytes]) -> str:
    """Certificates in PEM, one after the other."""
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import load_der_x509_certificate

    return "".join(load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode() for der in certificates_der)


def check_writable(path: Path) -> None:
    """Before something is made whose only account goes there. ``FileUnwritable``."""
    part = path.with_name(f"{path.name}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        part.touch()
        part.unlink()
    except OSError as error:
        raise FileUnwritable(path=path, problem=error.strerror or str(error)) from error


def write_file(path: Path, content: bytes) -> None:
    """The file, whole or not at all. ``FileUnwritable``."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # where not even that can be looked for
            part.unlink()
        raise FileUnwritable(path=path, problem=error.strerror or str(error)) from error
