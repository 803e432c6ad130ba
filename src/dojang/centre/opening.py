"""Opening the authorities of a centre with their keys, and making sure of both before anybody is served.

The key of a root stays offline: where something else issues, it is never opened here; where the root itself issues,
the centre does not start, unless the authority is there for tests or whoever starts it says in so many words that the
root is to be online.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from dojang.centre.desk import Desk
from dojang.centre.logs import tell
from dojang.centre.metrics import Metrics
from dojang.centre.state import Centre
from dojang.errors import DatabaseUnavailable, RootOffline, StateUnreadable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

    from dojang.authority.enrolment.codes import CodeKey
    from dojang.authority.jobs.notices import NoticeSender
    from dojang.authority.jobs.runner import Done, JobRunner
    from dojang.authority.local import LocalAuthority
    from dojang.pkcs11.opened import OpenToken

_LONGEST_WORK: Final = 120.0
_LONGEST_JOB: Final = _LONGEST_WORK - 10.0
"""Seconds that a runner has to end before the authority under it is closed."""
_LAST_JOBS: Final = 2.0


class KeyOpener(Protocol):
    """Opens keys that sign, when called, secrets that compute codes, and the tokens themselves; as ``KeyRing`` and
    ``TokenRing`` have it.
    """

    def __call__(self, address: str) -> "PrivateKey": ...

    def token(self, address: str) -> "OpenToken": ...

    def open(self, address: str) -> "CodeKey": ...

    def make(self, beside: str, key_id: bytes, label: str) -> str: ...


class Keys:
    """The keys of a centre, each opened once and shared by its threads; the keys of roots are refused."""

    def __init__(self, opener: KeyOpener) -> None:
        self._opener = opener
        self._opened: dict[str, PrivateKey] = {}
        self._turn = threading.RLock()
        self.offline: dict[str, str] = {}
        """Names of authorities, by the addresses of keys that are not to be used."""
        self.roots: dict[str, Callable[[], frozenset[str]]] = {}
        """Where the roots of each authority are now: one may have been prepared since it was opened."""

    def __call__(self, address: str) -> "PrivateKey":
        """The key at ``address``. Raises ``RootOffline`` and what opening a token raises."""
        if address in self.offline:
            raise RootOffline(authority=self.offline[address])
        with self._turn:
            if address not in self._opened:
                self._refuse_root(address)
                self._opened[address] = self._opener(address)
            return self._opened[address]

    def _refuse_root(self, address: str) -> None:
        for name, roots in self.roots.items():
            if address in roots():
                raise RootOffline(authority=name)

    def token(self, address: str) -> "OpenToken":
        """The token of the key at ``address``, for what is sealed on it."""
        with self._turn:
            return self._opener.token(address)

    def open(self, address: str) -> "CodeKey":
        """The secret at ``address``."""
        with self._turn:
            return self._opener.open(address)

    def make(self, beside: str, key_id: bytes, label: str) -> str:
        """The address of a secret on the token of the key at ``beside``; made unless it is there."""
        with self._turn:
            return self._opener.make(beside, key_id, label)

    def prove(self, authority: "LocalAuthority") -> None:
        """Have the key that issues sign a challenge."""
        self.prove_key(authority.info().key_address, authority.certificate_der())

    def prove_key(self, address: str, certificate_der: bytes) -> None:
        from dojang.x509.challenge import prove_possession

        prove_possession(self(address), certificate_der)


class Opened:
    """A centre and its keys. Whoever opens it closes it."""

    def __init__(self, directory: Path, keys: Keys, desk: Desk, *, root_online: bool) -> None:
        self._directory, self._root_online = directory, root_online
        self._authorities: dict[str, LocalAuthority] = {}
        self._runners: dict[str, JobRunner] | None = None
        self._leaving: list[JobRunner] = []
        self._keys_asked: dict[str, tuple[str, bytes]] = {}
        self.senders: Sequence[NoticeSender] = ()
        """What reaches subscribers, for authorities that want them told."""
        self.keys = keys
        self.state = Centre(self._authorities, Metrics(), desk)

    def admit(self, name: str) -> None:
        """Open an authority, and have its key sign a challenge, before anybody is served in its name."""
        from dojang.authority.factors.messages import check_senders
        from dojang.authority.local import open_authority

        authority = open_authority(self._directory, name, self.keys)
        authority.count_message = partial(self.state.metrics.message, name)
        try:
            check_senders(authority.settings)
            self._keep_root_offline(authority)
            self.keys.prove(authority)
            self._keys_asked[name] = authority.info().key_address, authority.certificate_der()
        except BaseException:
            authority.close()
            raise
        before, self._authorities[name] = self._authorities.get(name), authority
        if self._runners is not None:
            self._employ(name)
        if before is not None:
            _close_later(before)

    def reload(self) -> None:
        """Open every authority anew, with its settings and keys as they are now; one that cannot be stays as it was.

        Raises what was wrong with the first such.
        """
        failures: list[Exception] = []
        for name in list(self._authorities):
            try:
                self.admit(name)
            except Exception as error:
                failures.append(error)
        self.tell_astray()
        if failures:
            raise failures[0]

    def tell_astray(self) -> None:
        """Put into the log whose certificates tell of addresses that nobody answers here."""
        for one in self.state.astray():
            tell("addresses lead elsewhere", logging.WARNING, authority=one.name, address=one.settings.address)

    def begin_jobs(self) -> None:
        """From now on do what is due, unless another process comes first."""
        self._runners = {}
        for name in self._authorities:
            self._employ(name)

    def end_jobs(self, seconds: float) -> None:
        """Begin none, and wait so long for those that run; another process goes on with what is left."""
        for runner in self._leaving:
            runner.drain(seconds)
        for runner in (self._runners or {}).values():
            runner.drain(seconds)
            runner.close()
        self._runners = None

    def _employ(self, name: str) -> None:
        from dojang.authority.jobs.kinds import runner_of

        assert self._runners is not None
        before = self._runners.get(name)
        authority = self._authorities[name]
        senders = self.senders if authority.settings.notify_subscribers else ()
        self._runners[name] = runner_of(authority, senders=senders, tell=self._tell_job)
        self._runners[name].start()
        if before is not None:
            threading.Thread(target=self._let_go, args=(before,), daemon=True).start()

    def _let_go(self, runner: "JobRunner") -> None:
        """What it has begun goes on to its end, by the settings of before; the new one begins what is next."""
        self._leaving.append(runner)
        runner.drain(_LONGEST_JOB)
        runner.close()
        self._leaving.remove(runner)

    def _tell_job(self, done: "Done") -> None:
        self.state.metrics.job_ended(done.job.kind, "failed" if done.error else "done")
        if done.error is not None:
            code = getattr(done.error, "code", type(done.error).__name__)
            tell("job failed", logging.WARNING, job=done.job.kind, code=code, message=str(done.error))

    def checks(self) -> Mapping[str, Callable[[], None]]:
        """What tells whether it can serve: the database and the key of each authority."""
        found: dict[str, Callable[[], None]] = {}
        for name in self._authorities:
            found[f"database:{name}"] = partial(self._ask_database, name)
            found[f"hsm:{name}"] = partial(self._ask_hsm, name)
        found["sessions"] = _Losses(self.state.metrics)
        return found

    def close(self) -> None:
        """Begin nothing more; what was begun is done."""
        self.end_jobs(_LAST_JOBS)
        self.state.desk.close()
        for authority in self._authorities.values():
            authority.close()

    def _ask_database(self, name: str) -> None:
        self._authorities[name].info()

    def _ask_hsm(self, name: str) -> None:
        """Where even the records cannot be read, that is what ``_ask_database`` finds, and nothing of the HSM."""
        authority = self._authorities[name]
        with contextlib.suppress(DatabaseUnavailable, StateUnreadable):
            self._keys_asked[name] = authority.info().key_address, authority.certificate_der()
        self.keys.prove_key(*self._keys_asked[name])

    def _keep_root_offline(self, authority: "LocalAuthority") -> None:
        from dojang.authority.hierarchy.signers import root_addresses

        def roots_now() -> frozenset[str]:
            """But for one that issues itself, and may."""
            with authority.database.reading() as connection:
                return root_addresses(connection) - {authority.info().key_address}

        issuing = authority.info().key_address
        with authority.database.reading() as connection:
            issues_itself = issuing in root_addresses(connection)
        if issues_itself and not (self._root_online or authority.settings.test):
            raise RootOffline(authority=authority.name)
        self.keys.offline |= dict.fromkeys(roots_now(), authority.name)
        self.keys.roots[authority.name] = roots_now


@contextlib.contextmanager
def open_centre(
    directory: Path, names: Sequence[str], opener: KeyOpener, *, desk: Desk | None = None, root_online: bool = False
) -> Iterator[Opened]:
    """The authorities of these names in ``directory``, each of which has signed a challenge by now.

    Raises ``NotFound``, ``RootOffline``, and what the token or the database has to say.
    """
    opened = Opened(directory, Keys(opener), desk or Desk(), root_online=root_online)
    with contextlib.closing(opened):
        for name in dict.fromkeys(names):
            opened.admit(name)
        opened.tell_astray()
        yield opened


def _close_later(authority: "LocalAuthority") -> None:
    """When whoever is still at work with it is done."""
    timer = threading.Timer(_LONGEST_WORK, authority.close)
    timer.daemon = True
    timer.start()


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
