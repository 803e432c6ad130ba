"""The PIV card application (NIST SP 800-73-4, part 2): its state, and one method for every command."""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final, NamedTuple

from dojang.testing.piv import objects
from dojang.testing.piv.admin import CHALLENGE, KEY_REFERENCE, RESPONSE, ManagementKey
from dojang.testing.piv.apdu import CHAINED, Command, Ins, Refused, Status
from dojang.testing.piv.faults import Faults
from dojang.testing.piv.keys import CardKey, generate
from dojang.testing.piv.reference import LENGTH, ReferenceData
from dojang.testing.piv.tlv import Malformed, parse, tlv

_PIN_REFERENCE, _PUK_REFERENCE = 0x80, 0x81
_LOG_OUT: Final = 0xFF
_AUTHENTICATION_TEMPLATE: Final = 0x7C
_PEER_POINT: Final = 0x85
_OBJECT_TAGS: Final = 0x3FFF
_WHOLE_OBJECT: Final = 0x53
_YUBICO_VERSION: Final = bytes((4, 3, 5))


class Slot(IntEnum):
    """The keys of a card (part 1, table 4b)."""

    AUTHENTICATION = 0x9A
    SIGNATURE = 0x9C
    KEY_MANAGEMENT = 0x9D
    CARD_AUTHENTICATION = 0x9E


class Use(NamedTuple):
    """One use of a private key: the slot, and the block or digest that went in."""

    slot: int
    block: bytes


