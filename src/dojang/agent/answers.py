"""What the agent answers to each request, and what it refuses. Nothing it answers holds a PIN."""

import json
import os
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from dojang.agent import ssh, wire
from dojang.agent.failure import failure_bytes
from dojang.agent.held import HeldKey, Locked, PinWanted, Unserved
from dojang.agent.holdings import Holdings, Wanted
from dojang.agent.peer import Peer
from dojang.agent.permission import Permission, confirm
from dojang.agent.wire import Malformed, Reader, answer, frame, pack_uint32, string
from dojang.errors import AgentUnavailable, DojangError, Phrase
from dojang.pkcs11.discovery import ModuleSearch, ModuleSpec
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.pkcs11.signer import TokenSigner

FAILURE = frame(bytes((wire.FAILURE,)))
SUCCESS = frame(bytes((wire.SUCCESS,)))
_MOST_ASKED = 256


class Answers:
    """Turns one request into one answer; thread-safe."""

    def __init__(
        self,
        holdings: Holdings,
        *,
        status: Callable[[], dict[str, Any]],
        used: Callable[[], None],
        listen: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        """``status`` tells of the agent itself, ``used`` hears of each request that keeps it awake, ``listen`` opens
        its socket where that has not happened, ``stop`` ends it.
        """
        self._holdings = holdings
        self._status = status
        self._used = used
        self._listen = listen
        self._stop = stop
        self._asked: dict[bytes, _Asked] = {}
        self._own: dict[bytes, Callable[[bytes, Reader, Peer], bytes]] = {
            wire.QUERY: self._query,
            wire.FIND: self._find,
            wire.SIGN: self._sign,
            wire.ADD: self._add,
            wire.LISTEN: self._open,
            wire.STATUS: self._report,
            wire.STOP: self._end,
        }

    def to(self, body: bytes, peer: Peer) -> bytes:
        """The answer to a request; ``Malformed`` for what is none, and then the connection should end."""
        reader = Reader(body)
        kind = reader.byte()
        if kind == wire.EXTENSION:
            return self._extension(reader, peer)
        if kind == wire.REQUEST_IDENTITIES:
            return self._identities(peer)
        if kind == wire.SIGN_REQUEST:
            return self._ssh_sign(reader, peer)
        if kind == wire.LOCK:
            # The passphrase is not kept: only the PIN opens again, and dojang asks for that.
            self._holdings.lock("lock")
            return SUCCESS
        return FAILURE  # adding keys, removing them, unlocking: dojang's own commands do that

    # The SSH agent protocol

    def _identities(self, peer: Peer) -> bytes:
        keys = [
            key for key in self._holdings.keys if key.ssh_blob and not key.token.locked and key.permission.allows(peer)
        ]
        listed = b"".join(string(key.ssh_blob) + string(key.name.encode()) for key in keys)
        return frame(bytes((wire.IDENTITIES_ANSWER,)), pack_uint32(len(keys)), listed)

    def _ssh_sign(self, reader: Reader, peer: Peer) -> bytes:
        blob, data, flags = reader.string(), reader.string(), reader.uint32()
        reader.end()
        try:
            key = self._holdings.by_ssh_blob(blob)
            signed = self._signed(key, peer, lambda signer: ssh.signature(signer, data, flags))
        except (Unserved, DojangError, Malformed):
            return FAILURE
        return frame(bytes((wire.SIGN_RESPONSE,)), string(signed))

    def _signed(self, key: HeldKey, peer: Peer, work: "Callable[[TokenSigner], bytes]") -> bytes:
        key.permission.check_program(peer)
        if key.asks:
            key.token.usable()
            confirm(os.environ, key.permission.question, key.name, peer)
        signature = self._holdings.using(key, work)
        self._used()
        return signature

    # dojang's own requests

    def _extension(self, reader: Reader, peer: Peer) -> bytes:
        name = reader.string()
        own = self._own.get(name)
        if own is None:
            return FAILURE  # as the protocol wants it for extensions that are not known
        try:
            return own(name, reader, peer)
        except Locked:
            return answer(name, wire.LOCKED)
        except Unserved:
            return answer(name, wire.ABSENT)
        except DojangError as error:
            return answer(name, wire.FAILED, string(failure_bytes(error)))
        except Malformed:
            raise
        except Exception as error:
            traceback.print_exc()  # for whoever runs it in the foreground
            problem = Phrase("it failed inside ({kind})", kind=type(error).__name__)
            return answer(name, wire.FAILED, string(failure_bytes(AgentUnavailable(problem=problem))))

    def _query(self, name: bytes, reader: Reader, _peer: Peer) -> bytes:
        reader.end()
        names = b"".join(string(one) for one in wire.EXTENSIONS)
        return frame(bytes((wire.EXTENSION_RESPONSE,)), string(name), names)

    def _find(self, name: bytes, reader: Reader, peer: Peer) -> bytes:
        address, module = reader.text(), reader.text()
        reader.end()
        key = self._holdings.find(address, module)
        key.token.usable()
        key.permission.check_program(peer)
        public = b"".join(pack_uint32(kind) + string(value) for kind, value in key.public.items())
        info = key.token.token.info
        texts = (key.signer.algorithm, info.label, key.address)
        at_once = 1 if key.asks else key.signer.at_once
        numbers = pack_uint32(at_once) + pack_uint32(len(key.public))
        return answer(name, wire.OK, string(key.reference), *(string(text.encode()) for text in texts), numbers, public)

    def _sign(self, _name: bytes, reader: Reader, peer: Peer) -> bytes:
        """The data comes first, because what follows is mostly the same as last time."""
        data, told = reader.string(), reader.rest()
        asked = self._asked.get(told)
        if asked is None:
            if len(self._asked) >= _MOST_ASKED:
                self._asked.clear()
            asked = self._asked[told] = _Asked.parse(told)
        key = self._holdings.by_reference(asked.reference)
        signature = self._signed(key, peer, lambda signer: asked.of(signer, data))
        return answer(wire.SIGN, wire.OK, string(signature))

    def _add(self, name: bytes, reader: Reader, peer: Peer) -> bytes:
        wanted, has_pin, pin = _wanted(reader.string()), reader.byte(), reader.string()
        reader.end()
        secret = Secret(pin) if has_pin and pin else None
        try:
            key, new = self._holdings.add(wanted, secret, has_pin=bool(has_pin), proved=peer.proved, first=peer.starter)
            self._used()
        except PinWanted as needed:
            return answer(name, wire.WANTS_PIN, string(json.dumps(needed.request).encode()))
        return answer(name, wire.OK, string(json.dumps({"key": describe(key), "new": new}).encode()))

    def _report(self, name: bytes, reader: Reader, _peer: Peer) -> bytes:
        reader.end()
        keys = [describe(key) for key in self._holdings.keys]
        report = {**self._status(), "locked": self._holdings.locked, "keys": keys}
        return answer(name, wire.OK, string(json.dumps(report).encode()))

    def _open(self, name: bytes, reader: Reader, _peer: Peer) -> bytes:
        reader.end()
        self._listen()
        return answer(name, wire.OK)

    def _end(self, name: bytes, reader: Reader, _peer: Peer) -> bytes:
        reader.end()
        self._stop()
        return answer(name, wire.OK)


class _Asked(NamedTuple):
    """How a signature is wanted, and by which key."""

    reference: bytes
    message: bool
    plain: bool
    salt_length: int | None
    hash_name: str
    scheme: str | None

    @classmethod
    def parse(cls, told: bytes) -> Self:
        """``Malformed`` for anything else."""
        reader = Reader(told)
        reference, kind, plain, salt = reader.string(), reader.byte(), reader.byte(), reader.uint32()
        asked = cls(
            reference,
            kind == wire.MESSAGE,
            bool(plain),
            None if salt == wire.NO_SALT else salt,
            reader.text(),
            reader.text() or None,
        )
        reader.end()
        return asked

    def of(self, signer: "TokenSigner", data: bytes) -> bytes:
        """The signature over ``data``, a digest or a message."""
        if self.message:
            return signer.sign_message(data, self.hash_name, self.scheme, salt_length=self.salt_length)
        return signer.sign_digest(data, self.hash_name, self.scheme, salt_length=self.salt_length, plain=self.plain)


def describe(key: HeldKey) -> dict[str, Any]:
    """A key as ``status`` shows it."""
    return {
        "address": key.address,
        "algorithm": key.signer.algorithm,
        "locked": key.token.locked or None,
        "confirm": key.asks,
        "programs": list(key.permission.programs),
        "fingerprint": _fingerprint(key.ssh_blob),
        "signatures": key.signatures,
    }


def _fingerprint(blob: bytes) -> str | None:
    """As ``ssh-add -l`` shows it."""
    from base64 import b64encode
    from hashlib import sha256

    return f"SHA256:{b64encode(sha256(blob).digest()).decode().rstrip('=')}" if blob else None


def _wanted(data: bytes) -> Wanted:
    try:
        told = json.loads(data)
        module, configured, discover, named_by = told["search"]
        search = ModuleSearch(module, tuple(ModuleSpec(*spec) for spec in configured), discover, named_by)
        permission = Permission(tuple(told["programs"]), bool(told["confirm"]), str(told["question"]))
        permission.question.format_map({"program": "", "pid": 0, "address": ""})
        return Wanted(told["address"], search, permission, told["guard"], bool(told["last_try"]))
    except (ValueError, KeyError, TypeError):
        raise Malformed from None
