"""What an authority's own file says, ``authority.toml`` in its folder; a missing file or key is the default.

What may stand there, and what each key means, is in ``setting_list``.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args, get_type_hints

from dojang.authority.folder import SETTINGS_NAME, STORE_NAME
from dojang.authority.status.settings import StatusSettings
from dojang.errors import InvalidSetting, Phrase

if TYPE_CHECKING:
    from dojang.authority.enrolment.policy import EnrolmentPolicy
    from dojang.authority.factors.policy import FactorPolicy
    from dojang.otp.cards import CardPolicy
    from dojang.otp.devices.policy import DevicePolicy
    from dojang.otp.messages.policy import MessagePolicy

# Tables that are read by who needs them; those of these that are there are checked at once.
_TABLES: Final = ("enrolment", "factors", "messages", "cards", "otp")
_ADDRESS: Final = re.compile(r"https?://[^\s/]+(/\S*)?")


@dataclass(frozen=True, slots=True)
class CmpSettings:
    """What a conversation over CMP is held to."""

    longest_iterations: int = 100_000
    clock_skew_seconds: int = 900
    implicit_confirm: bool = True
    keep_hours: int = 24
    poll_seconds: int = 5
    waiting_requests: int = 4


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """The file as it was read. ``database`` is an address; ``path`` the file, which need not exist."""

    path: Path
    database: str
    test: bool = False
    address: str | None = None
    unconfirmed_hours: int = 24
    notify_subscribers: bool = False
    cmp: CmpSettings = field(default_factory=CmpSettings)
    status: StatusSettings = field(default_factory=StatusSettings)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def unconfirmed_term(self) -> timedelta:
        return timedelta(hours=self.unconfirmed_hours)

    def enrolment(self) -> "EnrolmentPolicy":
        """What the table ``[enrolment]`` says. Raises ``InvalidSetting``."""
        from dojang.authority.enrolment.policy import policy_from

        try:
            return policy_from(self.tables.get("enrolment", {}), self.path.parent, is_test=self.test)
        except ValueError as error:
            raise invalid(path=self.path, problem=error.args[0]) from error

    def cards(self) -> "CardPolicy":
        """What the table ``[cards]`` says. Raises ``InvalidSetting``."""
        from dojang.otp.cards.policy import policy_from

        try:
            return policy_from(self.tables.get("cards", {}))
        except ValueError as error:
            raise invalid(path=self.path, problem=error.args[0]) from error

    def otp(self) -> "DevicePolicy":
        """What the table ``[otp]`` says. Raises ``InvalidSetting``."""
        from dojang.otp.devices.policy import policy_from

        try:
            return policy_from(self.tables.get("otp", {}))
        except ValueError as error:
            raise invalid(path=self.path, problem=error.args[0]) from error

    def messages(self) -> "MessagePolicy":
        """What the table ``[messages]`` says. Raises ``InvalidSetting``."""
        from dojang.otp.messages.policy import policy_from

        try:
            return policy_from(self.tables.get("messages", {}), self.path.parent, is_test=self.test)
        except ValueError as error:
            raise invalid(path=self.path, problem=error.args[0]) from error

    def factors(self) -> "FactorPolicy":
        """What the table ``[factors]`` says. Raises ``InvalidSetting``."""
        from dojang.authority.factors.policy import policy_from

        try:
            return policy_from(self.tables.get("factors", {}))
        except ValueError as error:
            raise invalid(path=self.path, problem=error.args[0]) from error


def load(folder: Path) -> AuthoritySettings:
    """The settings of the authority in ``folder``. Raises ``InvalidSetting`` for a key or value that cannot be."""
    path = folder / SETTINGS_NAME
    data = _read(path)
    embedded = f"sqlite:///{(folder / STORE_NAME).absolute()}"
    own = {key: value for key, value in data.items() if key not in ("cmp", "status", *_TABLES)}
    values = _values(AuthoritySettings, own, path, without=("path", "cmp", "status", "tables"))
    address = values.get("address")
    if address is not None:
        check_address(address, path)
    status = _section(StatusSettings, data, "status", path)
    if not status.get("base") and address is not None:
        status["base"] = address
    settings = AuthoritySettings(
        path=path,
        cmp=CmpSettings(**_section(CmpSettings, data, "cmp", path)),
        status=StatusSettings(**status),
        tables={name: _table(data, name, path) for name in _TABLES},
        **({"database": embedded} | values),
    )
    if settings.tables["enrolment"]:
        settings.enrolment()
    if settings.tables["factors"]:
        _check_profiles(settings.factors().by_profile, folder, path)
    if settings.tables["messages"]:
        settings.messages()
    if settings.tables["cards"]:
        settings.cards()
    if settings.tables["otp"]:
        settings.otp()
    return settings


def _check_profiles(named: Iterable[str], folder: Path, path: Path) -> None:
    """A rule for a profile that is none would be obeyed by nobody, and nobody would notice. ``InvalidSetting``."""
    from dojang.x509.profiles import profile_names

    for name in sorted(set(named) - profile_names(folder / "profiles")):
        problem = Phrase("factors.profiles names '{name}', which is no profile", name=name[:64])
        raise invalid(path=path, problem=problem)


def invalid(path: Path, problem: object) -> InvalidSetting:
    """What is wrong in such a file, and where to see how it is right."""
    return InvalidSetting(
        path=path, problem=problem, next_step="Correct the file; 'dojang ca settings' lists what it may say."
    )


def check_address(address: str, path: Path) -> None:
    """Raises ``InvalidSetting`` for what cannot be the own address of an authority."""
    if not _ADDRESS.fullmatch(address):
        raise invalid(path=path, problem=Phrase("'{key}' must be an address: http://…", key="address"))


def write(folder: Path, database: str | None, address: str | None = None) -> None:
    """The first settings of a new authority: where its records are, unless in its folder, and its own address."""
    said = {"database": database, "address": address}
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in said.items() if value is not None]
    if lines:
        (folder / SETTINGS_NAME).write_text("".join(lines))
        (folder / SETTINGS_NAME).chmod(0o600)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise invalid(path=path, problem=Phrase("not valid TOML ({detail})", detail=error)) from error
    except OSError as error:
        raise invalid(path=path, problem=error.strerror or "cannot be read") from error


def _table(data: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    found = data.get(name, {})
    if not isinstance(found, dict):
        raise invalid(path=path, problem=Phrase("'{key}' must be a table", key=name))
    return found


def _section(kind: type, data: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    return _values(kind, _table(data, name, path), path)


def _values(kind: type, data: Mapping[str, Any], path: Path, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a dataclass from keys with dashes; each as its annotation wants it."""
    hints = get_type_hints(kind)
    known = {one.name.replace("_", "-"): one.name for one in fields(kind) if one.name not in without}
    for key, value in data.items():
        if key not in known:
            raise invalid(path=path, problem=Phrase("unknown setting '{key}'", key=str(key)[:64]))
        _check(key, value, hints[known[key]], path)
    return {known[key]: value for key, value in data.items()}


def _check(key: str, value: Any, wanted: Any, path: Path) -> None:
    choices = [one for one in get_args(wanted) if isinstance(one, str)]
    if choices and value not in choices:
        problem = Phrase("'{key}' must be one of {choices}", key=key, choices=", ".join(choices))
    elif wanted is bool and not isinstance(value, bool):
        problem = Phrase("'{key}' must be true or false", key=key)
    elif wanted is int and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        problem = Phrase("'{key}' must be a whole number, 0 or more", key=key)
    elif wanted not in (bool, int) and not isinstance(value, str):
        problem = Phrase("'{key}' must be text", key=key)
    else:
        return
    raise invalid(path=path, problem=problem)
