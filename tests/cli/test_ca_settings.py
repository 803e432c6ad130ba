"""``dojang ca settings``: what it prints is a file that can be used."""

import json
import tomllib
from pathlib import Path

import pytest

from dojang.cli.run import run


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_output_is_a_file_of_settings(language: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With every comment in the person's language, and nothing but what holds anyway."""
    assert run(["ca", "settings", "--lang", language]) == 0
    text = capsys.readouterr().out
    assert tomllib.loads(text)["otp"]["tries"] == 10
    assert ("풂" in text) is (language == "ko")
    assert "/authorities/NAME/authority.toml" in text.splitlines()[0]


def test_scripts_get_values(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each key with what it is unless said, or with an example."""
    assert run(["ca", "settings", "--json"]) == 0
    listed = {(one["table"], one["key"]): one for one in json.loads(capsys.readouterr().out)["data"]["settings"]}
    assert listed["messages", "countries"]["usual"] == ["82"]
    assert listed["messages.mail", "kind"]["example"] == "smtp"
    assert listed["messages.mail", "kind"]["usual"] is None
