"""A real card driver and daemon, an emulated card: pulled, reset, used by others and locked in the middle of work."""

import pytest

BATCH = 24
ONE_EACH = [1] * BATCH
UNCERTAIN = {"11 signature-uncertain": 1}


@pytest.fixture(scope="module")
def story(tell_story):
    return tell_story("card")


@pytest.mark.parametrize(
    "fault", ["pulled", "pulled and back", "pulled in a signature", "daemon stopped", "daemon restarted"]
)
def test_a_batch_goes_on_after_one_error(story, fault):
    """One ``signature-uncertain`` (exit status 11, retryable); then every document is signed, each once, at one login.

    The time is from when the card or the daemon is back to the next good signature.
    """
    assert story[fault]["seen"] == UNCERTAIN
    assert story[fault]["uses"] == ONE_EACH
    assert story[fault]["logins"] == 1
    assert story[fault]["seconds"] < 2


def test_a_card_pulled_before_its_answer_signs_again_only_when_asked(story):
    """The signature was made and lost: the caller is told that this is uncertain, and the second one is his own."""
    assert story["pulled before the answer"]["seen"] == UNCERTAIN
    assert story["pulled before the answer"]["uses"] == [*ONE_EACH[1:], 2]


def test_a_card_that_loses_power_in_a_signature_is_begun_anew(story):
    """Some more errors, all retryable, while the driver refuses the login and is restarted; then all is signed once."""
    fault = story["reset in a signature"]
    assert set(fault["seen"]) <= {"11 signature-uncertain", "11 device-failure", "6 token-removed"}
    assert fault["uses"] == ONE_EACH
    assert fault["seconds"] < 3


def test_another_process_that_logs_in_and_out_is_not_noticed(story):
    """The card forgets our login when another process ends: the PIN is given again, once, and nobody sees an error."""
    assert story["used by another process"]["seen"] == {}
    assert story["used by another process"]["uses"] == ONE_EACH
    assert story["used by another process"]["logins"] <= 2


def test_a_command_that_lost_its_card_finishes_when_it_is_run_again(story):
    """``dojang sign`` of many files ends with 11 where the card left; run again, it signs the rest, each file once."""
    assert story["command"]["ends"] == [11, 0]
    assert story["command"]["signed"] == [9, BATCH]
    assert story["command"]["uses"] == ONE_EACH


def test_no_try_of_the_pin_is_lost_to_any_fault(story):
    assert {facts.get("tries_left", 3) for facts in story.values() if isinstance(facts, dict)} == {3}


def test_an_undisturbed_batch_takes_one_login_and_one_signature_each(story):
    assert story["undisturbed"]["seen"] == {}
    assert story["undisturbed"]["uses"] == ONE_EACH
    assert story["undisturbed"]["logins"] == 0


def test_the_last_try_is_kept_and_a_locked_pin_is_unblocked_with_the_puk(story):
    """Two wrong PINs are told as wrong; with one try left nothing reaches the card unasked; after the PUK it works."""
    assert story["locking"] == ["7 pin-incorrect", "7 pin-incorrect", "8 pin-last-try", "8 pin-last-try"]
    assert story["tries_left_then"] == 1
    assert (story["last_try"], story["tries_left_at_last"]) == ("8 pin-locked", 0)
    assert story["locked"] == "8 pin-locked"
    assert (story["unblocked"], story["tries_left_after"]) == ("None", 3)
