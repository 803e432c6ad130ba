"""The next generation of what issues, or of the root: prepared while the old one works, switched to, the old retired.

    prepare   the new key is certified and published, with its own empty list; whoever asks can learn of it already
    switch    from one moment to the next the new key signs certificates; the old goes on with its list and its answers
    retire    the last certificate that the old key signed has expired, and it is not needed any more

A new key bears the old name unless told otherwise. A new root is tied to the old one by a certificate each way. Under
the old name it is learned by those who renew (``authority.new_root``); under another it has to be handed to them.
"""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, cast

from cryptography import x509
from sqlalchemy import func, select

from dojang.authority import audit
from dojang.authority.hierarchy.certifying import Above, certify, certify_itself, check_key, checked_subject, record
from dojang.authority.hierarchy.chains import crossing_of
from dojang.authority.hierarchy.crossing import PROFILE, cross_sign, end_of
from dojang.authority.hierarchy.delegates import is_certified_by, note, note_added, step_down
from dojang.authority.hierarchy.scene import Scene, check_unused
from dojang.authority.hierarchy.signers import (
    CURRENT,
    NEXT,
    RETIRED,
    RETIRING,
    Key,
    add,
    current,
    in_state,
    keys,
    name_of,
    next_generation,
    set_state,
)
from dojang.authority.tables import certificate
from dojang.errors import AlreadyExists, CertificateUnusable, NothingToDo, NotPermitted, Phrase, Usage
from dojang.x509.challenge import prove_possession
from dojang.x509.keys import same_key
from dojang.x509.name import format_name
from dojang.x509.profiles import profile

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes as PublicKey
    from sqlalchemy import Connection

ROLES = ("issuing", "root")


def prepare(scene: Scene, role: str, private: "PrivateKey", key_address: str, subject: x509.Name | None = None) -> Key:
    """Certify and publish the next key. The same key again is its own answer, so what was interrupted is run again.

    Where a root alone issues, the first issuing key is prepared below it, which needs a name. ``AlreadyExists`` when
    another key waits already, ``NotPermitted`` for a key that cannot be used, and what the tokens raise.
    """
    with scene.database.reading() as connection:
        waiting = _waiting(connection, role, private)
        before = in_state(connection, role, CURRENT)
        root = current(connection, "root")
        if waiting is None:
            check_unused(connection, private)
    if waiting is None:
        wanted = profile(role, scene.profiles)
        check_key(cast("PublicKey", private.public_key()), wanted)
        if subject is None and before is None:
            raise Usage(problem=Phrase("the first issuing authority below a root needs a name; give it with --name"))
        name = checked_subject(subject or cast(Key, before).certificate.subject, wanted)
        make = _prepare_root if role == "root" else _prepare_issuing
        waiting = make(scene, root, name, private, key_address)
    scene.publish(waiting.id)
    return waiting


def switch(scene: Scene, role: str) -> Key:
    """The prepared key signs from now on. ``NothingToDo`` when none waits.

    It has signed a challenge and a list of its own by then, and responders have a certificate by it.
    """
    with scene.database.reading() as connection:
        new, before = in_state(connection, role, NEXT), in_state(connection, role, CURRENT)
        issues = role == "issuing" or in_state(connection, "issuing", CURRENT) is None
        responder = in_state(connection, "ocsp", CURRENT) if issues else None
        if new is not None:
            _check_standing(connection, new, scene.at)
    if new is None:
        raise NothingToDo(
            problem=Phrase("no key waits to take over"),
            next_step="Prepare one: dojang ca rollover prepare --key ADDRESS",
        )
    private = scene.private(new)
    prove_possession(private, new.certificate_der)
    scene.publish(new.id)
    above = Above(new, private, scene.at, scene.base)
    responder_der = None if responder is None else _responder_under(responder, above, scene)
    with scene.database.writing() as connection:
        waiting = in_state(connection, role, NEXT)
        if waiting is None or waiting.id != new.id:
            return replace(new, state=CURRENT)  # another run of the same was faster
        if before is not None:
            set_state(connection, before, RETIRING)
        set_state(connection, new, CURRENT)
        if responder is not None and responder_der is not None:
            _add_responder(connection, responder, responder_der, new, scene)
        note(connection, scene, "signer-switched", new, before=before.id if before else None)
    return replace(new, state=CURRENT)


def retire(scene: Scene, role: str) -> list[Key]:
    """The old keys of that role whose last certificate has expired; ``NothingToDo`` when none is on its way out.

    ``NotPermitted``, naming the day, while what they signed is still in use.
    """
    with scene.database.reading() as connection:
        leaving = [one for one in keys(connection, role) if one.state == RETIRING]
        needed = {one.id: _needed_until(connection, one, scene.at) for one in leaving}
        responders = [one for one in keys(connection, "ocsp") if one.state == RETIRING]
    if not leaving:
        raise NothingToDo(problem=Phrase("no key is on its way out"), next_step="See the keys: dojang ca signer list")
    done = [one for one in leaving if needed[one.id] is None]
    if not done:
        first = leaving[0]
        raise NotPermitted(
            problem=Phrase("what '{signer}' signed is valid until {moment}", signer=first.id, moment=needed[first.id]),
            remedy=Phrase("Until then it goes on with its revocation list; run this again later."),
        )
    for one in done:
        scene.publish(one.id)
    with scene.database.writing() as connection:
        for one in [*done, *(each for each in responders if any(is_certified_by(each, old) for old in done))]:
            set_state(connection, one, RETIRED)
            note(connection, scene, "signer-retired", one, reason="expired")
    return [replace(one, state=RETIRED) for one in done]


