"""The subscriber's side: refused for want of factors, passed at the authority elsewhere, and granted."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.authority.factors.conftest import applicant_in
from tests.authority.factors.devices import RIGHT, WRONG, seat
from tests.authority.factors.serving import bank_server
from tests.cmp.own_server import OwnServer

from dojang.authority import RemoteAuthority, Submission
from dojang.authority.audit import acting
from dojang.authority.enrolment import EnrolmentPolicy, Handed
from dojang.authority.enrolment.policy import ProfileRule
from dojang.authority.remote import Terms
from dojang.cmp.client import Patience
from dojang.cmp.wanted import request_for
from dojang.errors import AuthorityUnreachable, AuthorityUntrusted, FactorMissing, FactorUnavailable
from dojang.secret import Secret
from dojang.x509.name import parse_name


@dataclass(frozen=True)
class Introduced:
    """By one reference number with its code."""

    handed: Handed
    source: None = None

    def reference(self, *, needed: bool) -> str:
        return self.handed.enrolment.reference

    def code(self, reference: str, source: str | None) -> Secret:
        return self.handed.code


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnServer]:
    with bank_server(tmp_path / "authorities") as server:
        yield server


def introduced(server: OwnServer) -> Handed:
    """An applicant with devices whose codes are known, and his code."""
    applicant = applicant_in(server.counter)
    seat(server.counter, applicant)
    with acting("local:clerk"):
        return server.counter.hand_out(profile_name="bank", applicant=applicant)


def submission() -> Submission:
    request = request_for(ec.generate_private_key(ec.SECP256R1()), parse_name("CN=Hong,C=KR"))
    return Submission("issue", request, "", "00" * 16)


def test_refused_passed_and_granted(server: OwnServer) -> None:
    """The same transaction goes on where it was refused; a wrong code leaves everything as it was."""
    asked = submission()
    with RemoteAuthority(server.url, Terms(introductions=Introduced(introduced(server)))) as authority:
        with pytest.raises(FactorMissing) as caught:
            authority.submit(asked)
        assert caught.value.facts["ways"] == (("otp", "sms"), ("card", "sms"))
        sitting = authority.factors_for(asked)
        assert sitting.prepare("card", "first").places == (8, 35)
        assert sitting.answer("otp", WRONG).left == 2
        assert sitting.answer("otp", RIGHT).wanted.ways == (("sms",),)
        with pytest.raises(FactorMissing, match="only after: sms"):
            authority.submit(asked)
        assert sitting.answer("sms", RIGHT).wanted.is_enough
        issued = authority.submit(asked)
        authority.confirm(asked.transaction_id)
    assert [one.certificate_der for one in server.records()] == [issued.certificate_der]
    assert server.states() == ["confirmed"]


def test_what_waited_for_approval_goes_on_after_its_factors(server: OwnServer) -> None:
    """Factors are asked for when the code works; the request that waits is asked for again, and is not a second one."""
    server.counter.policy = EnrolmentPolicy(usual=ProfileRule("people", True))
    handed, asked = introduced(server), submission()

    def approve(_seconds: float) -> None:
        with acting("local:another"):
            server.counter.office.approve(handed.enrolment.reference)

    patience = Patience(sleep=approve)
    with RemoteAuthority(server.url, Terms(introductions=Introduced(handed), patience=lambda: patience)) as authority:
        with pytest.raises(FactorMissing):
            authority.submit(asked)
        for factor in ("sms", "otp"):
            assert authority.factors_for(asked).answer(factor, RIGHT).state == "passed"
        issued = authority.submit(asked)
    assert [one.certificate_der for one in server.records()] == [issued.certificate_der]


def test_what_cannot_be_asked_for_is_told(server: OwnServer) -> None:
    """In the words of the authority, and without an answer to wait for."""
    asked = submission()
    terms = Terms(introductions=Introduced(introduced(server)), patience=lambda: Patience(sleep=lambda seconds: None))
    with RemoteAuthority(server.url, terms) as authority:
        sitting = authority.factors_for(asked)
        with pytest.raises(FactorUnavailable, match="several"):
            sitting.answer("card", RIGHT)
        server.between = lambda body, honest: b"nothing"
        with pytest.raises(AuthorityUntrusted, match="cannot be read"):
            sitting.wanted()
    with RemoteAuthority("http://127.0.0.1:9/", terms) as nobody, pytest.raises(AuthorityUnreachable):
        nobody.factors_for(asked).wanted()
    with RemoteAuthority("http://ca.example/", terms) as elsewhere, pytest.raises(FactorUnavailable):
        elsewhere.factors_for(asked).answer("otp", RIGHT)
