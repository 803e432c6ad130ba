"""Tokens that come and go: told within a second, whatever the module, while nothing else waits for it.

Each module is looked at by a thread of its own, so that a slow or a hanging one delays no other. A look compares the
tokens that are there with those of the look before. Modules with removable slots also say what changed in between
(C_WaitForSlotEvent); others show what other processes did only when they are begun anew, which happens as long as no
session is open in this process.
"""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

from dojang.errors import DojangError, ModuleUnloadable
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import Cryptoki, CryptokiError
from dojang.pkcs11.discovery import ModuleSearch, ModuleSpec, find_modules
from dojang.pkcs11.module import Module
from dojang.pkcs11.signs import sign_of
from dojang.pkcs11.structures import text
from dojang.pkcs11.token import TokenInfo, address_of

INTERVAL: Final = 0.5
"""Seconds between two looks; the promise is one second from the change to the event."""

_DOUBT: Final = (0.05, 0.1)
"""Seconds until a loss in a fixed slot is looked at again: it may fail once while a neighbour writes its store."""
_HOPELESS: Final = frozenset(
    {
        "missing-file",
        "unreadable-file",
        "not-a-library",
        "wrong-architecture",
        "missing-dependency",
        "not-pkcs11",
        "loader",
        "changed-file",
    }
)
"""Reasons not to load that do not pass while a program runs."""
_LONGEST_PAUSE: Final = 10.0
_MOST_EVENTS: Final = 64
_MOST_ROUNDS: Final = 4
_EMPTY: Final = (ck.CKR_TOKEN_NOT_PRESENT, ck.CKR_TOKEN_NOT_RECOGNIZED, ck.CKR_DEVICE_REMOVED)
_LISTEN: Final = 0.1


class TokenEvent(NamedTuple):
    """A token was put in (``insert``) or taken out (``remove``), as ``at`` (UTC) saw it.

    ``initial`` marks those that were there at the first look. ``slot`` is the slot's description.
    """

    kind: str
    token: TokenInfo
    module_path: str
    slot: str
    at: datetime
    initial: bool = False

    @property
    def address(self) -> str:
        """A PKCS#11 URI for the token."""
        return address_of(self.token, self.slot)


class _Place(NamedTuple):
    """A slot as one look found it; ``info`` is ``None`` while no token is there."""

    slot_id: int
    description: str
    removable: bool
    info: TokenInfo | None

    def same(self, other: "_Place | None") -> bool:
        if other is None or self.info is None or other.info is None:
            return False
        return self.info.identity == other.info.identity and self.info.initialized == other.info.initialized


Report = Callable[[ModuleUnloadable], None]


News = SimpleQueue[TokenEvent | BaseException | None]


def _silent(_failure: ModuleUnloadable) -> None:
    """Nobody wants to know."""


def watch(
    search: ModuleSearch,
    stop: threading.Event,
    *,
    interval: float = INTERVAL,
    report: Report = _silent,
) -> Iterator[TokenEvent]:
    """Every insertion and removal from now on, after what is there already; ends when ``stop`` is set.

    It ends as well when no module is left that could be watched; ``report`` is told of each that cannot, and why.
    Modules whose daemon is away are tried again until it comes back. Raises ``ModuleUnloadable`` when the one module
    that ``search`` names is not there.
    """
    news: News = SimpleQueue()
    ended = threading.Event()
    watchers = [_Watcher(spec, news, ended, interval) for spec in find_modules(search)]
    for watcher in watchers:
        watcher.thread.start()
    left = len(watchers)
    try:
        while left and not stop.is_set():
            try:
                item = news.get(timeout=_LISTEN)
            except Empty:
                continue
            if item is None:
                left -= 1
            elif isinstance(item, TokenEvent):
                yield item
            elif isinstance(item, ModuleUnloadable):
                report(item)
            else:
                raise item
    finally:
        ended.set()
        deadline = time.monotonic() + 2 * _LISTEN
        for watcher in watchers:  # one that hangs is left behind; it keeps nothing from ending
            watcher.thread.join(max(0.0, deadline - time.monotonic()))


