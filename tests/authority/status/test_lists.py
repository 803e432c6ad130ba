"""Revocation lists: complete and delta, their numbers, when they are published, and what takes an entry back."""

import subprocess
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from dojang.authority.database import Database
from dojang.authority.status.lists import Lists
from dojang.authority.status.settings import StatusSettings
from dojang.authority.tables import crl, signer
from dojang.errors import RootOffline, TokenRemoved

DELTAS = {"delta_hours": 24, "on_revocation": "delta", "base": "http://pki.example.kr/office/"}


def number_of(found: x509.CertificateRevocationList) -> int:
    return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def base_of(found: x509.CertificateRevocationList) -> int:
    indicator = found.extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    assert indicator.critical
    return indicator.value.crl_number


def reasons_in(found: x509.CertificateRevocationList) -> dict[int, str]:
    return {
        one.serial_number: one.extensions.get_extension_for_class(x509.CRLReason).value.reason.value for one in found
    }


def verified(
    bureau: Any, subscriber: x509.Certificate, folder: Path, *options: str, issuer: str = "issuing", lists: Any = None
) -> str:
    """What ``openssl verify`` says of a subscriber with the lists on disk, or with these and the root's."""

    def pem(name: str, *found: Any) -> Path:
        path = folder / name
        path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in found))
        return path

    deltas = [bureau.listed(delta=True)] if (bureau.folder / "delta-issuing.crl").exists() else []
    every = pem("lists.pem", bureau.listed("root"), *(lists or [bureau.listed(), *deltas]))
    chain = ("-CAfile", pem("root.pem", bureau.own["root"]), "-untrusted", pem("ca.pem", bureau.own[issuer]))
    at = str(int(bureau.clock().timestamp()))
    command = (
        "openssl",
        "verify",
        "-x509_strict",
        "-crl_check_all",
        "-attime",
        at,
        *options,
        *chain,
        "-CRLfile",
        every,
    )
    done = subprocess.run([*map(str, command), pem("one.pem", subscriber)], capture_output=True, text=True)
    return "good" if done.returncode == 0 else done.stderr


def test_a_complete_list_holds_everything(any_bureau: Any, clock: Any) -> None:
    """What is revoked and what is on hold, of this signer; numbered, for as long as the signer's lists hold."""
    bureau, lists = any_bureau, any_bureau.lists()
    revoked, held, _good = (bureau.issue() for _ in range(3))
    bureau.change(revoked, "revoked", "keyCompromise")
    bureau.change(held, "suspended", "certificateHold")
    lists.publish("issuing", clock())
    found = bureau.listed()
    assert reasons_in(found) == {revoked.serial_number: "keyCompromise", held.serial_number: "certificateHold"}
    assert number_of(found) == 1
    assert found.next_update_utc == clock() + timedelta(days=30)
    assert found.is_signature_valid(bureau.own["issuing"].public_key())
    assert {type(one.value) for one in found.extensions} == {x509.AuthorityKeyIdentifier, x509.CRLNumber}
    lists.publish("root", clock())
    assert len(bureau.listed("root")) == 0


def test_a_delta_holds_what_changed(any_bureau: Any, clock: Any) -> None:
    """Since its base: revoked, put on hold, for another reason; and what was taken off hold, which it takes back."""
    bureau, lists = any_bureau, any_bureau.lists(**DELTAS)
    before, held, worse, late, brief = (bureau.issue() for _ in range(5))
    bureau.change(before, "revoked", "superseded")
    bureau.change(held, "suspended", "certificateHold")
    bureau.change(worse, "suspended", "certificateHold")
    lists.publish("issuing", clock())
    assert len(bureau.listed()) == 3
    bureau.change(held, "confirmed")
    bureau.change(worse, "revoked", "keyCompromise")
    bureau.change(late, "revoked", "cessationOfOperation")
    bureau.change(brief, "suspended", "certificateHold")
    lists.publish_delta("issuing", clock())
    bureau.change(brief, "confirmed")
    lists.publish_delta("issuing", clock())
    found = bureau.listed(delta=True)
    assert reasons_in(found) == {
        held.serial_number: "removeFromCRL",
        worse.serial_number: "keyCompromise",
        late.serial_number: "cessationOfOperation",
        brief.serial_number: "removeFromCRL",
    }
    assert (base_of(found), number_of(found)) == (1, 3)
    assert found.next_update_utc == clock() + timedelta(hours=24)
    assert number_of(bureau.listed()) == 1
    lists.publish("issuing", clock())
    assert set(reasons_in(bureau.listed())) == {one.serial_number for one in (before, worse, late)}


