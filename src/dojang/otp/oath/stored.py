"""The accounts that a device tells of, as seeds: read from LIST, and from CALCULATE ALL for a moment long ago.

LIST tells names, kinds and hashes. How many digits a code has and whether a touch is wanted is told by CALCULATE ALL
alone, so that is asked for the first moment of 1970: no code that is good for anything leaves the device, and by the
protocol it computes nothing for those that count or want a touch.
"""

from dataclasses import dataclass
from typing import Final

from yubikit.core import Tlv
from yubikit.core.smartcard import ApduError
from yubikit.oath import HASH_ALGORITHM, OATH_TYPE, OathSession

from dojang.errors import InvalidOtp
from dojang.otp.base import Seed
from dojang.otp.oath.address import OathAddress, split_period
from dojang.otp.parameters import OtpParameters

INS_LIST, INS_CALCULATE_ALL = 0xA1, 0xA4
TAG_NAME, TAG_LISTED, TAG_CHALLENGE, TAG_TOUCH = 0x71, 0x72, 0x74, 0x7C
LONG_AGO: Final = bytes(8)
DEFAULT_PERIOD: Final = 30
_TRUNCATED: Final = 1


@dataclass(frozen=True, slots=True)
class Stored:
    """An account: its name in the device's bytes, and what the device tells; 0 digits where it does not tell."""

    credential_id: bytes
    kind: OATH_TYPE
    hash_name: str
    digits: int = 0
    touch: bool = False

    @property
    def period(self) -> int:
        return self._split()[0] or DEFAULT_PERIOD

    @property
    def name(self) -> str:
        """For people: without the period, and with nothing that a terminal would obey."""
        return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in self._split()[1])

    def _split(self) -> tuple[int | None, str]:
        text = self.credential_id.decode(errors="replace")
        return split_period(text) if self.kind == OATH_TYPE.TOTP else (None, text)

    def seed(self, device: str) -> Seed:
        """As every device tells of its seeds; what dojang cannot compute with has a ``problem``."""
        problem = ""
        try:
            parameters = self._parameters(self.digits, self.period)
        except InvalidOtp as error:
            parameters, problem = self._parameters(6, DEFAULT_PERIOD), str(error)
        address = str(OathAddress(device, self.credential_id))
        return Seed(address, self.name, parameters, self.credential_id, self.touch, problem)

    def _parameters(self, digits: int, period: int) -> OtpParameters:
        issuer, colon, account = self.name.partition(":")
        if not (colon and issuer):
            issuer, account = "", self.name
        return OtpParameters(
            self.kind.name.lower(), self.hash_name, digits or 6, period, issuer=issuer, account=account
        )


def stored(session: OathSession) -> list[Stored]:
    """Every account of an unlocked application, in its order."""
    told = _digits_and_touch(session)
    found = []
    for one in Tlv.parse_list(session.protocol.send_apdu(0, INS_LIST, 0, 0)):
        listed = Tlv.unpack(TAG_LISTED, one)
        kind, hash_name = OATH_TYPE(listed[0] & 0xF0), HASH_ALGORITHM(listed[0] & 0x0F).name.lower()
        found.append(Stored(listed[1:], kind, hash_name, *told.get(listed[1:], (0, False))))
    return found


def _digits_and_touch(session: OathSession) -> dict[bytes, tuple[int, bool]]:
    """By name; nothing where the device refuses (one with an account that only goes forward in time does)."""
    challenge = Tlv(TAG_CHALLENGE, LONG_AGO)
    try:
        answer = Tlv.parse_list(session.protocol.send_apdu(0, INS_CALCULATE_ALL, 0, _TRUNCATED, challenge))
    except ApduError:
        return {}
    pairs = zip(answer[::2], answer[1::2], strict=True)
    return {Tlv.unpack(TAG_NAME, name): (said.value[0], said.tag == TAG_TOUCH) for name, said in pairs}
