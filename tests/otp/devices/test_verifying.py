"""Codes of registered devices: right, wrong, used, early, late; lost and found again; locked and unlocked."""

from datetime import timedelta

import pytest
from tests.otp.devices.conftest import HOTP, TOTP, Desk, Fob

from dojang.errors import AlreadyExists, InvalidOtp, NotFound, NotPermitted, OtpIncorrect
from dojang.otp import ocra, totp
from dojang.otp.devices import DevicePolicy, NewDevice, rows
from dojang.otp.devices.policy import policy_from
from dojang.otp.parameters import OtpParameters
from dojang.secret import Secret

RFC_4226 = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]


def test_the_codes_of_the_standard_are_accepted_once(desk: Desk) -> None:
    """RFC 4226, appendix D: each in its turn, none a second time."""
    fob = desk.register(HOTP)
    for code in RFC_4226:
        assert desk.accepts(fob, code)
        assert not desk.accepts(fob, code)
    assert desk.device(fob).counter == 10
    assert desk.device(fob).wrong_tries == 0  # a used code is no guess


@pytest.mark.parametrize("hash_name", ["sha1", "sha256", "sha512"])
def test_a_seed_that_the_hsm_made_computes_with_every_hash(desk: Desk, hash_name: str) -> None:
    """What the HSM makes is what it computes with; revealed for this test, as for a QR code."""
    parameters = OtpParameters(kind="totp", hash_name=hash_name, digits=8, period=60)
    made = desk.devices.add(NewDevice(parameters, exportable=True))
    _, sealed = desk.devices.for_export(made.id, "qr")
    fob = Fob(made.id, desk.devices.vault.reveal_unprotected(sealed), parameters)
    code = totp.code(fob.mac, desk.now, digits=8, period=60)
    assert desk.accepts(fob, code)
    assert not desk.accepts(fob, code)
    assert desk.audited()[-1] == "otp-exported"


def test_a_code_by_time_is_good_around_its_step(desk: Desk) -> None:
    """One step late and one early; two are too many. The one before an accepted one is used up with it."""
    fob = desk.register(TOTP)
    late, now = (fob.at(desk.now + timedelta(seconds=30 * step)) for step in (-1, 0))
    assert not desk.accepts(fob, fob.at(desk.now + timedelta(seconds=60)))
    assert not desk.accepts(fob, fob.at(desk.now - timedelta(seconds=60)))
    assert desk.accepts(fob, now)
    assert not desk.accepts(fob, late)
    assert desk.accepts(fob, fob.at(desk.now + timedelta(seconds=30)))
    assert desk.device(fob).drift == 1


def test_drift_is_learned(desk: Desk) -> None:
    """A clock that runs away by a step each time is followed; one that jumped is not, until it is found again."""
    fob = desk.register(TOTP)
    for _ in range(6):
        fob.off += timedelta(seconds=30)
        assert desk.accepts(fob, fob.at(desk.now))
        desk.turn(minutes=2)
    assert desk.device(fob).drift == 6
    fob.off += timedelta(minutes=10)
    assert not desk.accepts(fob, fob.at(desk.now))
    desk.devices.resync(fob.id, fob.at(desk.now), fob.at(desk.now + timedelta(seconds=30)))
    assert desk.device(fob).drift == 27
    assert "otp-resynced" in desk.audited()
    desk.turn(minutes=5)
    assert desk.accepts(fob, fob.at(desk.now))


def test_a_clock_that_was_set_back_or_forward_accepts_nothing_twice(desk: Desk) -> None:
    """Back: what was used is still used, and what is right is accepted when the time has come again. Forward: the
    device is late by as much, and its next codes are good when the clock is right again.
    """
    fob = desk.register(TOTP)
    used = fob.at(desk.now)
    assert desk.accepts(fob, used)
    desk.turn(hours=-1)
    assert not desk.accepts(fob, used)
    assert not desk.accepts(fob, fob.at(desk.now + timedelta(hours=1)))
    desk.turn(hours=2)
    assert not desk.accepts(fob, used)
    assert not desk.accepts(fob, fob.at(desk.now - timedelta(hours=1)))
    desk.turn(hours=-1)
    assert not desk.accepts(fob, used)
    desk.turn(seconds=30)
    assert desk.accepts(fob, fob.at(desk.now))


