"""Codes by message at an authority that is open: its records, its applicants, its settings and its token together."""

import secrets
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from dojang.authority import audit
from dojang.authority.enrolment import applicants
from dojang.authority.enrolment.opening import code_key_of
from dojang.authority.enrolment.sources import source_of
from dojang.authority.factors.desk import LOCAL
from dojang.authority.settings import invalid
from dojang.errors import DojangError, NotPermitted, Phrase
from dojang.otp.messages.codes import DIGITS, MessageCodes
from dojang.otp.messages.desk import MessageDesk, Recipient, message_for
from dojang.otp.messages.outcomes import read_outcome
from dojang.otp.messages.signature import Unsigned
from dojang.otp.messages.targets import Channel, Target
from dojang.otp.messages.texts import Language, Wording
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.authority.local import LocalAuthority
    from dojang.authority.settings import AuthoritySettings
    from dojang.otp.messages.codes import Entry, Passed, Pressed
    from dojang.otp.messages.desk import Count, Sent
    from dojang.pkcs11.pin import PinSource

TEST: Final = "test"
_KEY_SECONDS: Final = 30.0


class AuthorityMessages:
    """What an applicant does with codes by message, and a gateway that called him.

    ``purpose`` is a word that the messages know (``issue``, ``renew``, ``reissue``, ``revoke``) and whatever sets this
    purpose apart from others of the applicant: ``issue:4081160273``.
    """

    def __init__(self, authority: "LocalAuthority", opener: object, count: "Count | None" = None) -> None:
        """``opener`` opens the authority's token, when a code must be made or held against what is kept."""
        self._authority = authority
        self._policy = policy = authority.settings.messages()
        key = code_key_of(authority, opener)
        self._codes = MessageCodes(authority.database, authority.name, policy, key, authority.now, audit.record)
        self._turn, self._kept_until = threading.Lock(), 0.0
        self._kept_key: Secret | None = None
        self._desk = MessageDesk(self._codes, policy, authority.name, count)

    def start(self, applicant: str, channel: Channel, purpose: str, source: str | None) -> "Sent":
        """Send a new code, or have the applicant called; ``source`` is the address of who asks.

        Raises ``NotFound`` for the applicant, and what ``MessageDesk.start`` does.
        """
        return self._desk.start(self._recipient(applicant), channel, purpose, _counted(source))

    def target(self, applicant: str, channel: Channel) -> Target | None:
        """Where a code would go; ``None`` where it would go nowhere. ``NotFound`` for the applicant."""
        try:
            return self._desk.target(self._recipient(applicant), channel)
        except NotPermitted:
            return None

    def answer(self, applicant: str, purpose: str, code: Secret | None, entry: "Entry | None" = None) -> "Passed":
        """As ``MessageDesk.answer`` has it."""
        return self._desk.answer(applicant, purpose, code, entry)

    def told(self, headers: Mapping[str, str], body: bytes, at: datetime) -> "Pressed":
        """What a gateway tells of a call. ``Unsigned``, ``Usage``, and ``AlreadyExists`` for what it told before."""
        outcome = read_outcome(headers, body, self._call_key(), at)
        if outcome.digits is None:
            return self._codes.unanswered(outcome.call, outcome.nonce)
        return self._codes.press(outcome.call, outcome.digits, outcome.nonce)

    def _recipient(self, applicant: str) -> Recipient:
        with self._authority.database.reading() as connection:
            found = applicants.show(connection, applicant, self._authority.name)
        return Recipient(found.id, found.contact)

    def _call_key(self) -> Secret:
        """What outcomes are signed with; ``Unsigned`` where nobody is called.

        Anybody may come to the door, and a source may be a program: it is asked twice a minute at most.
        """
        if self._policy.caller is None:
            raise Unsigned
        with self._turn:
            if self._kept_key is None or time.monotonic() > self._kept_until:
                self._kept_key = self._read_key(self._policy.caller.key_source)
                self._kept_until = time.monotonic() + _KEY_SECONDS
            return self._kept_key

    def _read_key(self, source: "PinSource") -> Secret:
        try:
            key = source.read("key")
        except DojangError as error:
            problem = Phrase("a secret that its settings name cannot be read")
            raise invalid(self._authority.settings.path, problem) from error
        assert key is not None, "a source without a keypad gives something or says why not"
        return key


def _counted(source: str | None) -> str | None:
    """Whom a limit counts; not an office that works here, for many people."""
    return None if source in (None, LOCAL) else source_of(str(source))


def check_senders(settings: "AuthoritySettings") -> None:
    """Whether all that ``[messages]`` names can be read, before the first message needs it. ``InvalidSetting``."""
    try:
        settings.messages().check()
    except ValueError as error:
        raise invalid(settings.path, error.args[0]) from error


def try_sender(authority: "LocalAuthority", target: Target, language: Language) -> None:
    """Send a message with a code that is good for nothing; nothing is recorded, and no token opened.

    ``NotPermitted``, ``MessageUnsent``.
    """
    policy = authority.settings.messages()
    code = Secret(f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}")
    wording = Wording(policy.name or authority.name, TEST, policy.minutes, language)
    expires_at = authority.now() + policy.lifetime
    message = message_for(secrets.token_hex(16), target, wording, code, expires_at)
    policy.sender(target.channel).send(message)
