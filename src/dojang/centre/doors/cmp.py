"""The door for CMP over HTTP (RFC 9811): every message is answered by a message; what is wrong with it, too.

/.well-known/cmp                    the only authority that is served
/.well-known/cmp/p/NAME             the authority NAME, or a profile of the only one
/.well-known/cmp/p/NAME/PROFILE     a profile of the authority NAME
/pkix/                              as the first; where older clients look
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.routing import Route

from dojang.centre.plain import body_of, header_of, reply
from dojang.centre.problems import CONTENT_TYPE, RETRY_AFTER, problem
from dojang.centre.state import note_in, source_in

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from dojang.authority.base import Entry
    from dojang.authority.conversation import Conversation
    from dojang.authority.conversation.office import Order
    from dojang.authority.local import LocalAuthority
    from dojang.centre.metrics import Metrics
    from dojang.centre.state import Centre
    from dojang.cmp.faults import CmpFault
    from dojang.cmp.messages import Header

MEDIA_TYPE: Final = b"application/pkixcmp"
_ANSWERED: Final = ((b"cache-control", b"no-store"), (b"content-type", MEDIA_TYPE))
_COME_AGAIN: Final = ((b"retry-after", b"%d" % RETRY_AFTER), (b"content-type", CONTENT_TYPE))
_AWAY: Final = "systemUnavail"
_PATHS: Final = ("/.well-known/cmp", "/.well-known/cmp/", "/pkix", "/pkix/")
_NAMED: Final = ("/.well-known/cmp/p/{name}", "/.well-known/cmp/p/{name}/{profile}")


def routes(state: "Centre") -> list[Route]:
    """POST only; nothing is kept by whoever is in between."""
    door = _Door(state)
    return [Route(path, door, methods=["POST"]) for path in (*_PATHS, *_NAMED)]


class _Door:
    """An application that answers the messages of all authorities."""

    def __init__(self, state: "Centre") -> None:
        self._state = state
        self._conversations: dict[str, tuple[LocalAuthority, Conversation]] = {}

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if not _is_cmp(scope):
            raise HTTPException(415)
        authority, profile = self._addressed(scope["path_params"])
        note_in(scope, authority=authority.name)
        faults: list[CmpFault] = []

        def show(header: "Header") -> None:
            note_in(scope, transaction=(header.transaction_id or b"").hex())

        work, body = self._conversation(authority).answer, await body_of(receive)
        is_private = bool(scope.get("dojang.private"))
        der = await self._state.run(work, body, source_in(scope), profile, faults.append, show, is_private)
        for fault in faults:
            note_in(scope, outcome=fault.failure.spelling)
            self._state.metrics.cmp_failed(fault.failure.spelling)
            if fault.failure.spelling == _AWAY:
                # Without its token an authority can often not even protect a refusal, and whoever asks must not believe
                # one that is not. So it is HTTP that says it, which promises nothing but that another try may help.
                await reply(send, 503, problem(503, code=_AWAY), _COME_AGAIN)
                return
        await reply(send, 200, der, _ANSWERED)

    def _conversation(self, authority: "LocalAuthority") -> "Conversation":
        """Made once for each authority, and again when that was opened anew."""
        known = self._conversations.get(authority.name)
        if known is None or known[0] is not authority:
            known = self._conversations[authority.name] = authority, _conversation(authority, self._state.metrics)
        return known[1]

    def _addressed(self, named: "Mapping[str, str]") -> "tuple[LocalAuthority, str | None]":
        """Which authority is asked, and for which profile. Raises ``NotFound``."""
        state, name, profile = self._state, named.get("name"), named.get("profile")
        if name is not None and profile is None and name not in state.authorities and len(state.authorities) == 1:
            return state.authority(), name
        return state.authority(name), profile


def _is_cmp(scope: "Scope") -> bool:
    return header_of(scope, b"content-type").partition(b";")[0].strip().lower() == MEDIA_TYPE


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
