"""The private pcscd: several run side by side, none outlives who started it, and it says what it lacks."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dojang.testing.pcsc import SOCKET_VARIABLE, Pcscd, pcscd
from dojang.testing.piv import Card
from dojang.testing.setup import BringUpFailed

PATIENCE = 10.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="dojang-pcsc-") as name:
        yield Path(name)


def serials(daemon: Pcscd) -> str:
    """What OpenSC reads from the card in the first reader of this daemon."""
    done = subprocess.run(
        ["opensc-tool", "--serial"], env=os.environ | daemon.environment, capture_output=True, text=True, timeout=60
    )
    return done.stdout.replace(" ", "").lower()


def test_daemons_run_side_by_side(folder):
    """Each has its own socket, ports and readers, and shows its own card only."""
    with ExitStack() as stack:
        places = [folder / "a", folder / "b"]
        daemons = [stack.enter_context(Pcscd(place)) for place in places]
        cards = [stack.enter_context(Card(keys={})) for _ in daemons]
        for daemon, card in zip(daemons, cards, strict=True):
            card.insert(daemon.ports[0])
        for daemon, card in zip(daemons, cards, strict=True):
            assert card.guid.hex() in serials(daemon)
        assert len({port for daemon in daemons for port in daemon.ports}) == 4


def test_a_restarted_daemon_is_where_it_was(folder):
    """Socket and ports stay, so that clients and cards find it; the card has to be inserted again."""
    with Pcscd(folder) as daemon, Card(keys={}) as card:
        card.insert(daemon.ports[0])
        before = daemon.socket, daemon.ports
        daemon.restart()
        assert (daemon.socket, daemon.ports) == before
        deadline = time.monotonic() + PATIENCE
        while card.inserted:
            assert time.monotonic() < deadline
        card.insert(daemon.ports[0])
        assert card.guid.hex() in serials(daemon)


def test_a_killed_process_leaves_no_daemon(folder):
    """SIGKILL of whoever started it ends pcscd too."""
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom dojang.testing.pcsc import Pcscd\n"
        "daemon = Pcscd(Path(sys.argv[1]))\ndaemon.start()\nprint(*daemon.ports, flush=True)\ntime.sleep(60)\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=pipe, text=True) as owner:
        port = int(owner.stdout.readline().split()[0])
        assert _listens(port)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    deadline = time.monotonic() + PATIENCE
    while _listens(port):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_everybody_in_a_process_shares_one_daemon(pcsc_daemon):
    """libpcsclite knows one socket in a process: a second user gets the daemon that runs, and a reader of its own."""
    assert os.environ[SOCKET_VARIABLE] == str(pcsc_daemon.socket)
    with pcscd() as again:
        assert again is pcsc_daemon
        with again.reader() as first, again.reader() as second:
            assert first != second
            with pytest.raises(BringUpFailed, match="has a card"), again.reader():
                pass
    assert _listens(pcsc_daemon.ports[0])


def test_a_process_that_uses_another_daemon_already_is_told_so(pcsc_daemon):
    """Once libpcsclite is in use the variable comes too late; without this it would silently use another daemon."""
    script = (
        "import glob\nfrom dojang.pkcs11 import ModuleSearch, list_tokens\nfrom dojang.testing.pcsc import claim\n"
        "module = glob.glob('/usr/lib/*/opensc-pkcs11.so')[0]\n"
        "list_tokens(ModuleSearch(module=module, discover=False))\nclaim()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "call dojang.testing.pcsc.claim() before it" in done.stderr


def test_a_taken_port_is_left_to_who_has_it(folder):
    """Somebody else on the port: a first start takes other ports, a restart on the old ones says why it fails."""
    import socket

    with Pcscd(folder) as daemon:
        daemon.stop()
        with socket.create_server(("", daemon.ports[0])):
            with pytest.raises(BringUpFailed, match="taken meanwhile"):
                daemon.start()
            with Pcscd(folder / "other") as other:
                assert daemon.ports[0] not in other.ports


def test_what_is_missing_is_named(folder, monkeypatch):
    """Without the programs: the names of the packages, not a traceback from somewhere below."""
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **more: None if name == "pcscd" else real(name, **more))
    with pytest.raises(BringUpFailed, match="apt-get install pcscd vsmartcard-vpcd"):
        Pcscd(folder).start()
    with pytest.raises(BringUpFailed, match="too long"):
        Pcscd(folder / ("x" * 100))


def _listens(port: int) -> bool:
    """Whether somebody listens there; looked up, because a connection would be a card to the reader."""
    return any(
        fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port
        for fields in (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    )
