"""Claims: who is at work on a credential, said where the credential lies.

The ledger keeps the processes of one home apart. Machines that share a disk or a token have ledgers of their own, so
whoever replaces a credential leaves a claim beside it first. One that its holder could not take back counts for an
hour. A claim saves work; that a certificate is replaced once only is in the end for its authority to see to.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from dojang.errors import AlreadyExists, FileUnreadable
from dojang.npki.files import make_filled_folder, part_of, read_file, remove_folder

if TYPE_CHECKING:
    from dojang.pkcs11 import OpenToken

STALE_AFTER: Final = timedelta(hours=1)
"""No renewal takes so long; the clocks of the machines that share a place may be minutes apart."""

_LARGEST: Final = 4096
_CLAIM: Final = ".json"
_APPLICATION: Final = "dojang"
# Who finds others beside itself and has the lowest number waits so long for them to withdraw.
_LOOK_AGAIN_AFTER: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
# What another process wrote may be seen a moment later (SoftHSM 2.6.1 under load): who finds itself alone looks again.
_ALONE_AFTER: Final = (0.1, 0.2)


@dataclass(frozen=True, slots=True)
class Claim:
    """What is claimed (``name``, the fingerprint of a certificate in hex), under which number (hex), by whom, since
    when.
    """

    name: str
    claim_id: str
    holder: str
    taken_at: datetime

    def to_json(self) -> bytes:
        fields = {"name": self.name, "id": self.claim_id, "holder": self.holder, "at": self.taken_at.isoformat()}
        return json.dumps(fields).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Claim | None":
        """``None`` for anything but a claim."""
        try:
            fields = json.loads(data)
            taken_at = datetime.fromisoformat(fields["at"]).astimezone(UTC)
            return cls(str(fields["name"]), str(fields["id"]), str(fields["holder"]), taken_at)
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            return None

    def is_stale(self, at: datetime) -> bool:
        """Left behind an hour ago, or dated by a clock that is as far ahead."""
        return abs(at - self.taken_at) > STALE_AFTER


class ClaimBoard(Protocol):
    """Where claims on the credentials of one location are left."""

    def take(self, claim: Claim) -> Claim | None:
        """Leave ``claim`` unless somebody else's stands, which is returned then, and nothing is left."""
        ...

    def stands(self, name: str, claim_id: str) -> bool:
        """Whether the claim of that number is still there: one that went stale may have been broken."""
        ...

    def drop(self, name: str, claim_id: str) -> None:
        """Take the claim of that number back, with what a killed ``take`` left of it; none there is not an error."""
        ...


@runtime_checkable
class HoldsClaims(Protocol):
    """A location that claims can be left in."""

    def claim_board(self) -> ClaimBoard: ...


class FolderBoard:
    """Claims in a folder that may be shared over a network.

    The claim on a credential is a folder with one file in it, named by the claim's number. It is made elsewhere and
    renamed into place, which succeeds where nothing or an empty folder stands, on one machine only. Whoever breaks a
    claim removes the file of that number, so what somebody else put there meanwhile stays.
    """

    def __init__(self, folder: Path, prefix: str = "") -> None:
        """``prefix`` begins the names, in a folder that is also for other things."""
        self._folder, self._prefix = folder, prefix

    def take(self, claim: Claim) -> Claim | None:
        other = self._standing(claim)
        if other is None:
            made, files = self._made(claim.name, claim.claim_id), {f"{claim.claim_id}{_CLAIM}": claim.to_json()}
            try:
                make_filled_folder(self._place(claim.name), files, made)
            except AlreadyExists:
                remove_folder(made)
                other = self._standing(claim) or claim  # it came and went meanwhile
        return other

    def stands(self, name: str, claim_id: str) -> bool:
        return (self._place(name) / f"{claim_id}{_CLAIM}").exists()

    def drop(self, name: str, claim_id: str) -> None:
        self._remove(self._place(name), claim_id)
        made = self._made(name, claim_id)
        remove_folder(made)
        remove_folder(part_of(made))

    def _standing(self, claim: Claim) -> Claim | None:
        """Somebody's claim on the same; one that has gone stale is broken."""
        place = self._place(claim.name)
        for name in sorted(one for one in _names_in(place) if one.endswith(_CLAIM)):
            try:
                other = Claim.from_json(read_file(place / name, at_most=_LARGEST))
            except FileUnreadable:
                continue  # taken back meanwhile
            if other is not None and not other.is_stale(claim.taken_at):
                return other
            self._remove(place, name.removesuffix(_CLAIM))
        return None

    def _remove(self, place: Path, claim_id: str) -> None:
        with contextlib.suppress(OSError):
            (place / f"{claim_id}{_CLAIM}").unlink()
        with contextlib.suppress(OSError):
            place.rmdir()  # unless there is another one in it by now

    def _place(self, name: str) -> Path:
        return self._folder / f"{self._prefix}{name}.claim"

    def _made(self, name: str, claim_id: str) -> Path:
        return self._folder / f"{self._prefix}{name}.{claim_id}.claim"


