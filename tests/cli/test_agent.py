"""``dojang agent``, and ``sign`` through it: the short way and the long way round do the same."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pexpect
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.cli import shortcut
from dojang.pkcs11 import KEY_ALGORITHMS, ModuleSearch, open_token
from dojang.pkcs11.constants import CKA_ID
from dojang.secret import Secret
from dojang.signing.digest import choose_scheme


@pytest.fixture(scope="module")
def token(make_token, softhsm_module):
    made = make_token()
    with open_token(made.uri, Secret(made.pin), search=ModuleSearch(module=softhsm_module, discover=False)) as opened:
        for algorithm in ("rsa-2048", "ec-p256", "ed25519"):
            opened.generate_key_pair(algorithm, label=algorithm)
    return made


@pytest.fixture(scope="module")
def home():
    """A home with a short name, for the tests of this file one after the other."""
    folder = Path(tempfile.mkdtemp(prefix="dojang-agent-")) / "dojang"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder.parent)


@pytest.fixture(scope="module")
def dojang(home, dojang_at, token):
    """Runs dojang in a home where an agent serves three keys."""
    run = dojang_at(home)
    keys = [word for name in ("rsa-2048", "ec-p256", "ed25519") for word in ("--key", f"{token.uri};object={name}")]
    started = run("agent", "start", *keys, "--pin-source", token.pin_source)
    assert started.returncode == 0, started.stderr
    yield run
    assert run("agent", "stop").returncode == 0


@pytest.fixture
def paper(tmp_path):
    path = tmp_path / "paper.txt"
    path.write_bytes(b"to be signed")
    return path


def test_status_says_what_is_served(dojang, token):
    """For people and for scripts; ``--quiet`` prints what belongs into SSH_AUTH_SOCK."""
    report = json.loads(dojang("agent", "status", "--json").stdout)
    assert report["command"] == "agent status"
    assert report["data"]["running"] is True
    assert [key["algorithm"] for key in report["data"]["keys"]] == ["rsa-2048", "ec-p256", "ed25519"]
    assert dojang("agent", "status", "--quiet").stdout.strip() == report["data"]["socket"]
    assert "ed25519" in dojang("agent", "status").stdout
    assert "에이전트: 프로세스" in dojang("agent", "status", "--lang", "ko").stdout


def test_no_agent(dojang_at, tmp_path):
    """Where none runs, status says so with its own exit status, and there is nothing to lock or to stop."""
    run = dojang_at(tmp_path)
    status = run("agent", "status", "--json")
    assert status.returncode == 3
    assert json.loads(status.stdout)["error"]["code"] == "agent-not-running"
    assert run("agent", "stop").returncode == run("agent", "lock").returncode == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--key", "npki:"], 2),
        (["--key", "pkcs11:token=x", "--idle", "soon"], 2),
        (["--key", "pkcs11:token=x", "--idle", "0"], 2),
        (["--key", "pkcs11:token=nobody;object=x"], 6),
        (["--key", "pkcs11:token=x", "--allow-program", "/nowhere/at/all"], 9),
        ([], 2),
    ],
)
def test_what_cannot_be_started(dojang_at, tmp_path, words, code):
    """The error is one of ours, and no agent is left."""
    run = dojang_at(tmp_path)
    assert run("agent", "start", *words).returncode == code
    assert run("agent", "status").returncode == 3


def test_plan(dojang, token):
    """``--plan`` changes nothing."""
    done = dojang("agent", "start", "--key", f"{token.uri};object=rsa-2048", "--confirm", "--plan", "--json")
    assert json.loads(done.stdout)["data"]["changed"] is False
    for verb in ("lock", "stop"):
        assert json.loads(dojang("agent", verb, "--plan", "--json").stdout)["data"]["changed"] is False
    assert json.loads(dojang("agent", "status", "--json").stdout)["data"]["locked"] is False


def test_the_pin_is_asked_on_the_terminal(terminal, token, tmp_path, dojang):
    """Whoever starts it is asked at the terminal; nothing is echoed, and nobody is asked again."""
    own = {"DOJANG_HOME": str(tmp_path)}
    child = terminal("agent", "start", "--key", f"{token.uri};object=rsa-2048", **own)
    child.expect("PIN of token .*: ")
    child.sendline(token.pin)
    child.expect("The agent is running")
    assert token.pin not in child.before
    child.expect(pexpect.EOF)
    again = terminal("agent", "stop", **own)
    again.expect("The agent has ended")


def test_whoever_starts_it_may_give_up(terminal, token, tmp_path, dojang):
    """Ctrl-C at the PIN leaves no process."""
    own = {"DOJANG_HOME": str(tmp_path)}
    child = terminal("agent", "start", "--key", f"{token.uri};object=rsa-2048", **own)
    child.expect("PIN of token .*: ")
    assert len(processes_at(tmp_path)) == 1
    child.sendintr()
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 130
    deadline = time.monotonic() + 10
    while processes_at(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_at(tmp_path) == []


def processes_at(home: Path) -> list[str]:
    """The agents whose socket is there, whether they listen or not."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(home / "state").encode() in line.read_bytes():
                found.append(line.parent.name)
    return found


