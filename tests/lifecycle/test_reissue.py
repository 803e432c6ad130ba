"""Reissuing: a new key for the rest of the term, wherever the old one is; the old certificate is revoked."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.x509 import load_der_x509_certificate, load_der_x509_crl
from cryptography.x509.oid import ExtensionOID

from dojang.errors import (
    AlreadyExists,
    AnswerMismatch,
    AuthorityRefused,
    AuthorityUnreachable,
    InputRequired,
    NotFound,
    NothingToDo,
    NotPermitted,
    NotRenewable,
    UnsupportedOperation,
)
from dojang.ledger import Ledger
from dojang.lifecycle.copy import CopyOrder, copy
from dojang.lifecycle.give_up import give_up
from dojang.lifecycle.held import held_in
from dojang.lifecycle.issue import issue
from dojang.lifecycle.meant import Meant
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.recover import recover
from dojang.lifecycle.reissue import ReissueOrder, plan_reissue, reissue
from dojang.lifecycle.renew import RenewOrder, renew
from dojang.lifecycle.revoke import RevokeOrder, revoke, revoke_meant, suspend
from dojang.lifecycle.wrap import wrap_credential


def _order(held, **changes) -> ReissueOrder:
    return replace(ReissueOrder(Meant(address=held.stored.address)), **changes)


def _elsewhere(office, tmp_path) -> str:
    return f"npki:{tmp_path}/elsewhere/NPKI"


def _key(held):
    return load_der_x509_certificate(held.stored.certificate_der).public_key()


def _record(office, held):
    with office.place.open_authority("office") as authority:
        return authority.find(held.facts.serial)


def _states(office, address) -> list[str]:
    return sorted(held.state for held in held_in(office.place, address))


def _works(office, held) -> bool:
    from dojang.x509.challenge import prove_possession

    with office.place.open_location(held.stored.address) as location:
        prove_possession(location.private_key(held.stored.key_id), held.stored.certificate_der)
    return True


def test_a_new_key_with_the_same_names_and_the_same_end(office) -> None:
    """Under the old address; the old certificate is revoked and on the list, the old pair retired and readable."""
    old = issue(office.order(alternative_names=("email:hong@example.com",), profile="personal"), office.place)
    office.later = timedelta(days=100)
    done = reissue(_order(old), office.place)
    new, before = (load_der_x509_certificate(one.stored.certificate_der) for one in (done.credential, old))
    assert done.credential.stored.address == old.stored.address
    assert new.not_valid_after_utc == before.not_valid_after_utc
    assert (new.subject, new.public_key() == before.public_key()) == (before.subject, False)
    assert (
        new.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
        == before.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    )
    assert (done.credential.state, done.previous.state) == ("valid", "revoked")
    assert done.previous.stored.retired
    assert (_record(office, old).state, _record(office, old).reason) == ("revoked", "superseded")
    with office.place.open_authority("office") as authority:
        crl = load_der_x509_crl(authority.crl_path().read_bytes())
    assert crl.get_revoked_certificate_by_serial_number(before.serial_number) is not None
    assert _works(office, done.credential)
    assert [event.event for event in office.place.ledger.history()] == ["issued", "reissued", "retired", "revoked"]
    assert office.place.ledger.incomplete() == []


def test_nothing_of_the_old_key_is_needed(office, tmp_path) -> None:
    """A key that is gone, or lies under a password that nobody knows, is replaced all the same."""
    old = issue(office.order(), office.place)
    if office.address.startswith("npki:"):
        for key in (tmp_path / "NPKI").rglob("signPri.key"):
            key.write_bytes(b"nobody can open this")
    else:
        with office.place.open_location(office.address) as location:
            location._token.destroy(old.stored.key_id, "private")
    done = reissue(_order(old), office.place)
    assert _works(office, done.credential)
    assert done.previous.stored.retired


def test_once_is_enough(office) -> None:
    """The same order again finds nothing to do, by the old address and by the retired one's; ``again`` insists."""
    old = issue(office.order(), office.place)
    done = reissue(_order(old), office.place)
    for held in (old, done.previous):
        with pytest.raises(NothingToDo):
            reissue(_order(held), office.place)
    again = reissue(_order(old, again=True), office.place)
    assert again.credential.facts.not_after_at == old.facts.not_after_at
    assert _states(office, office.address) == ["revoked", "revoked", "valid"]