def _names_in(folder: Path) -> list[str]:
    """Of what is in a folder; of one that is not there, none."""
    try:
        return os.listdir(folder)  # noqa: PTH208 – names, without a path made of each
    except OSError:
        return []


class TokenBoard:
    """Claims as public data objects on a token; it must be logged in, or ask for its PIN.

    A token makes no object only where there is none, so everybody writes first and looks then: whoever is alone has
    it. Of several, the lowest number waits until the others have withdrawn; one that stays was there before.

    That is likely and not certain: a token that shows what another machine wrote later than ``_ALONE_AFTER`` lets two
    through. Then both ask, and the authority confirms one.
    """

    def __init__(self, token: "OpenToken") -> None:
        self._token = token

    def take(self, claim: Claim) -> Claim | None:
        for other in self._others(claim):
            return other
        self._token.add_data(
            claim.to_json(),
            label=_label(claim.name),
            application=_APPLICATION,
            key_id=_key_id(claim.claim_id),
            private=False,
        )
        in_the_way = self._in_the_way(claim)
        if in_the_way is not None:
            self.drop(claim.name, claim.claim_id)
        return in_the_way

    def _in_the_way(self, claim: Claim) -> Claim | None:
        """Once the others have withdrawn, or this one has to; ``None`` when it is alone and stays so."""
        waits, alone = iter(_LOOK_AGAIN_AFTER), iter(_ALONE_AFTER)
        while True:
            others = sorted(self._others(claim), key=lambda other: other.claim_id)
            first = others[0] if others else None
            if first is not None:
                alone = iter(_ALONE_AFTER)
            pause = next(alone if first is None else waits, None)
            if pause is None or (first is not None and first.claim_id < claim.claim_id):
                return first
            time.sleep(pause)

    def stands(self, name: str, claim_id: str) -> bool:
        found = map(Claim.from_json, self._token.read_data(label=_label(name)))
        return any(one is not None and one.claim_id == claim_id for one in found)

    def drop(self, name: str, claim_id: str) -> None:
        del name
        self._token.destroy(_key_id(claim_id), "data")

    def _others(self, claim: Claim) -> Iterator[Claim]:
        """The claims of others on the same; those that have gone stale are broken."""
        for value in self._token.read_data(label=_label(claim.name)):
            other = Claim.from_json(value)
            if other is None or other.claim_id == claim.claim_id:
                continue
            if other.is_stale(claim.taken_at):
                self.drop(other.name, other.claim_id)
            else:
                yield other


def _label(name: str) -> str:
    return f"dojang claim {name[:32]}"


def _key_id(claim_id: str) -> bytes:
    """The CKA_ID of a claim: made of its number, so that nobody can write a claim whose removal removes a key."""
    return hashlib.sha256(b"dojang claim " + claim_id.encode()).digest()[:16]
