"""What reading cards needs and not everybody has installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from dojang.errors import ExtraMissing

_LIBRARIES: Final = ("smartcard", "yubikit")


@contextmanager
def smartcard_extra() -> Iterator[None]:
    """Around an import: ``ExtraMissing`` where pyscard or Yubico's library is not there or does not load."""
    try:
        yield
    except ImportError as error:
        library = (error.name or _LIBRARIES[0]).partition(".")[0]
        if library not in _LIBRARIES:
            raise
        raise ExtraMissing(module=library, extra="smartcard") from error