def test_only_while_it_is_valid(office) -> None:
    """After its end a new one is issued; what is not in use or was replaced is not reissued."""
    old = issue(office.order(), office.place)
    office.later = timedelta(days=400)
    with pytest.raises(NotRenewable, match="expired") as caught:
        reissue(_order(old), office.place)
    assert "cert issue" in caught.value.advice()
    office.later = timedelta()
    renewal = renew(RenewOrder(old.stored.address), office.place)
    with pytest.raises(NothingToDo):
        reissue(_order(renewal.previous), office.place)


@pytest.mark.parametrize("change", [revoke, suspend])
def test_what_was_revoked_or_put_on_hold_before(office, change) -> None:
    """A holder who had it revoked gets the rest of the term on a new key; the first reason stays."""
    old = issue(office.order(), office.place)
    change(office.place, "office", old.facts.serial, *(["affiliationChanged"] if change is revoke else []))
    done = reissue(_order(old), office.place)
    assert (done.credential.state, done.previous.state) == ("valid", "revoked")
    assert _record(office, old).reason == ("affiliationChanged" if change is revoke else "superseded")


def test_onto_another_location(office, tmp_path) -> None:
    """As a key comes to where it cannot be copied to: the old one is revoked and retired where it lies."""
    old = issue(office.order(), office.place)
    done = reissue(_order(old, to=_elsewhere(office, tmp_path)), office.place)
    assert done.credential.stored.kind == "disk"
    assert done.credential.facts.not_after_at == old.facts.not_after_at
    assert (done.previous.state, done.previous.stored.retired) == ("revoked", True)
    assert _works(office, done.credential)
    with office.place.open_location(office.address) as location, pytest.raises(NotFound):
        location.find(old.stored.address)
    assert _states(office, office.address) == ["revoked"]
    with pytest.raises(NothingToDo):
        reissue(_order(done.previous, to=_elsewhere(office, tmp_path)), office.place)


@pytest.mark.parametrize("office", ["token"], indirect=True)
def test_onto_a_token_for_a_backup(office, tmp_path) -> None:
    """The wrapping key is looked for before a compromised key is revoked; then the new key can leave under it."""
    old = issue(office.order(to=_elsewhere(office, tmp_path)), office.place)
    order = _order(old, to=office.address, backup_under="backup", reason="keyCompromise")
    with pytest.raises(NotFound):
        reissue(order, office.place)
    with pytest.raises(UnsupportedOperation):
        reissue(replace(order, to=None), office.place)
    assert _record(office, old).state == "confirmed"
    with office.place.open_location(office.address) as location:
        location.keep_wrapping_key(bytes(range(32)), key_id=b"kek", label="backup")
    new = reissue(order, office.place).credential
    assert wrap_credential(office.place, new.stored.address, "backup")


def test_a_place_that_cannot_be_reached_any_more(office, tmp_path) -> None:
    """A file of the certificate or its serial is enough where the old place is gone."""
    for number, name in enumerate(("Hong", "Kim")):
        old = issue(office.order(name), office.place)
        meant = Meant(serial=old.facts.serial) if number else Meant(certificate_der=old.stored.certificate_der)
        with pytest.raises(InputRequired, match="location"):
            reissue(ReissueOrder(meant), office.place)
        done = reissue(ReissueOrder(meant, to=_elsewhere(office, tmp_path)), office.place)
        assert (done.previous, done.previous_der) == (None, old.stored.certificate_der)
        assert (done.credential.state, _record(office, old).state) == ("valid", "revoked")
        with pytest.raises(NothingToDo):
            reissue(ReissueOrder(meant, to=_elsewhere(office, tmp_path)), office.place)
    assert _states(office, office.address) == ["revoked", "revoked"]
    with pytest.raises(NotFound):
        reissue(ReissueOrder(Meant(serial="dead"), to=_elsewhere(office, tmp_path)), office.place)


def test_the_old_place_named_as_the_new_one(office) -> None:
    """By its serial and its own location the old one is replaced where it lies, not doubled."""
    old = issue(office.order(), office.place)
    done = reissue(ReissueOrder(Meant(serial=old.facts.serial), to=office.address), office.place)
    assert done.credential.stored.address == old.stored.address
    assert done.previous.stored.retired
    again = reissue(_order(old, to=office.address, again=True), office.place)
    assert _states(office, office.address) == ["revoked", "revoked", "valid"]
    assert again.previous.stored.certificate_der == done.credential.stored.certificate_der


