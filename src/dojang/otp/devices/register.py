"""The devices of an owner: registered, asked, checked, unlocked, suspended, removed.

device = devices.add(NewDevice(OtpParameters(kind="totp"), applicant="5f0c3a9b21"))
devices.verify(device.id, Secret("755224"))         # or OtpIncorrect; a code is accepted once
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, insert, select

from dojang.errors import AlreadyExists, InvalidOtp, NotPermitted, Phrase
from dojang.otp.devices import rows
from dojang.otp.devices.checking import Along, Checker, new_challenge
from dojang.otp.devices.device import TABLE, Device, NewDevice, columns_of, device_in, named, refused
from dojang.otp.vault import Sealed

if TYPE_CHECKING:
    from dojang.otp.devices.policy import DevicePolicy
    from dojang.otp.records import Clock, Note, NoteMany, Records
    from dojang.otp.vault import Vault
    from dojang.secret import Secret

PAGE: Final = 100
_ID_BYTES: Final = 5
_KEPT: Final = ("active", "locked", "suspended")


class Devices:
    """Any number of threads and processes may use the devices of one database."""

    def __init__(
        self,
        records: "Records",
        vault: "Vault",
        note: "Note",
        clock: "Clock",
        policy: "DevicePolicy",
        owner: str,
        note_many: "NoteMany | None" = None,
    ) -> None:
        self._records, self.vault, self._note, self._clock = records, vault, note, clock
        self.policy, self._owner, self._note_many = policy, owner, note_many or self._note_each
        self._checker = Checker(records, vault, note, clock, policy)

    # Registering

    def add(self, new: NewDevice) -> Device:
        """A new device. ``AlreadyExists`` for an id that is known; ``InvalidOtp``."""
        return self.add_many([new])[0]

    def add_many(self, many: Sequence[NewDevice]) -> list[Device]:
        """All of them or none, by a few statements for all: nobody else writes meanwhile, and no code is checked.

        Seeds that were sealed before the key was replaced are sealed anew.
        """
        sealed = [one.sealed or self.vault.make(one.parameters.hash_name) for one in many]
        while True:
            with self._records.writing() as connection:
                if all(self.vault.is_current(connection, one) for one in {one.kek: one for one in sealed}.values()):
                    return self._insert(connection, many, sealed)
            sealed = [self._current(one) for one in sealed]

    # Codes

    def verify(self, device: str, code: "Secret", along: Along | None = None) -> Device:
        """Accept a code and use it up; ``along`` is done in the same transaction.

        ``OtpIncorrect`` for a wrong code and for a used one, and for any code of a device that is locked, suspended or
        not there: the answer and the work are the same.
        """
        return self._checker.verify(device, code, along)

    def resync(self, device: str, first: "Secret", second: "Secret") -> Device:
        """Find a device again whose counter or clock has run away, by two codes that follow each other."""
        return self._checker.resync(device, first, second)

    def challenge(self, device: str, question: str | None = None) -> str:
        """What an OCRA device is to answer; it is answered once, and the next one takes its place.

        A ``question`` of one's own (a transaction) only where a counter or the time goes into the code: otherwise the
        same question would have the same answer again. ``NotFound``, ``NotPermitted``, ``InvalidOtp``.
        """
        at = self._clock()
        with self._records.writing() as connection:
            known = device_in(rows.found(connection, device, self._owner), self.policy.tries)
            if known.parameters.kind != "ocra":
                raise NotPermitted(
                    problem=Phrase("device {id} answers no challenges", id=device),
                    remedy=Phrase("Have it show a code, and check that."),
                )
            asked = new_challenge(known.parameters) if question is None else _checked(known, question)
            if known.state != "active" or not rows.change(
                connection, device, ("active",), challenge=asked, challenged_at=at
            ):
                raise refused(device, known.state)
        return asked

    # Life

    def unlock(self, device: str) -> Device:
        """After too many wrong codes: none is counted any more. Only officers do it."""
        return self._move(device, ("active", "locked"), "active", "otp-unlocked", wrong_tries=0)

    def suspend(self, device: str, reason: str = "") -> Device:
        """Its codes are not accepted until it is restored."""
        return self._move(device, ("active", "locked"), "suspended", "otp-suspended", reason)

    def restore(self, device: str) -> Device:
        """Wrong codes that were counted still are; a device that was locked is so again."""
        return self._move(device, ("suspended",), "active", "otp-restored")

    def remove(self, device: str, reason: str = "") -> Device:
        """Its codes are never accepted again, and its seed is nowhere any more."""
        gone = {"wrapped_seed": None, "kek": None, "challenge": None, "challenged_at": None}
        return self._move(device, _KEPT, "removed", "otp-removed", reason, **gone)

    def for_export(self, device: str, form: str) -> tuple[Device, Sealed]:
        """The seed of a device whose seed was made to be given out (``NotPermitted`` otherwise); put on record."""
        with self._records.writing() as connection:
            row = rows.found(connection, device, self._owner)
            if row.wrapped_seed is None:
                raise refused(device, row.state)
            if not row.exportable:
                raise NotPermitted(
                    problem=Phrase("the seed of device {id} does not leave", id=device),
                    remedy=Phrase("Register another device whose seed may: dojang otp add --exportable"),
                )
            self._note(connection, event="otp-exported", subject=device, at=self._clock(), format=form)
            return device_in(row, self.policy.tries), Sealed(row.kek, row.wrapped_seed)

    # Looking

    def device(self, device: str) -> Device:
        """Raises ``NotFound``."""
        with self._records.reading() as connection:
            return device_in(rows.found(connection, device, self._owner), self.policy.tries)

    def listed(
        self,
        *,
        applicant: str | None = None,
        removed: bool = False,
        after: str | None = None,
        limit: int = PAGE,
    ) -> list[Device]:
        """A page in the order of their ids, from the one after ``after``; without those that were removed."""
        query = select(TABLE).order_by(TABLE.c.id).limit(limit)
        if not removed:
            query = query.where(TABLE.c.state != "removed")
        if applicant is not None:
            query = query.where(TABLE.c.applicant == applicant)
        if after is not None:
            query = query.where(TABLE.c.id > after)
        with self._records.reading() as connection:
            return [device_in(row, self.policy.tries) for row in connection.execute(query)]

    # One step each

    def _insert(self, connection: Connection, many: Sequence[NewDevice], sealed: Sequence[Sealed]) -> list[Device]:
        at, devices = self._clock(), [new.id or secrets.token_hex(_ID_BYTES) for new in many]
        known = rows.known(connection, devices) or [one for one, times in Counter(devices).items() if times > 1]
        if known:
            raise AlreadyExists(what=named(known[0]), where=self._owner)
        made = [_values(*one, at) for one in zip(devices, many, sealed, strict=True)]
        connection.execute(insert(TABLE), made)
        told = ((device, _told(new)) for device, new in zip(devices, many, strict=True))
        self._note_many(connection, event="otp-added", told=told, at=at)
        return [device_in(row, self.policy.tries) for row in rows.all_of(connection, devices)]

    def _note_each(
        self, connection: Connection, *, event: str, told: Iterable[tuple[str, Mapping[str, Any]]], at: datetime
    ) -> None:
        for subject, details in told:
            self._note(connection, event=event, subject=subject, at=at, **details)

    def _current(self, sealed: Sealed) -> Sealed:
        kek = self.vault.keks.current().id
        if sealed.kek == kek:
            return sealed
        return Sealed(kek, self.vault.seal_anew([sealed.wrapped], sealed.kek, kek)[0])

    def _move(
        self, device: str, states: Sequence[str], state: str, event: str, reason: str = "", **values: Any
    ) -> Device:
        at = self._clock()
        with self._records.writing() as connection:
            before = rows.found(connection, device, self._owner)
            if not rows.change(connection, device, states, state=state, changed_at=at, **values):
                raise refused(device, device_in(before, self.policy.tries).state)
            told: dict[str, Any] = {"tries": before.wrong_tries} if event == "otp-unlocked" else {}
            if reason:
                told["reason"] = reason[:200]
            self._note(connection, event=event, subject=device, at=at, **told)
            return device_in(rows.found(connection, device, self._owner), self.policy.tries)


def _values(device: str, new: NewDevice, sealed: Sealed, at: datetime) -> dict[str, Any]:
    """A row."""
    values = {"id": device, "applicant": new.applicant, "name": new.name, **columns_of(new.parameters)}
    kept = {"wrapped_seed": sealed.wrapped, "kek": sealed.kek, "exportable": new.exportable}
    begins = {"counter": new.counter, "drift": new.drift, "state": "active", "created_at": at, "changed_at": at}
    return values | kept | begins


def _told(new: NewDevice) -> dict[str, Any]:
    """What is on record of a new one."""
    told = {"kind": new.parameters.kind, "origin": new.origin, "exportable": int(new.exportable)}
    return told | {"applicant": new.applicant}


def _checked(device: Device, question: str) -> str:
    suite = device.parameters.ocra
    if not suite.counter and suite.period is None:
        problem = Phrase(
            "a question of one's own wants a suite with a counter or the time, and {suite} has neither",
            suite=suite.text,
        )
        raise InvalidOtp(problem=problem)
    suite.message(question, counter=0 if suite.counter else None, at=device.created_at if suite.period else None)
    return question
