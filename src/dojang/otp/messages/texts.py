"""What messages say, in Korean and in English: who sends it, the code, what it is for, how long, and to tell it nobody.

A text message is at most 90 bytes in EUC-KR, what a Korean network carries as one; a name that is too long is cut.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Language = Literal["ko", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("ko", "en")
SMS_BYTES: Final = 90

_PURPOSES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "issue": ("인증서 발급", "get a certificate"),
        "renew": ("인증서 갱신", "renew a certificate"),
        "reissue": ("인증서 재발급", "reissue a certificate"),
        "revoke": ("인증서 폐기", "revoke a certificate"),
        "test": ("시험", "test"),
    }
)
_USUAL: Final = ("본인 확인", "confirm it is you")

_SMS: Final = {
    "ko": "[{authority}] {purpose} 인증번호 {code} ({minutes}분 유효). 누구에게도 알리지 마십시오.",
    "en": "[{authority}] {code}: code to {purpose}, {minutes} min. Never share it.",
}
_SUBJECT: Final = {
    "ko": "[{authority}] {purpose} 인증번호",
    "en": "[{authority}] Your code to {purpose}",
}
_MAIL: Final = {
    "ko": (
        "{authority}에서 {purpose}에 쓸 인증번호를 보내 드립니다.\n\n"
        "    {code}\n\n"
        "이 번호는 {minutes}분 동안 한 번만 쓸 수 있습니다.\n"
        "누구에게도 알리지 마십시오. {authority} 직원도 이 번호를 묻지 않습니다.\n"
        "요청하신 적이 없다면 {authority}에 알려 주십시오.\n"
    ),
    "en": (
        "{authority} sends you the code to {purpose}:\n\n"
        "    {code}\n\n"
        "It works once, within {minutes} minutes.\n"
        "Never tell it to anybody; nobody at {authority} will ask you for it.\n"
        "If you did not ask for a code, tell {authority}.\n"
    ),
}
_CALL: Final = {
    "ko": "{authority}입니다. {purpose} 확인 전화입니다. 화면에 보이는 여섯 자리 번호를 눌러 주십시오. "
    "요청하신 적이 없다면 끊어 주십시오. 번호를 누구에게도 알리지 마십시오.",
    "en": "This is {authority}, to {purpose}. Please press the six digits that your screen shows. "
    "If you did not ask for this call, hang up. Never tell the digits to anybody.",
}


@dataclass(frozen=True, slots=True)
class Wording:
    """What a message is about. ``purpose`` is its first word, ``issue:…``; ``authority`` how people call it."""

    authority: str
    purpose: str
    minutes: int
    language: Language = "ko"


def sms_text(wording: Wording, code: str) -> str:
    """At most ``SMS_BYTES`` in EUC-KR."""
    room = SMS_BYTES - _length(_filled(_SMS, wording, code, authority=""))
    return _filled(_SMS, wording, code, authority=_cut(wording.authority, room))


def mail_subject(wording: Wording) -> str:
    """One line, without the code: subjects are shown on locked screens."""
    return _filled(_SUBJECT, wording)


def mail_text(wording: Wording, code: str) -> str:
    return _filled(_MAIL, wording, code)


def call_text(wording: Wording) -> str:
    """What the caller hears; never the code."""
    return _filled(_CALL, wording)


def language_of(text: str | None) -> Language:
    """Korean, unless it says English."""
    return "en" if text == "en" else "ko"


def _filled(templates: Mapping[str, str], wording: Wording, code: str = "", authority: str | None = None) -> str:
    """Control characters in a name do nothing."""
    korean, english = _PURPOSES.get(wording.purpose.partition(":")[0], _USUAL)
    named = wording.authority if authority is None else authority
    return templates[wording.language].format(
        authority="".join(one for one in named if one.isprintable()),
        purpose=korean if wording.language == "ko" else english,
        minutes=wording.minutes,
        code=code,
    )


def _cut(name: str, room: int) -> str:
    while name and _length(name) > room:
        name = name[:-1]
    return name.rstrip()


def _length(text: str) -> int:
    """In bytes; a letter that EUC-KR lacks takes two as well, where networks know more of them."""
    return sum(1 if one.isascii() else 2 for one in text)
