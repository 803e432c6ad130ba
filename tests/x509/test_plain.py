"""Requests read in a short way mean what they mean read in the long way, or are not read at all."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dojang.der import BIT_STRING, SEQUENCE, children, oid, parse, parts, tlv
from dojang.errors import DojangError
from dojang.x509.keys import algorithm_of, is_strong, spki_of
from dojang.x509.name import attribute_values, format_name, parse_name, settled_attributes, settled_name
from dojang.x509.plain import PlainRequest, plain_requests
from dojang.x509.request import CertificateRequest, build_request

KEY = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
LONG = "CN=홍길동,SN=홍,GN=길동,title=부장,serialNumber=A-01,OU=개인,O=보기 (주),L=서울,ST=서울,C=KR"
TEXTS = st.text(st.sampled_from("AZaz09 '()+,-./:=?#@_&\"가힣é\t\u200b\ue000"), min_size=0, max_size=42)
KINDS = [
    "CN",
    "SN",
    "GN",
    "title",
    "serialNumber",
    "OU",
    "O",
    "L",
    "ST",
    "C",
    "UID",
    "DC",
    "emailAddress",
    "dnQualifier",
]
OIDS = {kind: next(iter(parse_name(f"{kind}=KR"))).oid for kind in KINDS}
# Tags of strings and of others, and octets that begin lengths and escapes.
ODD = bytes.fromhex("020304050c1214161c1e3031808182a05c232b2c207f")
TAGS = [x509.name._ASN1Type.UTF8String, x509.name._ASN1Type.PrintableString, x509.name._ASN1Type.T61String]


def the_long_way(request_der: bytes) -> PlainRequest:
    """Raises ``DojangError`` where that does."""
    request = CertificateRequest.from_pkcs10(request_der)
    subject, key = settled_name(request.subject), request.public_key
    assert is_strong(key)
    assert request.alternative_names == ()
    values = tuple(attribute_values(subject))
    return PlainRequest(format_name(subject), subject.public_bytes(), values, spki_of(key), algorithm_of(key))


@pytest.mark.parametrize("subject", ["CN=a", LONG])
@pytest.mark.parametrize(
    "key", [KEY, RSA, ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP521R1())]
)
def test_what_nearly_everybody_sends_is_plain(key: Any, subject: str) -> None:
    """Its fields are those that the long way finds."""
    request = build_request(key, parse_name(subject))
    (found,) = plain_requests([request])
    assert found is not None
    assert found == the_long_way(request)


def test_what_openssl_sends_is_plain(tmp_path: Path) -> None:
    """With the attributes and the string types that it writes unless it is told otherwise."""
    for new in ("ec -pkeyopt ec_paramgen_curve:P-256", "rsa:2048"):
        words = f"openssl req -new -newkey {new} -nodes -keyout {tmp_path}/key -outform DER -utf8 -subj".split()
        request = subprocess.run([*words, "/C=KR/O=보기/CN=홍길동"], capture_output=True, check=True).stdout
        (found,) = plain_requests([request])
        assert found == the_long_way(request)
        assert found.subject == "CN=홍길동,O=보기,C=KR"


def test_more_than_a_subject_is_not_plain() -> None:
    """Another name, and kinds of keys, hashes and attributes that are not usual."""
    subject = parse_name("CN=a")
    asked = x509.SubjectAlternativeName([x509.DNSName("a.kr")])
    plain = x509.CertificateSigningRequestBuilder(subject)
    strange = [
        build_request(KEY, subject, ["dns:www.example.kr"]),
        build_request(ed25519.Ed25519PrivateKey.generate(), subject),
        build_request(ec.generate_private_key(ec.SECP256K1()), parse_name("emailAddress=a@b.kr,CN=a")),
        plain.add_extension(asked, critical=True).sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER),
        plain.sign(KEY, hashes.SHA3_256()).public_bytes(Encoding.DER),
        x509.CertificateSigningRequestBuilder(x509.Name([])).sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER),
        b"",
        b"\0" * ((1 << 20) + 1),
    ]
    assert plain_requests(strange) == [None] * len(strange)
    usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])  # which nobody looks at
    others = plain.add_extension(usage, critical=False).sign(KEY, hashes.SHA384()).public_bytes(Encoding.DER)
    assert plain_requests([others]) == [the_long_way(others)]


def test_a_key_that_is_not_proved_or_weak_is_not_plain() -> None:
    """Somebody else's signature, none at all, RSA of 1024 bits, and a compressed point."""
    subject = parse_name("CN=a")
    mine, other = (build_request(key, subject) for key in (KEY, ec.generate_private_key(ec.SECP256R1())))
    ours, theirs = (x509.load_der_x509_csr(one).signature for one in (mine, other))
    stolen = mine.replace(ours, theirs) if len(ours) == len(theirs) else mine[: -len(ours)] + b"\0" * len(ours)
    weak = build_request(rsa.generate_private_key(65537, 1024), subject)
    assert plain_requests([stolen, weak, mine]) == [None, None, the_long_way(mine)]
    with pytest.raises(DojangError):
        the_long_way(stolen)


