"""A PIV card in a reader for every test that asks for one; the daemon under it runs as long as the tests do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dojang.pkcs11 import ModuleSearch, OpenToken, PinGuard, open_token
from dojang.secret import Secret
from dojang.testing.pcsc import Pcscd, pcscd
from dojang.testing.piv import Card, PluggedIn, Slot, plugged_in
from dojang.testing.piv.card import KEYS
from dojang.testing.piv.keys import SoftwareKey, adopt


@pytest.fixture(scope="session")
def pcsc_daemon() -> Iterator[Pcscd]:
    with pcscd() as daemon:
        yield daemon


@pytest.fixture(scope="session")
def card_keys() -> dict[Slot, SoftwareKey]:
    """The keys of every fresh card, made once: RSA in 9A and 9D, P-256 in 9C and 9E."""
    return {slot: adopt(algorithm).private for slot, algorithm in KEYS.items()}


@pytest.fixture
def plugged(pcsc_daemon: Pcscd, card_keys: dict[Slot, SoftwareKey]) -> Iterator[PluggedIn]:
    """A fresh card in a reader."""
    with plugged_in(Card(keys=card_keys)) as plugged:
        yield plugged


@pytest.fixture
def card_search(plugged: PluggedIn) -> ModuleSearch:
    return ModuleSearch(module=str(plugged.setup.module), discover=False)


@pytest.fixture
def card_guard(tmp_path: Path) -> PinGuard:
    return PinGuard(tmp_path / "pin-guard")


@pytest.fixture
def token(plugged: PluggedIn, card_search: ModuleSearch, card_guard: PinGuard) -> Iterator[OpenToken]:
    """The card opened by dojang."""
    with open_token(plugged.setup.uri, Secret(plugged.setup.pin), search=card_search, guard=card_guard) as opened:
        yield opened