def test_codes_that_nobody_sent_are_skipped(desk: Desk) -> None:
    """As many as the policy looks ahead; further on two codes in a row are needed, and those before are used up."""
    fob = desk.register(HOTP)
    fob.counter = 10
    assert desk.accepts(fob, fob.press())
    assert not desk.accepts(fob, fob.shown(5))
    fob.counter += 11
    assert not desk.accepts(fob, fob.press())
    with pytest.raises(OtpIncorrect):
        desk.devices.resync(fob.id, fob.shown(fob.counter), fob.shown(fob.counter + 2))
    with pytest.raises(OtpIncorrect):
        desk.devices.resync(fob.id, fob.shown(9), fob.shown(10))
    assert desk.devices.resync(fob.id, fob.press(), fob.press()).counter == fob.counter
    assert desk.accepts(fob, fob.press())


def test_the_tenth_wrong_code_locks(desk: Desk) -> None:
    """Nine do not, if a right one comes then. After the tenth nothing is accepted until an officer unlocks it."""
    fob = desk.register(HOTP)
    for _ in range(9):
        assert not desk.accepts(fob, "000000")
    assert desk.accepts(fob, fob.press())
    for _ in range(10):
        assert desk.device(fob).state == "active"
        assert not desk.accepts(fob, "000000")
    assert desk.device(fob).state == "locked"
    assert not desk.accepts(fob, fob.shown(fob.counter))
    with pytest.raises(OtpIncorrect):
        desk.devices.resync(fob.id, fob.shown(fob.counter), fob.shown(fob.counter + 1))
    assert desk.device(fob).wrong_tries == 10
    assert desk.devices.unlock(fob.id).state == "active"
    assert desk.accepts(fob, fob.press())
    assert [event for event in desk.audited() if "lock" in event] == ["otp-locked", "otp-unlocked"]


def test_a_device_is_suspended_restored_and_removed(desk: Desk) -> None:
    """Suspended it accepts nothing and forgets no wrong code; removed, its seed is nowhere and it stays away."""
    fob = desk.register(HOTP)
    assert not desk.accepts(fob, "000000")
    assert desk.devices.suspend(fob.id, "lost").state == "suspended"
    assert not desk.accepts(fob, fob.shown(0))
    assert desk.devices.restore(fob.id).wrong_tries == 1
    assert desk.accepts(fob, fob.press())
    assert desk.devices.remove(fob.id).state == "removed"
    assert not desk.accepts(fob, fob.press())
    assert desk.column(fob, "wrapped_seed") is None
    for again in (desk.devices.unlock, desk.devices.suspend, desk.devices.restore, desk.devices.remove):
        with pytest.raises(NotPermitted):
            again(fob.id)
    assert desk.devices.listed() == []
    assert [one.state for one in desk.devices.listed(removed=True)] == ["removed"]


@pytest.mark.parametrize("code", ["", "75522", "7552240", "７５５２２４", "\udcff", "755224\0"])
def test_what_is_no_code_is_a_wrong_one(desk: Desk, code: str) -> None:
    """Whatever comes, it is counted and refused like any other wrong code."""
    fob = desk.register(HOTP)
    assert not desk.accepts(fob, Secret(code.encode("utf-8", "surrogateescape")))
    assert desk.device(fob).wrong_tries == 1
    assert desk.accepts(fob, " 755 224\n")


