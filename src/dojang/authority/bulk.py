"""Many first certificates at once: each step of some while the next step of others is on its way.

    proving      in a process of its own (``proving``), a few dozen at a time
    signing      by some threads: while the token works on a signature for one, the others write certificates
    recording    some hundreds in one transaction; meanwhile more is signed

Nothing is left out for that: a key is proved before it is certified, and no certificate is answered with before it is
on record. What is not plain (``x509.plain``), or wants anything that is not asked for in a first certificate of most
profiles, is left to who issues them one by one; so is whatever is refused here, for the reason.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from sqlalchemy import Connection

from dojang.authority.addresses import addresses_for
from dojang.authority.answers import Answers, Given, Group, KeySwitched, NotTogether
from dojang.authority.base import Kind, Submission
from dojang.authority.form import Form, form_for, key_identifier_der, term_der
from dojang.authority.proving import Prover
from dojang.authority.rules import Rulebook
from dojang.errors import AuthorityRefused, DojangError
from dojang.x509.plain import PlainRequest
from dojang.x509.profiles import Profile
from dojang.x509.request import signs_with

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

_LARGEST: Final = 64
_RECORDED_AT_ONCE: Final = 256
"""Fewer write the pages of the indexes more often; more keep everybody waiting for the last of them."""
Numbered = Mapping[int, Submission]
Found = dict[int, Given | Exception]
_Kind = tuple[str, int | None, str | None]


class _Mould(NamedTuple):
    """What certificates by one profile and of one term share."""

    form: Form
    profile: Profile
    enrolment: str | None
    term: tuple[datetime, datetime]
    term_der: bytes


class _Draft(NamedTuple):
    """All but the signature."""

    number: int
    submission: Submission
    subject: str
    key_fingerprint: bytes
    serial: str
    tbs: bytes


class _Signed(NamedTuple):
    """Some that were signed, with their numbers; and errors that no second attempt would mend."""

    groups: list[tuple[list[int], Group]]
    failed: dict[int, Exception]


@dataclass(frozen=True, slots=True)
class Bulk:
    """``rules`` are those of the moment; ``asks_nothing`` tells where no factors are asked for; ``hands`` sign."""

    rules: Callable[[], Rulebook]
    profile: Callable[[str], Profile]
    asks_nothing: Callable[[Profile, Kind], bool]
    key: "Callable[[str], PrivateKey]"
    store: Answers
    hands: int
    prover: Prover = field(default_factory=Prover)

    def close(self) -> None:
        """End what was started for it."""
        self.prover.close()

    def answers(self, asked: Numbered) -> Found:
        """What could be answered so, by the number of the question: a certificate that is on record, or an error."""
        plain = _plain_among(asked)
        self.prover.expect(len(plain))
        size = max(1, min(_LARGEST, len(plain) // (2 * self.hands)))
        parts = [plain[begin : begin + size] for begin in range(0, len(plain), size)]
        with ThreadPoolExecutor(1) as provers, ThreadPoolExecutor(self.hands) as hands:
            proofs = [provers.submit(self._proofs, asked, part) for part in parts]
            signed = [hands.submit(self._signed, asked, *one) for one in zip(parts, proofs, strict=True)]
            try:
                return self._gathered(signed, max(1, _RECORDED_AT_ONCE // size))
            except BaseException:
                for pool in (hands, provers):  # whoever presses Ctrl-C does not wait for the rest
                    pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _gathered(self, signed: "Sequence[Future[_Signed]]", at_once: int) -> Found:
        """All of it on record, so many parts in one transaction."""
        found: Found = {}
        for begin in range(0, len(signed), at_once):
            found |= self._recorded([one.result() for one in signed[begin : begin + at_once]])
        return found

    def _proofs(self, asked: Numbered, numbers: list[int]) -> list[PlainRequest | None]:
        return self.prover.prove([asked[number].request_der for number in numbers])

    def _signed(self, asked: Numbered, numbers: list[int], proofs: "Future[list[PlainRequest | None]]") -> _Signed:
        try:
            rules = self.rules()
            sign = signs_with(self.key(rules.signer))
        except DojangError as error:
            return _Signed([], dict.fromkeys(numbers, error))
        found = _Signed([], {})
        for mould, pile in self._piles(rules, asked, zip(numbers, proofs.result(), strict=True)):
            drafts = [_draft(mould, number, asked[number], request) for number, request in pile]
            signatures = [_attempted(sign, one.tbs) for one in drafts]  # one after the other, and nothing in between
            both = list(zip(drafts, signatures, strict=True))
            found.failed.update({one.number: it for one, it in both if isinstance(it, DojangError)})
            made = [(one, mould.form.signed(one.tbs, it)) for one, it in both if isinstance(it, bytes)]
            if made:
                found.groups.append(([one.number for one, _der in made], _group(rules, mould, made)))
        return found

    def _piles(
        self, rules: Rulebook, asked: Numbered, proved: Iterable[tuple[int, PlainRequest | None]]
    ) -> Iterable[tuple[_Mould, list[tuple[int, PlainRequest]]]]:
        """What may be issued, by what it has in common."""
        moulds: dict[_Kind, _Mould | None] = {}
        piles: dict[_Kind, list[tuple[int, PlainRequest]]] = {}
        for number, request in proved:
            one = asked[number]
            kind = one.profile, one.years, one.enrolment
            if kind not in moulds:
                moulds[kind] = self._mould(rules, one)
            mould = moulds[kind]
            if mould is not None and request is not None and _is_allowed(rules, request, mould.profile):
                piles.setdefault(kind, []).append((number, request))
        return [(mould, pile) for kind, pile in piles.items() if (mould := moulds[kind]) is not None]

    def _mould(self, rules: Rulebook, submission: Submission) -> _Mould | None:
        """``None`` where more is to be looked at than a plain request and a profile."""
        try:
            profile = self.profile(submission.profile)
            if not _is_usual(profile) or not self.asks_nothing(profile, submission.kind):
                return None
            term = rules.term(submission, profile)
            addresses = addresses_for(profile, rules.base, rules.signer)
            form = form_for(profile, addresses, rules.issuer, self.key(rules.signer).public_key())
        except DojangError:  # a spoilt file, perhaps: that ends nobody else's batch
            return None
        return _Mould(form, profile, submission.enrolment, term, term_der(*term))

    def _recorded(self, signed: Sequence[_Signed]) -> Found:
        found: Found = {number: error for one in signed for number, error in one.failed.items()}
        groups = [group for one in signed for group in one.groups]

        def work(connection: Connection) -> list[Given]:
            return [given for _, group in groups for given in self.store.record_all(connection, group)]

        numbers = [number for mine, _ in groups for number in mine]
        if not numbers:
            return found
        try:
            given = self.store.store.database.together(work)
        except (KeySwitched, NotTogether):
            return found
        except DojangError as error:
            return found | dict.fromkeys(numbers, error)
        return found | dict(zip(numbers, given, strict=True))


def _plain_among(asked: Numbered) -> list[int]:
    """Those that ask for nothing that needs a closer look; of one transaction, the first only."""
    seen: set[str] = set()
    found = []
    for number, one in asked.items():
        if one.kind == "issue" and one.request_form == "pkcs10" and one.vid_der is None:
            if one.transaction_id not in seen:
                found.append(number)
            seen.add(one.transaction_id)
    return found


def _draft(mould: _Mould, number: int, submission: Submission, request: PlainRequest) -> _Draft:
    serial = x509.random_serial_number()  # 159 random bits
    tbs = mould.form.to_be_signed(
        serial, mould.term_der, request.subject_der, request.spki, key_identifier_der(request.spki)
    )
    return _Draft(number, submission, request.subject, sha256(request.spki).digest(), f"{serial:x}", tbs)


def _attempted(sign: Callable[[bytes], bytes], tbs: bytes) -> bytes | DojangError:
    try:
        return sign(tbs)
    except DojangError as error:
        return error


def _group(rules: Rulebook, mould: _Mould, made: Sequence[tuple[_Draft, bytes]]) -> Group:
    return Group(
        rules,
        mould.profile.name,
        mould.term,
        mould.enrolment,
        submissions=[one.submission for one, _der in made],
        serials=[one.serial for one, _der in made],
        certificates=[der for _one, der in made],
        subjects=[one.subject for one, _der in made],
        key_fingerprints=[one.key_fingerprint for one, _der in made],
    )


def _is_usual(profile: Profile) -> bool:
    """Whether a certificate may have a subject and nothing else, and any key."""
    return profile.key_reuse_allowed and profile.vid != "required" and not profile.alternative_names_required


def _is_allowed(rules: Rulebook, request: PlainRequest, profile: Profile) -> bool:
    try:
        rules.check_plain(request, profile)
    except AuthorityRefused:
        return False
    return True
