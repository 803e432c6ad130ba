"""An authority tells what becomes of its certificates, by OCSP and by its lists, as its own settings say."""

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from dojang.authority import LocalAuthority, open_authority
from dojang.x509.ocsp import Question
from dojang.x509.reading import read_certificate


def told(authority: LocalAuthority, der: bytes, at: Any) -> str:
    """What its responder says of a certificate, when our own checker has looked at the answer."""
    issuer = read_certificate(authority.certificate_der())
    question = Question(read_certificate(der), issuer)
    standing = question.standing(authority.status.responder.answer(question.to_der()).der, at=at)
    assert standing.problem == ""
    return standing.state


def serial_of(der: bytes) -> str:
    return f"{read_certificate(der).serial_number:x}"


def test_every_change_is_told_at_once(desk: Any, clock: Any) -> None:
    """From the moment it is handed out: unconfirmed, confirmed, on hold, restored, revoked, replaced, cancelled."""
    authority = desk.authority
    der = desk.ask(transaction="t").certificate_der
    assert told(authority, der, clock()) == "good"
    authority.confirm("t")
    for change, state in (
        (authority.suspend, "suspended"),
        (authority.restore, "good"),
        (lambda serial: authority.revoke(serial, "superseded"), "revoked"),
    ):
        change(serial_of(der))
        assert told(authority, der, clock()) == state
    old = desk.have()
    new = desk.have("reissue", old=old)
    assert [told(authority, one, clock()) for one in (old, new)] == ["revoked", "good"]
    lost = desk.ask(transaction="lost").certificate_der
    authority.cancel("lost")
    assert told(authority, lost, clock()) == "revoked"


def test_the_settings_decide_what_is_published(desk: Any, clock: Any, tmp_path: Path) -> None:
    """With deltas a revocation is told in one, at once; the complete list says where to find it."""
    folder = desk.authority.folder
    with (folder / "authority.toml").open("a") as settings:
        settings.write('address = "http://ca.example.kr/office"\n[status]\ndelta-hours = 8\non-revocation = "delta"\n')
    key = desk.authority.roster.private("root")
    first, held = desk.have(), desk.have()
    with open_authority(folder.parent, folder.name, lambda _address: key, clock=clock) as authority:
        authority.suspend(serial_of(held))
        authority.publish_crl()
        authority.restore(serial_of(held))
        authority.revoke(serial_of(first), "keyCompromise")
    complete, delta = (x509.load_der_x509_crl((folder / name).read_bytes()) for name in ("crl.der", "delta-crl.der"))
    (point,) = complete.extensions.get_extension_for_class(x509.FreshestCRL).value
    assert point.full_name[0].value == "http://ca.example.kr/office/crl/root-delta.crl"
    assert [f"{one.serial_number:x}" for one in complete] == [serial_of(held)]
    reasons = {
        f"{one.serial_number:x}": one.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
        for one in delta
    }
    assert reasons == {serial_of(held): "removeFromCRL", serial_of(first): "keyCompromise"}


@pytest.mark.parametrize("bad", ["answer-hours = -1", 'on-revocation = "never"', "deltas = true", 'prepare = "yes"'])
def test_settings_that_cannot_be_are_refused(desk: Any, bad: str) -> None:
    """Before anything is opened."""
    from dojang.errors import InvalidSetting

    folder = desk.authority.folder
    with (folder / "authority.toml").open("a") as settings:
        settings.write(f"[status]\n{bad}\n")
    with pytest.raises(InvalidSetting):
        open_authority(folder.parent, folder.name, lambda _address: None)


def test_what_the_jobs_do_finds_everything_in_order(tiered: LocalAuthority, desk: Any, clock: Any) -> None:
    """After a month of sleep, every list is new, and answers are there before anybody asked."""
    desk.authority = tiered
    der = desk.have()
    clock.turn(29)
    assert tiered.status.lists.publish_due(clock()) == ["issuing"]
    assert tiered.status.responder.prepare(clock()) == 2  # and the issuing authority's own, by the root
    assert told(tiered, der, clock()) == "good"
    clock.turn(300)
    assert tiered.status.lists.publish_due(clock()) == ["issuing", "root"]
