"""The kinds of devices that compute codes, and how one is opened by its address."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from dojang.errors import InvalidAddress, Phrase
from dojang.otp.base import Access, OtpDevice


class _KindModule(Protocol):
    """What the one file of a kind offers."""

    def open_at(self, address: str, access: Access) -> AbstractContextManager[OtpDevice]: ...


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """One row: the kind's name, the scheme of its addresses, an example, and the module that is loaded when needed."""

    kind: str
    scheme: str
    example: str
    module: str

    def load(self) -> _KindModule:
        return cast(_KindModule, import_module(self.module))


_KINDS = (
    DeviceKind("token", "pkcs11:", "pkcs11:token=LABEL;object=NAME", "dojang.otp.held.device"),
    DeviceKind("oath", "oath:", "oath:DEVICE/ACCOUNT", "dojang.otp.oath.device"),
)


def device_kinds() -> tuple[DeviceKind, ...]:
    """Every kind of device."""
    return _KINDS


def open_device(address: str, access: Access) -> AbstractContextManager[OtpDevice]:
    """Open the device in which ``address`` lies; PINs and passwords are asked for when something needs them."""
    scheme = address[: address.find(":") + 1].lower()
    for row in _KINDS:
        if row.scheme == scheme:
            return row.load().open_at(address, access)
    examples = ", ".join(row.example for row in _KINDS)
    raise InvalidAddress(
        address=address,
        problem=Phrase("one-time passwords are kept at addresses like {examples}", examples=examples),
        next_step="'dojang otp list' shows what is plugged in.",
    )
