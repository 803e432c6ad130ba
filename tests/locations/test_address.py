"""Addresses of disk locations, and which room every other address belongs to."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dojang.errors import DojangError, InvalidAddress, UnsupportedOperation
from dojang.locations.address import DiskAddress, parse_address
from dojang.npki.roots import default_root
from dojang.pkcs11.uri import Pkcs11Uri

# What a file system or a certificate can hand us: text, and bytes that are no UTF-8 as Python shows them.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60) | st.binary(
    min_size=1, max_size=20
).filter(lambda raw: b"\0" not in raw).map(os.fsdecode)
ROOTS = TEXT.map(lambda text: os.path.normpath("/" + text.lstrip("/")))


@given(
    ROOTS,
    st.one_of(
        st.just({}),
        TEXT.map(lambda text: {"common_name": text}),
        TEXT.map(lambda text: {"folder": text}),
        st.binary(min_size=1, max_size=40).map(lambda key_id: {"key_id": key_id}),
    ),
)
def test_every_address_is_read_back_as_it_was(root: str, chosen: dict[str, object]) -> None:
    """What is printed can be pasted: no blank, quote, control character or second line in it."""
    address = DiskAddress(root, **chosen)
    text = address.to_text()
    assert parse_address(text) == address
    assert text.isprintable()
    assert not set(text) & set(" \t\"'`$&;|<>()[]{}*!\\")


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
    ],
)
def test_what_people_type_is_understood(text: str, address: DiskAddress) -> None:
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


@pytest.mark.parametrize("text", ["removable:USB", "pkcs12:/a.p12", "phone:", "cloud:https://host/x"])
def test_kinds_to_come_are_recognised_and_refused(text: str) -> None:
    """The error tells which addresses there are."""
    with pytest.raises(UnsupportedOperation) as caught:
        parse_address(text)
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
    for attempt in (text, f"npki:{text}", f"pkcs11:{text}"):
        with contextlib.suppress(DojangError):
            assert parse_address(attempt).to_text()
