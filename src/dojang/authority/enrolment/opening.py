"""Enrolment at an authority that is open: its records, its rules and its token, put together."""

import secrets
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from dojang.authority.enrolment.code_key import KeyRing, make_code_key, open_code_key
from dojang.authority.enrolment.codes import CodeKey
from dojang.authority.enrolment.enrolments import Enrolments
from dojang.authority.enrolment.office import Office
from dojang.authority.enrolment.officers import Officers
from dojang.authority.enrolment.orders import Counter
from dojang.errors import NotFound, Phrase, UnsupportedOperation
from dojang.x509.profiles import Profile, profile

if TYPE_CHECKING:
    from dojang.authority.local import LocalAuthority


def enrolments_of(authority: "LocalAuthority", opener: object) -> Enrolments:
    """For conversations with applicants. The token is asked for nothing before the first of them."""
    key = _once(lambda: open_code_key(authority.database, authority.name, _ring(opener)))

    def key_or_none() -> CodeKey:
        try:
            return key()
        except NotFound:  # the first code is yet to be made, perhaps by another process
            return _NoKeyYet()

    policy = authority.settings.enrolment()
    return Enrolments(authority.database, authority.name, policy, key_or_none, authority.now)


def counter_of(authority: "LocalAuthority", opener: object) -> Counter:
    """For orders of the office. The secret for codes is made when the first one is needed."""
    database, name, policy = authority.database, authority.name, authority.settings.enrolment()
    key = code_key_of(authority, opener)

    def known(wanted: str) -> Profile:
        return profile(wanted, authority.folder / "profiles")

    messages = authority.settings.messages() if authority.settings.tables.get("messages") else None
    countries = messages.countries if messages else None
    office = Office(database, name, policy, known, key, authority.now, countries, authority.settings.factors().rule)
    return Counter(
        office,
        Officers(database, name, policy, authority.now),
        lambda: authority.cards,
        lambda: authority.devices,
        (messages.name if messages else None) or name,
    )


def code_key_of(authority: "LocalAuthority", opener: object) -> Callable[[], CodeKey]:
    """The secret for codes, made when it is first needed, and opened once."""
    return _once(lambda: make_code_key(authority.database, authority.name, _ring(opener), authority.now()))


class _NoKeyYet:
    """Nobody was given a code, so whatever somebody proves to know is wrong."""

    def digest(self, message: bytes) -> bytes:
        return secrets.token_bytes(32)


def _ring(opener: object) -> KeyRing:
    """What opens an authority's private keys, where it opens secrets as well."""
    if not isinstance(opener, KeyRing):
        raise UnsupportedOperation(where=Phrase("This authority"), operation=Phrase("give out authorization codes"))
    return opener


def _once(opener: Callable[[], CodeKey]) -> Callable[[], CodeKey]:
    """What the opener gave at first, to every thread; asked again after it failed."""
    lock, found = threading.Lock(), list[CodeKey]()

    def opened() -> CodeKey:
        with lock:
            if not found:
                found.append(opener())
            return found[0]

    return opened
