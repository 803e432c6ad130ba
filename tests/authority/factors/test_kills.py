"""A server that is killed between any two steps: a factor passes one certificate at most, and none is without."""

import os
import signal
import traceback
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from tests.authority.conversation.conftest import SOURCE, Subscriber, failure_in
from tests.authority.conversation.test_kills import PHASES, killed_at
from tests.authority.factors.conftest import Bank
from tests.authority.factors.devices import RIGHT, seat
from tests.authority.factors.test_wire import ask, question

from dojang.authority import open_authority
from dojang.authority.tables import certificate, factor_evidence
from dojang.cmp.factors import FACTOR_ANSWERED, FACTORS_WANTED, Outcome, Wanted
from dojang.cmp.faults import FailInfo
from dojang.cmp.messages import new_nonce

MOST_TURNS = 8


def answer_elsewhere(bank: Bank, der: bytes, turn: int, phase: str) -> bool:
    """Another process answers the message, and is killed on the way; false when it came to its end before that."""
    counter = bank.counter
    child = os.fork()
    if child == 0:
        try:
            folder = counter.authority.folder
            with open_authority(folder.parent, folder.name, counter.keys.__getitem__, clock=counter.clock) as authority:
                own = replace(counter, authority=authority)
                seat(own, bank.applicant)
                with killed_at(turn, phase):
                    own.conversation.answer(der, SOURCE)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    assert not os.WIFSIGNALED(status) or os.WTERMSIG(status) == signal.SIGKILL
    return os.WIFSIGNALED(status)


def bearer_of(bank: Bank) -> Subscriber:
    handed = bank.counter.hand_out(profile_name="bank", applicant=bank.applicant)
    return Subscriber(bank.counter, handed.enrolment.reference, handed.code, transaction_id=new_nonce())


def evidence_of(bank: Bank, reference: str) -> list[Any]:
    with bank.authority.database.reading() as connection:
        return list(connection.execute(select(factor_evidence).where(factor_evidence.c.reference == reference)))


def certificates_of(bank: Bank, reference: str) -> list[Any]:
    with bank.authority.database.reading() as connection:
        return list(connection.execute(select(certificate).where(certificate.c.enrolment == reference)))


def strikes() -> Any:
    """Every phase of every transaction, until one comes to its end."""
    for turn in range(1, MOST_TURNS):
        for phase in PHASES:
            yield turn, phase


def test_an_answer_that_is_killed_passes_once_or_not_at_all(small: Bank) -> None:
    """The same message again is answered, and there is one piece of evidence."""
    seat(small.counter, small.applicant)
    for turn, phase in strikes():
        bearer = bearer_of(small)
        der = bearer.message(question(bearer, FACTOR_ANSWERED, factor="otp", code=RIGHT))
        is_killed = answer_elsewhere(small, der, turn, phase)
        again = small.counter.conversation.answer(der, SOURCE)
        assert small.counter.conversation.answer(der, SOURCE) == again
        assert len(evidence_of(small, bearer.reference)) == 1
        assert Wanted.from_der(ask(bearer, FACTORS_WANTED)).passed == ("otp",)
        if not is_killed:
            break
    else:
        raise AssertionError("it never came to its end")
    assert turn > 1


def test_a_request_that_is_killed_uses_its_factors_with_its_certificate_or_neither(small: Bank) -> None:
    """Asked again it is granted, once; and on what was passed nothing else is ever issued."""
    seat(small.counter, small.applicant)
    for turn, phase in strikes():
        bearer = bearer_of(small)
        for factor in ("otp", "sms"):
            assert Outcome.from_der(ask(bearer, FACTOR_ANSWERED, factor=factor, code=RIGHT)).state == "passed"
        der = bearer.message(bearer.request())
        is_killed = answer_elsewhere(small, der, turn, phase)
        issued = certificates_of(small, bearer.reference)
        used = {row.used_serial for row in evidence_of(small, bearer.reference)}
        assert used == ({one.serial for one in issued} or {None})
        bearer.granted(bearer.send(der))
        (one,) = certificates_of(small, bearer.reference)
        assert {row.used_serial for row in evidence_of(small, bearer.reference)} == {one.serial}
        other = bearer_of(small).again(key=bearer.key)
        assert failure_in(other.ask(other.request())) == FailInfo.NOT_AUTHORIZED
        if not is_killed:
            break
    else:
        raise AssertionError("it never came to its end")
    assert turn > 1
