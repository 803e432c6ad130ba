"""Seeds between PSKC containers and registered devices: all of a file or nothing.

A seed that comes under AES key wrap is unwrapped by the HSM, and never seen here, where the HSM can (RFC 3394, RFC
5649); one that leaves under AES key wrap is wrapped by it. What comes under AES-CBC is decrypted into memory that is
overwritten as soon as the HSM has it. To leave under AES-CBC a seed is shown to this process: use key wrap.
"""

import hmac
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dojang.errors import (
    AlreadyExists,
    DeviceError,
    FileMalformed,
    InvalidOtp,
    Phrase,
    TransportKeyWrong,
    UnsupportedError,
)
from dojang.otp.devices import Device, Devices, NewDevice, rows
from dojang.otp.devices.device import named
from dojang.otp.otpauth import SHORTEST_SEED
from dojang.otp.pskc.container import Container, OpenKey, PskcKey
from dojang.otp.pskc.protection import KeyRefused
from dojang.otp.pskc.writing import Transport, Written, write_container
from dojang.otp.vault import Sealed, Vault

if TYPE_CHECKING:
    from dojang.otp.records import Records
    from dojang.secret import Secret

_PROOF: Final = b"dojang the same seed 1"

Progress = Callable[[int, int], None]
"""Told how many are done, of how many."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a container: devices that are new, and ids of those that were there already, with that seed."""

    added: list[Device]
    present: list[str]


def ids_in(container: Container) -> dict[str, PskcKey]:
    """What each key is called here: the number on its device, with the key's own where there are several of it.

    ``FileMalformed`` where two would be called alike.
    """
    devices = Counter(key.name for key in container.keys)
    named_here = {key.name if devices[key.name] == 1 else f"{key.name}-{key.id}": key for key in container.keys}
    if len(named_here) < len(container.keys):
        problem = Phrase("two keys have one Id")
        raise FileMalformed(path=container.path, expected=Phrase("a PSKC container"), problem=problem)
    return named_here


class Transfer:
    """For the devices of one database."""

    def __init__(self, records: "Records", devices: Devices, owner: str) -> None:
        self._records, self._devices, self._owner = records, devices, owner

    @property
    def _vault(self) -> Vault:
        return self._devices.vault

    def take(
        self,
        container: Container,
        given: "Secret | None",
        applicants: Mapping[str, str | None],
        *,
        exportable: bool = False,
        progress: Progress = lambda _done, _total: None,
    ) -> Taken:
        """Register every key of a container, all in one transaction; ``applicants`` by what the keys are called here.

        A key that is registered already with the same seed is left as it is. ``TransportKeyWrong``; ``AlreadyExists``
        where another seed has that id.
        """
        opened = dict(zip(ids_in(container), container.open(given), strict=True))
        there = self._there(list(opened))
        new, present = [], []
        for number, (name, key) in enumerate(opened.items(), start=1):
            sealed = self._sealed(key, container.path)
            if name not in there:
                new.append(_device(name, key.key, sealed, applicants.get(name), exportable=exportable))
            elif self._is_same(there[name], sealed, key.key.parameters.hash_name):
                present.append(name)
            else:
                raise AlreadyExists(what=named(name), where=self._owner)
            progress(number, len(opened))
        return Taken(self._devices.add_many(new) if new else [], present)

    def give(self, wanted: Sequence[str], transport: Transport) -> bytes:
        """A container with the seeds of those devices; ``NotPermitted`` unless each was made to be given out."""
        given = [self._devices.for_export(one, "pskc") for one in wanted]
        return write_container([self._written(device, sealed, transport) for device, sealed in given], transport)

    def _written(self, device: Device, sealed: Sealed, transport: Transport) -> Written:
        parameters = replace(device.parameters, issuer=self._owner, account=device.name)
        counter = device.counter if parameters.counts else 0
        key = PskcKey(device.id, parameters, counter, device.drift, serial=device.id)
        if transport.way == "kw":
            return Written(key, self._vault.give_wrapped(sealed, transport.key, "kw"))
        seed = bytearray(self._vault.reveal_unprotected(sealed))
        try:
            return Written(key, transport.encrypted(seed))
        finally:
            seed[:] = bytes(len(seed))

    def _sealed(self, key: OpenKey, path: str) -> Sealed:
        hash_name = key.key.parameters.hash_name
        if key.wrapped is not None:
            try:
                return self._vault.take_wrapped(*key.wrapped, hash_name)
            except (DeviceError, UnsupportedError):
                pass  # a wrong key, or an HSM that does not unwrap so: opened here, it will turn out which
        try:
            seed = key.seed()
        except KeyRefused as error:
            raise TransportKeyWrong(path=path, problem=error.problem) from None
        try:
            if len(seed) < SHORTEST_SEED:
                raise InvalidOtp(problem=Phrase("a seed has at least {shortest} bytes", shortest=SHORTEST_SEED))
            return self._vault.take(seed, hash_name)
        finally:
            seed[:] = bytes(len(seed))

    def _there(self, names: list[str]) -> dict[str, Sealed | None]:
        """What is registered under these ids; a removed device has no seed any more."""
        with self._records.reading() as connection:
            found = rows.all_of(connection, names)
        return {row.id: None if row.kek is None else Sealed(row.kek, row.wrapped_seed) for row in found}

    def _is_same(self, there: Sealed | None, came: Sealed, hash_name: str) -> bool:
        """By what the HSM computes with both."""
        if there is None:
            return False
        (one,), (other,) = (self._vault.hmacs(sealed, hash_name, [_PROOF]) for sealed in (there, came))
        return hmac.compare_digest(one, other)


def _device(name: str, key: PskcKey, sealed: Sealed, applicant: str | None, *, exportable: bool) -> NewDevice:
    parameters = replace(key.parameters, issuer="", account="")
    counter = key.counter if parameters.counts else 0
    people = " ".join(one for one in (key.manufacturer, key.name) if one)
    return NewDevice(parameters, applicant, people, sealed, counter, exportable, "pskc", name, key.drift)
