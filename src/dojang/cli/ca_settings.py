"""``dojang ca settings``: what an authority's own file may say."""

import tomllib
from typing import Any

from dojang.cli.context import Invocation
from dojang.cli.frame import command
from dojang.cli.language import N_, say
from dojang.errors import Phrase


@command(
    help=N_(
        "Show everything that an authority's own file may say, authority.toml in its folder: what holds unless it is "
        "said, examples behind a '#', and what each line means. The output is such a file itself."
    ),
    examples=["dojang ca settings", "dojang ca settings --json"],
)
def settings(invocation: Invocation) -> None:
    """No authority is opened."""
    from dojang.authority.folder import SETTINGS_NAME
    from dojang.authority.setting_list import TABLES, written

    data = [
        {
            "table": table.name,
            "key": one.key,
            "usual": _value(one.value) if one.usual else None,
            "example": None if one.usual else _value(one.value),
            "meaning": _said(one.meaning),
        }
        for table in TABLES
        for one in table.settings
    ]
    names = [f"{one['table']}.{one['key']}".strip(".") for one in data]
    file = invocation.settings.authorities_dir / "NAME" / SETTINGS_NAME
    lines = [f"# {file}", *written(_said)]
    invocation.result({"file": file, "settings": data}, "\n".join(lines), quiet=names)


def _said(meaning: Phrase) -> str:
    return say(meaning.template, **meaning.facts)


def _value(text: str) -> Any:
    return tomllib.loads(f"value = {text}")["value"]
