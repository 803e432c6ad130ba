"""``dojang token watch``: a line for each event, and the ways to end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest


@pytest.fixture
def token(make_token):
    return make_token(f"watch-{uuid4().hex[:8]}")


@pytest.fixture
def watching(home, softhsm_module) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts ``dojang token watch ARGS`` and leaves it running."""
    running: list[subprocess.Popen[str]] = []

    def start(*args: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "dojang", "token", "watch", *args]
        environment = {**os.environ, "DOJANG_MODULE": softhsm_module, "LC_ALL": "C.UTF-8"}
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_every_line_is_a_document(watching, token, make_token) -> None:
    """What is there comes first and is marked; a new token is the next line, at once, with an address to paste."""
    process = watching("--json", "--count", "1")
    first = json.loads(process.stdout.readline())
    assert (first["schema"], first["command"], first["ok"]) == (1, "token watch", True)
    made = make_token(f"late-{uuid4().hex[:8]}")
    lines = [first, *map(json.loads, process.stdout)]
    assert process.wait(timeout=30) == 0
    there = [line["data"]["token"]["label"] for line in lines if line["data"]["initial"]]
    assert token.label in there
    (event,) = [line["data"] for line in lines if not line["data"]["initial"]]
    assert (event["event"], event["token"]["label"], event["token"]["address"]) == ("insert", made.label, made.uri)
    assert event["at"].endswith("Z")
    assert event["token"]["initialized"] is True


def test_an_address_narrows_it_and_a_timeout_is_a_good_end(run_dojang, token, make_token) -> None:
    """Only the token that is named is told of; when the time is up the exit status is 0."""
    make_token()
    done = run_dojang("token", "watch", token.uri, "--timeout", "1", "--json")
    (line,) = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, line["data"]["token"]["serial"]) == (0, token.serial)
    assert run_dojang("token", "watch", token.uri, "--timeout", "1", "--quiet").stdout == f"{token.uri}\n"


def test_ctrl_c_ends_it_between_two_lines(watching, token) -> None:
    """130, and every line that was printed is whole."""
    process = watching("--json")
    lines = [process.stdout.readline()]
    process.send_signal(signal.SIGINT)
    lines += process.stdout.readlines()
    assert process.wait(timeout=30) == 130
    assert all(json.loads(line)["ok"] for line in lines)


def test_for_people_a_line_says_what_happened(run_dojang, token) -> None:
    """Label, serial and address are in the line."""
    done = run_dojang("token", "watch", token.uri, "--timeout", "1")
    assert f"is there: {token.label} ({token.serial}) {token.uri}" in done.stdout


def test_without_a_module_there_is_nothing_to_watch(run_dojang, tmp_path) -> None:
    """A module that is named and cannot be loaded is exit status 5 with the reason, as everywhere."""
    rubbish = tmp_path / "rubbish.so"
    rubbish.write_bytes(b"no library")
    done = run_dojang("token", "watch", "--module", rubbish, "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["details"]["reason"]) == (5, "not-a-library")
    assert run_dojang("token", "watch", "--module", tmp_path / "missing.so").returncode == 5
