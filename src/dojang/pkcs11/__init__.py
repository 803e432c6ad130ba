"""PKCS#11 in its own words: modules, slots, tokens, sessions, objects, mechanisms, keys and PINs.

    with open_token("pkcs11:token=Hong", Secret(pin)) as token:
        key = token.private_key(label="signing")

Names are loaded when first used, so that a command pays only for what it touches.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dojang.pkcs11.discovery import ModuleSearch, ModuleSpec
    from dojang.pkcs11.events import TokenEvent, watch
    from dojang.pkcs11.generation import KeyUse
    from dojang.pkcs11.guard import PinGuard
    from dojang.pkcs11.listing import TokenListing, find_token, list_tokens
    from dojang.pkcs11.objects import KEY_ALGORITHMS, TokenObject
    from dojang.pkcs11.opened import OpenToken, open_token
    from dojang.pkcs11.pin import PinProvider, PinRequest, PinSource, PinState
    from dojang.pkcs11.signer import TokenSigner
    from dojang.pkcs11.token import Slot, Token, TokenInfo
    from dojang.pkcs11.uri import Pkcs11Uri

_HOME = {
    "ModuleSearch": "discovery",
    "ModuleSpec": "discovery",
    "TokenEvent": "events",
    "watch": "events",
    "KeyUse": "generation",
    "PinGuard": "guard",
    "KEY_ALGORITHMS": "objects",
    "TokenObject": "objects",
    "OpenToken": "opened",
    "open_token": "opened",
    "PinProvider": "pin",
    "PinRequest": "pin",
    "PinSource": "pin",
    "PinState": "pin",
    "TokenSigner": "signer",
    "Slot": "token",
    "Token": "token",
    "TokenInfo": "token",
    "TokenListing": "listing",
    "find_token": "listing",
    "list_tokens": "listing",
    "Pkcs11Uri": "uri",
}

__all__ = [
    "KEY_ALGORITHMS",
    "KeyUse",
    "ModuleSearch",
    "ModuleSpec",
    "OpenToken",
    "PinGuard",
    "PinProvider",
    "PinRequest",
    "PinSource",
    "PinState",
    "Pkcs11Uri",
    "Slot",
    "Token",
    "TokenEvent",
    "TokenInfo",
    "TokenListing",
    "TokenObject",
    "TokenSigner",
    "find_token",
    "list_tokens",
    "open_token",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
