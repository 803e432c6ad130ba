"""One HTTP request to a gateway and its answer: over TLS, once, with an end, no further than where it was sent."""

import contextlib
import http.client
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
    connection = _connection(place)
    parts = urlsplit(place.url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.connect()
        sock = connection.sock
        with contextlib.closing(connection), Deadline(place.seconds, lambda: sock) as deadline:
            try:
                connection.request(place.method, path, body, {"User-Agent": "dojang", "Connection": "close", **headers})
                answer = connection.getresponse()
                content = answer.read(MOST_BYTES + 1)
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise Unanswered(problem_of(error, late=deadline.has_passed)) from error
            if deadline.has_passed:
                raise Unanswered(problem_of(TimeoutError()))
    except (OSError, ValueError) as error:
        connection.close()
        raise Unanswered(_unreached(error)) from error
    if len(content) > MOST_BYTES:
        raise Unanswered(Phrase("its answer is too long"))
    return Reply(answer.status, content)


def _unreached(error: Exception) -> Phrase:
    """Nothing was sent yet: then it is certain that nothing arrived."""
    return Phrase("it cannot be reached in time") if isinstance(error, TimeoutError) else problem_of(error)


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
