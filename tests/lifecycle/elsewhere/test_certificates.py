"""Certificates from an authority that is reached over HTTP: the same promises as with one that is here."""

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from tests.authority.conversation.conftest import Subscriber
from tests.cmp.own_server import OwnServer
from tests.lifecycle.elsewhere.conftest import Desk, cut, on_disk

from dojang.authority.audit import acting
from dojang.authority.enrolment import EnrolmentPolicy
from dojang.authority.enrolment.policy import ProfileRule
from dojang.cmp.bodies import Certification, Certified, Confirmations, Kind
from dojang.cmp.macs import Mac, new_pbm
from dojang.cmp.messages import read_message, write_message
from dojang.cmp.names import directory_name_der
from dojang.cmp.protection import Signing
from dojang.errors import (
    AnswerMismatch,
    AnswerPending,
    AuthorityRefused,
    AuthorityUnreachable,
    AuthorityUntrusted,
    InputRequired,
    NotPermitted,
)
from dojang.lifecycle.anchors import anchors_of
from dojang.lifecycle.give_up import give_up
from dojang.lifecycle.issue import issue
from dojang.lifecycle.meant import Meant
from dojang.lifecycle.recover import recover
from dojang.lifecycle.reissue import ReissueOrder, reissue
from dojang.lifecycle.renew import RenewOrder, renew
from dojang.lifecycle.renewals import renew_all
from dojang.lifecycle.revoke import RevokeOrder, revoke_meant
from dojang.secret import Secret


def _kinds(server: OwnServer) -> list[Kind | str]:
    return [
        one.body.kind if isinstance(one.body, Certification) else type(one.body).__name__ for one in server.messages
    ]


def test_a_code_brings_a_certificate(desk: Desk) -> None:
    """ir and certConf under the code; the certificate is confirmed there, and complete here."""
    held = desk.issue()
    assert _kinds(desk.server) == [Kind.IR, "Confirmations"]
    assert desk.server.records()[-1].certificate_der == held.stored.certificate_der
    assert desk.server.states()[-1] == "confirmed"
    assert desk.signs(held.stored)
    assert anchors_of(desk.place.ledger, desk.server.url) == (desk.server.counter.authority.chain_der()[-1],)


@pytest.mark.parametrize(
    ("desk", "algorithm"), [("pkcs12", "rsa-2048"), ("pem", "ed25519"), ("token", "ec-p384")], indirect=["desk"]
)
def test_every_place_and_every_key(desk: Desk, algorithm: str) -> None:
    """Whatever signs, and wherever it lies: the request, and the messages of its renewal."""
    desk.introduce()
    held = issue(desk.order(algorithm=algorithm), desk.place)
    assert held.facts.algorithm == algorithm
    done = renew(RenewOrder(held.stored.address), desk.place)
    assert done.credential.facts.algorithm == algorithm
    assert desk.signs(done.credential.stored)


def test_renewing_needs_nothing_but_the_old_key(desk: Desk) -> None:
    """kur and certConf signed by the old key; neither a code nor the authority's certificate has to be given again.

    Then the new key asks for news of the root.
    """
    old = desk.issue()
    desk.server.asked.clear()
    done = renew(RenewOrder(old.stored.address), desk.place)
    assert _kinds(desk.server) == [Kind.KUR, "Confirmations", "General"]
    new = x509.load_der_x509_certificate(done.credential.stored.certificate_der)
    assert new.public_key() != x509.load_der_x509_certificate(old.stored.certificate_der).public_key()
    assert desk.server.states()[-2:] == ["confirmed", "confirmed"]
    assert desk.signs(done.credential.stored)
    assert [one.retired for one in desk.credentials()].count(True) == 1


def test_reissuing_revokes_the_old_one(desk: Desk) -> None:
    """cr signed by the old key; afterwards the old certificate is revoked, there and in the ledger."""
    old = desk.issue()
    desk.server.asked.clear()
    done = reissue(ReissueOrder(Meant(address=old.stored.address)), desk.place)
    assert _kinds(desk.server)[:2] == [Kind.CR, "Confirmations"]
    assert desk.server.states()[-2:] == ["revoked", "confirmed"]
    assert done.revoked
    assert done.previous.state == "revoked"
    assert desk.signs(done.credential.stored)


