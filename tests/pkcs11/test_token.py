"""Tokens are found by what they are called, initialised, their PINs changed and unblocked, wiped only by serial."""

import subprocess

import pytest

from dojang import errors
from dojang.pkcs11 import ModuleSearch, find_token, list_tokens, open_token
from dojang.secret import Secret


def test_a_token_is_found_by_label_serial_or_model(make_token, search):
    """Each of label, serial and both finds the same token; its address finds it again."""
    made = make_token()
    by_label = find_token(f"pkcs11:token={made.label}", search)
    by_serial = find_token(f"pkcs11:serial={made.serial}", search)
    assert by_label.info.serial == by_serial.info.serial == made.serial
    assert find_token(by_label.address, search).info == by_label.info
    assert "user-pin-initialized" in by_label.info.flag_names()


def test_two_tokens_of_one_label_are_an_error_with_both_addresses(make_token, search):
    """Nothing guesses: the message has both addresses, and either one works."""
    first, second = make_token("twins"), make_token("twins")
    with pytest.raises(errors.AmbiguousToken) as caught:
        find_token("pkcs11:token=twins", search)
    addresses = caught.value.facts["matches"].split(", ")
    assert {find_token(address, search).info.serial for address in addresses} == {first.serial, second.serial}


def test_an_absent_token_is_said_to_be_absent(search):
    with pytest.raises(errors.TokenNotFound):
        find_token("pkcs11:token=nobody", search)


def test_a_slot_or_library_attribute_must_match_too(make_token, search):
    """Slot and library attributes of the URI are honoured, not ignored."""
    made = make_token()
    with pytest.raises(errors.TokenNotFound):
        find_token(f"{made.uri};slot-description=elsewhere", search)
    with pytest.raises(errors.TokenNotFound):
        find_token(f"{made.uri};library-manufacturer=somebody", search)
    assert find_token(f"{made.uri};library-manufacturer=SoftHSM", search).info.serial == made.serial


def test_a_token_made_by_another_process_is_found(softhsm_dir, search):
    """SoftHSM shows new tokens only after a restart: a search that finds nothing looks again, when nobody is inside."""
    list_tokens(search)
    command = ["softhsm2-util", "--init-token", "--free", "--label", "foreign", "--so-pin", "12345678", "--pin", "1234"]
    subprocess.run(command, check=True, capture_output=True)
    assert find_token("pkcs11:token=foreign", search).info.label == "foreign"


def test_initialising_twice_is_refused(make_token, search, guard):
    """A slot that holds an initialised token is not initialised over; wiping is another verb."""
    made = make_token()
    slot = find_token(made.uri, search).slot
    with pytest.raises(errors.AlreadyExists):
        slot.initialize(label="x", so_pin=Secret("12345678"), user_pin=Secret("1234"), guard=guard)


def test_labels_are_checked_before_anything_is_erased(search, guard):
    """A label that does not fit 32 bytes is refused; Korean letters count three bytes each."""
    slot = list_tokens(search).empty_slots[0]
    for label in ("", " ", "x" * 33, "도" * 11, "a\0b"):
        with pytest.raises(errors.Usage):
            slot.initialize(label=label, so_pin=Secret("12345678"), user_pin=Secret("1234"), guard=guard)


def test_pin_changes_and_the_old_one_no_longer_opens(make_token, search, guard):
    made = make_token()
    find_token(made.uri, search).change_pin(Secret(made.pin), Secret("새비밀번호"), guard)
    with open_token(made.uri, Secret("새비밀번호"), search=search, guard=guard) as opened:
        opened.log_in()
    with (
        pytest.raises(errors.PinIncorrect),
        open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened,
    ):
        opened.log_in()


def test_a_wrong_old_pin_changes_nothing_and_is_not_tried_twice(make_token, search, guard):
    made = make_token()
    token = find_token(made.uri, search)
    with pytest.raises(errors.PinIncorrect):
        token.change_pin(Secret("0000"), Secret("5678"), guard)
    assert token.refresh().user_pin.count_low
    with pytest.raises(errors.PinKnownWrong):
        token.change_pin(Secret("0000"), Secret("5678"), guard)
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        opened.log_in()


def test_unblocking_sets_a_new_pin_and_forgets_the_failures(make_token, search, guard):
    """After the SO set it, a PIN that was wrong before is right, and is tried."""
    made = make_token()
    token = find_token(made.uri, search)
    with pytest.raises(errors.PinIncorrect):
        token.change_pin(Secret("4321"), Secret("5678"), guard)
    token.unblock_pin(Secret(made.so_pin), Secret("4321"), guard)
    with open_token(made.uri, Secret("4321"), search=search, guard=guard) as opened:
        opened.log_in()
    with pytest.raises(errors.PinIncorrect) as caught:
        token.unblock_pin(Secret("00000000"), Secret("9999"), guard)
    assert caught.value.facts["role"] == "so"


def test_an_impossible_new_pin_is_refused_before_a_try_is_spent(make_token, search, guard):
    made = make_token()
    token = find_token(made.uri, search)
    with pytest.raises(errors.PinUnusable):
        token.change_pin(Secret("wrong old one"), Secret("123"), guard)
    assert not token.refresh().user_pin.count_low


def test_wiping_asks_for_the_right_serial(make_token, search, guard):
    """The wrong serial changes nothing; the right one erases every key."""
    made = make_token()
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        opened.generate_key_pair("ec-p256", label="k")
    token = find_token(made.uri, search)
    with pytest.raises(errors.SerialMismatch):
        token.wipe(serial="0000", so_pin=Secret(made.so_pin), guard=guard)
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        assert len(list(opened.keys())) == 1
    wiped = token.wipe(serial=made.serial, so_pin=Secret(made.so_pin), guard=guard)
    assert wiped.info.label == made.label
    with pytest.raises(errors.PinNotSet), open_token(wiped.address, Secret(made.pin), search=search) as opened:
        opened.log_in()


def test_no_module_at_all_says_how_to_get_one():
    with pytest.raises(errors.ModuleUnloadable):
        find_token("pkcs11:token=x", ModuleSearch(module="/nowhere/lib.so", discover=False))


def test_pin_value_in_the_uri_opens_the_token(make_token, search, guard):
    made = make_token()
    with open_token(f"{made.uri}?pin-value={made.pin}", search=search, guard=guard) as opened:
        opened.log_in()
    with open_token(f"{made.uri}?pin-source={made.pin_source}", search=search, guard=guard) as opened:
        opened.log_in()


def test_a_token_without_a_keypad_is_not_asked_for_one(make_token, search, guard):
    """``pinpad`` on a token that has none says so, and no login is tried."""
    made = make_token()
    with open_token(made.uri, lambda request: None, search=search, guard=guard) as opened:
        with pytest.raises(errors.SecretUnavailable):
            opened.log_in()
        assert not opened.token.refresh().user_pin.count_low


def test_without_a_pin_only_public_objects_are_seen(make_token, search, guard):
    """No PIN is invented: what needs the login says so, what does not works."""
    made = make_token()
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        opened.generate_key_pair("ec-p256", label="k")
    with open_token(made.uri, search=search, guard=guard) as opened:
        assert [found.type for found in opened.objects()] == ["public"]
        with pytest.raises(errors.LoginRequired):
            list(opened.keys())
