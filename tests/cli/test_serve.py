"""``dojang serve`` as a service manager sees it: processes, signals, PINs, what is told and what is not."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.centre.serving import Served, serving, until

from dojang.pkcs11.softhsm import token_folder


@pytest.fixture(scope="module")
def office(make_token, dojang_at, tmp_path_factory, softhsm_module):
    """A root and an issuing authority below it, on two tokens with PINs of their own; and how to serve it."""
    home = tmp_path_factory.mktemp("served") / "home" / "dojang"
    home.mkdir(parents=True)
    run, root, issuing = dojang_at(home), make_token(pin="5678"), make_token(pin="hush-1a7c")
    words = ["ca", "init", "--alias", "office", "--key", f"{root.uri}?pin-value=5678", "--name", "CN=Root,C=KR"]
    words += ["--issuing-key", f"{issuing.uri}?pin-value=hush-1a7c", "--issuing-name", "CN=Office,C=KR", "--json"]
    founded = run(*words)
    assert founded.returncode == 0, founded.stderr
    own = {"HOME": str(home.parent), "DOJANG_HOME": str(home), "DOJANG_MODULE": softhsm_module}
    environment = {**os.environ, **own, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}

    @contextmanager
    def serve(*words: object, pin: str = "hush-1a7c", **more: str) -> Iterator[Served]:
        env = {**environment, "SECRET_OF_THE_TOKEN": pin, **more}
        words = ("--ca-pin-source", "env:SECRET_OF_THE_TOKEN", *words)
        with serving(tmp_path_factory.mktemp("manager"), env, *words) as served:
            yield served

    serve.run, serve.folder = run, home / "state/authorities/office"  # type: ignore[attr-defined]
    serve.serial = issuing.serial  # type: ignore[attr-defined]
    return serve


def _is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_one_process_serves_and_ends_in_good_order(office) -> None:
    """READY when it answers, RELOADING at SIGHUP, WATCHDOG on the way, STOPPING at SIGTERM, exit status 0.

    What is due now and then is done meanwhile.
    """
    with office(WATCHDOG_USEC="2000000") as served:
        served.began()
        served.told("READY=1")
        assert served.ask("/ready") == (200, b"ok\n")
        assert json.loads(served.ask("/ready", served.admin)[1]) == {"ok": True, "problems": {}}
        assert b"dojang_requests_total" in served.ask("/metrics", served.admin)[1]
        assert served.ask("/metrics")[0] == 404
        until(
            lambda: b'dojang_jobs_total{job="publish-lists",outcome="done"}' in served.ask("/metrics", served.admin)[1]
        )
        served.told("WATCHDOG=1")
        served.process.send_signal(signal.SIGHUP)
        served.told("RELOADING=1")
        assert served.ask("/health")[0] == 200
        assert served.stop() == 0
        served.told("STOPPING=1")
        requests = [json.loads(line) for line in served.log().splitlines()]
        assert {"/ready", "/health"} <= {one.get("path") for one in requests}


def test_workers_share_the_work_and_one_that_dies_is_replaced(office) -> None:
    """Killed -9 in the middle of requests: others go on answering, a new one comes, what both counted is added up."""
    with office("--workers", 2, "--rate", 0) as served:
        served.began()
        served.told("READY=1")
        until(lambda: json.loads(served.ask("/ready", served.admin)[1]) == {"ok": True, "problems": {}})
        before = served.workers()
        assert len(before) == 2
        answered, failed, over = [], [], threading.Event()

        def keep_asking() -> None:
            while not over.wait(0.01):
                try:
                    answered.append(served.ask("/health")[0])
                except (OSError, http.client.HTTPException):
                    failed.append(1)  # its connection was the dead one's; the next request finds another

        threads = [threading.Thread(target=keep_asking) for _ in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: len(answered) > 20)
        os.kill(before[0], signal.SIGKILL)
        until(lambda: len(served.workers()) == 2 and set(served.workers()) != set(before))
        until(lambda: json.loads(served.ask("/ready", served.admin)[1])["problems"] == {})
        over.set()
        for thread in threads:
            thread.join()
        assert set(answered) == {200}
        assert len(failed) < 10
        page = served.ask("/metrics", served.admin)[1].decode()
        counted = next(line for line in page.splitlines() if 'requests_total{door="health",status="200"}' in line)
        in_flight = 3  # answered, and not counted yet when it died
        assert len(answered) - in_flight <= float(counted.split()[-1]) <= len(answered) + len(failed)
        now = served.workers()
        assert served.stop() == 0
        assert not any(map(_is_alive, now))


def test_workers_whose_token_was_away_are_all_ready_again_when_it_is_back(office, tmp_path) -> None:
    """The same processes, without anybody's help; meanwhile each is named with what it lacks."""
    (folder,) = Path(token_folder()).glob(f"*-{office.serial[:4]}-{office.serial[4:]}")

    def ready() -> dict[str, Any]:
        return json.loads(served.ask("/ready", served.admin)[1])

    with office("--workers", 2) as served:
        served.began()
        until(lambda: ready() == {"ok": True, "problems": {}})
        workers = set(served.workers())
        shutil.move(folder, tmp_path / "away")
        until(lambda: not ready()["ok"])
        until(lambda: {"0:hsm:office", "1:hsm:office"} <= ready()["problems"].keys())
        assert served.ask("/ready")[0] == 503
        shutil.move(tmp_path / "away", folder)
        until(lambda: ready() == {"ok": True, "problems": {}})
        assert set(served.workers()) == workers