def test_revoking(desk: Desk) -> None:
    """rr signed by the key itself; asked again, nothing is asked of the authority."""
    held = desk.issue()
    desk.server.asked.clear()
    order = RevokeOrder(Meant(address=held.stored.address), "keyCompromise")
    done = revoke_meant(order, desk.place)
    assert (done.record.state, done.record.reason) == ("revoked", "keyCompromise")
    assert done.credential.state == "revoked"
    assert (desk.server.states()[-1], desk.server.records()[-1].reason) == ("revoked", "keyCompromise")
    assert revoke_meant(order, desk.place).record.state == "revoked"
    assert _kinds(desk.server) == ["RevocationRequest"]


def _nothing_is_left(desk: Desk, name: str = "Hong") -> None:
    assert desk.credentials() == []
    assert desk.place.ledger.incomplete() == []
    with desk.place.open_location(desk.address) as location:
        location.check_free(label=name, subject_der=desk.order(name).subject.public_bytes())


@on_disk
def test_without_a_code(desk: Desk) -> None:
    """Nothing is sent, and nothing is left."""
    with pytest.raises(InputRequired):
        issue(desk.order(), desk.place)
    desk.wallet.number = "1234567890"
    with pytest.raises(InputRequired):
        issue(desk.order(), desk.place)
    assert desk.server.asked == []
    _nothing_is_left(desk)


@on_disk
def test_a_wrong_code(desk: Desk) -> None:
    """Whoever cannot prove to know the code gets an answer that cannot be proved either."""
    desk.introduce()
    desk.wallet.secret = b"WRONGWRONGWRONG0"
    before = len(desk.server.records())
    with pytest.raises(AuthorityUntrusted, match="badMessageCheck") as caught:
        issue(desk.order(), desk.place)
    assert caught.value.exit_status == 13
    assert len(desk.server.records()) == before
    _nothing_is_left(desk)


@on_disk
def test_a_refusal(desk: Desk) -> None:
    """What the authority says no to is told with its own word and ours, and leaves nothing."""
    desk.introduce()
    with pytest.raises(AuthorityRefused, match=r"does not issue a certificate like this.*badCertTemplate") as caught:
        issue(desk.order(profile="personal"), desk.place)
    assert caught.value.exit_status == 12
    _nothing_is_left(desk)


@on_disk
def test_another_name_than_asked_for(desk: Desk) -> None:
    """Under a code the authority knows better who it is; what it changed is told, and the certificate taken."""
    desk.introduce("Kim")
    held = issue(desk.order("Hong"), desk.place)
    assert held.facts.subject == "CN=Kim,C=KR"
    assert desk.changed == [held.stored.certificate_der]


@on_disk
def test_nobody_there(desk: Desk) -> None:
    """A URL where nobody answers is told with the status for that, and nothing waits for it."""
    desk.introduce()
    with pytest.raises(AuthorityUnreachable) as caught:
        issue(desk.order(authority="http://127.0.0.1:9/"), desk.place)
    assert caught.value.exit_status == 11
    _nothing_is_left(desk)


def test_answers_that_are_lost(desk: Desk) -> None:
    """The same bytes are sent again, and there is one certificate."""
    lost: list[bytes] = []

    def lose_the_first(body, honest):
        answer = honest(body)
        if body in lost:
            return answer
        lost.append(body)
        return cut

    desk.server.between = lose_the_first
    before = len(desk.server.records())
    held = desk.issue()
    assert len(lost) == 2
    assert desk.server.asked == [lost[0], lost[0], lost[1], lost[1]]
    assert len(desk.server.records()) == before + 1
    assert desk.signs(held.stored)


@pytest.mark.parametrize("lost_from", [Certification, Confirmations], ids=["request", "confirmation"])
def test_an_answer_that_never_comes(desk: Desk, lost_from: type) -> None:
    """The request waits in the journal, and the next run sends it as it was; the code is asked for again, and kept by
    nobody.
    """

    def lose(body, honest):
        answer = honest(body)
        return cut if isinstance(read_message(body).body, lost_from) else answer

    desk.introduce()
    desk.server.between = lose
    before = len(desk.server.records())
    with pytest.raises(AnswerPending) as caught:
        issue(desk.order(), desk.place)
    assert caught.value.exit_status == 11
    sent = set(desk.server.asked)
    assert len(desk.place.ledger.incomplete()) == 1
    kept = b"".join(
        path.read_bytes() for path in desk.place.ledger.path.parent.glob("ledger.sqlite*") if path.is_file()
    )
    assert desk.wallet.secret not in kept
    with pytest.raises(AnswerPending):
        issue(desk.order(), desk.place)
    assert set(desk.server.asked) == sent
    desk.server.between, asked = None, desk.wallet.asked
    (recovered,) = recover(desk.place)
    assert (recovered.outcome, recovered.error) == ("finished", None)
    assert desk.wallet.asked > asked
    assert set(desk.server.asked) >= sent
    assert len(desk.server.records()) == before + 1
    assert desk.server.states()[-1] == "confirmed"
    (stored,) = desk.credentials()
    assert desk.signs(stored)


