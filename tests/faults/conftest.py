"""A bench for breaking things: two tokens, a local authority, an empty key folder, and runs that die on demand."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from signal import SIGINT, SIGKILL
from typing import Any

import pytest
from cryptography.x509 import load_pem_x509_certificate

ZYGOTE = Path(__file__).with_name("zygote.py")
STORIES = Path(__file__).with_name("stories")
ENDINGS = {SIGKILL: -SIGKILL, SIGINT: 130}
FEWEST_EFFECTS = 3
EVERY_EFFECT_SECONDS = 3600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where every effect is struck, a test here may take longer than one may otherwise."""
    if "EVERY_EFFECT" in os.environ:
        for item in items:
            if item.path.parent == Path(__file__).parent:
                item.add_marker(pytest.mark.timeout(EVERY_EFFECT_SECONDS))


@dataclass(frozen=True, slots=True)
class Run:
    """How one run of dojang ended."""

    status: int
    effects: list[str]
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.out)["data"]


@dataclass(slots=True)
class Bench:
    """One home with an authority; ``run`` starts dojang in a process of its own."""

    home: Path
    environment: dict[str, str]
    process: subprocess.Popen[str]
    locations: dict[str, str] = field(default_factory=dict)

    def run(self, *argv: object, at: int | None = None, signal: int = SIGKILL) -> Run:
        job = {"argv": [*map(str, argv)], "env": self.environment, "at": at, "signal": int(signal)}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return Run(**json.loads(self.process.stdout.readline()))

    def json(self, *argv: object) -> dict[str, Any]:
        """The data of a run that must succeed."""
        run = self.run(*argv, "--json")
        assert run.status in (0, 14), (argv, run.out, run.err)
        return run.data

    def findings(self) -> list[dict[str, Any]]:
        """What the doctor says; it sees every token of this worker, other tests' too, so its status says little."""
        return self.run("doctor", "--json").data["findings"]

    def issue_words(self, kind: str, name: str) -> list[str]:
        where = self.locations[kind]
        return ["cert", "issue", "--to", where, "--subject", f"CN={name},C=KR", "--profile", "tls-client"]

    def address_of(self, kind: str, name: str) -> str:
        where = self.locations[kind]
        return f"{where};object={name}" if kind == "token" else f"{where}?cn={name}"

    def credentials(self, kind: str, name: str) -> list[dict[str, Any]]:
        found = self.json("cert", "list", self.locations[kind])["credentials"]
        return [one for one in found if one["subject"] == f"CN={name},C=KR"]

    def keys_on_token(self) -> set[str]:
        return {key["id"] for key in self.json("key", "list", self.locations["token"])["keys"]}

    def issued(self, name: str) -> list[dict[str, Any]]:
        """What the authority says it issued to ``name``."""
        listed = self.json("ca", "list")["certificates"]
        return [one for one in listed if one["subject"] == f"CN={name},C=KR"]

    def signs(self, *credentials: dict[str, Any]) -> bool:
        """Whether each credential makes a signature that openssl verifies, with one of their certificates inside."""
        return all(self._signs(one["address"]) in {other["serial"] for other in credentials} for one in credentials)

    def _signs(self, address: str) -> str:
        letter, signature, signer = (self.home / name for name in ("letter", "letter.p7s", "signer.pem"))
        letter.write_text("letter")
        run = self.run("sign", "cms", "--detached", "--key", address, letter, "-o", signature)
        assert run.status == 0, run.err
        words = f"openssl cms -verify -binary -inform DER -in {signature} -content {letter} -noverify -signer {signer}"
        verified = subprocess.run(words.split(), capture_output=True, text=True)
        assert verified.returncode == 0, verified.stderr
        return f"{load_pem_x509_certificate(signer.read_bytes()).serial_number:x}"


