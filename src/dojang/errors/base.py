"""What every error of the tree is made of: templates, facts, and words that can be translated with their facts."""

from string import Formatter
from typing import Self


def _placeholders(template: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(template) if name)


def _token_address(label: str) -> str:
    """The label as an address to paste (RFC 7512): everything but letters, digits and ``-._~`` as %XX."""
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    return "pkcs11:token=" + "".join(
        chr(one) if one in plain else f"%{one:02X}" for one in label.encode(errors="replace")
    )


class Phrase(str):
    """Words for a fact that has facts of its own: reads as English, and can still be translated with them."""

    template: str
    facts: dict[str, object]

    def __new__(cls, template: str, **facts: object) -> Self:
        phrase = super().__new__(cls, template.format_map(facts))
        phrase.template, phrase.facts = template, facts
        return phrase


class DojangError(Exception):
    """Root of the tree. Subclasses that have a ``code`` are leaves and may be raised."""

    code: str = ""
    exit_status: int = 1
    so_next_step: str = ""
    retryable: bool = False
    sentence: str = ""
    next_step: str = ""

    def __init__(self, *, next_step: str | None = None, **facts: object) -> None:
        """Keep the facts; ``next_step`` replaces the leaf's own advice where the situation allows better advice, as
        ``so_next_step`` does where the fact ``role`` says that it is about the SO PIN.

        The fact ``token``, a label, brings the fact ``token_address``, for advice that can be pasted.
        """
        if "token" in facts:
            facts.setdefault("token_address", _token_address(str(facts["token"])))
        if facts.get("role") == "so":
            next_step = next_step or self.so_next_step or None
        if next_step is not None:
            self.next_step = next_step
        missing = (_placeholders(self.sentence) | _placeholders(self.next_step)) - facts.keys()
        if missing:
            raise TypeError(f"{type(self).__name__} needs the facts {', '.join(sorted(missing))}")
        self.facts = facts
        super().__init__(self.sentence.format_map(facts))

    def message(self, translated: str | None = None) -> str:
        """What happened, in English or after the translated template."""
        return (translated or self.sentence).format_map(self.facts)

    def advice(self, translated: str | None = None) -> str:
        """What to do next, in English or after the translated template."""
        return (translated or self.next_step).format_map(self.facts)
