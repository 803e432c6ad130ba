"""Where ``dojang`` and ``python -m dojang`` start."""

import sys


def main() -> int:
    """Run one command line and return its exit status; ``--version`` answers without loading the command line."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        from dojang import __version__

        sys.stdout.write(f"dojang {__version__}\n")
        return 0
    from dojang.cli.run import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