class Application:
    """What a card holds and how it answers. ``commands`` counts what reached it, ``uses`` is every use of a key."""

    def __init__(self, guid: bytes, pin: ReferenceData, puk: ReferenceData, management: ManagementKey) -> None:
        """Without keys and certificates."""
        self.guid = guid
        self.pin = pin
        self.puk = puk
        self.objects: dict[int, bytes] = {objects.CHUID: objects.chuid(guid)}
        self.keys: dict[int, CardKey] = {}
        self.faults = Faults()
        self.uses: list[Use] = []
        self.commands = 0
        self._management = management
        self.power_on()

    def power_on(self) -> None:
        """Everything that a card forgets without power: what was selected, proved and begun."""
        self._selected = False
        self._verified = False
        self._just_verified = False
        self._chain = b""
        self._rest = b""
        self._management.reset()

    def transmit(self, apdu: bytes) -> bytes:
        """The answer to one command APDU, faults included."""
        self.commands += 1
        try:
            command = Command.parse(apdu)
        except Refused as refusal:
            return refusal.status.to_bytes(2, "big")
        return self.faults.apply(command, lambda: self._answer(command))

    def _answer(self, command: Command) -> bytes:
        try:
            return self._cut(self._perform(command), command.expected)
        except Refused as refusal:
            return refusal.status.to_bytes(2, "big")
        except Malformed:
            return Status.WRONG_DATA.to_bytes(2, "big")

    def _cut(self, answer: bytes, room: int) -> bytes:
        """As much of the answer as was asked for; the rest waits for GET RESPONSE."""
        self._rest = answer[room:]
        left = len(self._rest)
        word = Status.MORE | min(left, 0xFF) if left else Status.DONE
        return answer[:room] + word.to_bytes(2, "big")

    def _perform(self, command: Command) -> bytes:
        if command.cla & ~CHAINED:
            raise Refused(Status.UNKNOWN_CLA)
        if command.ins == Ins.GET_RESPONSE:
            return self._rest
        if command.cla & CHAINED:
            self._chain += command.data
            return b""
        whole = command._replace(data=self._chain + command.data)
        self._chain = b""
        return self._obey(whole)

    def _obey(self, command: Command) -> bytes:
        """What a whole command answers; a card with more applications asks the one that is selected."""
        handler = self._HANDLERS.get(command.ins)
        if handler is None:
            raise Refused(Status.UNKNOWN_INS)
        if not self._selected and command.ins != Ins.SELECT:
            raise Refused(Status.CONDITIONS_NOT_SATISFIED)
        return handler(self, command)

    def _select(self, command: Command) -> bytes:
        wanted = command.data
        if command.p1 != 0x04 or len(wanted) < objects.SHORTEST_AID or not objects.AID.startswith(wanted):
            raise Refused(Status.NOT_FOUND)
        self._selected = True  # what was proved stays proved while the application stays the same (part 2, 3.1.1)
        return objects.APPLICATION_TEMPLATE

    def _yubico_version(self, _: Command) -> bytes:
        """Yubico's library works only with cards that tell a version; from 5.3 on it expects more of them."""
        return _YUBICO_VERSION

    def _get_data(self, command: Command) -> bytes:
        tag = self._object_tag(command)
        if tag == objects.DISCOVERY:
            return objects.discovery()
        if tag not in self.objects:
            raise Refused(Status.NOT_FOUND)
        return tlv(_WHOLE_OBJECT, self.objects[tag])

    def _put_data(self, command: Command) -> bytes:
        self._require_management()
        tag = self._object_tag(command)
        content = parse(command.data).get(_WHOLE_OBJECT)
        if content is None:
            raise Refused(Status.WRONG_DATA)
        if content:
            self.objects[tag] = content
        else:
            self.objects.pop(tag, None)
        return b""

    def _object_tag(self, command: Command) -> int:
        if command.p1 << 8 | command.p2 != _OBJECT_TAGS:
            raise Refused(Status.WRONG_P1_P2)
        tag = parse(command.data).get(0x5C)
        if not tag:
            raise Refused(Status.WRONG_DATA)
        return int.from_bytes(tag, "big")

    def _verify(self, command: Command) -> bytes:
        if command.p2 != _PIN_REFERENCE:
            raise Refused(Status.REFERENCE_NOT_FOUND)
        if command.p1 == _LOG_OUT and not command.data:
            self._verified = self._just_verified = False
            return b""
        if command.p1:
            raise Refused(Status.WRONG_P1_P2)
        if command.data:
            self._verified = self._just_verified = False
            self.pin.check(command.data)
            self._verified = self._just_verified = True
        elif not self._verified:
            raise Refused(Status.TRIES | self.pin.tries_left if self.pin.tries_left else Status.BLOCKED)
        return b""

    def _change_reference_data(self, command: Command) -> bytes:
        target = {_PIN_REFERENCE: self.pin, _PUK_REFERENCE: self.puk}.get(command.p2)
        if target is None or command.p1:
            raise Refused(Status.REFERENCE_NOT_FOUND)
        old, new = _two(command.data)
        target.check(old)
        target.change(new)
        if target is self.pin:
            self._verified = self._just_verified = True
        return b""

    def _reset_retry_counter(self, command: Command) -> bytes:
        if command.p2 != _PIN_REFERENCE or command.p1:
            raise Refused(Status.REFERENCE_NOT_FOUND)
        puk, new = _two(command.data)
        self.puk.check(puk)
        self.pin.change(new)
        self._verified = self._just_verified = False
        return b""

    def _generate(self, command: Command) -> bytes:
        self._require_management()
        if command.p2 not in objects.CERTIFICATE:
            raise Refused(Status.WRONG_P1_P2)
        algorithm = parse(parse(command.data).get(0xAC, b"")).get(0x80, b"")
        if len(algorithm) != 1:
            raise Refused(Status.WRONG_DATA)
        key = self.keys[command.p2] = generate(algorithm[0])
        return tlv(0x7F49, key.public_template())

    def _general_authenticate(self, command: Command) -> bytes:
        template = parse(parse(command.data).get(_AUTHENTICATION_TEMPLATE, b""))
        if command.p2 == KEY_REFERENCE:
            answer = self._management.authenticate(command.p1, template)
            return tlv(_AUTHENTICATION_TEMPLATE, answer) if answer else b""
        return tlv(_AUTHENTICATION_TEMPLATE, tlv(RESPONSE, self._use_key(command.p2, command.p1, template)))

    def _use_key(self, slot: int, algorithm: int, template: dict[int, bytes]) -> bytes:
        key = self.keys.get(slot)
        if key is None:
            raise Refused(Status.REFERENCE_NOT_FOUND)
        if key.algorithm != algorithm:
            raise Refused(Status.WRONG_P1_P2)
        self._require_pin(slot)
        agreed = _PEER_POINT in template
        block = template[_PEER_POINT] if agreed else template.get(CHALLENGE, b"")
        result = key.agree(block) if agreed else key.respond(block)
        self.uses.append(Use(slot, block))
        return result

    def _require_pin(self, slot: int) -> None:
        """PIN ALWAYS for 9C: nothing but the PIN may come between two signatures (part 1, 3.1.2 and table 4b)."""
        fresh, self._just_verified = self._just_verified, False
        allowed = slot == Slot.CARD_AUTHENTICATION or (fresh if slot == Slot.SIGNATURE else self._verified)
        if not allowed:
            raise Refused(Status.SECURITY_NOT_SATISFIED)

    def _require_management(self) -> None:
        if not self._management.authenticated:
            raise Refused(Status.SECURITY_NOT_SATISFIED)

    _HANDLERS: Final[Mapping[int, Callable[["Application", Command], bytes]]] = {
        Ins.SELECT: _select,
        Ins.GET_DATA: _get_data,
        Ins.PUT_DATA: _put_data,
        Ins.VERIFY: _verify,
        Ins.CHANGE_REFERENCE_DATA: _change_reference_data,
        Ins.RESET_RETRY_COUNTER: _reset_retry_counter,
        Ins.GENERATE_ASYMMETRIC_KEY_PAIR: _generate,
        Ins.GENERAL_AUTHENTICATE: _general_authenticate,
        Ins.YUBICO_VERSION: _yubico_version,
    }


def _two(data: bytes) -> tuple[bytes, bytes]:
    if len(data) != 2 * LENGTH:
        raise Refused(Status.WRONG_DATA)
    return data[:LENGTH], data[LENGTH:]
