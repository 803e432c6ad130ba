"""One location of every kind, and certificates to put into it."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.contract.credentials import SmallAuthority

from dojang.locations.address import RemovableAddress
from dojang.locations.base import Location
from dojang.locations.disk import DiskLocation
from dojang.locations.pem import PemLocation
from dojang.locations.pkcs12 import Pkcs12Location
from dojang.locations.registry import open_location
from dojang.locations.removable import RemovableLocation
from dojang.locations.token import TokenLocation
from dojang.npki.disks import mounted_disks
from dojang.npki.keyfile import KeyFileForm
from dojang.pkcs11 import ModuleSearch, PinGuard
from dojang.secret import Secret


@dataclass(slots=True)
class Passwords:
    """What a person would type for a file: the password it has, and the one it is to get."""

    old: str = "correct horse 1!"
    new: str = "correct horse 1!"

    def __call__(self, path: str, new: bool) -> Secret:
        return Secret(self.new if new else self.old)


@dataclass(frozen=True, slots=True)
class Place:
    """An empty location that can be opened again and again, as the runs of a command would."""

    kind: str
    address: str
    open: Callable[[], AbstractContextManager[Location]]
    passwords: Passwords


@pytest.fixture(scope="session")
def authority() -> SmallAuthority:
    return SmallAuthority()


# Every kind of file or folder, by the address of one: where that is, and the class that opens it.
FILES = {
    "disk": ("npki:{0}/NPKI", DiskLocation),
    "pkcs12": ("pkcs12:{0}/file.p12", Pkcs12Location),
    "pem": ("pem:{0}/file.pem", PemLocation),
    "pem-pair": ("pem:{0}/cert.pem?key={0}/key.pem", PemLocation),
}
CLASSES: dict[str, type] = {**{name: found for name, (_, found) in FILES.items()}, "token": TokenLocation}
if "REMOVABLE_DISK" in os.environ:  # where test_removable_disk.py has mounted one and runs the suite once more
    CLASSES["removable"] = RemovableLocation


def kinds_that(*abilities: str) -> list[str]:
    """The kinds whose locations have these methods."""
    return [name for name, found in CLASSES.items() if all(hasattr(found, ability) for ability in abilities)]


@pytest.fixture(params=list(CLASSES))
def place(request: pytest.FixtureRequest, tmp_path: Path, quick_passwords: None) -> Place:
    """A fresh location of each kind."""
    passwords = Passwords()
    if request.param in FILES:
        address = FILES[request.param][0].format(tmp_path)
        kind = request.param.partition("-")[0]
        return Place(kind, address, lambda: open_location(address, passwords=passwords), passwords)
    if request.param == "removable":
        return on_removable_disk(passwords)
    token = request.getfixturevalue("make_token")()
    search = ModuleSearch(module=request.getfixturevalue("softhsm_module"), discover=False)
    guard = PinGuard(tmp_path / "pin-guard")
    return Place(
        "token",
        token.uri,
        lambda: open_location(token.uri, search=search, pins=Secret(token.pin), guard=guard),
        passwords,
    )


def on_removable_disk(passwords: Passwords) -> Place:
    address = RemovableAddress(os.environ["REMOVABLE_DISK"]).to_text()
    (mount,) = [one.mount for one in mounted_disks() if one.removable]
    shutil.rmtree(mount / "NPKI", ignore_errors=True)
    quick = KeyFileForm("pbes2-seed")  # the disk is what is different here
    return Place("removable", address, lambda: open_location(address, passwords=passwords, key_files=quick), passwords)


@pytest.fixture
def location(place: Place) -> Iterator[Location]:
    """The location, open."""
    with place.open() as opened:
        yield opened
