"""``dojang otp message``: whether an authority's messages arrive."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import click

from dojang.cli.ca import ca_option
from dojang.cli.context import Invocation
from dojang.cli.frame import command, option
from dojang.cli.language import N_, say
from dojang.cli.workplace import chosen_authority, open_authority_named
from dojang.errors import Phrase, Usage
from dojang.settings import LANGUAGES

if TYPE_CHECKING:
    from dojang.otp.messages.targets import Channel, Target

CHANNELS = ("sms", "mail", "ars")


@command(
    help=N_(
        "Send a message by an authority's own settings, [messages] in its authority.toml, with a code that is good for "
        "nothing: to a mail address as mail, to a telephone number as a text message, or as a call with --channel ars."
    ),
    examples=[
        "dojang otp message test --ca office --to hong@example.com",
        "dojang otp message test --ca office --to 010-1234-5678 --json",
        "dojang otp message test --ca office --to 010-1234-5678 --channel ars --language en",
    ],
)
@option("--to", "to", metavar="TARGET", required=True, help=N_("Telephone number or mail address."))
@option("--channel", type=click.Choice(CHANNELS), help=N_("How it is sent, if not as the target says."))
@option(
    "--language", type=click.Choice(LANGUAGES), default="ko", show_default=True, help=N_("Language of the message.")
)
@ca_option
def test(invocation: Invocation, to: str, channel: str | None, language: str, ca: str | None) -> None:
    """Nothing is recorded and no PIN is asked."""
    from dojang.authority.factors.messages import try_sender

    wanted: Channel = channel or ("mail" if "@" in to else "sms")  # type: ignore[assignment]
    name = chosen_authority(invocation, ca)
    with open_authority_named(invocation, name) as authority:
        policy = authority.settings.messages()
        target, sender = _target(wanted, to, policy.countries), policy.sender(wanted)
        plan = [
            say(
                "Send a test message to {target} ({channel}, {kind})",
                target=target.masked,
                channel=wanted,
                kind=sender.kind,
            )
        ]
        if invocation.planned(plan, authority=name):
            return
        try_sender(authority, target, language)  # type: ignore[arg-type]
    data = {"authority": name, "channel": wanted, "sender": sender.kind, "target": target.masked}
    text = say("A test message was sent to {target}.", target=target.masked)
    invocation.result(data, text, quiet=[target.masked])


def _target(channel: "Channel", text: str, countries: Collection[str]) -> "Target":
    from dojang.otp.messages.targets import target_of

    try:
        return target_of(channel, text, countries)
    except ValueError as error:
        problem = Phrase(N_("No message can be sent there: {problem}."), problem=error.args[0])
        raise Usage(problem=problem) from error
