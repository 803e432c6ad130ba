"""What every test may ask for: its own SoftHSM2 on tmpfs, fresh tokens on it, an empty home, and dojang as a process.

Each pytest process (each xdist worker) has one token directory, named by ``SOFTHSM2_CONF`` before any test module is
imported, because a loaded SoftHSM reads that variable once. A missing SoftHSM2 stops the run.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import hypothesis
import pytest

# A busy machine is slow, not wrong.
hypothesis.settings.register_profile("dojang", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("dojang")

ROOT = Path(__file__).parent.parent
RunDojang = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True, slots=True)
class TokenFixture:
    """An initialised token; ``uri`` names it by label and serial, ``pin_source`` is for ``--pin-source``."""

    label: str
    serial: str
    pin: str
    so_pin: str
    uri: str
    pin_source: str
    so_pin_source: str


MakeToken = Callable[..., TokenFixture]


def pytest_configure(config: pytest.Config) -> None:
    if (
        signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    ):  # a shell starts background jobs deaf; our processes must hear
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith("DOJANG_")]:
        del os.environ[name]
    shm = Path("/dev/shm")
    tmpfs = shm if os.access(shm, os.W_OK) else None
    config.dojang_softhsm = Path(tempfile.mkdtemp(prefix="dojang-test-", dir=tmpfs))
    up = subprocess.run([ROOT / "softhsm/up", config.dojang_softhsm], capture_output=True, text=True)
    if up.returncode:
        pytest.exit(f"The tests need a real SoftHSM2: {up.stderr.strip()}", returncode=up.returncode)
    exports = dict(word.split("=", 1) for word in shlex.split(up.stdout) if "=" in word)
    os.environ["SOFTHSM2_CONF"] = exports["SOFTHSM2_CONF"]
    os.environ["DOJANG_HOME"] = str(config.dojang_softhsm / "home")
    config.dojang_module = exports["DOJANG_MODULE"]


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.dojang_softhsm, ignore_errors=True)


@pytest.fixture(scope="session")
def softhsm_dir(pytestconfig: pytest.Config) -> Path:
    """The folder that holds this process's ``softhsm2.conf`` and ``tokens/``."""
    return pytestconfig.dojang_softhsm


@pytest.fixture(scope="session")
def softhsm_module(pytestconfig: pytest.Config) -> str:
    """The path of libsofthsm2.so."""
    return pytestconfig.dojang_module


@pytest.fixture(scope="session")
def make_token(softhsm_dir: Path, softhsm_module: str) -> MakeToken:
    """Initialises one more token, seen by this process and by every process it starts.

    It goes through dojang itself: a loaded SoftHSM never shows a token that another process initialised.
    """

    def make(label: str | None = None, pin: str = "1234", so_pin: str = "12345678") -> TokenFixture:
        from dojang.pkcs11 import ModuleSearch, PinGuard, list_tokens
        from dojang.secret import Secret

        label = label or f"test-{uuid4().hex[:12]}"
        free = list_tokens(ModuleSearch(module=softhsm_module, discover=False)).empty_slots[0]
        guard = PinGuard(softhsm_dir / "pin-guard")
        serial = free.initialize(label=label, so_pin=Secret(so_pin), user_pin=Secret(pin), guard=guard).info.serial
        uri = f"pkcs11:token={quote(label)};serial={serial}"
        sources = []
        for role, value in (("pin", pin), ("so-pin", so_pin)):
            path = softhsm_dir / f"{serial}.{role}"
            path.write_text(value)
            path.chmod(0o600)
            sources.append(f"file:{path}")
        return TokenFixture(label, serial, pin, so_pin, uri, *sources)

    return make


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``DOJANG_HOME`` (and an empty ``HOME``, where ``npki:`` has its default root)."""
    folder = tmp_path / "home" / "dojang"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("DOJANG_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def dojang_at(softhsm_module: str) -> Callable[[Path], RunDojang]:
    """``dojang_at(home)`` runs ``dojang ARGS`` as a user's process with that home, on this worker's SoftHSM2."""

    def at(home: Path) -> RunDojang:
        own = {"HOME": str(home.parent), "DOJANG_HOME": str(home), "DOJANG_MODULE": softhsm_module}
        locale = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}

        def run(*args: object, input: str | None = None, env: dict[str, str] | None = None, timeout: float = 60):
            return subprocess.run(
                [sys.executable, "-m", "dojang", *map(str, args)],
                input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                env={**os.environ, **own, **locale, **(env or {})},
                capture_output=True,
                text=True,
                timeout=timeout,
            )

        return run

    return at


@pytest.fixture
def run_dojang(home: Path, dojang_at: Callable[[Path], RunDojang]) -> RunDojang:
    """Runs ``dojang ARGS`` in ``home`` and returns its exit status and what it printed."""
    return dojang_at(home)
