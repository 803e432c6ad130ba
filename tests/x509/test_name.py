"""Distinguished names as people write them."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from dojang.errors import InvalidName
from dojang.x509.name import attribute_names, format_name, parse_name

VISIBLE = st.characters(exclude_categories=("Cc", "Cs"))
VALUES = st.text(VISIBLE, min_size=1, max_size=64)
PRINTABLE = st.text("ABCabc019 '()+,-./:=?", min_size=1, max_size=64)
ATTRIBUTES = st.one_of(
    st.tuples(
        st.sampled_from([NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.SURNAME, NameOID.USER_ID]), VALUES
    ),
    st.tuples(st.just(x509.ObjectIdentifier("1.2.410.200004.10.1.1")), VALUES),
    st.tuples(st.sampled_from([NameOID.SERIAL_NUMBER, NameOID.DN_QUALIFIER]), PRINTABLE),
    st.tuples(st.just(NameOID.COUNTRY_NAME), st.text("ABCxyz", min_size=2, max_size=2)),
)
NAMES = st.lists(st.lists(ATTRIBUTES, min_size=1, max_size=3, unique_by=lambda pair: pair[0]), min_size=1, max_size=5)


def _name(rdns: list[list[tuple[x509.ObjectIdentifier, str]]]) -> x509.Name:
    return x509.Name(
        [
            x509.RelativeDistinguishedName([x509.NameAttribute(oid, value, _validate=False) for oid, value in rdn])
            for rdn in rdns
        ]
    )


@given(NAMES)
def test_what_is_formatted_is_parsed_back(rdns: list[list[tuple[x509.ObjectIdentifier, str]]]) -> None:
    """Any name, however odd its characters, survives being written and read, byte for byte in the certificate."""
    name = _name(rdns)
    read = parse_name(format_name(name))
    assert read == name
    assert read.public_bytes() == name.public_bytes()


@given(NAMES)
def test_what_cryptography_formats_is_parsed_alike(rdns: list[list[tuple[x509.ObjectIdentifier, str]]]) -> None:
    """RFC 4514 as another program writes it is read as the same name."""
    name = _name(rdns)
    assert parse_name(name.rfc4514_string()) == name


@given(st.text(max_size=200))
def test_any_text_is_a_name_or_invalid(text: str) -> None:
    """Nothing else ever comes out, and what comes out can be written again."""
    try:
        name = parse_name(text)
    except InvalidName:
        return
    assert parse_name(format_name(name)) == name


def test_leaf_is_written_first_and_encoded_last() -> None:
    """People write CN first; in the certificate the country comes first."""
    name = parse_name("CN=홍길동,OU=개인,O=Example,C=KR")
    assert next(iter(name)).oid == NameOID.COUNTRY_NAME
    assert format_name(name) == "CN=홍길동,OU=개인,O=Example,C=KR"
    assert attribute_names(name) == {"CN", "OU", "O", "C"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"CN=Example\, Inc.", "Example, Inc."),
        ('CN="Example, Inc."', "Example, Inc."),
        ('CN="a \\" b + c"', 'a " b + c'),
        (r"CN=\ED\99\8D길동", "홍길동"),
        (r"CN=\#1", "#1"),
        (r"CN=a\+b\=c", "a+b=c"),
        (r"CN=a\ ", "a "),
        ("  cn =  a b  ", "a b"),
        ("CN=a=b", "a=b"),
        ("CN=#0c03414243", "ABC"),
        ("CN=#1E04D64DAE38", "홍길"),
        ("2.5.4.3=x", "x"),
        ("OID.2.5.4.3=x", "x"),
        ("CN=" + "가" * 64, "가" * 64),
    ],
)
def test_values_are_read(text: str, value: str) -> None:
    """Escapes, quotes, hexadecimal, spaces and 64 Korean letters all mean what RFC 4514 and X.520 say."""
    assert [part.value for part in parse_name(text)] == [value]


def test_parts_joined_by_plus_are_one_rdn() -> None:
    """A multi-valued RDN stays one."""
    name = parse_name("CN=Hong + UID=7,C=KR")
    assert [len(rdn) for rdn in name.rdns] == [1, 2]


def test_country_and_serial_number_are_printable_strings() -> None:
    """RFC 5280 appendix A: C and serialNumber are PrintableString, the rest UTF8String."""
    der = parse_name("CN=a,serialNumber=1,C=KR").public_bytes()
    assert bytes.fromhex("0603550406 1302 4b52") in der
    assert bytes.fromhex("0603550405 1301 31") in der
    assert bytes.fromhex("0603550403 0c01 61") in der


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "Hong",
        "CN=",
        "CN=a,",
        ",CN=a",
        "CN=a,,C=KR",
        "CN=a+",
        "X-UNKNOWN=a",
        "9.9.9=a",
        "2.5.04.3=a",
        "C=KOR",
        "C=K",
        "C=한국",
        "C=1@",
        "serialNumber=한",
        "emailAddress=한@b.kr",
        "CN=a\x00b",
        r"CN=a\00b",
        "CN=a\nb",
        "CN=a\udc80b",
        'CN="a',
        'CN=a"',
        'CN=a"b"',
        'CN="a" b',
        "CN=a;O=b",
        "CN=<a>",
        "CN=a\\",
        r"CN=\zz",
        r"CN=\ED\99",
        "CN=#",
        "CN=#0c0341",
        "CN=#zz",
        "CN=#0c820001",
        "CN=#0201ff",
        "CN=a+CN=b",
        "CN=" + "a" * 65,
        "O=" + "가" * 65,
        "/C=KR/CN=a",
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    """Each wrong form is InvalidName, never another exception."""
    with pytest.raises(InvalidName) as caught:
        parse_name(text)
    assert caught.value.facts["problem"]


@pytest.mark.parametrize(
    "text",
    [
        "CN=" + "a" * 10_000_000,
        "CN=\\" * 3_000_000,
        '"' * 10_000_000,
        "+" * 10_000_000,
        "CN=a," * 1600,
        '\\"' * 4000 + '"',
    ],
    ids=["long", "backslashes", "quotes", "separators", "many", "unbalanced"],
)
@pytest.mark.timeout(20)
def test_hostile_text_is_refused_at_once(text: str) -> None:
    """Ten megabytes cost nothing, and the error shows only the beginning."""
    with pytest.raises(InvalidName) as caught:
        parse_name(text)
    assert len(str(caught.value)) < 500


def test_invisible_characters_are_shown_as_escapes() -> None:
    """A name cannot turn a terminal around or hide a part of itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a\u202eb\x1b[2J\u200b")])
    assert format_name(name) == r"CN=a\E2\80\AEb\1B[2J\E2\80\8B"
