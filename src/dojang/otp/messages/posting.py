"""One HTTP request to a gateway and its answer: over TLS, once, with an end, no further than where it was sent."""

import contextlib
import http.client
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from dojang.errors import Phrase
from dojang.otp.messages.deadline import Deadline
from dojang.otp.messages.undelivered import problem_of

MOST_BYTES: Final = 64 * 1024
"""Of an answer; what is longer is none."""
_OWN_HEADERS: Final = {"User-Agent": "dojang", "Connection": "close"}


class Unanswered(Exception):
    """No answer that can be used came; ``problem`` is a phrase."""

    def __init__(self, problem: Phrase) -> None:
        super().__init__(problem)
        self.problem = problem


class Reply(NamedTuple):
    """Redirections are replies like others: nothing goes after them."""

    status: int
    body: bytes


class Place(NamedTuple):
    """Where and how to post. ``trust`` has the certificates to check with, if not the system's own."""

    url: str
    method: str
    seconds: float
    trust: Path | None


def post(place: Place, headers: Mapping[str, str], body: bytes) -> Reply:
    """Raises ``Unanswered``."""
    connection, sockets = _connection(place), list[socket.socket]()
    # The connection forgets its socket while its answer is still being read.
    with contextlib.closing(connection), Deadline(place.seconds, lambda: next(iter(sockets), None)) as deadline:
        try:
            connection.connect()
            sockets.append(connection.sock)
        except (OSError, ValueError) as error:  # nothing was sent yet: it is certain that nothing arrived
            late = isinstance(error, TimeoutError)
            raise Unanswered(Phrase("it cannot be reached in time") if late else problem_of(error)) from error
        if deadline.has_passed:
            raise Unanswered(Phrase("it cannot be reached in time"))
        try:
            connection.request(place.method, _path(place.url), body, {**_OWN_HEADERS, **headers})
            answer = connection.getresponse()
            content = answer.read(MOST_BYTES + 1)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unanswered(problem_of(error, late=deadline.has_passed)) from error
    if deadline.has_passed:
        raise Unanswered(problem_of(TimeoutError()))
    if len(content) > MOST_BYTES:
        raise Unanswered(Phrase("its answer is too long"))
    return Reply(answer.status, content)


def _path(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _connection(place: Place) -> http.client.HTTPConnection:
    parts = urlsplit(place.url)
    assert parts.hostname is not None
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=place.seconds)
    try:
        context = ssl.create_default_context(cafile=place.trust)
    except OSError as error:
        raise Unanswered(Phrase("the certificates to check it with cannot be read")) from error
    return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=place.seconds, context=context)