def test_the_old_place_does_not_let_itself_be_changed(office, tmp_path) -> None:
    """The new one is there and the old one revoked; why it was not retired is told, and the same again retires it."""
    old, told = issue(office.order(), office.place), []
    place = replace(office.place, open_location=_unretirable(office.place.open_location), warn=told.append)
    place = replace(place, open_other=office.place.open_location)
    done = reissue(_order(old, to=_elsewhere(office, tmp_path)), place)
    assert (done.credential.state, done.previous.state, done.previous.stored.retired) == ("valid", "revoked", False)
    assert [type(error) for error in told] == [InputRequired]
    with pytest.raises(NothingToDo):
        reissue(_order(old, to=_elsewhere(office, tmp_path)), office.place)
    assert [one.retired for one in office.credentials()] == [True]


def _unretirable(open_location):
    @contextmanager
    def opened(address):
        with open_location(address) as location:
            location.retire = _refuse_pin
            yield location

    return opened


def _refuse_pin(key_id):
    raise InputRequired(what="The PIN", option="--old-pin-source")


def test_a_compromised_key_is_revoked_first(office) -> None:
    """Before the new key is made; when the rest fails it stays revoked, and the same again brings the new one."""
    old = issue(office.order(), office.place)
    honest = office.place

    def unreachable(answer):
        raise AuthorityUnreachable(authority="office", problem="the line is cut")

    office.tamper(unreachable)
    office.steps.clear()
    order = _order(old, reason="keyCompromise")
    with pytest.raises(AuthorityUnreachable):
        reissue(order, office.place)
    assert office.steps[:2] == ["revoke", "generate"]
    assert (_record(office, old).state, _record(office, old).reason) == ("revoked", "keyCompromise")
    assert _states(office, office.address) == ["revoked"]
    office.place = honest
    done = reissue(order, office.place)
    assert (done.credential.state, done.previous.state) == ("valid", "revoked")
    assert _record(office, old).reason == "keyCompromise"


def _lists_nothing(open_authority):
    """The key that signs lists is out of sight."""

    @contextmanager
    def opened(name):
        with open_authority(name) as authority:

            def publish(signer):
                raise NotFound(what="A key", where="token CA", command="dojang key list pkcs11:token=CA")

            authority._publish = publish
            yield authority

    return opened


def test_an_authority_that_lacks_its_own_key_has_refused_nothing(office) -> None:
    """It has confirmed, and cannot publish: the new key stays until the next run comes to the end."""
    old, honest = issue(office.order(), office.place), office.place
    office.place = replace(honest, open_authority=_lists_nothing(honest.open_authority))
    with pytest.raises(AuthorityUnreachable):
        reissue(_order(old), office.place)
    (waiting,) = recover(office.place)
    assert (waiting.outcome, type(waiting.error)) == ("left", AuthorityUnreachable)
    assert "A key is not in token CA" in waiting.error.message()
    (done,) = recover(honest)
    assert done.outcome == "finished"
    assert _states(office, office.address) == ["revoked", "valid"]
    assert _record(office, old).state == "revoked"


@pytest.mark.parametrize("office", ["disk"], indirect=True)
def test_what_else_a_stolen_place_held(office, tmp_path) -> None:
    """Copies are named that are revoked now, and older certificates that are not; of a replaced one, how to tell."""
    first = issue(office.order(), office.place)
    renewal = renew(RenewOrder(first.stored.address), office.place)
    copied = copy(
        CopyOrder(renewal.credential.stored.address, _elsewhere(office, tmp_path)), office.place
    ).brought.credential
    order = _order(renewal.credential, reason="keyCompromise")
    done = reissue(order, office.place)
    assert done.fallout.copies == (copied.stored.address,)
    assert [one.serial for one in done.fallout.standing] == [first.facts.serial]
    old = Meant(serial=first.facts.serial)
    with pytest.raises(NothingToDo) as caught:
        reissue(ReissueOrder(old, to=_elsewhere(office, tmp_path), reason="keyCompromise"), office.place)
    assert f"dojang cert revoke {first.facts.serial} --reason keyCompromise" in caught.value.advice()
    assert revoke_meant(RevokeOrder(Meant(serial=renewal.credential.facts.serial)), office.place).standing == (
        _record(office, first),
    )
    revoke_meant(RevokeOrder(old, "keyCompromise"), office.place)
    assert reissue(replace(order, again=True), office.place).fallout.standing == ()


