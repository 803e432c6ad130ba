"""What an authority says about codes by message, in the table ``[messages]`` of its ``authority.toml``.

What each key means is in ``authority.setting_list``. ``[messages.mail]``, ``[messages.sms]`` and ``[messages.ars]`` say
who carries them, see ``senders``; a channel without its table does not exist. ``kind = "console"`` shows a message
where the program runs, in an authority with ``test = true``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from dojang.errors import NotPermitted, Phrase
from dojang.otp.messages.sending import Sender, sender_from
from dojang.otp.messages.targets import CHANNELS, KOREA, Channel
from dojang.x509.profiles.reading import Table

if TYPE_CHECKING:
    from dojang.otp.messages.senders.call import Call

_KEYS: Final = (
    *("name", "minutes", "tries", "again-seconds", "per-target", "per-source", "window-minutes", "per-day"),
    "countries",
    *CHANNELS,
)
_MOST_MINUTES: Final = 60
_MOST_WINDOW: Final = 60 * 24


@dataclass(frozen=True, slots=True)
class MessagePolicy:
    """What the table says. ``senders`` are those that are set up, by their channels."""

    name: str | None = None
    lifetime: timedelta = timedelta(minutes=3)
    tries: int = 5
    again: timedelta = timedelta(seconds=30)
    per_target: int = 5
    per_source: int = 50
    window: timedelta = timedelta(hours=1)
    per_day: int = 10
    countries: tuple[str, ...] = (KOREA,)
    senders: Mapping[Channel, Sender] = field(default_factory=dict)

    @property
    def minutes(self) -> int:
        return int(self.lifetime.total_seconds() // 60)

    def sender(self, channel: Channel) -> Sender:
        """Who carries messages that way. ``NotPermitted`` where nobody does."""
        found = self.senders.get(channel)
        if found is None:
            raise NotPermitted(
                problem=Phrase("this authority sends no codes by {channel}", channel=channel),
                remedy=Phrase("Set up [messages.{channel}] in its authority.toml.", channel=channel),
            )
        return found

    def check(self) -> None:
        """Whether whoever carries messages can be asked to. ``ValueError`` with a phrase that names the key."""
        for channel, sender in self.senders.items():
            try:
                sender.check()
            except ValueError as error:
                raise ValueError(
                    Phrase("in [messages.{channel}], {problem}", channel=channel, problem=error.args[0])
                ) from None

    @property
    def caller(self) -> "Call | None":
        """The gateway that calls people, which signs what it tells of a call."""
        from dojang.otp.messages.senders.call import Call

        sender = self.senders.get("ars")
        return sender if isinstance(sender, Call) else None


def policy_from(data: Mapping[str, Any], folder: Path, *, is_test: bool) -> MessagePolicy:
    """The table as it was read; files are named from ``folder``. ``ValueError`` with a phrase that names the key."""
    for key in data:
        if key not in _KEYS:
            raise ValueError(Phrase("unknown setting '{key}'", key=f"messages.{key}"[:128]))
    table = Table(data, "messages")
    countries = table.words("countries", some=True, usual=(KOREA,))
    if not all(one.isascii() and one.isdigit() and not one.startswith("0") and len(one) <= 3 for one in countries):
        raise ValueError(Phrase("'{key}' is missing or has an unusable value", key="messages.countries"))
    return MessagePolicy(
        name=table.maybe_text("name"),
        lifetime=timedelta(minutes=table.number("minutes", 1, _MOST_MINUTES, 3)),
        tries=table.number("tries", 1, 10, 5),
        again=timedelta(seconds=table.number("again-seconds", 1, 3600, 30)),
        per_target=table.number("per-target", 1, 1000, 5),
        per_source=table.number("per-source", 1, 100_000, 50),
        window=timedelta(minutes=table.number("window-minutes", 1, _MOST_WINDOW, 60)),
        per_day=table.number("per-day", 1, 10_000, 10),
        countries=countries,
        senders=MappingProxyType({one: _sender(data[one], one, folder, is_test) for one in CHANNELS if one in data}),
    )


def _sender(data: object, channel: Channel, folder: Path, is_test: bool) -> Sender:
    if not isinstance(data, dict):
        raise ValueError(Phrase("'{key}' must be a table", key=f"messages.{channel}"))
    return sender_from(data, channel, folder, is_test=is_test)
