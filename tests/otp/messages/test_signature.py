"""What centre and gateway sign: a vector that openssl makes too, and everything that is no such signature."""

import hashlib
import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dojang.errors import Usage
from dojang.otp.messages.outcomes import read_outcome
from dojang.otp.messages.signature import FRESH, NONCE, SIGNATURE, TIMESTAMP, Unsigned, check_signed, signed
from dojang.secret import Secret

KEY = Secret(b"0123456789abcdef")
AT = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
BODY = b'{"id": "' + b"0f" * 16 + b'", "outcome": "pressed", "digits": "048215"}'


def test_openssl_makes_the_same() -> None:
    """By the scheme as it is written down."""
    headers = signed("request", BODY, KEY, AT)
    digest = hashlib.sha256(BODY).hexdigest()
    lines = f"dojang call request 1\n{headers[TIMESTAMP]}\n{headers[NONCE]}\n{digest}\n"
    command = ["openssl", "dgst", "-sha256", "-hmac", KEY.reveal().decode(), "-r"]
    made = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, check=True).stdout
    assert headers[SIGNATURE] == made.split()[0].decode()
    assert headers[TIMESTAMP] == "1795348800"


def test_what_was_signed_is_read() -> None:
    """The call, the digits and the nonce; or that nobody answered."""
    headers = signed("outcome", BODY, KEY, AT)
    told = read_outcome(headers, BODY, KEY, AT + FRESH)
    assert (told.call, told.digits, told.nonce) == ("0f" * 16, Secret("048215"), headers[NONCE])
    silent = b'{"id": "' + b"0f" * 16 + b'", "outcome": "unanswered"}'
    assert read_outcome(signed("outcome", silent, KEY, AT), silent, KEY, AT).digits is None


def _changed(headers: dict[str, str], name: str, value: str) -> dict[str, str]:
    return headers | {name: value}


@pytest.mark.parametrize("name", [TIMESTAMP, NONCE, SIGNATURE])
def test_every_part_is_signed(name: str) -> None:
    """A field that is missing, changed or strange, and another body, are no signature."""
    headers = signed("outcome", BODY, KEY, AT)
    for value in ("", "0" * len(headers[name]), headers[name].upper() + " ", "é", "1" * 5000):
        with pytest.raises(Unsigned):
            check_signed("outcome", _changed(headers, name, value), BODY, KEY, AT)
    without = {key: value for key, value in headers.items() if key != name}
    with pytest.raises(Unsigned):
        check_signed("outcome", without, BODY, KEY, AT)
    with pytest.raises(Unsigned):
        check_signed("outcome", headers, BODY + b" ", KEY, AT)


def test_not_with_another_key_and_not_in_the_other_direction() -> None:
    """What the centre has sent is no outcome when it is sent back."""
    for direction, key in (("request", KEY), ("outcome", Secret(b"another key 1234"))):
        with pytest.raises(Unsigned):
            check_signed("outcome", signed(direction, BODY, key, AT), BODY, KEY, AT)  # type: ignore[arg-type]
    short = Secret(b"0123456789abcde")
    with pytest.raises(Unsigned):
        read_outcome(signed("outcome", BODY, short, AT), BODY, short, AT)


def test_not_later_and_not_earlier() -> None:
    """Five minutes either way, though it is signed."""
    headers = signed("outcome", BODY, KEY, AT)
    for away in (FRESH, -FRESH):
        assert check_signed("outcome", headers, BODY, KEY, AT + away)
        with pytest.raises(Unsigned):
            check_signed("outcome", headers, BODY, KEY, AT + away + (away / abs(away)) * timedelta(seconds=1))


@pytest.mark.parametrize("timestamp", ["-1", "1e3", "９９９", "999999999999", "1795348800.0", " 1795348800"])
def test_a_strange_time_though_signed(timestamp: str) -> None:
    """Whoever has the key cannot bring it down either."""
    from dojang.otp.messages.signature import _signature

    headers = {TIMESTAMP: timestamp, NONCE: "0f" * 16}
    headers[SIGNATURE] = _signature("outcome", timestamp, headers[NONCE], BODY, KEY)
    with pytest.raises(Unsigned):
        check_signed("outcome", headers, BODY, KEY, AT)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"\xff", b"[" * 5000, b'{"id": "x", "outcome": "pressed", "digits": "1"}'),
        BODY.replace(b"pressed", b"other"),
        BODY.replace(b'"048215"', b"48215"),
        BODY.replace(b"048215", b"04821a"),
        BODY.replace(b"048215", b"1" * 33),
        BODY.replace(b'"digits"', b'"digit"'),
        BODY.replace(b"}", b', "more": 1}'),
        BODY.replace(b"pressed", b"unanswered"),
    ],
)
def test_what_is_signed_and_no_outcome(body: bytes) -> None:
    """It is refused as what it is."""
    with pytest.raises(Usage):
        read_outcome(signed("outcome", body, KEY, AT), body, KEY, AT)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("id", "outcome", "digits")), inner),
    max_leaves=6,
)


@given(told=ANYTHING)
def test_anything_that_is_signed_is_an_outcome_or_refused(told: object) -> None:
    """Whatever a gateway that has the key sends."""
    body = json.dumps(told).encode()
    try:
        outcome = read_outcome(signed("outcome", body, KEY, AT), body, KEY, AT)
    except Usage:
        return
    assert isinstance(told, dict)
    assert outcome.call == told["id"]