def test_a_plan_retires_nothing(office, tmp_path) -> None:
    """Not even what the run would, where it was left out before."""
    old, order = issue(office.order(), office.place), {"to": _elsewhere(office, tmp_path)}
    place = replace(office.place, open_location=_unretirable(office.place.open_location))
    reissue(_order(old, **order), replace(place, open_other=office.place.open_location))
    with pytest.raises(NothingToDo):
        plan_reissue(_order(old, **order), office.place)
    assert [one.retired for one in office.credentials()] == [False]


def test_what_is_refused_revokes_nothing(office, tmp_path) -> None:
    """A taken name and an authority that nobody knows end it before the compromised key is revoked."""
    old, other = issue(office.order(), office.place), _elsewhere(office, tmp_path)
    issue(office.order(to=other), office.place)
    with pytest.raises(AlreadyExists):
        reissue(_order(old, to=other, reason="keyCompromise"), office.place)
    with Ledger.open(tmp_path / "other" / "ledger.sqlite") as ledger, pytest.raises(NotPermitted, match="no authority"):
        reissue(_order(old), replace(office.place, ledger=ledger, authorities=tuple))
    assert _record(office, old).state == "confirmed"


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_wrong_answer_changes_nothing(office, tmp_path, elsewhere: bool) -> None:
    """Another certificate than was asked for, or another end: the old one stays valid and in use, nothing new stays."""
    old = issue(office.order(), office.place)
    office.tamper(lambda answer: replace(answer, certificate_der=old.stored.certificate_der))
    order = _order(old, to=_elsewhere(office, tmp_path) if elsewhere else None)
    with pytest.raises(AnswerMismatch):
        reissue(order, office.place)
    assert [stored.certificate_der for stored in office.credentials()] == [old.stored.certificate_der]
    assert sorted(record.state for record in office.issued()) == ["confirmed", "revoked"]
    assert office.place.ledger.incomplete() == []
    if elsewhere:
        assert held_in(office.place, _elsewhere(office, tmp_path)) == []


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("step", ["confirm", "switch"])
def test_interrupted_and_asked_for_again(office, tmp_path, step: str, elsewhere: bool) -> None:
    """One valid certificate is left, with the same end, and the old one is revoked."""
    old = issue(office.order(), office.place)
    order = _order(old, to=_elsewhere(office, tmp_path) if elsewhere else None)

    def say(said: str) -> None:
        if said == step or (elsewhere and (step, said) == ("switch", "retire")):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reissue(order, replace(office.place, say=say))
    if elsewhere and step == "switch":  # nothing but retiring is left, which the same again does
        with pytest.raises(NothingToDo):
            reissue(order, office.place)
    else:
        done = reissue(order, office.place)
        assert done.credential.facts.not_after_at == old.facts.not_after_at
        assert (done.credential.state, done.previous.state, done.previous.stored.retired) == ("valid", "revoked", True)
    assert sorted(record.state for record in office.issued() if record.state != "revoked") == ["confirmed"]
    assert office.place.ledger.incomplete() == []


def test_recovered_without_the_old_place(office, tmp_path) -> None:
    """What was cut short is finished where the new one goes; the place of the old one is not opened for it."""
    old = issue(office.order(), office.place)

    def say(said: str) -> None:
        if said == "confirm":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reissue(_order(old, to=_elsewhere(office, tmp_path)), replace(office.place, say=say))
    opened = []
    place = replace(office.place, open_location=lambda a: opened.append(a) or office.place.open_location(a))
    assert [one.outcome for one in recover(place)] == ["finished"]
    assert [address.partition(":")[0] for address in opened] == ["npki"]
    assert _record(office, old).state == "revoked"


def test_of_two_at_once_one_is_taken_back(office, tmp_path) -> None:
    """Whoever is confirmed second is told so and leaves nothing behind."""
    old, other = issue(office.order(), office.place), f"npki:{tmp_path}/third/NPKI"
    first = []

    def say(said: str) -> None:
        if said == "confirm":
            first.append(reissue(_order(old, to=_elsewhere(office, tmp_path)), office.place))

    with pytest.raises(AuthorityRefused, match="replaced already"):
        reissue(_order(old, to=other), replace(office.place, say=say))
    assert held_in(office.place, other) == []
    assert office.place.ledger.incomplete() == []
    assert [one.serial for one in office.issued() if one.state != "revoked"] == [first[0].credential.facts.serial]


