"""The tokens that are present, each with an address of its own, and the one that an address names."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from dojang import errors
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.discovery import ModuleSearch, ModuleSpec, find_modules, for_address
from dojang.pkcs11.module import Module
from dojang.pkcs11.token import Slot, Token, TokenInfo, list_slots
from dojang.pkcs11.uri import Pkcs11Uri


class TokenListing(NamedTuple):
    """Everything the modules show: tokens, slots that wait for one, and modules that do not load."""

    tokens: list[Token]
    empty_slots: list[Slot]
    modules: list[Module]
    failures: list[errors.ModuleUnloadable]


def list_tokens(search: ModuleSearch | None = None) -> TokenListing:
    """Ask every module for its slots. A module that fails is listed and hides no other."""
    listing = TokenListing([], [], [], [])
    for spec in find_modules(search or ModuleSearch()):
        list_module(spec, listing)
    tell_apart(listing.tokens)
    return listing


def list_module(spec: ModuleSpec, listing: TokenListing) -> None:
    """Add to the listing what one module shows, or why it shows nothing."""
    try:
        module = Module.load(spec)
    except errors.ModuleUnloadable as error:
        listing.failures.append(error)
        return
    try:
        slots = list_slots(module)
    except (CryptokiError, errors.DojangError) as error:
        listing.failures.append(_shows_nothing(module, error))
        return
    listing.modules.append(module)
    for slot in slots:
        if slot.info is not None and slot.info.initialized:
            listing.tokens.append(Token(slot, slot.info))
        else:
            listing.empty_slots.append(slot)


def _shows_nothing(module: Module, error: Exception) -> errors.ModuleUnloadable:
    problem = error.message() if isinstance(error, errors.DojangError) else str(error)
    silence = module.silence()
    remedy = silence.facts["remedy"] if silence else None
    return errors.ModuleUnloadable(
        module=module.path,
        problem=problem,
        remedy=remedy or errors.Phrase("Check the daemon and the configuration of this module."),
        reason="slots",
    )


_TELLING: Final = (
    ("model",),
    ("manufacturer",),
    ("slot_description",),
    ("module_path",),
    ("slot_id",),
    ("module_path", "slot_id"),
)
"""What may tell tokens of the same label and serial apart, from what belongs to the token to where it happens to be."""


def tell_apart(tokens: list[Token]) -> None:
    """Give each token an address that names it alone among ``tokens``, and say where a serial does not."""
    for group in _grouped(tokens, lambda token: token.address):
        ways = (names for names in _TELLING if _told_apart(group, names))
        names = next(ways, _TELLING[-1])
        for token in group:
            token.told_apart = names
    for group in _grouped(tokens, lambda token: (token.module, token.info.identity)):
        for token in group:
            token.alike = True
    for group in _grouped(tokens, lambda token: token.info.serial):
        for token in group:
            token.serial_shared = any(
                # The same in all respects and shown by another module is this very token.
                other is not token and (other.module is token.module or other.info.identity != token.info.identity)
                for other in group
            )


def _grouped(tokens: list[Token], key: Callable[[Token], object]) -> list[list[Token]]:
    groups: dict[object, list[Token]] = {}
    for token in tokens:
        groups.setdefault(key(token), []).append(token)
    return [group for group in groups.values() if len(group) > 1]


def _told_apart(group: list[Token], names: tuple[str, ...]) -> bool:
    return len({tuple(token.told(name) for name in names) for token in group}) == len(group)


def find_token(uri: str | Pkcs11Uri, search: ModuleSearch | None = None) -> Token:
    """The one initialised token that the URI names, by label, serial, manufacturer, model or slot description.

    ``TokenNotFound`` when there is none, ``AmbiguousToken`` with both addresses when there are more.
    """
    wanted = Pkcs11Uri.from_text(uri) if isinstance(uri, str) else uri
    search = for_address(search or ModuleSearch(), wanted)
    for listing in _listings(search):
        matches = _matching(listing, wanted)
        if matches:
            break
    return _the_one(listing, wanted, matches)


def choose(listing: TokenListing, wanted: Pkcs11Uri) -> Token:
    """The one token of a listing that the URI names; raises as ``find_token`` does."""
    return _the_one(listing, wanted, _matching(listing, wanted))


def _the_one(listing: TokenListing, wanted: Pkcs11Uri, matches: list[Token]) -> Token:
    if len(matches) == 1:
        return matches[0]
    shown = wanted.token_part().to_text()
    if not matches:
        if not listing.modules:
            raise _why_no_module(listing.failures)
        _refuse_uninitialized(listing, wanted)
        silence = listing.modules[0].silence() if len(listing.modules) == 1 else None
        raise silence or errors.TokenNotFound(wanted=shown)
    raise errors.AmbiguousToken(wanted=shown, matches=", ".join(token.address for token in matches))


def _why_no_module(failures: list[errors.ModuleUnloadable]) -> errors.DojangError:
    """Why no module loaded; a daemon that is away is worth waiting for, unlike a library that does not load."""
    if not failures:
        return errors.NoModule()
    from dojang.pkcs11.daemons import silent_daemon

    return silent_daemon(str(failures[0].facts["module"])) or failures[0]


def _listings(search: ModuleSearch) -> Iterator[TokenListing]:
    """What the modules show, now and after every restart that may bring more to light."""
    yield (listing := list_tokens(search))
    restarts = [module.restarts() for module in listing.modules]
    while restarts := [steps for steps in restarts if next(steps, False)]:
        yield list_tokens(search)


def _refuse_uninitialized(listing: TokenListing, wanted: Pkcs11Uri) -> None:
    """``TokenNotInitialized`` where the one that is named, by serial or slot, is there and has no label yet."""
    if wanted.serial is None and wanted.slot_id is None and wanted.slot_description is None:
        return
    for slot in listing.empty_slots:
        if slot.info is not None and _names(wanted, slot, slot.info):
            raise errors.TokenNotInitialized(slot=slot.description)


def _names(wanted: Pkcs11Uri, slot: Slot, info: TokenInfo) -> bool:
    return wanted.matches_token(
        label=info.label, manufacturer=info.manufacturer, model=info.model, serial=info.serial
    ) and wanted.matches_slot(description=slot.description, manufacturer=slot.manufacturer, slot_id=slot.slot_id)


def _matching(listing: TokenListing, wanted: Pkcs11Uri) -> list[Token]:
    return [
        token
        for token in listing.tokens
        if _names(wanted, token.slot, token.info) and _matches_module(token.module, wanted)
    ]


def _matches_module(module: Module, wanted: Pkcs11Uri) -> bool:
    if wanted.library_manufacturer is wanted.library_description is wanted.library_version is None:
        return True
    try:
        info = module.info()
    except CryptokiError:
        return False  # its tokens may be listed, but nothing proves that they are those of that library
    return wanted.matches_library(
        description=info.description, manufacturer=info.manufacturer, version=info.library_version
    )
