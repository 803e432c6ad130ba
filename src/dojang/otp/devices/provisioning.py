"""A device whose seed goes to a phone: made in the HSM, shown once as an otpauth URI, from then on kept sealed only.

This is the one moment when a seed of a registered device is in this process in plain. Whoever shows it registers the
device afterwards: a run that is cut short has registered nothing, and what it has shown is worth nothing.
"""

from dataclasses import dataclass, field, replace

from dojang.otp.devices.device import Device, NewDevice
from dojang.otp.devices.register import Devices
from dojang.otp.otpauth import to_uri
from dojang.otp.vault import Sealed
from dojang.secret import Secret


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A seed that is sealed, and what a phone reads to have it; not registered yet."""

    new: NewDevice
    uri: Secret = field(repr=False)


def provision(devices: Devices, new: NewDevice, issuer: str, account: str, given: Secret | None = None) -> Provisioned:
    """Have the HSM make the seed, or take over the one that is ``given``. ``InvalidOtp`` for OCRA, which has no URI."""
    parameters = replace(new.parameters, issuer=issuer, account=account)
    to_uri(parameters, Secret(bytes(20)))  # refused before anything is made
    sealed = seal(devices, parameters.hash_name, given)
    shown = given or Secret(devices.vault.reveal_unprotected(sealed))
    return Provisioned(replace(new, sealed=sealed), to_uri(parameters, shown, counter=new.counter))


def seal(devices: Devices, hash_name: str, given: Secret | None) -> Sealed:
    """A seed under the HSM's key: made there, or the one that is given."""
    if given is None:
        return devices.vault.make(hash_name)
    return devices.vault.take(bytearray(given.reveal()), hash_name)


def register(devices: Devices, provisioned: Provisioned) -> Device:
    """The seed has been shown: from now on its codes are accepted."""
    return devices.add(provisioned.new)
