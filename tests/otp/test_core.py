"""The codes of RFC 4226, RFC 6238 and RFC 6287 come out of the core, whoever computes the HMAC."""

import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dojang.errors import InvalidOtp
from dojang.otp import hotp, ocra, totp
from dojang.otp.parameters import OtpParameters
from dojang.otp.truncation import Hmac
from dojang.testing import otp_vectors as vectors

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
PERIODS = st.sampled_from([30, 60])


def in_memory(seed: bytes, hash_name: str = "sha1") -> Hmac:
    """HMAC by Python: the oracle here; seeds of people never come this way."""
    return lambda message: hmac.digest(seed, message, hash_name)


def test_the_codes_of_rfc_4226() -> None:
    """Counters 0 to 9 give the codes of appendix D."""
    key = in_memory(vectors.SEED_20)
    assert [hotp.code(key, counter) for counter in range(10)] == vectors.HOTP


@pytest.mark.parametrize("hash_name", vectors.SEEDS)
def test_the_codes_of_rfc_6238(hash_name: str) -> None:
    """Every moment of appendix B gives its code, with each hash."""
    key = in_memory(vectors.SEEDS[hash_name], hash_name)
    for seconds, codes in vectors.TOTP:
        assert totp.code(key, datetime.fromtimestamp(seconds, UTC), digits=8) == codes[hash_name]


def test_the_codes_of_rfc_6287() -> None:
    """Every line of appendix C: one-way, mutual and plain signature."""
    assert [ocra_code(vector) for vector in vectors.OCRA] == [vector.code for vector in vectors.OCRA]


def ocra_code(vector: vectors.OcraVector) -> str:
    suite = ocra.Suite.from_text(vector.suite)
    return ocra.code(in_memory(vectors.SEEDS[suite.hash_name], suite.hash_name), suite, vector.message())


def test_no_digits_are_the_whole_hmac() -> None:
    """A suite of 0 digits truncates nothing (RFC 6287, 5.2)."""
    suite = ocra.Suite.from_text("OCRA-1:HOTP-SHA1-0:QA08")
    message = suite.message("SIG10000")
    answer = ocra.code(in_memory(vectors.SEED_20), suite, message)
    assert answer == hmac.digest(vectors.SEED_20, message, "sha1").hex()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "OCRA-1",
        "OCRA-2:HOTP-SHA1-6:QN08",
        "OCRA-1:HOTP-MD5-6:QN08",
        "OCRA-1:HOTP-SHA1-3:QN08",
        "OCRA-1:HOTP-SHA1-11:QN08",
        "OCRA-1:HOTP-SHA1-6:QX08",
        "OCRA-1:HOTP-SHA1-6:QN8",
        "OCRA-1:HOTP-SHA1-6:QN03",
        "OCRA-1:HOTP-SHA1-6:QN65",
        "OCRA-1:HOTP-SHA1-6:QN08-C",
        "OCRA-1:HOTP-SHA1-6:QN08-P",
        "OCRA-1:HOTP-SHA1-6:QN08-S000",
        "OCRA-1:HOTP-SHA1-6:QN08-S513",
        "OCRA-1:HOTP-SHA1-6:QN08-T0M",
        "OCRA-1:HOTP-SHA1-6:QN08-T60S",
        "OCRA-1:HOTP-SHA1-6:QN08-T49H",
        "OCRA-1:HOTP-SHA1-6:QN08-T1M-PSHA1",
        "OCRA-1:HOTP-SHA1-6:QN08\n",
        "OCRA-1:HOTP-SHA1-6:QN0٨",
        "ocra-1:hotp-sha1-6:qn08",
    ],
)
def test_what_is_no_suite_is_refused(text: str) -> None:
    """The grammar of section 6 and nothing beside it."""
    with pytest.raises(InvalidOtp):
        ocra.Suite.from_text(text)


@pytest.mark.parametrize("text", ["C-QN08-PSHA512-S064-T48H", "QA64-S512", "QH40-T59S", "C-QA04-PSHA256", "QN10-T59M"])
def test_every_part_of_a_suite_is_understood(text: str) -> None:
    """What the grammar allows is read."""
    suite = ocra.Suite.from_text(f"OCRA-1:HOTP-SHA512-10:{text}")
    assert (suite.counter, suite.pin_hash is not None) == (text.startswith("C-"), "-P" in text)
    assert (suite.session is not None, suite.period is not None) == ("-S" in text, "-T" in text)


