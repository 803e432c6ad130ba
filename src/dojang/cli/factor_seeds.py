"""Seeds at hand when a one-time password is asked for: where the new key goes, and on security keys plugged in."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from dojang.cli.context import Invocation
from dojang.errors import DojangError

if TYPE_CHECKING:
    from dojang.otp.base import Seed
    from dojang.secret import Secret

_KINDS: Final = ("totp", "hotp")


def seeds_at_hand(invocation: Invocation, here: str | None) -> "list[Seed]":
    """Those whose codes are shown without a question; a device that cannot be read has none to offer."""
    from dojang.otp.oath.plugged import plugged

    found = [seed for device in plugged() for seed in device.seeds]
    if here is not None and here.startswith("pkcs11:"):
        found = [*_seeds_on(invocation, here), *found]
    return [one for one in found if one.parameters.kind in _KINDS and not one.problem]


def code_of(invocation: Invocation, address: str) -> "Secret":
    """The code that the device at this address computes now; of a counter it is used up by that."""
    from dojang.cli.otp_held import open_device_at
    from dojang.secret import Secret

    with open_device_at(invocation, address) as device:
        seed = device.find(invocation.address(address))
        return Secret(device.code(seed, datetime.now(UTC)).code)


def _seeds_on(invocation: Invocation, address: str) -> "list[Seed]":
    from dojang.cli.otp_held import open_device_at

    try:
        with open_device_at(invocation, address) as device:
            return list(device.seeds())
    except DojangError:
        return []
