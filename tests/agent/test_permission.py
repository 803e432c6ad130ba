"""Who may have what signed: by program, and by a person's yes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dojang import errors
from dojang.agent.signer import find_signer

SSH_ADD = shutil.which("ssh-add")


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "document"
    path.write_bytes(b"to be signed")
    return path


def listed(home) -> int:
    """How many keys ``ssh-add`` sees."""
    done = subprocess.run(["ssh-add", "-L"], env=home.environment(), capture_output=True, text=True)
    return done.stdout.count("pkcs11:")


def test_only_for_one_program(home, seal, document):
    """A key that is for ``ssh-add`` is shown to it, and refused to dojang in words; ``--no-agent`` leaves it aside."""
    home.start("--key", seal.key("ec-p256"), "--pin-source", seal.pin_source, "--allow-program", SSH_ADD)
    assert listed(home) == 1
    words = ("sign", "raw", "--key", seal.key("ec-p256"), document)
    refused = home.dojang(*words, "--json")
    assert refused.returncode == 9
    assert '"agent-refused"' in refused.stdout
    assert home.dojang(*words, "--no-agent", "--no-input").returncode == 2
    assert home.dojang(*words, "--pin-source", seal.pin_source).returncode == 0


def test_for_the_right_program(home, seal, document):
    """The interpreter that runs dojang is the program to name; others see nothing."""
    program = os.path.realpath(sys.executable)
    home.start("--key", seal.key("ec-p256"), "--pin-source", seal.pin_source, "--allow-program", program)
    assert listed(home) == 0
    assert home.dojang("sign", "raw", "--key", seal.key("ec-p256"), document).returncode == 0


def test_a_copy_is_another_program(home, seal, tmp_path):
    """Programs are told by device and inode, not by name."""
    copy = shutil.copy(SSH_ADD, tmp_path / "ssh-add")
    home.start("--key", seal.key("ec-p256"), "--pin-source", seal.pin_source, "--allow-program", SSH_ADD)
    done = subprocess.run([copy, "-L"], env=home.environment(), capture_output=True, text=True)
    assert "pkcs11:" not in done.stdout


def test_scripts_cannot_be_told_apart(home, seal, program):
    """A script runs as its interpreter, so naming one is refused before anything is started."""
    script = program("sign.sh", "true")
    done = home.dojang(
        "agent", "start", "--key", seal.key("ec-p256"), "--pin-source", seal.pin_source, "--allow-program", script
    )
    assert done.returncode == 9
    assert "interpreter" in done.stderr


def test_confirmation(home, seal, document, program, tmp_path):
    """Each signature asks the person; a no is an error that says so, and finding a key asks nobody."""
    asked = tmp_path / "asked"
    ask = program("ask", f'echo "$SSH_ASKPASS_PROMPT $1" >>{asked}; test -e {tmp_path}/yes')
    words = ("--key", seal.key("ec-p256"), "--pin-source", seal.pin_source, "--confirm")
    home.start(*words, env={"DOJANG_CONFIRM": str(ask)})
    sign = ("sign", "raw", "--key", seal.key("ec-p256"), document)
    refused = home.dojang(*sign, "--json")
    assert refused.returncode == 9
    assert '"agent-refused"' in refused.stdout
    assert not document.with_suffix(".sig").exists()
    assert asked.read_text().count("\n") == 1
    (tmp_path / "yes").touch()
    assert home.dojang(*sign).returncode == 0
    assert asked.read_text().count(f"confirm Sign with {seal.key('ec-p256')}? ") == 2


def test_confirmation_by_nobody(home, seal):
    """Without a program to ask with, such an agent does not start."""
    words = ("--key", seal.key("ec-p256"), "--pin-source", seal.pin_source, "--confirm")
    done = home.dojang("agent", "start", *words, env={"SSH_ASKPASS": "", "DOJANG_CONFIRM": ""})
    assert done.returncode == 9
    assert "SSH_ASKPASS" in done.stderr
    assert home.dojang("agent", "status").returncode == 3


def test_a_key_that_is_always_authenticated(home, seal, make_token, softhsm_module, program, tmp_path, monkeypatch):
    """Such a key never signs silently: each signature is confirmed although nobody asked for that."""
    token = make_token()
    pair = ("--keypairgen", "--key-type", "EC:prime256v1", "--label", "careful", "--id", "01", "--always-auth")
    made = subprocess.run(
        ["pkcs11-tool", "--module", softhsm_module, "--token-label", token.label, "--login", "--pin", "env:PIN", *pair],
        env={**os.environ, "PIN": token.pin},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    asked = tmp_path / "asked"
    ask = program("ask", f"echo x >>{asked}")
    words = ("--key", f"{token.uri};object=careful", "--pin-source", token.pin_source)
    assert home.dojang("agent", "start", *words, env={"SSH_ASKPASS": ""}).returncode == 9
    home.start(*words, env={"SSH_ASKPASS": str(ask)})
    monkeypatch.setenv("DOJANG_HOME", str(home.folder))
    signer = find_signer(f"{token.uri};object=careful")
    assert signer.at_once == 1
    for _ in range(3):
        assert len(signer.sign_digest(bytes(32), "sha256", plain=True)) == 64
    assert asked.read_text() == "x\n" * 3


def test_two_rules_for_two_keys(home, seal, monkeypatch):
    """What is said of one key does not go for another."""
    home.start("--key", seal.key("ec-p256"), "--pin-source", seal.pin_source, "--allow-program", SSH_ADD)
    home.start("--key", seal.key("rsa-2048"), "--pin-source", seal.pin_source)
    monkeypatch.setenv("DOJANG_HOME", str(home.folder))
    assert find_signer(seal.key("rsa-2048")) is not None
    with pytest.raises(errors.AgentRefused):
        find_signer(seal.key("ec-p256"))
    assert listed(home) == 2
    home.start("--key", seal.key("ec-p256"), "--pin-source", seal.pin_source)  # named again with other rules
    assert find_signer(seal.key("ec-p256")) is not None


def test_more_takes_the_pin(home, seal, document):
    """Nobody gets a key more, or a rule less, from a running agent without the PIN; stricter rules are free."""
    key, other = seal.key("ec-p256"), seal.key("rsa-2048")
    home.start("--key", key, "--pin-source", seal.pin_source, "--allow-program", SSH_ADD, "--allow-program", "/bin/ls")
    for words in (("--key", key), ("--key", key, "--allow-program", sys.executable), ("--key", other)):
        refused = home.dojang("agent", "start", *words, "--no-input", "--json")
        assert (refused.returncode, '"input-required"' in refused.stdout) == (2, True)
    assert len(home.start("--key", key, "--allow-program", SSH_ADD, "--no-input")["added"]) == 1
    assert listed(home) == 1
    assert home.dojang("sign", "raw", "--key", key, document, "--no-input").returncode == 9
    home.start("--key", key, "--key", other, "--pin-source", seal.pin_source)
    assert home.dojang("sign", "raw", "--key", key, document, "--no-input").returncode == 0


def test_the_pin_is_not_guessed(home, seal, tmp_path):
    """One wrong PIN locks the agent, and costs the token no try."""
    home.start("--key", seal.key("ec-p256"), "--pin-source", seal.pin_source)
    guess = tmp_path / "guess"
    guess.write_text("9999\n")
    guess.chmod(0o600)
    done = home.dojang("agent", "start", "--key", seal.key("rsa-2048"), "--pin-source", f"file:{guess}")
    assert done.returncode == 7
    assert home.status()["locked"] is True
    assert not (home.folder / "state" / "pin-guard").exists()


def test_a_running_agent_loads_no_module_of_anybody(home, seal, softhsm_module, tmp_path):
    """A library is code: one that others could have written is loaded by no agent that holds a PIN already."""
    module = shutil.copy(softhsm_module, tmp_path / "anybody.so")
    Path(module).chmod(0o777)
    home.start("--key", seal.key("ec-p256"), "--pin-source", seal.pin_source)
    words = ("--key", seal.key("rsa-2048"), "--pin-source", seal.pin_source)
    refused = home.dojang("agent", "start", *words, "--module", module, "--json")
    assert (refused.returncode, str(module) in refused.stdout) == (9, True)
    assert str(module) not in Path(f"/proc/{home.status()['pid']}/maps").read_text()
    assert home.dojang("agent", "stop").returncode == 0
    assert home.start(*words, env={"DOJANG_MODULE": str(module)})["started"]
