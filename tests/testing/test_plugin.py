"""The pytest plugin as the people see it who test their own software with it: in pytest runs of their own."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from dojang.testing import plugin

SAMPLE = Path(__file__).parent.parent / "sample_project"
UserRun = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_of_a_user(folder: Path, *words: str, around: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
    """Run pytest in ``folder`` with an environment that knows nothing of the tests of this project."""
    ours = ("DOJANG_", "SOFTHSM2_", "PYTEST_", "PCSCLITE_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    command = [*around, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)


@pytest.fixture
def user(tmp_path: Path) -> UserRun:
    """Writes a test file of somebody else's and runs it with pytest as he would."""

    def run(tests: str, *words: str, around: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        (tmp_path / "test_mine.py").write_text(tests)
        return pytest_of_a_user(tmp_path, *words, around=around)

    return run


def test_the_sample_project(tmp_path):
    """A project that uses only the public fixtures signs with every kind of key, sees a PIN lock and a token vanish."""
    project = shutil.copytree(SAMPLE, tmp_path / "stamp")
    run = pytest_of_a_user(project, "-n", "2")
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^9 passed", run.stdout, re.MULTILINE), run.stdout


def test_the_example_of_the_readme(user):
    """The test that the README shows passes as it stands."""
    section = (SAMPLE.parent.parent / "README.md").read_text().partition("\n## For CI\n")[2].partition("\n## ")[0]
    (example,) = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    run = user(example)
    assert run.returncode == 0, run.stdout
    assert "1 passed" in run.stdout


def test_nothing_happens_unasked(user):
    """Who asks for no fixture of ours has the environment, the modules and the folders he would have without us."""
    run = user(
        """
import os, sys
def test_it():
    ours = {name for name in sys.modules if name.partition(".")[0] == "dojang"}
    assert ours == {"dojang", "dojang.testing", "dojang.testing.plugin"}
    assert not {"cryptography", "click", "sqlite3", "asn1crypto"} & set(sys.modules)
    assert not [name for name in os.environ if name.startswith(("DOJANG", "SOFTHSM", "PCSC"))]
"""
    )
    assert run.returncode == 0, run.stdout


def test_the_plugin_is_one_small_import():
    """The plugin brings in itself and what pytest has loaded anyway, nothing more."""
    program = "import pytest, sys\nold = set(sys.modules)\nimport dojang.testing.plugin\nprint(*set(sys.modules) - old)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) == {"dojang", "dojang.testing", "dojang.testing.plugin"}


def test_pytest_finds_it_by_itself():
    """Installing dojang is all it takes: the entry point names the plugin."""
    (found,) = entry_points(group="pytest11", name="dojang")
    assert found.value == plugin.__name__


def test_every_fixture_is_described(user):
    """Each public fixture is named so that it collides with none, has a docstring and stands in the list at the top."""
    shown = user("", "--fixtures", "-v").stdout
    found = set(re.findall(r"^(\w+)(?: \[session scope\])? -- .*dojang/testing/plugin\.py", shown, re.MULTILINE))
    public = {name for name in found if not name.startswith("_")}
    assert all(name.startswith(("dojang_", "_dojang_")) for name in found)
    assert (
        "no docstring available" not in shown.partition("fixtures defined from dojang")[2].partition("fixtures def")[0]
    )
    assert public == set(re.findall(r"^    (dojang_\w+)  ", plugin.__doc__, re.MULTILINE))


def test_workers_have_tokens_of_their_own(user, tmp_path):
    """Two xdist workers use two folders, each sees its own tokens alone, and both folders are gone afterwards."""
    run = user(
        f"""
import os, subprocess, pytest, time
@pytest.mark.parametrize("number", range(6))
def test_it(number, dojang_token, dojang_softhsm):
    worker = os.environ["PYTEST_XDIST_WORKER"]
    with open(f"{tmp_path}/folders", "a") as file:
        print(worker, dojang_softhsm.folder, file=file)
    shown = subprocess.run(["softhsm2-util", "--show-slots"], capture_output=True, text=True).stdout
    mine = len(list((dojang_softhsm.folder / "tokens").iterdir()))
    assert shown.count("Initialized:      yes") == mine
    time.sleep(0.2)
""",
        "-n",
        "2",
    )
    assert run.returncode == 0, run.stdout
    lines = {tuple(line.split()) for line in (tmp_path / "folders").read_text().splitlines()}
    assert len({worker for worker, _ in lines}) == len({folder for _, folder in lines}) == len(lines) == 2
    assert not [folder for _, folder in lines if Path(folder).exists()]


def test_a_token_for_dojang(user):
    """dojang's own library opens the token by its URI, in a process whose home stays untouched."""
    run = user(
        """
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.asymmetric import ec
from dojang import PinSource, open_token
def test_it(dojang_credential, dojang_token_factory, dojang_home):
    setup = dojang_credential.token
    address = f"{setup.uri}?module-path={setup.module}"
    with open_token(address, PinSource.parse(setup.pin_source)) as token:
        key = token.private_key(key_id=dojang_credential.key_id)
        dojang_credential.public_key().verify(key.sign(b"letter", ec.ECDSA(SHA256())), b"letter", ec.ECDSA(SHA256()))
        (stored,) = token.certificates(key_id=dojang_credential.key_id)
        assert stored.value == dojang_credential.certificate_der
        another = dojang_token_factory("Another")
        with open_token(f"{another.uri}?module-path={another.module}", PinSource.parse(another.pin_source)) as other:
            other.log_in()
"""
    )
    assert run.returncode == 0, run.stdout


def test_a_token_for_another_program(user):
    """GnuTLS's tool, which knows nothing of dojang, signs with a key by its URI."""
    run = user(
        """
import os, subprocess
def test_it(dojang_key):
    token = dojang_key.token
    tool = ["p11tool", "--batch", "--provider", token.module, "--login", "--test-sign"]
    env = {**os.environ, "GNUTLS_PIN": token.pin}
    shown = subprocess.run([*tool, f"{dojang_key.uri};type=private"], env=env, capture_output=True, text=True)
    assert "Verifying against public key in the token... ok" in shown.stderr + shown.stdout
"""
    )
    assert run.returncode == 0, run.stdout


def test_another_binding_may_come_first(user):
    """PyKCS11 in the same process sees the token of each test, whichever was made before it loaded the module."""
    run = user(
        """
import PyKCS11, pytest
library = PyKCS11.PyKCS11Lib()
def test_shared(dojang_shared_token):
    library.load(str(dojang_shared_token.module))
@pytest.mark.parametrize("number", range(3))
def test_fresh(number, dojang_token):
    labels = [library.getTokenInfo(slot).label.strip() for slot in library.getSlotList(tokenPresent=True)]
    assert dojang_token.label in labels
"""
    )
    assert run.returncode == 0, run.stdout


def test_what_is_missing_is_said(user, tmp_path):
    """A machine without SoftHSM2 fails the test that asked for it, with what to install and no traceback of ours."""
    (tmp_path / "conftest.py").write_text(
        "from dojang.testing import softhsm\nfrom dojang.testing.modules.parts import program\n"
        "softhsm.program = lambda name, package: program('absent-' + name, package)\n"
    )
    run = user("def test_it(dojang_token): pass")
    assert run.returncode == 1
    assert "apt-get install softhsm2" in run.stdout
    assert "plugin.py" not in run.stdout


def test_a_card_asked_for_too_late_is_explained(user):
    """Where PC/SC is in use before the first card, the sentence says what to do, as a card could never be seen."""
    run = user(
        """
import ctypes
ctypes.CDLL("libpcsclite.so.1")
def test_it(dojang_vanishing_token): pass
"""
    )
    assert run.returncode == 1
    assert "loaded too early" in run.stdout
    assert "plugin.py" not in run.stdout


def test_a_container_that_forbids_cards_is_explained(user):
    """Where no namespaces can be made, as in a container without rights, the sentence says what to allow."""
    drop = "exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin"
    forbid = f'echo 0 >/proc/sys/user/max_user_namespaces; {drop} "$@"'
    around = ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"]
    run = user("def test_it(dojang_locking_token): pass", around=around)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "--cap-add SYS_ADMIN" in run.stdout
    assert "plugin.py" not in run.stdout


def test_a_card_with_counters_and_faults(user):
    """The emulated card counts the PINs it was shown, and errs when told to."""
    run = user(
        """
import os, subprocess
from dojang.testing.piv import Ins, status
def test_it(dojang_piv_card):
    setup, card, daemon, port = dojang_piv_card
    tool = ["pkcs11-tool", "--module", setup.module, "--login", "--pin", "env:PIN", "--id", "01"]
    tool += ["--sign", "--mechanism", "RSA-PKCS"]
    env = {**os.environ, "PIN": setup.pin}
    assert subprocess.run(tool, env=env, input=b"x" * 51, capture_output=True).returncode == 0
    assert (card.verifications, card.signatures, card.tries_left) == (1, 1, 3)
    card.faults.add(status(0x6F00), on=Ins.GENERAL_AUTHENTICATE, times=None)
    assert subprocess.run(tool, env=env, input=b"x" * 51, capture_output=True).returncode
"""
    )
    assert run.returncode == 0, run.stdout
