"""Seeds as text for a QR code: otpauth URIs (Key URI Format), read strictly and written so that every app reads them.

``otpauth://totp/ISSUER:ACCOUNT?secret=BASE32&issuer=ISSUER&algorithm=SHA1&digits=6&period=30``. The text is as secret
as the seed.
"""

import base64
import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from dojang.errors import InvalidOtp, Phrase
from dojang.otp.base import NewSeed
from dojang.otp.parameters import OtpParameters
from dojang.secret import Secret

SCHEME: Final = "otpauth://"
LONGEST: Final = 4096
SHORTEST_SEED: Final = 10
"""Bytes. RFC 4226 asks for 16 (R6); half the services there are give out ten, and their users have no choice."""
_HASHES: Final = {"SHA1": "sha1", "SHA256": "sha256", "SHA512": "sha512"}
_NAMES: Final = frozenset({"secret", "issuer", "algorithm", "digits", "period", "counter"})
_IGNORED: Final = frozenset({"image", "color", "lock", "icon"})
"""What some apps add for looks."""
_ESCAPED: Final = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")


def parse_uri(uri: Secret) -> NewSeed:
    """Read a URI; ``InvalidOtp`` for everything that is not one, without ever showing any of the seed."""
    text = _text_of(uri)
    kind, slash, rest = text[len(SCHEME) :].partition("/")
    if text[: len(SCHEME)].lower() != SCHEME or not slash:
        raise _wrong(Phrase("it does not begin with otpauth://totp/ or otpauth://hotp/"))
    if kind.lower() not in ("totp", "hotp"):
        raise _wrong(Phrase("the kind is totp or hotp"))
    label, question, query = rest.partition("?")
    if "#" in rest:
        raise _wrong(Phrase("it holds a '#', which must be written as %23"))
    values = _query(query) if question else {}
    issuer, account = _label(label, values.get("issuer"))
    parameters = OtpParameters(
        kind=kind.lower(),
        hash_name=_hash(values.get("algorithm", "SHA1")),
        digits=_number("digits", values.get("digits", "6")),
        period=_number("period", values.get("period", "30")),
        issuer=issuer,
        account=account,
    )
    counter = _counter(kind.lower(), values.get("counter"))
    return NewSeed(account or issuer, parameters, seed_from_base32(values.get("secret", "")), counter)


def to_uri(parameters: OtpParameters, seed: Secret, *, counter: int = 0) -> Secret:
    """Write the URI of a seed in hand; ``InvalidOtp`` for OCRA, which the format has no words for."""
    if parameters.kind == "ocra":
        raise _wrong(Phrase("the kind is totp or hotp"))
    if ":" in parameters.issuer:
        raise _wrong(Phrase("an issuer has no ':' in it"))
    label = quote(parameters.account, safe="")
    if parameters.issuer:
        label = f"{quote(parameters.issuer, safe='')}:{label}"
    secret = base64.b32encode(seed.reveal()).decode().rstrip("=")
    query = [("secret", secret), ("issuer", quote(parameters.issuer, safe=""))]
    query += [("algorithm", parameters.hash_name.upper()), ("digits", str(parameters.digits))]
    query.append(("counter", str(counter)) if parameters.kind == "hotp" else ("period", str(parameters.period)))
    written = "&".join(f"{name}={value}" for name, value in query if value)
    return Secret(f"{SCHEME}{parameters.kind}/{label}?{written}")


def seed_from_base32(text: str) -> Secret:
    """A seed as people type it: base32 (RFC 4648), small letters, blanks and hyphens allowed, padding or none."""
    plain = re.sub(r"[\s-]", "", text).upper().rstrip("=")
    try:
        seed = base64.b32decode(plain + "=" * (-len(plain) % 8)) if plain.isascii() else b""
    except ValueError:
        seed = b""
    if not seed:
        raise _wrong(Phrase("the seed is not in base32 (letters A to Z and the digits 2 to 7)"))
    if len(seed) < SHORTEST_SEED:
        raise _wrong(Phrase("a seed has at least {shortest} bytes", shortest=SHORTEST_SEED))
    return Secret(seed)


def _text_of(uri: Secret) -> str:
    try:
        text = uri.reveal().decode().strip()
    except UnicodeDecodeError:
        raise _wrong(Phrase("it is not UTF-8")) from None
    if len(text) > LONGEST:
        raise _wrong(Phrase("it is longer than {limit} characters", limit=LONGEST))
    return text


def _query(query: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for part in query.split("&"):
        name, equals, raw = part.partition("=")
        if not equals or name not in _NAMES | _IGNORED:
            raise _wrong(Phrase("what follows the '?' is not one of {names}", names=", ".join(sorted(_NAMES))))
        if name in values:
            raise _wrong(Phrase("{name} stands twice", name=name))
        values[name] = _unescaped(raw)
    return values


def _label(label: str, issuer: str | None) -> tuple[str, str]:
    """Issuer and account; ``:`` may stand as ``%3A``. Where both name an issuer, they name the same one."""
    before, colon, after = _unescaped(label).partition(":")
    named, account = (before.strip(), after.strip()) if colon else ("", before.strip())
    if issuer and named and issuer != named:
        raise _wrong(Phrase("it names two issuers, one before the account and another one after it"))
    return issuer or named, account


def _unescaped(raw: str) -> str:
    if not _ESCAPED.fullmatch(raw):
        raise _wrong(Phrase("it holds a % without two hexadecimal digits"))
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise _wrong(Phrase("it is not UTF-8")) from None


def _hash(name: str) -> str:
    found = _HASHES.get(name.upper().removeprefix("HMAC"))
    if found is None:
        raise _wrong(Phrase("the algorithm is SHA1, SHA256 or SHA512"))
    return found


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise _wrong(Phrase("{name} is not a number", name=name))
    return int(text)


def _counter(kind: str, text: str | None) -> int:
    if kind == "totp":
        return 0
    if text is None:
        raise _wrong(Phrase("a URI of the kind hotp has a counter"))
    return _number("counter", text)


def _wrong(problem: Phrase) -> InvalidOtp:
    return InvalidOtp(problem=Phrase("it is no otpauth URI: {problem}", problem=problem))