@pytest.fixture(scope="session")
def zygote() -> Iterator[subprocess.Popen[str]]:
    """What forks the runs of every bench."""
    process = subprocess.Popen([sys.executable, ZYGOTE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.stdin.close()
    process.wait()


@pytest.fixture
def bench(home: Path, make_token, softhsm_module: str, zygote: subprocess.Popen[str]) -> Bench:
    """A bench with an authority called office, whose key is on a token of its own."""
    token, office = make_token(), make_token()
    password = home / "password"
    password.write_text("correct horse 1!")
    password.chmod(0o600)
    environment = {**os.environ, "DOJANG_MODULE": softhsm_module, "DOJANG_PIN_SOURCE": token.pin_source}
    settings = f'password-source = "file:{password}"\n'
    (home / "config.toml").write_text(settings)
    files = {"pkcs12": f"pkcs12:{home.parent}/hong.p12", "pem": f"pem:{home.parent}/hong.pem"}
    bench = Bench(home, environment, zygote, {"token": token.uri, "disk": "npki:"} | files)
    key = f"{office.uri};object=root?pin-source={office.pin_source}"
    made = bench.run("ca", "init", "--alias", "office", "--key", key, "--name", "CN=Office CA")
    assert made.status == 0, made.err
    return bench


def strike_everywhere(
    bench: Bench,
    prepare: Callable[[str], list[str]],
    check: Callable[[str, int], None],
    *,
    signal: int = SIGKILL,
    every: int = 3,
    journal: bool = True,
) -> None:
    """Run the command of ``prepare(name)`` again and again, struck just before one effect each time, and check.

    Struck are one in ``every`` of the effects, and with ``journal`` all transitions of the ledger and messages to
    elsewhere, which a run that nothing strikes tells of first. ``EVERY_EFFECT``, as ``scripts/soak`` sets it, strikes
    all.
    """
    step = 1 if "EVERY_EFFECT" in os.environ else every
    transitions = _transitions(bench, prepare) if journal and step > 1 else set()
    for point in count():
        if point % step and point not in transitions:
            continue
        name = f"subscriber-{point}"
        run = bench.run(*prepare(name), at=point, signal=signal)
        if not run.effects or not run.effects[-1].startswith("!"):
            assert run.status == 0, (run.out, run.err)
            assert point >= FEWEST_EFFECTS, "the effects were not seen"
            return
        try:
            assert run.status == ENDINGS[signal], run.err
            check(name, point)
        except BaseException as error:
            error.add_note(f"struck at {point}: {run.effects}")
            raise


def _transitions(bench: Bench, prepare: Callable[[str], list[str]]) -> set[int]:
    whole = bench.run(*prepare("subscriber-whole"))
    assert whole.status == 0, (whole.out, whole.err)
    return {point for point, effect in enumerate(whole.effects) if effect in ("ledger", "post")}


Story = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def tell_story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Runs one of ``stories/`` in a process and a home of its own; the facts that it told, the last one of each name.

    ``around`` is the name of a module that has to be brought up around the whole process; with ``mounts`` what it
    mounts is its own.
    """

    def tell(
        name: str,
        *words: object,
        around: str | None = None,
        mounts: bool = False,
        timeout: float = 100,
        **variables: object,
    ) -> dict[str, Any]:
        command = [sys.executable, STORIES / f"{name}.py", *map(str, words)]
        if mounts:
            command = [*([] if os.geteuid() == 0 else ["sudo", "-n", "-E"]), "unshare", "--mount", *command]
        if around is not None:
            command = [sys.executable, "-m", "dojang.testing", around, *command]
        own = {"DOJANG_HOME": str(tmp_path_factory.mktemp(name)), "LC_ALL": "C.UTF-8"}
        environment = {**os.environ, **own, **{name: str(value) for name, value in variables.items()}}
        told = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout)
        assert told.returncode == 0, told.stdout + told.stderr
        facts: dict[str, Any] = {}
        for line in told.stdout.splitlines():
            facts |= json.loads(line)
        return facts

    return tell
