"""The VID: what others compute, what certificates hold, and that neither number nor R is ever shown."""

import contextlib
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from dojang.der import SEQUENCE, MalformedDer, integer, oid, tlv
from dojang.errors import FileMalformed, NotPermitted, Usage
from dojang.npki.pkcs8 import new_random_number
from dojang.npki.vid import IDENTIFY_DATA, IdentifyData, compute_vid, identify, identify_data_of, verify_vid
from dojang.secret import Secret

KEY = ec.generate_private_key(ec.SECP256R1())
FIRST_R, TEST_R = "79EA7568A2D3776604E18BCD3A1B1B85B7DA0872", "7858B4328390805129F01C97FE6CA4A520CBD479"
# The facts on the Korean formats, section 3.3; the first agrees with another program, the number is nobody's.
VECTORS = [
    ("1234561234567", FIRST_R, "sha256", "17692C8DD00EAD33791DE0A64A937C60799634C64AC56FA57570C0E05252AB35"),
    ("1234561234567", TEST_R, "sha256", "f4f12331b2b090d66b49751266d6117d1b95a2dc3a70d3db11cb8546b11beb46"),
    ("1234561234567", TEST_R, "sha1", "99c623edbe44ec8b4d785bf8723f94012acd8c15"),
    ("1234567890", TEST_R, "sha256", "89dee087b9dfdf1a84623b3ec0d1da013a54d5fe4325cb1ccd92c8cf4fe9c2d4"),
]
NUMBER, R = Secret("1234561234567"), Secret(bytes.fromhex(FIRST_R))
VID = bytes.fromhex(VECTORS[0][3])


def certificate(*names: x509.GeneralName) -> bytes:
    subject, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "홍길동")]), datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, KEY.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def other_name(value: bytes) -> x509.OtherName:
    return x509.OtherName(x509.ObjectIdentifier(IDENTIFY_DATA), value)


def written(hash_oid: str, vid: bytes, *, null: bool, name: bytes = b"\x0c\x09" + "홍길동".encode()) -> bytes:
    """IdentifyData put together by hand."""
    algorithm = tlv(SEQUENCE, oid(hash_oid), *([b"\x05\x00"] if null else []))
    vid_der = tlv(SEQUENCE, algorithm, tlv(0xA0, tlv(0x04, vid)))
    other = tlv(SEQUENCE, oid("1.2.3.4"), integer(7))
    return tlv(SEQUENCE, name, tlv(SEQUENCE, other, tlv(SEQUENCE, oid("1.2.410.200004.10.1.1.1"), vid_der)))


@pytest.mark.parametrize(("number", "r", "hash_name", "vid"), VECTORS)
def test_the_vid_is_what_others_compute(number: str, r: str, hash_name: str, vid: str) -> None:
    """Resident and business number, both hashes, with and without hyphens."""
    random_number = Secret(bytes.fromhex(r))
    assert compute_vid(Secret(number), random_number, hash_name) == bytes.fromhex(vid)
    assert compute_vid(Secret(f"{number[:6]}-{number[6:]} "), random_number, hash_name) == bytes.fromhex(vid)


@pytest.mark.parametrize("null", [True, False], ids=["null", "absent"])
@pytest.mark.parametrize(("hash_oid", "hash_name"), [("2.16.840.1.101.3.4.2.1", "sha256"), ("1.3.14.3.2.26", "sha1")])
def test_certificates_of_others_are_verified(hash_oid: str, hash_name: str, null: bool) -> None:
    """SHA-256 and SHA-1, the algorithm's parameters absent or NULL, other entries beside the VID."""
    vid = compute_vid(NUMBER, R, hash_name)
    der = certificate(x509.DNSName("example.kr"), other_name(written(hash_oid, vid, null=null)))
    assert identify_data_of(der) == IdentifyData("홍길동", hash_name, vid)
    assert verify_vid(der, NUMBER, R)
    assert not verify_vid(der, Secret("1234561234568"), R)
    assert not verify_vid(der, Secret("1234567890"), R)
    assert not verify_vid(der, NUMBER, new_random_number())


def test_a_name_in_another_alphabet_is_read() -> None:
    """BMPString, as in old certificates."""
    name = tlv(0x1E, "홍길동".encode("utf-16-be"))
    found = IdentifyData.from_der(written("1.3.14.3.2.26", bytes(20), null=True, name=name))
    assert found is not None
    assert found.real_name == "홍길동"


def test_what_we_put_into_a_certificate_is_found_there(tmp_path) -> None:
    """By us, and by OpenSSL at the bytes of the name and of the VID."""
    made = identify("홍길동", Secret("123456-1234567"), R)
    assert (made.vid, made.hash_name) == (VID, "sha256")
    der = certificate(made.to_other_name())
    assert identify_data_of(der) == made
    (tmp_path / "c.der").write_bytes(der)
    command = ["openssl", "asn1parse", "-inform", "DER", "-in", tmp_path / "c.der"]
    shown = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    extension = next(line for line in shown.splitlines() if "HEX DUMP" in line and VID.hex().upper() in line)
    assert "홍길동".encode().hex().upper() in extension


def test_a_certificate_without_a_vid_belongs_to_nobody() -> None:
    """No alternative names, or others only, or no VID among the data."""
    empty = tlv(SEQUENCE, b"\x0c\x01x", tlv(SEQUENCE))
    for names in ((), (x509.DNSName("example.kr"),), (other_name(empty),)):
        assert identify_data_of(certificate(*names)) is None
        assert not verify_vid(certificate(*names), NUMBER, R)


@pytest.mark.parametrize(
    "value",
    [
        b"\x30\x00",
        b"\x04\x01x",
        tlv(
            SEQUENCE,
            b"\x0c\x01x",
            tlv(SEQUENCE, tlv(SEQUENCE, oid("1.2.410.200004.10.1.1.1"), tlv(SEQUENCE, tlv(SEQUENCE), b"\xa0\x00"))),
        ),
        written("1.2.840.113549.2.5", bytes(16), null=True),
        written("1.3.14.3.2.26", bytes(20), null=True, name=b"\x0c\x01\xff"),
    ],
)
def test_a_damaged_vid_is_said_to_be_so(value: bytes) -> None:
    """Cut off, another form, a hash nobody uses for it (MD5), a name that is no text."""
    with pytest.raises(FileMalformed):
        verify_vid(certificate(other_name(value)), NUMBER, R)


@given(st.binary(max_size=80))
def test_any_bytes_are_data_or_malformed(data: bytes) -> None:
    """Nothing else happens."""
    with contextlib.suppress(MalformedDer):
        IdentifyData.from_der(data)


@pytest.mark.parametrize("number", ["", "123456789", "12345678901", "123456123456x", "１２３４５６１２３４５６７"])
def test_no_such_number_is_refused_without_repeating_it(number: str) -> None:
    """Ten or thirteen digits; the error shows none of it."""
    with pytest.raises(Usage) as caught:
        identify("홍길동", Secret(number), R)
    assert not number or number not in f"{caught.value}{caught.value.facts}"


def test_a_short_r_makes_no_vid() -> None:
    """It could be guessed."""
    with pytest.raises(NotPermitted):
        identify("홍길동", NUMBER, Secret(bytes(19)))


def test_a_new_r_is_random() -> None:
    """160 bits, another one each time, and hidden."""
    assert len(new_random_number()) == 20
    assert new_random_number() != new_random_number()
    assert repr(new_random_number()) == "Secret(…)"
