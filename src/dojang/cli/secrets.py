"""PINs and passwords: which source is asked, in which order, and the prompt when a person is there."""

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from dojang.cli.language import N_, message_of, say
from dojang.cli.prompts import ask_new_secret, ask_secret
from dojang.errors import InputRequired, InvalidUri, PasswordUnfit, Phrase, SecretUnavailable
from dojang.pkcs11.pin import PinFileExposed, PinProvider, PinRequest, PinSource
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.cli.context import Invocation
    from dojang.cli.password_check import PasswordCheck
    from dojang.pkcs11.uri import Pkcs11Uri

_QUESTIONS = {
    "user": N_("PIN of token {token}"),
    "so": N_("SO PIN of token {token}"),
    "context": N_("PIN of token {token}, once more for this key"),
}
_turn = threading.RLock()
_NEW_QUESTIONS = {"user": N_("New PIN for token {token}"), "so": N_("New SO PIN for token {token}")}


def variables_with_secrets(invocation: "Invocation", addresses: Iterable[str] = ()) -> Iterator[str]:
    """The variables of this environment that hold PINs and passwords: what this process starts must not have them."""
    from dojang.pkcs11.uri import Pkcs11Uri

    settings = invocation.settings
    tables = [vars(invocation.flags), settings._asdict()]
    if settings.notices is not None:
        tables += [table._asdict() for table in (settings.notices.mail, settings.notices.webhook) if table is not None]
    sources = [value for table in tables for name, value in table.items() if name.endswith("_source")]
    for address in (*map(invocation.address, addresses), *settings.aliases.values()):
        if address.startswith("pkcs11:"):
            with contextlib.suppress(InvalidUri):
                sources.append(Pkcs11Uri.from_text(address).pin_source)
    yield from (source.removeprefix("env:") for source in sources if source and source.startswith("env:"))


