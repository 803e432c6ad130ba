"""dojang keeps the key that signs on a token and does everything around it."""

TYPE_CHECKING = False  # type checkers know the name; importing typing would take a third of the time of --version
if TYPE_CHECKING:
    from dojang.agent.opening import open_token as open_token
    from dojang.errors import DojangError as DojangError
    from dojang.otp.held.device import seeds_on as seeds_on
    from dojang.pkcs11.listing import find_token as find_token
    from dojang.pkcs11.listing import list_tokens as list_tokens
    from dojang.pkcs11.objects import KEY_ALGORITHMS as KEY_ALGORITHMS
    from dojang.pkcs11.opened import OpenToken as OpenToken
    from dojang.pkcs11.pin import PinSource as PinSource
    from dojang.pkcs11.uri import Pkcs11Uri as Pkcs11Uri
    from dojang.secret import Secret as Secret

__version__ = "0.1.0"

# Looked up on first use: `dojang --version` must not pay for cryptography or a PKCS#11 module.
_PUBLIC = {
    "DojangError": "dojang.errors",
    "KEY_ALGORITHMS": "dojang.pkcs11",
    "OpenToken": "dojang.pkcs11",
    "PinSource": "dojang.pkcs11",
    "Pkcs11Uri": "dojang.pkcs11",
    "Secret": "dojang.secret",
    "find_token": "dojang.pkcs11",
    "list_tokens": "dojang.pkcs11",
    "open_token": "dojang.agent.opening",
    "seeds_on": "dojang.otp.held.device",
}

__all__ = [
    "KEY_ALGORITHMS",
    "DojangError",
    "OpenToken",
    "PinSource",
    "Pkcs11Uri",
    "Secret",
    "__version__",
    "find_token",
    "list_tokens",
    "open_token",
    "seeds_on",
]


def __getattr__(name: str) -> object:
    """Import the room that holds a public name when the name is first used."""
    room = _PUBLIC.get(name)
    if room is None:
        raise AttributeError(f"module 'dojang' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(room), name)
