"""A private key on a token as something that signs digests: no copy of it, no heavy imports, one C_Sign each."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.mechanisms import DIGEST_BYTES, REFUSALS, MechanismTable, Plan, check_hash, ecdsa_der
from dojang.pkcs11.objects import algorithm_of
from dojang.pkcs11.pool import LogIn, SessionPool
from dojang.pkcs11.session import Search, Session
from dojang.pkcs11.structures import Mechanism

_SCHEMES = {"rsa": ("pkcs1v15", "pss"), "ec": ("ecdsa",), "ed25519": ("eddsa",)}

_LONGEST_ECDSA = 132  # r and s of P-521
_ON_ONE_SESSION = 8
"""Of many messages so many are signed before somebody else may have the session: a card takes seconds for them."""


class Opened(Protocol):
    """Whoever opened the token for the key: nothing signs once that is closed."""

    is_open: bool


_Proven = tuple[int, Mechanism, bytes, "Callable[[bytes], hashlib._Hash]"]
"""A way that has worked: bytes of a digest, the mechanism, what goes before the digest, and who hashes a message."""


class TokenSigner:
    """Signs with one private key where it lives; thread-safe.

    ``algorithm`` is a name of ``KEY_ALGORITHMS``, ``family`` its kind: ``rsa``, ``ec`` or ``ed25519``. A key that is
    always authenticated (CKA_ALWAYS_AUTHENTICATE) asks for its PIN once a signature, between C_SignInit and C_Sign, on
    the session that signs.
    """

    def __init__(
        self,
        pool: SessionPool,
        search: Search,
        attributes: dict[int, bytes],
        table: MechanismTable,
        log_in: LogIn,
        authenticate: Callable[[Session], None] | None,
        opened: Opened,
        public: dict[int, bytes],
    ) -> None:
        """Made by ``OpenToken.signer``; ``authenticate`` is given for keys that are always authenticated.

        ``public`` are the attributes of its public key object, as far as there is one.
        """
        self.algorithm = algorithm_of(attributes)
        self.family = self.algorithm.partition("-")[0]
        self.attributes = attributes
        self.public = public
        self.search = search
        self._pool = pool
        self._table = table
        self._log_in = log_in
        self._authenticate = authenticate
        self._opened = opened
        self._chosen: dict[tuple[str, str, int | None, bool], Plan] = {}
        self._proven: dict[tuple[str, str | None, int | None], _Proven] = {}
        self._elliptic = self.family == "ec"

    @property
    def at_once(self) -> int:
        """How many threads may sign at the same time; one where a person may have to answer for each signature."""
        return self._pool.at_once if self._authenticate is None else 1

    def sign_digest(
        self,
        digest: bytes,
        hash_name: str,
        scheme: str | None = None,
        *,
        salt_length: int | None = None,
        plain: bool = False,
    ) -> bytes:
        """The signature over a digest made on the host: RSA as it is, ECDSA as Ecdsa-Sig-Value, or r and s side by
        side (IEEE P1363, as JWS wants it) when ``plain``.

        ``scheme`` is ``pkcs1v15`` (the default for RSA), ``pss`` or ``ecdsa``; ``salt_length`` in bytes is for PSS and
        defaults to the digest's length. Ed25519 signs messages, not digests (RFC 8032): use ``sign_message``.
        """
        asked = (hash_name, scheme, salt_length)
        proven = self._proven.get(asked)
        if proven is not None and len(digest) == proven[0]:
            prefix = proven[2]  # with an empty one, too, the sum is bytes, whatever buffer the digest is
            if not self._opened.is_open:
                raise errors.TokenClosed(token=self._pool.identity.label)
            signature = self._pool.sign(proven[1], self.search, prefix + digest, self._log_in)
            return self._der(signature) if self._elliptic and not plain else signature
        check_hash(hash_name)
        if len(digest) != DIGEST_BYTES[hash_name]:
            raise errors.Usage(
                problem=errors.Phrase(
                    "a {hash} digest has {right} bytes, not {wrong}",
                    hash=hash_name,
                    right=DIGEST_BYTES[hash_name],
                    wrong=len(digest),
                )
            )
        settled = self._scheme(scheme)
        signature = self._sign(digest, None, hash_name, settled, salt_length)
        self._prove(asked, self._chosen[settled, hash_name, salt_length, False])
        return self._der(signature) if self._elliptic and not plain else signature

    def sign_message(
        self, message: bytes, hash_name: str = "sha256", scheme: str | None = None, *, salt_length: int | None = None
    ) -> bytes:
        """The signature over a message, hashed on the host where the token allows it and in the token where not."""
        asked = (hash_name, scheme, salt_length)
        proven = self._proven.get(asked)
        if proven is not None:
            return self.sign_digest(proven[3](message).digest(), hash_name, scheme, salt_length=salt_length)
        settled = self._scheme(scheme)
        if settled == "eddsa":
            return self._sign(None, message, "", settled, None)
        check_hash(hash_name)
        digest = hashlib.new(hash_name, message).digest()
        signature = self._sign(digest, message, hash_name, settled, salt_length)
        self._prove(asked, self._chosen[settled, hash_name, salt_length, True])
        return self._der(signature) if self._elliptic else signature

    def sign_messages(self, messages: Sequence[bytes], hash_name: str) -> list[bytes | errors.DojangError]:
        """``sign_message`` for each, with the scheme that is usual for the key; or the error it would raise."""
        scheme, answers = self._scheme(None), list[bytes | errors.DojangError]()
        while len(answers) < len(messages):
            proven = self._proven.get((hash_name, scheme, None))
            if proven is None or not self._opened.is_open:
                answers.append(
                    _attempted(lambda one: self.sign_message(one, hash_name, scheme), messages[len(answers)])
                )
                continue
            _size, mechanism, prefix, hashed = proven
            some = messages[len(answers) : len(answers) + _ON_ONE_SESSION]
            digests = [prefix + hashed(one).digest() for one in some]
            found = self._pool.sign_all(mechanism, self.search, digests, self._log_in)
            answers += [_attempted(self._der, it) if self._elliptic and isinstance(it, bytes) else it for it in found]
        return answers

    def _prove(self, asked: tuple[str, str | None, int | None], plan: Plan) -> None:
        """From now on, a digest goes straight to the key; not where that asks for its PIN, or takes messages only."""
        if self._authenticate is None and not plan.takes_message:
            name = asked[0]
            self._proven[asked] = DIGEST_BYTES[name], plan.mechanism, plan.prefix, getattr(hashlib, name)

    def _scheme(self, scheme: str | None) -> str:
        allowed = _SCHEMES.get(self.family, ())
        if not allowed or (scheme is not None and scheme not in allowed):
            raise errors.UnsupportedMechanism(
                where=errors.Phrase("A key of the kind {algorithm}", algorithm=self.algorithm),
                mechanism=scheme or "signing",
            )
        return scheme or allowed[0]

    def _sign(
        self, digest: bytes | None, message: bytes | None, hash_name: str, scheme: str, salt_length: int | None
    ) -> bytes:
        key = (scheme, hash_name, salt_length, message is not None)
        plan = self._chosen.get(key)
        if plan is not None:
            return self._perform(plan, digest, message)
        for plan in self._table.plans(scheme, hash_name, salt_length, have_message=message is not None):
            number = plan.mechanism.number
            try:
                signature = self._perform(plan, digest, message)
            except errors.UnsupportedMechanism as error:
                if not _taken_back(error):
                    raise
                self._table.refuse(number)
                continue
            self._table.prove(number)
            self._chosen[key] = plan
            return signature
        raise errors.UnsupportedMechanism(
            where=errors.Phrase("Token {token}", token=self._pool.identity.label),
            mechanism=f"{scheme} {hash_name}".strip(),
        )

    def _perform(self, plan: Plan, digest: bytes | None, message: bytes | None) -> bytes:
        if not self._opened.is_open:
            raise errors.TokenClosed(token=self._pool.identity.label)
        data = b"" + (message or b"") if plan.takes_message else plan.prefix + (digest or b"")
        authenticate = self._authenticate
        if authenticate is None:
            return self._pool.sign(plan.mechanism, self.search, data, self._log_in)

        def work(session: Session) -> bytes:
            session.sign_begin(plan.mechanism, session.resolve(self.search))
            session.spoiled = True  # until the operation is over, this session must not be given to anybody else
            authenticate(session)
            signature = self._signed_once(session, data)
            session.spoiled = False
            return signature

        return self._pool.run(work, self._log_in)

    def _signed_once(self, session: Session, data: bytes) -> bytes:
        """C_Sign after a context-specific login. That login was accepted a moment ago, so a card that wants another has
        used it up: OpenSC asks a card twice whose first answer it cannot read (seen, 0.23).
        """
        try:
            return session.sign_end(data)
        except CryptokiError as error:
            if error.rv != ck.CKR_USER_NOT_LOGGED_IN:
                raise
            said = {"function": error.function, "result": ck.result_name(error.rv)}
            raise errors.SignatureUncertain(token=self._pool.identity.label, **said) from error

    def _der(self, signature: bytes) -> bytes:
        if len(signature) > _LONGEST_ECDSA:
            said = f"{len(signature)} bytes"
            raise errors.DeviceFailure(token=self._pool.identity.label, function="C_Sign", result=said)
        return ecdsa_der(signature)


def _attempted(step: Callable[[bytes], bytes], one: bytes) -> bytes | errors.DojangError:
    try:
        return step(one)
    except errors.DojangError as error:
        return error


def _taken_back(error: errors.UnsupportedMechanism) -> bool:
    cause = error.__cause__
    return isinstance(cause, CryptokiError) and cause.function == "C_SignInit" and cause.rv in REFUSALS
