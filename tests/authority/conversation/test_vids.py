"""VIDs and CMP: none is made from afar, and one that is there is kept by a renewal."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.authority.conversation.conftest import SUBJECT, Counter, MemoryKey, Subscriber, failure_in, found_counter

from dojang.authority.base import Submission
from dojang.authority.enrolment import Terms
from dojang.authority.enrolment.office import Office
from dojang.cmp.bodies import Kind
from dojang.cmp.faults import FailInfo
from dojang.npki.vid import identify, verify_vid, vid_value_of
from dojang.secret import Secret
from dojang.x509.name import parse_name
from dojang.x509.profiles import profile
from dojang.x509.request import build_request

NUMBER, R = Secret("123456-1234567"), Secret(b"r" * 20)
PROFILE = """
title = { en = "With a VID", ko = "VID 있음" }
validity-days = 90
renewal-window-days = 30
early-renewal = true
keep-key = true
algorithms = ["ec-p256"]
key-usage = ["digital-signature"]
vid = "required"
"""


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Counter]:
    """An authority with a profile that wants a VID."""
    own = tmp_path / "authorities" / "test" / "profiles"
    counter = found_counter(tmp_path / "authorities")
    own.mkdir()
    (own / "with-vid.toml").write_text(PROFILE)
    yield counter
    counter.authority.close()


@pytest.fixture
def owner(bank: Counter) -> Subscriber:
    """Whoever has a certificate with a VID, issued where the authority is."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = build_request(key, parse_name(SUBJECT))
    vid = identify("홍길동", NUMBER, R).to_other_name().value
    issued = bank.authority.submit(Submission("issue", request, "with-vid", "here", vid_der=vid), confirmed=True)
    return Subscriber(bank, certificate_der=issued.certificate_der, signing_key=key)


def refused(one: Subscriber, kind: Kind) -> str:
    """What is said to whoever may not."""
    answer = one.ask(one.request(kind))
    assert failure_in(answer) is FailInfo.NOT_AUTHORIZED
    return answer.body.status.text[0]


def says_where(text: str) -> bool:
    return "'with-vid' wants a VID" in text and "where the authority is" in text and "--number-source" in text


def test_a_certificate_that_wants_a_vid_is_not_issued_from_afar(bank: Counter) -> None:
    """A code does not bring the owner's number: the refusal says where it is issued, and the code is not used up."""
    known = partial(profile, folder=bank.authority.folder / "profiles")
    office = Office(bank.authority.database, "test", bank.policy, known, MemoryKey, bank.clock)
    handed = office.new(Terms("with-vid", SUBJECT))
    bearer = Subscriber(bank, handed.enrolment.reference, handed.code)
    assert says_where(refused(bearer, Kind.IR))
    assert office.enrolment(bearer.reference).state == "ready"
    assert list(bank.authority.issued()) == []


def test_a_renewal_over_cmp_keeps_the_vid(owner: Subscriber, bank: Counter) -> None:
    """kur under the old key: the same number and R prove the owner of the new certificate."""
    bank.clock.turn(days=65)
    new = replace(owner, key=ec.generate_private_key(ec.SECP256R1())).enrol(Kind.KUR)
    assert vid_value_of(new.certificate_der) == vid_value_of(owner.certificate_der)
    assert verify_vid(new.certificate_der, NUMBER, R)
    assert new.state() == "confirmed"


def test_a_reissue_over_cmp_is_refused_where_the_profile_wants_a_vid(owner: Subscriber) -> None:
    """cr under the old key: R is new with the key, so it says where that is done; the old one stays in use."""
    assert says_where(refused(replace(owner, key=ec.generate_private_key(ec.SECP256R1())), Kind.CR))
    assert owner.state() == "confirmed"