# Signing


def test_every_format_signs_through_it(dojang, token, paper, softhsm_module):
    """``sign raw`` and ``sign cms`` ask for no PIN; ``--no-agent``, a setting and a PIN leave it aside."""
    key = f"{token.uri};object=ec-p256"
    assert dojang("sign", "raw", "--key", key, paper, "--hash", "sha512", "--no-input").returncode == 0
    assert dojang("sign", "raw", "--key", key, paper, "--no-agent", "--no-input").returncode == 2
    assert dojang("sign", "raw", "--key", key, paper, "--pin-source", token.pin_source).returncode == 0
    assert dojang("sign", "raw", "--key", key, paper, "--pin-source", f"file:{paper}", "--no-input").returncode == 7


def test_cms_signs_through_it(dojang, token, paper, softhsm_module, tmp_path):
    """Certificate and chain are read from the token without a login; the agent signs."""
    with open_token(token.uri, Secret(token.pin), search=ModuleSearch(module=softhsm_module, discover=False)) as opened:
        key = opened.private_key(label="rsa-2048")
        key_id = key.signer.attributes[CKA_ID]
        certificate = self_signed(key)
        opened.add_certificate(certificate.public_bytes(Encoding.DER), label="rsa-2048", key_id=key_id)
    anchor = tmp_path / "anchor.pem"
    anchor.write_bytes(certificate.public_bytes(Encoding.PEM))
    words = ("sign", "cms", "--key", f"{token.uri};object=rsa-2048", "--detached", paper)
    assert dojang(*words, "--no-agent", "--no-input").returncode == 2
    assert dojang(*words, "--no-input").returncode == 0
    what = ("-in", f"{paper}.p7s", "-content", paper, "-CAfile", anchor)
    verified = subprocess.run(
        ["openssl", "cms", "-verify", "-binary", "-inform", "DER", *what, "-purpose", "any", "-out", "/dev/null"],
        capture_output=True,
        text=True,
    )
    assert verified.returncode == 0, verified.stderr


def self_signed(key) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Hong")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


def test_many_files_sign_through_it(dojang, token, tmp_path):
    """A batch uses the agent as well."""
    papers = [tmp_path / f"paper-{number}" for number in range(20)]
    for one in papers:
        one.write_bytes(one.name.encode())
    done = dojang("sign", "raw", "--key", f"{token.uri};object=ed25519", *papers, "--no-input")
    assert done.returncode == 0, done.stderr
    assert all(Path(f"{one}.sig").stat().st_size == 64 for one in papers)


def test_a_setting_leaves_it_aside(dojang, home, token, paper):
    """``agent = false`` in the configuration."""
    (home / "config.toml").write_text("agent = false\n")
    try:
        words = ("sign", "raw", "--key", f"{token.uri};object=ec-p256", paper, "--no-input")
        assert dojang(*words).returncode == 2
        (home / "config.toml").write_text(f'[aliases]\nmine = "{token.uri};object=ec-p256"\n')
        assert dojang("sign", "raw", "--key", "@mine", paper, "--no-input").returncode == 0
    finally:
        (home / "config.toml").unlink()


LONG_WAY = "import sys; sys.argv[0] = 'dojang'; from dojang.cli.run import run; sys.exit(run(sys.argv[1:]))"


@pytest.fixture
def both_ways(home, dojang, softhsm_module, paper):
    """Runs ``sign raw`` by the short way and by the long way; status, outputs and files of each."""

    def run(*words: object, env: dict[str, str] | None = None) -> list[tuple]:
        results = []
        for start in (["-m", "dojang"], ["-c", LONG_WAY]):
            own = {"DOJANG_HOME": str(home), "DOJANG_MODULE": softhsm_module, "LC_ALL": "C.UTF-8", **(env or {})}
            done = subprocess.run(
                [sys.executable, *start, "sign", "raw", *map(str, words)],
                env={**os.environ, **own},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="latin-1",  # the signature itself may go to standard output
                cwd=paper.parent,
            )
            files = {one.name: one.read_bytes() for one in paper.parent.iterdir() if one != paper and one.is_file()}
            modes = {one.name: one.stat().st_mode for one in paper.parent.iterdir()}
            for name in files:
                (paper.parent / name).unlink()
            results.append((done.returncode, done.stdout, done.stderr, files, modes))
        return results

    return run