@pytest.mark.parametrize("gone", ["place", "key"])
def test_a_new_one_that_was_confirmed_and_lost(office, tmp_path, gone: str) -> None:
    """It is revoked too, nobody calls either of them valid, and the old one's serial brings another."""
    old, other = issue(office.order(), office.place), _elsewhere(office, tmp_path)

    with pytest.raises(KeyboardInterrupt):
        reissue(_order(old), replace(office.place, open_authority=_dying_at_the_confirmation(office)))
    (waiting,) = office.place.ledger.incomplete()
    if gone == "place":
        give_up(office.place, waiting.operation_id)
    else:
        with office.place.open_location(office.address) as location:
            location.discard(bytes.fromhex(str(waiting.facts["key_id"])))
        assert [one.outcome for one in recover(office.place)] == ["undone"]
    assert {one.state for one in office.issued()} == {"revoked"}
    history = office.place.ledger.history(fingerprint=fingerprint_of(old.stored.certificate_der))
    assert history[-1].event == "revoked"
    done = reissue(ReissueOrder(Meant(serial=old.facts.serial), to=other), office.place)
    assert (done.credential.state, done.credential.facts.not_after_at) == ("valid", old.facts.not_after_at)


def _dying_at_the_confirmation(office):
    honest = office.place.open_authority

    @contextmanager
    def opened(name):
        with honest(name) as authority:
            confirm = authority.confirm
            authority.confirm = lambda transaction: confirm(transaction) or _interrupt()
            yield authority

    return opened


def test_the_plan_is_what_happens(office, tmp_path) -> None:
    """A plan names the steps of the real run in their order and changes nothing."""
    for name, order in (
        ("Hong", {}),
        ("Kim", {"reason": "keyCompromise"}),
        ("Lee", {"to": _elsewhere(office, tmp_path)}),
    ):
        old = issue(office.order(name), office.place)
        planned = [step.name.removesuffix("-reissue") for step in plan_reissue(_order(old, **order), office.place)]
        assert _record(office, old).state == "confirmed"
        office.steps.clear()
        reissue(_order(old, **order), office.place)
        assert planned == office.steps


def test_revoked_by_address_file_or_serial(office) -> None:
    """The authority of origin is asked; the credential shows as revoked wherever it is listed; twice does no harm."""
    held = [issue(office.order(name), office.place) for name in ("Hong", "Kim", "Lee")]
    meant = [
        Meant(address=held[0].stored.address),
        Meant(certificate_der=held[1].stored.certificate_der),
        Meant(serial=held[2].facts.serial.upper()),
    ]
    for one, named in zip(held, meant, strict=True):
        done = revoke_meant(RevokeOrder(named, "key-compromise"), office.place)
        assert (done.record.serial, done.record.state, done.record.reason) == (
            one.facts.serial,
            "revoked",
            "keyCompromise",
        )
        assert (done.credential.state if done.credential else "revoked") == "revoked"
        assert revoke_meant(RevokeOrder(named, "superseded"), office.place).record.reason == "keyCompromise"
    assert _states(office, office.address) == ["revoked"] * 3
    assert office.place.ledger.incomplete() == []


def test_a_revocation_that_was_cut_short_is_finished(office) -> None:
    """Killed between the authority and the ledger, the next run notes it; a failure before both leaves no trace."""
    old = issue(office.order(), office.place)
    honest = office.place.open_authority

    def interrupted(name):
        @contextmanager
        def opened():
            with honest(name) as authority:
                tell = authority.revoke
                authority.revoke = lambda *words: tell(*words) or _interrupt()
                yield authority

        return opened()

    with pytest.raises(KeyboardInterrupt):
        revoke(replace(office.place, open_authority=interrupted), "office", old.facts.serial, "superseded")
    assert _states(office, office.address) == ["valid"], "the ledger does not know it yet"
    assert [one.outcome for one in recover(office.place)] == ["finished"]
    assert _states(office, office.address) == ["revoked"]
    with pytest.raises(NotFound):
        revoke(office.place, "office", "dead", "superseded")
    assert office.place.ledger.incomplete() == []


def _interrupt():
    raise KeyboardInterrupt
