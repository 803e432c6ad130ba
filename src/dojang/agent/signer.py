"""A private key in the agent's hands, signing as ``pkcs11.TokenSigner`` does, without PIN and without a PKCS#11 module.

A command that signs one file spends most of its time importing, so nothing heavy is loaded here.
"""

import os

from dojang.agent.channel import Channel, Gone
from dojang.agent.wire import (
    DIGEST,
    FAILED,
    FIND,
    LOCKED,
    MESSAGE,
    NO_SALT,
    OK,
    SIGN,
    Malformed,
    Reader,
    pack_uint32,
    string,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from dojang.errors import DojangError

_HASHED: "Final" = ("rsa", "ec")


def find_signer(address: str, module: str = "", *, path: str | None = None) -> "AgentSigner | None":
    """The key that a PKCS#11 URI names, if an agent runs that serves it; ``None``: go on as without agent.

    ``module`` is the one that ``--module`` or the settings name. An agent that refuses is ``AgentRefused``.
    """
    if path is None:
        from dojang.places import agent_socket_path

        path = agent_socket_path()
    try:
        channel = Channel.open(path)
        status, reader = channel.extension(FIND, string(address.encode()), string(module.encode()))
        if status == OK:
            return AgentSigner(path, channel, reader)
        failure = reader.string() if status == FAILED else None
    except (Gone, Malformed, UnicodeEncodeError):
        return None
    channel.close()
    if failure is not None:
        raise _failure(failure)
    return None


class AgentSigner:
    """Signs through the agent; thread-safe. ``algorithm``, ``family`` and ``attributes`` are those of ``TokenSigner``,
    of the attributes only the public ones.
    """

    def __init__(self, path: str, channel: Channel, found: Reader) -> None:
        """Made by ``find_signer`` from what the agent answered."""
        self._path = path
        self._idle = [channel]
        self._process = os.getpid()
        self._reference = string(found.string())
        self.algorithm = found.text()
        self.token_label = found.text()
        self.address = found.text()
        self.at_once = found.uint32()
        self.attributes = {found.uint32(): found.string() for _ in range(found.uint32())}
        self.public = self.attributes
        self.family = self.algorithm.partition("-")[0]
        self._told: dict[tuple[int, str, str | None, int | None, bool], bytes] = {}

    @property
    def search(self) -> "tuple[tuple[int, bytes | int], ...]":
        """What finds the key on its token, for work that the agent does not do."""
        from dojang.pkcs11 import constants as ck
        from dojang.pkcs11.objects import search_for

        return search_for(ck.CKO_PRIVATE_KEY, key_id=self.attributes[ck.CKA_ID])

    def sign_digest(
        self,
        digest: bytes,
        hash_name: str,
        scheme: str | None = None,
        *,
        salt_length: int | None = None,
        plain: bool = False,
    ) -> bytes:
        """As ``TokenSigner.sign_digest``."""
        return self._sign(DIGEST, digest, hash_name, scheme, salt_length, plain)

    def sign_message(
        self, message: bytes, hash_name: str = "sha256", scheme: str | None = None, *, salt_length: int | None = None
    ) -> bytes:
        """As ``TokenSigner.sign_message``; the message goes to the agent only where its digest is not enough."""
        if self.family not in _HASHED:
            return self._sign(MESSAGE, message, hash_name, scheme, salt_length, False)
        import hashlib

        from dojang.errors import UnsupportedMechanism

        try:
            digest = hashlib.new(hash_name, message).digest()
            return self._sign(DIGEST, digest, hash_name, scheme, salt_length, False)
        except (UnsupportedMechanism, ValueError):  # or a hash unknown here: the token's answer says it all
            return self._sign(MESSAGE, message, hash_name, scheme, salt_length, False)

    def sign_messages(self, messages: "Sequence[bytes]", hash_name: str) -> "list[bytes | DojangError]":
        """As ``TokenSigner.sign_messages``."""
        from dojang.errors import DojangError

        answers: list[bytes | DojangError] = []
        for one in messages:
            try:
                answers.append(self.sign_message(one, hash_name))
            except DojangError as error:
                answers.append(error)
        return answers

    def close(self) -> None:
        """Close the connections; the next signature opens another."""
        while self._idle:
            self._idle.pop().close()

    def _sign(
        self, kind: int, data: bytes, hash_name: str, scheme: str | None, salt_length: int | None, plain: bool
    ) -> bytes:
        asked = (kind, hash_name, scheme, salt_length, plain)
        told = self._told.get(asked)
        if told is None:
            told = self._told[asked] = self._tell(*asked)
        size = len(data)
        request = b"".join((pack_uint32(20 + size + len(told)), _REQUEST, pack_uint32(size), data, told))
        channel, body = self._ask(request)
        try:
            if body[16] == OK and body[:16] == _ANSWER:
                signature = Reader(body, 17).string()
                self._idle.append(channel)
                return signature
        except (IndexError, Malformed) as error:
            raise self._lost(asked=True) from error
        self._idle.append(channel)
        raise self._refused(body)

    def _tell(self, kind: int, hash_name: str, scheme: str | None, salt_length: int | None, plain: bool) -> bytes:
        salt = pack_uint32(NO_SALT if salt_length is None else salt_length)
        words = string(hash_name.encode()) + string((scheme or "").encode())
        return self._reference + bytes((kind, plain)) + salt + words

    def _ask(self, request: bytes) -> tuple[Channel, bytes]:
        """Ask over a connection that no other thread uses meanwhile, and in the child of a fork not the parent.

        One that was idle may have been closed by the agent, for others: a request that it did not take goes again.
        """
        if self._process != os.getpid():
            self._idle, self._process = [], os.getpid()
        while True:
            fresh = not self._idle
            try:
                channel = Channel.open(self._path) if fresh else self._idle.pop()
                return channel, channel.ask(request)
            except IndexError:
                continue  # another thread was faster
            except Gone as gone:
                if fresh or gone.asked:
                    raise self._lost(asked=gone.asked) from gone

    def _lost(self, *, asked: bool) -> "DojangError":
        from dojang.errors import AgentUnavailable, Phrase, SignatureUncertain

        if asked:
            return SignatureUncertain(token=self.token_label, function="C_Sign", result=Phrase("that the agent ended"))
        return AgentUnavailable(problem=Phrase("it has ended"))

    def _refused(self, body: bytes) -> "DojangError":
        if body[16] == FAILED:
            return _failure(Reader(body, 17).string())
        from dojang.errors import AgentUnavailable, Phrase

        locked = body[16] == LOCKED
        return AgentUnavailable(problem=Phrase("it was locked") if locked else Phrase("it no longer has this key"))


_REQUEST = b"\x1b" + string(SIGN)
_ANSWER = b"\x1d" + string(SIGN)


def _failure(data: bytes) -> "DojangError":
    from dojang.agent.failure import failure_from

    return failure_from(data)
