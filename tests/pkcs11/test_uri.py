"""PKCS#11 URIs: what RFC 7512 promises, and what hostile text must not achieve."""

import contextlib
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dojang.errors import InvalidUri
from dojang.pkcs11.uri import LARGEST_SLOT_ID, LONGEST_VALUE, OBJECT_TYPES, Pkcs11Uri
from dojang.secret import Secret

# Section 3 of RFC 7512, with what each example names.
RFC_EXAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("pkcs11:", {}),
    ("pkcs11:object=my-pubkey;type=public", {"object": "my-pubkey", "type": "public"}),
    (
        "pkcs11:object=my-key;type=private?pin-source=file:/etc/token",
        {"object": "my-key", "type": "private", "pin_source": "file:/etc/token"},
    ),
    (
        "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;"
        "object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin",
        {
            "token": "The Software PKCS#11 Softtoken",
            "manufacturer": "Snake Oil, Inc.",
            "model": "1.0",
            "object": "my-certificate",
            "type": "cert",
            "id": bytes.fromhex("69953e5cf4bdec91"),
            "serial": "",
            "pin_source": "file:/etc/token_pin",
        },
    ),
    ("pkcs11:object=my-sign-key;type=private?module-name=mypkcs11",
     {"object": "my-sign-key", "type": "private", "module_name": "mypkcs11"}),
    ("pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1",
     {"object": "my-sign-key", "type": "private", "module_path": "/mnt/libmypkcs11.so.1"}),
    ("pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=the-pin",
     {"token": "Software PKCS#11 softtoken", "manufacturer": "Snake Oil, Inc.", "pin_value": Secret("the-pin")}),
    ("pkcs11:slot-description=Sun%20Metaslot", {"slot_description": "Sun Metaslot"}),
    ("pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;library-version=1.23",
     {"library_manufacturer": "Snake Oil, Inc.", "library_description": "Soft Token Library",
      "library_version": "1.23"}),
    ("pkcs11:token=My%20token%25%20created%20by%20Joe;library-version=3;id=%01%02%03%Ba%dd%Ca%fe%04%05%06",
     {"token": "My token% created by Joe", "library_version": "3", "id": bytes.fromhex("010203baddcafe040506")}),
    ("pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert",
     {"token": "A name with a substring %;", "object": "my-certificate", "type": "cert"}),
    ("pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1;object=my-certificate;type=cert",
     {"token": "Name with a small A with acute: á", "object": "my-certificate", "type": "cert"}),
    ("pkcs11:token=my-token;object=my-certificate;type=cert;vendor-aaa=value-a?pin-source=file:/etc/token_pin&vendor-bbb=value-b",
     {"token": "my-token", "object": "my-certificate", "type": "cert", "vendor_path": (("vendor-aaa", "value-a"),),
      "pin_source": "file:/etc/token_pin", "vendor_query": (("vendor-bbb", "value-b"),)}),
    ("pkcs11:object=k?pin-source=|/usr/lib/pinomatic", {"object": "k", "pin_source": "|/usr/lib/pinomatic"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), RFC_EXAMPLES)
def test_examples_of_the_standard_are_read_and_written_back(text: str, expected: dict[str, Any]) -> None:
    """Every example of RFC 7512 section 3 is understood, and what is written names the same."""
    uri = Pkcs11Uri.from_text(text)
    assert uri == Pkcs11Uri(**expected)
    assert Pkcs11Uri.from_text(uri.to_text(with_pin=True)) == uri


label = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
vendor_name = st.from_regex(r"x-[A-Za-z0-9_-]{1,10}", fullmatch=True)
vendor = st.lists(st.tuples(vendor_name, label), max_size=4)


@st.composite
def uris(draw: st.DrawFn) -> Pkcs11Uri:
    text_keys = [
        "token", "manufacturer", "serial", "model", "library_manufacturer", "library_description", "object",
        "slot_manufacturer", "slot_description", "module_name", "module_path",
    ]  # fmt: skip
    values: dict[str, Any] = draw(st.fixed_dictionaries({}, optional=dict.fromkeys(text_keys, label)))
    byte = st.integers(0, 255)
    values |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "type": st.sampled_from(OBJECT_TYPES),
                "id": st.binary(max_size=40),
                "slot_id": st.integers(0, LARGEST_SLOT_ID),
                "library_version": st.one_of(byte.map(str), st.tuples(byte, byte).map(lambda v: f"{v[0]}.{v[1]}")),
                "vendor_path": vendor.map(lambda pairs: tuple(dict(pairs).items())),
                "vendor_query": vendor.map(tuple),
            },
        )
    )
    pin = draw(st.sampled_from(["", "value", "source"]))
    if pin == "value":
        values["pin_value"] = Secret(draw(label))
    elif pin == "source":
        values["pin_source"] = draw(label)
    return Pkcs11Uri(**values)


