"""Many first certificates at once: each step of some while the next step of others is on its way.

    drafting     requests are proved and certificates written by other processes (``proving``), a few dozen at a time
    signing      by some threads, each of which has the token sign for a few dozen, one after the other
    recording    some hundreds in one transaction; meanwhile more is signed

Nothing is left out for that: a key is proved before it is certified, and no certificate is answered with before it is
on record. What is not plain (``x509.plain``), or wants anything that is not asked for in a first certificate of most
profiles, is left to who issues them one by one; so is whatever is refused here, for the reason.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Connection

from dojang.authority.addresses import addresses_for
from dojang.authority.answers import Answers, Given, Group, KeySwitched, NotTogether
from dojang.authority.base import Kind, Submission
from dojang.authority.form import Form, form_for, term_der
from dojang.authority.proving import MOST, Draft, Prover
from dojang.authority.rules import Rulebook
from dojang.errors import AuthorityRefused, DojangError
from dojang.x509.plain import PlainRequest
from dojang.x509.profiles import Profile
from dojang.x509.request import signs_all_with

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

_LARGEST: Final = 64
_SMALL: Final = 8
_AHEAD: Final = 8
"""Parts under way at a time: nothing is drafted long before it is signed, and the memory does not grow with a batch."""
_RECORDED_AT_ONCE: Final = 512
"""Fewer write the pages of the indexes more often; more keep everybody waiting for the last of them."""
_FEWEST: Final = 128
_QUICK: Final = 0.0003
"""Seconds for a signature that the processor is busy with, and nobody waits for."""
Numbered = Mapping[int, Submission]
Found = dict[int, Given | Exception]


class _Mould(NamedTuple):
    """What certificates by one profile and of one term share."""

    form: Form
    profile: Profile
    enrolment: str | None
    term: tuple[datetime, datetime]
    term_der: bytes


class _Drafted(NamedTuple):
    """Some that may be issued, with their numbers."""

    rules: Rulebook
    mould: _Mould
    drafts: list[tuple[int, Draft]]


class _Signed(NamedTuple):
    """Some that were signed, with their numbers; and errors that no second attempt would mend."""

    numbers: list[int]
    group: Group | None
    failed: dict[int, Exception]


class _Pace:
    """Threads that sign at the same time gain where a key takes its time; with a quick one, they hold each other up."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._is_quick = False

    def signatures(
        self, sign: Callable[[Sequence[bytes]], list[bytes | DojangError]], data: Sequence[bytes]
    ) -> list[bytes | DojangError]:
        with self._turn if self._is_quick else contextlib.nullcontext():
            begin = perf_counter()
            found = sign(data)
            self._is_quick = perf_counter() - begin < _QUICK * len(data)
        return found


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
    pace: _Pace = field(default_factory=_Pace)

    def close(self) -> None:
        """End what was started for it."""
        self.prover.close()

    def answers(self, asked: Numbered) -> Found:
        """What could be answered so, by the number of the question: a certificate that is on record, or an error."""
        parts = _parts_of(asked, self.hands)
        self.prover.expect(sum(map(len, parts)))
        with ThreadPoolExecutor(MOST) as drafters, ThreadPoolExecutor(self.hands) as hands:

            def begin(part: list[int]) -> "Future[_Signed]":
                return hands.submit(self._signed, asked, part, drafters.submit(self._drafted, asked, part))

            try:
                return self._gathered(parts, begin)
            except BaseException:
                for pool in (hands, drafters):  # whoever presses Ctrl-C does not wait for the rest
                    pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _gathered(self, parts: Sequence[list[int]], begin: "Callable[[list[int]], Future[_Signed]]") -> Found:
        """All of it on record, some parts in one transaction: fewer towards the end, when nobody else is at work."""
        found: Found = {}
        rest = iter(parts)
        under_way = deque(begin(part) for part in islice(rest, _AHEAD))
        waiting: list[_Signed] = []
        count, left = 0, sum(map(len, parts))
        for part in parts:
            waiting.append(under_way.popleft().result())
            under_way.extend(begin(one) for one in islice(rest, 1))
            count += len(part)
            if count >= min(left, max(_FEWEST, min(_RECORDED_AT_ONCE, left // 2))):
                found |= self._recorded(waiting)
                waiting, count, left = [], 0, left - count
        return found

    def _drafted(self, asked: Numbered, numbers: list[int]) -> _Drafted | DojangError | None:
        """What is proved and may be issued of those, which are of one kind; ``None`` where more is to be looked at."""
        try:
            rules = self.rules()
            self.key(rules.signer)
        except DojangError as error:
            return error
        mould = self._mould(rules, asked[numbers[0]])
        if mould is None:
            return None
        drafts = self.prover.drafts([asked[number].request_der for number in numbers], mould.form, mould.term_der)
        allowed = [
            (number, draft)
            for number, draft in zip(numbers, drafts, strict=True)
            if draft is not None and _is_allowed(rules, draft.request, mould.profile)
        ]
        return _Drafted(rules, mould, allowed)

    def _signed(self, asked: Numbered, numbers: list[int], drafted: "Future[_Drafted | DojangError | None]") -> _Signed:
        found = drafted.result()
        if isinstance(found, DojangError):
            return _Signed([], None, dict.fromkeys(numbers, found))
        if found is None or not found.drafts:
            return _Signed([], None, {})
        rules, mould, drafts = found
        try:
            sign = signs_all_with(self.key(rules.signer))
            signatures = self.pace.signatures(sign, [draft.tbs for _number, draft in drafts])
        except DojangError as error:
            return _Signed([], None, {number: error for number, _draft in drafts})
        both = list(zip(drafts, signatures, strict=True))
        failed: dict[int, Exception] = {number: it for (number, _), it in both if isinstance(it, DojangError)}
        made = [
            (number, draft, mould.form.signed(draft.tbs, it)) for (number, draft), it in both if isinstance(it, bytes)
        ]
        return _Signed([number for number, _draft, _der in made], _group(rules, mould, asked, made), failed)

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
        groups = [one.group for one in signed if one.group is not None]

        def work(connection: Connection) -> list[Given]:
            return [given for group in groups for given in self.store.record_all(connection, group)]

        numbers = [number for one in signed for number in one.numbers]
        if not numbers:
            return found
        try:
            given = self.store.store.database.together(work)
        except (KeySwitched, NotTogether):
            return found
        except DojangError as error:
            return found | dict.fromkeys(numbers, error)
        return found | dict(zip(numbers, given, strict=True))


def _parts_of(asked: Numbered, hands: int) -> list[list[int]]:
    """Those that ask for nothing that needs a closer look, some of one kind at a time; of one transaction, the first.

    Of many, the first parts are small: nobody signs before one is proved.
    """
    seen: set[str] = set()
    kinds: dict[tuple[str, int | None, str | None], list[int]] = {}
    for number, one in asked.items():
        if one.kind == "issue" and one.request_form == "pkcs10" and one.vid_der is None:
            if one.transaction_id not in seen:
                kinds.setdefault((one.profile, one.years, one.enrolment), []).append(number)
            seen.add(one.transaction_id)
    largest = max(1, min(_LARGEST, len(seen) // (2 * hands)))
    parts, more = [], max(largest // 4, _SMALL)
    size = min(largest, more)
    for numbers in kinds.values():
        begin = 0
        while begin < len(numbers):
            parts.append(numbers[begin : begin + size])
            begin, size = begin + size, min(largest, size + more)
    return parts


def _group(rules: Rulebook, mould: _Mould, asked: Numbered, made: Sequence[tuple[int, Draft, bytes]]) -> Group | None:
    if not made:
        return None
    return Group(
        rules,
        mould.profile.name,
        mould.term,
        mould.enrolment,
        submissions=[asked[number] for number, _draft, _der in made],
        serials=[draft.serial for _number, draft, _der in made],
        certificates=[der for _number, _draft, der in made],
        subjects=[draft.request.subject for _number, draft, _der in made],
        key_fingerprints=[draft.key_fingerprint for _number, draft, _der in made],
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