def test_granian_serves_by_the_same_signals(office) -> None:
    """Two workers: ready, settings read again at SIGHUP, a new worker for one that dies, all ended by SIGTERM."""
    with office("--workers", 2, "--server", "granian") as served:
        served.began()
        served.told("READY=1")
        until(lambda: json.loads(served.ask("/ready", served.admin)[1]) == {"ok": True, "problems": {}})
        before = served.workers()
        served.process.send_signal(signal.SIGHUP)
        until(lambda: served.log().count('"event": "reloaded"') == 2)
        os.kill(before[0], signal.SIGKILL)
        until(lambda: len(served.workers()) == 2 and set(served.workers()) != set(before))
        assert served.ask("/ready") == (200, b"ok\n")
        now = served.workers()
        assert served.stop() == 0
        served.told("STOPPING=1")
        assert not any(map(_is_alive, now))
        assert {json.loads(line)["level"] for line in served.log().splitlines()} <= {"info", "warning"}


def test_settings_that_changed_hold_after_a_hangup(office) -> None:
    """SIGHUP: what cannot be read changes nothing and is told; what can be is in force, without a pause in serving."""
    settings, workers = office.folder / "authority.toml", 2
    with office("--workers", workers) as served:
        served.began()
        until(lambda: json.loads(served.ask("/ready", served.admin)[1]) == {"ok": True, "problems": {}})
        settings.write_text("nonsense")
        served.process.send_signal(signal.SIGHUP)
        until(lambda: served.log().count('"event": "not reloaded"') == workers)
        assert served.ask("/ready")[0] == 200
        settings.write_text("unconfirmed-hours = 12\n")
        served.process.send_signal(signal.SIGHUP)
        until(lambda: served.log().count('"event": "reloaded"') == workers)
        assert served.ask("/ready")[0] == 200
    settings.unlink()


def test_workers_know_no_secret_from_outside_and_end_with_whoever_started_them(office) -> None:
    """Neither in environment nor arguments nor in the log; and without a supervisor they end by themselves."""
    with office("--workers", 2) as served:
        served.began()
        until(lambda: len(served.workers()) == 2)
        workers = served.workers()
        for pid in workers:
            assert b"hush-1a7c" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"SECRET_OF_THE_TOKEN" not in environment
            assert b"NOTIFY_SOCKET" not in environment
        served.process.kill()
        until(lambda: not any(map(_is_alive, workers)))
        assert "hush-1a7c" not in served.log()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_wrong_pin_is_tried_once_and_ends_it(office, workers) -> None:
    """7 and a clear error, before anybody is served; no worker tries it after that."""
    with office("--workers", workers, pin="9999") as served:
        said = json.loads(served.process.stdout.read())
        assert (served.process.wait(30), said["error"]["code"]) == (
            7,
            "pin-incorrect" if workers == 1 else "pin-known-wrong",
        )
        assert "worker" not in served.log()


