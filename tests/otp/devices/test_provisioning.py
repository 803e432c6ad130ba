"""A seed on its way to a phone: shown once as a picture, which a program reads that we did not write."""

import subprocess
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from dojang.errors import InvalidOtp
from dojang.otp.devices import NewDevice
from dojang.otp.devices.provisioning import provision, register
from dojang.otp.parameters import OtpParameters
from dojang.otp.qr import drawn
from dojang.secret import Secret


@pytest.mark.parametrize(
    "parameters",
    [
        OtpParameters("totp"),
        OtpParameters("totp", "sha256", 8, 60),
        OtpParameters("totp", "sha512", 7, 30),
        OtpParameters("hotp", digits=8),
    ],
)
def test_a_phone_that_has_read_the_picture_shows_codes_that_are_accepted(desk, tmp_path, parameters):
    """zbar reads the picture, oathtool and pyotp compute, and the authority accepts, once it has registered."""
    devices, picture = desk.devices, tmp_path / "seed.png"
    made = provision(devices, NewDevice(parameters, "hong", "phone", counter=7), "우리은행", "hong@example.kr")
    assert "secret=" not in repr(made)
    picture.write_bytes(drawn(made.uri, "png"))
    read = subprocess.run(["zbarimg", "-q", "--raw", picture], capture_output=True, text=True, check=True)
    uri = read.stdout.strip()
    assert uri == made.uri.reveal().decode()

    secret = parse_qs(urlsplit(uri).query)["secret"][0]
    words = ["oathtool", "--base32", "--digits", str(parameters.digits), "-"]
    how = ["--counter", "7"] if parameters.kind == "hotp" else [f"--totp={parameters.hash_name}"]
    if parameters.kind == "totp":
        how += ["--time-step-size", f"{parameters.period}s", "--now", f"{desk.now:%Y-%m-%d %H:%M:%S UTC}"]
    shown = subprocess.run([*words, *how], input=secret, capture_output=True, text=True, check=True).stdout.strip()
    phone = pyotp.parse_uri(uri)
    assert phone.issuer == "우리은행"
    assert shown == (phone.at(0) if parameters.kind == "hotp" else phone.at(desk.now))

    assert devices.listed() == []
    device = register(devices, made)
    assert devices.verify(device.id, Secret(shown)).applicant == "hong"
    assert not desk.accepts(device.id, shown)


def test_what_no_phone_reads_is_refused(desk):
    """OCRA has no URI; nothing is made for it."""
    with pytest.raises(InvalidOtp):
        provision(desk.devices, NewDevice(OtpParameters("ocra", suite="OCRA-1:HOTP-SHA1-6:QN08")), "a", "b")
