"""Which language a person reads, and every text of dojang in that language."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dojang.cli.korean import settle_particles
from dojang.errors import DojangError, Phrase

if TYPE_CHECKING:
    from gettext import GNUTranslations

LOCALE_DIR = Path(__file__).parent.parent / "locale"
DOMAIN = "dojang"


def N_(text: str) -> str:  # noqa: N802 - the name that gettext tools look for
    """Mark a text for the catalogue; it is translated later, where it is shown."""
    return text


# What a person calls the PIN that PKCS#11 keeps for a role.
_ROLES = {"so": N_("SO"), "user": N_("user"), "context": N_("user")}
# Facts that are words of ours rather than names of somebody's tokens and files, which are never translated.
_WORDS = frozenset(
    (
        "role",
        "problem",
        "problems",
        "what",
        "expected",
        "operation",
        "purpose",
        "remedy",
        "verb",
        "step",
        "detail",
        "where",
    )
)

_CONTROLS = {number: f"\\x{number:02x}" for number in (*range(9), *range(11, 32), *range(127, 160))}

_catalogue: "GNUTranslations | None" = None


def choose(asked: str | None, environment: Mapping[str, str]) -> str:
    """``ko`` or ``en``: what was asked for, else what LC_ALL, LC_MESSAGES or LANG says, in that order."""
    if asked in ("ko", "en"):
        return asked
    spoken = environment.get("LC_ALL") or environment.get("LC_MESSAGES") or environment.get("LANG") or ""
    return "ko" if spoken.split(".")[0].split("_")[0] == "ko" else "en"


def speak(language: str) -> None:
    """Say everything from here on in ``language``; English where the catalogue was not compiled."""
    global _catalogue
    _catalogue = None
    if language == "en":
        return
    import gettext

    try:
        translations = gettext.translation(DOMAIN, LOCALE_DIR, languages=[language])
    except OSError:
        return
    _catalogue = translations if isinstance(translations, gettext.GNUTranslations) else None
    # click asks gettext by itself: it finds its sentences in our catalogue, in the language named here.
    gettext.bindtextdomain(DOMAIN, str(LOCALE_DIR))
    gettext.textdomain(DOMAIN)
    os.environ["LANGUAGE"] = language


def spoken() -> str:
    """The language that ``speak`` chose: ``ko`` or ``en``."""
    return "en" if _catalogue is None else "ko"


def _(text: str) -> str:
    """The text in the chosen language."""
    return text if _catalogue is None or not text else _catalogue.gettext(text)


def say(template: str, **facts: object) -> str:
    """A template in the chosen language, filled in."""
    text = _(template).format_map({name: _fact(name, value) for name, value in facts.items()})
    return settle_particles(text) if _catalogue is not None else text


def message_of(error: DojangError) -> str:
    """What happened."""
    return say(error.sentence, **error.facts)


def advice_of(error: DojangError) -> str:
    """What to do next."""
    return say(error.next_step, **error.facts)


def harmless(text: str) -> str:
    """A name from a token or file without the characters that would move a terminal's cursor or change its colours."""
    return text if text.isprintable() else text.translate(_CONTROLS)


def _fact(name: str, value: object) -> object:
    """A fact as people read it: phrases and known words translated, lists joined, moments cut to minutes."""
    if isinstance(value, Phrase):
        return say(value.template, **value.facts)
    if isinstance(value, str):
        return _(_ROLES.get(value, value)) if name in _WORDS else harmless(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return "; ".join(str(_fact(name, item)) for item in value)
    if hasattr(value, "strftime"):
        return value.strftime(f"%Y-%m-%d %H:%M {'KST' if value.strftime('%Z') == 'KST' else 'UTC'}")
    return value
