"""Containers of seeds (RFC 6030), as they are written: always encrypted, by a key both sides know or by a password.

    transport = Transport.by_password(password)
    way = transport.way                                     # "kw": an HSM wraps the seed under ``transport.key`` itself
    document = write_container([Written(key, transport.wrapped(value))], transport)

Where a seed can stay in its HSM it does: AES key wrap is what is usual. AES-CBC with a MAC, which some devices insist
on, encrypts a seed in hand.
"""

import base64
import hmac
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self
from xml.sax.saxutils import escape, quoteattr

from dojang.errors import Phrase, Usage
from dojang.otp.pskc.container import SPACE, PskcKey
from dojang.otp.pskc.protection import (
    CIPHERS,
    DSIG,
    DSIG_MORE,
    MACS,
    PBKDF2,
    PKCS5,
    XENC,
    XENC11,
    Derivation,
    KeyRefused,
    key_in,
    to_cbc,
)

if TYPE_CHECKING:
    from dojang.secret import Secret

NAMED: Final = {
    "kw-aes128": f"{XENC}kw-aes128",
    "kw-aes256": f"{XENC}kw-aes256",
    "aes128-cbc": f"{XENC}aes128-cbc",
    "aes256-cbc": f"{XENC}aes256-cbc",
}
"""What encrypts, by the names that people give it."""
_ITERATIONS: Final = 600_000
_MAC: Final = f"{DSIG_MORE}hmac-sha256"
_MAC_BYTES: Final = 32
_BLOCK: Final = 16


@dataclass(frozen=True, slots=True)
class Transport:
    """The key that protects one container."""

    cipher: str
    key: bytes = field(repr=False)
    derivation: Derivation | None = None
    mac_key: bytes = field(default_factory=lambda: secrets.token_bytes(_MAC_BYTES), repr=False)

    @classmethod
    def by_key(cls, given: "Secret", cipher: str | None = None) -> Self:
        """A key that both sides know; as long as ``cipher`` wants it. ``Usage``."""
        try:
            key = key_in(given)
        except KeyRefused as error:
            raise Usage(problem=error.problem) from None
        name = cipher or f"kw-aes{len(key) * 8}"
        uri, bits = NAMED.get(name), len(key) * 8
        if uri is None:
            known = ", ".join(NAMED)
            raise Usage(problem=Phrase("a key of {bits} bits is not for any of {known}", bits=bits, known=known))
        wanted = CIPHERS[uri][1] * 8
        if wanted != bits:
            raise Usage(
                problem=Phrase(
                    "{cipher} wants a key of {wanted} bits, and this one has {bits}",
                    cipher=name,
                    wanted=wanted,
                    bits=bits,
                )
            )
        return cls(uri, key)

    @classmethod
    def by_password(cls, password: "Secret", cipher: str | None = None) -> Self:
        """A key out of a password (PBKDF2 with HMAC-SHA-256)."""
        uri = NAMED[cipher or "kw-aes256"]
        derivation = Derivation(secrets.token_bytes(16), _ITERATIONS, CIPHERS[uri][1], "sha256")
        return cls(uri, derivation.key(password), derivation)

    @property
    def way(self) -> str:
        """``kw`` where whoever has the seed wraps it under ``key``; ``cbc`` where it is encrypted here."""
        return CIPHERS[self.cipher][0]

    def encrypted(self, seed: bytearray) -> bytes:
        """A seed in hand, under AES-CBC."""
        return to_cbc(seed, self.key, secrets.token_bytes(_BLOCK))


@dataclass(frozen=True, slots=True)
class Written:
    """A key and its seed under the transport key."""

    key: PskcKey
    protected: bytes = field(repr=False)


def write_container(keys: Iterable[Written], transport: Transport) -> bytes:
    """The document, with one package for each key."""
    spaces = {"xmlns": SPACE, "xmlns:ds": DSIG, "xmlns:xenc": XENC, "xmlns:xenc11": XENC11, "xmlns:pkcs5": PKCS5}
    head = "".join(f"\n    {name}={quoteattr(value)}" for name, value in spaces.items())
    parts = [f'<?xml version="1.0" encoding="UTF-8"?>\n<KeyContainer Version="1.0"{head}>\n', _encryption(transport)]
    if transport.way == "cbc":
        inner = _encrypted(transport.cipher, to_cbc(transport.mac_key, transport.key, secrets.token_bytes(_BLOCK)))
        parts.append(_tag("MACMethod", _tag("MACKey", inner), Algorithm=_MAC))
    parts += [_package(one, transport) for one in keys]
    return "".join([*parts, "</KeyContainer>\n"]).encode()