def test_a_device_that_is_not_there_gets_the_same_work_and_answer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The HSM computes, two transactions write, and the error says the same as for a wrong code of a device."""
    fob = desk.register(HOTP)
    said, hashed = set(), []
    devices = desk.devices
    devices.vault.decoy("sha1")
    honest = devices.vault.hmacs
    monkeypatch.setattr(
        devices.vault,
        "hmacs",
        lambda sealed, name, messages: hashed.append(len(messages)) or honest(sealed, name, messages),
    )
    for device in (fob.id, "nobody", "nobody"):
        with pytest.raises(OtpIncorrect) as caught:
            devices.verify(device, Secret("000000"))
        said.add(str(caught.value).replace(device, "…"))
    assert len(said) == 1
    assert hashed[0] == 12
    assert hashed[1] in (4, 12)
    assert hashed[1] == hashed[2]
    with pytest.raises(NotFound):
        devices.device("nobody")


def test_what_is_done_along_is_done_with_the_code_or_not_at_all(desk: Desk) -> None:
    """Where it fails the code is not used up, and the try counts."""
    fob = desk.register(HOTP)

    def fails(_connection: object) -> None:
        raise NotFound(what="x", where="y", command="z")

    with pytest.raises(NotFound):
        desk.devices.verify(fob.id, fob.shown(0), fails)
    assert desk.device(fob).counter == 0
    assert desk.device(fob).wrong_tries == 1
    done: list[object] = []
    desk.devices.verify(fob.id, fob.shown(0), done.append)
    assert len(done) == 1


def test_ocra_answers_what_was_asked_once(desk: Desk) -> None:
    """A challenge is answered once; the next one takes its place; an old one is worth nothing."""
    suite = ocra.Suite.from_text("OCRA-1:HOTP-SHA1-6:QN08")
    fob = desk.register(OtpParameters(kind="ocra", suite=suite.text))
    assert not desk.accepts(fob, "000000")  # nothing was asked
    first, second = (desk.devices.challenge(fob.id) for _ in range(2))
    answers = [Secret(ocra.code(fob.mac, suite, suite.message(asked))) for asked in (first, second)]
    assert not desk.accepts(fob, answers[0])
    assert desk.accepts(fob, answers[1])
    assert not desk.accepts(fob, answers[1])
    third = desk.devices.challenge(fob.id)
    desk.turn(minutes=6)
    assert not desk.accepts(fob, ocra.code(fob.mac, suite, suite.message(third)))
    with pytest.raises(InvalidOtp):
        desk.devices.challenge(fob.id, "12345678")


@pytest.mark.parametrize("text", ["OCRA-1:HOTP-SHA256-8:C-QN08", "OCRA-1:HOTP-SHA512-8:QA10-T1M"])
def test_ocra_is_bound_to_a_transaction(desk: Desk, text: str) -> None:
    """With a counter or the time in it, a question of one's own may be asked; another one has another answer."""
    suite = ocra.Suite.from_text(text)
    fob = desk.register(
        OtpParameters(kind="ocra", suite=text), seed=b"1234567890123456789012345678901212345678901234567890123456789012"
    )

    def answer(question: str, counter: int) -> str:
        at = desk.now if suite.period else None
        return ocra.code(fob.mac, suite, suite.message(question, counter=counter if suite.counter else None, at=at))

    desk.devices.challenge(fob.id, "12345678")
    assert not desk.accepts(fob, answer("87654321", 0))
    right = answer("12345678", 3)
    assert desk.accepts(fob, right)
    desk.devices.challenge(fob.id, "12345678")
    assert not desk.accepts(fob, right)


def test_devices_are_listed_in_pages(desk: Desk) -> None:
    """In the order of their ids, all or those of one applicant; an id is given once."""
    for number in range(5):
        desk.devices.add(NewDevice(TOTP, applicant=f"a{number % 2}", id=f"d{number}", name="fob"))
    assert [one.id for one in desk.devices.listed(limit=2, after="d1")] == ["d2", "d3"]
    assert [one.id for one in desk.devices.listed(applicant="a1")] == ["d1", "d3"]
    with pytest.raises(AlreadyExists):
        desk.devices.add(NewDevice(TOTP, id="d3"))
    with pytest.raises(NotPermitted):
        desk.devices.for_export("d3", "qr")


@pytest.mark.parametrize("table", [{"tries": 0}, {"tries": True}, {"totp-back": 11}, {"hotp-ahead": "9"}, {"try": 3}])
def test_numbers_that_cannot_be_are_refused(table: dict[str, object]) -> None:
    """With the key that is wrong."""
    with pytest.raises(ValueError, match=next(iter(table))):
        policy_from(table)
    assert policy_from({"tries": 3, "totp-ahead": 0}) == DevicePolicy(tries=3, totp_ahead=0)


def test_what_has_locked_a_device_is_not_taken_back(desk: Desk) -> None:
    """Not by a used code that was on its way meanwhile: restored after it was suspended, the device is locked again."""
    fob = desk.register(HOTP)
    with desk.database.writing() as connection:
        charged = rows.charge(connection, fob.id, 1)
        assert charged is not None
        assert rows.lock(connection, fob.id, 1, desk.now)
        rows.refund(connection, fob.id, charged)
    desk.policy = DevicePolicy(tries=1)
    desk.devices.suspend(fob.id)
    assert desk.devices.restore(fob.id).state == "locked"
    assert not desk.accepts(fob, fob.press())
