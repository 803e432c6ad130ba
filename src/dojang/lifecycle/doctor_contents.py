"""What lies on a token that should not, or not like that: certificates, keys, leftovers, lists that lie."""

import shlex
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from dojang.errors import (
    CertificateUnusable,
    DeviceDisobeyed,
    DojangError,
    FileMalformed,
    NotFound,
    NotRenewable,
    OperationUnfinished,
    UnsupportedMechanism,
)
from dojang.lifecycle.doctor import Finding
from dojang.lifecycle.origin import DEFAULT_WINDOW, Origin
from dojang.locations.labels import Label
from dojang.pkcs11.objects import KEY_ALGORITHMS

if TYPE_CHECKING:
    from dojang.lifecycle.workplace import Workplace
    from dojang.pkcs11.fsck import Rubbish
    from dojang.pkcs11.mechanism_trial import Lies
    from dojang.pkcs11.objects import TokenObject
    from dojang.pkcs11.opened import OpenToken
    from dojang.x509.status import CertificateFacts


class Contents(NamedTuple):
    """What was seen on one token; ``keys`` are the private ones after a login, the public ones without."""

    token: "OpenToken"
    certificates: "list[TokenObject]"
    keys: "list[TokenObject]"
    unreadable: "list[TokenObject]"
    rubbish: "list[Rubbish]"
    lies: "Lies"
    logged_in: bool


class Background(NamedTuple):
    """What is known of certificates besides themselves: the moment, their window, and who renews them."""

    now: datetime
    window: Callable[[bytes], timedelta]
    origin: Callable[[bytes], Origin | None]


def gather(
    token: "OpenToken", *, log_in: bool, to_be_tried: "Callable[[TokenObject], bool]" = lambda _key: False
) -> Contents:
    """Look at everything that can be seen without changing anything; keys that are ``to_be_tried`` sign something."""
    from dojang.pkcs11.fsck import examine
    from dojang.pkcs11.mechanism_trial import try_digests, try_signatures

    if log_in:
        token.log_in()
    found = list(token.private_objects() if log_in else token.objects())
    wanted = "private" if log_in else "public"
    keys = [one for one in found if one.type == wanted and not one.problem]
    lies = try_digests(token)
    for key in filter(to_be_tried, keys):
        lies = lies.and_these(try_signatures(token, key))
    return Contents(
        token,
        certificates=[one for one in found if one.type == "cert" and one.value],
        keys=keys,
        unreadable=[one for one in found if one.problem],
        rubbish=examine(token, log_in=log_in).rubbish,
        lies=lies,
        logged_in=log_in,
    )


def background(place: "Workplace | None", now: datetime, window: timedelta | None) -> Background:
    """What the ledger and the local authorities know; without them, certificates are judged by themselves."""
    from dojang.lifecycle.origin import fingerprint_of, origin_of, window_of
    from dojang.locations.base import StoredCredential

    def window_for(certificate_der: bytes) -> timedelta:
        if place is None:
            return window or DEFAULT_WINDOW
        return window_of(place, place.ledger.history(fingerprint=fingerprint_of(certificate_der)))

    def origin(certificate_der: bytes) -> Origin | None:
        if place is None:
            return None
        stored = StoredCredential(address="", kind="token", label="", key_id=b"", certificate_der=certificate_der)
        try:
            found = origin_of(place, stored)
        except NotRenewable:
            return None
        return found if found.authority in place.authorities() else None

    return Background(now, window_for, origin)


def examine_contents(contents: Iterable[Contents], known: Background) -> Iterator[Finding]:
    """Everything that is wrong with what lies on these tokens."""
    everything = list(contents)
    replaced = {subject for one in everything for subject in _valid_subjects(one, known.now)}
    for one in everything:
        yield from _examine_certificates(one, known, replaced)
        yield from _examine_pairs(one)
        yield from _examine_leftovers(one)
        yield from _examine_lies(one)


def _address(contents: Contents, found: "TokenObject") -> str:
    from dojang.pkcs11.uri import Pkcs11Uri

    uri = Pkcs11Uri.from_text(contents.token.address)
    return uri.for_object(object=found.name, id=found.key_id or None).to_text()


def _live(contents: Contents, now: datetime) -> "Iterator[tuple[TokenObject, CertificateFacts | None]]":
    """The certificates of people in use, and what they say; authorities' own are not ours to renew."""
    from dojang.locations.issuers import is_authority
    from dojang.x509.status import credential_facts

    for one in contents.certificates:
        if is_authority(one.value) or not Label.from_text(one.label).live:
            continue
        try:
            yield one, credential_facts(one.value, now)
        except FileMalformed:
            yield one, None


def _readable(certificate: "TokenObject") -> bool:
    from dojang.x509.reading import read_certificate

    try:
        read_certificate(certificate.value)
    except FileMalformed:
        return False
    return True


def _valid_subjects(contents: Contents, now: datetime) -> Iterator[str]:
    return (facts.subject for _, facts in _live(contents, now) if facts and facts.not_after_at > now)


def _examine_certificates(contents: Contents, known: Background, replaced: set[str]) -> Iterator[Finding]:
    for one, facts in _live(contents, known.now):
        address = _address(contents, one)
        if facts is None:
            yield Finding("certificate-unreadable", FileMalformed.exit_status, {"address": address}, serious=False)
            continue
        said = {"address": address, "subject": facts.subject, "not_after": facts.not_after_at}
        if facts.not_before_at > known.now:
            said["not_before"] = facts.not_before_at
            yield Finding("certificate-not-yet-valid", CertificateUnusable.exit_status, said, serious=False)
        if facts.not_after_at <= known.now:
            if facts.subject not in replaced:
                mend = _issue_again(contents, one, facts, known)
                yield Finding("certificate-expired", NotRenewable.exit_status, said, mend)
        elif facts.not_after_at - known.window(one.value) <= known.now:
            renewed = known.origin(one.value) is not None
            mend = (
                shlex.join(["dojang", "renew", "now", address]) if renewed else _ask_anew(contents, one, facts, known)
            )
            yield Finding("certificate-due", NotRenewable.exit_status, said | {"days_left": facts.days_left}, mend)


