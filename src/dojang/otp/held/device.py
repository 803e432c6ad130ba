"""Seeds on a PKCS#11 token: each is a secret key that never leaves it, and a data object that tells what it is for.

How codes are checked is in ``checking``, what the data object says in ``described``.
"""

import hmac
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final

from dojang.errors import (
    AlreadyExists,
    Ambiguous,
    DeviceRefused,
    DojangError,
    InvalidOtp,
    NotFound,
    Phrase,
    UnsupportedMechanism,
)
from dojang.otp import hotp, ocra, totp
from dojang.otp.base import Access, Code, NewSeed, Question, Seed
from dojang.otp.held import checking, described
from dojang.otp.held.counters import FILE_NAME, Counters
from dojang.otp.parameters import OtpParameters
from dojang.otp.truncation import HASHES
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.places import folders
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.pkcs11.opened import OpenToken
    from dojang.pkcs11.token import Token

_ID_BYTES: Final = 20
_REFUSALS: Final = (DeviceRefused, UnsupportedMechanism)


def computes_codes(token: "Token") -> bool:
    """Whether a token computes what codes are made of, by what it tells to anybody."""
    from dojang.pkcs11 import constants as ck
    from dojang.pkcs11.mechanisms import HMAC

    mechanisms = token.mechanisms()
    return any(map(mechanisms.has, (*HMAC.values(), ck.CKM_HOTP)))


