"""The policy table: complete, with its sources and its doubts, and never a reason to fail."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from dojang.npki.policies import is_korean, policies, policies_of, policy

HANGUL = re.compile("[가-힣]")
KEY = ec.generate_private_key(ec.SECP256R1())


def certified(*oids: str, critical: bool = True, extension: x509.ExtensionType | None = None) -> x509.Certificate:
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "홍길동")]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    if oids:
        named = [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in oids]
        builder = builder.add_extension(x509.CertificatePolicies(named), critical)
    if extension:
        builder = builder.add_extension(extension, critical)
    return builder.sign(KEY, hashes.SHA256())


def test_every_policy_says_what_it_is() -> None:
    """Purpose in both languages, authority, source, holder as far as known; no number twice; doubts explained."""
    table = policies()
    assert len({one.oid for one in table}) == len(table) > 50
    for one in table:
        x509.ObjectIdentifier(one.oid)
        assert set(one.purposes) == {"en", "ko"}
        assert HANGUL.search(one.purposes["ko"])
        assert not HANGUL.search(one.purposes["en"])
        assert one.authority
        assert one.source
        assert one.holder in ("person", "business", None)
        assert one.kind in ("financial", None)
        assert (one.doubt is None) == (one.remark is None)
        assert one.doubt in ("conflict", "unconfirmed", None)


@pytest.mark.parametrize(
    ("oid", "authority", "korean", "holder"),
    [
        ("1.2.410.200005.1.1.4", "yessign", "은행·보험·신용카드·민원", "person"),
        ("1.2.410.200005.1.1.5", "yessign", "범용", "business"),
        ("1.2.410.200004.5.2.1.2", "KICA", "범용", "person"),
        ("1.2.410.200004.5.1.1.10", "SignKorea", "증권", "business"),
        ("1.2.410.200004.5.4.2.80", "CrossCert", "전자세금용", None),
        ("1.2.410.200012.1.1.1", "TradeSign", "범용", "person"),
        ("1.2.410.100001.2.2.1", "GPKI", "공무원", "person"),
    ],
)
def test_known_policies(oid: str, authority: str, korean: str, holder: str | None) -> None:
    """One of each authority."""
    found = policy(oid)
    assert (found.authority, found.purposes["ko"], found.holder) == (authority, korean, holder)


def test_sources_that_disagree_are_marked() -> None:
    """CrossCert's .103 and .104, and the numbers seen in one table only."""
    doubts = {one.oid: one.doubt for one in policies() if one.doubt}
    assert doubts["1.2.410.200004.5.4.1.103"] == doubts["1.2.410.200004.5.4.1.104"] == "conflict"
    assert doubts["1.2.410.200004.5.5.1.4.2"] == doubts["1.2.410.200005.1.1.12.902"] == "unconfirmed"


def test_financial_certificates_are_told_apart() -> None:
    """금융인증서 stay in the cloud; their policies say so."""
    assert policy("1.2.410.200005.1.1.1.10").kind == "financial"
    assert policy("1.2.410.200005.1.1.1").kind is None


def test_an_unknown_policy_has_an_unknown_purpose() -> None:
    """No error; the authority is known by its arc, and a number that only begins alike is not of that arc."""
    found = policy("1.2.410.200005.1.1.777")
    assert (found.authority, found.purposes["en"], found.holder) == ("yessign", "unknown purpose", None)
    assert policy("1.2.410.200005.1.17").authority is None
    assert policy("2.5.29.32.0").authority is None
    assert policy("1.2.3").purposes["ko"] == "알 수 없는 용도"


def test_a_certificate_tells_its_policies() -> None:
    """In their order; none where there are none."""
    both = certified("1.2.410.200005.1.1.4", "1.2.3")
    assert [one.authority for one in policies_of(both)] == ["yessign", None]
    assert policies_of(certified()) == ()


def test_korean_is_who_has_a_korean_policy() -> None:
    """Known or not, as long as the arc is an authority's."""
    assert is_korean(certified("1.2.410.200005.1.1.4"))
    assert is_korean(certified("1.2.3", "1.2.410.200005.1.1.777"))
    assert not is_korean(certified("1.2.3"))
    assert not is_korean(certified("1.2.410.777"))
    assert not is_korean(certified())


def test_policies_that_cannot_be_read_are_none() -> None:
    """Damage in an extension hides the policies and fails nothing."""
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.32"), bytes.fromhex("04032a831a"))
    assert policies_of(certified(extension=broken)) == ()
    assert not is_korean(certified(extension=broken))
