"""A TPM answers too many wrong PINs with a lockout of the whole chip: what is said, what it costs, how it ends."""

import pytest


@pytest.fixture(scope="module")
def story(tell_story):
    return tell_story("tpm")


def test_three_wrong_pins_lock_the_chip_one_try_each(story):
    assert story["before"]
    assert story["wrong"] == ["7 pin-incorrect"] * 3


def test_the_lockout_is_told_from_a_lock_of_the_pin(story):
    """Exit status 8, with the command that ends a lockout: the security officer is locked out, too."""
    for said, _calls, advice in story["locked"]:
        assert said == "8 pin-locked"
        assert "tpm2_dictionarylockout --clear-lockout" in advice
        assert "pin unblock" not in advice


def test_every_ask_costs_one_try_at_most(story):
    """One C_Login for each time that a right PIN was asked for, none for a PIN that is known to be wrong."""
    assert [calls for _said, calls, _advice in story["locked"]] == [1, 1]
    assert story["known"][:2] == ["7 pin-known-wrong", 0]


def test_a_signature_in_the_lockout_is_told_as_uncertain(story):
    """Who was logged in before cannot sign either; the TPM's answer does not say that it refused."""
    assert story["open_elsewhere"] == "11 signature-uncertain"


def test_after_the_lockout_the_same_pin_signs(story):
    assert story["cleared"] == "True"
    assert story["seconds"] < 5