def test_a_root_issues_only_where_that_was_said(make_token, run_dojang, tmp_path) -> None:
    """A root without an issuing authority below it stays offline: 9, and what to do about it."""
    token = make_token()
    words = ["ca", "init", "--alias", "alone", "--key", token.uri, "--name", "CN=Root,C=KR"]
    assert run_dojang(*words, "--pin-source", token.pin_source).returncode == 0
    words = [
        "serve",
        "--ca-pin-source",
        token.pin_source,
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "none",
        "--json",
    ]
    refused = run_dojang(*words)
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (9, "root-offline")
    served = run_dojang(*words, "--root-online", "--timeout", "1")
    assert [json.loads(line)["data"]["event"] for line in served.stdout.splitlines()] == ["serving", "stopped"]
    assert served.returncode == 0


def test_what_cannot_be_served_is_refused_before_anybody_listens(office, tmp_path) -> None:
    """Usage for options that do not fit, files that are not there by name, an address in use; a plan does nothing."""
    run, missing = office.run, tmp_path / "missing.pem"
    tls = ["--tls-certificate", missing, "--tls-key", missing]
    for words, code in (
        (["--tls-certificate", missing], "usage"),
        (["--client-ca", missing], "usage"),
        (["--server", "granian", *tls, "--client-ca", missing], "usage"),
        (tls, "file-unreadable"),
        (["--trusted-proxy", "nobody"], "usage"),
        (["--listen", "nowhere"], "usage"),
        (["--ca", "nobody", "--listen", "127.0.0.1:0"], "not-found"),
    ):
        refused = run("serve", "--admin-listen", "none", *words, "--json")
        assert json.loads(refused.stdout)["error"]["code"] == code, words
    with socket.create_server(("127.0.0.1", 0)) as held:
        refused = run("serve", "--listen", f"127.0.0.1:{held.getsockname()[1]}", "--json")
        assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (9, "cannot-listen")
    planned = json.loads(run("serve", "--plan", "--json").stdout)["data"]
    assert (planned["changed"], planned["authorities"]) == (False, ["office"])


def test_the_pin_is_found_where_the_service_manager_puts_it(office, tmp_path) -> None:
    """LoadCredential=ca-pin: nothing else need be said."""
    pin = tmp_path / "ca-pin"
    pin.write_text("hush-1a7c\n")
    pin.chmod(0o400)
    words = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "none", "--timeout", "0.1", "--no-input", "--json"]
    served = office.run(*words, env={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert served.returncode == 0, served.stdout + served.stderr


def test_the_unit_is_what_systemd_takes(run_dojang, tmp_path) -> None:
    """systemd's own checker finds nothing to complain about, nothing is left to be filled in, and what was asked for
    beside it is what the service is started with."""
    options = ["--ca", "100% office", "--listen", "0.0.0.0:443", "--listen", "[::]:443", "--workers", "4", "--no-jobs"]
    text = run_dojang("serve", "--print-unit", *options, "--tls-key", "centre.key").stdout
    (started,) = (line for line in text.splitlines() if line.startswith("ExecStart="))
    given = f'--listen 0.0.0.0:443 --listen "[::]:443" --workers 4 --tls-key {Path.cwd() / "centre.key"} --no-jobs'
    assert started.endswith(f'serve --no-input --ca "100%% office" {given}')
    assert "@" not in text.replace("@system-service", "")
    assert {"Type=notify", "NoNewPrivileges=yes", "ProtectSystem=strict"} <= set(text.splitlines())
    unit = tmp_path / "dojang-serve.service"
    unit.write_text(text)
    assert shutil.which("systemd-analyze"), "systemd-analyze is needed to check the unit"
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, env=env)
    assert (checked.returncode, checked.stderr) == (0, "")
