"""``dojang token pin``: change and unblock."""

from typing import TYPE_CHECKING

from dojang.cli.context import Invocation
from dojang.cli.describe import pin_request
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, say

if TYPE_CHECKING:
    from dojang.pkcs11.token import Token
    from dojang.pkcs11.uri import Pkcs11Uri
    from dojang.secret import Secret


@command(
    help=N_("Replace the user PIN of a token, or with --so its SO PIN; the present one is asked first."),
    examples=[
        "dojang token pin change 'pkcs11:token=Hong'",
        "dojang token pin change 'pkcs11:token=Hong' --pin-source file:old.pin --new-pin-source file:new.pin",
    ],
)
@argument("address", metavar="ADDRESS")
@option("--new-pin-source", metavar="SRC", help=N_("Where the new PIN comes from."))
@option("--so", is_flag=True, help=N_("Replace the SO PIN instead of the user PIN."))
def change(invocation: Invocation, address: str, new_pin_source: str | None, so: bool) -> None:
    """Change the PIN; nothing is changed when either PIN is not given."""
    from dojang.pkcs11.uri import Pkcs11Uri

    role = "so" if so else "user"
    exchanged = exchange_pin(invocation, Pkcs11Uri.from_text(invocation.address(address)), role, new_pin_source)
    if exchanged is not None:
        token, _new = exchanged
        text = say("The {role} PIN of token {label} is changed.", role=role, label=token.info.label)
        invocation.result({"address": token.address}, text)


def exchange_pin(
    invocation: Invocation, uri: "Pkcs11Uri", role: str, new_pin_source: str | None
) -> "tuple[Token, Secret | None] | None":
    """Change one of the PINs of the token at ``uri``; the token and the new PIN, or ``None`` with ``--plan``."""
    from dojang.pkcs11 import find_token

    token = find_token(uri, invocation.search())
    plan = say("Change the {role} PIN of token {label}", role=role, label=token.info.label)
    if invocation.planned([plan], address=token.address):
        return None
    request = pin_request(token.info, role)
    old = (invocation.so_pin_provider() if role == "so" else invocation.pin_provider(uri))(request)
    new = invocation.new_pin_provider(new_pin_source)(request)
    exchange = token.change_so_pin if role == "so" else token.change_pin
    exchange(old, new, invocation.pin_guard(), last_try=invocation.last_try)
    return token, new


@command(
    help=N_("Set a new user PIN with the SO PIN: after the old one was locked or forgotten, or where there was none."),
    examples=["dojang token pin unblock 'pkcs11:token=Hong'"],
)
@argument("address", metavar="ADDRESS")
@option("--new-pin-source", metavar="SRC", help=N_("Where the new user PIN comes from."))
def unblock(invocation: Invocation, address: str, new_pin_source: str | None) -> None:
    """Set the PIN as the security officer."""
    from dojang.pkcs11 import find_token

    token = find_token(invocation.address(address), invocation.search())
    if invocation.planned([say("Set a new user PIN on token {label}", label=token.info.label)], address=token.address):
        return
    so_pin = invocation.so_pin_provider()(pin_request(token.info, "so"))
    new = invocation.new_pin_provider(new_pin_source)(pin_request(token.info, "user"))
    token.unblock_pin(so_pin, new, invocation.pin_guard(), last_try=invocation.last_try)
    text = say("Token {label} has a new user PIN.", label=token.info.label)
    invocation.result({"address": token.address}, text)