def test_a_change_while_a_list_is_signed_is_in_the_next_delta(bureau: Any, clock: Any) -> None:
    """Whether the list itself caught it or not."""
    caught, missed = bureau.issue(), bureau.issue()
    lists = bureau.lists(**DELTAS)

    class Slow(Lists):
        """A change is recorded when the entries have been read."""

        def _signed(self, *arguments: Any) -> bytes:
            bureau.change(missed, "revoked", "superseded")
            return super()._signed(*arguments)

    bureau.change(caught, "revoked", "superseded")
    Slow(bureau.database, bureau.key, bureau.file_of, StatusSettings(**DELTAS)).publish("issuing", clock())
    assert set(reasons_in(bureau.listed())) == {caught.serial_number}
    lists.publish_delta("issuing", clock())
    assert missed.serial_number in reasons_in(bureau.listed(delta=True))


def test_a_clock_set_back_loses_no_change(bureau: Any, clock: Any) -> None:
    """Deltas go by numbers."""
    lists, subscriber = bureau.lists(**DELTAS), bureau.issue()
    lists.publish("issuing", clock())
    clock.turn(-1)
    bureau.change(subscriber, "revoked", "superseded")
    clock.turn(1)
    lists.publish_delta("issuing", clock())
    assert set(reasons_in(bureau.listed(delta=True))) == {subscriber.serial_number}


def test_a_complete_list_leads_to_its_deltas(bureau: Any, clock: Any) -> None:
    """It says where they are (RFC 5280 section 5.2.6); a delta does not. Published together they have one number."""
    lists, subscriber = bureau.lists(**DELTAS), bureau.issue()
    lists.publish("issuing", clock())
    bureau.change(subscriber, "revoked", "superseded")
    lists.publish("issuing", clock())
    complete, delta = bureau.listed(), bureau.listed(delta=True)
    (point,) = complete.extensions.get_extension_for_class(x509.FreshestCRL).value
    assert [name.value for name in point.full_name] == ["http://pki.example.kr/office/crl/issuing-delta.crl"]
    assert (number_of(complete), number_of(delta), base_of(delta)) == (2, 2, 1)
    assert set(reasons_in(delta)) == set(reasons_in(complete)) == {subscriber.serial_number}
    with pytest.raises(x509.ExtensionNotFound):
        delta.extensions.get_extension_for_class(x509.FreshestCRL)


def test_deltas_that_are_wanted_later_are_led_to_at_once(bureau: Any, clock: Any) -> None:
    """The list that holds says nothing of them, and would for weeks: the next round makes another, and a delta."""
    bureau.lists().publish_due(clock())
    with pytest.raises(x509.ExtensionNotFound):
        bureau.listed().extensions.get_extension_for_class(x509.FreshestCRL)
    lists = bureau.lists(**DELTAS)
    assert lists.publish_due(clock()) == ["issuing", "root"]
    assert bureau.listed().extensions.get_extension_for_class(x509.FreshestCRL)
    assert (number_of(bureau.listed()), base_of(bureau.listed(delta=True))) == (2, 1)
    assert lists.publish_due(clock()) == []


def test_a_revocation_is_published_as_the_settings_say(bureau: Any, clock: Any) -> None:
    """The complete list, unless deltas are made and wanted."""
    for settings, numbers in (({}, (1, None)), (DELTAS, (1, 2)), ({**DELTAS, "on_revocation": "complete"}, (3, 3))):
        bureau.lists(**settings).tell("issuing", clock())
        path = bureau.file_of("issuing")
        delta = number_of(bureau.listed(delta=True)) if path.with_name(f"delta-{path.name}").exists() else None
        assert (number_of(bureau.listed()), delta) == numbers


