"""A gateway that takes messages over HTTPS, whatever its requests look like: they are templates.

[messages.sms]
kind = "https"
url = "https://api.example.com/v2/messages"
method = "POST"                                 # or "PUT"
form = "json"                                   # or "form": fields as a web page sends them
seconds = 10
ca-certificate = "gateway-ca.pem"               # what its certificate is checked with, if not the system's own
success = [200, 202]                            # statuses that mean it was taken; any 2xx unless said
pointer = "/result/code"                        # and what its JSON answer holds there (RFC 6901) …
equals = "0000"                                 # … must be this
user = "dojang"                                 # for HTTP's own login (Basic)
password-source = "file:/etc/dojang/gateway-password"

[messages.sms.headers]
Authorization = "Bearer {secret.token}"

[messages.sms.fields]                           # what is sent: texts, numbers, tables and lists, as deep as it must be
from = "0212345678"
messages = [{ to = "{to-national}", text = "{text}" }]

[messages.sms.secrets]
token = "file:/etc/dojang/gateway-token"

Placeholders: ``{to}`` (E.164, or the mail address), ``{to-national}``, ``{text}``, ``{code}``, ``{subject}``, ``{id}``
(another for each message), ``{authority}``, ``{purpose}``, ``{language}``, ``{secret.NAME}``; in headers ``{id}`` and
secrets alone. A message is posted once: a gateway that broke off is not asked again, because it may have taken it.
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlencode

from dojang.errors import Phrase
from dojang.otp.messages.posting import Place, Reply, Unanswered, post
from dojang.otp.messages.undelivered import check_secret, check_trust, secret_from, unsent

if TYPE_CHECKING:
    from dojang.otp.messages.reading import SenderTable
    from dojang.otp.messages.sending import Message
    from dojang.pkcs11.pin import PinSource

_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z][A-Za-z0-9_.-]*)\}")
_FACTS: Final = ("to", "to-national", "text", "code", "subject", "id", "authority", "purpose", "language")
_SECRET: Final = "secret."  # noqa: S105 - the beginning of a placeholder
_DEEPEST: Final = 8
_TYPES: Final = {"json": "application/json", "form": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class Gateway:
    """Implements ``Sender``."""

    place: Place
    form: str
    fields: Mapping[str, Any]
    headers: Mapping[str, str]
    secrets: "Mapping[str, PinSource]" = field(repr=False)
    success: tuple[int, ...]
    pointer: str | None
    equals: Any
    login: "tuple[str, PinSource] | None" = field(repr=False)
    kind = "https"

    @classmethod
    def from_table(cls, table: "SenderTable") -> Self:
        method = table.word("method", ("POST", "PUT"), "POST")
        place = Place(table.url("url"), method, table.seconds(), table.file("ca-certificate"))
        secrets = table.sources("secrets")
        made = cls(
            place=place,
            form=table.word("form", tuple(_TYPES), "json"),
            fields=table.table("fields"),
            headers=table.headers("headers"),
            secrets=secrets,
            success=table.numbers("success", 100, 599),
            pointer=table.maybe_text("pointer"),
            equals=table.value("equals"),
            login=table.login(),
        )
        made._check(table)
        return made

    def send(self, message: "Message") -> None:
        try:
            revealed = {name: secret_from(one, self.kind, message.target) for name, one in self.secrets.items()}
            secrets = {name: one.reveal().decode() for name, one in revealed.items()}
        except UnicodeError:
            secrets = None
        if secrets is None:  # outside, so that no cause holds what could not be read
            raise unsent(self.kind, message.target, Phrase("a secret that its settings name cannot be read"))
        try:
            self._check_reply(post(self.place, self._headers(message, secrets), self.body(message, secrets)))
        except Unanswered as error:
            raise unsent(self.kind, message.target, error.problem) from error

    def check(self) -> None:
        for name, source in self.secrets.items():
            check_secret(source, f"secrets.{name}")
        if self.login is not None:
            check_secret(self.login[1], "password-source")
        check_trust(self.place.trust)

    def body(self, message: "Message", secrets: Mapping[str, str]) -> bytes:
        """What is posted."""
        facts = _facts_of(message, secrets)
        fields = _walked(self.fields, lambda text: _filled(text, facts))
        return (json.dumps(fields, ensure_ascii=False) if self.form == "json" else urlencode(fields)).encode()

    def _headers(self, message: "Message", secrets: Mapping[str, str]) -> dict[str, str]:
        facts = _facts_of(message, secrets)
        headers = {name: _filled(text, facts) for name, text in self.headers.items()}
        if "content-type" not in self._named():
            headers["Content-Type"] = _TYPES[self.form]
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise unsent(self.kind, message.target, Phrase("a secret that its settings name cannot stand in a header"))
        if self.login is not None:
            user, source = self.login
            pair = user.encode() + b":" + secret_from(source, self.kind, message.target).reveal()
            headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
        return headers

    def _named(self) -> set[str]:
        return {name.lower() for name in self.headers}

    def _check_reply(self, reply: Reply) -> None:
        """Raises ``Unanswered`` for whatever does not mean that the message was taken."""
        taken = reply.status in self.success if self.success else 200 <= reply.status < 300
        if not taken:
            raise Unanswered(Phrase("it answered with HTTP status {status}", status=reply.status))
        if self.pointer is None:
            return
        try:
            said = pointed(json.loads(reply.body), self.pointer)
        except (ValueError, LookupError, RecursionError) as error:
            raise Unanswered(Phrase("its answer is not in the form that the settings say")) from error
        if isinstance(said, bool) is not isinstance(self.equals, bool) or said != self.equals:
            raise Unanswered(Phrase("its answer says that it did not take the message"))

    def _check(self, table: "SenderTable") -> None:
        """Every placeholder is one, and the body has the form that was chosen."""
        secrets = [f"{_SECRET}{name}" for name in self.secrets]
        for text in self.headers.values():
            _check_placeholders(text, ["id", *secrets], table, "headers")
        if self.login is not None and "authorization" in self._named():
            table.refuse("user")
        if not self.fields or (self.form == "form" and not all(isinstance(v, str) for v in self.fields.values())):
            table.refuse("fields")
        known = [*_FACTS, *secrets]
        used: list[str] = []

        def check(text: str) -> str:
            used.extend(_check_placeholders(text, known, table, "fields"))
            return text

        _walked(self.fields, check, lambda: table.refuse("fields"))
        if not {"to", "to-national"} & set(used) or not {"text", "code"} & set(used):
            table.refuse("fields")
        if (self.pointer is None) != (self.equals is None) or not (self.pointer or "/").startswith("/"):
            table.refuse("pointer")


def pointed(document: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) points to. ``LookupError`` or ``ValueError`` when there is nothing."""
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list):
            if not (key.isascii() and key.isdigit()):
                raise LookupError(key)
            document = document[int(key)]
        elif isinstance(document, dict):
            document = document[key]
        else:
            raise LookupError(key)
    return document