class TokenSeeds:
    """The seeds on one open token, and their counters in the state folder; thread-safe. An ``OtpDevice``."""

    def __init__(self, token: "OpenToken", counters: Counters, asked: Pkcs11Uri | None = None) -> None:
        """``asked`` is the address it was opened by: how its module was found goes into every address."""
        self._token, self._counters = token, counters
        self._uri = Pkcs11Uri.from_text(token.address)
        if asked is not None:
            self._uri = replace(self._uri, module_name=asked.module_name, module_path=asked.module_path)

    @property
    def address(self) -> str:
        return self._uri.to_text()

    @property
    def name(self) -> str:
        return self._token.token.info.label

    @property
    def serial(self) -> str:
        return self._token.token.info.serial

    # What is there

    def seeds(self) -> Iterator[Seed]:
        return iter(self._seeds())

    def find(self, address: str) -> Seed:
        wanted = Pkcs11Uri.from_text(address)
        found = [one for one in self._seeds() if wanted.object in (None, one.name) and wanted.id in (None, one.key_id)]
        if not found:
            what = Phrase("A seed for one-time passwords ({address})", address=address)
            raise NotFound(what=what, where=self.address, command=f"dojang otp list '{self.address}'")
        if len(found) > 1:
            raise Ambiguous(what=f"'{address}'", matches=", ".join(self._address(one, alone=False) for one in found))
        return found[0]

    def _seeds(self) -> list[Seed]:
        from dojang.pkcs11.data_objects import read_all

        keys = {one.key_id: one.label for one in self._token.private_objects() if one.type == "secret-key"}
        found = [described.in_value(one.value) for one in read_all(self._token, label=described.APPLICATION)]
        there = [replace(seed, name=keys[seed.key_id]) for seed in found if seed is not None and seed.key_id in keys]
        there += [seed for key_id, label in keys.items() if (seed := described.in_label(label, key_id)) is not None]
        names = Counter(seed.name for seed in there)
        return [replace(seed, address=self._address(seed, alone=names[seed.name] == 1)) for seed in there]

    def _address(self, seed: Seed, *, alone: bool) -> str:
        key_id = None if alone and seed.name else seed.key_id
        return self._uri.for_object(object=seed.name or None, id=key_id, type="secret-key").to_text()

    # Making and removing

    def makes(self, parameters: OtpParameters) -> bool:
        """Every token with a generator does."""
        return True

    def add(self, new: NewSeed) -> Seed:
        return self.add_under(new, token_bytes(_ID_BYTES))

    def add_under(self, new: NewSeed, key_id: bytes) -> Seed:
        """As ``add``, under a CKA_ID that a journal has named before anything is made."""
        self.check_free(new.name)
        self._make_key(new, key_id)
        try:
            self._counters.begin(self._counted(key_id), new.counter)
            self._describe(new, key_id)
            return self.find(self._uri.for_object(id=key_id).to_text())
        except DojangError:
            with suppress(DojangError):
                self._token.destroy(key_id)
            raise

    def _make_key(self, new: NewSeed, key_id: bytes) -> None:
        """For HOTP where the token computes that itself and takes the key, otherwise for HMAC."""
        from dojang.pkcs11 import hmac_keys, hotp_keys

        digits, hash_name = new.parameters.digits, new.parameters.hash_name
        names: dict[str, Any] = {"label": new.name, "key_id": key_id}
        if new.parameters.kind == "hotp" and hash_name == "sha1" and hotp_keys.computes_hotp(self._token):
            with suppress(*_REFUSALS):
                if new.secret is None:
                    hotp_keys.generate_hotp_key(self._token, **names, digits=digits)
                else:
                    secret = new.secret.reveal()
                    expected = hotp.code(lambda message: hmac.digest(secret, message, "sha1"), 0, digits)
                    hotp_keys.import_hotp_key(self._token, secret, **names, digits=digits, expected=expected)
                return
        if new.secret is None:
            hmac_keys.generate_hmac_key(self._token, **names, size=HASHES[hash_name], hash_name=hash_name)
        else:
            hmac_keys.import_hmac_key(self._token, new.secret.reveal(), **names, hash_name=hash_name)

    def _describe(self, new: NewSeed, key_id: bytes) -> None:
        """Beside the key, or in its label where there is no beside."""
        value, label = described.value(new, key_id), described.APPLICATION
        try:
            self._token.add_data(value, label=label, application=label, key_id=key_id)
        except _REFUSALS:
            self._token.relabel(key_id, described.label(new), "secret-key")

    def check_free(self, name: str) -> None:
        """``AlreadyExists`` where a key, a certificate or another seed has the name."""
        if any(self._token.private_objects(label=name)) or any(seed.name == name for seed in self._seeds()):
            raise AlreadyExists(what=f"'{name}'", where=self.address)

    def delete(self, seed: Seed) -> None:
        self._token.destroy(seed.key_id)

    # Computing

    def code(self, seed: Seed, at: datetime) -> Code:
        parameters = seed.parameters
        if parameters.kind == "ocra":
            raise InvalidOtp(problem="OCRA answers a challenge, and none was given")
        if parameters.kind == "hotp":
            counter = self._counters.take(self._counted(seed.key_id))  # durable before there is a code
            return Code(self.by_counter(seed)(counter), counter=counter)
        step = totp.step(at, parameters.period)
        ends_at = totp.begins_at(step + 1, parameters.period)
        return Code(self.by_counter(seed)(step), valid_until=ends_at)

    def answer(self, seed: Seed, question: Question, at: datetime) -> Code:
        """The answer to a challenge (RFC 6287); a counter that its suite has is used up when this returns."""
        counter = self._counters.take(self._counted(seed.key_id)) if seed.parameters.ocra.counter else None
        return Code(self._answer(seed, question, counter, at), counter=counter)

    def by_counter(self, seed: Seed) -> Callable[[int], str]:
        """How the code of any counter or time step is computed; nothing is counted by it."""
        if self._is_hotp_key(seed):
            from dojang.pkcs11.hotp_keys import hotp_code

            return lambda counter: hotp_code(self._token, counter, key_id=seed.key_id)
        digest, digits = self._hmac(seed), seed.parameters.digits
        return lambda counter: hotp.code(digest, counter, digits)

    def _is_hotp_key(self, seed: Seed) -> bool:
        """Whether the key is of the kind that computes HOTP by itself; only a token that has it need be asked."""
        from dojang.pkcs11.hotp_keys import computes_hotp

        if seed.parameters.kind != "hotp" or not computes_hotp(self._token):
            return False
        found = self._token.private_objects(key_id=seed.key_id)
        return any(one.type == "secret-key" and one.algorithm == "hotp" for one in found)

    def _hmac(self, seed: Seed) -> Callable[[bytes], bytes]:
        from dojang.pkcs11.hmac_keys import HmacKey

        return HmacKey(self._token, seed.key_id, seed.parameters.hash_name).digest

    def _answer(self, seed: Seed, question: Question, counter: int | None, at: datetime | None) -> str:
        suite = seed.parameters.ocra
        message = suite.message(
            *question.challenges,
            counter=counter,
            pin_hash=_pin_hash(suite, question.pin),
            session=question.session,
            at=at if suite.period is not None else None,
        )
        return ocra.code(self._hmac(seed), suite, message)

    # Checking

    def verify(self, seed: Seed, code: Secret, at: datetime, question: Question | None = None) -> None:
        compute = self._computing(seed, question, at)
        checking.verify(self._counters, self._counted(seed.key_id), seed, compute, code, at)

    def _computing(self, seed: Seed, question: Question | None, at: datetime) -> Callable[[int], str]:
        """How the code of each counter or step is computed that a check looks at."""
        if seed.parameters.kind != "ocra":
            if question is not None:
                raise InvalidOtp(problem="only OCRA answers challenges")
            return self.by_counter(seed)
        if question is None:
            raise InvalidOtp(problem="OCRA answers a challenge, and none was given")
        suite = seed.parameters.ocra

        def answer(number: int) -> str:
            counter = number if suite.counter else None
            by_time = suite.period is not None and counter is None
            return self._answer(seed, question, counter, totp.begins_at(number, suite.period or 1) if by_time else at)

        return answer

    def resync(self, seed: Seed, first: Secret, second: Secret, at: datetime) -> int:
        if seed.parameters.kind == "ocra":
            raise InvalidOtp(problem="OCRA has nothing to set: say the counter with --counter")
        codes = first, second
        return checking.resync(self._counters, self._counted(seed.key_id), seed, self.by_counter(seed), codes, at)

    def set_counter(self, seed: Seed, counter: int) -> int:
        if not seed.parameters.counts:
            raise InvalidOtp(problem="these codes go by the time; there is no counter to set")
        self._counters.forward(self._counted(seed.key_id), counter)
        return counter

    def next_counter(self, seed: Seed) -> int | None:
        """The counter of the next code, where one counts and it is known here."""
        count = self._counters.known(self._counted(seed.key_id)) if seed.parameters.counts else None
        return None if count is None else count.shown

    def _counted(self, key_id: bytes) -> str:
        """What tells this seed from all others in the file of counters."""
        return f"{self._token.token.guarded_name}:{key_id.hex()}"


def _pin_hash(suite: ocra.Suite, pin: Secret | None) -> bytes | None:
    import hashlib

    if pin is None or suite.pin_hash is None:
        return None if pin is None else b""
    return hashlib.new(suite.pin_hash, pin.reveal()).digest()


@contextmanager
def seeds_on(token: "OpenToken", counters: Path | None = None) -> Iterator[TokenSeeds]:
    """The seeds on a token that is open: ``seeds.code(seeds.find("pkcs11:object=bank"), datetime.now(UTC)).code``.

    ``counters`` is the file that keeps their counters, that of the command line unless said: who uses another one may
    show a code twice.
    """
    with Counters(counters or folders()[1] / FILE_NAME) as kept:
        yield TokenSeeds(token, kept)


@contextmanager
def open_at(address: str, access: Access) -> Iterator[TokenSeeds]:
    """The one token that an address names, and the counters kept here."""
    from dojang.pkcs11.opened import open_token

    uri = Pkcs11Uri.from_text(address)
    opened = open_token(
        uri.token_part(), access.pins, search=access.search, guard=access.guard, last_try=access.last_try
    )
    with opened as token, Counters(access.counters) as counters:
        yield TokenSeeds(token, counters, uri)
