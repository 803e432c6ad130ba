"""The OCSP responder of an authority (RFC 6960; RFC 5019, 9919; nonces RFC 9654): a request in, an answer out.

A request with a nonce is answered live. One about a single certificate without a nonce gets an answer from stock, made
when it is first asked for or by ``prepare``, and used until half its term is over or until the certificate's state is
another one. The state is read from the database every time: what one process records, all tell at once.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography.x509.ocsp import OCSPResponseStatus

from dojang.authority.status import prepared
from dojang.authority.status.answer import UNKNOWN, Term, Verdict, refusal
from dojang.authority.status.clerk import Clerk
from dojang.authority.status.issuers import Issuer, Issuers, KeyHolder
from dojang.authority.status.preparing import Preparation
from dojang.authority.status.request import HASHES, Asked, CertId, RequestMalformed, read_request
from dojang.authority.status.settings import StatusSettings
from dojang.authority.status.stock import Stock, Stocked
from dojang.errors import DojangError, RootOffline

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

    from dojang.authority.database import Database

T = TypeVar("T")
ANSWER_TYPE: Final = "application/ocsp-response"
_MOST_STRANGERS: Final = 1024
_log = logging.getLogger("dojang.status")


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """``outcome`` is what was said, for counting. ``is_cacheable``: others may keep it for its term."""

    der: bytes
    outcome: str
    term: Term | None = None
    is_cacheable: bool = False
    media_type: str = ANSWER_TYPE


class Responder:
    """One for an authority and all threads. ``key`` gives the private key of a signer on record."""

    def __init__(
        self,
        database: "Database",
        key: "Callable[[str], PrivateKey]",
        clock: Callable[[], datetime],
        settings: StatusSettings | None = None,
    ) -> None:
        self._database, self._clock = database, clock
        self._settings = settings or StatusSettings()
        self._clerk = Clerk(key, self._settings)
        self._issuers = Issuers(database)
        # Serials that were never issued are without number; they never push out an answer about a certificate.
        self._stock, self._strangers = Stock(), Stock(_MOST_STRANGERS)

    def answer(self, request_der: bytes) -> OcspAnswer:
        """The answer to whatever was sent."""
        return self._safely(request_der, self._answer)

    def answer_at_once(self, request_der: bytes) -> OcspAnswer | None:
        """The answer where there is nothing to wait for, neither key nor network; else ``None``, for ``answer``.

        That is most of them, where the records are in a file here: the others have to be signed. So a server need not
        hand each of them to a thread, which takes longer than answering.
        """
        return self._safely(request_der, self._answer_at_once) if self._database.is_embedded else None

    def prepare(self, at: datetime, most: int | None = None) -> int:
        """Sign what will be asked for, where the settings say so, and put it in the database.

        Returns the number that was signed, ``most`` at once.
        """
        if not self._settings.prepare:
            return 0
        signed, round_ = 0, Preparation(self._database, self._clerk, at)
        for issuer in self._issuers.all():
            signed += round_.run(issuer, None if most is None else most - signed)
        with self._database.writing() as connection:
            prepared.remove_old(connection, at)
        return signed

    def _safely(self, request_der: bytes, work: Callable[[Asked], T]) -> T | OcspAnswer:
        try:
            return work(read_request(request_der))
        except RequestMalformed:
            return _refused(OCSPResponseStatus.MALFORMED_REQUEST)
        except DojangError as error:
            _log.warning("no answer: %s", error.code)
            return _refused(_status_of(error))

    def _answer_at_once(self, asked: Asked) -> OcspAnswer | None:
        question = self._question(asked)
        if question is None or not question.is_for_stock:
            return None
        found = self._in_stock(question)
        return None if found is None or not found.term.is_fresh(question.at) else question.answered(found)

    def _answer(self, asked: Asked) -> OcspAnswer:
        question = self._question(asked)
        if question is None:
            return _refused(OCSPResponseStatus.UNAUTHORIZED)
        if question.is_for_stock:
            return self._from_stock(question)
        return question.answered(self._clerk.write(question.verdicts, question.holder, question.at, asked.nonce))

    def _question(self, asked: Asked) -> "_Question | None":
        """What is to be said and by whom; ``None`` where all of it is somebody else's to say."""
        at = self._clock().astimezone(UTC).replace(microsecond=0)
        issuers = [self._issuers.find(named) for named in asked.certificates]
        issuer = next((one for one in issuers if one is not None), None)
        if issuer is None or any(named.algorithm not in HASHES for named in asked.certificates):
            return None
        verdicts = self._verdicts(asked.certificates, [one == issuer for one in issuers], issuer)
        return _Question(at, issuer.answers(at), verdicts, is_for_stock=asked.nonce is None and len(verdicts) == 1)

    def _verdicts(self, named: Sequence[CertId], own: Sequence[bool], issuer: Issuer) -> list[Verdict]:
        """What is on record of each; one of somebody else's is as unknown as one that was never issued."""
        serials = [f"{one.serial:x}" if is_own else "" for one, is_own in zip(named, own, strict=True)]
        states = prepared.states_of(self._database, issuer.signer, serials)
        return [
            self._clerk.verdict(one, states.get(serial), is_own=bool(serial))
            for one, serial in zip(named, serials, strict=True)
        ]

    def _from_stock(self, question: "_Question") -> OcspAnswer:
        found = self._in_stock(question)
        if found is None or not found.term.is_fresh(question.at):
            found = self._renewed(question, found)
            self._stock_for(question).keep(question.verdicts[0].certificate, found)
        return question.answered(found)

    def _in_stock(self, question: "_Question") -> Stocked | None:
        (verdict,) = question.verdicts
        return self._stock_for(question).find(verdict.certificate, self._clerk.says(verdict, question.holder))

    def _stock_for(self, question: "_Question") -> Stock:
        return self._stock if question.is_known else self._strangers

    def _renewed(self, question: "_Question", old: Stocked | None) -> Stocked:
        """Another process's, or one made now; where nothing can be signed, the old one while it holds."""
        (verdict,), at = question.verdicts, question.at
        if question.is_known:
            with self._database.reading() as connection:
                says = self._clerk.says(verdict, question.holder)
                old = prepared.find_answer(connection, verdict.certificate, says) or old
        if old is not None and old.term.is_fresh(at):
            return old
        try:
            return self._clerk.write([verdict], question.holder, at)
        except DojangError:
            if old is None or not old.term.holds(at):
                raise
            return old


@dataclass(frozen=True, slots=True)
class _Question:
    """A request with the facts: when, who answers, and what. ``is_for_stock``: the same for everybody who asks."""

    at: datetime
    holder: KeyHolder
    verdicts: list[Verdict]
    is_for_stock: bool

    @property
    def is_known(self) -> bool:
        """Whether all of it is about certificates that were issued."""
        return not any(one.status is UNKNOWN or one.never_issued for one in self.verdicts)

    def answered(self, answer: Stocked) -> OcspAnswer:
        outcome = self.verdicts[0].status.name.lower() if len(self.verdicts) == 1 else "several"
        return OcspAnswer(answer.der, outcome, answer.term, is_cacheable=self.is_for_stock and self.is_known)


def _refused(status: OCSPResponseStatus) -> OcspAnswer:
    return OcspAnswer(refusal(status), status.name.lower())


def _status_of(error: DojangError) -> OCSPResponseStatus:
    """RFC 6960 section 2.3; nobody here can speak for a root that is offline."""
    if isinstance(error, RootOffline):
        return OCSPResponseStatus.UNAUTHORIZED
    return OCSPResponseStatus.TRY_LATER if error.retryable else OCSPResponseStatus.INTERNAL_ERROR
