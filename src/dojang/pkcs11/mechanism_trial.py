"""Whether a token does what its list of mechanisms says: tried, and only what changes nothing."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.mechanisms import REFUSALS, Plan, digests, every_plan
from dojang.pkcs11.objects import ABOUT_THE_SESSION, TokenObject, search_for
from dojang.pkcs11.opened import OpenToken
from dojang.pkcs11.session import Session
from dojang.pkcs11.structures import Mechanism

_DATA = b"dojang tries a mechanism\0"
_DONE, _REFUSED, _WRONG, _UNTOLD = range(4)
_SCHEMES = {"rsa": ("pkcs1v15", "pss"), "ec": ("ecdsa",), "ed25519": ("eddsa",)}


class Lies(NamedTuple):
    """Mechanisms that are listed and refused, not listed and done, and done wrongly."""

    refused: frozenset[int] = frozenset()
    unlisted: frozenset[int] = frozenset()
    wrong: frozenset[int] = frozenset()

    def and_these(self, other: "Lies") -> "Lies":
        """Both together."""
        return Lies(*(mine | theirs for mine, theirs in zip(self, other, strict=True)))


def try_digests(token: OpenToken) -> Lies:
    """Every hash, without a login: the token's answer is compared with our own."""

    def work(session: Session) -> Lies:
        return _lies(token, ((number, _digest(session, number, name)) for name, number in digests()))

    return token.publicly(work)


def try_signatures(token: OpenToken, key: TokenObject) -> Lies:
    """Every mechanism that fits the key, with a signature each; none for a key that wants its PIN for each."""
    family = key.algorithm.partition("-")[0]
    if family not in _SCHEMES or not key.key_id or key.attributes.get("always_authenticate"):
        return Lies()
    search = search_for(ck.CKO_PRIVATE_KEY, key_id=key.key_id)

    def work(session: Session) -> Lies:
        handle = session.resolve(search)
        tried = (
            (plan.mechanism.number, _signs(session, handle, plan, hash_name))
            for scheme in _SCHEMES[family]
            for plan, hash_name in every_plan(scheme)
        )
        return _lies(token, tried)

    return token.logged_in(work)


def _lies(token: OpenToken, tried: Iterable[tuple[int, int]]) -> Lies:
    """A mechanism counts as done if it was once."""
    listed = token.mechanisms.listed
    found: dict[int, set[int]] = {_DONE: set(), _REFUSED: set(), _WRONG: set(), _UNTOLD: set()}
    for number, outcome in tried:
        found[outcome].add(number)
    done, refused = found[_DONE], found[_REFUSED]
    return Lies(frozenset((refused - done) & listed), frozenset(done - listed), frozenset(found[_WRONG]))


def _digest(session: Session, number: int, name: str) -> int:
    try:
        answer = session.cryptoki.digest(session.handle, Mechanism(number), _DATA)
    except CryptokiError as error:
        return _outcome(error)
    return _DONE if answer == hashlib.new(name, _DATA, usedforsecurity=False).digest() else _WRONG


def _signs(session: Session, handle: int, plan: Plan, hash_name: str) -> int:
    data = _DATA if plan.takes_message else plan.prefix + hashlib.new(hash_name, _DATA, usedforsecurity=False).digest()
    try:
        session.sign(plan.mechanism, handle, data)
    except CryptokiError as error:
        return _outcome(error)
    return _DONE


def _outcome(error: CryptokiError) -> int:
    if error.rv in ABOUT_THE_SESSION:
        raise error
    return _REFUSED if error.rv in REFUSALS else _UNTOLD


def names(numbers: Iterable[int]) -> list[str]:
    """The mechanisms by the standard's names, sorted."""
    return sorted(map(ck.mechanism_name, numbers))
