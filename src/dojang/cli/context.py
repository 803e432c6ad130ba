"""What a command is given: settings, flags, output, and the ways to ask for PINs, passwords and answers."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dojang.cli.flags import Flags
from dojang.cli.language import N_, _, say
from dojang.cli.output import Output
from dojang.errors import InputRequired, NotFound, SerialMismatch

if TYPE_CHECKING:
    from dojang.cli.secrets import SecretDesk
    from dojang.pkcs11.discovery import ModuleSearch
    from dojang.pkcs11.guard import PinGuard
    from dojang.pkcs11.pin import PinProvider
    from dojang.pkcs11.uri import Pkcs11Uri
    from dojang.secret import Secret
    from dojang.settings import Settings


class Invocation:
    """One run of one command."""

    def __init__(self, flags: Flags) -> None:
        """``command`` is filled in once the words are understood."""
        self.flags = flags
        self.command = ""
        self.out = Output(flags)
        self._settings: Settings | None = None
        self._secrets: SecretDesk | None = None
        self._warned = False
        self._tokens: set[str] = set()

    @property
    def settings(self) -> "Settings":
        """The configuration; read on first use. Raises ``InvalidSetting``."""
        if self._settings is None:
            from dojang.settings import load

            self._settings = load(self.flags.config)
        return self._settings

    @property
    def last_try(self) -> bool:
        return self.flags.last_try

    @property
    def can_ask(self) -> bool:
        """Whether a person is there to answer."""
        return not self.flags.no_input and sys.stdin.isatty()

    def result(self, data: Mapping[str, Any], text: str | Callable[[], str], *, quiet: Sequence[str] = ()) -> None:
        """The one result of this command; see ``Output.result``."""
        self.out.result(self.command, data, text, quiet=quiet)

    def planned(self, steps: Sequence[str], **data: Any) -> bool:
        """With ``--plan``: print the steps as the result and return true, so that the command stops there."""
        if not self.flags.plan:
            return False
        lines = [_("Would do, in this order (nothing was changed):")]
        lines += [f"  {number}. {step}" for number, step in enumerate(steps, start=1)]
        self.result({**data, "plan": list(steps), "changed": False}, "\n".join(lines))
        return True

    def address(self, text: str) -> str:
        """An address as typed, with ``@alias`` replaced; warns once about a PIN written into it."""
        if text.startswith("@"):
            text = self._alias(text[1:])
        if text.startswith("pkcs11:"):
            self.note_token(text)
        if "pin-value=" in text and not self._warned:
            self._warned = True
            self.out.warning(
                _("A PIN in an address is seen by everyone who lists processes; use --pin-source instead.")
            )
        return text

    def _alias(self, name: str) -> str:
        try:
            return self.settings.aliases[name]
        except KeyError:
            where = self.settings.config_path
            raise NotFound(
                what=f"@{name}", where=where, command="dojang where", next_step=N_("Write it under [aliases] there.")
            ) from None

    def search(self) -> "ModuleSearch":
        """Where to look for PKCS#11 modules."""
        from dojang.pkcs11.discovery import ModuleSearch, ModuleSpec

        configured = tuple(
            ModuleSpec(one.path, one.name or Path(one.path).stem, one.init_string, one.sha256, "configuration")
            for one in self.settings.modules
        )
        named_by = "option" if self.flags.module else "configuration"  # an address wins over what is always so
        module = self.flags.module or self.settings.module
        return ModuleSearch(module, configured, discover=self.settings.discover_modules, named_by=named_by)

    def pin_guard(self) -> "PinGuard":
        """The memory of PINs that failed."""
        from dojang.pkcs11.guard import PinGuard

        return PinGuard(self.settings.pin_guard_path)

    @property
    def secrets(self) -> "SecretDesk":
        """Where PINs and passwords come from in this run."""
        if self._secrets is None:
            from dojang.cli.secrets import SecretDesk

            self._secrets = SecretDesk(self)
        return self._secrets

    def pin_provider(self, uri: "Pkcs11Uri | None" = None) -> "PinProvider":
        """The user PIN: from the URI, ``--pin-source``, ``DOJANG_PIN_SOURCE``, the settings, or a person."""
        source = self.flags.pin_source or self.settings.pin_source
        return self.secrets.from_uri(uri) or self.secrets.provider(source, "--pin-source")

    def note_token(self, address: str) -> None:
        """This command works on that token, so ``--pin-source`` is about it."""
        self._tokens.add(address)

    @property
    def ca_pin_source(self) -> str | None:
        """Where the PIN of the local authority's token comes from, if that was said."""
        return self.flags.ca_pin_source or self.settings.ca_pin_source

    def ca_pin_provider(self, uri: "Pkcs11Uri") -> "PinProvider":
        """The PIN of the token with the local authority's key, at ``uri``: from the URI, ``--ca-pin-source``, the
        settings, or a person; from where ``pin_provider`` has it only if the command works on no other token.

        Nothing is guessed: the PIN of one token is never tried on another. An authority may have keys on several, so
        what the URI says of its own token goes before what is said for all.
        """
        if (own := self.secrets.from_uri(uri)) is not None:
            return own
        source = self.flags.pin_source or self.settings.pin_source
        if not all(_is_token_of(uri, one) for one in self._tokens):
            source = None
        return self.secrets.provider(self.ca_pin_source or source, "--ca-pin-source")

    def may_use_agent(self, uri: "Pkcs11Uri | None" = None, source: str | None = None) -> bool:
        """Whether a running agent may sign. Who says where the PIN is has said how the token is to be opened: by URI,
        by ``--pin-source``, or by ``source``.
        """
        told = self.flags.pin_source or source or (uri is not None and (uri.pin_source or uri.pin_value))
        return not (told or self.flags.no_agent) and self.settings.agent

    def so_pin_provider(self) -> "PinProvider":
        """The SO PIN: ``--so-pin-source``, the settings, or a person."""
        return self.secrets.provider(self.flags.so_pin_source or self.settings.so_pin_source, "--so-pin-source")

    def new_pin_provider(self, source: str | None, option: str = "--new-pin-source") -> "PinProvider":
        """A PIN that is about to be set: from ``source``, or asked for twice."""
        return self.secrets.provider(source, option, new=True)

    def password(self, purpose: str, *, new: bool = False) -> "Secret":
        """The password of a file; ``purpose`` (marked with ``N_``, or a path) finishes "Password for …"."""
        source = self.flags.password_source or self.settings.password_source
        return self.secrets.password(source, purpose, new=new, in_use=True)

    def ask(self, question: str, *, option: str, default: str | None = None) -> str:
        """One line from the person there, else ``InputRequired`` naming the option that would have said it."""
        if not self.can_ask:
            if default is not None:
                return default
            raise InputRequired(what=question, option=option)
        from dojang.cli.prompts import ask_line

        return ask_line(_(question), default)

    def choose(
        self, question: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, option: str, default: int = 0
    ) -> int:
        """The index of the row chosen from a numbered table on standard error."""
        if not self.can_ask:
            raise InputRequired(what=question, option=option)
        from dojang.cli.prompts import ask_choice

        return ask_choice(_(question), [_(column) for column in columns], rows, default)

    def confirm_serial(
        self,
        serial: str,
        given: str | None,
        *,
        what: str,
        option: str,
        question: str = N_("The token's serial"),
        warning: str = N_("This destroys {what} for good."),
    ) -> None:
        """Destroying needs a serial, passed with ``option`` or typed; anything else is ``SerialMismatch``."""
        if given is None:
            self.out.note(say(warning, what=what))
            given = self.ask(question, option=option)
        if given.strip() != serial.strip():
            raise SerialMismatch(serial=serial)


def _is_token_of(uri: "Pkcs11Uri", address: str) -> bool:
    """Whether ``address`` certainly means the token of ``uri``: by its label or serial, and in nothing different."""
    from dojang.pkcs11.uri import Pkcs11Uri

    named = Pkcs11Uri.from_text(address)
    return (named.token or named.serial) is not None and named.matches_token(
        label=uri.token or "", manufacturer=uri.manufacturer or "", model=uri.model or "", serial=uri.serial or ""
    )
