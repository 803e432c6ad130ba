"""otpauth URIs are read strictly, written so that others read them, and drawn so that a camera does."""

import subprocess
from pathlib import Path

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dojang.errors import InvalidOtp
from dojang.otp.otpauth import parse_uri, seed_from_base32, to_uri
from dojang.otp.parameters import OtpParameters
from dojang.otp.qr import drawn
from dojang.secret import Secret

SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


def test_a_uri_says_all_of_a_seed() -> None:
    """Every parameter is read, the label with its escapes too."""
    new = parse_uri(
        Secret(
            "otpauth://totp/Bank%20%EC%9D%80%ED%96%89:hong%40example.com?secret=gezdgnbvgy3tqojqgezdgnbvgy3tqojq"
            "&issuer=Bank%20%EC%9D%80%ED%96%89&algorithm=SHA256&digits=8&period=60\n"
        )
    )
    assert new.parameters == OtpParameters("totp", "sha256", 8, 60, None, "Bank 은행", "hong@example.com")
    assert new.secret == Secret(b"12345678901234567890")
    assert new.name == "hong@example.com"


def test_what_is_not_said_is_as_usual() -> None:
    """SHA-1, six digits, thirty seconds; a counter has no usual."""
    assert parse_uri(Secret(f"otpauth://totp/hong?secret={SEED}")).parameters == OtpParameters(account="hong")
    assert parse_uri(Secret(f"otpauth://hotp/hong?secret={SEED}&counter=5")).counter == 5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://example.com",
        "otpauth:totp/x?secret=" + SEED,
        f"otpauth://motp/x?secret={SEED}",
        "otpauth://totp/x",
        "otpauth://totp/x?secret=",
        "otpauth://totp/x?secret=0189",
        "otpauth://totp/x?secret=GEZDG",
        f"otpauth://totp/x?secret={SEED}&secret={SEED}",
        f"otpauth://totp/x?secret={SEED}&digits=5",
        f"otpauth://totp/x?secret={SEED}&digits=٦",
        f"otpauth://totp/x?secret={SEED}&period=31",
        f"otpauth://totp/x?secret={SEED}&algorithm=MD5",
        f"otpauth://totp/x?secret={SEED}&unknown=1",
        f"otpauth://totp/x?secret={SEED}&",
        f"otpauth://totp/A:x?secret={SEED}&issuer=B",
        f"otpauth://totp/%zz?secret={SEED}",
        f"otpauth://totp/%ff?secret={SEED}",
        f"otpauth://totp/x%0Ay?secret={SEED}",
        f"otpauth://totp/x?secret={SEED}#fragment",
        f"otpauth://hotp/x?secret={SEED}",
        f"otpauth://hotp/x?secret={SEED}&counter=-1",
        b"otpauth://totp/\xff",
        "otpauth://totp/" + "x" * 5000,
    ],
)
def test_what_is_no_uri_is_refused_without_a_word_of_the_seed(text: str | bytes) -> None:
    """In our own words, and never with any of it: people paste the seed here."""
    with pytest.raises(InvalidOtp) as caught:
        parse_uri(Secret(text))
    assert SEED[:8] not in str(caught.value)


names = (
    st.text(min_size=1, max_size=30).map(str.strip).filter(lambda text: text.isprintable() and ":" not in text and text)
)


@given(
    parameters=st.builds(
        OtpParameters,
        kind=st.sampled_from(["totp", "hotp"]),
        hash_name=st.sampled_from(["sha1", "sha256", "sha512"]),
        digits=st.sampled_from([6, 7, 8]),
        issuer=st.just("") | names,
        account=names,
    ),
    seed=st.binary(min_size=14, max_size=80),
    counter=st.integers(0, 1 << 62),
)
def test_what_is_written_is_read_again_by_us_and_by_pyotp(parameters: OtpParameters, seed: bytes, counter: int) -> None:
    """Whatever the names are."""
    uri = to_uri(parameters, Secret(seed), counter=counter)
    new = parse_uri(uri)
    counted = counter if parameters.kind == "hotp" else 0
    assert (new.parameters, new.secret, new.counter) == (parameters, Secret(seed), counted)
    other = pyotp.parse_uri(uri.reveal().decode())
    assert other.byte_secret() == seed
    assert (other.digits, other.name, other.issuer or "") == (parameters.digits, parameters.account, parameters.issuer)


def test_what_pyotp_writes_is_read() -> None:
    """Its URIs, with its way to escape."""
    uri = pyotp.TOTP(SEED, digits=8, interval=60).provisioning_uri(name="hong@example.com", issuer_name="A & B")
    new = parse_uri(Secret(uri))
    assert (new.parameters.issuer, new.parameters.account, new.parameters.digits) == ("A & B", "hong@example.com", 8)


def test_a_typed_seed_may_have_groups() -> None:
    """As banks print them."""
    assert seed_from_base32("gezd gnbv-GY3T qojq") == Secret(b"1234567890")


def test_a_camera_reads_the_picture(tmp_path: Path) -> None:
    """zbarimg finds the very URI in the PNG; SVG and text are drawn of the same."""
    uri = to_uri(OtpParameters(issuer="Bank", account="hong"), Secret(b"12345678901234567890"))
    picture = tmp_path / "qr.png"
    picture.write_bytes(drawn(uri, "png"))
    read = subprocess.run(["zbarimg", "--raw", "-q", str(picture)], capture_output=True, text=True, check=True)
    assert Secret(read.stdout.strip()) == uri
    assert drawn(uri, "svg").startswith(b"<?xml")
    assert len(drawn(uri, "txt").decode().splitlines()) > 20


def test_what_no_picture_can_hold_is_said() -> None:
    """Too much for a QR code, and a form there is not."""
    with pytest.raises(InvalidOtp):
        drawn(Secret("x" * 5000), "png")
    with pytest.raises(InvalidOtp):
        drawn(Secret("x"), "gif")
