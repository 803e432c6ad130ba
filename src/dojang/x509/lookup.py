"""Looking up the state of every certificate of a path: in lists that were given, at responders, in published lists.

What the user names is asked first: lists, then the responder. Only where that tells nothing is asked what a certificate
itself names, its responder before its list. So the path must have been checked before: a stranger's certificate would
send us anywhere.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from cryptography import x509

from dojang.x509.ocsp import LARGEST_ANSWER, REQUEST_TYPE, Question, responder_addresses
from dojang.x509.reading import LARGEST_BUNDLE
from dojang.x509.revocation import GOOD, REVOKED, SUSPENDED, UNKNOWN, list_addresses, worst_of
from dojang.x509.standing import ANCHOR, CRL, CRL_FILE, OCSP, Standing, decide, not_known, standing_in_list

PATIENCE = 10.0
_MOST_ADDRESSES = 3
LARGEST_LIST = LARGEST_BUNDLE


@dataclass(frozen=True, slots=True)
class GivenList:
    """A revocation list in DER and where it came from: a file's name."""

    place: str
    crl_der: bytes


@dataclass(frozen=True, slots=True)
class Sources:
    """What the user names: ``lists``, addresses of lists, a responder for the certificate itself.

    ``offline``: nobody is asked over the network. ``seconds`` is the patience with each.
    """

    lists: tuple[GivenList, ...] = ()
    list_addresses: tuple[str, ...] = ()
    responder: str | None = None
    offline: bool = False
    seconds: float = PATIENCE


@dataclass(frozen=True, slots=True)
class Finding:
    """One certificate of the path: what holds, and everything that was asked."""

    certificate: x509.Certificate
    standing: Standing
    asked: tuple[Standing, ...] = ()


def worst_finding(findings: Sequence[Finding]) -> Finding:
    """The one that decides for the whole path; of equally bad ones that nearest to the certificate."""
    worst = worst_of([one.standing.state for one in findings])
    return next(one for one in findings if one.standing.state == worst)


def look_up(path: Sequence[x509.Certificate], sources: Sources, at: datetime) -> tuple[Finding, ...]:
    """The state of each certificate of ``path``, which runs from the certificate up to an anchor, at the moment ``at``.

    The anchor is trusted, not looked up. From the top down: what an authority that is revoked has certified sends us
    nowhere. Never raises for what a source does.
    """
    if len(path) < 2:
        return (Finding(path[0], Standing(GOOD, ANCHOR, "")),)
    desk, found = _Desk(sources, at), list[Finding]()
    for certificate, issuer in reversed(list(pairwise(path))):
        believed = not any(one.standing.state in (REVOKED, SUSPENDED) for one in found)
        responder = sources.responder if certificate is path[0] else None
        found.insert(0, desk.ask(certificate, issuer, responder, believed=believed))
    return tuple(found)


@dataclass(slots=True)
class _Desk:
    """Asks, and fetches each list once."""

    sources: Sources
    at: datetime
    _fetched: dict[str, GivenList | Standing] = field(default_factory=dict)

    def ask(
        self, certificate: x509.Certificate, issuer: x509.Certificate, responder: str | None, *, believed: bool
    ) -> Finding:
        asked = list(self._named(certificate, issuer, responder))
        if believed and not any(one.known for one in asked):
            for standing in self._own(certificate, issuer):
                asked.append(standing)
                if standing.known:
                    break
        found = decide(asked) or not_known("", "", "neither a list nor a responder is known")
        return Finding(certificate, found, tuple(asked))

    def _named(
        self, certificate: x509.Certificate, issuer: x509.Certificate, responder: str | None
    ) -> Iterator[Standing]:
        for one in self.sources.lists:
            yield self._in_list(one, CRL_FILE, certificate, issuer)
        for address in self.sources.list_addresses:
            yield self._at_list(address, certificate, issuer)
        if responder is not None:
            yield self._at_responder(responder, certificate, issuer)

    def _own(self, certificate: x509.Certificate, issuer: x509.Certificate) -> Iterator[Standing]:
        for address in responder_addresses(certificate)[:_MOST_ADDRESSES]:
            yield self._at_responder(address, certificate, issuer)
        for address in list_addresses(certificate)[:_MOST_ADDRESSES]:
            yield self._at_list(address, certificate, issuer)

    def _in_list(
        self, one: GivenList, source: str, certificate: x509.Certificate, issuer: x509.Certificate
    ) -> Standing:
        return standing_in_list(
            one.crl_der, certificate=certificate, issuer=issuer, at=self.at, source=source, place=one.place
        )

    def _at_list(self, address: str, certificate: x509.Certificate, issuer: x509.Certificate) -> Standing:
        if address not in self._fetched:
            answer = self._fetch(CRL, address, at_most=LARGEST_LIST)
            self._fetched[address] = answer if isinstance(answer, Standing) else GivenList(address, answer)
        found = self._fetched[address]
        return found if isinstance(found, Standing) else self._in_list(found, CRL, certificate, issuer)

    def _at_responder(self, address: str, certificate: x509.Certificate, issuer: x509.Certificate) -> Standing:
        question = Question(certificate, issuer)
        answer = self._fetch(OCSP, address, at_most=LARGEST_ANSWER, body=question.to_der(), body_type=REQUEST_TYPE)
        if isinstance(answer, Standing):
            return answer
        lists = [one for one in (*self.sources.lists, *self._fetched.values()) if isinstance(one, GivenList)]
        return question.standing(answer, at=self.at, place=address, crls_der=[one.crl_der for one in lists])

    def _fetch(self, source: str, address: str, **named: object) -> bytes | Standing:
        if self.sources.offline:
            return not_known(source, address, "it was not asked (--offline)")
        from dojang.x509.fetching import NotFetched, fetch

        fetching: Callable[..., bytes] = fetch
        try:
            return fetching(address, seconds=self.sources.seconds, **named)
        except NotFetched as error:
            return Standing(UNKNOWN, source, address, problem=error.phrase)
