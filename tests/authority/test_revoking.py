"""Revoking, suspending, restoring, and the list that says so."""

import subprocess
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from dojang.authority import LocalAuthority, open_authority
from dojang.authority.audit.reading import entries
from dojang.errors import AuthorityRefused, NotFound, Usage
from dojang.x509.path import check_path


def load(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def serial_of(der: bytes) -> str:
    return f"{load(der).serial_number:x}"


def crl_of(authority: LocalAuthority, *, root: bool = False) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(authority.crl_path(root=root).read_bytes())


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def state_of(authority: LocalAuthority, der: bytes, at: Any) -> str:
    chain, crl = authority.chain_der(), authority.crl_path().read_bytes()
    return check_path(der, intermediates_der=chain, anchors_der=[chain[-1]], crls_der=[crl], at=at).revocation


def test_a_new_authority_has_an_empty_list(authority: LocalAuthority, clock: Any) -> None:
    """Number one, tied to the authority's key, without an (empty) sequence of entries, good for thirty days."""
    crl = crl_of(authority)
    assert number_of(crl) == 1
    assert len(crl) == 0
    assert crl.next_update_utc == clock() + timedelta(days=30)
    key_id = (
        load(authority.certificate_der()).extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    )
    assert crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == key_id
    text = subprocess.run(
        ["openssl", "crl", "-inform", "DER", "-in", authority.crl_path(), "-noout", "-text"],
        capture_output=True,
        text=True,
    )
    assert "No Revoked Certificates" in text.stdout


@pytest.mark.parametrize(
    ("reason", "spelt"),
    [
        ("keyCompromise", "keyCompromise"),
        ("key-compromise", "keyCompromise"),
        ("CESSATION_OF_OPERATION", "cessationOfOperation"),
        ("unspecified", None),
    ],
)
def test_revoking_publishes_at_once(desk: Any, clock: Any, reason: str, spelt: str | None) -> None:
    """The list on disk holds serial, moment and reason; unspecified is left out, as RFC 5280 wants."""
    der = desk.have()
    desk.authority.revoke(serial_of(der), reason)
    entry = crl_of(desk.authority).get_revoked_certificate_by_serial_number(load(der).serial_number)
    assert entry is not None
    assert entry.revocation_date_utc == clock()
    assert [extension.value.reason.value for extension in entry.extensions] == ([spelt] if spelt else [])
    assert state_of(desk.authority, der, clock()) == "revoked"


def test_suspended_and_restored(desk: Any, clock: Any) -> None:
    """On hold, off hold, and back to what it was; asked twice nothing changes."""
    der = desk.have()
    for _ in range(2):
        desk.authority.suspend(serial_of(der))
        assert state_of(desk.authority, der, clock()) == "suspended"
    for _ in range(2):
        desk.authority.restore(serial_of(der))
        assert state_of(desk.authority, der, clock()) == "good"
    assert desk.authority.find(serial_of(der)).state == "confirmed"


def test_revoked_is_final(desk: Any, clock: Any) -> None:
    """Neither suspended nor restored; the moment stays, and a hold counts from its beginning.

    So does the first reason, unless it comes out that others had the key.
    """
    der, began = desk.have(), clock()
    serial = serial_of(der)
    desk.authority.suspend(serial)
    clock.turn(1)
    for reason, told in (("superseded",) * 2, ("unspecified", "superseded"), *[("keyCompromise",) * 2] * 2):
        desk.authority.revoke(serial, reason)
        entry = crl_of(desk.authority).get_revoked_certificate_by_serial_number(load(der).serial_number)
        assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value == told
    desk.authority.revoke(serial, "superseded")
    for change in (desk.authority.suspend, desk.authority.restore):
        with pytest.raises(AuthorityRefused, match="final"):
            change(serial)
    record = desk.authority.find(serial)
    assert (record.state, record.reason, record.revoked_at) == ("revoked", "keyCompromise", began)


@pytest.mark.parametrize("held", [False, True], ids=["waiting", "on hold"])
def test_a_compromised_key_takes_its_unconfirmed_renewal_with_it(desk: Any, clock: Any, held: bool) -> None:
    """In one transaction, on record, on the list; a reissue over CMP too. What else was confirmed or asked stays."""
    old, other = desk.have(), desk.have()
    clock.turn(350)
    waiting, lost = desk.transaction(), desk.transaction()
    renewal = serial_of(desk.ask("renew", old=old, transaction=waiting).certificate_der)
    reissue = serial_of(desk.ask("reissue", old=old, transaction=lost).certificate_der)
    signed = serial_of(desk.ask("reissue", old=old, transaction="cmp:aa:bb").certificate_der)
    confirmed = serial_of(desk.have("renew", old=other))
    if held:
        desk.authority.suspend(renewal)
    desk.authority.revoke(serial_of(old), "superseded")
    assert desk.authority.find(renewal).state == ("suspended" if held else "issued")
    desk.authority.revoke(serial_of(old), "keyCompromise")
    desk.authority.revoke(serial_of(other), "keyCompromise")
    found = desk.authority.find(renewal)
    assert (found.state, found.reason) == ("revoked", "keyCompromise")
    assert desk.authority.find(signed).state == "revoked"
    assert [desk.authority.find(one).state for one in (reissue, confirmed)] == ["issued", "confirmed"]
    assert crl_of(desk.authority).get_revoked_certificate_by_serial_number(int(renewal, 16)) is not None
    told = [one.subject for one in entries(desk.authority.database) if one.event == "certificate-revoked"]
    assert told.count(renewal) == 1
    with pytest.raises(AuthorityRefused, match="revoked"):
        desk.authority.confirm(waiting)


def test_an_expired_certificate_is_not_restored(desk: Any, clock: Any) -> None:
    """The hold never prolongs a life."""
    der = desk.have()
    desk.authority.suspend(serial_of(der))
    clock.turn(366)
    with pytest.raises(AuthorityRefused, match="expired"):
        desk.authority.restore(serial_of(der))


def test_a_suspended_certificate_is_not_confirmed(desk: Any) -> None:
    """And restored it can be."""
    der = desk.ask(transaction="t").certificate_der
    desk.authority.suspend(serial_of(der))
    with pytest.raises(AuthorityRefused, match="suspended"):
        desk.authority.confirm("t")
    desk.authority.restore(serial_of(der))
    desk.authority.confirm("t")


def test_a_serial_is_read_as_people_write_it(desk: Any) -> None:
    """Upper case, colons, leading zeros, 0x."""
    serial = serial_of(desk.have())
    padded = serial.rjust(40, "0").upper()
    for written in (padded, ":".join(padded[i : i + 2] for i in range(0, 40, 2)), f"0x{serial}", f" {serial}\n"):
        assert desk.authority.find(written).serial == serial


@pytest.mark.parametrize("serial", ["", "0", "xyz", "ab" * 10_000_000, "' OR 1=1 --", "1234567890abcdef"])
def test_an_unknown_serial_is_not_found(desk: Any, serial: str) -> None:
    """Whatever it looks like."""
    desk.have()
    with pytest.raises(NotFound) as caught:
        desk.authority.revoke(serial, "superseded")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("reason", ["", "because", "certificateHold", "removeFromCRL"])
def test_a_wrong_reason_is_usage(desk: Any, reason: str) -> None:
    """A hold has its own command; nothing is changed."""
    der = desk.have()
    with pytest.raises(Usage, match="keyCompromise"):
        desk.authority.revoke(serial_of(der), reason)
    assert desk.authority.find(serial_of(der)).state == "confirmed"


def test_numbers_only_grow_and_the_newest_list_stays(desk: Any, tmp_path: Path) -> None:
    """Six lists signed at once from two openings of the store: on disk is the one with the highest number."""
    key = desk.authority.roster.private("root")
    with open_authority(tmp_path / "authorities", "test", lambda address: key) as other:
        threads = [threading.Thread(target=one.publish_crl) for one in (desk.authority, other) * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert number_of(crl_of(desk.authority)) == 7
    assert desk.authority.info().crl_number == 7


def test_a_list_killed_before_it_was_written_skips_its_number(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that was taken is gone; the old list stays whole."""
    from dojang.authority import revocation

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(revocation, "write_in_place", killed)
        with pytest.raises(KeyboardInterrupt):
            desk.authority.publish_crl()
    assert number_of(crl_of(desk.authority)) == 1
    desk.authority.publish_crl()
    assert number_of(crl_of(desk.authority)) == 3


def test_the_root_revokes_the_issuing_authority(tiered: LocalAuthority, clock: Any) -> None:
    """In its own list, which is signed by its own key; the issuing authority's list is another file."""
    tiered.revoke(serial_of(tiered.certificate_der()), "cACompromise")
    root = crl_of(tiered, root=True)
    assert len(root) == 1
    assert root.issuer == load(tiered.chain_der()[-1]).subject
    assert len(crl_of(tiered)) == 0
    assert tiered.crl_path() != tiered.crl_path(root=True)
    assert list(tiered.issued()) == []


def test_a_revoked_issuing_authority_issues_nothing(tiered: LocalAuthority, desk: Any) -> None:
    """Neither on hold nor revoked; back from hold it issues again, and what it issued can be revoked all the time."""
    desk = replace(desk, authority=tiered)
    own, issued = serial_of(tiered.certificate_der()), desk.have()
    tiered.suspend(own)
    with pytest.raises(AuthorityRefused, match="its own certificate is suspended"):
        desk.ask()
    tiered.restore(own)
    desk.have()
    tiered.revoke(own, "keyCompromise")
    with pytest.raises(AuthorityRefused, match="its own certificate is revoked"):
        desk.ask()
    tiered.revoke(serial_of(issued), "superseded")
    assert len(crl_of(tiered)) == 1
