"""Whether granian can use TLS files, tried in a process of its own: where it cannot, it aborts the one it runs in."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from dojang.errors import FileMalformed, Phrase

if TYPE_CHECKING:
    from dojang.centre.tls import TlsFiles

_SECONDS: Final = 20


def try_tls(files: "TlsFiles") -> None:
    """Raise ``FileUnreadable`` or ``FileMalformed`` unless both OpenSSL and granian can use them."""
    files.context()
    try:
        subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "dojang.centre.granian_trial", str(files.certificate), str(files.key)],
            env={**os.environ, "RUST_BACKTRACE": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
    except subprocess.SubprocessError as error:
        expected = Phrase("a TLS certificate with its key, in PEM and without a password")
        raise FileMalformed(path=files.key, expected=expected, problem=Phrase("granian cannot use it")) from error


def _forbid_core_dumps() -> None:
    """They would hold the key."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


async def _listen(certificate: Path, key: Path) -> NoReturn:
    """The process ends at once: a thread of granian that comes back to an interpreter that is being taken down makes it
    hang, or aborts it. (``dojang`` itself never takes its interpreter down.)
    """
    from dojang.centre.granian_server import Listener
    from dojang.centre.limits import Limits
    from dojang.centre.sockets import listen
    from dojang.centre.tls import TlsFiles

    (listening,) = listen("127.0.0.1", 0)
    with listening:
        listener = Listener(listening, None, Limits(), 1, TlsFiles(certificate, key))
        await listener.begin()
    os._exit(0)


if __name__ == "__main__":
    _forbid_core_dumps()
    asyncio.run(_listen(Path(sys.argv[1]), Path(sys.argv[2])))
