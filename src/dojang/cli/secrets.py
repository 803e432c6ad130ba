"""PINs and passwords: which source is asked, in which order, and the prompt when a person is there."""

from typing import TYPE_CHECKING

from dojang.cli.language import N_, say
from dojang.cli.prompts import ask_new_secret, ask_secret
from dojang.errors import InputRequired
from dojang.pkcs11.pin import PinProvider, PinRequest, PinSource
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.cli.context import Invocation
    from dojang.pkcs11.uri import Pkcs11Uri

_QUESTIONS = {
    "user": N_("PIN of token {token}"),
    "so": N_("SO PIN of token {token}"),
    "context": N_("PIN of token {token}, once more for this key"),
}
_NEW_QUESTIONS = {"user": N_("New PIN for token {token}"), "so": N_("New SO PIN for token {token}")}
_ENOUGH = 2**31


def from_uri(invocation: "Invocation", uri: "Pkcs11Uri | None") -> PinProvider | None:
    """The PIN source that a URI carries, if it carries one."""
    if uri is None:
        return None
    if uri.pin_value is not None:
        value = uri.pin_value
        return lambda _request: value
    return provider(invocation, uri.pin_source, "--pin-source") if uri.pin_source else None


def provider(invocation: "Invocation", source: str | None, option: str, *, new: bool = False) -> PinProvider:
    """A provider that reads ``source`` once per token and role, or asks the person at the terminal."""
    read = PinSource.parse(source) if source and source != "prompt" else _prompt(invocation, option, new=new)
    seen: dict[tuple[str, str], Secret | None] = {}

    def provide(request: PinRequest) -> Secret | None:
        key = (request.serial, request.role)
        if key not in seen:
            seen[key] = read(request)
        return seen[key]

    return provide


def _prompt(invocation: "Invocation", option: str, *, new: bool) -> PinProvider:
    def ask(request: PinRequest) -> Secret:
        if not invocation.can_ask:
            raise InputRequired(what=say(N_("The PIN of token {token}"), token=request.token), option=option)
        _warn(invocation, request)
        if new:
            return ask_new_secret(say(_NEW_QUESTIONS[request.role], token=request.token))
        return ask_secret(say(_QUESTIONS[request.role], token=request.token))

    return ask


def _warn(invocation: "Invocation", request: PinRequest) -> None:
    if request.final_try:
        invocation.out.warning(say("One try is left before token {token} locks.", token=request.token))
    elif request.count_low:
        invocation.out.warning(say("A wrong PIN was given to token {token} before.", token=request.token))


def read_password(invocation: "Invocation", purpose: str, *, new: bool) -> Secret:
    """A password for a file from ``--password-source``, the settings, or the person at the terminal."""
    source = invocation.flags.password_source or invocation.settings.password_source
    if source and source != "prompt":
        request = PinRequest(purpose, "", "user", count_low=False, final_try=False, min_length=0, max_length=_ENOUGH)
        secret = PinSource.parse(source)(request)
        if secret is not None:
            return secret
    if not invocation.can_ask:
        raise InputRequired(what=say(N_("The password for {purpose}"), purpose=purpose), option="--password-source")
    question = say(N_("New password for {purpose}") if new else N_("Password for {purpose}"), purpose=purpose)
    return ask_new_secret(question) if new else ask_secret(question)
