"""Where a person asks for a code and brings it back.

A message is sent after its code is durable, outside of any transaction, once: a process that is killed before, while or
after it sends leaves a code that nobody may have seen and that expires, never two messages. Whoever got none asks
again, when the limits let him. A message that was not taken, or of which nobody knows, makes its code worthless.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from dojang.errors import MessageUnsent, NotPermitted, Phrase, TooManyMessages
from dojang.otp.messages.room import NoRoom, room_for
from dojang.otp.messages.sending import Message, Sender
from dojang.otp.messages.targets import Channel, Target, target_of
from dojang.otp.messages.texts import Wording, call_text, language_of, mail_subject, mail_text, sms_text

if TYPE_CHECKING:
    from dojang.otp.messages.codes import Begun, Entry, MessageCodes, Passed
    from dojang.otp.messages.policy import MessagePolicy
    from dojang.secret import Secret

Count = Callable[[str, str], None]
"""Told the channel and ``sent`` or ``failed``."""

_CONTACT: Final = {"sms": "phone", "ars": "phone", "mail": "email"}
_MISSING: Final = {
    "phone": Phrase("no telephone number is on record"),
    "email": Phrase("no mail address is on record"),
}


@dataclass(frozen=True, slots=True)
class Recipient:
    """An applicant and how he can be reached: ``phone``, ``email`` and ``language``, as the office wrote them."""

    id: str
    contact: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent where, for people. ``shown`` are the digits to be pressed in a call, for the person's screen."""

    id: str
    channel: Channel
    target: str
    expires_at: datetime
    shown: "Secret | None" = None


class MessageDesk:
    """The messages of one authority, which ``name`` is called unless its settings say otherwise."""

    def __init__(self, codes: "MessageCodes", policy: "MessagePolicy", name: str, count: Count | None = None) -> None:
        self._codes, self._policy = codes, policy
        self._name, self._count = policy.name or name, count or _uncounted

    def start(self, recipient: Recipient, channel: Channel, purpose: str, source: str | None) -> Sent:
        """Send a new code for ``purpose`` (``issue:…``), or have the person called.

        ``source`` is the address of who asks. Raises ``TooManyMessages``, ``MessageUnsent``, and ``NotPermitted`` where
        the authority sends nothing that way or the applicant has nothing to send it to.
        """
        sender, target = self._policy.sender(channel), self.target(recipient, channel)
        wording = Wording(self._name, purpose, self._policy.minutes, language_of(recipient.contact.get("language")))
        try:
            with room_for(channel):
                begun = self._codes.begin(recipient.id, purpose, target, source)
                self._send(begun, sender, target, wording)
        except NoRoom as error:
            problem = Phrase("too many are on their way just now")
            raise TooManyMessages(authority=self._name, problem=problem, seconds=error.seconds) from error
        return Sent(begun.id, channel, target.masked, begun.expires_at, begun.code if channel == "ars" else None)

    def _send(self, begun: "Begun", sender: Sender, target: Target, wording: Wording) -> None:
        message = message_for(begun.id, target, wording, begun.code, begun.expires_at)
        try:
            sender.send(message)
        except Exception as error:
            problem = error.facts["problem"] if isinstance(error, MessageUnsent) else type(error).__name__
            self._codes.unsent(begun, str(problem))
            self._count(target.channel, "failed")
            raise
        self._codes.sent(begun)
        self._count(target.channel, "sent")

    def answer(self, applicant: str, purpose: str, code: "Secret | None", entry: "Entry | None" = None) -> "Passed":
        """The code that came by message; ``None`` to ask whether the digits were pressed in a call.

        ``entry`` is recorded in the transaction that uses the code up. ``MessageCodeRefused``, ``AnswerPending``.
        """
        if code is None:
            return self._codes.claim(applicant, purpose, entry)
        return self._codes.answer(applicant, purpose, code, entry)

    def target(self, recipient: Recipient, channel: Channel) -> Target:
        """Where a code would go. ``NotPermitted`` where it would go nowhere."""
        self._policy.sender(channel)
        wanted = _CONTACT[channel]
        text = recipient.contact.get(wanted)
        if text is None:
            raise _unreachable(recipient, _MISSING[wanted])
        try:
            return target_of(channel, text, self._policy.countries)
        except ValueError as error:
            raise _unreachable(recipient, error.args[0]) from error


def message_for(id_: str, target: Target, wording: Wording, code: "Secret", expires_at: datetime) -> Message:
    """The message for a channel; in a call the code is not told."""
    digits = code.reveal().decode()
    texts = {
        "sms": lambda: sms_text(wording, digits),
        "mail": lambda: mail_text(wording, digits),
        "ars": lambda: call_text(wording),
    }
    return Message(
        id=id_,
        target=target,
        subject=mail_subject(wording),
        text=texts[target.channel](),
        code=None if target.channel == "ars" else code,
        language=wording.language,
        authority=wording.authority,
        purpose=wording.purpose.partition(":")[0],
        expires_at=expires_at,
    )


def _unreachable(recipient: Recipient, problem: object) -> NotPermitted:
    return NotPermitted(
        problem=Phrase("applicant {id} cannot be reached: {problem}", id=recipient.id, problem=problem),
        remedy=Phrase("Have the office change it: dojang ca applicant change {id}", id=recipient.id),
    )


def _uncounted(_channel: str, _outcome: str) -> None:
    pass
