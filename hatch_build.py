"""Build hook: compiles the message catalogues, for wheels and for editable installs alike."""

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LOCALE_DIR = Path(__file__).parent / "src" / "dojang" / "locale"


def compile_catalogues(locale_dir: Path = LOCALE_DIR) -> list[Path]:
    """Write a ``.mo`` beside every ``.po`` and return them; a reader never sees half a file."""
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    written = []
    for source in sorted(locale_dir.rglob("*.po")):
        with source.open("rb") as text:
            catalogue = read_po(text, locale=source.parent.parent.name)
        target, partial = source.with_suffix(".mo"), source.with_suffix(f".mo.{os.getpid()}")
        with partial.open("wb") as binary:
            write_mo(binary, catalogue)
        written.append(partial.replace(target))
    return written


class CatalogueHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before hatchling collects the files of the package."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and tell hatchling to ship what version control ignores."""
        build_data["artifacts"] += [f"/{path.relative_to(self.root)}" for path in compile_catalogues()]