@on_disk
def test_without_its_code_a_request_goes_on_waiting(desk: Desk) -> None:
    """A run that nobody gives the code leaves it as it is; given up, nothing of it is left here."""
    desk.introduce()
    desk.server.between = lambda body, honest: cut
    with pytest.raises(AnswerPending):
        issue(desk.order(), desk.place)
    desk.wallet.secret = None
    desk.server.between = None
    (recovered,) = recover(desk.place)
    assert (recovered.outcome, recovered.error.code) == ("left", "input-required")
    give_up(desk.place, recovered.record.operation_id)
    assert desk.place.ledger.incomplete() == []


@on_disk
def test_waiting_for_approval(desk: Desk) -> None:
    """An authority that wants time is asked again when it said; who has less patience goes on another day."""
    desk.server.counter.policy = EnrolmentPolicy(usual=ProfileRule("people", True))
    desk.introduce()
    desk.patience = 1
    with pytest.raises(AnswerPending, match="asked again in 5 seconds"):
        issue(desk.order(), desk.place)
    asked = len(desk.server.asked)
    with pytest.raises(AnswerPending):
        issue(desk.order(), desk.place)
    assert len(desk.server.asked) == asked, "it was asked before its time"
    with acting("local:another"):
        desk.server.counter.office.approve(desk.wallet.number)
    desk.patience = 100
    held = issue(desk.order(), desk.place)
    assert desk.waits
    assert desk.signs(held.stored)
    assert desk.server.states()[-1] == "confirmed"


def test_reissuing_with_a_code(desk: Desk) -> None:
    """Whose key is lost asks with a code; the old certificate is revoked where its key can still say so."""
    old = desk.issue()
    desk.introduce()
    desk.server.asked.clear()
    order = ReissueOrder(Meant(address=old.stored.address), reason="keyCompromise")
    done = reissue(order, desk.place)
    assert _kinds(desk.server)[:3] == ["RevocationRequest", Kind.IR, "Confirmations"]
    assert desk.server.states()[-2:] == ["revoked", "confirmed"]
    assert (done.revoked, done.previous.state) == (True, "revoked")
    assert desk.signs(done.credential.stored)


@on_disk
def test_a_compromised_key_brings_no_successor(desk: Desk) -> None:
    """Who has it may have it revoked, and no more; without a code nothing is begun."""
    old = desk.issue()
    desk.server.asked.clear()
    with pytest.raises(InputRequired):
        reissue(ReissueOrder(Meant(address=old.stored.address), reason="keyCompromise"), desk.place)
    assert desk.server.asked == []
    assert desk.server.states()[-1] == "confirmed"


def test_a_certificate_that_is_gone_is_replaced_by_a_code(desk: Desk, tmp_path: Path) -> None:
    """Nothing of the old key is left: the new one is issued, and nobody claims that the old one is revoked."""
    old = desk.issue()
    with desk.place.open_location(desk.address) as location:
        location.delete(old.stored.key_id)
    desk.introduce()
    meant = Meant(serial=old.facts.serial)
    done = reissue(ReissueOrder(meant, to=desk.address, label="Hong again"), desk.place)
    assert not done.revoked
    assert desk.server.states()[-2:] == ["confirmed", "confirmed"]
    assert desk.signs(done.credential.stored)


@on_disk
@pytest.mark.parametrize("lie", ["unprotected", "old", "other", "garbage"])
def test_answers_that_are_not_the_authoritys(desk: Desk, lie: str) -> None:
    """None of them is believed, nothing of it is kept, and nothing that was issued goes on being valid for ever."""
    desk.issue("Kim")
    earlier = desk.server.honest(desk.server.asked[0])

    def between(body: bytes, honest) -> bytes:
        answer = read_message(honest(body))
        if lie == "unprotected":
            return write_message(replace(answer.header, protection=None), answer.body)
        if lie == "other":
            desk.introduce("Park")
            return write_message(replace(answer.header, protection=None), answer.body, Mac(Secret("x"), new_pbm()))
        return earlier if lie == "old" else b"0\x03\x02\x01\x05"

    desk.introduce()
    desk.server.between = between
    with pytest.raises(AuthorityUntrusted):
        issue(desk.order(), desk.place)
    assert [one.label for one in desk.credentials()] == ["Kim"]
    assert desk.place.ledger.incomplete() == []