def test_a_delta_without_a_base_that_holds_is_a_complete_list(bureau: Any, clock: Any) -> None:
    """The first one ever, and after a long sleep."""
    lists = bureau.lists(**DELTAS)
    lists.publish_delta("issuing", clock())
    clock.turn(31)
    lists.publish_delta("issuing", clock())
    assert number_of(bureau.listed()) == 2
    assert not (bureau.folder / "delta-issuing.crl").exists()


def test_lists_are_published_when_they_are_due(any_bureau: Any, clock: Any) -> None:
    """At first all; then what has no more than a quarter of its time left."""
    bureau, lists = any_bureau, any_bureau.lists(**{**DELTAS, "delta_hours": 8})
    assert lists.publish_due(clock()) == ["issuing", "root"]
    assert lists.publish_due(clock()) == ["issuing", "root"]  # the deltas
    assert lists.publish_due(clock()) == []
    clock.turn(5.9 / 24)
    assert lists.publish_due(clock()) == []
    clock.turn(0.2 / 24)
    assert lists.publish_due(clock()) == ["issuing", "root"]
    assert number_of(bureau.listed()) == 1
    clock.turn(22.5)
    assert lists.publish_due(clock()) == ["issuing", "root"]
    assert number_of(bureau.listed()) == number_of(bureau.listed(delta=True)) == 4


@pytest.mark.parametrize("settings", [{}, DELTAS, {**DELTAS, "on_revocation": "delta"}])
def test_a_change_that_nobody_told_of_is_told_of_by_the_next_round(
    bureau: Any, clock: Any, settings: dict[str, Any]
) -> None:
    """As when a run was killed between the record and the list; once, and by the list that the settings say."""
    lists, subscriber = bureau.lists(**settings), bureau.issue()
    for name in ("issuing", "root"):
        lists.publish(name, clock())
    while lists.publish_due(clock()):
        pass
    bureau.change(subscriber, "revoked", "keyCompromise")
    assert lists.publish_due(clock()) == ["issuing"]
    found = bureau.listed(delta=settings.get("on_revocation") == "delta")
    assert reasons_in(found) == {subscriber.serial_number: "keyCompromise"}
    assert lists.publish_due(clock()) == []


def test_a_root_whose_key_is_away_holds_nobody_up(bureau: Any, clock: Any) -> None:
    """It is passed over; a token that is gone is told of when all else is done."""
    bureau.keys["root"] = RootOffline(authority="office")
    assert bureau.lists().publish_due(clock()) == ["issuing"]
    bureau.keys["root"] = bureau.keys["issuing"]
    bureau.keys["issuing"] = TokenRemoved(token="HSM")
    clock.turn(29)
    with pytest.raises(TokenRemoved):
        bureau.lists().publish_due(clock())
    assert number_of(bureau.listed("root")) == 1


def test_every_generation_has_lists_of_its_own(bureau: Any, clock: Any) -> None:
    """With numbers of their own: the next already, a retiring one still, a retired one not any more."""
    old, lists = bureau.issue(), bureau.lists()
    bureau.found("issuing-2", "issuing", "root", subject="CN=issuing,O=Example,C=KR")
    assert lists.publish_due(clock()) == ["issuing", "issuing-2", "root"]
    bureau.rotate("issuing", "issuing-2")
    new = bureau.issue("issuing-2")
    bureau.change(old, "revoked", "superseded")
    bureau.change(new, "revoked", "superseded")
    for name, subscriber in (("issuing", old), ("issuing-2", new)):
        lists.publish(name, clock())
        found = bureau.listed(name)
        assert found.is_signature_valid(bureau.own[name].public_key())
        assert set(reasons_in(found)) == {subscriber.serial_number}
    assert (number_of(bureau.listed()), number_of(bureau.listed("issuing-2"))) == (2, 2)
    clock.turn(29)
    bureau.retire("issuing")
    assert lists.publish_due(clock()) == ["issuing-2", "root"]
    clock.turn(3630)
    assert lists.publish_due(clock()) == ["root"]


