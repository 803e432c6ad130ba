"""dojang keeps the key that signs on a token and does everything around it."""

TYPE_CHECKING = False  # type checkers know the name; importing typing would take a third of the time of --version
if TYPE_CHECKING:
    from dojang.errors import DojangError as DojangError
    from dojang.secret import Secret as Secret

__version__ = "0.1.0"

# Looked up on first use: `dojang --version` must not pay for cryptography or a PKCS#11 module.
_PUBLIC = {
    "DojangError": "dojang.errors",
    "Secret": "dojang.secret",
}

__all__ = ["DojangError", "Secret", "__version__"]


def __getattr__(name: str) -> object:
    """Import the room that holds a public name when the name is first used."""
    room = _PUBLIC.get(name)
    if room is None:
        raise AttributeError(f"module 'dojang' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(room), name)
