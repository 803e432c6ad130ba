"""The file that a wrapped key goes into: JSON that says what it is, with everything needed to bring the key back.

    "key"             the private key: PKCS#8 under AES-KWP (RFC 5649), in base64; zeros may follow the PKCS#8
    "random_number"   R: an OCTET STRING under AES-KWP, zeros after it; null where there is none
    "wrapping"        the label of the wrapping key, and its check value: the first four bytes, in hex, of 16 zero bytes
                      under AES-KWP
    "seal"            SHA-256 over everything else (as JSON with sorted keys and no spaces, in UTF-8) under AES-KWP

So whoever has the wrapping key opens it with any program that does RFC 5649, and nobody else changes anything in it
without being found out.
"""

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from dojang.errors import FileMalformed, Phrase
from dojang.locations.base import WrappedKey

KIND: Final = "dojang wrapped key"
VERSION: Final = 1
LARGEST: Final = 1 << 20
_EXPECTED: Final = Phrase("a wrapped key")


@dataclass(frozen=True, slots=True)
class WrappedFile:
    """A wrapped key with its name and, where it has one, its certificate and those above it."""

    label: str
    wrapped: WrappedKey
    kek_label: str
    kek_check: str
    wrapped_at: datetime
    certificate_der: bytes = b""
    chain_der: tuple[bytes, ...] = ()

    def to_json(self, wrap: Callable[[bytes], bytes]) -> bytes:
        """The file; ``wrap`` encrypts under the wrapping key."""
        body = self._body()
        return json.dumps({**body, "seal": _text(wrap(digest_of(body)))}, ensure_ascii=False, indent=1).encode() + b"\n"

    def _body(self) -> dict[str, Any]:
        return {
            "kind": KIND,
            "version": VERSION,
            "label": self.label,
            "algorithm": self.wrapped.algorithm,
            "public_key": _text(self.wrapped.public_key_der),
            "wrapped_at": self.wrapped_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "wrapping": {"algorithm": "AES-KWP (RFC 5649)", "label": self.kek_label, "check": self.kek_check},
            "key": _text(self.wrapped.key),
            "random_number": _text(self.wrapped.random_number) if self.wrapped.random_number else None,
            "certificate": _text(self.certificate_der) if self.certificate_der else None,
            "chain": [_text(der) for der in self.chain_der],
        }


@dataclass(frozen=True, slots=True)
class ReadFile:
    """What a file said, before anybody has looked at its seal."""

    content: WrappedFile
    digest: bytes
    seal: bytes


def read_wrapped(data: bytes, path: str) -> ReadFile:
    """Take a file apart. ``FileMalformed`` for anything that is none, is cut off or comes from a newer dojang."""
    try:
        body = json.loads(data.decode()) if len(data) <= LARGEST else None
        if not isinstance(body, dict) or body.get("kind") != KIND:
            raise _malformed(path, Phrase("it is something else"))
        if body.get("version") != VERSION:
            raise _malformed(path, Phrase("a newer dojang wrote it"))
        seal = _bytes(body.pop("seal"))
        return ReadFile(_content(body), digest_of(body), seal)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _malformed(path, Phrase("it is damaged or cut off")) from error


def digest_of(body: dict[str, Any]) -> bytes:
    """What the seal is over."""
    text = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def refuse_broken_seal(read: ReadFile, wrap: Callable[[bytes], bytes], path: str) -> None:
    """``FileMalformed`` where anything was changed since it was wrapped; ``wrap`` is as in ``to_json``."""
    import hmac

    if not hmac.compare_digest(wrap(read.digest), read.seal):
        raise _malformed(path, Phrase("its seal does not fit: it is damaged, or somebody changed it"))


def _content(body: dict[str, Any]) -> WrappedFile:
    wrapping = body["wrapping"]
    random_number, certificate = body["random_number"], body["certificate"]
    wrapped = WrappedKey(
        algorithm=_word(body["algorithm"]),
        public_key_der=_bytes(body["public_key"]),
        key=_bytes(body["key"]),
        random_number=_bytes(random_number) if random_number is not None else b"",
    )
    return WrappedFile(
        label=_word(body["label"]),
        wrapped=wrapped,
        kek_label=_word(wrapping["label"]),
        kek_check=_word(wrapping["check"]),
        wrapped_at=datetime.fromisoformat(body["wrapped_at"]),
        certificate_der=_bytes(certificate) if certificate is not None else b"",
        chain_der=tuple(_bytes(one) for one in body["chain"]),
    )


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text expected")
    return value


def _text(value: bytes) -> str:
    return b64encode(value).decode()


def _bytes(value: object) -> bytes:
    return b64decode(_word(value), validate=True)


def _malformed(path: str, problem: Phrase) -> FileMalformed:
    return FileMalformed(path=path, expected=_EXPECTED, problem=problem)
