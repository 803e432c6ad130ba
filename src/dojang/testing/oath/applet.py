"""The OATH application (Yubico's YKOATH protocol): accounts, the access key that locks them, one method a command."""

import hmac
import os
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final

from dojang.testing.oath.account import HASHES, HOTP, TOTP, TOUCH, Account
from dojang.testing.oath.finger import Finger
from dojang.testing.piv.apdu import Command, Refused, Status
from dojang.testing.piv.tlv import Malformed, first, tlv

__all__ = ["AID", "Account", "OathApplet", "OathIns", "OathStatus"]

AID: Final = bytes.fromhex("A0000005272101")
_ROOM: Final = 32  # accounts; as many as a YubiKey 5 holds before 5.7
_LONGEST_NAME: Final = 64
_KEY_BYTES: Final = range(14, 65)
_NAME, _LISTED, _KEY, _CHALLENGE, _RESPONSE, _TRUNCATED = 0x71, 0x72, 0x73, 0x74, 0x75, 0x76
_IS_HOTP, _PROPERTY, _VERSION, _COUNTER, _ALGORITHM, _NEEDS_TOUCH = 0x77, 0x78, 0x79, 0x7A, 0x7B, 0x7C
_SHA1: Final = 0x01
_RESET: Final = 0xDEAD


class OathIns(IntEnum):
    """The instructions of the application."""

    PUT = 0x01
    DELETE = 0x02
    SET_CODE = 0x03
    RESET = 0x04
    RENAME = 0x05
    LIST = 0xA1
    CALCULATE = 0xA2
    VALIDATE = 0xA3
    CALCULATE_ALL = 0xA4
    SEND_REMAINING = 0xA5


class OathStatus(IntEnum):
    """Status words that mean something of their own here."""

    AUTH_REQUIRED = 0x6982
    NO_SUCH_OBJECT = 0x6984
    NO_SPACE = 0x6A84
    WRONG_SYNTAX = 0x6A80


_WITHOUT_ACCESS: Final = {OathIns.VALIDATE, OathIns.RESET}


