"""An isolated SoftHSM2: what is made in it, who sees it, and what is left of it."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dojang.testing.modules.parts import program
from dojang.testing.setup import BringUpFailed
from dojang.testing.softhsm import softhsm


@pytest.fixture(scope="module")
def hsm():
    with softhsm() as one:
        yield one


def tokens_seen(setup) -> dict[str, str]:
    """Labels and serials of the tokens that pkcs11-tool, in a process of its own, sees where ``setup`` belongs."""
    tool = ["pkcs11-tool", "--module", setup.module, "--list-token-slots"]
    shown = subprocess.run(tool, env=os.environ | setup.environment, capture_output=True, text=True, check=True).stdout
    facts = [line.split(":", 1)[1].strip() for line in shown.splitlines() if "token label" in line or "serial" in line]
    return dict(zip(facts[::2], facts[1::2], strict=True))


def test_a_token_is_there_for_everybody(hsm):
    """Label and serial are those that another program sees, and both PINs are right."""
    setup = hsm.token("Hong Kim")
    assert tokens_seen(setup)["Hong Kim"] == setup.serial
    tool = ["pkcs11-tool", "--module", setup.module, "--token-label", setup.label, "--login"]
    as_user, as_officer = ["--pin", "env:PIN", "-O"], ["--login-type", "so", "--so-pin", "env:SO", "--init-pin"]
    pins = {"PIN": setup.pin, "SO": setup.so_pin, "NEW": "1234"}
    for words in (as_user, [*as_officer, "--new-pin", "env:NEW"]):
        environment = os.environ | setup.environment | pins
        run = subprocess.run([*tool, *words], env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr


def test_pins_are_random_and_private(hsm):
    """Each token has PINs of its own, in files that only their owner reads; a token does not show them in its repr."""
    one, other = hsm.token(), hsm.token()
    assert len({one.pin, one.so_pin, other.pin, other.so_pin}) == 4
    for source, pin in ((one.pin_source, one.pin), (one.so_pin_source, one.so_pin)):
        path = Path(source.removeprefix("file:"))
        assert path.read_text() == pin
        assert path.stat().st_mode & 0o777 == 0o600
    assert one.pin not in repr(one)
    assert one.so_pin not in repr(one)


def test_what_is_wanted_can_be_said(hsm):
    """Label and PINs may be given."""
    setup = hsm.token("Wanted", pin="1234", so_pin="87654321")
    assert (setup.label, setup.pin, setup.so_pin) == ("Wanted", "1234", "87654321")
    assert tokens_seen(setup)["Wanted"] == setup.serial


def test_a_pin_that_cannot_be_is_refused(hsm):
    """SoftHSM2's own words say why a token could not be made, and nothing of it stays."""
    before = set(hsm.folder.iterdir())
    with pytest.raises(BringUpFailed, match="4-255 characters"):
        hsm.token("Refused", pin="123")
    assert set(hsm.folder.iterdir()) == before
    assert "Refused" not in tokens_seen(hsm.token())


def test_no_pin_is_in_the_list_of_processes(tmp_path, monkeypatch):
    """The program that makes a token gets its PINs through a terminal, not as arguments."""
    words = tmp_path / "words"
    (tmp_path / "softhsm2-util").write_text(f'#!/bin/sh\necho "$@" >{words}\nexec /usr/bin/softhsm2-util "$@"\n')
    (tmp_path / "softhsm2-util").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with softhsm() as one:
        setup = one.token("Quiet")
    assert "Quiet" in words.read_text()
    assert setup.pin not in words.read_text()
    assert setup.so_pin not in words.read_text()


def test_two_are_apart():
    """Neither sees the tokens of the other, and the folder of each is gone at its end."""
    with softhsm() as one, softhsm() as other:
        here, there = one.token("Here"), other.token("There")
        assert set(tokens_seen(here)) == {"Here"}
        assert set(tokens_seen(there)) == {"There"}
    assert not one.folder.exists()
    assert not other.folder.exists()


