"""One location of every kind, and certificates to put into it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.contract.credentials import SmallAuthority

from dojang.locations.base import Location
from dojang.locations.registry import open_location
from dojang.pkcs11 import ModuleSearch, PinGuard
from dojang.secret import Secret


@dataclass(frozen=True, slots=True)
class Place:
    """An empty location that can be opened again and again, as the runs of a command would."""

    kind: str
    address: str
    open: Callable[[], AbstractContextManager[Location]]


@pytest.fixture(scope="session")
def authority() -> SmallAuthority:
    return SmallAuthority()


FILES = {
    "disk": "npki:{0}/NPKI",
    "pkcs12": "pkcs12:{0}/file.p12",
    "pem": "pem:{0}/file.pem",
    "pem-pair": "pem:{0}/cert.pem?key={0}/key.pem",
}


@pytest.fixture(params=[*FILES, "token"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A fresh location of each kind."""
    if request.param in FILES:
        address = FILES[request.param].format(tmp_path)
        return Place(
            request.param.partition("-")[0],
            address,
            lambda: open_location(address, passwords=lambda path, new: Secret("correct horse 1!")),
        )
    token = request.getfixturevalue("make_token")()
    search = ModuleSearch(module=request.getfixturevalue("softhsm_module"), discover=False)
    guard = PinGuard(tmp_path / "pin-guard")
    return Place(
        "token", token.uri, lambda: open_location(token.uri, search=search, pins=Secret(token.pin), guard=guard)
    )


@pytest.fixture
def location(place: Place) -> Iterator[Location]:
    """The location, open."""
    with place.open() as opened:
        yield opened
