"""Configuration, read once: one TOML file, a few environment variables, and the folders that follow from them.

module = "/usr/lib/softhsm/libsofthsm2.so"     # the module to use, by path or name
discover-modules = true                        # also look in p11-kit and the well-known places
pin-source = "prompt"                          # and so-pin-source, ca-pin-source, password-source
lang = "ko"
agent = true                                   # let the agent sign where one runs
renewal-window-days = 30
trust-anchors = ["/etc/dojang/root.pem"]
ca-tls-certificate = "/etc/dojang/tls.pem"      # what an authority's https: is checked with, if not by the system's own
allowed-policies = ["개인 범용"]                # purposes that 'cert register' accepts; all, unless said
password-policy = "joint"                      # the rule for new passwords of files, or "none"
password-tries = 5                             # wrong passwords for one file until none is tried any more, 0: no end
password-encoding = "utf-8"                    # or "cp949"; on reading the other one is tried as well
key-file-format = "pbes2-aes256"               # or "pbes2-seed", "seed-cbc-sha1"; also where others were before
pkcs12-profile = "aes256"                      # or "legacy-3des"; unless set, a file keeps the one that it has
r-object-label = "R"                           # CKA_LABEL and CKA_APPLICATION of the object that keeps R on a token
r-object-application = "NPKI"

[[modules]]
path = "/opt/vendor/libp11.so"
name = "vendor"
init-string = ""
sha256 = ""

[aliases]
hong = "pkcs11:token=Hong"

The tables ``[renew]`` and ``[notices]`` are described in ``renewal_settings``.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from dojang.errors import InvalidSetting, Phrase
from dojang.places import folders, pin_guard_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dojang.renewal_settings import NoticeSettings, RenewSettings

LANGUAGES = ("ko", "en")
KEY_FILE_FORMATS = ("pbes2-aes256", "pbes2-seed", "seed-cbc-sha1")
PKCS12_PROFILES = ("aes256", "legacy-3des")
PASSWORD_ENCODINGS = ("utf-8", "cp949")


class ModuleSetting(NamedTuple):
    """One PKCS#11 module named in the configuration."""

    path: str
    name: str = ""
    init_string: str | None = None
    sha256: str | None = None


class Settings(NamedTuple):
    """What the configuration file and the environment say; paths are absolute.

    Every command loads this at its start, where a dataclass of this size costs four milliseconds.
    """

    config_path: Path
    state_dir: Path
    module: str | None = None
    modules: tuple[ModuleSetting, ...] = ()
    discover_modules: bool = True
    pin_source: str | None = None
    so_pin_source: str | None = None
    ca_pin_source: str | None = None
    password_source: str | None = None
    lang: str | None = None
    agent: bool = True
    aliases: Mapping[str, str] = MappingProxyType({})
    renewal_window_days: int | None = None
    trust_anchors: tuple[Path, ...] = ()
    allowed_policies: tuple[str, ...] = ()
    ca_tls_certificate: Path | None = None
    renew: "RenewSettings | None" = None
    notices: "NoticeSettings | None" = None
    password_policy: str | None = None
    password_tries: int | None = None
    password_encoding: str | None = None
    key_file_format: str | None = None
    pkcs12_profile: str | None = None
    r_object_label: str | None = None
    r_object_application: str | None = None

    @property
    def ledger_path(self) -> Path:
        return self.state_dir / "ledger.sqlite"

    @property
    def pin_guard_path(self) -> Path:
        return pin_guard_path(self.state_dir)

    @property
    def password_tries_dir(self) -> Path:
        return self.state_dir / "password-tries"

    @property
    def authorities_dir(self) -> Path:
        return self.state_dir / "authorities"

    @property
    def log_path(self) -> Path:
        return self.state_dir / "dojang.log"


