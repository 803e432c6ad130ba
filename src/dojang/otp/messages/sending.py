"""What a message is, who sends it, and which senders there are. One sender a file in ``senders``, one row here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

from dojang.errors import Phrase
from dojang.otp.messages.targets import CHANNELS, Channel, Target

if TYPE_CHECKING:
    from dojang.otp.messages.texts import Language
    from dojang.secret import Secret


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one person. ``code`` is ``None`` for a call: what has to be pressed is not told to the caller.

    ``text`` holds the code where there is one, and is as secret as it is.
    """

    id: str
    target: Target
    subject: str
    text: str
    code: "Secret | None"
    language: "Language"
    authority: str
    purpose: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Message({self.id}, {self.target!r})"


class Sender(Protocol):
    """Delivers one message at most once, within ``seconds``: what may have arrived is never sent again."""

    @property
    def kind(self) -> str:
        """Its word in the settings."""
        ...

    def check(self) -> None:
        """Whether all that its settings name can be read. ``ValueError`` with a phrase that names the key."""
        ...

    def send(self, message: Message) -> None:
        """Returns when the message was taken. ``MessageUnsent`` when it was not, or when nobody knows."""
        ...


class Kind(NamedTuple):
    """What a kind of sender can reach, and the class that is it."""

    channels: tuple[Channel, ...]
    home: str
    for_tests: bool = False


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "smtp": Kind(("mail",), "dojang.otp.messages.senders.smtp:Smtp"),
        "https": Kind(("sms", "mail"), "dojang.otp.messages.senders.gateway:Gateway"),
        "call": Kind(("ars",), "dojang.otp.messages.senders.call:Call"),
        "console": Kind(CHANNELS, "dojang.otp.messages.senders.console:Console", for_tests=True),
    }
)


def sender_from(data: Mapping[str, Any], channel: Channel, folder: Path, *, is_test: bool) -> Sender:
    """The sender that the table ``[messages.CHANNEL]`` describes; nothing is opened or read yet.

    ``ValueError`` with a phrase that names the key.
    """
    from dojang.otp.messages.reading import SenderTable

    table = SenderTable(data, f"messages.{channel}", folder)
    word = table.word("kind", [name for name, kind in KINDS.items() if channel in kind.channels])
    kind = KINDS[word]
    if kind.for_tests and not is_test:
        raise ValueError(Phrase("'console' is for an authority with 'test = true'"))
    module, _colon, name = kind.home.partition(":")
    sender = getattr(import_module(module), name).from_table(table)
    table.refuse_unknown()
    return cast("Sender", sender)
