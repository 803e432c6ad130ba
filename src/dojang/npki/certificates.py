"""Certificates that lie beside keys, from bytes that anybody may have written."""

from functools import lru_cache
from typing import TYPE_CHECKING

from dojang.tbs import Glance, glance_at

if TYPE_CHECKING:
    from cryptography import x509


_USUAL_BYTES = 1 << 13


def load_certificate(der: bytes) -> "x509.Certificate":
    """The certificate; ``ValueError`` for whatever is none, also where the library has an error of another kind."""
    return seen_before(der).certificate


def seen_before(der: bytes) -> Glance:
    """The same with its fields; whoever moves a folder looks at the same few certificates again and again."""
    return (_kept if len(der) <= _USUAL_BYTES else load_seen)(der)


def load_seen(der: bytes) -> Glance:
    """The same for lists of thousands, of which nothing is kept."""
    try:
        return glance_at(der)
    except ValueError:
        raise
    except Exception as error:
        from cryptography.x509 import InvalidVersion

        if isinstance(error, (InvalidVersion, TypeError)):
            raise ValueError("it is no certificate") from error
        raise


_kept = lru_cache(maxsize=64)(load_seen)
