"""Which places are there now: tokens in their readers, NPKI folders of this person, disks that are plugged in.

All are asked at once. What does not answer in time is named, and keeps nobody waiting.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dojang.errors import DojangError, LocationSilent
from dojang.locations.address import Address, DiskAddress, parse_address
from dojang.npki.disks import mounted_disks
from dojang.npki.roots import NPKI, default_root, folder_named, usual_roots
from dojang.pkcs11.roll_call import ask_all, roll_call
from dojang.pkcs11.uri import Pkcs11Uri

if TYPE_CHECKING:
    from dojang.pkcs11.discovery import ModuleSearch
    from dojang.pkcs11.listing import TokenListing
    from dojang.pkcs11.token import Token

# What ``ModuleUnloadable`` says of modules that load.
_LATE: Final = "no-answer"
_NO_SLOTS: Final = "slots"


@dataclass(frozen=True, slots=True)
class Here:
    """A place that is there now. ``name`` is the token's label, the folder's path or the disk's name.

    ``token`` is what a token said of itself, ``path`` the NPKI folder of a disk; a new key makes it where it does not
    exist yet.
    """

    address: str
    kind: str
    name: str
    token: "Token | None" = None
    path: Path | None = None
    exists: bool = True

    def is_at(self, address: Address) -> bool:
        """Whether that is where ``address`` leads."""
        if self.token is None:
            return parse_address(self.address).identity() == address.location().identity()
        info = self.token.info
        return isinstance(address, Pkcs11Uri) and address.matches_token(
            label=info.label, manufacturer=info.manufacturer, model=info.model, serial=info.serial
        )


@dataclass(frozen=True, slots=True)
class Present:
    """The places, those that protect best first, and what did not answer in time.

    ``silent``: modules that show no token because something behind them fails or is not running. Every machine has
    some; that matters only where a token is missed.
    """

    places: tuple[Here, ...] = ()
    failures: tuple[tuple[str, DojangError], ...] = ()
    silent: tuple[tuple[str, DojangError], ...] = ()


def present_places(search: "ModuleSearch", wait: float, kinds: frozenset[str] | None = None) -> Present:
    """What is there after at most ``wait`` seconds; of all kinds, or of those named.

    Raises ``ModuleUnloadable`` when the one module that ``search`` names is not there.
    """
    asked: list[Callable[[], Present]] = []
    if kinds is None or "token" in kinds:
        asked.append(partial(_tokens, search, wait))
    if kinds is None or kinds & {"disk", "removable"}:
        asked.append(partial(_disks, wait))
    places: list[Here] = []
    failures: list[tuple[str, DojangError]] = []
    silent: list[tuple[str, DojangError]] = []
    for outcome in ask_all(lambda ask: ask(), asked, wait + 1):
        if outcome.error is not None:
            raise outcome.error
        if outcome.answer is not None:
            places += outcome.answer.places
            failures += outcome.answer.failures
            silent += outcome.answer.silent
    wanted = [one for one in places if kinds is None or one.kind in kinds]
    return Present(tuple(wanted), tuple(failures), tuple(silent))


def _tokens(search: "ModuleSearch", wait: float) -> Present:
    listing = roll_call(search, wait)
    tokens = [Here(one.address, "token", one.info.label, token=one) for one in _each_once(listing.tokens)]
    late = [(_address_of(failure), failure) for failure in listing.failures if _reason(failure) == _LATE]
    return Present(tuple(tokens), tuple(late), tuple(_silent(listing)))


def _each_once(tokens: "list[Token]") -> "Iterator[Token]":
    """The same in all respects and shown by another module is the same token."""
    shown_by: dict[object, str] = {}
    for token in tokens:
        if shown_by.setdefault(token.info.identity, token.module.path) == token.module.path:
            yield token


def _silent(listing: "TokenListing") -> Iterator[tuple[str, DojangError]]:
    """Modules whose tokens may be there and are not seen; one that does not load at all is the doctor's business."""
    for failure in listing.failures:
        if _reason(failure) == _NO_SLOTS:
            yield _address_of(failure), failure
    for module in listing.modules:
        if (silence := module.silence()) is not None:
            yield _address_of(silence), silence


def _reason(failure: DojangError) -> object:
    return failure.facts.get("reason")


def _address_of(failure: DojangError) -> str:
    return Pkcs11Uri(module_path=str(failure.facts["module"])).to_text()


def _disks(wait: float) -> Present:
    asked = [*_own_folders(), *_plugged_in()]
    found: dict[str, Here] = {}
    failures = []
    for (here, _look), outcome in zip(asked, ask_all(_answer, asked, wait), strict=True):
        if outcome.error is not None:
            raise outcome.error
        if outcome.answer is None:
            failures.append((here.address, LocationSilent(where=here.name, seconds=f"{wait:g}")))
        elif (root := outcome.answer[0]) is not None:
            here = (
                folder_here(root) if here.kind == "disk" else replace(here, path=root)
            )  # as its name is written there
            found.setdefault(here.address, here)
        elif here.path == default_root() or here.kind == "removable":
            found.setdefault(here.address, replace(here, exists=False))
    return Present(tuple(found.values()), tuple(failures))


def _own_folders() -> Iterator[tuple[Here, Callable[[], Path | None]]]:
    for path in usual_roots():
        yield folder_here(path), partial(_itself, path)


def _plugged_in() -> Iterator[tuple[Here, Callable[[], Path | None]]]:
    """Every disk but the system's. Which of them can be pulled out is known without touching any."""
    from dojang.locations.removable import address_of

    disks = mounted_disks()
    for disk in disks:
        path = disk.mount / NPKI
        named = (
            Here(address_of(disk, disks), "removable", disk.name, path=path) if disk.removable else folder_here(path)
        )
        yield named, partial(folder_named, disk.mount, NPKI)


def folder_here(path: Path) -> Here:
    """A folder on a disk, as if it were there."""
    return Here(DiskAddress(str(path)).to_text(), "disk", str(path), path=path)


def _answer(asked: tuple[Here, Callable[[], Path | None]]) -> tuple[Path | None]:
    """The folder that is there, if one is; an answer even when none is."""
    return (asked[1](),)


def _itself(path: Path) -> Path | None:
    return path if path.is_dir() else None
