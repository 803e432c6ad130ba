"""Where authorities answer: their URLs (RFC 9811 section 3.6). Loads nothing that connects."""

from typing import NamedTuple, Self
from urllib.parse import SplitResult, urlsplit

from dojang.errors import Phrase, Usage

USUAL_PATH = "/.well-known/cmp"
_PORTS = {"http": 80, "https": 443}


class Target(NamedTuple):
    """Where an authority answers, read from its URL."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def from_url(cls, url: str) -> Self:
        """``http://host[:port][/path]`` or the same with ``https``. Raises ``Usage``; no password is taken from it."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise _no_url(url) from error
        odd = any(not one.isprintable() or one.isspace() for one in url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None or odd:
            raise _no_url(url)
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], _path(parts))

    @property
    def name(self) -> str:
        """The host, with the port where that is not the usual one: how people are told who did not answer."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def url_of(name: str, beside: str) -> str:
    """The URL of the authority of that name at the centre that serves the URL ``beside``. Raises ``Usage``."""
    target = Target.from_url(beside)
    return f"{target.scheme}://{target.name}{USUAL_PATH}/p/{name}"


def is_url(text: str) -> bool:
    """Whether it is meant for the URL of an authority, rather than for the name of one here."""
    return text.partition("://")[0].lower() in _PORTS and "://" in text


def _no_url(url: str) -> Usage:
    shown = "".join(one for one in url.rpartition("@")[2][:200] if one.isprintable())
    problem = Phrase("'{url}' is not the URL of an authority; write it as https://host/path", url=shown)
    return Usage(problem=problem)


def _path(parts: SplitResult) -> str:
    path = parts.path if parts.path not in ("", "/") else USUAL_PATH
    return f"{path}?{parts.query}" if parts.query else path
