"""A device whose seed goes to a phone: made in the HSM, shown once as an otpauth URI, from then on kept sealed only.

This is the one moment when a seed of a registered device is in this process in plain. Whoever shows it registers the
device afterwards: a run that is cut short has registered nothing, and what it has shown is worth nothing.
"""

from dataclasses import dataclass, field, replace

from dojang.otp.devices.device import Device, NewDevice
from dojang.otp.devices.register import Devices
from dojang.otp.otpauth import to_uri
from dojang.secret import Secret


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A seed that is sealed, and what a phone reads to have it; not registered yet."""

    new: NewDevice
    uri: Secret = field(repr=False)


def provision(devices: Devices, new: NewDevice, issuer: str, account: str) -> Provisioned:
    """Have the HSM make the seed. ``InvalidOtp`` for OCRA, which phones do not read so."""
    parameters = replace(new.parameters, issuer=issuer, account=account)
    to_uri(parameters, Secret(bytes(20)))  # refused before anything is made
    sealed = new.sealed or devices.vault.make(parameters.hash_name)
    seed = bytearray(devices.vault.reveal_unprotected(sealed))
    try:
        return Provisioned(replace(new, sealed=sealed), to_uri(parameters, Secret(bytes(seed)), counter=new.counter))
    finally:
        seed[:] = bytes(len(seed))


def register(devices: Devices, provisioned: Provisioned) -> Device:
    """The seed has been shown: from now on its codes are accepted."""
    return devices.add(provisioned.new)