def test_openssl_tells_the_lists_of_two_generations_apart(bureau: Any, clock: Any, tmp_path: Path) -> None:
    """Of one name: each certificate is looked for in the list of the key that signed it, whatever else there is."""
    bureau.found("issuing-2", "issuing", "root", subject="CN=issuing,O=Example,C=KR")
    good, bad = ({name: bureau.issue(name) for name in ("issuing", "issuing-2")} for _ in range(2))
    for name, subscriber in bad.items():
        bureau.change(subscriber, "revoked", "superseded")
        bureau.lists().publish(name, clock())
    bureau.lists().publish("root", clock())
    for name in ("issuing", "issuing-2"):
        lists = [bureau.listed("issuing"), bureau.listed("issuing-2")]
        assert verified(bureau, good[name], tmp_path, issuer=name, lists=lists) == "good"
        assert "certificate revoked" in verified(bureau, bad[name], tmp_path, issuer=name, lists=lists)
        (other,) = {"issuing", "issuing-2"} - {name}
        assert "unable to get certificate CRL" in verified(
            bureau, good[name], tmp_path, issuer=name, lists=[bureau.listed(other)]
        )


def test_numbers_only_grow_and_the_latest_stays(any_bureau: Any, clock: Any) -> None:
    """Signed at once from two openings, both kinds: no number twice, the highest on disk and on record."""
    bureau = any_bureau
    bureau.lists(**DELTAS).publish("issuing", clock())
    other = Database.open(bureau.database.url)
    openings = [Lists(one, bureau.key, bureau.file_of, StatusSettings(**DELTAS)) for one in (bureau.database, other)]
    made: list[bytes] = []
    work = [lambda one=one: made.append(one.publish("issuing", clock())) for one in openings * 2]
    work += [lambda one=one: made.append(one.publish_delta("issuing", clock())) for one in openings * 2]
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    numbers = [number_of(x509.load_der_x509_crl(one)) for one in made]
    assert sorted(numbers) == list(range(2, 10))
    with bureau.database.reading() as connection:
        rows = connection.execute(select(crl.c.number, crl.c.base_number).order_by(crl.c.number)).all()
        assert connection.execute(select(signer.c.crl_number).where(signer.c.id == "issuing")).scalar() == 9
    complete = [row.number for row in rows if row.base_number is None]
    deltas = [row for row in rows if row.base_number is not None]
    assert number_of(bureau.listed()) == max(complete)
    assert number_of(bureau.listed(delta=True)) == max(row.number for row in deltas)
    assert all(row.base_number < row.number for row in deltas)
    assert len(complete) <= 2
    assert len(deltas) <= 2


def test_a_run_killed_before_its_list_is_written_skips_a_number(bureau: Any, clock: Any) -> None:
    """The old list stays whole, on disk and on record."""

    class Killed(Lists):
        def _signed(self, *_: Any) -> bytes:
            raise KeyboardInterrupt

    lists = bureau.lists()
    lists.publish("issuing", clock())
    with pytest.raises(KeyboardInterrupt):
        Killed(bureau.database, bureau.key, bureau.file_of).publish("issuing", clock())
    assert number_of(bureau.listed()) == 1
    lists.publish("issuing", clock())
    assert number_of(bureau.listed()) == 3


def test_openssl_follows_complete_lists_and_deltas(bureau: Any, clock: Any, tmp_path: Path) -> None:
    """A stock program sees a hold, its end and a revocation that stand in a delta only."""
    lists, subscriber = bureau.lists(**DELTAS), bureau.issue()
    bureau.change(subscriber, "suspended", "certificateHold")
    lists.publish("issuing", clock())
    lists.publish("root", clock())
    deltas = ("-extended_crl", "-use_deltas")
    assert "certificate revoked" in verified(bureau, subscriber, tmp_path)
    bureau.change(subscriber, "confirmed")
    lists.publish_delta("issuing", clock())
    assert "certificate revoked" in verified(bureau, subscriber, tmp_path)
    assert verified(bureau, subscriber, tmp_path, *deltas) == "good"
    bureau.change(subscriber, "revoked", "keyCompromise")
    lists.publish_delta("issuing", clock())
    assert "certificate revoked" in verified(bureau, subscriber, tmp_path, *deltas)
    lists.publish("issuing", clock())
    assert "certificate revoked" in verified(bureau, subscriber, tmp_path, *deltas)
    assert verified(bureau, bureau.issue(), tmp_path, *deltas) == "good"
