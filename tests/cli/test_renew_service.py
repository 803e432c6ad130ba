"""``dojang renew daemon``, ``status`` and ``unit``: what a service manager and a monitoring system rely on."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest


class Manager:
    """The socket on which a service tells how it is."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(30)

    def wait_for(self, word: str) -> str:
        while True:
            said = self.socket.recv(4096).decode()
            if word in said:
                return said


class Daemon:
    """A daemon and what it says, line by line."""

    def __init__(self, process: subprocess.Popen, manager: Manager) -> None:
        self.process, self.manager = process, manager

    def event(self, *kinds: str) -> dict:
        """The next event of one of these kinds."""
        for line in self.process.stdout:
            said = json.loads(line)
            assert (said["command"], said["ok"]) == ("renew daemon", True), line
            if said["data"]["event"] in kinds:
                return said["data"]
        raise AssertionError(f"it ended without {kinds}")

    def stop(self, number: int = signal.SIGTERM) -> float:
        """How long it takes to end in good order."""
        begun = time.monotonic()
        self.process.send_signal(number)
        self.process.stdout.read()
        assert self.process.wait(10) == 0
        return time.monotonic() - begun


@pytest.fixture
def serve(desk, tmp_path: Path):
    """Starts a daemon at the desk and ends it."""

    @contextmanager
    def start(*words: object, **environment: str) -> Iterator[Daemon]:
        manager = Manager(tmp_path)
        env = {**desk.environment, "NOTIFY_SOCKET": str(manager.path), **environment}
        # Its standard error is no pipe: a hook that outlives it would hold that open.
        with (tmp_path / "said").open("w") as said:
            process = desk.start("renew", "daemon", *words, "--json", env=env, stderr=said)
        try:
            manager.wait_for("READY=1")
            yield Daemon(process, manager)
        finally:
            process.kill()
            process.communicate()
            manager.socket.close()
            manager.path.unlink()

    return start


def test_it_renews_what_has_its_turn(desk, serve, tmp_path: Path) -> None:
    """The due one is renewed, the other left alone, and where a copy is still the old one is told, as after a run;
    then it waits, says until when, and ends within seconds.
    """
    due, early = desk.issue("due"), desk.issue("early", profile="tls-client")
    desk.data("location", "copy", due, "--to", f"pem:{tmp_path}/copy.pem")
    with serve("npki:", WATCHDOG_USEC="400000") as daemon:
        renewed = daemon.event("renewed", "failed")
        assert renewed["credential"]["address"] == due
        assert renewed["previous"]["state"] == "retired"
        assert [one.partition("?")[0] for one in renewed["copies"]] == [f"pem:{tmp_path}/copy.pem"]
        assert daemon.event("waiting", "renewed")["event"] == "waiting"
        daemon.manager.wait_for("STATUS=")
        daemon.manager.wait_for("WATCHDOG=1")
        assert daemon.stop() < 5
        daemon.manager.wait_for("STOPPING=1")
    states = {one["address"]: one["state"] for one in desk.data("cert", "list", "npki:")["credentials"]}
    assert states[due] == states[early] == "valid"


def test_one_that_fails_stops_no_other(desk, serve) -> None:
    """One whose hook refuses is told once and not tried again; SIGHUP tries again, with the settings as they are."""
    good = desk.issue("good")
    desk.issue("bad", f"npki:{desk.home}/Elsewhere")
    places = ["npki:", f"npki:{desk.home}/Nowhere", desk.token]
    pre = desk.home / "pre"
    pre.write_text('#!/bin/sh\ncase "$DOJANG_SUBJECT" in CN=bad*) exit 1;; esac\n')
    pre.chmod(0o700)
    desk.configure(f'[renew]\npre-hook = ["{pre}"]\n')
    with serve(*places, f"npki:{desk.home}/Elsewhere") as daemon:
        events = [daemon.event("renewed", "failed") for _ in range(2)]
        assert sorted(one["event"] for one in events) == ["failed", "renewed"]
        failed = next(one for one in events if one["event"] == "failed")
        assert failed["code"] == "hook-failed"
        assert next(one for one in events if one["event"] == "renewed")["credential"]["address"] == good
        daemon.event("waiting")
        desk.configure("")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.event("reloaded")
        assert daemon.event("renewed", "failed")["event"] == "renewed"
        daemon.event("waiting")
        desk.configure("nonsense")
        daemon.process.send_signal(signal.SIGHUP)
        assert daemon.event("failed", "reloaded")["code"] == "invalid-setting"
        assert daemon.event("waiting")
        assert daemon.stop() < 5


