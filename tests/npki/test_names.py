"""Folder names: what other programs look for, and what no certificate can make of them."""

import contextlib
import unicodedata

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from dojang.errors import InvalidName
from dojang.npki.names import ca_folder_name, comparable, retired_folder_name, safe_component, subject_folder_name


def name(*pairs: tuple[x509.ObjectIdentifier, str]) -> bytes:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs]).public_bytes()


def test_a_subject_folder_is_written_leaf_first_with_small_types() -> None:
    """As yessign's clients write it (npki facts, 1.3)."""
    subject = name(
        (NameOID.COUNTRY_NAME, "KR"),
        (NameOID.ORGANIZATION_NAME, "yessign"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "personal4IB"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "KMB"),
        (NameOID.COMMON_NAME, "홍길동()0004040902779989"),
    )
    assert subject_folder_name(subject) == "cn=홍길동()0004040902779989,ou=KMB,ou=personal4IB,o=yessign,c=KR"


@pytest.mark.parametrize(
    ("organization", "common_name", "folder"),
    [
        ("yessign", "yessignCA Class 2", "yessign"),
        ("YesSign", "x", "yessign"),
        ("KICA", "signGATE CA6", "KICA"),
        ("", "signGATE CA5", "KICA"),
        ("", "CrossCertCA5", "CrossCert"),
        ("", "TradeSignCA4", "TradeSign"),
        ("", "SignKorea CA4", "SignKorea"),
        ("Kicadrive", "Kicadrive CA", "Kicadrive"),
        ("Example Ltd", "Example Issuing CA", "Example Ltd"),
        ("", "Example Issuing CA", "Example Issuing CA"),
    ],
)
def test_a_ca_folder_is_the_one_its_users_know(organization: str, common_name: str, folder: str) -> None:
    """Known authorities by organisation or by the way their CAs are called, others by their own words."""
    pairs = [(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    assert ca_folder_name(name(*pairs, (NameOID.COMMON_NAME, common_name))) == folder


def test_names_without_words_are_refused() -> None:
    """A folder needs a name."""
    with pytest.raises(InvalidName):
        subject_folder_name(name())
    with pytest.raises(InvalidName):
        ca_folder_name(name((NameOID.COUNTRY_NAME, "KR")))


def test_a_name_with_an_empty_part_is_refused() -> None:
    """It would make a folder of no name, which is the folder of all."""
    for der in (b"\x30\x02\x31\x00", b"\x30\x0f\x31\x00" + name((NameOID.COMMON_NAME, "x"))[2:]):
        with pytest.raises(InvalidName):
            subject_folder_name(der)
        with pytest.raises(InvalidName):
            ca_folder_name(der)


@given(st.binary(max_size=200))
def test_what_is_no_name_is_refused(der: bytes) -> None:
    """Whatever DER there is, the answer is a name or ``InvalidName``."""
    with contextlib.suppress(InvalidName):
        assert subject_folder_name(der)


@pytest.mark.parametrize(
    "text", ["..", ".", "../../etc", "a/b", "a\\b", "con", "NUL.txt", "C:", "x\0y", "x\ny", " x ", "x.", "‮x"]
)
def test_hostile_words_stay_one_file_name(text: str) -> None:
    """No word leads out of its folder, hides, or means a device."""
    made = safe_component(text)
    assert not set(made) & set('/\\:*?"<>|\0\n‮')
    assert made.strip(". ") == made
    assert made.partition(".")[0].casefold() not in ("", "con", "nul")


@given(st.text(min_size=1, max_size=400))
def test_every_text_makes_a_legal_file_name(text: str) -> None:
    """At most 255 bytes of NFC, nothing special in it, and the same text gives the same name."""
    made = safe_component(text)
    assert 0 < len(made.encode()) <= 255
    assert unicodedata.is_normalized("NFC", made)
    assert not set(made) & set('/\\:*?"<>|\0')
    assert made == safe_component(unicodedata.normalize("NFD", text)) or unicodedata.normalize("NFC", text) != text


@given(st.lists(st.text(min_size=1, max_size=6), min_size=2, max_size=2))
def test_two_subjects_never_share_a_folder(values: list[str]) -> None:
    """Separators inside a value are escaped, so that no value can imitate another subject."""
    one, other = (unicodedata.normalize("NFC", value) for value in values)
    apart = subject_folder_name(name((NameOID.ORGANIZATION_NAME, other), (NameOID.COMMON_NAME, one)))
    together = subject_folder_name(name((NameOID.COMMON_NAME, f"{one},o={other}")))
    assert apart != together


def test_a_retired_folder_carries_the_serial_however_long_the_name() -> None:
    """Long names are shortened, the serial is not."""
    made = retired_folder_name("cn=" + "가" * 84, 0xABCDEF)
    assert made.endswith(" abcdef")
    assert len(made.encode()) <= 255
    assert retired_folder_name("cn=Hong", 0x1F) == "cn=Hong 1f"


def test_case_and_normal_form_do_not_make_two_names() -> None:
    """macOS hands out NFD, Windows any case."""
    assert comparable("CN=홍길동") == comparable(unicodedata.normalize("NFD", "cn=홍길동"))
