"""Real OpenSSH and git sign with keys on a token, through the agent, without knowing what a token is."""

import os
import shutil
import socket
import subprocess
import time

import pytest

KEYS = ("rsa-2048", "ec-p256", "ec-p384", "ec-p521", "ed25519")

SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
"""
# sshd wants /run/sshd, which only its own service makes; the namespaces end with the shell's standard input.
IN_A_NAMESPACE = 'mount -t tmpfs none /run && mkdir -m 755 /run/sshd && "$@" </dev/null & read -r _'


def run(home, *words: object, **named) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        list(map(str, words)), env=home.environment() | named.pop("env", {}), capture_output=True, text=True, **named
    )


@pytest.fixture(scope="module")
def public(shared, tmp_path_factory) -> dict:
    """Each key's line as ``ssh-add -L`` prints it, in a file."""
    files, folder = {}, tmp_path_factory.mktemp("public")
    lines = run(shared, "ssh-add", "-L").stdout.splitlines()
    for name, line in zip(KEYS, lines, strict=True):
        files[name] = folder / f"{name}.pub"
        files[name].write_text(f"{line}\n")
    return files


def test_ssh_add_lists_the_keys(agent, program):
    """``ssh-add -l`` shows every key with its fingerprint as ``agent status`` does; ``-x`` locks, ``-D`` is refused."""
    listed = run(agent, "ssh-add", "-l")
    assert listed.returncode == 0
    kinds = [line.rpartition("(")[2].rstrip(")") for line in listed.stdout.splitlines()]
    assert kinds == ["RSA", "ECDSA", "ECDSA", "ECDSA", "ED25519"]
    fingerprints = [line.split()[1] for line in listed.stdout.splitlines()]
    assert fingerprints == [key["fingerprint"] for key in agent.status()["keys"]]
    assert run(agent, "ssh-add", "-D").returncode != 0
    askpass = {"SSH_ASKPASS": str(program("askpass", "echo anything")), "SSH_ASKPASS_REQUIRE": "force"}
    assert run(agent, "ssh-add", "-x", env=askpass).returncode == 0
    assert agent.status()["locked"] is True
    assert run(agent, "ssh-add", "-l").returncode == 1
    assert run(agent, "ssh-add", "-X", env=askpass).returncode != 0  # only dojang asks for a PIN


@pytest.mark.parametrize("name", KEYS)
def test_ssh_add_tests_the_keys(shared, public, name):
    """``ssh-add -T`` has each key sign and verifies it; for RSA it wants SHA-1, which is not made."""
    done = run(shared, "ssh-add", "-T", public[name])
    assert done.returncode == (1 if name == "rsa-2048" else 0), done.stderr


@pytest.mark.parametrize("name", KEYS)
def test_ssh_keygen_signs_and_verifies(shared, public, tmp_path, name):
    """``ssh-keygen -Y sign`` makes a signature that ``ssh-keygen -Y verify`` accepts, and no other document's."""
    document = tmp_path / "document"
    document.write_text("to be signed\n")
    (tmp_path / "allowed").write_text(f"hong@example.com {public[name].read_text()}")
    assert run(shared, "ssh-keygen", "-Y", "sign", "-f", public[name], "-n", "file", document).returncode == 0
    verify = ["ssh-keygen", "-Y", "verify", "-f", tmp_path / "allowed", "-I", "hong@example.com", "-n", "file"]
    good = run(shared, *verify, "-s", f"{document}.sig", input=document.read_text())
    assert good.returncode == 0, good.stderr
    assert run(shared, *verify, "-s", f"{document}.sig", input="something else\n").returncode != 0


def test_git_commits_are_signed(agent, public, tmp_path):
    """``git commit -S`` signs with the token's key, and ``git log`` shows a good signature."""
    (tmp_path / "allowed").write_text(f"hong@example.com {public['ed25519'].read_text()}")
    settings = {
        "user.name": "Hong",
        "user.email": "hong@example.com",
        "gpg.format": "ssh",
        "user.signingkey": str(public["ed25519"]),
        "gpg.ssh.allowedSignersFile": str(tmp_path / "allowed"),
    }
    git = ["git", *(word for pair in settings.items() for word in ("-c", "=".join(pair))), "-C", tmp_path / "repo"]
    env = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    assert run(agent, "git", "init", "-q", tmp_path / "repo", env=env).returncode == 0
    committed = run(agent, *git, "commit", "-q", "-S", "--allow-empty", "-m", "Sealed", env=env)
    assert committed.returncode == 0, committed.stderr
    shown = run(agent, *git, "log", "--show-signature", "-1", env=env).stdout
    assert 'Good "git" signature for hong@example.com with ED25519 key' in shown
    agent.dojang("agent", "lock")
    assert run(agent, *git, "commit", "-q", "-S", "--allow-empty", "-m", "Not sealed", env=env).returncode != 0


@pytest.fixture
def sshd(tmp_path, public):
    """A server on loopback that lets in whoever holds one of the keys; its port."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "host"], check=True)
    (tmp_path / "authorized").write_text("".join(file.read_text() for file in public.values()))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "sshd_config").write_text(SSHD.format(port=port, folder=tmp_path))
    spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *(["--map-root-user"] if os.geteuid() else [])]
    daemon = [shutil.which("sshd", path="/usr/sbin:/usr/bin"), "-D", "-e", "-f", tmp_path / "sshd_config"]
    with (tmp_path / "sshd.log").open("wb") as log:
        process = subprocess.Popen(
            [*spaces, "sh", "-c", IN_A_NAMESPACE, "sh", *daemon], stdin=subprocess.PIPE, stdout=log, stderr=log
        )
    deadline = time.monotonic() + 20
    while "Server listening" not in (tmp_path / "sshd.log").read_text():
        assert process.poll() is None, (tmp_path / "sshd.log").read_text()
        assert time.monotonic() < deadline, (tmp_path / "sshd.log").read_text()
        time.sleep(0.02)
    yield port
    process.stdin.close()
    process.wait(timeout=10)


def test_ssh_logs_in(agent, public, sshd, tmp_path):
    """``ssh`` logs in to a real server with each key, and with none once the agent is locked."""
    host = (tmp_path / "host.pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{sshd} {host}")
    options = ["-F", "none", "-p", sshd, "-o", f"UserKnownHostsFile={tmp_path}/known", "-o", "IdentitiesOnly=yes"]
    options += ["-o", "BatchMode=yes", "-o", "PreferredAuthentications=publickey"]
    for name, file in public.items():
        done = run(agent, "ssh", *options, "-i", file, "127.0.0.1", "echo", "in with", name)
        assert done.stdout == f"in with {name}\n", done.stderr + (tmp_path / "sshd.log").read_text()
    agent.dojang("agent", "lock")
    assert run(agent, "ssh", *options, "-i", public["ed25519"], "127.0.0.1", "true").returncode == 255
