"""Hooks around a renewal: what they are told, what they are not, and what their failing stops."""

import contextlib
import json
from pathlib import Path

import pytest

TELL = """#!/bin/sh
env | grep '^DOJANG_' | sort > "$0.env"
echo "$DOJANG_HOOK $DOJANG_OUTCOME $DOJANG_TRANSACTION" >> "$(dirname "$0")/told"
echo "to standard output"
exit ${STATUS:-0}
"""


@pytest.fixture
def hook(tmp_path: Path):
    """Makes a program; ``hook("pre")`` is its path, what it was told lies beside it."""

    def make(name: str, text: str = TELL) -> Path:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o700)
        return path

    make.told = lambda: [line.split() for line in (tmp_path / "told").read_text().splitlines()]
    return make


def _environment(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.with_name(f"{path.name}.env").read_text().splitlines())


def test_what_hooks_are_told(desk, hook) -> None:
    """Address, subject, term and outcome; one transaction for both; nothing of it on standard output."""
    address = desk.issue("hooked")
    pre, post = hook("pre"), hook("post")
    desk.configure(f'[renew]\npre-hook = ["{pre}", "a word"]\npost-hook = ["{post}"]\n')
    data = desk.data("renew", "now", address)
    (first, second) = hook.told()
    assert (first[:2], second[:2]) == (["pre", "renewing"], ["post", "renewed"])
    assert first[2] == second[2]
    before, after = _environment(pre), _environment(post)
    assert before["DOJANG_ADDRESS"] == after["DOJANG_ADDRESS"] == address
    assert after["DOJANG_SUBJECT"] == "CN=hooked,C=KR"
    assert before["DOJANG_NOT_AFTER"] == data["previous"]["not_after"]
    assert after["DOJANG_NOT_AFTER"] == data["credential"]["not_after"]


def test_hooks_inherit_no_secret(desk, hook) -> None:
    """The variables that PINs and passwords come from are taken out of their environment, all others stay."""
    address = desk.issue("secret", desk.token)
    pre = hook("pre", "#!/bin/sh\nenv > $0.env\n")
    pin = Path(desk.settings.partition("pin-source")[2].split('"')[1].removeprefix("file:")).read_text().strip()
    environment = {**desk.environment, "MY_PIN": pin, "OTHER": "stays"}
    desk.environment.update(environment)
    assert desk.run("renew", "now", address, "--pin-source", "env:MY_PIN", "--pre-hook", pre).returncode == 0
    found = _environment(pre)
    assert found["OTHER"] == "stays"
    assert "MY_PIN" not in found


def test_a_pre_hook_that_fails(desk, hook) -> None:
    """Nothing is made, the error names the hook and its status, and the post hook hears of the failure."""
    address = desk.issue("stopped")
    desk.environment["STATUS"] = "3"
    run = desk.run("renew", "now", address, "--pre-hook", hook("pre"), "--post-hook", hook("post"), "--json")
    error = json.loads(run.stdout)["error"]
    assert (run.returncode, error["code"]) == (9, "hook-failed")
    assert "3" in error["message"]
    assert [told[:2] for told in hook.told()] == [["pre", "renewing"], ["post", "failed"]]
    (found,) = desk.data("cert", "list", "npki:")["credentials"]
    assert found["address"] == address
    assert len(desk.data("ca", "list")["certificates"]) == 1


def test_a_post_hook_that_fails(desk, hook) -> None:
    """The renewal stands; a warning says what failed, and the exit status is 15."""
    address = desk.issue("warned")
    run = desk.run("renew", "now", address, "--post-hook", "/nowhere/to be found", "--json")
    data = json.loads(run.stdout)["data"]
    assert run.returncode == 15
    assert [one["code"] for one in data["warnings"]] == ["hook-failed"]
    assert data["credential"]["state"] == "valid"
    assert "/nowhere/to" in run.stderr


def test_a_hook_that_takes_too_long(desk, hook) -> None:
    """It is ended with what it started, and counts as failed."""
    address = desk.issue("slow")
    slow = hook("slow", "#!/bin/sh\necho $$ > $0.pid\nsleep 60 &\nwait\n")
    desk.configure(f'[renew]\npre-hook = ["{slow}"]\nhook-timeout = 0.5\n')
    run = desk.run("renew", "now", address, "--json")
    assert (run.returncode, json.loads(run.stdout)["error"]["code"]) == (9, "hook-failed")
    assert _alive_in_group(slow.with_name("slow.pid").read_text().strip()) == []


def _alive_in_group(group: str) -> list[str]:
    alive = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _parent, own, *_rest = path.read_text().rpartition(")")[2].split()
            alive += [path.parent.name] if own == group and state != "Z" else []
    return alive


def test_hooks_are_words_not_shell(desk, hook) -> None:
    """What a shell would act on is handed over as it stands."""
    address = desk.issue("words")
    words = hook("words", '#!/bin/sh\nprintf "%s|" "$@" > $0.args\n')
    assert desk.run("renew", "now", address, "--pre-hook", f"{words} '$(id)' ; a*").returncode == 0
    assert words.with_name("words.args").read_text() == "$(id)|;|a*|"