def test_an_answer_takes_what_its_suite_says_and_nothing_else() -> None:
    """A missing counter, one too many, a PIN of the wrong hash, a challenge of the wrong form: each is refused."""
    suite = ocra.Suite.from_text("OCRA-1:HOTP-SHA1-6:C-QN08-PSHA1")
    good = {"counter": 1, "pin_hash": vectors.PIN_1234_SHA1}
    suite.message("12345678", **good)
    for wrong in [{**good, "counter": None}, {**good, "pin_hash": bytes(32)}, {**good, "session": b"s"}]:
        with pytest.raises(InvalidOtp):
            suite.message("12345678", **wrong)
    for challenge in ["123", "123456789", "1234567a", "१२३४"]:
        with pytest.raises(InvalidOtp):
            suite.message(challenge, **good)
    with pytest.raises(InvalidOtp):
        suite.message("1234", "1234", "1234", **good)


def test_challenges_and_session_data_fill_their_room() -> None:
    """A number goes in as hexadecimal digits from the left, text as it is, session data from the right (5.1)."""
    number = ocra.Suite.from_text("OCRA-1:HOTP-SHA1-6:QN08").message("00000017")
    assert number[-128:] == b"\x11" + bytes(127)
    assert ocra.Suite.from_text("OCRA-1:HOTP-SHA1-6:QH08").message("abc1d")[-128:] == b"\xab\xc1\xd0" + bytes(125)
    session = ocra.Suite.from_text("OCRA-1:HOTP-SHA1-6:QA08-S008").message("text", session=b"abc")
    assert session[-136:] == b"text" + bytes(124) + bytes(5) + b"abc"


@given(MOMENTS, PERIODS)
def test_a_step_holds_its_moment(at: datetime, period: int) -> None:
    """A moment lies in its step, and what is left of it is never nothing nor more than the period."""
    number = totp.step(at, period)
    assert totp.begins_at(number, period) <= at < totp.begins_at(number + 1, period)
    left = totp.remaining(at, period)
    assert 1 <= left <= period
    assert totp.step(at + timedelta(seconds=left), period) == number + 1


@given(
    now=st.integers(0, 10**9),
    drift=st.integers(-20, 20),
    back=st.integers(0, 10),
    ahead=st.integers(0, 10),
    after=st.none() | st.integers(0, 10**9 + 40),
)
def test_a_window_never_holds_what_was_used(now: int, drift: int, back: int, ahead: int, after: int | None) -> None:
    """The steps that are good lie round the device's own time, and all after the last one that was used."""
    steps = totp.steps(now, drift=drift, back=back, ahead=ahead, after=after)
    assert len(steps) <= back + ahead + 1
    assert all(
        now + drift - back <= step <= now + drift + ahead and step > (-1 if after is None else after) for step in steps
    )
    if after is None and now + drift >= 0:
        assert now + drift in steps


@given(st.integers(0, hotp.LARGEST_COUNTER), st.integers(0, 100))
def test_a_window_of_counters_begins_with_the_next(following: int, ahead: int) -> None:
    """No counter before the next one is ever good, and none that eight bytes do not hold."""
    window = hotp.counters(following, ahead)
    assert window[0] == following
    assert 1 <= len(window) <= ahead + 1
    assert window[-1] <= hotp.LARGEST_COUNTER


NAMES = st.text(max_size=40).filter(str.isprintable)


@given(
    st.builds(
        OtpParameters,
        kind=st.sampled_from(["totp", "hotp"]),
        hash_name=st.sampled_from(["sha1", "sha256", "sha512"]),
        digits=st.sampled_from([6, 7, 8]),
        period=PERIODS,
        issuer=NAMES,
        account=NAMES,
    )
    | st.builds(OtpParameters, kind=st.just("ocra"), suite=st.sampled_from([one.suite for one in vectors.OCRA]))
)
def test_parameters_are_read_back_as_written(parameters: OtpParameters) -> None:
    """What is kept beside a seed says again what was written."""
    assert OtpParameters.from_bytes(parameters.to_bytes()) == parameters


@given(
    st.binary() | st.sampled_from([b"{}", b"[]", b'{"version":1,"digits":true}', b'{"version":1,"x":1}', b"[" * 9999])
)
def test_rubbish_is_no_parameters(kept: bytes) -> None:
    """Anything else is refused in our own words."""
    with pytest.raises(InvalidOtp):
        OtpParameters.from_bytes(kept)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "motp"},
        {"hash_name": "md5"},
        {"digits": 5},
        {"digits": 9},
        {"period": 45},
        {"kind": "ocra"},
        {"suite": "OCRA-1:HOTP-SHA1-6:QN08"},
        {"issuer": "two\nlines"},
        {"account": "x" * 256},
    ],
)
def test_parameters_that_cannot_be_are_refused(wrong: dict) -> None:
    """6 to 8 digits, 30 or 60 seconds, the three hashes; a suite for OCRA alone."""
    with pytest.raises(InvalidOtp):
        OtpParameters(**wrong)