def _facts_of(message: "Message", secrets: Mapping[str, str]) -> dict[str, str]:
    target = message.target
    return {f"{_SECRET}{name}": value for name, value in secrets.items()} | {
        "to": target.address,
        "to-national": target.national,
        "text": message.text,
        "code": message.code.reveal().decode() if message.code is not None else "",
        "subject": message.subject,
        "id": message.id,
        "authority": message.authority,
        "purpose": message.purpose,
        "language": message.language,
    }


def _filled(template: str, facts: Mapping[str, str]) -> str:
    """In one pass: what a placeholder brings is never read as a template again."""
    return _PLACEHOLDER.sub(lambda found: facts[found.group(1)], template)


def _check_placeholders(text: str, known: Collection[str], table: "SenderTable", key: str) -> list[str]:
    found = _PLACEHOLDER.findall(text)
    for name in found:
        if name not in known:
            raise ValueError(Phrase("'{key}': there is no placeholder {name}", key=key, name="{" + name + "}"))
    return found


def _walked(value: Any, work: Callable[[str], str], refuse: Callable[[], Any] | None = None, depth: int = 0) -> Any:
    """The same with every text in it worked on; ``refuse`` is called where it is too deep or no JSON."""
    if isinstance(value, str):
        return work(value)
    if isinstance(value, dict) and depth < _DEEPEST:
        return {key: _walked(one, work, refuse, depth + 1) for key, one in value.items()}
    if isinstance(value, list) and depth < _DEEPEST:
        return [_walked(one, work, refuse, depth + 1) for one in value]
    if not isinstance(value, bool | int | float) and refuse is not None:
        return refuse()
    return value