class SecretDesk:
    """Hands out PINs and passwords for one run; a source named twice is the same source, read on demand."""

    def __init__(self, invocation: "Invocation") -> None:
        """Nothing is read and nobody is asked yet."""
        self._invocation = invocation
        self._sources: dict[tuple[str, str], PinSource] = {}

    def from_uri(self, uri: "Pkcs11Uri | None") -> PinProvider | None:
        """The PIN that a URI carries or tells where to find, if it does."""
        if uri is None or (uri.pin_value is None and uri.pin_source is None):
            return None
        if uri.pin_value is not None:
            value = uri.pin_value
            return lambda _request: value
        source = PinSource.from_uri(str(uri.pin_source), ask=self._prompt("--pin-source", new=False))
        return self._noting_warnings(source)

    def provider(self, source: str | None, option: str, *, new: bool = False) -> PinProvider:
        """A provider that reads ``source``, or asks the person at the terminal, once per token and role.

        Nothing is read for a token with a keypad, whatever the source: there the token asks.
        """
        answers: dict[tuple[str, str], Secret | None] = {}
        read = self._noting_warnings(self._source(source or "prompt", option, new=new))

        def provide(request: PinRequest) -> Secret | None:
            if request.keypad:
                return None
            key = (request.serial, request.role)
            if key not in answers:
                answers[key] = read(request)
            return answers[key]

        return provide

    def password(self, source: str | None, purpose: str, *, new: bool, in_use: bool = False) -> Secret:
        """A password for a file; there is no keypad for one, so ``pinpad`` counts as nobody there.

        A new one is held against the rule that is set. What it breaks is refused, and only told where the source is
        for passwords ``in_use``: a renewal that nobody watches does not fail for a password chosen long ago.
        """
        secret = None
        if source and source != "prompt":
            parsed = self._source(source, "--password-source", new=new)
            secret = self._noting(lambda: parsed.read(Phrase(N_("password"))))
        if secret is not None:
            if new:
                self._check(secret, purpose, in_use)
            return secret
        if not self._invocation.can_ask:
            raise InputRequired(
                what=Phrase(N_("The password for {purpose}"), purpose=purpose), option="--password-source"
            )
        if new:
            return ask_new_secret(say("New password for {purpose}", purpose=purpose), self._password_check())
        return ask_secret(say("Password for {purpose}", purpose=purpose))

    def _check(self, secret: Secret, purpose: str, in_use: bool) -> None:
        try:
            self._password_check().refuse_unfit(secret, purpose)
        except PasswordUnfit as error:
            if not in_use:
                raise
            self._invocation.out.warning(message_of(error))

    def _password_check(self) -> "PasswordCheck":
        from dojang.cli.password_check import password_check

        return password_check(self._invocation.settings)

    def number(self, source: str, option: str) -> Secret:
        """A resident or business number, which nobody may read over a shoulder; ``pinpad`` counts as nobody there."""
        what = Phrase(N_("The resident or business number"))
        return self._read(source, option, Phrase(N_("number")), what) or ask_secret(say("Resident or business number"))

    def code(self, source: str | None, reference: str) -> Secret:
        """The code that an authority gave out with a reference number; ``pinpad`` counts as nobody there."""
        what = Phrase(N_("The code for {reference}"), reference=reference)
        read = self._read(source or "prompt", "--code-source", Phrase(N_("code")), what)
        return read or ask_secret(say("The code for {reference}", reference=reference))

    def typed(self, source: str | None, option: str, purpose: Phrase, question: str) -> Secret:
        """Something else that nobody may read over a shoulder: ``purpose`` in an error, ``question`` at a prompt."""
        return self._read(source or "prompt", option, purpose, Phrase(question)) or ask_secret(question)

    def factor(self, source: str, factor: str, question: str) -> Secret:
        """The code of a factor, which may be typed as nothing; ``pinpad`` counts as nobody there."""
        what = Phrase(N_("The code for {factor}"), factor=factor)
        read = self._read(source, f"--factor {factor}=SRC", Phrase(N_("code")), what)
        return ask_secret(question) if read is None else read

    def _read(self, source: str, option: str, purpose: Phrase, what: Phrase) -> Secret | None:
        """From its source; ``None`` where a person is to be asked, ``InputRequired`` where none is there."""
        secret = None
        if source != "prompt":
            parsed = self._source(source, option, new=False)
            try:
                secret = self._noting(lambda: parsed.read(purpose))
            except SecretUnavailable as error:
                another = Phrase("Make that source readable, or name another with {option}.", option=option)
                raise SecretUnavailable(**error.facts, next_step=another) from error
        if secret is None and not self._invocation.can_ask:
            raise InputRequired(what=what, option=f"{option} SRC")
        return secret

    def _source(self, text: str, option: str, *, new: bool) -> PinSource:
        key = (option, text)
        if key not in self._sources:
            self._sources[key] = PinSource.parse(text, ask=self._prompt(option, new=new))
        return self._sources[key]

    def _prompt(self, option: str, *, new: bool) -> PinProvider:
        def ask(request: PinRequest) -> Secret:
            if not self._invocation.can_ask:
                what = Phrase(N_("The PIN of token {token}"), token=request.token)
                raise InputRequired(what=what, option=option)
            self._warn(request)
            if new:
                return ask_new_secret(say(_NEW_QUESTIONS[request.role], token=request.token))
            return ask_secret(say(_QUESTIONS[request.role], token=request.token))

        return ask

    def _warn(self, request: PinRequest) -> None:
        if request.final_try:
            self._invocation.out.warning(say("One try is left before token {token} locks.", token=request.token))
        elif request.count_low:
            self._invocation.out.warning(say("A wrong PIN was given to token {token} before.", token=request.token))

    def _noting_warnings(self, source: PinSource) -> PinProvider:
        return lambda request: self._noting(lambda: source(request))

    def _noting(self, read: Callable[[], Secret | None]) -> Secret | None:
        """Read, and turn what Python would print as a warning into one of ours."""
        with _turn, warnings.catch_warnings(record=True) as caught:  # which is one for all threads
            warnings.simplefilter("always", PinFileExposed)
            secret = read()
        for path in {one.message.path for one in caught if isinstance(one.message, PinFileExposed)}:
            text = N_("{path} may be read by others on this machine; run: chmod 600 {path}")
            self._invocation.out.warning(say(text, path=path))
        return secret
