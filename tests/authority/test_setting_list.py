"""The list of settings against what reads ``authority.toml``: each holds the other to it."""

import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest

from dojang.authority import settings
from dojang.authority.enrolment import policy as enrolment
from dojang.authority.folder import SETTINGS_NAME
from dojang.authority.setting_list import TABLES, written
from dojang.authority.settings import AuthoritySettings, CmpSettings
from dojang.authority.status.settings import StatusSettings
from dojang.errors import InvalidSetting
from dojang.otp.cards.policy import CardPolicy
from dojang.otp.devices.policy import DevicePolicy
from dojang.otp.messages import policy as messages
from dojang.otp.messages.reading import SenderTable
from dojang.otp.messages.senders.call import Call
from dojang.otp.messages.senders.gateway import Gateway
from dojang.otp.messages.senders.smtp import Smtp
from dojang.otp.messages.targets import CHANNELS

LISTED = {table.name: {one.key for one in table.settings} for table in TABLES}


def keys_of(kind: type, *without: str) -> set[str]:
    return {one.name.replace("_", "-") for one in fields(kind)} - set(without)


def load(folder: Path, text: str) -> AuthoritySettings:
    (folder / SETTINGS_NAME).write_text(text)
    return settings.load(folder)


def test_no_key_is_missing_and_none_too_many() -> None:
    """What the code takes is what the list has, table by table."""
    assert LISTED[""] == keys_of(AuthoritySettings, "path", "cmp", "status", "tables")
    assert LISTED["cmp"] == keys_of(CmpSettings)
    assert LISTED["status"] == keys_of(StatusSettings)
    assert LISTED["otp"] == keys_of(DevicePolicy)
    assert LISTED["cards"] == keys_of(CardPolicy)
    assert LISTED["enrolment"] == set(enrolment._KEYS) - {"profiles"}
    assert LISTED["enrolment.profiles.personal"] == set(enrolment._OF_PROFILE)
    assert LISTED["messages"] == set(messages._KEYS) - set(CHANNELS)
    assert set(LISTED) - {"", "cmp", "status"} >= set(settings._TABLES)


@pytest.mark.parametrize(("channel", "kind"), [("mail", Smtp), ("sms", Gateway), ("ars", Call)])
def test_each_key_of_a_sender_is_listed(channel: str, kind: type, tmp_path: Path) -> None:
    """Told by what its class takes from the example."""
    (tmp_path / "gateway-ca.pem").touch()
    data = tomllib.loads("\n".join(written(str, examples=True)))["messages"][channel]
    table = SenderTable(data, channel, tmp_path)
    kind.from_table(table)
    assert table._taken | {"kind"} == LISTED[f"messages.{channel}"]


def test_what_is_called_usual_holds_where_nothing_is_said(tmp_path: Path) -> None:
    """Written into the file as it is printed, it changes nothing."""
    said, unsaid = load(tmp_path, "\n".join(written(str))), load(tmp_path, "")
    assert replace(said, tables={}) == replace(unsaid, tables={})
    for table in ("enrolment", "factors", "messages", "cards", "otp"):
        assert getattr(said, table)() == getattr(unsaid, table)()


def test_every_example_can_be_taken_over(tmp_path: Path) -> None:
    """As it stands, with the file that it names."""
    (tmp_path / "gateway-ca.pem").touch()
    found = load(tmp_path, "\n".join(written(str, examples=True)))
    assert sorted(found.messages().senders) == sorted(CHANNELS)
    assert set(found.factors().by_profile) == {"personal", "email"}
    assert found.address == "http://ca.example.kr/office"


@pytest.mark.parametrize(
    "line", ["tris = 1", "[cmp]\nx = 1", "[otp]\nx = 1", "[messages]\nx = 1", "[cards]\ntries = 9"]
)
def test_a_wrong_line_names_the_command_that_lists_them(line: str, tmp_path: Path) -> None:
    """Not a file that does not."""
    with pytest.raises(InvalidSetting) as refused:
        load(tmp_path, line)
    assert "dojang ca settings" in refused.value.advice()
