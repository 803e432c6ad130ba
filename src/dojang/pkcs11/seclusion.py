"""A process that keeps a PIN for long: no core file of it, and no other program of the user looks into its memory."""

import resource
import sys

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def seclude() -> None:
    """Forbid core files, and on Linux also tracing and reading by other processes of the same user (prctl(2))."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        from ctypes import CDLL, c_ulong

        CDLL(None).prctl(_PR_SET_DUMPABLE, c_ulong(0), c_ulong(0), c_ulong(0), c_ulong(0))