@given(uris())
def test_what_is_written_reads_back_the_same(uri: Pkcs11Uri) -> None:
    """Every URI survives being written and read, in plain ASCII."""
    text = uri.to_text(with_pin=True)
    assert text.isascii()
    assert Pkcs11Uri.from_text(text) == uri


@given(uris())
def test_reading_its_own_text_is_stable(uri: Pkcs11Uri) -> None:
    """Writing, reading and writing again gives the same text."""
    text = str(uri)
    assert str(Pkcs11Uri.from_text(text)) == text


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused_cleanly(text: str) -> None:
    """Whatever follows pkcs11: is a URI or InvalidUri, never another exception."""
    for candidate in (text, "pkcs11:" + text, "pkcs11:token=" + text, "pkcs11:?pin-source=" + text):
        try:
            uri = Pkcs11Uri.from_text(candidate)
        except InvalidUri:
            continue
        assert Pkcs11Uri.from_text(uri.to_text(with_pin=True)) == uri


@given(st.text(alphabet="pkcs11:;?&=%0aF/-. \0é\ud800tokenidpin-valueslot", max_size=80))
@settings(max_examples=300)
def test_text_that_looks_like_a_uri_is_read_or_refused_cleanly(text: str) -> None:
    """The same for text made of the pieces that URIs are made of."""
    with contextlib.suppress(InvalidUri):
        Pkcs11Uri.from_text("pkcs11:" + text)


@pytest.mark.parametrize(
    "text",
    [
        "", "token=a", "pkcs11", "pkcs12:token=a", "http://x", " pkcs11:token=a",
        "pkcs11:token", "pkcs11:=a", "pkcs11:token=a;", "pkcs11:;token=a", "pkcs11:token=a;;object=b",
        "pkcs11:token=a;token=a", "pkcs11:x-a=1;x-a=2", "pkcs11:?module-name=a&module-name=b", "pkcs11:?&",
        "pkcs11:token=a b", "pkcs11:token=a/b", "pkcs11:token=a?b", "pkcs11:token=a#b", "pkcs11:token=a\tb",
        "pkcs11:token=a\nb", "pkcs11:to ken=a", "pkcs11:t%6Fken=a", "pkcs11:?module-path=a;b",
        "pkcs11:token=%", "pkcs11:token=%4", "pkcs11:token=%4g", "pkcs11:id=%", "pkcs11:id=%0", "pkcs11:id=ab%zz",
        "pkcs11:token=%ff", "pkcs11:token=%c3", "pkcs11:token=%ed%a0%80", "pkcs11:token=\ud800",
        "pkcs11:token=%00", "pkcs11:object=a%00b", "pkcs11:?module-path=/a%00b", "pkcs11:?pin-value=12%0034",
        "pkcs11:token=a\0b",
        "pkcs11:type=", "pkcs11:type=key", "pkcs11:type=PRIVATE",
        "pkcs11:slot-id=", "pkcs11:slot-id=-1", "pkcs11:slot-id=+1", "pkcs11:slot-id=1_0", "pkcs11:slot-id=0x1",
        "pkcs11:slot-id=١", "pkcs11:slot-id=18446744073709551616", "pkcs11:slot-id=" + "9" * 100_000,
        "pkcs11:library-version=", "pkcs11:library-version=1.", "pkcs11:library-version=.1",
        "pkcs11:library-version=1.2.3", "pkcs11:library-version=256", "pkcs11:library-version=1.999",
        "pkcs11:?pin-value=1&pin-source=file:/a", "pkcs11:?token=a", "pkcs11:pin-value=1234", "pkcs11:Token=a",
        "pkcs11:?PIN-VALUE=1234", "pkcs11:module-path=/a",
    ],
)  # fmt: skip
def test_what_the_grammar_does_not_allow_is_refused(text: str) -> None:
    """Text outside the ABNF, doubled and misplaced attributes, NUL, and broken escapes are InvalidUri."""
    with pytest.raises(InvalidUri):
        Pkcs11Uri.from_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:token=" + "A" * 10_000_000,
        "pkcs11:token=" + "%41" * 3_000_000,
        "pkcs11:id=" + "%00" * 3_000_000,
        "pkcs11:" + "a" * 10_000_000,
        "pkcs11:" + ";" * 10_000_000,
        "pkcs11:" + ";".join(f"x{i}=1" for i in range(100_000)),
        "pkcs11:slot-id=" + "1" * 1_000_000,
        "pkcs11:library-version=" + "1" * 1_000_000,
        "pkcs11:?" + "&".join(f"x{i}=1" for i in range(100_000)),
        "pkcs11:token=" + "é" * 500_000,
    ],
)
@pytest.mark.timeout(20)
def test_huge_text_is_refused_at_once(text: str) -> None:
    """Megabytes are refused without being worked through: a quadratic reader would take minutes."""
    with pytest.raises(InvalidUri) as caught:
        Pkcs11Uri.from_text(text)
    assert len(caught.value.message()) < 300


