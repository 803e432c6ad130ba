"""A signing service on three tokens under faults in a random order; a failure names the seed that repeats it."""

import random

import pytest

THREADS = {"softhsm": 4, "p11-kit": 3, "card": 2}
COSTS_A_LOGIN = {
    "softhsm": ("log_out", "close_all", "finalise"),
    "p11-kit": ("kill_server",),
    "card": (
        *("pull_card", "pull_in_signature", "reset_card", "card_says_no", "restart_daemon", "card_elsewhere"),
        "slow_card",
    ),
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seconds", [12, pytest.param(180, marks=pytest.mark.soak)])
def test_a_service_weathers_a_storm(tell_story, seconds):
    """No wrong signature, no lost key, no dead thread, no wasted PIN, and every error was one that may be retried."""
    seed = random.SystemRandom().randrange(1 << 32)
    story = tell_story("storm", seconds, seed, timeout=seconds + 150)
    again = f"python tests/faults/stories/storm.py {seconds} {seed}: {story}"
    assert max(story["recovered"].values()) < 30, again
    assert story["children"] == [], again
    assert story["kept"] == dict.fromkeys(THREADS, True), again
    assert story["card_tries"] == 3, again
    for name, deeds in COSTS_A_LOGIN.items():
        part, losses = story[name], sum(story["happened"].get(deed, 0) for deed in deeds)
        assert part["alive"] == THREADS[name], again
        assert part["wrong"] == 0, again
        assert part["not_retryable"] == [], again
        assert part["made"] == part["signed"] > 0, again
        assert part["logins"] <= 2 * losses + 2, again
    assert story["softhsm"]["errors"] == {}, again