class OathApplet:
    """``accounts`` by name in the order they were put; ``calculations`` names every account that was asked for a code.

    A calculation that wants a touch waits for ``finger``. PUT, DELETE and the rest are done or not done: no power loss
    comes between.
    """

    def __init__(self, finger: Finger, version: tuple[int, int, int]) -> None:
        """Empty, and without an access key."""
        self.accounts: dict[bytes, Account] = {}
        self.access_key: bytes | None = None
        self.calculations: list[bytes] = []
        self.wrong_passwords = 0
        self._finger = finger
        self._version = version
        self.salt = os.urandom(8)
        self.power_on()

    def power_on(self) -> None:
        """What was proved is forgotten; ``select`` does the same."""
        self._challenge = os.urandom(8)
        self._open = self.access_key is None

    def put(self, name: str, seed: bytes, *, kind: int = TOTP | _SHA1, digits: int = 6, touch: bool = False) -> None:
        """Put an account on the device, as its owner did some day."""
        self.accounts[name.encode()] = Account(name.encode(), kind, digits, seed, TOUCH if touch else 0)

    def select(self) -> bytes:
        self.power_on()
        answer = tlv(_VERSION, bytes(self._version)) + tlv(_NAME, self.salt)
        if self.access_key is None:
            return answer
        return answer + tlv(_CHALLENGE, self._challenge) + tlv(_ALGORITHM, bytes([_SHA1]))

    def obey(self, command: Command) -> bytes:
        handler = self._HANDLERS.get(command.ins)
        if handler is None:
            raise Refused(Status.UNKNOWN_INS)
        if not self._open and command.ins not in _WITHOUT_ACCESS:
            raise Refused(OathStatus.AUTH_REQUIRED)
        return handler(self, command)

    def _put(self, command: Command) -> bytes:
        found = _fields(command.data)
        name, key = found.get(_NAME, [b""])[0], found.get(_KEY, [b""])[0]
        if not 0 < len(name) <= _LONGEST_NAME or len(key) - 2 not in _KEY_BYTES:
            raise Refused(OathStatus.WRONG_SYNTAX)
        kind, digits, seed = key[0], key[1], key[2:]
        if kind & 0xF0 not in (HOTP, TOTP) or kind & 0x0F not in HASHES or not 6 <= digits <= 8:
            raise Refused(OathStatus.WRONG_SYNTAX)
        if name not in self.accounts and len(self.accounts) >= _ROOM:
            raise Refused(OathStatus.NO_SPACE)
        counter = int.from_bytes(found.get(_COUNTER, [b""])[0], "big")
        self.accounts[name] = Account(name, kind, digits, seed, found.get(_PROPERTY, [b"\0"])[0][0], counter)
        return b""

    def _delete(self, command: Command) -> bytes:
        del self.accounts[self._account(_fields(command.data)).name]
        return b""

    def _rename(self, command: Command) -> bytes:
        old, new, *_ = *_fields(command.data).get(_NAME, []), b"", b""
        account = self._account({_NAME: [old]})
        if not 0 < len(new) <= _LONGEST_NAME or new in self.accounts:
            raise Refused(OathStatus.WRONG_SYNTAX)
        del self.accounts[old]
        account.name = new
        self.accounts[new] = account
        return b""

    def _set_code(self, command: Command) -> bytes:
        found = _fields(command.data)
        key = found.get(_KEY, [b""])[0]
        if not key:
            self.access_key = None
            return b""
        challenge, response = found.get(_CHALLENGE, [b""])[0], found.get(_RESPONSE, [b""])[0]
        if key[0] & 0x0F != _SHA1 or not hmac.compare_digest(response, _proof(key[1:], challenge)):
            raise Refused(OathStatus.NO_SUCH_OBJECT)
        self.access_key = key[1:]
        return b""

    def _validate(self, command: Command) -> bytes:
        if self.access_key is None:
            raise Refused(OathStatus.NO_SUCH_OBJECT)
        found = _fields(command.data)
        response, challenge = found.get(_RESPONSE, [b""])[0], found.get(_CHALLENGE, [b""])[0]
        if not hmac.compare_digest(response, _proof(self.access_key, self._challenge)):
            self.wrong_passwords += 1
            raise Refused(OathStatus.WRONG_SYNTAX)
        self._open = True
        return tlv(_RESPONSE, _proof(self.access_key, challenge))

    def _reset(self, command: Command) -> bytes:
        if command.p1 << 8 | command.p2 != _RESET:
            raise Refused(Status.WRONG_P1_P2)
        self.accounts.clear()
        self.access_key = None
        self.salt = os.urandom(8)
        return b""

    def _list(self, _: Command) -> bytes:
        return b"".join(tlv(_LISTED, bytes([one.kind]) + one.name) for one in self.accounts.values())

    def _calculate(self, command: Command) -> bytes:
        found = _fields(command.data)
        account, challenge = self._account(found), found.get(_CHALLENGE, [b""])[0]
        if account.goes_back(challenge):
            raise Refused(OathStatus.NO_SUCH_OBJECT)
        if account.wants_touch and not self._finger.touches():
            raise Refused(OathStatus.AUTH_REQUIRED)
        self.calculations.append(account.name)
        return tlv(_RESPONSE if not command.p2 else _TRUNCATED, account.respond(challenge, whole=not command.p2))

    def _calculate_all(self, command: Command) -> bytes:
        """The codes of all accounts, but of those that count or want a touch only that they do."""
        challenge, answer = _fields(command.data).get(_CHALLENGE, [b""])[0], b""
        for account in self.accounts.values():
            answer += tlv(_NAME, account.name)
            if account.is_hotp:
                answer += tlv(_IS_HOTP, bytes([account.digits]))
            elif account.wants_touch:
                answer += tlv(_NEEDS_TOUCH, bytes([account.digits]))
            else:
                tag = _TRUNCATED if command.p2 else _RESPONSE
                answer += tlv(tag, account.respond(challenge, whole=not command.p2))
        return answer

    def _account(self, found: Mapping[int, list[bytes]]) -> Account:
        account = self.accounts.get(found.get(_NAME, [b""])[0])
        if account is None:
            raise Refused(OathStatus.NO_SUCH_OBJECT)
        return account

    _HANDLERS: Final[Mapping[int, Callable[["OathApplet", Command], bytes]]] = {
        OathIns.PUT: _put,
        OathIns.DELETE: _delete,
        OathIns.SET_CODE: _set_code,
        OathIns.RESET: _reset,
        OathIns.RENAME: _rename,
        OathIns.LIST: _list,
        OathIns.CALCULATE: _calculate,
        OathIns.VALIDATE: _validate,
        OathIns.CALCULATE_ALL: _calculate_all,
    }


def _proof(key: bytes, challenge: bytes) -> bytes:
    return hmac.digest(key, challenge, "sha1")


def _fields(data: bytes) -> dict[int, list[bytes]]:
    """The data objects by tag, each as often as it came. The property of an account is one byte without a length."""
    found: dict[int, list[bytes]] = {}
    while data:
        if data[0] == _PROPERTY:
            tag, value, data = data[0], data[1:2], data[2:]
            if not value:
                raise Malformed
        else:
            tag, value, data = first(data)
        found.setdefault(tag, []).append(value)
    return found