def cross_certify(scene: Scene, subject: x509.Certificate, until: datetime | None = None) -> bytes:
    """Another authority's key certified by our root; on record, and so revocable. The same again is the same answer."""
    with scene.database.reading() as connection:
        root = current(connection, "root")
        there = crossing_of(connection, subject, root.certificate, scene.at)
    if there is not None:
        known = x509.load_der_x509_certificate(there)
        wanted = subject.subject, end_of(subject, root.certificate, until)
        if (known.subject, known.not_valid_after_utc) == wanted:
            return there
    crossing_der = cross_sign(subject, scene.above(root), until)
    with scene.database.writing() as connection:
        _record_crossing(connection, crossing_der, root, scene)
    return crossing_der


def _waiting(connection: "Connection", role: str, private: "PrivateKey") -> Key | None:
    found = in_state(connection, role, NEXT)
    if found is not None and not same_key(found.certificate.public_key(), private.public_key()):
        what = Phrase("the next key of '{role}'", role=role)
        raise AlreadyExists(what=what, where=found.key_address, next_step="Switch to it: dojang ca rollover switch")
    return found


def _prepare_issuing(scene: Scene, root: Key, name: x509.Name, private: "PrivateKey", key_address: str) -> Key:
    wanted = profile("issuing", scene.profiles)
    certificate_der = certify(wanted, name, cast("PublicKey", private.public_key()), scene.above(root))
    prove_possession(private, certificate_der)
    with scene.database.writing() as connection:
        if (there := _waiting(connection, "issuing", private)) is not None:
            return there  # another run of the same was faster
        made = add(connection, "issuing", certificate_der, key_address, state=NEXT, crl_days=wanted.crl_days)
        record(connection, certificate_der, wanted.name, root.id, scene.at)
        note_added(connection, made, scene)
    return made


def _prepare_root(scene: Scene, old: Key, name: x509.Name, private: "PrivateKey", key_address: str) -> Key:
    wanted = profile("root", scene.profiles)
    certificate_der = certify_itself(wanted, name, private, scene.at)
    prove_possession(private, certificate_der)
    own = x509.load_der_x509_certificate(certificate_der)
    new_with_old = cross_sign(own, scene.above(old), until=old.certificate.not_valid_after_utc)
    with scene.database.reading() as connection:
        generation = next_generation(connection, "root")
    new = Key(name_of("root", generation), "root", generation, certificate_der, key_address, NEXT, old.crl_days)
    old_with_new = cross_sign(old.certificate, Above(new, private, scene.at, scene.base))
    with scene.database.writing() as connection:
        if (there := _waiting(connection, "root", private)) is not None:
            return there  # another run of the same was faster
        made = add(connection, "root", certificate_der, key_address, state=NEXT, crl_days=old.crl_days)
        _record_crossing(connection, new_with_old, old, scene)
        _record_crossing(connection, old_with_new, made, scene)
        note_added(connection, made, scene)
    return made


def _record_crossing(connection: "Connection", crossing_der: bytes, issuer: Key, scene: Scene) -> None:
    serial = record(connection, crossing_der, PROFILE, issuer.id, scene.at)
    subject = format_name(x509.load_der_x509_certificate(crossing_der).subject)
    audit.record(
        connection,
        event="signer-cross-signed",
        subject=subject,
        at=scene.at,
        role=issuer.role,
        generation=issuer.generation,
        serial=serial,
    )


def _responder_under(responder: Key, above: Above, scene: Scene) -> bytes:
    """The same key certified by the new issuer, so that there is somebody to answer for its first certificate."""
    own = responder.certificate
    return certify(profile("ocsp", scene.profiles), own.subject, own.public_key(), above)


def _add_responder(connection: "Connection", responder: Key, certificate_der: bytes, issuer: Key, scene: Scene) -> None:
    step_down(connection, "ocsp")
    made = add(connection, "ocsp", certificate_der, responder.key_address, state=CURRENT)
    record(connection, certificate_der, "ocsp", issuer.id, scene.at)
    note_added(connection, made, scene)


def _check_standing(connection: "Connection", new: Key, at: datetime) -> None:
    """Neither expired nor revoked since it was prepared."""
    own = new.certificate
    query = select(certificate.c.state).where(certificate.c.serial == f"{own.serial_number:x}")
    state = connection.execute(query).scalar_one_or_none()
    if state not in (None, "confirmed") or at >= own.not_valid_after_utc:
        problem = Phrase("it was revoked, or has expired")
        raise CertificateUnusable(subject=format_name(own.subject), problem=problem)


def _needed_until(connection: "Connection", one: Key, at: datetime) -> datetime | None:
    """When the last certificate that it signed, and that is not revoked, expires; ``None`` where that is over.

    Its responder's does not count: that is there for the others.
    """
    signed = certificate.c.signer == one.id, certificate.c.profile != "ocsp"
    valid = (*signed, certificate.c.state != "revoked", certificate.c.not_after_at > at)
    last: datetime | None = connection.execute(select(func.max(certificate.c.not_after_at)).where(*valid)).scalar()
    return last