@on_disk
def test_a_certificate_for_another_key(desk: Desk) -> None:
    """What does not fit the key is rejected there and then, and nothing is installed."""
    other = desk.issue("Kim").stored.certificate_der

    def between(body: bytes, honest) -> bytes:
        answer = read_message(honest(body))
        if not isinstance(answer.body, Certified):
            return write_message(answer.header, answer.body, Mac(Secret(desk.wallet.secret), new_pbm()))
        changed = replace(answer.body, answers=(replace(answer.body.answers[0], certificate_der=other),))
        mac = Mac(Secret(desk.wallet.secret), new_pbm())
        return write_message(replace(answer.header, protection=None), changed, mac, answer.certificates)

    desk.introduce()
    desk.server.between = between
    desk.server.asked.clear()
    with pytest.raises(AnswerMismatch, match="another key"):
        issue(desk.order(), desk.place)
    rejection = desk.server.messages[-1].body
    assert isinstance(rejection, Confirmations)
    assert not rejection.items[0].is_accepted
    assert [one.label for one in desk.credentials()] == ["Kim"]
    assert desk.place.ledger.incomplete() == []


@on_disk
def test_a_user_cannot_speak_for_the_authority(desk: Desk) -> None:
    """An answer that somebody else signed with a certificate of the same authority is not believed."""
    old = desk.issue()
    intruder_key = ec.generate_private_key(ec.SECP256R1())
    intruder = Subscriber(desk.server.counter, *_introduced(desk, "Intruder"), key=intruder_key).enrol()

    def between(body: bytes, honest) -> bytes:
        answer = read_message(honest(body))
        subject = x509.load_der_x509_certificate(intruder.certificate_der).subject
        header = replace(answer.header, sender_der=directory_name_der(subject), sender_key_id=None, protection=None)
        certificates = (intruder.certificate_der, *answer.certificates)
        return write_message(header, answer.body, Signing(intruder_key), certificates)

    desk.server.between = between
    with pytest.raises(AuthorityUntrusted, match="is not an authority's"):
        renew(RenewOrder(old.stored.address), desk.place)
    desk.server.between = None
    (live,) = desk.credentials()
    assert live.live
    assert desk.signs(live)


def _introduced(desk: Desk, name: str) -> tuple[str, Secret]:
    number, code = desk.server.hand_out(f"CN={name},C=KR")
    return number, Secret(code)


@on_disk
def test_revoking_with_the_code_that_brought_it(desk: Desk) -> None:
    """Whose key is gone names the certificate by its serial; the code it was issued for is word enough."""
    desk.introduce()
    held = issue(desk.order(), desk.place)
    with desk.place.open_location(desk.address) as location:
        location.delete(held.stored.key_id)
    done = revoke_meant(RevokeOrder(Meant(serial=held.facts.serial), "keyCompromise"), desk.place)
    assert done.record.state == "revoked"
    assert desk.server.states()[-1] == "revoked"


@on_disk
def test_revoking_without_key_and_code(desk: Desk) -> None:
    """Nobody is asked for anything, and it is said what would help."""
    held = desk.issue()
    with desk.place.open_location(desk.address) as location:
        location.delete(held.stored.key_id)
    desk.server.asked.clear()
    with pytest.raises(NotPermitted, match="key of the certificate is not here"):
        revoke_meant(RevokeOrder(Meant(certificate_der=held.stored.certificate_der)), desk.place)
    assert desk.server.asked == []
    assert desk.place.ledger.incomplete() == []


@on_disk
def test_many_at_once(desk: Desk) -> None:
    """Several threads ask the same authority, each over a connection of its own; every one gets its own answer."""
    names = ("Hong", "Kim", "Park")
    held = [desk.issue(name) for name in names]
    outcomes = list(renew_all(desk.place, held, jobs=3))
    assert [one.error for one in outcomes] == [None] * 3
    renewed = {one.renewal.credential.facts.subject for one in outcomes}
    assert renewed == {f"CN={name},C=KR" for name in names}
    assert all(desk.signs(one.renewal.credential.stored) for one in outcomes)
