"""``dojang ARGS`` in a process of its own that need not import everything first: most of what a short command costs.

A process that has imported what the commands use, and has loaded no PKCS#11 module, forks one for each run. The run
gets its own arguments, environment, folder and standard streams, and ends as dojang ends. Where the environment would
change how the interpreter itself starts, a fresh one is started instead.
"""

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.zygote import PRELOAD

_LARGEST_ORDER = 1 << 18
_OLD_STREAMS: list[object] = []
_STARTS_OTHERWISE = ("PYTHON", "LD_", "MALLOC_", "OPENSSL_")


class Warm:
    """One for each process of tests; runs may be asked for by several threads."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST_ORDER)
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
        self._usual = {name: os.environ.get(name) for name in os.environ if name.startswith(_STARTS_OTHERWISE)}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                cwd=Path(__file__).parents[1],
                stdin=subprocess.DEVNULL,
            )

    def close(self) -> None:
        self._line.close()
        self._process.wait()

    def run(
        self, args: list[str], *, input: str | None, env: dict[str, str], timeout: float
    ) -> "subprocess.CompletedProcess[str]":
        """As ``subprocess.run`` with captured text; nothing is on standard input without ``input``."""
        command = [sys.executable, "-m", "dojang", *args]
        if not self._fits(env):
            nothing = subprocess.DEVNULL if input is None else None
            return subprocess.run(
                command, input=input, stdin=nothing, env=env, capture_output=True, text=True, timeout=timeout
            )
        return _Run(command, input, timeout).follow(self._line, {"args": args, "env": env, "cwd": str(Path.cwd())})

    def _fits(self, env: dict[str, str]) -> bool:
        """Whether an interpreter with this environment would have started as ours did."""
        starts = {name: value for name, value in env.items() if name.startswith(_STARTS_OTHERWISE)}
        return starts == self._usual and env.get("LC_ALL") == "C.UTF-8"


class _Run:
    """One run, from the order to its end; its streams are pipes, read until nobody holds them any more."""

    def __init__(self, command: list[str], input: str | None, timeout: float) -> None:
        self.command, self.timeout = command, timeout
        self.until = time.monotonic() + timeout
        self.input = memoryview((input or "").encode())
        self.heard: dict[int, bytearray] = {}
        self.pid: int | None = None

    def follow(self, line: socket.socket, order: dict) -> "subprocess.CompletedProcess[str]":
        stdin, feed = os.pipe()
        pipes = [os.pipe() for _ in range(3)]
        theirs = [stdin, *(written for _, written in pipes)]
        try:
            socket.send_fds(line, [json.dumps(order).encode()], theirs)
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        try:
            self._listen(feed, [ours for ours, _ in pipes])
        finally:
            for ours, _ in pipes:
                os.close(ours)
        out, err, status = (bytes(self.heard[ours]) for ours, _ in pipes)
        return subprocess.CompletedProcess(self.command, int(status.split()[1]), _text(out), _text(err))

    def _listen(self, feed: int, ours: list[int]) -> None:
        self.heard = {one: bytearray() for one in ours}
        os.set_blocking(feed, False)
        with selectors.DefaultSelector() as selector:
            for one in ours:
                selector.register(one, selectors.EVENT_READ)
            selector.register(feed, selectors.EVENT_WRITE)
            while selector.get_map():
                ready = selector.select(max(0, self.until - time.monotonic()))
                if not ready:
                    self._give_up(ours)
                for key, _ in ready:
                    if not (self._give(feed) if key.fd == feed else self._take(key.fd)):
                        selector.unregister(key.fd)
                        if key.fd == feed:
                            os.close(feed)

    def _give(self, feed: int) -> bool:
        try:
            self.input = self.input[os.write(feed, self.input) :] if self.input else self.input
        except BrokenPipeError:
            return False
        return bool(self.input)

    def _take(self, one: int) -> bool:
        heard = os.read(one, 1 << 16)
        self.heard[one] += heard
        return bool(heard)

    def _give_up(self, ours: list[int]) -> None:
        pid = self.heard[ours[2]].split()[:1]
        if pid:
            os.kill(int(pid[0]), signal.SIGKILL)
        out, err = (bytes(self.heard[one]) for one in ours[:2])
        raise subprocess.TimeoutExpired(self.command, self.timeout, out, err)


def _text(heard: bytes) -> str:
    return heard.decode().replace("\r\n", "\n")


def _serve(line: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        order, descriptors, _, _ = socket.recv_fds(line, _LARGEST_ORDER, 4)
        if not order:
            return
        if os.fork() == 0:
            line.close()
            _watch(json.loads(order), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _watch(order: dict, stdin: int, stdout: int, stderr: int, status: int) -> None:
    """Tell the number of the process that runs, and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(status)
        _become(order, stdin, stdout, stderr)
    for descriptor in (stdin, stdout, stderr):
        os.close(descriptor)
    os.write(status, f"{pid} ".encode())
    os.write(status, str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    os._exit(0)


def _become(order: dict, *streams: int) -> None:
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        _OLD_STREAMS.append(getattr(sys, name))  # dropped, they would close what is now ours
        errors = "strict" if number < 2 else "backslashreplace"
        stream = open(number, "w" if number else "r", encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    sys.argv = [str(Path(sys.modules["dojang"].__file__).with_name("__main__.py")), *order["args"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from dojang.__main__ import main

    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(int(end.code or 0))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def _warm_up() -> None:
    commands = Path(sys.modules["dojang"].__file__).parent.glob("cli/*.py")
    for name in (*PRELOAD, *(f"dojang.cli.{path.stem}" for path in commands if path.stem != "__init__")):
        with contextlib.suppress(Exception):  # the command that needs it says what is wrong
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    import dojang  # noqa: F401 - looked up where its folder is wanted

    _warm_up()
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        _serve(orders)
