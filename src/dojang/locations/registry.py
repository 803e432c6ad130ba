"""The kinds of location there are, what each protects, and how one is opened by its address."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from dojang.locations.address import parse_address
from dojang.locations.base import R_OBJECT, Access, Location, PasswordProvider, RObject, Traits

if TYPE_CHECKING:
    from dojang.locations.address import Address
    from dojang.locations.password_tries import PasswordTries
    from dojang.npki.keyfile import KeyFileForm
    from dojang.pkcs11.discovery import ModuleSearch
    from dojang.pkcs11.guard import PinGuard
    from dojang.pkcs11.pin import PinProvider
    from dojang.secret import Secret


class _KindModule(Protocol):
    """What the one file of a kind offers."""

    TRAITS: Traits

    def open_at(self, address: "Address", access: Access) -> AbstractContextManager[Location]: ...


@dataclass(frozen=True, slots=True)
class LocationKind:
    """One row: the kind's name, the scheme of its addresses, an example, and the module that is loaded when needed."""

    kind: str
    scheme: str
    example: str
    module: str

    @property
    def traits(self) -> Traits:
        return self.load().TRAITS

    def load(self) -> _KindModule:
        return cast(_KindModule, import_module(self.module))


_KINDS = (
    LocationKind("token", "pkcs11:", "pkcs11:token=LABEL", "dojang.locations.token"),
    LocationKind("phone", "phone:", "phone:", "dojang.locations.remote"),
    LocationKind("cloud", "cloud:", "cloud:https://host/path", "dojang.locations.remote"),
    LocationKind("removable", "removable:", "removable:NAME", "dojang.locations.removable"),
    LocationKind("disk", "npki:", "npki:/path/NPKI", "dojang.locations.disk"),
    LocationKind("pkcs12", "pkcs12:", "pkcs12:/path/file.p12", "dojang.locations.pkcs12"),
    LocationKind("pem", "pem:", "pem:/path/cert.pem", "dojang.locations.pem"),
)


def location_kinds() -> tuple[LocationKind, ...]:
    """Every kind of location, the one that protects best first."""
    return _KINDS


def kind_at(address: str) -> LocationKind | None:
    """The kind of location that an address belongs to, by how it begins; ``None`` when it begins with nothing known."""
    scheme = address[: address.find(":") + 1].lower()
    return next((row for row in _KINDS if row.scheme == scheme), None)


def kind_of(address: "Address") -> LocationKind:
    """The same for an address that was read, and so is of a kind there is."""
    return next(row for row in _KINDS if row.scheme == address.scheme)


def open_location(
    address: str,
    *,
    search: "ModuleSearch | None" = None,
    pins: "PinProvider | Secret | None" = None,
    passwords: PasswordProvider | None = None,
    guard: "PinGuard | None" = None,
    last_try: bool = False,
    agent: bool = True,
    r_object: RObject = R_OBJECT,
    key_files: "KeyFileForm | None" = None,
    tries: "PasswordTries | None" = None,
    pkcs12_profile: str | None = None,
    so_pins: "PinProvider | None" = None,
) -> AbstractContextManager[Location]:
    """Open the location in which ``address`` lies; PINs and passwords are asked for when something needs them."""
    parsed = parse_address(address)
    access = Access(
        search, pins, passwords, guard, last_try, agent, r_object, key_files, tries, pkcs12_profile, so_pins
    )
    return kind_of(parsed).load().open_at(parsed, access)
