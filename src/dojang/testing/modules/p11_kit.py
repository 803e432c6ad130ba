"""p11-kit's remoting: the module is a client, the token lies behind a server at the other end of a unix socket."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dojang.testing.daemon import Daemon
from dojang.testing.modules import softhsm
from dojang.testing.modules.parts import library, program
from dojang.testing.setup import TokenSetup


@contextmanager
def bring_up(folder: Path) -> Iterator[TokenSetup]:
    """A SoftHSM2 token, served; who uses it knows the socket alone."""
    with softhsm.bring_up(folder) as behind:
        socket = folder / "p11-kit.sock"
        serve = [program("p11-kit", "p11-kit"), "server", "-f", "-n", str(socket)]
        serve += ["--provider", str(behind.module), behind.uri]
        server = Daemon(serve, ready=socket.exists, log=folder / "server.log", environment=behind.environment)
        with server:
            yield replace(
                behind,
                name="p11-kit",
                module=library("pkcs11/p11-kit-client.so", "p11-kit-modules"),
                environment={"P11_KIT_SERVER_ADDRESS": f"unix:path={socket}"},
                daemons={"p11-kit server": server},
            )
