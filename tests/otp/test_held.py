"""Seeds on a token: what is shown agrees with programs we did not write, and what was used is never good again."""

import base64
import hashlib
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dojang
from dojang import errors
from dojang.otp.base import Code, MakesSeeds, NewSeed, Question, Seed
from dojang.otp.held.checking import LOOK_AHEAD
from dojang.otp.held.counters import Counters
from dojang.otp.held.device import TokenSeeds
from dojang.otp.parameters import OtpParameters
from dojang.pkcs11 import ModuleSearch, OpenToken, PinGuard, open_token
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.secret import Secret
from dojang.testing.otp_vectors import SEED_20

AT = datetime(2026, 5, 1, 12, 0, 7, tzinfo=UTC)
STEP = timedelta(seconds=30)


@pytest.fixture(scope="module")
def token(make_token, softhsm_module: str, tmp_path_factory) -> Iterator[OpenToken]:
    made = make_token()
    guard = PinGuard(tmp_path_factory.mktemp("guard") / "pin-guard")
    search = ModuleSearch(module=softhsm_module, discover=False)
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        yield opened


@pytest.fixture
def device(token: OpenToken, tmp_path: Path) -> Iterator[TokenSeeds]:
    """The token's seeds; what a test adds is gone after it."""
    with Counters(tmp_path / "counters") as counters:
        seeds = TokenSeeds(token, counters)
        yield seeds
        for seed in list(seeds.seeds()):
            seeds.delete(seed)


def add(device: TokenSeeds, name: str = "bank", *, counter: int = 0, **parameters: object) -> Seed:
    return device.add(NewSeed(name, OtpParameters(**parameters), Secret(SEED_20), counter))


def secret(code: Code | str) -> Secret:
    return Secret(code if isinstance(code, str) else code.code)


