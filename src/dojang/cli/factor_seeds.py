"""Seeds at hand when a one-time password is asked for: where the new key goes, and on security keys plugged in."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from dojang.cli.context import Invocation
from dojang.cli.language import N_
from dojang.errors import DojangError, NotFound, Phrase

if TYPE_CHECKING:
    from dojang.otp.base import Seed
    from dojang.secret import Secret

_KINDS: Final = ("totp", "hotp")


def at_hand(invocation: Invocation, here: str | None) -> "tuple[list[Seed], list[str]]":
    """Those whose codes are shown without a question, and the addresses of devices that want a password before they
    tell of theirs; a device that cannot be read has none to offer.
    """
    from dojang.otp.oath.plugged import plugged

    devices = plugged()
    found = [seed for device in devices for seed in device.seeds]
    if here is not None and here.startswith("pkcs11:"):
        found = [*_seeds_on(invocation, here), *found]
    return list(filter(_shows_codes, found)), [device.address for device in devices if device.locked]


def code_behind(invocation: Invocation, address: str) -> "Secret":
    """The code of a seed on a device with a password, which is asked for once; chosen where there are several."""
    from dojang.cli.otp_held import open_device_at
    from dojang.secret import Secret

    with open_device_at(invocation, address) as device:
        seeds = list(filter(_shows_codes, device.seeds()))
        if not seeds:
            raise NotFound(
                what=Phrase(N_("A seed for one-time passwords ({address})"), address=address),
                where=address,
                command=f"dojang otp list '{address}'",
            )
        rows, columns = [[one.name, one.address] for one in seeds], [N_("Seed"), N_("Address")]
        option = "--factor otp=ADDRESS"
        chosen = invocation.choose(N_("Whose code"), columns, rows, option=option) if len(seeds) > 1 else 0
        return Secret(device.code(seeds[chosen], datetime.now(UTC)).code)


def code_of(invocation: Invocation, address: str) -> "Secret":
    """The code that the device at this address computes now; of a counter it is used up by that."""
    from dojang.cli.otp_held import open_device_at
    from dojang.secret import Secret

    with open_device_at(invocation, address) as device:
        seed = device.find(invocation.address(address))
        return Secret(device.code(seed, datetime.now(UTC)).code)


def _shows_codes(seed: "Seed") -> bool:
    return seed.parameters.kind in _KINDS and not seed.problem


def _seeds_on(invocation: Invocation, address: str) -> "list[Seed]":
    from dojang.cli.otp_held import open_device_at

    try:
        with open_device_at(invocation, address) as device:
            return list(device.seeds())
    except DojangError:
        return []
