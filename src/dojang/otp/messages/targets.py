"""Where a message goes: a telephone number or a mail address of a person, checked, and masked for whoever reads of it.

A number is written as people write it, with its country code (``+82 10-1234-5678``) or as in Korea (``010-1234-5678``).
It is kept here as E.164 has it. Numbers that cost the caller more (060) and those of countries that the authority does
not write to are refused: messages to them are how such services are robbed.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, NoReturn

from dojang.errors import Phrase

Channel = Literal["sms", "ars", "mail"]
CHANNELS: Final[tuple[Channel, ...]] = ("sms", "ars", "mail")
KOREA: Final = "82"

_SPACING: Final = str.maketrans("", "", " -.()")
_INTERNATIONAL: Final = re.compile(r"\+[1-9][0-9]{7,14}")
# Seoul, provinces, mobile and internet numbers; 060 is missing on purpose.
_NATIONAL: Final = re.compile(r"0(2[1-9][0-9]{6,7}|[3-6][1-5][1-9][0-9]{6,7}|1[016789][0-9]{7,8}|70[0-9]{8})")
_AREA: Final = re.compile(r"02|0[0-9]{2}")
_LOCAL_PART: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_LONGEST_LOCAL: Final = 64
_LONGEST_MAIL: Final = 254


@dataclass(frozen=True, slots=True)
class Target:
    """``address`` is E.164 or a mail address in one spelling; it shows in no ``repr``, ``masked`` is for that."""

    channel: Channel
    address: str

    def __repr__(self) -> str:
        return f"Target({self.channel}, {self.masked})"

    @property
    def national(self) -> str:
        """The number as it is dialled in Korea: ``01012345678``; others, and mail addresses, as they are."""
        prefix = f"+{KOREA}"
        return f"0{self.address.removeprefix(prefix)}" if self.address.startswith(prefix) else self.address

    @property
    def counted(self) -> str:
        """What limits go by: a mail box is one, in capitals or small letters, and with whatever follows a ``+``."""
        local, at, domain = self.address.rpartition("@")
        return f"{local.partition('+')[0] or local}@{domain}".lower() if at else self.address

    @property
    def masked(self) -> str:
        """Enough for its owner to know it by: ``010-****-5678``, ``h***@example.com``."""
        if self.channel == "mail":
            local, _at, domain = self.address.rpartition("@")
            return f"{local[:1]}***@{domain}"
        area = _AREA.match(self.national)
        return f"{area.group() if area else self.address[:3]}-****-{self.address[-4:]}"


def target_of(channel: Channel, text: str, countries: Collection[str] | None = (KOREA,)) -> Target:
    """The target that somebody wrote. ``ValueError`` with a phrase, which does not repeat it, for what is none."""
    address = mail_address(text) if channel == "mail" else telephone_number(text, countries)
    return Target(channel, address)


def telephone_number(text: str, countries: Collection[str] | None = (KOREA,)) -> str:
    """The number in E.164. ``countries`` are the country codes that may be written to; any where there are none."""
    digits = text.strip().translate(_SPACING)
    if not digits.isascii():
        _refuse(Phrase("it is no telephone number"))
    if digits.startswith("0"):
        digits = f"+{KOREA}{digits[1:]}"
    elif digits.startswith(f"+{KOREA}0"):  # written +82 (0)10-…
        digits = f"+{KOREA}{digits[len(KOREA) + 2 :]}"
    if not _INTERNATIONAL.fullmatch(digits):
        _refuse(Phrase("it is no telephone number"))
    _check_country(digits, countries)
    return digits


def mail_address(text: str) -> str:
    """The address as a mail server takes it, its domain in small letters. No name beside it, no quotes, no comments."""
    local, at, domain = text.strip().rpartition("@")
    # ``=?…?=`` stands for other characters in a header, where the address would become another.
    if not at or len(local) > _LONGEST_LOCAL or not _LOCAL_PART.fullmatch(local) or "=?" in local:
        _refuse(Phrase("it is no mail address"))
    address = f"{local}@{_domain(domain)}"
    if len(address) > _LONGEST_MAIL:
        _refuse(Phrase("it is no mail address"))
    return address


def _check_country(number: str, countries: Collection[str] | None) -> None:
    if countries is not None and not any(number[1:].startswith(one) for one in countries):
        _refuse(Phrase("no messages are sent to that country"))
    if number[1:].startswith(KOREA) and not _NATIONAL.fullmatch(f"0{number[len(KOREA) + 1 :]}"):
        _refuse(Phrase("no messages are sent to such a number"))


def _domain(domain: str) -> str:
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode()
        except UnicodeError:
            _refuse(Phrase("it is no mail address"))
    labels = domain.lower().split(".")
    if len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        _refuse(Phrase("it is no mail address"))
    return ".".join(labels)


def _refuse(problem: Phrase) -> NoReturn:
    raise ValueError(problem)
