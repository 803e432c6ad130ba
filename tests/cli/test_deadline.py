"""--timeout ends a command that waits too long, whatever it waits for."""

import json
import os


def test_a_command_that_waits_too_long_is_ended(make_token, run_dojang, tmp_path) -> None:
    """A PIN that never comes: exit 11, one JSON document, and the advice to run it again."""
    token, pipe = make_token(), tmp_path / "pipe"
    os.mkfifo(pipe)
    keeps_it_open = os.open(pipe, os.O_RDWR)
    done = run_dojang("key", "list", token.uri, "--pin-source", f"file:{pipe}", "--timeout", "0.5", "--json")
    os.close(keeps_it_open)
    assert done.returncode == 11
    assert json.loads(done.stdout)["error"]["code"] == "timed-out"


def test_a_command_in_time_is_left_alone(run_dojang) -> None:
    """Within the time nothing changes."""
    done = run_dojang("token", "list", "--timeout", "60", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["ok"]
