"""The configuration file and the environment."""

from pathlib import Path

import pytest

from dojang.errors import InvalidSetting
from dojang.settings import ModuleSetting, load

WHOLE = """
module = "/usr/lib/softhsm/libsofthsm2.so"
discover-modules = false
pin-source = "env:PIN"
so-pin-source = "prompt"
password-source = "file:/run/password"
lang = "ko"
renewal-window-days = 45
trust-anchors = ["/etc/root.pem", "~/other.pem"]

[[modules]]
path = "/opt/p11.so"
name = "vendor"
init-string = "slots=2"
sha256 = "00ff"

[aliases]
hong = "pkcs11:token=Hong"
"""


def write(folder: Path, text: str) -> dict[str, str]:
    (folder / "config.toml").write_text(text)
    return {"DOJANG_HOME": str(folder), "HOME": str(folder)}


def test_every_setting_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key of the file arrives in its field."""
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load(environment=write(tmp_path, WHOLE))
    assert settings.module == "/usr/lib/softhsm/libsofthsm2.so"
    assert settings.modules == (ModuleSetting("/opt/p11.so", "vendor", "slots=2", "00ff"),)
    assert (settings.discover_modules, settings.lang, settings.renewal_window_days) == (False, "ko", 45)
    assert (settings.pin_source, settings.so_pin_source) == ("env:PIN", "prompt")
    assert settings.password_source == "file:/run/password"
    assert settings.trust_anchors == (Path("/etc/root.pem"), tmp_path / "other.pem")
    assert dict(settings.aliases) == {"hong": "pkcs11:token=Hong"}


def test_nothing_need_be_there(tmp_path: Path) -> None:
    """Without a file every setting has its default, and no folder is made."""
    settings = load(environment={"DOJANG_HOME": str(tmp_path / "absent")})
    assert settings.module is None
    assert settings.discover_modules
    assert not (tmp_path / "absent").exists()


def test_home_holds_configuration_and_state(tmp_path: Path) -> None:
    """DOJANG_HOME puts everything under one folder."""
    settings = load(environment={"DOJANG_HOME": str(tmp_path)})
    assert settings.config_path == tmp_path / "config.toml"
    paths = (settings.ledger_path, settings.pin_guard_path, settings.authorities_dir, settings.log_path)
    assert all(path.is_relative_to(tmp_path / "state") for path in paths)


def test_platform_folders(tmp_path: Path) -> None:
    """Without DOJANG_HOME the XDG folders hold configuration and state apart."""
    settings = load(environment={"XDG_CONFIG_HOME": str(tmp_path / "c"), "XDG_STATE_HOME": str(tmp_path / "s")})
    assert settings.config_path == tmp_path / "c" / "dojang" / "config.toml"
    assert settings.state_dir == tmp_path / "s" / "dojang"


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    """DOJANG_MODULE and DOJANG_PIN_SOURCE are believed before the file."""
    environment = write(tmp_path, WHOLE) | {"DOJANG_MODULE": "softhsm2", "DOJANG_PIN_SOURCE": "fd:3"}
    settings = load(environment=environment)
    assert (settings.module, settings.pin_source) == ("softhsm2", "fd:3")


def test_named_file_wins_over_the_usual_one(tmp_path: Path) -> None:
    """--config is believed before DOJANG_CONFIG, that before the usual place."""
    environment = write(tmp_path, 'lang = "ko"')
    (tmp_path / "a.toml").write_text('lang = "en"')
    (tmp_path / "b.toml").write_text('module = "b"')
    environment["DOJANG_CONFIG"] = str(tmp_path / "a.toml")
    assert load(environment=environment).lang == "en"
    assert load(tmp_path / "b.toml", environment).module == "b"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('tokn = "x"', "tokn"),
        ("lang = 'fr'", "lang"),
        ("module = 3", "module"),
        ("module = ''", "module"),
        ("discover-modules = 'no'", "discover-modules"),
        ("renewal-window-days = -1", "renewal-window-days"),
        ("renewal-window-days = true", "renewal-window-days"),
        ("trust-anchors = 'a'", "trust-anchors"),
        ("aliases = 'a'", "aliases"),
        ("modules = [{name = 'a'}]", "modules"),
        ("modules = [{path = 'a', pin = '1'}]", "modules"),
        ("not toml", "TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    """An unknown or unusable setting is an error that names file and setting."""
    with pytest.raises(InvalidSetting) as caught:
        load(environment=write(tmp_path, text))
    assert named in str(caught.value)
    assert str(tmp_path / "config.toml") in str(caught.value)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    """A file that was asked for and is missing is an error; only the usual one may be absent."""
    with pytest.raises(InvalidSetting):
        load(tmp_path / "absent.toml", {"DOJANG_HOME": str(tmp_path)})


def test_binary_rubbish_is_an_error_of_ours(tmp_path: Path) -> None:
    """Bytes that are no text do not escape as a decoding error."""
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidSetting):
        load(environment={"DOJANG_HOME": str(tmp_path)})
