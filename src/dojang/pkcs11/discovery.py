"""Finding PKCS#11 modules: the one a person names, those in the configuration, and those this machine has."""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from dojang.errors import ModuleUnloadable, Phrase
from dojang.pkcs11.load_failure import explain_initialize_failure, explain_load_failure, explain_missing_init_string

if TYPE_CHECKING:
    from dojang.pkcs11.p11_kit import Folders
    from dojang.pkcs11.uri import Pkcs11Uri

__all__ = [
    "ModuleSearch",
    "ModuleSpec",
    "check_pin_of_file",
    "explain_initialize_failure",
    "explain_load_failure",
    "explain_missing_init_string",
    "find_modules",
    "for_address",
    "is_proxy",
]

_LIBRARY_SUFFIXES: Final = (".so", ".dylib", ".dll")
# p11-kit-proxy.so is a link to libp11-kit itself.
_PROXIES: Final = ("p11-kit-proxy.", "libp11-kit.")


class ModuleSpec(NamedTuple):
    """One module to load. ``init_string`` goes to C_Initialize as pReserved, ``sha256`` is what its file must hash to,
    ``found_by`` is ``option``, ``environment``, ``address``, ``configuration``, ``p11-kit`` or ``well-known``.
    """

    path: str
    name: str
    init_string: str | None = None
    sha256: str | None = None
    found_by: str = "option"


class ModuleSearch(NamedTuple):
    """Where to look: ``module`` (a path or a name, given by ``named_by``) alone if there is one, else ``configured``
    and, with ``discover``, what this machine has.
    """

    module: str | None = None
    configured: tuple[ModuleSpec, ...] = ()
    discover: bool = True
    named_by: str = "option"


def find_modules(search: ModuleSearch, *, folders: "Folders | None" = None) -> list[ModuleSpec]:
    """The modules to load, each file once, in the order of preference; none is opened.

    A module that ``search`` names and that is not there is ``ModuleUnloadable``. One that the configuration names
    stays in the list even if its file is missing, so that loading it says so; every other one exists.
    """
    if search.module:
        return [_named(search, search.module, folders)]
    found = [*map(_tidy, search.configured), *(_discovered(folders) if search.discover else ())]
    return _without_proxies(_each_once(found))


def for_address(search: ModuleSearch, uri: "Pkcs11Uri") -> ModuleSearch:
    """``search`` narrowed to the module that a URI names (module-path, module-name), unless an option names one."""
    named = uri.module_path or uri.module_name
    if named is None or (search.module and search.named_by == "option"):
        return search
    if uri.module_path and uri.module_name and os.path.isdir(uri.module_path):
        files = [os.path.join(uri.module_path, name) for name in _file_names(uri.module_name)]
        named = next(filter(os.path.isfile, files), files[0])
    return search._replace(module=named, named_by="address")


def check_pin_of_file(spec: ModuleSpec) -> None:
    """Refuse, before it is loaded, a module file whose SHA-256 is not the one in the configuration."""
    if spec.sha256 is None:
        return
    from hashlib import file_digest

    try:
        with open(spec.path, "rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise explain_load_failure(spec.path, error) from error
    if digest != spec.sha256.strip().lower().replace(":", ""):
        raise ModuleUnloadable(
            module=spec.path,
            problem=Phrase("its SHA-256 is {digest}, not the one in the configuration", digest=digest),
            remedy="If the module was updated on purpose, correct sha256 in the configuration; if not, do not use it.",
            reason="changed-file",
        )


def _named(search: ModuleSearch, module: str, folders: "Folders | None") -> ModuleSpec:
    known = [*map(_tidy, search.configured), *(_discovered(folders) if search.discover else ())]
    if os.sep in module or "/" in module:
        path = os.path.abspath(os.path.expanduser(module))
        if "\0" in path or not os.path.exists(path):
            raise explain_load_failure(module, FileNotFoundError())
        same = [spec for spec in known if os.path.realpath(spec.path) == os.path.realpath(path)]
        own = ModuleSpec(path, _stem(path), found_by=search.named_by)
        return _each_once([own, *same])[0]
    # A bare name is never looked for in the current folder: who can write there must not choose what we load.
    wanted = _stem(module).lower()
    for spec in _each_once(known):
        if wanted in (spec.name.lower(), _stem(spec.path).lower()):
            return spec._replace(found_by=search.named_by)
    raise ModuleUnloadable(
        module=module,
        problem="no module of that name is configured or installed",
        remedy=Phrase(
            "Give its path, or one of these names: {names}.", names=", ".join(spec.name for spec in known) or "-"
        ),
        reason="missing-file",
    )


def _tidy(spec: ModuleSpec) -> ModuleSpec:
    path = os.path.abspath(os.path.expanduser(spec.path))
    return spec._replace(path=path, name=spec.name or _stem(path))


def _discovered(folders: "Folders | None") -> Iterator[ModuleSpec]:
    from dojang.pkcs11.p11_kit import Folders, configured_modules
    from dojang.pkcs11.well_known import candidates

    if sys.platform != "win32":
        for module in configured_modules(folders or Folders.of_this_machine()):
            yield ModuleSpec(module.path, module.name, module.init_string, found_by="p11-kit")
    for name, path in candidates():
        if os.path.isfile(path):
            yield ModuleSpec(path, name, found_by="well-known")


def _each_once(specs: Iterable[ModuleSpec]) -> list[ModuleSpec]:
    """One spec per file, the first; what it lacks (init string, SHA-256) it takes from the later ones."""
    once: dict[str, ModuleSpec] = {}
    for spec in specs:
        real = os.path.realpath(spec.path)
        first = once.setdefault(real, spec)
        once[real] = first._replace(
            init_string=first.init_string if first.init_string is not None else spec.init_string,
            sha256=first.sha256 or spec.sha256,
        )
    return list(once.values())


def _without_proxies(specs: list[ModuleSpec]) -> list[ModuleSpec]:
    """Without p11-kit-proxy where p11-kit's modules are listed themselves: each token would show twice."""
    if not any(spec.found_by == "p11-kit" for spec in specs):
        return specs
    return [spec for spec in specs if not is_proxy(spec.path)]


def is_proxy(path: str) -> bool:
    """Whether the module is p11-kit's, which loads the modules of p11-kit's configuration."""
    return os.path.basename(os.path.realpath(path)).startswith(_PROXIES)


def _stem(path: str) -> str:
    """The name of a module by its file: ``softhsm2`` for ``…/libsofthsm2.so.2``."""
    name = path.replace("\\", "/").rpartition("/")[2]
    ends = [name.lower().find(suffix) for suffix in _LIBRARY_SUFFIXES]
    return name[: min((end for end in ends if end > 0), default=None)].removeprefix("lib")


def _file_names(name: str) -> list[str]:
    """The file names that a module-name may stand for (RFC 7512 section 2.3: without ``lib`` and suffix)."""
    suffix = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
    return [name, f"{name}{suffix}", f"lib{name}{suffix}"]
