"""The door for CMP over HTTP (RFC 9811): every message is answered by a message; what is wrong with it, too.

/.well-known/cmp                    the only authority that is served
/.well-known/cmp/p/NAME             the authority NAME, or a profile of the only one
/.well-known/cmp/p/NAME/PROFILE     a profile of the authority NAME
/pkix/                              as the first; where older clients look
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dojang.centre.problems import CONTENT_TYPE, RETRY_AFTER, problem
from dojang.centre.state import note, source_of

if TYPE_CHECKING:
    from dojang.authority.base import Entry
    from dojang.authority.conversation import Conversation
    from dojang.authority.conversation.office import Order
    from dojang.authority.local import LocalAuthority
    from dojang.centre.metrics import Metrics
    from dojang.centre.state import Centre
    from dojang.cmp.faults import CmpFault
    from dojang.cmp.messages import Header

MEDIA_TYPE: Final = "application/pkixcmp"
_AWAY: Final = "systemUnavail"
_PATHS: Final = ("/.well-known/cmp", "/.well-known/cmp/", "/pkix", "/pkix/")
_NAMED: Final = ("/.well-known/cmp/p/{name}", "/.well-known/cmp/p/{name}/{profile}")


def routes(state: "Centre") -> list[Route]:
    """POST only; nothing is kept by whoever is in between."""
    conversations: dict[str, tuple[LocalAuthority, Conversation]] = {}

    def conversation(authority: "LocalAuthority") -> "Conversation":
        """Made once for each authority, and again when that was opened anew."""
        known = conversations.get(authority.name)
        if known is None or known[0] is not authority:
            known = conversations[authority.name] = authority, _conversation(authority, state.metrics)
        return known[1]

    async def answer(request: Request) -> Response:
        if not _is_cmp(request):
            raise HTTPException(415)
        authority, profile = _addressed(state, request)
        note(request, authority=authority.name)
        faults: list[CmpFault] = []

        def show(header: "Header") -> None:
            note(request, transaction=(header.transaction_id or b"").hex())

        work = conversation(authority).answer
        is_private = bool(request.scope.get("dojang.private"))
        der = await state.run(work, await request.body(), source_of(request), profile, faults.append, show, is_private)
        for fault in faults:
            note(request, outcome=fault.failure.spelling)
            state.metrics.cmp_failed(fault.failure.spelling)
            if fault.failure.spelling == _AWAY:
                # Without its token an authority can often not even protect a refusal, and whoever asks must not believe
                # one that is not. So it is HTTP that says it, which promises nothing but that another try may help.
                return Response(problem(503, code=_AWAY), 503, {"retry-after": str(RETRY_AFTER)}, CONTENT_TYPE.decode())
        return Response(der, headers={"cache-control": "no-store"}, media_type=MEDIA_TYPE)

    return [Route(path, answer, methods=["POST"]) for path in (*_PATHS, *_NAMED)]


def _is_cmp(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == MEDIA_TYPE


def _addressed(state: "Centre", request: Request) -> "tuple[LocalAuthority, str | None]":
    """Which authority is asked, and for which profile. Raises ``NotFound``."""
    name, profile = request.path_params.get("name"), request.path_params.get("profile")
    if name is not None and profile is None and name not in state.authorities and len(state.authorities) == 1:
        return state.authority(), name
    return state.authority(name), profile


def _conversation(authority: "LocalAuthority", metrics: "Metrics") -> "Conversation":
    from dojang.authority.conversation import Conversation
    from dojang.authority.conversation.local import LocalOffice

    class Counting(LocalOffice):
        """Every certificate that it issues is counted."""

        def issue(self, order: "Order", entry: "Callable[[bytes], Entry]") -> bytes:
            certificate_der = super().issue(order, entry)
            metrics.issued(self.name, order.profile)
            return certificate_der

    return Conversation(Counting(authority, authority.enrolments))
