"""Tokens for tests, real ones: what dojang is tested with, for people who test their own software with tokens.

``dojang.testing.plugin`` has the fixtures for pytest. Without pytest:

    from dojang.testing.softhsm import softhsm

    with softhsm() as hsm, hsm.in_this_process():
        token = hsm.token("Hong")

Names are loaded when first used: pytest imports this package for everybody who has dojang installed.
"""

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from dojang.testing.card_token import CardToken as CardToken
    from dojang.testing.keysmith import KEY_KINDS as KEY_KINDS
    from dojang.testing.keysmith import CredentialSetup as CredentialSetup
    from dojang.testing.keysmith import KeySetup as KeySetup
    from dojang.testing.setup import BringUpFailed as BringUpFailed
    from dojang.testing.setup import TokenSetup as TokenSetup
    from dojang.testing.softhsm import SoftHsm as SoftHsm

_HOME = {
    "BringUpFailed": "setup",
    "CardToken": "card_token",
    "CredentialSetup": "keysmith",
    "KEY_KINDS": "keysmith",
    "KeySetup": "keysmith",
    "SoftHsm": "softhsm",
    "TokenSetup": "setup",
}

__all__ = ["KEY_KINDS", "BringUpFailed", "CardToken", "CredentialSetup", "KeySetup", "SoftHsm", "TokenSetup"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
