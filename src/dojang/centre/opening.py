"""Opening the authorities of a centre with their keys, and making sure of both before anybody is served.

The key of a root stays offline: where something else issues, it is never opened here; where the root itself issues,
the centre does not start, unless the authority is there for tests or whoever starts it says in so many words that the
root is to be online.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dojang.centre.desk import Desk
from dojang.centre.metrics import Metrics
from dojang.centre.state import Centre
from dojang.errors import RootOffline

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

    from dojang.authority.local import LocalAuthority

KeyOpener = Callable[[str], "PrivateKey"]


class Keys:
    """The keys of a centre, each opened once and shared by its threads; the keys of roots are refused."""

    def __init__(self, open_key: KeyOpener) -> None:
        self._open = open_key
        self._opened: dict[str, PrivateKey] = {}
        self._turn = threading.RLock()
        self.offline: dict[str, str] = {}
        """Names of authorities, by the addresses of keys that are not to be used."""

    def __call__(self, address: str) -> "PrivateKey":
        """The key at ``address``. Raises ``RootOffline`` and what opening a token raises."""
        if address in self.offline:
            raise RootOffline(authority=self.offline[address])
        with self._turn:
            if address not in self._opened:
                self._opened[address] = self._open(address)
            return self._opened[address]

    def prove(self, authority: "LocalAuthority") -> None:
        """Have the key that issues sign a challenge."""
        from dojang.x509.challenge import prove_possession

        prove_possession(self(authority.info().key_address), authority.certificate_der())


@dataclass(frozen=True, slots=True)
class Opened:
    """A centre and its keys."""

    state: Centre
    keys: Keys

    def checks(self) -> Mapping[str, Callable[[], None]]:
        """What tells whether it can serve: the database and the key of each authority."""
        found: dict[str, Callable[[], None]] = {}
        for name, authority in self.state.authorities.items():
            found[f"database:{name}"] = _database_of(authority)
            found[f"hsm:{name}"] = _hsm_of(self.keys, authority)
        found["sessions"] = _Losses(self.state.metrics)
        return found


@contextlib.contextmanager
def open_centre(
    directory: Path, names: Sequence[str], open_key: KeyOpener, *, desk: Desk | None = None, root_online: bool = False
) -> Iterator[Opened]:
    """The authorities of these names in ``directory``, each of which has signed a challenge by now.

    Raises ``NotFound``, ``RootOffline``, and what the token or the database has to say.
    """
    from dojang.authority.local import open_authority

    keys = Keys(open_key)
    with contextlib.ExitStack() as opened:
        authorities: dict[str, LocalAuthority] = {}
        for name in dict.fromkeys(names):
            authority = opened.enter_context(open_authority(directory, name, keys))
            _keep_root_offline(authority, keys, root_online=root_online)
            keys.prove(authority)
            authorities[name] = authority
        state = Centre(authorities, Metrics(), desk or Desk())
        opened.callback(state.desk.close)
        yield Opened(state, keys)


def _keep_root_offline(authority: "LocalAuthority", keys: Keys, *, root_online: bool) -> None:
    info = authority.info()
    if info.root_key_address != info.key_address:
        keys.offline[info.root_key_address] = authority.name
    elif not (root_online or _is_for_tests(authority)):
        raise RootOffline(authority=authority.name)


def _is_for_tests(authority: "LocalAuthority") -> bool:
    return bool(getattr(authority, "is_test", False))


def _database_of(authority: "LocalAuthority") -> Callable[[], None]:
    def check() -> None:
        authority.info()

    return check


def _hsm_of(keys: Keys, authority: "LocalAuthority") -> Callable[[], None]:
    return lambda: keys.prove(authority)


class _Losses:
    """No question at all: it counts what the tokens' modules have noticed since it was last asked."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics, self._seen = metrics, self._now()

    def __call__(self) -> None:
        now = self._now()
        self._metrics.sessions_lost(now - self._seen)
        self._seen = now

    @staticmethod
    def _now() -> int:
        from dojang.pkcs11.module import Module

        return sum(module.losses for module in Module.loaded())
