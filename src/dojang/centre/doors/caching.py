"""What may be kept by whoever is in between, and for how long (RFC 9111; for OCSP RFC 5019 section 6)."""

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

LONGEST: Final = 3600
"""Seconds: a state that changes is seen after this, however long the answer before may be relied on."""


def kept_by_nobody(content: bytes, media_type: str) -> Response:
    """An answer for whoever asked and for now."""
    return Response(content, 200, {"cache-control": "no-store"}, media_type)


def kept_a_while(
    request: "Request", content: bytes, media_type: str, *, tag: str, begin_at: datetime, end_at: datetime, at: datetime
) -> Response:
    """An answer that may be kept; 304 for who has it already. ``tag`` is of no other content."""
    seconds = max(0, min(LONGEST, int((end_at - at).total_seconds())))
    headers = {
        "cache-control": f"max-age={seconds}, public, no-transform, must-revalidate",
        "etag": f'"{tag}"',
        "last-modified": _http(begin_at),
        "expires": _http(end_at),
    }
    if request.method != "POST" and _has_it(request, tag, begin_at):
        return Response(b"", 304, headers)
    return Response(content, 200, headers, media_type)


def _http(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def _has_it(request: "Request", tag: str, begin_at: datetime) -> bool:
    """A tag counts more than a moment (RFC 9110 section 13.1.3)."""
    tags = request.headers.get("if-none-match")
    if tags is not None:
        return any(one.strip().removeprefix("W/") in (f'"{tag}"', "*") for one in tags.split(","))
    since = request.headers.get("if-modified-since")
    if since is None:
        return False
    try:
        return begin_at.replace(microsecond=0) <= parsedate_to_datetime(since)
    except (ValueError, TypeError):
        return False
