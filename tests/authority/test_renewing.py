"""Renewal and reissue: what may replace what, when, and for how long."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from dojang.authority import LocalAuthority, Submission
from dojang.errors import AuthorityRefused
from dojang.x509.name import parse_name
from dojang.x509.request import build_request


def load(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def serial_of(der: bytes) -> str:
    return f"{load(der).serial_number:x}"


def refused(desk: Any, said: str, *arguments: Any, helps: str = "", **options: Any) -> None:
    with pytest.raises(AuthorityRefused) as caught:
        desk.ask(*arguments, **options)
    assert said in str(caught.value)
    assert helps in caught.value.advice()


def test_a_renewal_in_the_window_adds_a_term_to_the_old_one(desk: Any, clock: Any) -> None:
    """Renewing thirty days early loses no day; the old certificate stays valid until its own end."""
    old = desk.have()
    clock.turn(335)
    new = desk.have("renew", old=old)
    assert load(new).not_valid_after_utc == load(old).not_valid_after_utc + timedelta(days=365)
    assert load(new).subject == load(old).subject
    assert load(new).not_valid_before_utc <= clock()
    assert desk.authority.find(serial_of(old)).state == "confirmed"
    assert desk.authority.find(serial_of(new)).replaces == serial_of(old)


def test_an_early_renewal_does_not_pile_up_terms(desk: Any, clock: Any, tmp_path: Path) -> None:
    """Before the window the term counts from now; a profile may refuse it altogether."""
    old = desk.have()
    clock.turn(100)
    new = desk.have("renew", old=old)
    assert load(new).not_valid_after_utc == clock() + timedelta(days=365)
    folder = tmp_path / "authorities" / "test" / "profiles"
    folder.mkdir()
    from dojang.x509 import profiles

    shipped = (Path(profiles.__file__).parent / "personal.toml").read_text()
    (folder / "personal.toml").write_text("early-renewal = false\n" + shipped)
    clock.turn(334)
    refused(desk, "30 days before expiry", "renew", old=new)
    clock.turn(1)
    desk.have("renew", old=new)


def test_the_last_second_is_in_time_and_the_next_is_not(desk: Any, clock: Any) -> None:
    """After expiry a new certificate must be issued."""
    old = desk.have()
    clock.at = load(old).not_valid_after_utc
    desk.ask("renew", old=old)
    clock.turn(1 / 86400)
    refused(desk, "expired", "renew", old=old)
    refused(desk, "expired", "reissue", old=old)


def test_only_what_this_authority_issued_is_renewed(desk: Any, tiered: LocalAuthority, new_key: Any) -> None:
    """Not another's certificate, not its own, not bytes that are none, and never without naming one."""
    other = tiered.submit(Submission("issue", build_request(new_key(), parse_name("CN=a")), "personal", "t"))
    for stranger in (other.certificate_der, desk.authority.certificate_der(), b"", b"\x30\x03"):
        refused(desk, "not issued here", "renew", old=stranger)
    refused(desk, "names the certificate it replaces", "renew")
    refused(desk, "names the certificate it replaces", "issue", old=desk.have())


def test_a_renewal_changes_neither_subject_nor_names_nor_profile(desk: Any, clock: Any) -> None:
    """The names are carried over when the request is silent about them."""
    old = desk.have(names=("email:a@b.kr",))
    clock.turn(340)
    refused(desk, "keeps the subject", "renew", old=old, subject="CN=other")
    refused(desk, "keeps the alternative names", "renew", old=old, names=("email:x@b.kr",))
    refused(desk, "issued by the profile 'personal'", "renew", old=old, profile="business")
    new = desk.have("renew", old=old)
    kind = x509.SubjectAlternativeName
    assert load(new).extensions.get_extension_for_class(kind) == load(old).extensions.get_extension_for_class(kind)


def test_the_key_is_kept_only_where_the_profile_allows_it(desk: Any, clock: Any, new_key: Any) -> None:
    """Personal certificates get a new key; TLS servers may keep theirs."""
    key = new_key()
    personal, server = desk.have(key=key), desk.have(key=key, profile="tls-server", names=("dns:a.kr",))
    clock.turn(80)
    assert load(desk.have("renew", old=server, key=key, profile="tls-server")).public_key() == key.public_key()
    clock.turn(260)
    refused(desk, "new key", "renew", old=personal, key=key)