def test_a_token_that_is_put_in(desk, serve, make_token) -> None:
    """Its coming begins a round at once."""
    with serve() as daemon:
        daemon.event("waiting")
        make_token()
        daemon.event("waiting")
        assert daemon.stop(signal.SIGINT) < 5


def test_a_damaged_folder_is_told_once_for_each_change(desk, serve) -> None:
    """In the first round, with what to do next; not in the second; and in the third that it is well again. The line
    for monitoring warns of it.
    """
    desk.issue("good", profile="tls-client")
    (certificate,) = desk.home.parent.glob("NPKI/*/USER/cn=good*/signCert.der")
    whole = certificate.read_bytes()
    certificate.write_bytes(b"damaged")
    line = desk.run("renew", "status", "npki:")
    assert (line.returncode, line.stdout[:8], line.stdout.count("\n")) == (15, "WARNING:", 1)
    assert "Restore its signCert.der" in line.stdout.partition("|")[0]
    assert "damaged=1" in line.stdout.partition("|")[2]
    with serve("npki:", "--no-watch") as daemon:
        kinds = "unreachable", "reachable", "waiting"
        told = daemon.event(*kinds)
        assert (told["event"], told["code"], "signCert.der" in told["next"]) == ("unreachable", "file-malformed", True)
        assert daemon.event(*kinds)["event"] == "waiting"
        daemon.process.send_signal(signal.SIGHUP)
        assert daemon.event(*kinds)["event"] == "waiting"
        certificate.write_bytes(whole)
        daemon.process.send_signal(signal.SIGHUP)
        well = daemon.event(*kinds)
        assert (well["event"], well["address"]) == ("reachable", told["address"])
        assert daemon.event(*kinds)["event"] == "waiting"
        assert daemon.stop() < 5


def test_a_clock_that_is_set(desk, serve, tmp_path: Path) -> None:
    """Put forward by most of a year, it renews within seconds; put back, it goes on and still ends within seconds."""
    source = Path(__file__).parents[1] / "faults" / "stories" / "clock.c"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", tmp_path / "clock.so", source], check=True)
    offset = tmp_path / "offset"
    offset.write_bytes(bytes(8))
    address = desk.issue("later", profile="tls-client")
    clock = {"LD_PRELOAD": str(tmp_path / "clock.so"), "CLOCK_OFFSET": str(offset)}
    with serve("npki:", "--no-watch", **clock) as daemon:
        daemon.event("waiting")
        _jump(offset, days=340)
        assert daemon.event("renewed", "failed")["credential"]["address"] == address
        daemon.event("waiting")
        _jump(offset, days=0)
        assert daemon.stop() < 5


def _jump(offset: Path, days: int) -> None:
    with offset.open("r+b") as file:
        file.write((days * 86400).to_bytes(8, sys.byteorder, signed=True))


