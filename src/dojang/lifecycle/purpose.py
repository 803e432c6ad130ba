"""What a certificate is for, in words: by the policies it names, else by its profile, else by its usages."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from dojang.der import BIT_STRING, OID, SEQUENCE, MalformedDer, children, expect, parse, read_oid
from dojang.errors import DojangError
from dojang.npki.policies import UNKNOWN, Policy, policies_named
from dojang.tbs import CERTIFICATE_POLICIES, EXTENDED_KEY_USAGE, KEY_USAGE, Glance, extensions_in, tbs_of

# RFC 5280 section 4.2.1.12, RFC 9336, and what smart cards log on with.
_EXTENDED: Final = {
    "2.5.29.37.0": ("anything", "모든 용도"),
    "1.3.6.1.5.5.7.3.1": ("TLS server", "TLS 서버"),
    "1.3.6.1.5.5.7.3.2": ("TLS client", "TLS 클라이언트"),
    "1.3.6.1.5.5.7.3.3": ("code signing", "코드 서명"),
    "1.3.6.1.5.5.7.3.4": ("e-mail", "전자우편"),
    "1.3.6.1.5.5.7.3.8": ("time stamps", "타임스탬프"),
    "1.3.6.1.5.5.7.3.9": ("OCSP answers", "OCSP 응답"),
    "1.3.6.1.5.5.7.3.36": ("document signing", "문서 서명"),
    "1.3.6.1.4.1.311.20.2.2": ("smart card logon", "스마트카드 로그온"),
}
# The bits of KeyUsage, the first from the left.
_SIGNS, _ENCRYPTS, _CERTIFIES = 0b11000000, 0b00111000, 0b00000110
_USAGES: Final = (
    (_SIGNS, ("signatures", "전자서명")),
    (_ENCRYPTS, ("encryption", "암호화")),
    (_CERTIFIES, ("certificate authority", "인증기관")),
)
_ANYTHING: Final = {"en": "not restricted", "ko": "용도 제한 없음"}


@dataclass(frozen=True, slots=True)
class Purpose:
    """``words`` are in ``en`` and ``ko``; ``holder`` is person or business where a policy says so.

    ``korean``: a Korean authority's policy, known or not, stands in it. ``doubt`` is that of ``Policy``.
    """

    words: Mapping[str, str]
    policy_oids: tuple[str, ...] = ()
    holder: str | None = None
    korean: bool = False
    doubt: str | None = None


def purpose_of(certificate_der: bytes, profile: str | None = None, seen: Glance | None = None) -> Purpose:
    """What the certificate says of its purpose; ``profile`` is what it was issued by, where that is known.

    ``seen`` is the certificate where somebody has loaded it.
    """
    try:
        tbs = seen.tbs if seen is not None and seen.tbs is not None else tbs_of(certificate_der)
        found = extensions_in(tbs.extensions_der).get
    except MalformedDer:
        return Purpose(UNKNOWN)
    policies, extended, usage = found(CERTIFICATE_POLICIES, b""), found(EXTENDED_KEY_USAGE, b""), found(KEY_USAGE, b"")
    return _purpose(policies, extended, usage, profile)


@lru_cache(maxsize=256)
def _purpose(policies_der: bytes, extended_der: bytes, usage_der: bytes, profile: str | None) -> Purpose:
    named = policies_named(policies_der)
    oids, korean = tuple(one.oid for one in named), any(one.authority for one in named)
    if known := [one for one in named if one.source]:
        holder, doubt = _agreed(known, "holder"), _agreed(known, "doubt")
        return Purpose(_joined(one.purposes for one in known), oids, holder, korean, doubt)
    if korean:
        return Purpose(UNKNOWN, oids, korean=True)
    words = _of_profile(profile) or _of_extended_usage(extended_der)
    return Purpose(words or (UNKNOWN if named else _of_usage(usage_der)), oids)


def _agreed(policies: Iterable[Policy], field: str) -> str | None:
    """What all that say something say."""
    said = {getattr(one, field) for one in policies} - {None}
    return said.pop() if len(said) == 1 else None


def _joined(several: Iterable[Mapping[str, str]]) -> dict[str, str]:
    every = list(several)
    return {language: ", ".join(dict.fromkeys(words[language] for words in every)) for language in ("en", "ko")}


def _of_profile(profile: str | None) -> Mapping[str, str] | None:
    if profile is None:
        return None
    from dojang.x509 import profiles

    try:
        return profiles.profile(profile).titles
    except DojangError:
        return None  # one of an authority's own, whose words are with that authority


def _of_extended_usage(der: bytes) -> Mapping[str, str] | None:
    try:
        oids = [read_oid(expect(one, OID)) for one in children(parse(der, SEQUENCE))] if der else []
    except MalformedDer:
        return UNKNOWN
    known = [_in_both(_EXTENDED[oid]) for oid in oids if oid in _EXTENDED]
    return _joined(known) if known else UNKNOWN if oids else None


def _of_usage(der: bytes) -> Mapping[str, str]:
    try:
        bits = expect(parse(der), BIT_STRING).content[1:2] if der else b""
    except MalformedDer:
        return UNKNOWN
    found = [_in_both(words) for mask, words in _USAGES if bits and bits[0] & mask]
    return _joined(found) if found else UNKNOWN if der else _ANYTHING


def _in_both(words: tuple[str, str]) -> dict[str, str]:
    return dict(zip(("en", "ko"), words, strict=True))
