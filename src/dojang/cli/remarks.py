"""What is said beside the answer, on standard error: nothing that is under way ends because nobody reads it."""

import os
import sys


def remark(text: str) -> None:
    """Write it as it stands. Once standard error is a pipe without a reader or a full disk, no more is said."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        forget(sys.stderr.fileno())


def forget(stream: int) -> None:
    """What is written there from now on goes nowhere; what is still buffered must not raise again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream)
    os.close(nowhere)
