"""``dojang location password``: one verb for the secrets of every kind of place."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.credentials import credential_data
from dojang.cli.flags import key_file_options
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, _, advice_of, message_of, say
from dojang.cli.token_pin import exchange_pin
from dojang.cli.workplace import open_location_at, plan_words, workplace
from dojang.errors import InputRequired, Phrase

if TYPE_CHECKING:
    from dojang.lifecycle.password import PasswordsChanged
    from dojang.pkcs11.uri import Pkcs11Uri
    from dojang.secret import Secret

SOME_FAILED = 15


@command(
    help=N_(
        "Change the password of a credential in a file or folder, or the PIN of a token. Afterwards the key is opened "
        "with the new one and signs. Copies and backups stay under the old one; a key that others may know is not made "
        "good by a new password: use 'dojang cert reissue --reason keyCompromise'."
    ),
    examples=[
        "dojang location password 'npki:?cn=Hong Gildong'",
        "dojang location password npki: --all --password-source file:old --new-password-source file:new",
        "dojang location password pkcs11:token=Hong --pin-source file:old.pin --new-pin-source file:new.pin",
    ],
)
@argument("address", metavar="ADDRESS")
@option("--all", "every", is_flag=True, help=N_("Every credential there, retired ones too."))
@option("--new-password-source", metavar="SRC", help=N_("Where the new password comes from."))
@option("--new-pin-source", metavar="SRC", help=N_("Where the new PIN comes from."))
@key_file_options
def password(
    invocation: Invocation,
    address: str,
    every: bool,
    new_password_source: str | None,
    new_pin_source: str | None,
) -> int:
    """A token has one PIN for all that is on it."""
    from dojang.locations.address import parse_address
    from dojang.pkcs11.uri import Pkcs11Uri

    address = invocation.address(address)
    parsed = parse_address(address)
    if isinstance(parsed, Pkcs11Uri):
        _change_pin(invocation, parsed, new_pin_source)
        return 0
    return _change_passwords(invocation, address, every, new_password_source)


def _change_pin(invocation: Invocation, uri: "Pkcs11Uri", new_pin_source: str | None) -> None:
    from dojang.lifecycle.password import prove_pin

    exchanged = exchange_pin(invocation, uri, "user", new_pin_source)
    if exchanged is None:
        return
    token, new = exchanged
    invocation.flags.no_agent = True  # whose login is from before
    bare = replace(uri, pin_source=None, pin_value=None).to_text()
    with workplace(invocation) as place:
        place = replace(
            place, open_location=lambda address: open_location_at(invocation, address, pins=lambda _request: new)
        )
        proven = prove_pin(bare, place)
    lines = [say("The PIN of token {label} is changed; it opens the token.", label=token.info.label)]
    lines += [say("Opened with the new one, and signed: {address}", address=one.stored.address) for one in proven]
    data = {"address": token.address, "credentials": [credential_data(one) for one in proven], "failed": []}
    invocation.result(data, "\n".join(lines), quiet=[token.address])


def _change_passwords(invocation: Invocation, address: str, every: bool, new_password_source: str | None) -> int:
    from dojang.lifecycle.password import PasswordOrder, change_passwords, plan_passwords

    order, exchange = PasswordOrder(address, every), Exchange(invocation, new_password_source)
    with workplace(invocation) as opened:
        place = replace(opened, open_location=lambda text: open_location_at(invocation, text, exchange))
        after = replace(opened, open_location=lambda text: open_location_at(invocation, text, exchange.opens))
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_passwords(order, place)), address=address)
            return 0
        done = change_passwords(order, place, after)
    failed = [{"address": where, "code": error.code, "message": message_of(error)} for where, error in done.failures]
    data: dict[str, Any] = {"address": address, "credentials": [credential_data(one) for one in done.held]}
    for where, error in done.failures:
        invocation.out.warning(f"{where}: {message_of(error)} {advice_of(error)}")
    quiet = [one.stored.address for one in done.held]
    invocation.result(data | {"failed": failed}, lambda: _changed(done), quiet=quiet)
    return SOME_FAILED if failed else 0


def _changed(done: "PasswordsChanged") -> str:
    lines = [_("The password is changed.") if done.held else _("No password was changed.")]
    if done.already:
        lines = [_("It was under the new password already.")]
    lines += [say("Opened with the new one, and signed: {address}", address=one.stored.address) for one in done.held]
    return "\n".join([*lines, *([_("Copies and backups stay under the old password.")] if done.held else [])])


class Exchange:
    """Gives the old password of a file and, for all of them, one new password; asks for the new one once."""

    def __init__(self, invocation: Invocation, source: str | None) -> None:
        """Nothing is read and nobody is asked yet."""
        self._invocation, self._source = invocation, source
        self._new: Secret | None = None
        self._changed: set[str] = set()

    def __call__(self, path: str, new: bool) -> "Secret":
        """As a password provider: a file that holds several keys is under the new password after the first."""
        if new:
            self._changed.add(path)
        return self.opens(path, new) if path in self._changed else self._invocation.password(path)

    def opens(self, path: str, new: bool) -> "Secret":
        """What opens a file afterwards."""
        if self._new is None:
            if self._source is None and not self._invocation.can_ask:
                what = Phrase(N_("The new password for {purpose}"), purpose=path)
                raise InputRequired(what=what, option="--new-password-source")
            self._new = self._invocation.secrets.password(self._source, path, new=True)
        return self._new
