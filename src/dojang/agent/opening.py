"""Opening a token so that the keys which the running agent serves are signed with by the agent, without a PIN."""

from typing import TYPE_CHECKING, cast

from dojang.pkcs11.opened import OpenToken
from dojang.pkcs11.opened import open_token as open_alone
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.pkcs11.discovery import ModuleSearch
    from dojang.pkcs11.guard import PinGuard
    from dojang.pkcs11.pin import PinProvider
    from dojang.pkcs11.signer import TokenSigner


def open_token(
    uri: str | Pkcs11Uri,
    pin: "PinProvider | Secret | None" = None,
    *,
    search: "ModuleSearch | None" = None,
    guard: "PinGuard | None" = None,
    last_try: bool = False,
    agent: bool = True,
) -> OpenToken:
    """Open the one token that a PKCS#11 URI names; see ``dojang.pkcs11.open_token``.

    Its private keys sign through the agent where one runs that serves them, unless a PIN is given (a ``Secret``, or in
    the URI): that says how the token is to be opened. Everything but signing is done here, and asks for the PIN if it
    needs the login. ``agent=False`` leaves the agent aside. An agent that refuses a key raises ``AgentRefused``.
    """
    wanted = Pkcs11Uri.from_text(uri) if isinstance(uri, str) else uri
    told = isinstance(pin, Secret) or wanted.pin_value is not None or wanted.pin_source is not None
    return open_alone(
        wanted,
        pin,
        search=search,
        guard=guard,
        last_try=last_try,
        elsewhere=_through_agent if agent and not told else None,
    )


def _through_agent(uri: Pkcs11Uri, module: str) -> "TokenSigner | None":
    from dojang.agent.signer import find_signer

    return cast("TokenSigner | None", find_signer(uri.to_text(), module))  # of one shape, so that either serves
