"""What every test may ask for: its own SoftHSM2 on tmpfs, fresh tokens on it, an empty home, and dojang as a process.

Each pytest process (each xdist worker) has one token directory, named by ``SOFTHSM2_CONF`` before any test module is
imported, because a loaded SoftHSM reads that variable once. A missing SoftHSM2 stops the run.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
from tests.warm import Warm

from dojang.testing import pcsc
from dojang.testing.setup import BringUpFailed, TokenSetup
from dojang.testing.softhsm import softhsm

# A busy machine is slow, not wrong.
hypothesis.settings.register_profile("dojang", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("dojang")

RunDojang = Callable[..., "subprocess.CompletedProcess[str]"]
MakeToken = Callable[..., TokenSetup]

collect_ignore = ["sample_project"]  # somebody else's project; tests/testing/test_plugin.py runs it as he would


class PassingTokens:
    """The tokens that the current file of tests has made and no later one will use: none is a session's."""

    def __init__(self) -> None:
        self.made: list[TokenSetup] = []
        self._setting_up: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef):
        self._setting_up.append(fixturedef.scope)
        try:
            return (yield)
        finally:
            self._setting_up.pop()

    def note(self, made: TokenSetup) -> None:
        if "session" not in self._setting_up:
            self.made.append(made)


def pytest_configure(config: pytest.Config) -> None:
    if (
        signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    ):  # a shell starts background jobs deaf; our processes must hear
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith("DOJANG_")]:
        del os.environ[name]
    pcsc.claim()  # before any test loads a module that speaks PC/SC: the machine's own readers are left alone
    config.dojang_softhsm_stack = ExitStack()
    try:
        hsm = config.dojang_softhsm_stack.enter_context(softhsm())
    except BringUpFailed as error:
        pytest.exit(f"The tests need a real SoftHSM2: {error}", returncode=5)
    config.dojang_softhsm_stack.enter_context(hsm.in_this_process())
    os.environ["DOJANG_HOME"] = str(hsm.folder / "home")
    config.dojang_softhsm = hsm
    config.dojang_passing_tokens = PassingTokens()
    config.pluginmanager.register(config.dojang_passing_tokens)  # hooks of this file miss what the session sets up


def pytest_unconfigure(config: pytest.Config) -> None:
    config.dojang_softhsm_stack.close()


@pytest.fixture(scope="session")
def softhsm_dir(pytestconfig: pytest.Config) -> Path:
    """The folder that holds this process's ``softhsm2.conf`` and ``tokens/``."""
    return pytestconfig.dojang_softhsm.folder


@pytest.fixture(scope="session")
def softhsm_module(pytestconfig: pytest.Config) -> str:
    """The path of libsofthsm2.so."""
    return str(pytestconfig.dojang_softhsm.module)


@pytest.fixture(scope="session")
def make_token(pytestconfig: pytest.Config) -> MakeToken:
    """Initialises one more token, seen by this process and by every process it starts."""

    def make(label: str | None = None, pin: str = "1234", so_pin: str = "12345678") -> TokenSetup:
        made = pytestconfig.dojang_softhsm.token(label, pin=pin, so_pin=so_pin)
        pytestconfig.dojang_passing_tokens.note(made)
        return made

    return make


@pytest.fixture(autouse=True, scope="module")
def _remove_tokens(pytestconfig: pytest.Config) -> Iterator[None]:
    """The tokens of one file of tests are gone before the next: each costs every process that loads SoftHSM2."""
    yield
    passing = pytestconfig.dojang_passing_tokens.made
    pytestconfig.dojang_softhsm.remove(passing)
    passing.clear()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``DOJANG_HOME`` (and an empty ``HOME``, where ``npki:`` has its default root)."""
    folder = tmp_path / "home" / "dojang"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("DOJANG_HOME", str(folder))
    return folder


@pytest.fixture
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are sealed with passwords that are easier to guess: for tests that do it often and ask something else."""
    from dojang.npki import keyfile, pkcs12_writing

    counts = pkcs12_writing._COUNTS["aes256"]._replace(encryption=1000, mac=1000)
    monkeypatch.setattr(keyfile, "SEAL_ITERATIONS", 1000)
    monkeypatch.setitem(pkcs12_writing._COUNTS, "aes256", counts)


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """What starts dojang's processes for ``dojang_at``."""
    runner = Warm()
    yield runner
    runner.close()


@pytest.fixture(scope="session")
def dojang_at(softhsm_module: str, warm: Warm) -> Callable[[Path], RunDojang]:
    """``dojang_at(home)`` runs ``dojang ARGS`` as a user's process with that home, on this worker's SoftHSM2."""

    def at(home: Path) -> RunDojang:
        own = {"HOME": str(home.parent), "DOJANG_HOME": str(home), "DOJANG_MODULE": softhsm_module}
        locale = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}

        def run(*args: object, input: str | None = None, env: dict[str, str] | None = None, timeout: float = 60):
            environment = {**os.environ, **own, **locale, **(env or {})}
            return warm.run([*map(str, args)], input=input, env=environment, timeout=timeout)

        return run

    return at


@pytest.fixture
def run_dojang(home: Path, dojang_at: Callable[[Path], RunDojang]) -> RunDojang:
    """Runs ``dojang ARGS`` in ``home`` and returns its exit status and what it printed."""
    return dojang_at(home)


@pytest.fixture(scope="session")
def liar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module over the one named by ``LYING_OVER`` that tells the lies in the file ``LYING_FILE``."""
    library = tmp_path_factory.mktemp("liar") / "liar.so"
    source = Path(__file__).parent / "pkcs11/lying_module.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library