def _encryption(transport: Transport) -> str:
    if transport.derivation is None:
        return _tag("EncryptionKey", _tag("ds:KeyName", "Pre-shared-key")) + "\n"
    told = transport.derivation
    prf = next(uri for uri, name in MACS.items() if name == told.hash_name)
    parameters = [
        _tag("Salt", _tag("Specified", _base64(told.salt)), xmlns=""),
        _tag("IterationCount", str(told.iterations), xmlns=""),
        _tag("KeyLength", str(told.length), xmlns=""),
        _tag("PRF", "", xmlns="", Algorithm=prf),
    ]
    method = _tag("xenc11:KeyDerivationMethod", _tag("pkcs5:PBKDF2-params", "".join(parameters)), Algorithm=PBKDF2[0])
    return _tag("EncryptionKey", _tag("xenc11:DerivedKey", method)) + "\n"


def _package(one: Written, transport: Transport) -> str:
    key = one.key
    device = [("Manufacturer", key.manufacturer), ("SerialNo", key.serial)]
    info = "".join(_tag(name, escape(value)) for name, value in device if value)
    body = [
        _optional("Issuer", key.parameters.issuer),
        _algorithm(key),
        _optional("FriendlyName", key.parameters.account),
        _tag("Data", "".join(_data(one, transport))),
        _optional("UserId", key.user),
    ]
    algorithm = f"{SPACE}:{key.parameters.kind}"
    element = _tag("Key", "".join(body), Id=key.id, Algorithm=algorithm)
    return _tag("KeyPackage", (_tag("DeviceInfo", info) if info else "") + element) + "\n"


def _algorithm(key: PskcKey) -> str:
    parameters = key.parameters
    suite = parameters.suite or (f"HMAC-{parameters.hash_name.upper()}" if parameters.kind == "totp" else "")
    challenge = ""
    if parameters.kind == "ocra":
        kind, longest = parameters.ocra.form, parameters.ocra.longest
        encoding = {"N": "DECIMAL", "H": "HEXADECIMAL", "A": "ALPHANUMERIC"}[kind]
        challenge = _tag("ChallengeFormat", "", Encoding=encoding, Min="4", Max=str(longest))
    response = _tag("ResponseFormat", "", Length=str(parameters.digits), Encoding="DECIMAL")
    return _tag("AlgorithmParameters", _optional("Suite", suite) + challenge + response)


def _data(one: Written, transport: Transport) -> Iterator[str]:
    key, parameters = one.key, one.key.parameters
    value = _tag("EncryptedValue", _encrypted(transport.cipher, one.protected))
    mac = ""
    if transport.way == "cbc":
        mac = _tag("ValueMAC", _base64(hmac.digest(transport.mac_key, one.protected, MACS[_MAC])))
    yield _tag("Secret", value + mac)
    if parameters.counts:
        yield _tag("Counter", _tag("PlainValue", str(key.counter)))
    if parameters.kind == "totp":
        yield _tag("Time", _tag("PlainValue", "0"))
        yield _tag("TimeInterval", _tag("PlainValue", str(parameters.period)))
    if key.drift:
        yield _tag("TimeDrift", _tag("PlainValue", str(key.drift)))


def _encrypted(cipher: str, data: bytes) -> str:
    method = _tag("xenc:EncryptionMethod", "", Algorithm=cipher)
    return method + _tag("xenc:CipherData", _tag("xenc:CipherValue", _base64(data)))


def _optional(name: str, text: str) -> str:
    return _tag(name, escape(text)) if text else ""


def _tag(name: str, content: str, **attributes: str) -> str:
    """``content`` is XML already."""
    said = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name}{said}>{content}</{name}>" if content else f"<{name}{said}/>"


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
