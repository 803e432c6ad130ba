"""OCSP requests from anybody: what is read of them, and what is refused."""

from pathlib import Path

import pytest

from dojang.authority.status.request import LARGEST_REQUEST, MOST_CERTIFICATES, RequestMalformed, read_request
from dojang.der import NULL, OCTET_STRING, SEQUENCE, integer, oid, tlv

SHA1, NONCE, STRANGE = oid("1.3.14.3.2.26"), oid("1.3.6.1.5.5.7.48.1.2"), oid("1.2.3.4")
TRUE = b"\x01\x01\xff"
CORPUS = Path(__file__).parents[2] / "npki" / "fuzz" / "corpus" / "ocsp"


def single(
    serial: bytes = integer(7), *, algorithm: bytes = tlv(SEQUENCE, SHA1), hashes: int = 20, more: bytes = b""
) -> bytes:
    named = tlv(OCTET_STRING, b"h" * hashes)
    return tlv(SEQUENCE, tlv(SEQUENCE, algorithm, named, named, serial), more)


def request(*singles: bytes, before: bytes = b"", extensions: tuple[bytes, ...] = (), after: bytes = b"") -> bytes:
    more = tlv(0xA2, tlv(SEQUENCE, *extensions)) if extensions else b""
    return tlv(SEQUENCE, tlv(SEQUENCE, before, tlv(SEQUENCE, *singles), more), after)


def extension(kind: bytes, value: bytes, critical: bytes = b"") -> bytes:
    return tlv(SEQUENCE, kind, critical, tlv(OCTET_STRING, value))


def test_the_certificates_and_the_nonce_are_read() -> None:
    """In their order; parameters of the hash may be NULL or nothing, the version may be said."""
    nonce = extension(NONCE, tlv(OCTET_STRING, b"12345678"))
    with_null = single(integer(8), algorithm=tlv(SEQUENCE, SHA1, tlv(NULL)))
    asked = read_request(request(single(), with_null, before=tlv(0xA0, integer(0)), extensions=(nonce,)))
    assert [one.serial for one in asked.certificates] == [7, 8]
    assert {one.algorithm for one in asked.certificates} == {"1.3.14.3.2.26"}
    assert asked.nonce == b"12345678"
    assert read_request(request(single())).nonce is None


def test_who_asks_is_read_over() -> None:
    """A signed request of openssl's, and a name that cannot be read."""
    asked = read_request((CORPUS / "signed.der").read_bytes())
    assert ([one.serial for one in asked.certificates], len(asked.nonce or b"")) == ([1], 16)
    assert read_request(request(single(), before=tlv(0xA1, b"\x84\x01x"), after=tlv(0xA0, tlv(SEQUENCE))))


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x30\x80\0\0",
        request(),
        request(*[single()] * (MOST_CERTIFICATES + 1)),
        request(single(), before=tlv(0xA0, integer(1))),
        request(single(hashes=19)),
        request(single(b"\x02\x01\xff")),
        request(single(b"\x02\x02\x00\x07")),
        request(single(integer(1 << 161))),
        request(single(algorithm=tlv(SEQUENCE, SHA1, integer(1)))),
        request(single(), extensions=(extension(STRANGE, b"", TRUE),)),
        request(single(more=tlv(0xA0, tlv(SEQUENCE, extension(STRANGE, b"", TRUE))))),
        request(single(), extensions=(extension(NONCE, tlv(OCTET_STRING, b"n")),) * 2),
        request(single(), extensions=(extension(NONCE, b"bare nonce"),)),
        request(single()) + b"\0",
        request(single(), after=b"\0" * LARGEST_REQUEST),
    ],
)
def test_what_is_no_request_is_refused(bad: bytes) -> None:
    """With one error, whatever is wrong."""
    with pytest.raises(RequestMalformed):
        read_request(bad)


def test_what_is_not_critical_may_be_strange() -> None:
    """And is read over."""
    strange = extension(STRANGE, b"\xff")
    assert read_request(request(single(more=tlv(0xA0, tlv(SEQUENCE, strange))), extensions=(strange,))).nonce is None