def oathtool(*words: object) -> list[str]:
    """The codes of oath-toolkit for the same seed."""
    done = subprocess.run(["oathtool", *map(str, words), SEED_20.hex()], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("hash_name", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize(("digits", "period"), [(6, 30), (8, 60)])
def test_oathtool_and_pyotp_compute_the_same_by_time(
    device: TokenSeeds, hash_name: str, digits: int, period: int
) -> None:
    """One seed of 20 bytes, whatever the hash: three programs, one code, and the same end of its validity."""
    seed = add(device, hash_name=hash_name, digits=digits, period=period)
    found = device.code(seed, AT)
    words = [f"--totp={hash_name}", "-d", digits, "-s", f"{period}s", "-N", AT.strftime("%Y-%m-%d %H:%M:%S UTC")]
    known = {"digits": digits, "digest": getattr(hashlib, hash_name), "interval": period}
    other = pyotp.TOTP(base64.b32encode(SEED_20).decode(), **known)
    assert [found.code] == oathtool(*words)
    assert found.code == other.at(AT)
    assert found.valid_until == datetime(2026, 5, 1, 12, 0, 30 if period == 30 else 0, tzinfo=UTC) + (
        timedelta(minutes=1) if period == 60 else timedelta()
    )


def test_oathtool_and_pyotp_compute_the_same_by_counter(device: TokenSeeds) -> None:
    """From any counter on."""
    seed = add(device, kind="hotp", digits=7, counter=1000)
    shown = [device.code(seed, AT).code for _ in range(4)]
    other = pyotp.HOTP(base64.b32encode(SEED_20).decode(), digits=7)
    assert shown == oathtool("--hotp", "-c", 1000, "-w", 3, "-d", 7)
    assert shown == [other.at(counter) for counter in range(1000, 1004)]


def test_a_program_computes_a_code_in_three_lines(token: OpenToken, device: TokenSeeds, tmp_path: Path) -> None:
    """What the front door offers."""
    add(device)
    with dojang.seeds_on(token, tmp_path / "counters") as seeds:
        code = seeds.code(seeds.find("pkcs11:object=bank"), AT)
    assert [code.code] == oathtool("--totp", "-N", "2026-05-01 12:00:07 UTC")
    assert code.code not in repr(code)


def test_a_code_by_counter_is_shown_once(device: TokenSeeds) -> None:
    """Asked by 16 threads at once, each gets another one."""
    seed = add(device, kind="hotp")
    shown: list[Code] = []
    threads = [threading.Thread(target=lambda: shown.append(device.code(seed, AT))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.counter for one in shown) == list(range(16))


def test_a_code_is_accepted_once(device: TokenSeeds) -> None:
    """By time or by counter: the second time it is refused, by whomever and whenever."""
    for kind in ("totp", "hotp"):
        seed = add(device, kind, kind=kind)
        code = secret(device.code(seed, AT))
        device.verify(seed, code, AT)
        for at in (AT, AT + STEP, AT - STEP):
            with pytest.raises(errors.OtpReplayed if kind == "hotp" or at >= AT else errors.DojangError):
                device.verify(seed, code, at)


def test_codes_round_the_present_are_right_and_others_are_not(device: TokenSeeds) -> None:
    """One step before and after; two are too many; six digits that are none of them are wrong."""
    seed = add(device)
    for steps in (-2, 2):
        with pytest.raises(errors.OtpIncorrect):
            device.verify(seed, secret(device.code(seed, AT + steps * STEP)), AT)
    for steps in (-1, 0, 1):
        device.verify(seed, secret(device.code(seed, AT + steps * STEP)), AT)
    with pytest.raises(errors.OtpIncorrect):
        device.verify(seed, Secret("000000"), AT)


def test_a_clock_that_was_set_back_opens_nothing(device: TokenSeeds) -> None:
    """The code of a step that was used, and of every one before it, is told to be used; after that time all is well."""
    seed = add(device)
    device.verify(seed, secret(device.code(seed, AT)), AT)
    for back in (STEP, 2 * STEP, timedelta(hours=1)):
        with pytest.raises(errors.OtpReplayed):
            device.verify(seed, secret(device.code(seed, AT - back)), AT - back)
    device.verify(seed, secret(device.code(seed, AT + STEP)), AT + STEP)


def test_an_older_code_is_not_accepted_after_a_younger_one(device: TokenSeeds) -> None:
    """By counter too: skipping is allowed, going back is not, and too far ahead is not looked at."""
    seed = add(device, kind="hotp")
    codes = [secret(device.code(seed, AT)) for _ in range(2 * LOOK_AHEAD + 4)]
    device.verify(seed, codes[LOOK_AHEAD], AT)
    for old in (0, 5, LOOK_AHEAD):
        with pytest.raises((errors.OtpReplayed, errors.OtpIncorrect)):
            device.verify(seed, codes[old], AT)
    with pytest.raises(errors.OtpIncorrect):
        device.verify(seed, codes[2 * LOOK_AHEAD + 2], AT)
    device.verify(seed, codes[LOOK_AHEAD + 3], AT)


def test_an_accepted_code_is_not_shown_again(device: TokenSeeds) -> None:
    """A code that came from the same seed elsewhere has been shown; the next one here is a later one."""
    seed = add(device, kind="hotp")
    device.verify(seed, Secret(oathtool("--hotp", "-c", 6)[0]), AT)
    assert device.code(seed, AT).counter == 7


def test_two_codes_in_a_row_find_a_counter_that_ran_away(device: TokenSeeds) -> None:
    """Further ahead than a check looks; one right and one wrong, or the two the other way round, find nothing."""
    seed = add(device, kind="hotp")
    first, second = (Secret(code) for code in oathtool("--hotp", "-c", 300, "-w", 1))
    for pair in ((first, Secret("123456")), (second, first), (first, first)):
        with pytest.raises(errors.OtpIncorrect):
            device.resync(seed, *pair, AT)
    assert device.resync(seed, first, second, AT) == 302
    with pytest.raises(errors.OtpIncorrect):
        device.resync(seed, first, second, AT)
    assert device.code(seed, AT).counter == 302


def test_two_codes_in_a_row_find_a_clock_that_ran_away(device: TokenSeeds) -> None:
    """Half an hour off: refused at first, and right from then on, also a minute later."""
    seed = add(device)
    away = timedelta(minutes=30)
    ahead = [secret(device.code(seed, AT + away + steps * STEP)) for steps in range(4)]
    with pytest.raises(errors.OtpIncorrect):
        device.verify(seed, ahead[0], AT)
    device.resync(seed, ahead[0], ahead[1], AT + STEP)
    with pytest.raises(errors.OtpReplayed):
        device.verify(seed, ahead[1], AT + STEP)
    device.verify(seed, ahead[3], AT + 3 * STEP)


def test_a_counter_is_set_forward_only(device: TokenSeeds) -> None:
    """Said by a person, it opens nothing that was used."""
    seed = add(device, kind="hotp", counter=10)
    with pytest.raises(errors.NotPermitted):
        device.set_counter(seed, 9)
    assert device.set_counter(seed, 50) == 50
    assert device.code(seed, AT).counter == 50
    with pytest.raises(errors.InvalidOtp):
        device.set_counter(add(device, "by time"), 5)


def test_a_lost_state_folder_shows_no_code_twice(device: TokenSeeds, token: OpenToken, tmp_path: Path) -> None:
    """The seed is there, its counter is not: nothing is guessed."""
    seed = add(device, kind="hotp")
    with Counters(tmp_path / "another") as counters:
        elsewhere = TokenSeeds(token, counters)
        with pytest.raises(errors.CounterUnknown):
            elsewhere.code(seed, AT)
        elsewhere.set_counter(seed, 20)
        assert elsewhere.code(seed, AT).counter == 20


def test_answers_are_checked_too(device: TokenSeeds) -> None:
    """OCRA by time and by counter: right once; another challenge, another PIN, a plain code are wrong."""
    timed = add(device, "timed", kind="ocra", suite="OCRA-1:HOTP-SHA512-8:QN08-T1M")
    counted = add(device, "counted", kind="ocra", suite="OCRA-1:HOTP-SHA256-8:C-QN08-PSHA1")
    for seed, question, other in [
        (timed, Question(("12345678",)), Question(("87654321",))),
        (counted, Question(("12345678",), Secret("1234")), Question(("12345678",), Secret("1235"))),
    ]:
        answer = secret(device.answer(seed, question, AT))
        with pytest.raises(errors.OtpIncorrect):
            device.verify(seed, answer, AT, other)
        device.verify(seed, answer, AT, question)
        with pytest.raises(errors.OtpReplayed):
            device.verify(seed, answer, AT, question)
        with pytest.raises(errors.InvalidOtp):
            device.verify(seed, answer, AT)
        with pytest.raises(errors.InvalidOtp):
            device.code(seed, AT)


def test_a_bare_challenge_has_one_answer(device: TokenSeeds) -> None:
    """Without counter and time the challenge itself is what is used once, by whoever asks it."""
    seed = add(device, kind="ocra", suite="OCRA-1:HOTP-SHA1-6:QN08")
    question = Question(("00000000",))
    assert device.answer(seed, question, AT).code == "237653"
    device.verify(seed, Secret("237 653"), AT, question)
    with pytest.raises(errors.OtpIncorrect):
        device.verify(seed, Secret("237654"), AT, question)


def test_the_token_tells_all(device: TokenSeeds, token: OpenToken) -> None:
    """Parameters and names are on the token; two seeds have addresses that find them; an ambiguous one is refused."""
    first = add(device, "one", issuer="Bank, Inc.", account="hong@example.com", hash_name="sha512", digits=8, period=60)
    second = add(device, "two", kind="ocra", suite="OCRA-1:HOTP-SHA1-6:QN08")
    found = {one.name: one for one in device.seeds()}
    assert found == {"one": first, "two": second}
    assert found["one"].parameters.issuer == "Bank, Inc."
    assert [device.find(one.address) for one in (first, second)] == [first, second]
    with pytest.raises(errors.Ambiguous):
        device.find(device.address)
    with pytest.raises(errors.NotFound):
        device.find(Pkcs11Uri.from_text(device.address).for_object(object="three").to_text())
    assert isinstance(device, MakesSeeds)


def test_what_stands_beside_a_seed_may_be_damaged(device: TokenSeeds, token: OpenToken) -> None:
    """The seed is listed with what is wrong, and hides no other; a data object that tells of no key is left alone."""
    seed = add(device, "damaged")
    add(device, "whole")
    token.destroy(seed.key_id, "data")
    token.add_data(seed.key_id.hex().encode() + b" {", label="dojang otp", application="x", key_id=seed.key_id)
    token.add_data(b"\xff", label="dojang otp", application="x", key_id=b"\x01\x02")
    told = {one.name: one.problem for one in device.seeds()}
    assert told["whole"] == ""
    assert told["damaged"]
    token.destroy(b"\x01\x02", "data")


def test_a_seed_that_fails_half_way_is_taken_back(device: TokenSeeds, token: OpenToken, monkeypatch) -> None:
    """The key is made, what tells of it cannot be: no key is left."""

    def full(*_: object, **__: object) -> None:
        raise errors.TokenFull(token="Hong")

    monkeypatch.setattr(OpenToken, "add_data", full)
    with pytest.raises(errors.TokenFull):
        add(device, "never")
    assert list(token.private_objects(label="never")) == []


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4)), max_size=12))
def test_no_sequence_of_codes_is_good_twice(device_once: TokenSeeds, tries: list[tuple[int, int]]) -> None:
    """Codes from before and after, the clock going on or standing: steps that were accepted only grow, and none is
    further from the present than one step beyond what was learnt of the device's clock.
    """
    seed = add(device_once, "property")
    accepted: list[int] = []
    now = AT
    for offset, advance in tries:
        now += advance * STEP
        bring = now + offset * STEP
        step = int(bring.timestamp()) // 30
        try:
            device_once.verify(seed, secret(device_once.code(seed, bring)), now)
        except (errors.OtpIncorrect, errors.OtpReplayed):
            continue
        assert all(step > other for other in accepted)
        accepted.append(step)
    device_once.delete(seed)


@pytest.fixture(scope="module")
def device_once(token: OpenToken, tmp_path_factory) -> Iterator[TokenSeeds]:
    with Counters(tmp_path_factory.mktemp("counters") / "counters") as counters:
        yield TokenSeeds(token, counters)
