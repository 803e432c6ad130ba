"""What p11-kit has been told about PKCS#11 modules: pkcs11.conf(5), read without loading p11-kit."""

import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from dojang.pkcs11.well_known import library_folders

PROGRAM: Final = "dojang"  # what enable-in and disable-in call us
_LARGEST_FILE: Final = 65536


def _user_folder() -> str:
    return os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "pkcs11")


class Folders(NamedTuple):
    """Where p11-kit looks; what stands in an earlier folder wins over the same setting in a later one."""

    system: tuple[str, ...] = ("/etc/pkcs11", "/opt/homebrew/etc/pkcs11", "/usr/local/etc/pkcs11")
    packages: tuple[str, ...] = (
        "/usr/share/p11-kit/modules",
        "/opt/homebrew/share/p11-kit/modules",
        "/usr/local/share/p11-kit/modules",
    )
    user: str = ""
    libraries: tuple[str, ...] = ()

    @classmethod
    def of_this_machine(cls) -> "Folders":
        libraries = [f"{folder}/pkcs11" for folder in (*library_folders(), "/opt/homebrew/lib")]
        return cls(user=_user_folder(), libraries=tuple(libraries))


class ConfiguredModule(NamedTuple):
    """One usable ``.module`` file; ``init_string`` is its ``x-init-reserved``."""

    name: str
    path: str
    init_string: str | None
    priority: int


def configured_modules(folders: Folders) -> list[ConfiguredModule]:
    """Modules that p11-kit would load for a program called dojang, highest priority first.

    Left out: those disabled for us, trust stores (they hold no keys), ``remote:`` ones (no library to load) and
    those whose file is missing. A file that cannot be read never hides the others.
    """
    found = [module for name, settings in _merged(folders).items() if (module := _module(name, settings, folders))]
    return sorted(found, key=lambda module: (-module.priority, module.name))


def _merged(folders: Folders) -> dict[str, dict[str, str]]:
    """Every module's settings by name: the user's files first, then the administrator's, then the packages'."""
    mode = _user_mode(folders)
    user = [f"{folders.user}/modules"] if mode != "none" else []
    shared = [*(f"{folder}/modules" for folder in folders.system), *folders.packages] if mode != "only" else []
    modules: dict[str, dict[str, str]] = {}
    for folder in (*user, *shared):
        for name, settings in _module_files(folder):
            modules[name] = settings | modules.get(name, {})
    return modules


def _user_mode(folders: Folders) -> str:
    """``none``, ``merge`` or ``only``. The user's files count only if the system's pkcs11.conf says so; the user's own
    pkcs11.conf may then narrow that.
    """
    system: dict[str, str] = {}
    for folder in folders.system:
        system = _read(f"{folder}/pkcs11.conf") | system
    mode = _mode(system, "none")
    return _mode(_read(f"{folders.user}/pkcs11.conf"), mode) if mode != "none" else "none"


def _mode(settings: dict[str, str], default: str) -> str:
    mode = settings.get("user-config", default)
    mode = "only" if mode == "override" else mode
    return mode if mode in ("none", "merge", "only") else "none"


def _module_files(folder: str) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        if _is_module_file(name):
            yield name.removesuffix(".module"), _read(f"{folder}/{name}")


def _is_module_file(name: str) -> bool:
    plain = name.replace("_", "").replace("-", "").replace(".", "")
    return name.endswith(".module") and name[0].isalnum() and plain.isascii() and plain.isalnum()


def _read(path: str) -> dict[str, str]:
    """The settings in one file, ``name: value`` a line; none if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(_LARGEST_FILE)
    except OSError:
        return {}
    settings: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.strip().partition(":")
        if colon and not name.startswith("#"):
            settings[name.strip()] = value.strip()
    return settings


def _module(name: str, settings: dict[str, str], folders: Folders) -> ConfiguredModule | None:
    named = settings.get("module", "")
    if not named or "\0" in named or settings.get("trust-policy") == "yes" or not _enabled(settings):
        return None
    path = next((path for path in _paths(named, folders) if os.path.isfile(path)), None)
    if path is None:
        return None
    return ConfiguredModule(
        name=name,
        path=path,
        init_string=settings.get("x-init-reserved") or None,
        priority=_number(settings.get("priority", "")),
    )


def _number(text: str) -> int:
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0


def _paths(named: str, folders: Folders) -> list[str]:
    if named.startswith("~/"):
        return [os.path.expanduser(named)]
    return [named] if os.path.isabs(named) else [f"{folder}/{named}" for folder in folders.libraries]


def _enabled(settings: dict[str, str]) -> bool:
    if "enable-in" in settings:
        return PROGRAM in _programs(settings["enable-in"])
    return PROGRAM not in _programs(settings.get("disable-in", ""))


def _programs(text: str) -> list[str]:
    return text.replace(",", " ").split()
