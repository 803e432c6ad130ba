"""Addresses of every kind of location: what people type, what is printed, and what is none."""

import contextlib
import dataclasses
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dojang.errors import DojangError, InvalidAddress, UnsupportedOperation
from dojang.locations.address import (
    ADDRESSES,
    CloudAddress,
    DiskAddress,
    PemAddress,
    PhoneAddress,
    Pkcs12Address,
    RemovableAddress,
    parse_address,
)
from dojang.locations.registry import location_kinds, open_location
from dojang.npki.roots import default_root
from dojang.pkcs11.uri import Pkcs11Uri

# What a file system or a certificate can hand us: text, and bytes that are no UTF-8 as Python shows them.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60) | st.binary(
    min_size=1, max_size=20
).filter(lambda raw: b"\0" not in raw).map(os.fsdecode)
ROOTS = TEXT.map(lambda text: os.path.normpath("/" + text.lstrip("/")))


CREDENTIALS = st.one_of(
    st.just({}),
    TEXT.map(lambda text: {"common_name": text}),
    st.binary(min_size=1, max_size=40).map(lambda key_id: {"key_id": key_id}),
)
PLACES = st.one_of(
    st.builds(DiskAddress, ROOTS),
    st.builds(RemovableAddress, TEXT.filter(lambda text: "/" not in text and text not in (".", ".."))),
    st.builds(Pkcs12Address, ROOTS.filter(lambda path: path != "/")),
    st.tuples(ROOTS, st.none() | ROOTS)
    .filter(lambda paths: paths[0] not in ("/", paths[1]))
    .map(lambda paths: PemAddress(*paths)),
    st.just(PhoneAddress()),
    st.from_regex(r"https://[a-z]{1,9}(:[1-9][0-9]{0,3})?(/[a-z%A-F0-9]{0,9})?", fullmatch=True)
    .filter(lambda text: "%" not in text)
    .map(CloudAddress),
)
FOLDERS = st.builds(lambda place, folder: place.for_folder(folder), st.builds(DiskAddress, ROOTS), TEXT)


@given(FOLDERS | st.builds(lambda place, chosen: dataclasses.replace(place, **chosen), PLACES, CREDENTIALS))
def test_every_address_is_read_back_as_it_was(address) -> None:
    """What is printed can be pasted: no blank, quote, control character or second line in it."""
    text = address.to_text()
    assert parse_address(text) == address
    assert text.isprintable()
    assert not set(text) & (set(" \t\"'`$&;|<>()[]{}*!\\") - ({"&"} if "?key=" in text else set()))


@given(FOLDERS | st.builds(lambda place, chosen: dataclasses.replace(place, **chosen), PLACES, CREDENTIALS))
def test_an_address_knows_its_location(address) -> None:
    """Whatever kind it is of: the place without the credential, and one identity for both."""
    place = address.location()
    assert not place.names_credential
    assert (address == place) != address.names_credential
    assert place.identity() == address.identity() == parse_address(address.identity()).identity()


def test_links_lead_to_one_identity(tmp_path: Path) -> None:
    """However a folder or file is named, the journal knows it again."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for text in ("npki:{}", "pkcs12:{}/a.p12", "pem:{}/a.pem", "pem:{0}/a.pem?key={0}/b.pem"):
        named = {parse_address(text.format(tmp_path / name)).identity() for name in ("real", "link")}
        assert len(named) == 1, text
    assert parse_address("cloud:https://Host/x").identity() == parse_address("cloud:https://host/x?cn=a").identity()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("npki:/media/usb/NPKI", DiskAddress("/media/usb/NPKI")),
        ("NPKI:/media/usb/NPKI/", DiskAddress("/media/usb/NPKI")),
        ("npki:/a/../b", DiskAddress("/b")),
        ("npki:/a%20b", DiskAddress("/a b")),
        ("npki:/a?cn=홍길동", DiskAddress("/a", common_name="홍길동")),
        ("npki:/a?cn=%ED%99%8D", DiskAddress("/a", common_name="홍")),
        ("npki:/a?id=01aF", DiskAddress("/a", key_id=b"\x01\xaf")),
        ("npki:/a#yessign/USER/cn=홍()1,c=kr", DiskAddress("/a", folder="yessign/USER/cn=홍()1,c=kr")),
        ("npki:/a#a%23b%3F", DiskAddress("/a", folder="a#b?")),
        ("npki:/a?cn=AT&T", DiskAddress("/a", common_name="AT&T")),
        ("removable:USB%20DISK", RemovableAddress("USB DISK")),
        ("removable:1A2B-3C4D?cn=홍길동", RemovableAddress("1A2B-3C4D", common_name="홍길동")),
        ("removable:USB#yessign/USER/cn=홍", RemovableAddress("USB", folder="yessign/USER/cn=홍")),
        ("pkcs12:/a/b.p12", Pkcs12Address("/a/b.p12")),
        ("PKCS12:/a/../b.pfx?id=01", Pkcs12Address("/b.pfx", key_id=b"\1")),
        ("pem:/a/cert.pem?cn=Hong", PemAddress("/a/cert.pem", common_name="Hong")),
        ("pem:/a/cert.pem?key=/a/key.pem", PemAddress("/a/cert.pem", "/a/key.pem")),
        ("pem:/a/cert.pem?id=0a&key=/a/key.pem", PemAddress("/a/cert.pem", "/a/key.pem", key_id=b"\n")),
        ("pem:/a.pem?key=/a.pem", PemAddress("/a.pem")),
        ("phone:", PhoneAddress()),
        ("phone:?cn=홍", PhoneAddress(common_name="홍")),
        ("cloud:https://host", CloudAddress("https://host")),
        ("cloud:https://[::1]:8443/csc/v2?id=aa", CloudAddress("https://[::1]:8443/csc/v2", key_id=b"\xaa")),
    ],
)
def test_what_people_type_is_understood(text: str, address) -> None:
    """With and without percent-encoding."""
    assert parse_address(text) == address


def test_no_path_means_the_root_of_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``npki:`` and ``npki:~/NPKI`` follow the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_address("npki:") == DiskAddress(str(default_root()))
    assert parse_address("npki:~/NPKI?cn=x") == DiskAddress(f"{tmp_path}/NPKI", common_name="x")
    assert str(default_root()).startswith(str(tmp_path))


def test_a_relative_path_counts_from_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The address that is printed does not depend on where it is pasted."""
    monkeypatch.chdir(tmp_path)
    assert parse_address("npki:NPKI").to_text() == f"npki:{tmp_path}/NPKI"


