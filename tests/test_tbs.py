"""Certificates read from their DER at a glance: the same as ``cryptography`` says, or nothing at all."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.name import _ASN1Type
from hypothesis import given
from hypothesis import strategies as st

from dojang.der import MalformedDer
from dojang.npki.policies import policies_in
from dojang.tbs import CERTIFICATE_POLICIES, EXTENDED_KEY_USAGE, KEY_USAGE, extensions_in, tbs_of
from dojang.x509.keys import usual_rsa
from dojang.x509.name import format_name, format_name_der
from dojang.x509.reading import UNREADABLE
from dojang.x509.status import credential_facts

KEY, NOW = ec.generate_private_key(ec.SECP256R1()), datetime(2026, 3, 1, 15, tzinfo=UTC)
KOREAN = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.410.200005.1.1.4"), ["a cps"])])
TYPES = [x509.NameOID.COMMON_NAME, x509.NameOID.USER_ID, x509.ObjectIdentifier("1.2.3.4"), x509.NameOID.LOCALITY_NAME]
KINDS = [_ASN1Type.UTF8String, _ASN1Type.BMPString, _ASN1Type.UniversalString]
ATTRIBUTE = st.builds(
    lambda kind, value, form: x509.NameAttribute(kind, value, _type=form, _validate=False),
    st.sampled_from(TYPES),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    st.sampled_from(KINDS),
)
RDN = st.lists(ATTRIBUTE, min_size=1, max_size=3, unique_by=lambda one: one.oid).map(x509.RelativeDistinguishedName)


def certified(subject: x509.Name, *extensions: x509.ExtensionType, serial: int = 0xA1, days: int = 365) -> bytes:
    until = NOW + timedelta(days=days)
    builder = x509.CertificateBuilder(subject, subject, KEY.public_key(), serial, NOW, until)
    for one in extensions:
        builder = builder.add_extension(one, critical=isinstance(one, x509.CertificatePolicies))
    return builder.sign(KEY, SHA256()).public_bytes(Encoding.DER)


def named(text: str) -> x509.Name:
    parts = [(x509.NameOID.COUNTRY_NAME, "KR"), (x509.NameOID.COMMON_NAME, text)]
    return x509.Name([x509.NameAttribute(*part) for part in parts])


def usual() -> bytes:
    usage = x509.KeyUsage(True, True, False, False, False, False, False, False, False)
    return certified(named("홍길동()0011041"), KOREAN, usage, x509.ExtendedKeyUsage([x509.OID_CLIENT_AUTH]))


@given(st.lists(RDN, max_size=4))
def test_names_read_alike(rdns: list[x509.RelativeDistinguishedName]) -> None:
    """From the DER or from the objects, whatever stands in a name; or it is left to the objects."""
    der = certified(x509.Name(rdns))
    try:
        assert format_name_der(tbs_of(der).subject_der) == format_name(x509.load_der_x509_certificate(der).subject)
    except MalformedDer:
        assert any(one._type is not _ASN1Type.UTF8String for rdn in rdns for one in rdn)


@pytest.mark.parametrize("days", [1, 365, 36500])
@pytest.mark.parametrize("serial", [1, 0x7F, 0x80, 2**159 - 1])
def test_dates_and_serials_read_alike(days: int, serial: int) -> None:
    """Before 2050 and after it, with a leading zero octet or without."""
    der = certified(named("Hong"), days=days, serial=serial)
    known, read = x509.load_der_x509_certificate(der), tbs_of(der)
    assert (read.not_before_at, read.not_after_at) == (known.not_valid_before_utc, known.not_valid_after_utc)
    assert int.from_bytes(read.serial) == serial
    assert credential_facts(der, NOW).serial == f"{serial:x}"


@pytest.mark.parametrize("bits", [1024, 2048, 3072])
@pytest.mark.parametrize("exponent", [3, 65537])
def test_rsa_keys_are_named_alike(bits: int, exponent: int) -> None:
    """At a glance for the usual ones; the key is what ``cryptography`` would write, short ones are left to it."""
    key = rsa.generate_private_key(exponent, bits).public_key()
    builder = x509.CertificateBuilder(named("CA"), named("Hong"), key, 5, NOW, NOW)
    der = builder.sign(KEY, SHA256()).public_bytes(Encoding.DER)
    found = tbs_of(der).rsa_key
    assert found == (b"" if bits == 1024 else key.public_bytes(Encoding.DER, PublicFormat.PKCS1))
    assert usual_rsa(found) == (None if bits == 1024 or exponent == 3 else f"rsa-{bits}")
    assert credential_facts(der, NOW).algorithm == f"rsa-{bits}"


def test_extensions_are_found_by_their_numbers() -> None:
    """Critical or not; what is not there is nothing."""
    read = extensions_in(tbs_of(usual()).extensions_der)
    assert read.keys() == {KEY_USAGE, EXTENDED_KEY_USAGE, CERTIFICATE_POLICIES}
    assert read[KEY_USAGE] == bytes.fromhex("030206c0")
    assert extensions_in(tbs_of(certified(named("Hong"))).extensions_der) == {}
    assert [one.authority for one in policies_in(usual())] == ["yessign"]


def test_damage_is_never_read_as_something_else() -> None:
    """Of ten thousand damaged certificates, what is read at a glance is what ``cryptography`` reads, or nothing is."""
    chance, der, read = random.Random(4), usual(), 0
    size = len(der) - 80  # the signature is nobody's concern here
    for _ in range(10_000):
        broken = bytearray(der)
        for _ in range(chance.choice((1, 1, 2))):
            broken[chance.randrange(size)] = chance.choice((chance.randrange(256), 0, 0x30, 0x80, 0xFF))
        try:
            found = tbs_of(bytes(broken))
            names = format_name_der(found.subject_der), format_name_der(found.issuer_der)
        except MalformedDer:
            continue
        try:
            known = x509.load_der_x509_certificate(bytes(broken))
            said = format_name(known.subject), format_name(known.issuer)
        except UNREADABLE:
            continue  # the facts of a certificate need both
        read += 1
        assert names == said
        assert (found.not_before_at, found.not_after_at) == (known.not_valid_before_utc, known.not_valid_after_utc)
        assert int.from_bytes(found.serial) == known.serial_number
    assert read > 500