def _issue_again(contents: Contents, one: "TokenObject", facts: "CertificateFacts", known: Background) -> str:
    """An expired certificate is not renewed; another one for the same subject takes its place."""
    origin = known.origin(one.value)
    if origin is None:
        return _ask_anew(contents, one, facts, known)
    words = ["--to", contents.token.address, "--subject", facts.subject, "--label", _next_label(one, known)]
    return shlex.join(["dojang", "cert", "issue", *words, "--ca", origin.authority, "--profile", origin.profile])


def _ask_anew(contents: Contents, one: "TokenObject", facts: "CertificateFacts", known: Background) -> str:
    """Where nobody here can issue: a request for whoever did, by a new key of the same kind."""
    words = [contents.token.address, "--subject", facts.subject, "--label", _next_label(one, known)]
    kind = ["--algorithm", facts.algorithm] if facts.algorithm in KEY_ALGORITHMS else []
    return shlex.join(["dojang", "cert", "request", *words, *kind])


def _next_label(one: "TokenObject", known: Background) -> str:
    return f"{Label.from_text(one.label).name} {known.now:%Y-%m-%d}"


def _examine_pairs(contents: Contents) -> Iterator[Finding]:
    """Without a login, keys are known by their public halves; a token that keeps none tells nothing."""
    from dojang.locations.issuers import is_authority

    with_key = {key.key_id for key in contents.keys}
    certified = {one.key_id for one in contents.certificates}
    for key in contents.keys:
        if key.key_id not in certified:
            facts = {"address": _address(contents, key), "algorithm": key.algorithm}
            yield Finding("key-without-certificate", NotFound.exit_status, facts, serious=False)
    if not contents.keys and not contents.logged_in:
        return
    for one in contents.certificates:
        if one.key_id in with_key or is_authority(one.value) or not _readable(one):
            continue
        address = _address(contents, one)
        serial = contents.token.token.info.serial
        mend = (
            shlex.join(["dojang", "cert", "delete", address, "--yes", serial]) if contents.logged_in and serial else ""
        )
        sure = contents.logged_in
        yield Finding("certificate-without-key", NotFound.exit_status, {"address": address}, mend, serious=sure)


def _examine_leftovers(contents: Contents) -> Iterator[Finding]:
    token = contents.token.token
    told = {"token": token.info.label, "address": token.address}
    removable = sum(one.removable for one in contents.rubbish)
    if removable:
        words = ["dojang", "token", "fsck", token.address, "--remove", "--serial", token.info.serial]
        yield Finding("rubbish", DeviceDisobeyed.exit_status, {**told, "count": removable}, shlex.join(words))
    elif contents.unreadable:
        mend = shlex.join(["dojang", "token", "fsck", token.address])
        facts = {**told, "count": len(contents.unreadable), "problems": [one.problem for one in contents.unreadable]}
        yield Finding("objects-unreadable", DeviceDisobeyed.exit_status, facts, mend)
    for one in contents.certificates:
        label = Label.from_text(one.label)
        if label.staged or label.retired:
            code = "certificate-staged" if label.staged else "certificate-retired"
            mend = "dojang renew run" if label.staged else ""
            facts = {"address": _address(contents, one), "label": one.label}
            yield Finding(code, OperationUnfinished.exit_status, facts, mend, serious=False)


def _examine_lies(contents: Contents) -> Iterator[Finding]:
    from dojang.pkcs11.mechanism_trial import names

    token = contents.token.token
    told = {"token": token.info.label, "address": token.address, "module": token.module.path}
    lies = contents.lies
    for code, numbers in (("mechanisms-refused", lies.refused), ("mechanisms-unlisted", lies.unlisted)):
        if numbers:
            facts = {**told, "mechanisms": names(numbers)}
            yield Finding(code, UnsupportedMechanism.exit_status, facts, serious=False)
    if lies.wrong:
        facts = {**told, "mechanisms": names(lies.wrong)}
        yield Finding("mechanisms-wrong", DeviceDisobeyed.exit_status, facts)


def sign_test(
    token: "OpenToken", *, label: str | None, key_id: bytes | None
) -> Iterator[tuple[str, DojangError | None]]:
    """Sign a random challenge with every key that matches and may sign; yields its address and what went wrong, if
    anything did.
    """
    from dojang.pkcs11.uri import Pkcs11Uri

    for key in list(token.keys(label=label, key_id=key_id)):
        if key.attributes.get("sign") is False:
            continue
        address = str(Pkcs11Uri.from_text(token.address).for_object(object=key.name, id=key.key_id or None))
        try:
            _prove(token, key)
        except DojangError as error:
            yield address, error
        else:
            yield address, None


def _prove(token: "OpenToken", key: "TokenObject") -> None:
    """With the certificate that shares the key's CKA_ID where there is one, else with its own public key."""
    from dojang.x509.challenge import prove_key, prove_possession

    private_key = token.private_key(label=key.name, key_id=key.key_id or None)
    certificate = next(filter(_readable, token.certificates(key_id=key.key_id)), None) if key.key_id else None
    if certificate is None:
        prove_key(private_key)
    else:
        prove_possession(private_key, certificate.value)


def newest_moment(place: "Workplace") -> datetime | None:
    """When the ledger was last written to, by its own word."""
    return max((event.at for event in place.ledger.history() if event.at is not None), default=None)