@pytest.mark.parametrize(
    "values",
    [
        {"token": "a\0b"}, {"token": "\ud800"}, {"token": "A" * 10_000_000}, {"id": b"x" * 10_000}, {"type": "key"},
        {"slot_id": -1}, {"slot_id": LARGEST_SLOT_ID + 1}, {"library_version": "1.2.3"},
        {"pin_source": "file:/a", "pin_value": Secret("1")}, {"vendor_path": (("a b", "1"),)},
        {"vendor_path": (("x", "1"), ("x", "2"))}, {"vendor_query": (("pin-value", "1234"),)},
        {"vendor_path": (("Pin-Value", "1234"),)}, {"vendor_query": (("x" * 2000, "1"),)},
    ],
)  # fmt: skip
def test_a_uri_that_could_not_be_read_back_cannot_be_made(values: dict[str, Any]) -> None:
    """Constructing holds to the same rules as reading."""
    with pytest.raises(InvalidUri):
        Pkcs11Uri(**values)


def test_the_scheme_is_read_in_any_case_and_letters_beyond_ascii_as_they_are() -> None:
    """RFC 3986 makes the scheme case-insensitive; a person may type 도장 unescaped; it is written escaped."""
    uri = Pkcs11Uri.from_text("PKCS11:token=도장")
    assert uri.token == "도장"
    assert str(uri) == "pkcs11:token=%EB%8F%84%EC%9E%A5"


def test_reserved_characters_stand_unescaped_where_the_grammar_lets_them() -> None:
    """Each component takes its own reserved characters: & in the path, / ? | in the query."""
    assert Pkcs11Uri.from_text("pkcs11:token=:[]@!$'()*+,=&").token == ":[]@!$'()*+,=&"
    assert Pkcs11Uri.from_text("pkcs11:?pin-source=:[]@!$'()*+,=/?|").pin_source == ":[]@!$'()*+,=/?|"
    assert Pkcs11Uri.from_text("pkcs11:?x-a=1&x-a=2").vendor_query == (("x-a", "1"), ("x-a", "2"))


def test_plus_is_not_a_blank() -> None:
    """A URI is not a web form."""
    assert Pkcs11Uri.from_text("pkcs11:token=a+b").token == "a+b"


def test_ids_are_octets() -> None:
    """An id keeps every byte, also those that are no text; letters in it stand for themselves."""
    assert Pkcs11Uri.from_text("pkcs11:id=%00%FFab").id == b"\x00\xffab"
    assert str(Pkcs11Uri(id=b"\x00\xffab")) == "pkcs11:id=%00%FF%61%62"


def test_an_empty_value_is_not_an_absent_one() -> None:
    """serial= means an empty serial, no serial means any."""
    empty, absent = Pkcs11Uri.from_text("pkcs11:serial=;id="), Pkcs11Uri.from_text("pkcs11:")
    assert (empty.serial, empty.id) == ("", b"")
    facts = {"label": "a", "manufacturer": "m", "model": "o"}
    assert absent.matches_token(**facts, serial="1")
    assert absent.matches_object(label="a", id=b"1", type="cert")
    assert empty.matches_token(**facts, serial="")
    assert not empty.matches_token(**facts, serial="1")
    assert empty.matches_object(label="a", id=b"", type="cert")
    assert not empty.matches_object(label="a", id=b"1", type="cert")


SECRET = "hunter2-9f4e"


@pytest.mark.parametrize(
    "text",
    [
        f"pkcs11:token=a?pin-value={SECRET}",
        f"pkcs11:token=a?x-v=1&pin-value={SECRET}",
    ],
)
def test_a_pin_never_shows(text: str) -> None:
    """repr, str and the address of an object on the token leave the PIN out; it is there when asked for by name."""
    uri = Pkcs11Uri.from_text(text)
    for shown in (repr(uri), str(uri), uri.to_text(), str(uri.token_part()), str(uri.for_object(object="k")), f"{uri}"):
        assert SECRET not in shown
    assert uri.pin_value == Secret(SECRET)
    assert SECRET in uri.to_text(with_pin=True)
    assert hash(uri) == hash(Pkcs11Uri.from_text(text))


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:?pin-value={} ", "pkcs11:?pin-value={}%", "pkcs11:?pin-value={}%zz", "pkcs11:?pin-value={}%ff",
        "pkcs11:?pin-value={0}&pin-value={0}", "pkcs11:?pin-value={}%00", "pkcs11:?{}", "pkcs11:?pin-value{}",
        "pkcs11:pin-value={}", "pkcs11:;pin-value={}", "pkcs11:?PIN-VALUE={}", "pkcs11:?pin-value={}&pin-source=a",
        "pkcs11:?pin-value={}#x", "pkcs11:{}", "{}",
    ],
)  # fmt: skip
def test_a_pin_never_shows_in_an_error(text: str) -> None:
    """However the URI around it is broken, neither the message, the facts nor the chain of causes holds the PIN."""
    with pytest.raises(InvalidUri) as caught:
        Pkcs11Uri.from_text(text.format(SECRET))
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in f"{error!r} {error} {getattr(error, 'facts', '')}"
        assert not isinstance(error, UnicodeError)
        error = error.__cause__ or error.__context__


