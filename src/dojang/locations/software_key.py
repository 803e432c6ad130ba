"""A key made elsewhere, opened for a token to take in."""

from typing import TYPE_CHECKING

from dojang.errors import FileMalformed, Phrase, UnsupportedMechanism

if TYPE_CHECKING:
    from dojang.npki.pkcs8 import Pkcs8
    from dojang.pkcs11.importing import SoftwareKey


def software_key(pkcs8: "Pkcs8") -> "SoftwareKey":
    """The key itself; ``FileMalformed`` for a damaged one, ``UnsupportedMechanism`` for a kind no token here takes."""
    from cryptography.exceptions import UnsupportedAlgorithm

    from dojang.pkcs11.importing import SoftwareKey

    try:
        key = pkcs8.key()
    except UnsupportedAlgorithm as error:
        raise UnsupportedMechanism(where="dojang", mechanism=Phrase("keys of this kind")) from error
    except (ValueError, TypeError) as error:
        raise FileMalformed(
            path=Phrase("The key"), expected=Phrase("a private key"), problem=Phrase("its parts do not fit together")
        ) from error
    if not isinstance(key, SoftwareKey):
        raise UnsupportedMechanism(where="dojang", mechanism=Phrase("keys of this kind"))
    return key
