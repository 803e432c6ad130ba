"""A gateway that calls a person, who presses the digits that the screen shows (ARS).

[messages.ars]
kind = "call"
url = "https://call.example.com/calls"
callback = "https://ca.example.com/ars/office"  # the door of this centre, as the gateway reaches it
key-source = "file:/etc/dojang/call-key"        # what both sides sign with, see ``signature``; 16 bytes at least
seconds = 10
ca-certificate = "gateway-ca.pem"

The request is JSON, signed: ``id`` of the call, ``to`` (E.164), ``language``, ``prompt`` to be read out, how many
``digits`` are to be pressed, ``callback``, and ``expires-at`` (RFC 3339). It does not say which digits. A status of 2xx
means that the call is taken. The gateway posts what came of it to ``callback``, signed in the same way, as JSON:

    {"id": "…", "outcome": "pressed", "digits": "123456"}       or  {"id": "…", "outcome": "unanswered"}

and reads in the answer's ``result``: ``right``, ``again`` (wrong, and there are tries left: the person may press them
once more in the same call), or ``over``. Each outcome has a nonce of its own; one that comes twice is refused with 409.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from dojang.errors import Phrase
from dojang.otp.messages.posting import Place, Unanswered, post
from dojang.otp.messages.signature import SHORTEST_KEY, signed
from dojang.otp.messages.undelivered import check_secret, check_trust, secret_from, unsent

if TYPE_CHECKING:
    from dojang.otp.messages.reading import SenderTable
    from dojang.otp.messages.sending import Message
    from dojang.pkcs11.pin import PinSource

DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Call:
    """Implements ``Sender``."""

    place: Place
    callback: str
    key_source: "PinSource" = field(repr=False)
    kind = "call"

    @classmethod
    def from_table(cls, table: "SenderTable") -> Self:
        place = Place(table.url("url"), "POST", table.seconds(), table.file("ca-certificate"))
        return cls(place, table.url("callback"), table.source("key-source"))

    def check(self) -> None:
        check_secret(self.key_source, "key-source", SHORTEST_KEY)
        check_trust(self.place.trust)

    def send(self, message: "Message") -> None:
        body = json.dumps(
            {
                "id": message.id,
                "to": message.target.address,
                "language": message.language,
                "prompt": message.text,
                "digits": DIGITS,
                "callback": self.callback,
                "expires-at": message.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            ensure_ascii=False,
        ).encode()
        key = secret_from(self.key_source, self.kind, message.target)
        if len(key) < SHORTEST_KEY:
            raise unsent(self.kind, message.target, Phrase("the key that requests are signed with is too short"))
        headers = {"Content-Type": "application/json", **signed("request", body, key, datetime.now(UTC))}
        try:
            reply = post(self.place, headers, body)
        except Unanswered as error:
            raise unsent(self.kind, message.target, error.problem) from error
        if not 200 <= reply.status < 300:
            problem = Phrase("it answered with HTTP status {status}", status=reply.status)
            raise unsent(self.kind, message.target, problem)
