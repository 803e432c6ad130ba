"""One session on a token: what a thread asks in it, and what an object is searched for by."""

from collections.abc import Sequence
from ctypes import addressof, c_ulong, create_string_buffer

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.module import Module
from dojang.pkcs11.same_key import PUBLIC_HALF, has_half
from dojang.pkcs11.structures import AttributeReader, AttributeValue, Mechanism

_SIGNATURE_ROOM = 512
_LONGEST_SIGNATURE = 1 << 20
_MOST_ALIKE = 64  # keys under one label or CKA_ID of which one is told by its public half

Search = tuple[tuple[int, AttributeValue], ...]
"""What identifies one object: attributes to search for, in a fixed order so that it can be a dictionary key."""


class Session:
    """One C session: used by one thread at a time, with memory of its own and the handles its pool has looked up."""

    __slots__ = (
        "_address",
        "_length",
        "_length_address",
        "_readers",
        "_room",
        "_signature",
        "cryptoki",
        "generation",
        "handle",
        "handles",
        "missed",
        "read_write",
        "spoiled",
        "token_label",
    )

    def __init__(
        self,
        module: Module,
        handle: int,
        token_label: str,
        handles: "dict[Search, int]",
        missed: "set[Search]",
        *,
        read_write: bool,
    ) -> None:
        """Wrap an open session; the pool opens and closes."""
        self.cryptoki = module.cryptoki
        self.generation = module.generation
        self.handle = handle
        self.read_write = read_write
        self.token_label = token_label
        self.spoiled = False
        self.handles = handles
        self.missed = missed
        self._readers: dict[tuple[int, ...], AttributeReader] = {}
        self._make_room(_SIGNATURE_ROOM)
        self._length = c_ulong()
        self._length_address = addressof(self._length)

    def _make_room(self, size: int) -> None:
        self._signature = create_string_buffer(size)
        self._address = addressof(self._signature)
        self._room = size

    def resolve(self, search: Search) -> int:
        """The handle of the one object that ``search`` describes, from memory where it was looked up before."""
        handle = self.handles.get(search)
        if handle is None:
            found = self._find(search)
            if len(found) > 1:
                raise errors.Ambiguous(what=describe(search), matches=f"{len(found)} objects with the same CKA_ID")
            if not found:
                raise Missing(search)
            handle = self.handles[search] = found[0]
            self.missed.discard(search)
        return handle

    def _find(self, search: Search) -> list[int]:
        if search[-1][0] != PUBLIC_HALF:
            return self.cryptoki.find_objects(self.handle, search, limit=2)
        plain, half = search[:-1], search[-1][1]
        found = self.cryptoki.find_objects(self.handle, plain, limit=_MOST_ALIKE)
        same = [handle for handle in found if has_half(self, handle, half)] if isinstance(half, bytes) else []
        if found and not same:
            raise errors.KeyReplaced(token=self.token_label, what=describe(plain))
        return same

    def read(self, handle: int, kinds: tuple[int, ...]) -> dict[int, bytes]:
        """Attributes of one object in one call; what it lacks or hides is absent."""
        reader = self._readers.get(kinds)
        if reader is None:
            reader = self._readers[kinds] = AttributeReader(kinds)
        return self.cryptoki.read_attributes(self.handle, handle, reader)

    def sign(self, mechanism: Mechanism, key: int, data: bytes) -> bytes:
        """C_SignInit and C_Sign."""
        cryptoki, handle, length = self.cryptoki, self.handle, self._length
        rv = cryptoki.sign_init(handle, mechanism.address, key)
        if rv:
            raise CryptokiError("C_SignInit", rv)
        length.value = room = self._room
        rv = cryptoki.sign_into(handle, data, len(data), self._address, self._length_address)
        size = length.value
        return self._signed(rv, data) if rv or not 0 < size <= room else self._signature.raw[:size]

    def sign_all(self, mechanism: Mechanism, key: int, data: Sequence[bytes], signatures: list[bytes]) -> None:
        """The same for each in its turn, with as little between two of them as can be; done is what was added."""
        cryptoki, handle, length, room = self.cryptoki, self.handle, self._length, self._room
        sign_init, sign_into, address = cryptoki.sign_init, cryptoki.sign_into, mechanism.address
        place, length_place, written = self._address, self._length_address, memoryview(self._signature)
        for one in data:
            rv = sign_init(handle, address, key)
            if rv:
                raise CryptokiError("C_SignInit", rv)
            length.value = room
            rv = sign_into(handle, one, len(one), place, length_place)
            size = length.value
            if rv or not 0 < size <= room:
                signatures.append(self._signed(rv, one))
                return  # there may be other room by now
            signatures.append(bytes(written[:size]))

    def sign_in_place(self, mechanism: Mechanism, key: int) -> tuple[bytes, int]:
        """C_SignInit and C_Sign over nothing, for an answer that points into itself: its bytes, and where it lay."""
        self.sign_begin(mechanism, key)
        answer = self.sign_end(b"")
        return answer, self._address

    def sign_begin(self, mechanism: Mechanism, key: int) -> None:
        """C_SignInit alone, where something must happen before C_Sign."""
        rv = self.cryptoki.sign_init(self.handle, mechanism.address, key)
        if rv:
            raise CryptokiError("C_SignInit", rv)

    def sign_end(self, data: bytes) -> bytes:
        """C_Sign, once; again only where the module asked for more room, which means that it has not signed (5.2)."""
        self._length.value = self._room
        rv = self.cryptoki.sign_into(self.handle, data, len(data), self._address, self._length_address)
        return self._signed(rv, data)

    def _signed(self, rv: int, data: bytes) -> bytes:
        size = self._length.value
        if rv == ck.CKR_BUFFER_TOO_SMALL and self._room < size <= _LONGEST_SIGNATURE:
            self._make_room(size)
            return self.sign_end(data)
        if rv:
            raise CryptokiError("C_Sign", rv)
        if not 0 < size <= self._room:  # it says that it wrote nothing, or where there was no room
            raise CryptokiError("C_Sign", ck.CKR_FUNCTION_FAILED)
        return self._signature.raw[:size]

    def close(self) -> None:
        """C_CloseSession; a session that is already gone is no error."""
        try:
            self.cryptoki.close_session(self.handle)
        except CryptokiError:
            return  # closed by C_CloseAllSessions, C_Finalize or removal: nothing is left to close


def describe(search: Search) -> errors.Phrase:
    """A search in words for a message."""
    values = {kind: value for kind, value in search if isinstance(value, bytes)}
    label, key_id = values.get(ck.CKA_LABEL), values.get(ck.CKA_ID)
    if label is not None and key_id is not None:
        return errors.Phrase("label {label} and id {id}", label=label.decode("utf-8", "replace"), id=key_id.hex())
    if label is not None:
        return errors.Phrase("label {label}", label=label.decode("utf-8", "replace"))
    return errors.Phrase("id {id}", id=key_id.hex()) if key_id is not None else errors.Phrase("the object")


class Missing(Exception):
    """Nothing matches; the pool decides whether that is the truth or the login is gone. Never leaves this package."""

    def __init__(self, search: Search) -> None:
        """Keep what was searched for."""
        super().__init__(describe(search))
        self.search = search
