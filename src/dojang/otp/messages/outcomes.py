"""What a gateway tells of a call: read when it is signed with the key that both sides have, just now."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from dojang.errors import Phrase, Usage
from dojang.otp.messages.signature import SHORTEST_KEY, Unsigned, check_signed
from dojang.secret import Secret

_CALL: Final = re.compile(r"[0-9a-f]{32}")
_DIGITS: Final = re.compile(r"[0-9*#]{1,32}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """``digits`` are what the person pressed; ``None`` where nobody did. ``nonce`` is another for each outcome."""

    call: str
    digits: Secret | None
    nonce: str


def read_outcome(headers: Mapping[str, str], body: bytes, key: Secret, at: datetime) -> Outcome:
    """Raises ``Unsigned``, which says no more; ``Usage`` for what is signed and none of the two forms."""
    if len(key) < SHORTEST_KEY:
        raise Unsigned
    nonce = check_signed("outcome", headers, body, key, at)
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _malformed() from error
    if not isinstance(told, dict) or not _is(_CALL, told.get("id")):
        raise _malformed()
    if told.get("outcome") == "unanswered" and told.keys() == {"id", "outcome"}:
        return Outcome(told["id"], None, nonce)
    if told.get("outcome") != "pressed" or told.keys() != {"id", "outcome", "digits"}:
        raise _malformed()
    if not _is(_DIGITS, told["digits"]):
        raise _malformed()
    return Outcome(told["id"], Secret(told["digits"]), nonce)


def _is(form: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def _malformed() -> Usage:
    return Usage(problem=Phrase("This is no outcome of a call."))
