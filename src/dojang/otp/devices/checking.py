"""Checking codes of registered devices: each is accepted once, over all threads, processes and kills.

    read the device          without a lock
    compute                  on the HSM, every code that may come; a slow token keeps nobody else from writing
    charge the try           durable before anything is compared: a kill from here on costs a try and gives none away
    compare                  all of them, in equal time
    accept, or count         one conditional change: of all who have the same code one changes the row; durable before
                             anybody hears of it

What a device is not there for, or locked, or suspended, goes the same way with a seed of nobody, and hears the same.
"""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Row

from dojang.errors import NotFound, OtpIncorrect, Phrase
from dojang.otp.devices import rows, windows
from dojang.otp.devices.device import Device, device_in, named
from dojang.otp.devices.windows import Candidate
from dojang.otp.parameters import OtpParameters
from dojang.otp.vault import Sealed

if TYPE_CHECKING:
    from dojang.otp.devices.policy import DevicePolicy
    from dojang.otp.records import Clock, Note, Records
    from dojang.otp.vault import Vault
    from dojang.secret import Secret

Along = Callable[[Connection], None]
"""Done in the transaction that accepts a code, or not at all; it does nothing but read and write there."""
_NEVER: Final = (1 << 31) - 1
Expected = list[tuple[Candidate, str]]


class Checker:
    """What ``Devices`` does with codes."""

    def __init__(
        self, records: "Records", vault: "Vault", note: "Note", clock: "Clock", policy: "DevicePolicy"
    ) -> None:
        self._records, self._vault, self._note, self._clock = records, vault, note, clock
        self._policy = policy
        self._mark = secrets.token_bytes(16)

    def verify(self, device: str, code: "Secret", along: Along | None = None) -> Device:
        """Accept a code and use it up, or raise ``OtpIncorrect``, whatever the reason."""
        at, given = self._clock(), _text(code)

        def looked_at(one: Device) -> list[Candidate]:
            return windows.candidates(one, self._policy, at, self._challenge(one, at))

        known, expected = self._expected(device, at, looked_at)
        charged = self._charged(device)
        found = windows.match(expected, given, known.counter)
        return self._settled(device, known, charged, found, at, along)

    def resync(self, device: str, first: "Secret", second: "Secret") -> Device:
        """Accept two codes that follow each other, further off than ``verify`` looks, and learn from them."""
        at, one, other = self._clock(), _text(first), _text(second)

        def looked_at(known: Device) -> list[Candidate]:
            return windows.resync_candidates(known, self._policy, at)

        known, expected = self._expected(device, at, looked_at)
        charged = self._charged(device)
        found = windows.match_pair(expected, one, other, known.counter)

        def tell(connection: Connection) -> None:
            steps = found.counter + 1 - known.counter if found and found.step is None else 0
            drift = windows.learned_drift(known, found, at) - known.drift if found else 0
            self._note(connection, event="otp-resynced", subject=device, at=at, steps=steps or drift)

        return self._settled(device, known, charged, found, at, tell)

    def _expected(
        self, device: str, at: datetime, looked_at: Callable[[Device], list[Candidate]]
    ) -> tuple[Device, Expected]:
        """The device and its codes; those of a decoy for one that cannot be tried."""
        row = self._look(device)
        while True:
            known, sealed = self._known(row, device, at)
            wanted = looked_at(known)
            hash_name = known.parameters.hash_name
            try:
                macs = self._vault.hmacs(sealed, hash_name, [candidate.message for candidate in wanted])
            except NotFound:
                row = self._look(device)
                is_there_still = row is not None and row.kek == sealed.kek
                if is_there_still or not self._vault.was_replaced(sealed):
                    raise
                continue  # its key was replaced meanwhile; now it lies under the new one
            codes = [windows.code_of(known.parameters, mac) for mac in macs]
            return known, list(zip(wanted, codes, strict=True))

    def _look(self, device: str) -> Row[Any] | None:
        with self._records.reading() as connection:
            return rows.look(connection, device)

    def _known(self, row: Row[Any] | None, device: str, at: datetime) -> tuple[Device, Sealed]:
        decoy = self._vault.decoy("sha1")  # made with the first code of the process, whosever it is
        if row is not None and row.wrapped_seed is not None:
            return device_in(row, self._policy.tries), Sealed(row.kek, row.wrapped_seed)
        return self._decoy(device, at), decoy

    def _decoy(self, device: str, at: datetime) -> Device:
        """A device of nobody, of a kind that cannot be guessed and is the same each time."""
        import hashlib

        mark = hashlib.sha256(self._mark + device.encode("utf-8", "replace")).digest()[0]
        kind = "hotp" if mark & 1 else "totp"
        return Device(device, None, "", OtpParameters(kind=kind), False, 1, 0, 0, "removed", at, at, None)

    def _challenge(self, device: Device, at: datetime) -> str:
        """What the device was asked, or what nobody was."""
        asked_at = device.challenged_at
        if device.challenge is not None and asked_at and abs(at - asked_at) <= self._policy.challenge_lifetime:
            return device.challenge
        return new_challenge(device.parameters) if device.parameters.kind == "ocra" else ""

    def _charged(self, device: str) -> rows.Charge | None:
        return self._records.together(lambda connection: rows.charge(connection, device, self._policy.tries))

    def _settled(
        self,
        device: str,
        known: Device,
        charged: rows.Charge | None,
        found: Candidate | None,
        at: datetime,
        along: Along | None,
    ) -> Device:
        drift = known.drift if found is None else windows.learned_drift(known, found, at)

        def settle(connection: Connection) -> Device | None:
            if charged is None or found is None:
                self._count(connection, device, charged, at)
                return None
            fresh = found.counter >= known.counter and rows.accept(
                connection, device, used=found.counter, learned=drift, answered=known.challenge, at=at
            )
            if not fresh:  # used before: nobody has guessed anything
                rows.refund(connection, device, charged)
                return None
            if along is not None:
                along(connection)
            return device_in(rows.found(connection, device, ""), self._policy.tries)

        accepted = self._records.together(settle)
        if accepted is None:
            raise OtpIncorrect(what=named(device), next_step=_NEXT)
        return accepted

    def _count(self, connection: Connection, device: str, charged: rows.Charge | None, at: datetime) -> None:
        """Lock after the last wrong code. One that was not charged says nothing: those who were may yet be right."""
        most = self._policy.tries if charged is not None else _NEVER
        if rows.lock(connection, device, most, at):
            self._note(connection, event="otp-locked", subject=device, at=at, tries=self._policy.tries)


_NEXT = Phrase("Wait for the next one and type that. After too many wrong ones only an officer can unlock the device.")


def new_challenge(parameters: OtpParameters) -> str:
    """A challenge of the form that the suite wants, eight characters where it allows so many."""
    suite = parameters.ocra
    alphabet = {"N": "0123456789", "H": "0123456789ABCDEF", "A": "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"}[suite.form]
    return "".join(secrets.choice(alphabet) for _ in range(min(suite.longest, 8)))


def _text(code: "Secret") -> str:
    """Without the blanks that people put between the digits."""
    return "".join(code.reveal().decode("utf-8", "replace").split())
