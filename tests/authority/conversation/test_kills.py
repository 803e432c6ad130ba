"""A server that is killed between any two steps: asked again, it gives the answer, and nothing is issued twice."""

import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import select
from tests.authority.conversation.conftest import SOURCE, Counter, Subscriber, found_counter

from dojang.authority import open_authority
from dojang.authority.conversation import Conversation
from dojang.authority.conversation.local import LocalOffice
from dojang.authority.database import Database
from dojang.authority.tables import certificate, cmp_transaction
from dojang.cmp import bodies
from dojang.cmp.bodies import Kind, RevocationRequest
from dojang.cmp.crmf import CertificateTemplate
from dojang.cmp.messages import implicit_confirm, read_message

PHASES = ("before", "inside", "after")


@contextmanager
def killed_at(turn: int, phase: str) -> Iterator[None]:
    """This process dies at its ``turn``-th transaction that writes: before it, before its commit, or after that."""
    writing, turns = Database.writing, iter(range(1, 1000))

    @contextmanager
    def strike(self: Database) -> Iterator[Any]:
        due = next(turns) == turn
        if due and phase == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        with writing(self) as connection:
            yield connection
            if due and phase == "inside":
                os.kill(os.getpid(), signal.SIGKILL)
        if due and phase == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    Database.writing = strike  # type: ignore[method-assign]
    try:
        yield
    finally:
        Database.writing = writing  # type: ignore[method-assign]


def answer_elsewhere(counter: Counter, der: bytes, turn: int, phase: str) -> bool:
    """Another process answers the message, and is killed on the way; false when it came to its end before that."""
    folder, keys = counter.authority.folder, counter.keys
    child = os.fork()
    if child == 0:
        try:
            with open_authority(folder.parent, folder.name, keys.__getitem__, clock=counter.clock) as authority:
                own = replace(counter, authority=authority)
                conversation = Conversation(LocalOffice(authority, own.enrolments))
                with killed_at(turn, phase):
                    conversation.answer(der, SOURCE)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def certificates_of(counter: Counter, reference: str) -> list[Any]:
    with counter.authority.database.reading() as connection:
        return list(connection.execute(select(certificate).where(certificate.c.enrolment == reference)))


def bearer_of(counter: Counter) -> Subscriber:
    handed = counter.hand_out()
    return Subscriber(counter, handed.enrolment.reference, handed.code)


def revocation(holder: Subscriber) -> RevocationRequest:
    known = x509.load_der_x509_certificate(holder.certificate_der or b"")
    return RevocationRequest((bodies.Revocation(CertificateTemplate(issuer=known.issuer, serial=known.serial_number)),))


def message_of(kind: str, counter: Counter) -> tuple[Subscriber, bytes]:
    """A message of this kind, and who sends it; what has to come before it has been said."""
    bearer = bearer_of(counter)
    if kind in ("ir", "ir, implicit"):
        information = (implicit_confirm(),) if kind == "ir, implicit" else ()
        return bearer, bearer.message(bearer.request(), information=information)
    if kind in ("certConf", "certConf that rejects"):
        granted = bearer.granted(bearer.ask(bearer.request()))
        changes = {} if kind == "certConf" else {"certificate_hash": b"x" * 32}
        return bearer, bearer.message(bearer.confirmation(granted, **changes))
    holder = bearer.enrol().again()
    if kind == "rr":
        return holder, holder.message(revocation(holder))
    if kind == "cr, implicit":
        return holder, holder.message(holder.request(Kind.CR), information=(implicit_confirm(),))
    granted = holder.granted(holder.ask(holder.request(Kind.CR)))
    return holder, holder.message(holder.confirmation(granted))


EXPECTED = {
    "ir": (bodies.Certified, ["issued"]),
    "ir, implicit": (bodies.Certified, ["confirmed"]),
    "certConf": (bodies.Confirmed, ["confirmed"]),
    "certConf that rejects": (bodies.Failure, ["revoked"]),
    "rr": (bodies.Revoked, ["revoked"]),
    "cr, implicit": (bodies.Certified, ["revoked"]),
    "certConf of a cr": (bodies.Confirmed, ["revoked"]),
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_killed_at_any_write_the_answer_is_there_when_asked_again(tmp_path: Path, kind: str) -> None:
    """At each transaction that a message costs, before, inside and after it."""
    counter, strikes = found_counter(tmp_path / "authorities"), 0
    answered, states = EXPECTED[kind]
    with counter.authority:
        for turn in range(1, 20):
            struck = [strike(counter, kind, turn, phase, answered, states) for phase in PHASES]
            strikes += sum(struck)
            if not any(struck):
                break
    assert strikes >= len(PHASES)


def strike(counter: Counter, kind: str, turn: int, phase: str, answered: type, states: list[str]) -> bool:
    sender, der = message_of(kind, counter)
    struck = answer_elsewhere(counter, der, turn, phase)
    first = counter.conversation.answer(der, SOURCE)
    assert isinstance(read_message(first).body, answered), (turn, phase, read_message(first).body)
    assert counter.conversation.answer(der, SOURCE) == first
    reference = sender.reference or reference_of(counter, sender)
    found = certificates_of(counter, reference)
    assert [one.state for one in found] == states, (turn, phase)
    with counter.authority.database.reading() as connection:
        answers = list(connection.execute(select(cmp_transaction.c.response_der)).scalars())
    assert first in answers
    return struck


def reference_of(counter: Counter, holder: Subscriber) -> str:
    serial = f"{x509.load_der_x509_certificate(holder.certificate_der or b'').serial_number:x}"
    return str(counter.authority.find(serial).enrolment)