def load(config: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the configuration: ``config``, else ``DOJANG_CONFIG``, else the usual place, which need not exist.

    ``DOJANG_MODULE`` and ``DOJANG_PIN_SOURCE`` win over the file. Raises ``InvalidSetting``.
    """
    env = os.environ if environment is None else environment
    named = config or (Path(env["DOJANG_CONFIG"]) if env.get("DOJANG_CONFIG") else None)
    usual, state_dir = folders(env)
    path = (named or usual / "config.toml").absolute()
    settings = Settings(config_path=path, state_dir=state_dir)
    if named is not None or path.exists():
        settings = settings._replace(**_parse(path, _read(path)))
    return settings._replace(
        module=env.get("DOJANG_MODULE") or settings.module,
        pin_source=env.get("DOJANG_PIN_SOURCE") or settings.pin_source,
    )


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidSetting(path=path, problem=error.strerror or "cannot be read") from error
    except ValueError as error:
        raise InvalidSetting(path=path, problem=Phrase("not valid TOML ({detail})", detail=error)) from error


def _parse(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    """Every key checked and turned into the fields of ``Settings``."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        check = _KEYS.get(key)
        if check is None:
            raise InvalidSetting(path=path, problem=Phrase("'{key}' is not a setting", key=key))
        try:
            values[key.replace("-", "_")] = check(value)
        except (TypeError, ValueError) as error:
            problem = Phrase("'{key}' has an unusable value ({detail})", key=key, detail=next(iter(error.args), ""))
            raise InvalidSetting(path=path, problem=problem) from error
    return values


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(Phrase("text expected"))
    return value


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(Phrase("true or false expected"))
    return value


def _number(expected: str) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise TypeError(expected)
        return value

    return check


def _one_of(choices: tuple[str, ...]) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in choices:
            raise ValueError(Phrase("one of {choices} expected", choices=", ".join(choices)))
        return str(value)

    return check


def _aliases(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(Phrase("a table expected"))
    return {str(name): _text(address) for name, address in value.items()}


def _path(value: object) -> Path:
    return Path(_text(value)).expanduser()


def _paths(value: object) -> tuple[Path, ...]:
    if not isinstance(value, list):
        raise TypeError(Phrase("a list of paths expected"))
    return tuple(Path(_text(item)).expanduser() for item in value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(Phrase("a list of texts expected"))
    return tuple(map(_text, value))


def _modules(value: object) -> tuple[ModuleSetting, ...]:
    if not isinstance(value, list):
        raise TypeError(Phrase("[[modules]] tables expected"))
    return tuple(_module(item) for item in value)


def _renew(value: object) -> "RenewSettings":
    from dojang.renewal_settings import renew_settings

    return renew_settings(value)


def _notices(value: object) -> "NoticeSettings":
    from dojang.renewal_settings import notice_settings

    return notice_settings(value)


def _module(value: object) -> ModuleSetting:
    if not isinstance(value, dict) or not value.keys() <= {"path", "name", "init-string", "sha256"}:
        raise TypeError(Phrase("path, name, init-string and sha256 expected"))
    texts = {key.replace("-", "_"): _text(item) for key, item in value.items() if item != ""}
    if "path" not in texts:
        raise ValueError(Phrase("{name} is missing", name="path"))
    return ModuleSetting(**texts)


_KEYS: dict[str, Callable[[object], Any]] = {
    "module": _text,
    "modules": _modules,
    "discover-modules": _switch,
    "pin-source": _text,
    "so-pin-source": _text,
    "ca-pin-source": _text,
    "password-source": _text,
    "lang": _one_of(LANGUAGES),
    "agent": _switch,
    "aliases": _aliases,
    "renewal-window-days": _number(Phrase("a number of days expected")),
    "trust-anchors": _paths,
    "ca-tls-certificate": _path,
    "allowed-policies": _texts,
    "renew": _renew,
    "notices": _notices,
    "password-policy": _text,
    "password-tries": _number(Phrase("a number expected")),
    "password-encoding": _one_of(PASSWORD_ENCODINGS),
    "key-file-format": _one_of(KEY_FILE_FORMATS),
    "pkcs12-profile": _one_of(PKCS12_PROFILES),
    "r-object-label": _text,
    "r-object-application": _text,
}
