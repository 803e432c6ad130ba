"""DER and the BER that strangers write: what is read is strict, what is normalised is the same value."""

import contextlib

import pytest
from asn1crypto import core
from hypothesis import given
from hypothesis import strategies as st

from dojang.der import OID, Element, MalformedDer, integer, oid, parse, read_oid, to_der


@pytest.mark.parametrize("dotted", ["1.2.410.200004.1.15", "2.999.3", "0.9.2342.19200300.100.1.1", "1.39.1", "2.0.0"])
def test_an_oid_is_read_as_it_was_written(dotted: str) -> None:
    """Both ways, also where the first two arcs share an octet."""
    assert read_oid(parse(oid(dotted))) == dotted
    assert core.ObjectIdentifier(dotted).dump() == oid(dotted)


@given(st.integers() | st.integers(-(1 << 17), 1 << 17))
def test_an_integer_is_written_in_its_shortest_form(number: int) -> None:
    """As another program has it, negative ones too: a message may carry one."""
    assert integer(number) == core.Integer(number).dump()


@pytest.mark.parametrize("content", [b"", b"\x80", b"\x2a\x80\x01", b"\x2a\x86", b"\x2a" + b"\xff" * 80 + b"\x01"])
def test_an_oid_cut_off_or_padded_is_refused(content: bytes) -> None:
    """Also one longer than any that exists, which would make a number of hundreds of digits."""
    with pytest.raises(MalformedDer):
        read_oid(Element(OID, content, b""))


@pytest.mark.parametrize(
    ("ber", "der"),
    [
        ("3080020101 0000", "3003020101"),
        ("30800201010201020000", "3006020101020102"),
        ("308400000003020101", "3003020101"),
        ("3081030201 01", "3003020101"),
        ("2480 0402aabb 0401cc 0000", "0403aabbcc"),
        ("2407 0402aabb 0401cc", "0403aabbcc"),
        ("3080 2480 2403 040111 040122 0000 0000", "3004 0402 1122"),
        ("a080 3080 0000 0000", "a0023000"),
        ("0400", "0400"),
    ],
)
def test_ber_becomes_der(ber: str, der: str) -> None:
    """Indefinite lengths, lengths with zeros in front, OCTET STRINGs in pieces."""
    assert to_der(bytes.fromhex(ber)).hex() == bytes.fromhex(der).hex()


@pytest.mark.parametrize(
    "data",
    [
        "",
        "30",
        "3080",
        "30800201",
        "0480",
        "2480 020101 0000",
        "3003020101ff",
        "3005020101",
        "1f8101",
        "3085ffffffffff",
    ],
)
def test_what_is_not_ber_is_refused(data: str) -> None:
    """Cut off, an indefinite primitive, a piece of another kind, something after the end."""
    with pytest.raises(MalformedDer):
        to_der(bytes.fromhex(data))


def test_depth_is_bounded() -> None:
    """Ten thousand levels are refused, not followed."""
    with pytest.raises(MalformedDer):
        to_der(b"\x30\x80" * 10_000)


@given(st.binary(max_size=60))
def test_whatever_comes_is_der_or_refused(data: bytes) -> None:
    """What is made of any bytes is DER that stays as it is."""
    with contextlib.suppress(MalformedDer):
        made = to_der(data)
        assert to_der(made) == made
        parse(made)