def test_many_threads_may_ask(hsm):
    """Eight threads get eight tokens, all of them whole."""
    made = []
    threads = [threading.Thread(target=lambda: made.append(hsm.token())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = tokens_seen(made[0])
    assert {setup.label: setup.serial for setup in made}.items() <= seen.items()


def test_it_lies_in_memory(hsm):
    """Where there is a tmpfs the folder is on it, open to its owner alone."""
    assert hsm.folder.parent == Path("/dev/shm")
    assert hsm.folder.stat().st_mode & 0o777 == 0o700


def test_a_killed_process_leaves_nothing_for_long():
    """The next one to come removes the folder of a process that was killed, and touches none that is in use."""
    program = (
        "from dojang.testing.softhsm import softhsm\nwith softhsm() as one: print(one.folder, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True) as child:
        folder = Path(child.stdout.readline().strip())
        with softhsm():
            assert folder.exists()
        child.kill()
    with softhsm():
        assert not folder.exists()


def story(program: str) -> dict[str, object]:
    """What a program prints as JSON at its end; a process of its own, as SoftHSM2 is loaded into it."""
    environment = {name: value for name, value in os.environ.items() if name != "SOFTHSM2_CONF"}
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


OTHER_BINDINGS = {
    "python-pkcs11": """
import pkcs11
def use(path):
    return pkcs11.lib(path)
def labels(library):
    return [token.label for token in library.get_tokens() if token.label]
""",
    "PyKCS11": """
import PyKCS11
def use(path):
    library = PyKCS11.PyKCS11Lib()
    library.load(path)
    return library
def labels(library):
    infos = [library.getTokenInfo(slot) for slot in library.getSlotList(tokenPresent=True)]
    return [info.label.strip() for info in infos if info.flags & PyKCS11.CKF_TOKEN_INITIALIZED]
""",
}


@pytest.mark.parametrize("binding", OTHER_BINDINGS)
def test_other_bindings_see_tokens_made_later(binding):
    """A binding that has SoftHSM2 in use sees each new token at once, and its library stays its own."""
    seen = story(
        OTHER_BINDINGS[binding]
        + """
import json
from dojang.testing.softhsm import softhsm
with softhsm() as hsm, hsm.in_this_process():
    hsm.token("First")
    library = use(str(hsm.module))
    before = labels(library)
    hsm.token("Second")
    print(json.dumps({"before": before, "after": labels(library)}))
"""
    )
    assert seen["before"] == ["First"]
    assert sorted(seen["after"]) == ["First", "Second"]


@pytest.mark.parametrize("binding", OTHER_BINDINGS)
def test_a_library_in_use_is_left_alone(binding, tmp_path):
    """A binding that was there first keeps its tokens; a warning says so, and new processes see the token for tests."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    told = story(
        f"import os\nos.environ['SOFTHSM2_CONF'] = '{tmp_path}/conf'\n"
        + OTHER_BINDINGS[binding]
        + """
import json, subprocess, warnings
from dojang.testing.softhsm import softhsm
with softhsm() as hsm, warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    library = use(str(hsm.module))
    with hsm.in_this_process():
        setup = hsm.token("Test")
        child = subprocess.run(["softhsm2-util", "--show-slots"], capture_output=True, text=True).stdout
    print(json.dumps({"here": labels(library), "there": child, "warnings": [str(one.message) for one in caught],
                      "after": os.environ["SOFTHSM2_CONF"]}))
"""
    )
    assert told["here"] == []
    assert "Test" in told["there"]
    assert ["in use in this process already" in text for text in told["warnings"]] == [True]
    assert list((tmp_path / "tokens").iterdir()) == []
    assert told["after"] == f"{tmp_path}/conf"


DOJANG = """
import json, os
from dojang.pkcs11 import ModuleSearch, list_tokens, open_token
from dojang.secret import Secret
from dojang.testing.softhsm import softhsm
def labels(hsm):
    search = ModuleSearch(module=str(hsm.module), discover=False)
    return sorted(token.info.label for token in list_tokens(search).tokens)
"""


def test_dojang_turns_to_it_and_away():
    """dojang in this process sees each new token though others are open, and afterwards works as it was told before."""
    told = story(
        DOJANG
        + """
with softhsm() as old, softhsm() as hsm:
    with old.in_this_process():
        old.token("Old")
        assert labels(old) == ["Old"]
        with hsm.in_this_process():
            first = hsm.token("First")
            search = ModuleSearch(module=str(hsm.module), discover=False)
            with open_token(first.uri, Secret(first.pin), search=search) as token:
                token.log_in()
                hsm.token("Second")
                inside = labels(hsm)
        outside = labels(old)
    print(json.dumps({"inside": inside, "outside": outside, "left": os.environ.get("SOFTHSM2_CONF")}))
"""
    )
    assert told == {"inside": ["First", "Second"], "outside": ["Old"], "left": None}


def test_an_open_token_is_not_closed():
    """dojang with a token open is left with it, and a warning says that this process will not see the new one."""
    told = story(
        DOJANG
        + """
import warnings
with softhsm() as old, old.in_this_process():
    first = old.token("Old")
    search = ModuleSearch(module=str(old.module), discover=False)
    with open_token(first.uri, Secret(first.pin), search=search) as token:
        token.log_in()
        with warnings.catch_warnings(record=True) as caught, softhsm() as hsm, hsm.in_this_process():
            hsm.token("New")
            seen = labels(old)
        token.generate_key_pair("ec-p256", label="still")
    print(json.dumps({"seen": seen, "warnings": [one.category.__name__ for one in caught]}))
"""
    )
    assert told == {"seen": ["Old"], "warnings": ["SoftHsmInUse"]}


def test_nothing_is_loaded_to_look(hsm):
    """Making a token loads neither SoftHSM2 nor anything heavy into a process that does not use them."""
    told = story(
        """
import json, sys
from dojang.testing.softhsm import softhsm
with softhsm() as hsm, hsm.in_this_process():
    hsm.token()
heavy = {"pytest", "cryptography", "ctypes", "click", "asn1crypto", "sqlite3"}
print(json.dumps({"heavy": sorted(heavy & set(sys.modules)), "maps": "softhsm" in open("/proc/self/maps").read()}))
"""
    )
    assert told == {"heavy": [], "maps": False}


def test_a_missing_softhsm_is_named(monkeypatch):
    """Without SoftHSM2 the error names the package to install."""
    monkeypatch.setattr("dojang.testing.softhsm.program", lambda name, package: program(f"no-{name}", package))
    with pytest.raises(BringUpFailed, match="apt-get install softhsm2"), softhsm():
        raise AssertionError("nothing to enter")
