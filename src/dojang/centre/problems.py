"""An error of ours as an HTTP answer, in one place: the status, and a problem document (RFC 9457)."""

import json
from typing import Any, Final

from dojang.errors import (
    AlreadyExists,
    AuthorityError,
    CentreBusy,
    DojangError,
    NotFound,
    PolicyError,
    StateUnreadable,
    UnsupportedError,
    UserError,
    VerificationFailed,
)

CONTENT_TYPE: Final = b"application/problem+json"
RETRY_AFTER: Final = 5
_STATUS: Final[tuple[tuple[type[DojangError], int], ...]] = (
    (NotFound, 404),
    (AlreadyExists, 409),
    (VerificationFailed, 403),
    (PolicyError, 403),
    (AuthorityError, 403),
    (UnsupportedError, 422),
    (StateUnreadable, 503),
    (UserError, 400),
)
WORDS: Final = {
    400: "Bad request",
    403: "Refused",
    404: "Not found",
    405: "Method not allowed",
    408: "The request took too long",
    409: "There already",
    413: "The request is too large",
    415: "Unsupported media type",
    422: "Not supported",
    429: "Too many requests",
    431: "The header is too large",
    500: "Internal error",
    503: "Not available just now",
}


def status_of(error: DojangError) -> int:
    """503 for what may succeed later by itself, 500 for what no caller can mend."""
    if error.retryable:
        return 503
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def retry_after(error: DojangError) -> int | None:
    """Seconds after which to come again, where that helps."""
    if isinstance(error, CentreBusy):
        return int(str(error.facts["seconds"]))
    return RETRY_AFTER if status_of(error) == 503 else None


def problem_of(error: DojangError) -> bytes:
    """What a caller may know: for an error that is not his, no more than that there was one."""
    status = status_of(error)
    if status >= 500 and not isinstance(error, CentreBusy):
        return problem(status, code=error.code)
    return problem(status, code=error.code, detail=error.message(), next=error.advice())


def problem(status: int, **more: Any) -> bytes:
    """A problem document."""
    title = WORDS.get(status, "Error")
    return json.dumps({"type": "about:blank", "title": title, "status": status, **more}, default=str).encode()