def test_a_notice_arrives_once(desk) -> None:
    """A round for a timer tells of a certificate of another institution, in Korean where that is set, and only once."""
    posts: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Nothing on standard error."""

    desk.issue("elsewhere", f"npki:{desk.home}/NPKI")
    stranger = desk.twin("stranger")
    (stranger.home / "state" / "authorities").unlink()
    (stranger.home / "secret").write_text("shared secret")
    (stranger.home / "secret").chmod(0o600)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        hook = f'url = "http://127.0.0.1:{server.server_port}/"\nsecret-source = "file:{stranger.home}/secret"\n'
        stranger.configure(f'lang = "ko"\n[notices]\ndays = [300, 7]\n[notices.webhook]\n{hook}')
        runs = [stranger.run("renew", "run", "--in-turn", f"npki:{desk.home}/NPKI", "--json") for _ in range(2)]
        server.shutdown()
    assert [run.returncode for run in runs] == [14, 14], runs
    assert [(one["reason"], one["threshold"]) for one in posts] == [("unknown-origin", 300)]
    assert "인증서" in posts[0]["title"]
    (notice,) = json.loads(runs[0].stdout)["data"]["notices"]
    assert (notice["channel"], notice["delivered"]) == ("webhook", True)


def test_ending_in_the_middle(desk, serve) -> None:
    """In the middle of a renewal that takes long it ends within seconds, and the next run recovers it."""
    address = desk.issue("cut")
    desk.configure('[renew]\npre-hook = ["sleep", "30"]\n')
    with serve("npki:", "--no-watch") as daemon:
        ledger = desk.home / "state" / "ledger.sqlite"
        deadline = time.monotonic() + 30
        while "claimed" not in _steps(ledger):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert daemon.stop() < 5
    desk.configure("")
    run = desk.data("renew", "run", "npki:")
    assert [one["outcome"] for one in run["recovered"]] == ["undone"]
    assert [one["credential"]["address"] for one in run["renewed"]] == [address]


def _steps(ledger: Path) -> list[str]:
    import sqlite3

    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as database:
        return [row[0] for row in database.execute("SELECT step FROM operations WHERE state = 'open'")]


def test_status_in_one_line(desk) -> None:
    """No certificate is 14, a sound one 0, one that failed 15 with the reason; --nagios maps to 0, 1, 2 and 3."""
    words = ["renew", "status", "npki:"]
    assert desk.run(*words).returncode == 14
    assert desk.run(*words, "--nagios").returncode == 3
    address = desk.issue("sound", profile="tls-client")
    sound = desk.run(*words)
    assert sound.returncode == 0
    assert sound.stdout.startswith("OK: ")
    assert sound.stdout.count("\n") == 1
    assert "certificates=1 due=0" in sound.stdout.partition("|")[2]
    assert desk.run("renew", "run", address, "--window", "400d", "--pre-hook", "false").returncode == 15
    for more, status in (([], 15), (["--nagios"], 1), (["--nagios", "--critical", "400d"], 2)):
        ailing = desk.run(*words, *more, "--json")
        assert ailing.returncode == status
    data = json.loads(ailing.stdout)["data"]
    assert [(one["kind"], one["code"]) for one in data["troubles"]] == [("failing", "hook-failed")]
    assert desk.run("renew", "now", address).returncode == 0
    assert desk.run(*words).returncode == 0


def test_a_check_that_cannot_be_made(tmp_path: Path, capsys) -> None:
    """A broken configuration is UNKNOWN to monitoring: 3, and the reason on the line that it reads."""
    from dojang.cli.run import run

    (tmp_path / "config.toml").write_text("renewal-window-days = 0|1\n")
    words = ["--config", str(tmp_path / "config.toml"), "--lang", "en", "renew", "status"]
    assert run([*words, "--nagios"]) == 3
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("UNKNOWN: ")
    assert ("config.toml" in line, "|" in line) == (True, False)
    assert (run([*words, "--nagios", "--quiet"]), capsys.readouterr().out) == (3, "UNKNOWN\n")
    assert run([*words, "--nagios", "--json"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["exit"]) == ("invalid-setting", 3)
    assert run(words) == 2


@pytest.mark.parametrize("user", [[], ["--user"]], ids=["system", "user"])
def test_units_are_what_systemd_takes(run_dojang, tmp_path: Path, user: list[str]) -> None:
    """systemd's own checker finds nothing to complain about in what is printed, and nothing is left to be filled in."""
    folder = tmp_path / "units"
    folder.mkdir()
    for which in ("service", "timer", "daemon"):
        name = json.loads(run_dojang("renew", "unit", which, *user, "--json").stdout)["data"]["name"]
        assert run_dojang("renew", "unit", which, *user, "-o", folder / name).returncode == 0
        text = (folder / name).read_text()
        assert text == run_dojang("renew", "unit", which, *user).stdout
        assert "@" not in text.replace("@system-service", "")
    assert shutil.which("systemd-analyze"), "systemd-analyze is needed to check the units"
    command = ["systemd-analyze", "verify", *user, *map(str, sorted(folder.iterdir()))]
    checked = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    )
    assert (checked.returncode, checked.stderr) == (0, "")
