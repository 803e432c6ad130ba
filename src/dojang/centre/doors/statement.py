"""The certification practice statement of an authority, at the address that its certificates name: ``/cps``.

It is the file ``cps.html``, ``cps.pdf`` or ``cps.txt`` in the authority's folder; without one there is nothing.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from starlette.routing import Route

from dojang.centre.doors.caching import LONGEST, kept_a_while
from dojang.errors import NotFound, Phrase

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from dojang.centre.state import Centre

_TYPES: Final = {
    "cps.html": "text/html; charset=utf-8",
    "cps.pdf": "application/pdf",
    "cps.txt": "text/plain; charset=utf-8",
}


class _Statement(NamedTuple):
    content: bytes
    media_type: str
    changed_at: datetime


def routes(state: "Centre") -> list[Route]:
    """Of the only authority, or with the name of one in front."""
    return [Route(f"{front}/cps", _door(state), methods=["GET"]) for front in ("", "/{name}")]


def _door(state: "Centre") -> Callable[["Request"], object]:
    async def answer(request: "Request") -> "Response":
        authority = state.authority(request.path_params.get("name"))
        found = await state.run(_read, authority.folder)
        if found is None:
            raise NotFound(what=request.url.path[:128], where=Phrase("this centre"), command="dojang ca show")
        at = state.clock()
        return kept_a_while(
            request,
            found.content,
            found.media_type,
            tag=hashlib.sha256(found.content).hexdigest()[:32],
            begin_at=found.changed_at,
            end_at=at + timedelta(seconds=LONGEST),
            at=at,
        )

    return answer


def _read(folder: "Path") -> _Statement | None:
    for name, media_type in _TYPES.items():
        try:
            changed = (folder / name).stat().st_mtime
            return _Statement((folder / name).read_bytes(), media_type, datetime.fromtimestamp(int(changed), UTC))
        except OSError:
            continue
    return None