class _Watcher:
    """Looks at one module again and again and puts what changed into ``news``; ``None`` when it gives up."""

    def __init__(self, spec: ModuleSpec, news: News, ended: threading.Event, interval: float) -> None:
        self.thread = threading.Thread(target=self._run, name=f"watch {spec.name}", daemon=True)
        self._spec = spec
        self._news = news
        self._ended = ended
        self._interval = interval
        self._anew = False
        self._failed = self._started = False
        self._patience = interval
        self._reason: object = None
        self._sign = sign_of(spec.path)
        self._state: object = self
        self._tells = True
        self._changed: set[int] = set()
        self._held: dict[int, _Place] = {}

    def _run(self) -> None:
        try:
            self._watch()
        except ModuleUnloadable as failure:
            self._news.put(failure)
        except BaseException as error:  # shown by whoever reads the events
            self._news.put(error)
        finally:
            self._news.put(None)

    def _watch(self) -> None:
        initial = True
        while not self._ended.is_set():
            began = time.monotonic()
            self._tell(self._look_surely(), initial=initial)
            initial = False
            self._ended.wait(max(self._pause() - (time.monotonic() - began), _LISTEN))

    def _pause(self) -> float:
        """Longer and longer for a module that has never started: each try may cost it seconds and loud complaints."""
        if self._started:
            return self._interval
        self._patience = min(2 * self._patience, _LONGEST_PAUSE)
        return self._patience

    def _look_surely(self) -> dict[int, _Place]:
        """What is there now. A token that is gone from a fixed slot is looked for again before that is believed."""
        now = self._look()
        for pause in _DOUBT:
            lost = [one for one in self._held.values() if not one.same(now.get(one.slot_id))]
            if not any(self._failed or not one.removable for one in lost) or self._ended.wait(pause):
                break
            now = self._look()
        return now

    def _look(self) -> dict[int, _Place]:
        """The tokens by slot; none while the module cannot say, and then it is begun anew for the next look."""
        try:
            module = Module.load(self._spec)
            if self._anew:
                self._begin_anew(module)
            places = self._settled(module)
        except (CryptokiError, DojangError) as error:
            self._fail(error)
            return {}
        self._failed, self._started = False, True
        self._anew = not any(one.removable for one in places)
        return {one.slot_id: one for one in places if one.info is not None}

    def _begin_anew(self, module: Module) -> None:
        """Unless nothing can have changed since it was done last."""
        state = self._sign() if self._sign is not None else None
        if (self._failed or self._sign is None or state != self._state) and module.rescan():
            self._state = state

    def _fail(self, error: Exception) -> None:
        """Keep for the next look that the module must be begun anew; tell each reason once."""
        self._failed = self._anew = True
        if not isinstance(error, ModuleUnloadable):
            return
        reason = error.facts.get("reason")
        if reason in _HOPELESS:
            raise error
        if reason != self._reason:
            self._reason = reason
            self._news.put(error)

    def _settled(self, module: Module) -> list[_Place]:
        """A look after which no event is waiting, so that every event tells of what happened since the look before."""
        for _ in range(_MOST_ROUNDS):
            places = module.call(self._read)
            events = self._events(module) if any(one.removable for one in places) else set()
            self._changed |= events
            if not events:
                break
        return places

    def _events(self, module: Module) -> set[int]:
        """The slots that the module says something happened in; none where it does not say such things."""
        slots: set[int] = set()
        try:
            while self._tells and len(slots) < _MOST_EVENTS:
                slot_id = module.call(lambda cryptoki: cryptoki.slot_event())
                if slot_id is None or slot_id in slots:
                    break
                slots.add(slot_id)
        except CryptokiError as error:
            if error.rv == ck.CKR_CRYPTOKI_NOT_INITIALIZED:
                raise
            self._tells = False
        return slots

    def _read(self, cryptoki: Cryptoki) -> list[_Place]:
        places = []
        for slot_id in cryptoki.slot_list(token_present=False):
            try:
                places.append(self._read_slot(cryptoki, slot_id))
            except CryptokiError as error:
                if error.rv == ck.CKR_CRYPTOKI_NOT_INITIALIZED:
                    raise
        return places

    def _read_slot(self, cryptoki: Cryptoki, slot_id: int) -> _Place:
        slot = cryptoki.slot_info(slot_id)
        place = _Place(slot_id, text(slot.description), bool(slot.flags & ck.CKF_REMOVABLE_DEVICE), None)
        if not slot.flags & ck.CKF_TOKEN_PRESENT:
            return place
        known = self._held.get(slot_id)
        if known is not None and known.removable and self._tells and slot_id not in self._changed:
            # Not asked again: to a card, the question is a command in the middle of somebody's signature.
            return known
        try:
            info = TokenInfo.from_struct(cryptoki.token_info(slot_id))
        except CryptokiError as error:
            if error.rv not in _EMPTY:
                raise
            return place
        # In a fixed slot, a token that is not initialised is only room for one.
        return place._replace(info=info if info.initialized or place.removable else None)

    def _tell(self, now: dict[int, _Place], *, initial: bool) -> None:
        """Put the differences to the look before into the news, what went before what came."""
        gone = [one for one in self._held.values() if self._differs(one, now)]
        come = [one for one in now.values() if self._differs(one, self._held)]
        moment = datetime.now(UTC)
        for kind, places in (
            ("remove", _without(gone, come, self._changed)),
            ("insert", _without(come, gone, self._changed)),
        ):
            for place in places:
                assert place.info is not None
                path = self._spec.path
                self._news.put(TokenEvent(kind, place.info, path, place.description, moment, initial))
        self._held = now
        self._changed.clear()

    def _differs(self, place: _Place, others: dict[int, _Place]) -> bool:
        return place.slot_id in self._changed or not place.same(others.get(place.slot_id))


def _without(places: list[_Place], others: list[_Place], changed: set[int]) -> list[_Place]:
    """Without those that only have another slot number now; drivers renumber when something else comes or goes."""
    left = [one for one in others if one.slot_id not in changed]
    kept = []
    for place in places:
        twin = next((one for one in left if place.same(one)), None)
        if twin is None or place.slot_id in changed:
            kept.append(place)
        else:
            left.remove(twin)
    return kept