def test_parts_of_an_address() -> None:
    """token_part drops the object, for_object replaces it, both keep how to reach the token."""
    uri = Pkcs11Uri.from_text("pkcs11:token=a;serial=1;object=k;id=%01;type=private?module-path=/m.so")
    assert uri.names_object
    assert str(uri.token_part()) == "pkcs11:token=a;serial=1?module-path=/m.so"
    assert not uri.token_part().names_object
    assert str(uri.for_object(id=b"\x02")) == "pkcs11:token=a;serial=1;id=%02?module-path=/m.so"


def test_an_odd_object_is_named_by_what_can_be_written() -> None:
    """A label with NUL or of absurd length is left out of the address; the id still names the object."""
    uri = Pkcs11Uri(token="a")
    for odd in ("a\0b", "\udc80", "x" * (LONGEST_VALUE + 1)):
        assert str(uri.for_object(object=odd, id=b"\x01")) == "pkcs11:token=a;id=%01"
    assert str(uri.for_object(object="k", id=b"x" * (LONGEST_VALUE + 1))) == "pkcs11:token=a;object=k"


def test_tokens_are_matched_by_every_attribute_given() -> None:
    """All attributes given must agree; blank padding does not count; case does."""
    facts = {"label": "Hong" + " " * 28, "manufacturer": "M", "model": "O", "serial": "1"}
    assert Pkcs11Uri(token="Hong", manufacturer="M", model="O", serial="1").matches_token(**facts)
    for other in ({"token": "hong"}, {"manufacturer": "N"}, {"model": ""}, {"serial": "01"}):
        assert not Pkcs11Uri(**other).matches_token(**facts)


def test_an_unknown_attribute_of_the_path_matches_nothing() -> None:
    """RFC 7512 section 2.4: what is not understood must not widen the choice; unknown query attributes are ignored."""
    facts = {"label": "a", "manufacturer": "", "model": "", "serial": ""}
    assert not Pkcs11Uri.from_text("pkcs11:token=a;x-v=1").matches_token(**facts)
    assert Pkcs11Uri.from_text("pkcs11:token=a?x-v=1").matches_token(**facts)


def test_slots_and_libraries_are_matched() -> None:
    """Slot numbers compare as numbers; a library version without minor is minor 0."""
    slot = {"description": "S" + " " * 10, "manufacturer": "M"}
    assert Pkcs11Uri.from_text("pkcs11:slot-id=007;slot-description=S").matches_slot(**slot, slot_id=7)
    assert not Pkcs11Uri(slot_id=7).matches_slot(**slot, slot_id=8)
    assert not Pkcs11Uri(slot_manufacturer="N").matches_slot(**slot, slot_id=7)
    library = {"description": "D", "manufacturer": "M"}
    assert Pkcs11Uri(library_version="2").matches_library(**library, version=(2, 0))
    assert Pkcs11Uri(library_version="2.06", library_description="D").matches_library(**library, version=(2, 6))
    assert not Pkcs11Uri(library_version="2").matches_library(**library, version=(2, 6))
    assert not Pkcs11Uri(library_manufacturer="N").matches_library(**library, version=(2, 0))


def test_objects_are_matched() -> None:
    """Label, id and class must each agree where given."""
    facts: dict[str, Any] = {"label": "k", "id": b"\x01", "type": "private"}
    assert Pkcs11Uri(object="k", id=b"\x01", type="private").matches_object(**facts)
    for other in ({"object": "K"}, {"id": b"\x01\x00"}, {"type": "public"}):
        assert not Pkcs11Uri(**other).matches_object(**facts)


def test_every_attribute_of_the_standard_has_a_field() -> None:
    """The 13 path attributes and 4 query attributes of section 2.3, and the vendors' own."""
    assert len(fields(Pkcs11Uri)) == 13 + 4 + 2
