"""The sockets that a centre listens on; they are opened once and may be shared by several processes."""

import contextlib
import re
import socket

from dojang.errors import CannotListen, Phrase, Usage

BACKLOG = 1024


def read_address(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``[IPV6]:PORT`` or ``:PORT``, the last meaning every address. Raises ``Usage``."""
    found = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]*)):(\d{1,5})", text)
    if found is None or int(found[3]) > 65535:
        raise Usage(problem=Phrase("'{address}' is not an address; write it as HOST:PORT", address=text[:80]))
    return found[1] or found[2], int(found[3])


def listen(host: str, port: int) -> list[socket.socket]:
    """A listening socket for each address of ``host``. Raises ``CannotListen``."""
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _kind, _protocol, _name, address in dict.fromkeys(found):
            one = socket.socket(family, socket.SOCK_STREAM)
            opened.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((address[0], opened[0].getsockname()[1] if len(opened) > 1 else port, *address[2:]))
            one.listen(BACKLOG)
            one.setblocking(False)
    except OSError as error:
        for one in opened:
            with contextlib.suppress(OSError):
                one.close()
        raise CannotListen(address=f"{host}:{port}", problem=error.strerror or str(error)) from error
    return opened


def address_of(one: socket.socket) -> str:
    """``HOST:PORT`` as it is bound."""
    host, port = one.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