def test_a_token_address_is_a_pkcs11_uri() -> None:
    """Read by the room that knows them."""
    assert parse_address("pkcs11:token=Hong;object=sign") == Pkcs11Uri(token="Hong", object="sign")


def test_every_scheme_has_one_class_and_one_kind() -> None:
    """The row of a kind shows an address that is read as one of that kind."""
    rows = location_kinds()
    assert {row.scheme for row in rows} == {one.scheme for one in ADDRESSES}
    assert len({row.scheme for row in rows}) == len({row.kind for row in rows}) == len(rows) == len(ADDRESSES)
    for row in rows:
        assert parse_address(row.example).scheme == row.scheme
        assert row.traits.opened_by in ("pin", "password", "nothing")


@pytest.mark.parametrize("text", ["phone:", "phone:?cn=x", "cloud:https://host/x"])
def test_what_nobody_answers_at_is_said_plainly(text: str) -> None:
    """Their addresses can be saved; opening one says what to use instead."""
    with pytest.raises(UnsupportedOperation) as caught:
        open_location(text)
    assert caught.value.exit_status == 10
    assert "npki:" in caught.value.advice()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@hong",
        "/home/hong/NPKI",
        "http://x",
        "npki://server/share",
        "npki:/a?",
        "npki:/a?cn=",
        "npki:/a?cn",
        "npki:/a?ou=x",
        "npki:/a?id=xyz",
        "npki:/a?id=1",
        "npki:/a#",
        "npki:/a?cn=x#y",
        "npki:/a?cn=x&id=01",
        "npki:/a?id=01&id=02",
        "npki:/a?key=/b",
        "removable:",
        "removable:#x",
        "removable:a/b",
        "removable:a%2Fb",
        "removable:..",
        "pkcs12:",
        "pkcs12:?cn=x",
        "pkcs12:/folder/",
        "pkcs12://server/share/a.p12",
        "pkcs12:/a.p12?key=/b",
        "pem:",
        "pem:/a.pem?key=",
        "pem:/a.pem?key=//server/b",
        "phone:01012345678",
        "phone:?id=x",
        "cloud:",
        "cloud:host",
        "cloud:http://host/",
        "cloud:https://",
        "cloud:https://user:secret@host/",
        "cloud:https://host/a b",
        "cloud:https://host/#x",
        "cloud:https://host/?x=y",
        "cloud:https://host/%zz",
        "npki:/a%",
        "npki:/a%zz",
        "npki:/a%00b",
        "npki:/a\0b",
        "npki:/a\nb",
        "npki:/\ud800",
        "npki:/" + "x" * 10_000_000,
        "npki:/a?cn=" + "%41" * 1_000_000,
        "x" * 10_000_000,
    ],
    ids=lambda text: ascii(text[:24]),
)
def test_what_is_no_address_is_said_to_be_none(text: str) -> None:
    """Shortly: the error does not repeat ten megabytes."""
    with pytest.raises(InvalidAddress) as caught:
        parse_address(text)
    assert len(str(caught.value)) < 300
    str(caught.value).encode()


@pytest.mark.parametrize("text", ["pksc11:token=Hong?pin-value=4711", "?pin-value=4711"])
def test_a_pin_in_a_misspelt_address_is_not_repeated(text: str) -> None:
    """Errors are shown and logged."""
    with pytest.raises(InvalidAddress) as caught:
        parse_address(text)
    assert "4711" not in str(caught.value)


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_an_error_of_ours(text: str) -> None:
    """Nothing else ever comes out."""
    for attempt in (text, *(one.scheme + text for one in ADDRESSES)):
        with contextlib.suppress(DojangError):
            assert parse_address(attempt).to_text()
