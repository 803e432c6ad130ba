"""The management application of a YubiKey, as much as tells readers what the device is: version and serial number."""

from typing import Final

from dojang.testing.piv.apdu import Command, Refused, Status
from dojang.testing.piv.tlv import tlv

AID: Final = bytes.fromhex("A000000527471117")
READ_CONFIG: Final = 0x1D
_PIV, _OATH = 0x10, 0x20
_USB_SUPPORTED, _SERIAL, _USB_ENABLED, _FORM_FACTOR, _VERSION, _LOCKED = 0x01, 0x02, 0x03, 0x04, 0x05, 0x0A
_NFC_SUPPORTED, _NFC_ENABLED = 0x0D, 0x0E
_KEYCHAIN_A: Final = 1


class ManagementApplet:
    """Answers SELECT and READ CONFIG."""

    def __init__(self, serial: int, version: tuple[int, int, int]) -> None:
        self._serial = serial
        self._version = version

    def select(self) -> bytes:
        return b"Virtual mgr - FW version " + ".".join(map(str, self._version)).encode()

    def obey(self, command: Command) -> bytes:
        """READ CONFIG; the whole configuration is on page 0."""
        if command.ins != READ_CONFIG:
            raise Refused(Status.UNKNOWN_INS)
        if command.p1:
            raise Refused(Status.WRONG_P1_P2)
        applications = tlv(_USB_SUPPORTED, bytes([_PIV | _OATH]))
        config = (
            applications
            + tlv(_SERIAL, self._serial.to_bytes(4, "big"))
            + tlv(_USB_ENABLED, applications[2:])
            + tlv(_FORM_FACTOR, bytes([_KEYCHAIN_A]))
            + tlv(_VERSION, bytes(self._version))
            + tlv(_LOCKED, b"\0")
            + tlv(_NFC_SUPPORTED, applications[2:])
            + tlv(_NFC_ENABLED, applications[2:])
        )
        return bytes([len(config)]) + config
