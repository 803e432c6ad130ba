"""The programs that can speak HTTP for a centre, by name; each is loaded only where it is asked for."""

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from dojang.errors import ExtraMissing, Phrase, Usage

if TYPE_CHECKING:
    from dojang.centre.gate import App
    from dojang.centre.host import Server
    from dojang.centre.limits import Limits
    from dojang.centre.state import Centre
    from dojang.centre.tls import TlsFiles

UVICORN: Final = "uvicorn"
GRANIAN: Final = "granian"
NAMES: Final = (UVICORN, GRANIAN)


def open_server(
    name: str,
    app: "App",
    state: "Centre",
    limits: "Limits",
    sockets: Sequence[socket.socket],
    tls: "TlsFiles | None",
) -> "Server":
    """The one of this name, which serves ``app`` on ``sockets``. Raises what ``check_server`` raises."""
    check_server(name, tls)
    if name == GRANIAN:
        from dojang.centre.granian_server import GranianServer

        return GranianServer(app, state, limits, sockets, tls)
    from dojang.centre.uvicorn_server import UvicornServer

    return UvicornServer(app, state, limits, sockets, tls)


def check_server(name: str, tls: "TlsFiles | None") -> None:
    """Raise ``ExtraMissing`` where it is not installed, ``Usage`` where it cannot keep what is asked of it.

    granian checks a caller's certificate but does not hand it to what it serves: an officer would be nobody.
    """
    if name != GRANIAN:
        return
    from importlib.util import find_spec

    if find_spec("granian") is None:
        raise ExtraMissing(module="granian", extra="granian")
    if tls is not None and tls.client_ca is not None:
        raise Usage(
            problem=Phrase("granian does not hand on callers' certificates; --client-ca needs --server uvicorn")
        )