@pytest.mark.parametrize(
    "words",
    [
        ("paper.txt",),
        ("paper.txt", "--json"),
        ("paper.txt", "--quiet"),
        ("paper.txt", "-o", "signature"),
        ("../{folder}/paper.txt", "-o", "../{folder}/signature"),
        (".//paper.txt", "-o", "./signature"),
        ("--json", "paper.txt", "--quiet", "--output", "./signature"),
        ("paper.txt", "-o", "-"),
        ("paper.txt", "-o", "paper.txt"),
        ("paper.txt", "-o", "no/such/folder"),
        ("paper.txt", "-o", "."),
        ("no-such-file",),
        ("no-such-file", "--json"),
        (".",),
        ("paper.txt", "paper.txt"),
        ("paper.txt", "--nonsense"),
        ("paper.txt", "-o"),
        ("paper.txt", "--plan"),
        (),
    ],
)
def test_both_ways_do_the_same(both_ways, token, paper, words):
    """Exit status, words, files and their modes are the same."""
    named = [word.format(folder=paper.parent.name) for word in words]
    short, long = both_ways("--key", f"{token.uri};object=rsa-2048", *named)
    assert short == long


def test_both_ways_sign_messages(both_ways, token):
    """Ed25519 signs the file itself."""
    short, long = both_ways("--key", f"{token.uri};object=ed25519", "paper.txt")
    assert short == long
    assert len(short[3]["paper.txt.sig"]) == 64


def test_both_ways_speak_korean(both_ways, token):
    """By the environment's language."""
    short, long = both_ways("--key", f"{token.uri};object=ed25519", "paper.txt", env={"LC_ALL": "ko_KR.UTF-8"})
    assert short == long
    assert "서명" in short[1].encode("latin-1").decode()


@pytest.mark.parametrize("address", ["pkcs11:token=nobody;object=x", "@nobody", "npki:", "pkcs11:", "nonsense"])
def test_both_ways_fail_the_same(both_ways, address):
    """An address that the agent does not serve is the long way's, whatever that says of it."""
    short, long = both_ways("--key", address, "paper.txt", "--no-input")
    assert short == long
    assert short[0] != 0


def test_the_short_way_is_taken(dojang, home, token, paper, softhsm_module):
    """A plain ``sign raw`` through the agent loads no command line library, no cryptography and no PKCS#11 module."""
    program = (
        "import atexit, sys, runpy\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "runpy.run_module('dojang', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "sign", "raw", "--key", f"{token.uri};object=rsa-2048", paper],
        env={**os.environ, "DOJANG_HOME": str(home), "DOJANG_MODULE": softhsm_module, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stderr.split())
    assert {"click", "cryptography", "ctypes", "dojang.pkcs11", "sqlite3", "socket"} & loaded == set()
    assert "dojang.agent.signer" in loaded


def test_the_short_way_knows_the_hashes():
    """Where the key alone says it, both ways take the same hash."""
    for algorithm in KEY_ALGORITHMS:
        if algorithm != "ed25519":
            scheme = choose_scheme(algorithm)
            assert shortcut._HASHES.get(algorithm, "sha256") == scheme.hash_name
            assert shortcut._SCHEMES[algorithm.partition("-")[0]] == scheme.padding


def test_the_signature_is_good(dojang, token, paper, softhsm_module):
    """What the short way writes is a signature over the file."""
    assert dojang("sign", "raw", "--key", f"{token.uri};object=ec-p256", paper).returncode == 0
    with open_token(token.uri, Secret(token.pin), search=ModuleSearch(module=softhsm_module)) as opened:
        public = opened.private_key(label="ec-p256").public_key()
    public.verify(Path(f"{paper}.sig").read_bytes(), paper.read_bytes(), ec.ECDSA(hashes.SHA256()))


def test_a_full_disk_does_not_sign_twice(dojang, home, token, paper, softhsm_module):
    """A signature that cannot be written is an error; nobody is asked again, and nothing is left behind."""
    before = json.loads(dojang("agent", "status", "--json").stdout)["data"]["keys"][0]["signatures"]
    words = ("sign", "raw", "--key", f"{token.uri};object=rsa-2048", str(paper), "--json")
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", sys.executable, "-m", "dojang", *words],
        env={**os.environ, "DOJANG_HOME": str(home), "DOJANG_MODULE": softhsm_module, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=_ignore_file_size_signal,
    )
    assert done.returncode == 9
    assert json.loads(done.stdout)["error"]["code"] == "file-unwritable"
    after = json.loads(dojang("agent", "status", "--json").stdout)["data"]["keys"][0]["signatures"]
    assert after - before == 1
    assert [one.name for one in paper.parent.iterdir()] == [paper.name]


def _ignore_file_size_signal() -> None:
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
