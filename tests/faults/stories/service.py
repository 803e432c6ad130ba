"""A service that signs all day, for stories: many threads, each signature verified, each error kept, calls counted."""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from dojang import errors

_PAUSE_AFTER_ERROR = 0.01


def verified(key: Any, message: bytes) -> bool:
    """Sign ``message`` with a private key on a token; whether its public key says that the signature is good."""
    if isinstance(key, rsa.RSAPrivateKey):
        scheme: tuple[Any, ...] = (padding.PKCS1v15(), hashes.SHA256())
    else:
        scheme = (ec.ECDSA(hashes.SHA256()),)
    signature = key.sign(message, *scheme)
    try:
        key.public_key().verify(signature, message, *scheme)
    except InvalidSignature:
        return False
    return True


def calm(key: Any) -> None:
    """Wait until nothing has gone wrong for a second: a reader may yet notice that its card had no power."""
    good = 0
    while good < 10:
        try:
            good = good + 1 if verified(key, b"calm") else 0
        except errors.DojangError:
            good = 0
        time.sleep(0.1)


class Calls:
    """Counts what reaches a token: signatures that C_Sign made, and calls of C_Login."""

    def __init__(self, token: Any) -> None:
        self.signed = itertools.count()
        self.logins = itertools.count()
        cryptoki = token.token.module.cryptoki
        sign_into, login = cryptoki.sign_into, cryptoki.login

        def counted_sign(*arguments: Any) -> int:
            rv = sign_into(*arguments)
            if rv == 0:
                next(self.signed)
            return rv

        def counted_login(*arguments: Any) -> None:
            next(self.logins)
            login(*arguments)

        cryptoki.sign_into, cryptoki.login = counted_sign, counted_login


def total(counter: "itertools.count[int]") -> int:
    """How often a counter was advanced; for when nobody does any more."""
    return next(counter)


class Service:
    """``threads`` threads that sign with ``keys`` in turn; a context manager. No error ends a thread."""

    def __init__(self, keys: list[Any], threads: int = 8, *, pause: float = 0.0) -> None:
        self.signed = [0] * threads
        self.wrong = 0
        self.errors: Counter[str] = Counter()
        self.not_retryable: list[str] = []
        self.alive = 0
        self._last = [0.0] * threads
        self._keys, self._pause = keys, pause
        self._stop = threading.Event()
        self._still = threading.Condition()
        self._inside = 0
        self._held = False
        self.threads = [threading.Thread(target=self._sign, args=(index,)) for index in range(threads)]

    def __enter__(self) -> "Service":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.alive = sum(thread.is_alive() for thread in self.threads)
        self._stop.set()
        for thread in self.threads:
            thread.join(60)

    def outcome(self, calls: Calls) -> dict[str, Any]:
        """After the end: what it did and saw, and what of that reached the token; ``alive`` is from before the end."""
        return {
            "alive": self.alive,
            "signed": sum(self.signed),
            "made": total(calls.signed),
            "wrong": self.wrong,
            "errors": self.errors,
            "not_retryable": self.not_retryable[:9],
            "logins": total(calls.logins),
        }

    def _sign(self, index: int) -> None:
        key = self._keys[index % len(self._keys)]
        while not self._stop.is_set():
            with self._still:
                self._still.wait_for(lambda: not self._held)
                self._inside += 1
            try:
                if verified(key, b"%d of thread %d" % (self.signed[index], index)):
                    self.signed[index] += 1
                    self._last[index] = time.monotonic()
                else:
                    self.wrong += 1
            except errors.DojangError as error:
                self._note(error)
            except BaseException as error:
                self.not_retryable.append(repr(error))
            finally:
                with self._still:
                    self._inside -= 1
                    self._still.notify_all()
            if self._pause:
                time.sleep(self._pause)

    def _note(self, error: errors.DojangError) -> None:
        self.errors[error.code] += 1
        if not error.retryable:
            self.not_retryable.append(f"{error.code}: {error} {error.__cause__!r}")
        time.sleep(_PAUSE_AFTER_ERROR)

    def paused(self, work: Callable[[], Any]) -> Any:
        """Do ``work`` while no thread signs: some modules crash when they are finalised under a call."""
        with self._still:
            self._held = True
            self._still.wait_for(lambda: self._inside == 0)
            try:
                return work()
            finally:
                self._held = False
                self._still.notify_all()

    def recovered(self, since: float, patience: float = 30.0) -> float:
        """Seconds from ``since`` until every thread has signed again; for ever, as 1e9, if that takes too long."""
        while not all(last > since for last in self._last):
            if time.monotonic() > since + patience:
                return 1e9
            time.sleep(0.001)
        return time.monotonic() - since


def tries_wasted(token: Any) -> list[str]:
    """The token's own flags for wrong PINs."""
    flags: list[str] = token.token.refresh().flag_names()
    return [name for name in flags if name.endswith(("count-low", "final-try", "locked"))]


def tell(**facts: Any) -> None:
    """One fact a key, for the test that asks."""
    print(json.dumps(facts), flush=True)
