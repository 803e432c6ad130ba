"""What others do to a token, in the same process and in other ones, while eight threads sign on it."""

import subprocess
import sys

import pytest

from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret

ROUNDS, LOGGED_OUT_BY = 5, 3


@pytest.fixture(scope="module")
def story(tell_story):
    return tell_story("neighbours")


def test_logging_out_closing_and_finalising_are_survived(story):
    """C_Logout, C_CloseAllSessions and C_Finalize by others, five times each: nobody who signs sees anything of it."""
    assert story["errors"] == {}
    assert story["not_retryable"] == []
    assert story["alive"] == 8
    assert max(story["seconds"].values()) < 2


def test_nothing_is_signed_twice_or_wrong(story):
    assert story["made"] == story["signed"] > 0
    assert story["wrong"] == 0


def test_the_pin_is_given_once_for_each_lost_login(story):
    """Now and then twice, where all sessions ended at once; never wrong, and never because of another process."""
    assert ROUNDS * LOGGED_OUT_BY <= story["logins"] <= 2 * ROUNDS * LOGGED_OUT_BY
    assert story["tries_wasted"] == []


def test_a_fork_in_the_middle_of_signing_harms_neither_side(story):
    """Forty forks under eight signing threads: every child signs with both keys and ends, the parent goes on."""
    assert story["children"] == ["0"]


def test_keys_of_a_token_that_was_initialised_anew_are_gone(story):
    """C_InitToken by another process: ``not-found``. Nothing else answers to their names."""
    assert story["wiped"] == ["3 not-found"] * 2


def test_new_keys_under_the_old_names_never_sign_for_the_old_ones(story):
    """Made by another process under the same label and CKA_ID: ``key-replaced`` until they are opened themselves."""
    assert story["made_anew"] == ["3 key-replaced"] * 2
    assert story["opened_anew"] == [True, True]


def test_keys_end_with_the_opening_they_came_from(story):
    """After ``close`` a key says so instead of signing on a login that somebody else may have."""
    assert story["closed"] == ["2 token-closed"] * 2


def test_processes_that_start_at_once_all_find_their_token_and_log_in(race_token, tell_story, softhsm_module):
    """Sixty starts at the same moment, three times: SoftHSM hides a token that another one writes, nobody sees that."""
    made = race_token
    story = tell_story("start_race", made.uri, made.pin_source, softhsm_module, 60, 3)
    assert story["failures"] == []


def test_commands_that_start_at_once_all_sign(race_token, softhsm_module, home, tmp_path):
    """Forty times ``dojang sign raw`` at the same moment: forty signatures."""
    (tmp_path / "letter").write_text("letter")
    command = [sys.executable, "-m", "dojang", "--module", softhsm_module, "--pin-source", race_token.pin_source]
    command += ["sign", "raw", "--key", f"{race_token.uri};object=raced", tmp_path / "letter", "-o"]
    runs = [
        subprocess.Popen([*command, tmp_path / f"{number}"], stderr=subprocess.PIPE, text=True) for number in range(40)
    ]
    ends = [(run.communicate()[1], run.returncode) for run in runs]
    assert [end for end in ends if end[1]] == []


@pytest.fixture(scope="module")
def race_token(make_token, softhsm_module):
    made = make_token()
    search = ModuleSearch(module=softhsm_module, discover=False)
    with open_token(made.uri, Secret(made.pin), search=search) as token:
        token.generate_key_pair("ec-p256", label="raced")
    return made