@pytest.mark.parametrize("key", [KEY, RSA])
def test_no_octet_of_a_request_can_be_another(key: Any) -> None:
    """Whatever bit is changed and wherever it is cut off, it is not plain."""
    request = build_request(key, parse_name("CN=a,C=KR"))
    changed = [request[:at] + bytes((request[at] ^ 1 << at % 8,)) + request[at + 1 :] for at in range(len(request))]
    cut = [request[:at] for at in range(len(request))]
    assert plain_requests([*changed, *cut, request + b"\0"]) == [None] * (2 * len(request) + 1)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([(KEY, "CN=홍길동,OU=개인,C=KR"), (KEY, "CN=a+SN=b"), (RSA, "CN=a,serialNumber=A-1")]), st.data()
)
def test_whoever_holds_the_key_cannot_slip_anything_by(request_of: tuple[Any, str], data: st.DataObject) -> None:
    """Whatever he puts into a request and signs: where it is plain, the long way finds the same in it."""
    key, subject = request_of
    tbs, algorithm, _signature = parts(parse(build_request(key, parse_name(subject))), 3, 3)
    fields = [bytearray(one.der) for one in children(tbs)]
    field = fields[data.draw(st.sampled_from([1, 1, 2, 3]))]
    place, octet = data.draw(st.integers(0, len(field) - 1)), data.draw(st.sampled_from(ODD) | st.integers(0, 255))
    if data.draw(st.booleans()):
        field[place] = octet
    else:
        grown = tlv(field[0], parse(bytes(field)).content[:place], bytes([octet]), parse(bytes(field)).content[place:])
        field[:] = grown
    signed = tlv(SEQUENCE, *fields)
    made = key.sign(signed, PKCS1v15(), hashes.SHA256()) if key is RSA else key.sign(signed, ec.ECDSA(hashes.SHA256()))
    request = tlv(SEQUENCE, signed, algorithm.der, tlv(BIT_STRING, b"\0", made))
    (found,) = plain_requests([request])
    assert found is None or found == the_long_way(request)


@pytest.mark.parametrize("form", ["compressed", "hybrid", "off the curve", "nowhere", "another curve", "loose bits"])
def test_a_point_is_written_in_one_way(form: str) -> None:
    """Whatever else its own key signs is not plain: it would stand in the certificate as it came."""
    point, short = (
        KEY.public_key().public_bytes(Encoding.X962, shape)
        for shape in (PublicFormat.UncompressedPoint, PublicFormat.CompressedPoint)
    )
    algorithm, _bits = parts(parse(spki_of(KEY.public_key())), 2, 2)
    other = parts(algorithm, 2, 2)[0].der + oid("1.3.132.0.34")
    strange = {
        "compressed": (algorithm.der, b"\0", short),
        "hybrid": (algorithm.der, b"\0", bytes([6 | point[-1] & 1]) + point[1:]),
        "off the curve": (algorithm.der, b"\0", point[:-1] + bytes([point[-1] ^ 1])),
        "nowhere": (algorithm.der, b"\0", b"\0"),
        "another curve": (tlv(SEQUENCE, other), b"\0", point),
        "loose bits": (algorithm.der, b"\1", point),
    }
    kind, bits, written = strange[form]
    tbs, signed_by, _signature = parts(parse(build_request(KEY, parse_name("CN=a"))), 3, 3)
    version, name, _key, attributes = (one.der for one in children(tbs))
    signed = tlv(SEQUENCE, version, name, tlv(SEQUENCE, kind, tlv(BIT_STRING, bits, written)), attributes)
    made = KEY.sign(signed, ec.ECDSA(hashes.SHA256()))
    assert plain_requests([tlv(SEQUENCE, signed, signed_by.der, tlv(BIT_STRING, b"\0", made))]) == [None]


@pytest.mark.filterwarnings("ignore:Attribute's length")
@given(st.lists(st.tuples(st.sampled_from(KINDS), TEXTS, st.sampled_from([None, *TAGS])), min_size=1, max_size=4))
def test_a_name_is_settled_or_left_alone(parts: list[tuple[str, str, Any]]) -> None:
    """Where the short way knows a name, the long way makes the same of it, to the octet."""
    try:
        attributes = [x509.NameAttribute(OIDS[kind], text, tag, _validate=False) for kind, text, tag in parts]
        name_der = x509.Name(attributes).public_bytes()
    except ValueError:
        return
    found = settled_attributes(name_der)
    if found is None:
        return
    name = x509.load_der_x509_csr(_request_for(name_der)).subject
    settled = settled_name(name)
    assert settled.public_bytes() == name_der
    assert found == tuple(attribute_values(settled))
    assert ",".join(f"{kind}={value}" for kind, value in reversed(found)) == format_name(settled)


def _request_for(name_der: bytes) -> bytes:
    """One for that name, whose signature nobody looks at."""
    tbs, algorithm, signature = parts(parse(build_request(KEY, parse_name("CN=a"))), 3, 3)
    version, _name, key, attributes = parts(tbs, 4, 4)
    fields = tlv(SEQUENCE, version.der, name_der, key.der, attributes.der)
    return tlv(SEQUENCE, fields, algorithm.der, signature.der)


@pytest.mark.parametrize(
    "parts", [(("CN", "홍길동"), ("C", "KR")), (("serialNumber", "A-1"), ("O", "보기 (주)")), (("L", "a" * 40),)]
)
def test_usual_names_are_settled(parts: tuple[tuple[str, str], ...]) -> None:
    """So that the test before this one finds something."""
    name = x509.Name([x509.NameAttribute(OIDS[kind], text, _validate=False) for kind, text in parts])
    assert settled_attributes(name.public_bytes()) == parts