def test_what_is_revoked_suspended_or_replaced_is_not_renewed(desk: Any, clock: Any) -> None:
    """And what helps instead is said. A successor that was never confirmed does not stand in the way."""
    revoked, held, replaced, lost = (desk.have() for _ in range(4))
    clock.turn(340)
    desk.authority.revoke(serial_of(revoked), "superseded")
    desk.authority.suspend(serial_of(held))
    desk.have("renew", old=replaced)
    desk.ask("renew", old=lost)
    refused(desk, "revoked", "renew", old=revoked, helps="dojang cert reissue")
    refused(desk, "suspended", "renew", old=held, helps="dojang ca restore")
    refused(desk, "replaced already", "renew", old=replaced, helps="dojang where")
    desk.authority.restore(serial_of(held))
    desk.have("renew", old=held)
    desk.have("renew", old=lost)


def test_of_two_renewals_one_is_confirmed(desk: Any, clock: Any) -> None:
    """Both were asked for; once one is confirmed, neither the other nor a third is, and the first stays confirmed."""
    old = desk.have()
    clock.turn(340)
    desk.ask("renew", old=old, transaction="a")
    desk.ask("renew", old=old, transaction="b")
    desk.authority.confirm("a")
    with pytest.raises(AuthorityRefused, match="replaced already"):
        desk.authority.confirm("b")
    desk.authority.confirm("a")
    desk.authority.cancel("b")
    refused(desk, "replaced already", "renew", old=old)


def test_a_renewal_of_what_was_revoked_meanwhile_is_not_confirmed(desk: Any, clock: Any) -> None:
    """The answer may have waited for long; what is confirmed already stays so."""
    old, done = desk.have(), desk.have()
    clock.turn(340)
    desk.ask("renew", old=old, transaction="waits")
    desk.ask("renew", old=done, transaction="done")
    desk.authority.confirm("done")
    for one in (old, done):
        desk.authority.revoke(serial_of(one), "keyCompromise")
    with pytest.raises(AuthorityRefused, match="is revoked"):
        desk.authority.confirm("waits")
    desk.authority.confirm("done")


def test_a_reissue_killed_before_its_list_is_published_by_the_next_confirmation(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one is on the list, with its reason, once the confirmation has returned."""
    old = desk.have()
    desk.ask("reissue", old=old, transaction="t")

    def killed(_signer: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(desk.authority, "_publish", killed)
        with pytest.raises(KeyboardInterrupt):
            desk.authority.confirm("t")
    desk.authority.confirm("t")
    crl = x509.load_der_x509_crl(desk.authority.crl_path().read_bytes())
    entry = crl.get_revoked_certificate_by_serial_number(load(old).serial_number)
    assert entry is not None
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.superseded


def test_a_renewal_that_gains_nothing_is_refused(desk: Any, clock: Any) -> None:
    """When the authority itself ends with the old certificate, renewing is pointless, and the error says why."""
    clock.turn(3650 - 200)
    old = desk.have()
    clock.turn(3650)
    old = desk.have()
    clock.turn(190)
    refused(desk, "gains nothing", "renew", old=old)


def test_a_reissue_keeps_the_expiry_and_revokes_the_old_one(desk: Any, clock: Any, new_key: Any) -> None:
    """The old one is revoked and listed when the new one is confirmed, not before; with a lost key at any time."""
    key = new_key()
    old = desk.have(key=key)
    clock.turn(10)
    refused(desk, "new key", "reissue", old=old, key=key)
    issued = desk.ask("reissue", old=old, transaction="t")
    assert load(issued.certificate_der).not_valid_after_utc == load(old).not_valid_after_utc
    assert desk.authority.find(serial_of(old)).state == "confirmed"
    desk.authority.confirm("t")
    desk.authority.confirm("t")
    record = desk.authority.find(serial_of(old))
    assert (record.state, record.reason) == ("revoked", "superseded")
    crl = x509.load_der_x509_crl(desk.authority.crl_path().read_bytes())
    assert crl.get_revoked_certificate_by_serial_number(load(old).serial_number) is not None
    refused(desk, "replaced already", "reissue", old=old)


def test_a_revoked_certificate_may_be_reissued(desk: Any, clock: Any) -> None:
    """Its first reason stays."""
    old = desk.have()
    desk.authority.revoke(serial_of(old), "keyCompromise")
    desk.have("reissue", old=old)
    assert desk.authority.find(serial_of(old)).reason == "keyCompromise"
