"""Revocation lists and certificates of authorities, at the addresses that certificates name.

``/crl/issuing-2.crl`` is the complete list of a signer and ``/crl/issuing-2-delta.crl`` its newest delta;
``/ca/issuing-2.cer`` is its certificate, and ``/ca/issuing-2.p7c`` has all certificates of its name and key.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.routing import Route

from dojang.centre.doors.caching import kept_a_while
from dojang.errors import NotFound, Phrase

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from dojang.authority.status.published import Published, Shown
    from dojang.centre.state import Centre

_Find = Callable[["Published", str], "Shown | None"]


def routes(state: "Centre") -> list[Route]:
    """Of the only authority, or with the name of one in front."""
    files: dict[str, _Find] = {
        "/crl/{signer}.crl": lambda published, name: published.revocation_list(name),
        "/ca/{signer}.cer": lambda published, name: published.certificate(name),
        "/ca/{signer}.p7c": lambda published, name: published.certificates(name),
    }
    found = []
    for path, find in files.items():
        found += [Route(f"{front}{path}", _door(state, find), methods=["GET"]) for front in ("", "/{name}")]
    return found


def _door(state: "Centre", find: _Find) -> Callable[["Request"], object]:
    async def answer(request: "Request") -> "Response":
        published = state.authority(request.path_params.get("name")).status.published
        shown = await state.run(find, published, request.path_params["signer"])
        if shown is None:
            raise NotFound(what=request.url.path[:128], where=Phrase("this centre"), command="dojang ca show")
        tag, begin_at, end_at = shown.tag, shown.begin_at, shown.end_at
        at = state.clock()
        return kept_a_while(request, shown.content, shown.media_type, tag=tag, begin_at=begin_at, end_at=end_at, at=at)

    return answer
