"""Where ``dojang`` and ``python -m dojang`` start."""

import sys

TYPE_CHECKING = False  # as in the package: importing typing would cost --version more than everything else it does
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> "NoReturn":
    """Run one command line and end the process with its exit status.

    ``--version`` answers without loading the command line.
    """
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        from dojang import __version__

        sys.stdout.write(f"dojang {__version__}\n")
        sys.exit(0)
    if arguments[:2] == ["sign", "raw"]:
        _take_shortcut(arguments)
    # A command allocates far more than it drops: the collector would only slow its start down.
    import gc
    import signal

    gc.set_threshold(100_000)
    # Ctrl-C while the program is still being loaded waits until run() can answer it.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    from dojang.cli.run import run

    _leave(run(arguments))


def _take_shortcut(arguments: list[str]) -> None:
    """End the process here if the command is the one that has a short way."""
    from dojang.cli.shortcut import shortcut

    try:
        status = shortcut(arguments)
    except KeyboardInterrupt:
        status = 130
    if status is not None:
        _leave(status)


def _leave(status: int) -> "NoReturn":
    """End the process in an orderly way, but leave taking the interpreter apart to the kernel: 15 % of a short run.

    Modules are finalised by their exit handlers; every file and record is closed by the command that opened it.
    """
    import atexit
    import os

    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        status = status or 1
    os._exit(status)


if __name__ == "__main__":
    main()
