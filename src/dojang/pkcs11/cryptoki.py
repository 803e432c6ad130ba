"""The C functions of a PKCS#11 module (OASIS PKCS#11 2.40, chapter 5), through ctypes and nothing else.

One ``Cryptoki`` is one function list. Every method is one C function, releases the GIL while the module works, and
raises ``CryptokiError`` with the function's name and return value. Handles and structures do not leave this package.
"""

import ctypes
from collections.abc import Callable, Iterable, Sequence
from ctypes import POINTER, addressof, c_ubyte, c_ulong, c_void_p, create_string_buffer

from dojang.pkcs11 import constants as ck
from dojang.pkcs11.structures import (
    AttributeReader,
    AttributeValue,
    InfoStruct,
    InitializeArgs,
    Mechanism,
    Packed,
    SessionInfoStruct,
    SlotInfoStruct,
    Template,
    TokenInfoStruct,
    Version,
    utf8,
)


class CryptokiError(Exception):
    """A C function answered something other than CKR_OK. Caught at the doors of this package, never seen outside."""

    def __init__(self, function: str, rv: int) -> None:
        """Keep which C function answered what."""
        super().__init__(f"{function}: {ck.result_name(rv)}")
        self.function = function
        self.rv = rv


_V, _U = c_void_p, c_ulong
_SIGNATURES: tuple[tuple[str, tuple[object, ...]], ...] = (
    ("C_Initialize", (_V,)),
    ("C_Finalize", (_V,)),
    ("C_GetInfo", (_V,)),
    ("C_GetFunctionList", (_V,)),
    ("C_GetSlotList", (c_ubyte, _V, _V)),
    ("C_GetSlotInfo", (_U, _V)),
    ("C_GetTokenInfo", (_U, _V)),
    ("C_GetMechanismList", (_U, _V, _V)),
    ("C_GetMechanismInfo", (_U, _U, _V)),
    ("C_InitToken", (_U, _V, _U, _V)),
    ("C_InitPIN", (_U, _V, _U)),
    ("C_SetPIN", (_U, _V, _U, _V, _U)),
    ("C_OpenSession", (_U, _U, _V, _V, _V)),
    ("C_CloseSession", (_U,)),
    ("C_CloseAllSessions", (_U,)),
    ("C_GetSessionInfo", (_U, _V)),
    ("C_GetOperationState", (_U, _V, _V)),
    ("C_SetOperationState", (_U, _V, _U, _U, _U)),
    ("C_Login", (_U, _U, _V, _U)),
    ("C_Logout", (_U,)),
    ("C_CreateObject", (_U, _V, _U, _V)),
    ("C_CopyObject", (_U, _U, _V, _U, _V)),
    ("C_DestroyObject", (_U, _U)),
    ("C_GetObjectSize", (_U, _U, _V)),
    ("C_GetAttributeValue", (_U, _U, _V, _U)),
    ("C_SetAttributeValue", (_U, _U, _V, _U)),
    ("C_FindObjectsInit", (_U, _V, _U)),
    ("C_FindObjects", (_U, _V, _U, _V)),
    ("C_FindObjectsFinal", (_U,)),
    ("C_EncryptInit", (_U, _V, _U)),
    ("C_Encrypt", (_U, _V, _U, _V, _V)),
    ("C_EncryptUpdate", (_U, _V, _U, _V, _V)),
    ("C_EncryptFinal", (_U, _V, _V)),
    ("C_DecryptInit", (_U, _V, _U)),
    ("C_Decrypt", (_U, _V, _U, _V, _V)),
    ("C_DecryptUpdate", (_U, _V, _U, _V, _V)),
    ("C_DecryptFinal", (_U, _V, _V)),
    ("C_DigestInit", (_U, _V)),
    ("C_Digest", (_U, _V, _U, _V, _V)),
    ("C_DigestUpdate", (_U, _V, _U)),
    ("C_DigestKey", (_U, _U)),
    ("C_DigestFinal", (_U, _V, _V)),
    ("C_SignInit", (_U, _V, _U)),
    ("C_Sign", (_U, ctypes.c_char_p, _U, _V, _V)),
    ("C_SignUpdate", (_U, _V, _U)),
    ("C_SignFinal", (_U, _V, _V)),
    ("C_SignRecoverInit", (_U, _V, _U)),
    ("C_SignRecover", (_U, _V, _U, _V, _V)),
    ("C_VerifyInit", (_U, _V, _U)),
    ("C_Verify", (_U, _V, _U, _V, _U)),
    ("C_VerifyUpdate", (_U, _V, _U)),
    ("C_VerifyFinal", (_U, _V, _U)),
    ("C_VerifyRecoverInit", (_U, _V, _U)),
    ("C_VerifyRecover", (_U, _V, _U, _V, _V)),
    ("C_DigestEncryptUpdate", (_U, _V, _U, _V, _V)),
    ("C_DecryptDigestUpdate", (_U, _V, _U, _V, _V)),
    ("C_SignEncryptUpdate", (_U, _V, _U, _V, _V)),
    ("C_DecryptVerifyUpdate", (_U, _V, _U, _V, _V)),
    ("C_GenerateKey", (_U, _V, _V, _U, _V)),
    ("C_GenerateKeyPair", (_U, _V, _V, _U, _V, _U, _V, _V)),
    ("C_WrapKey", (_U, _V, _U, _U, _V, _V)),
    ("C_UnwrapKey", (_U, _V, _U, _V, _U, _V, _U, _V)),
    ("C_DeriveKey", (_U, _V, _U, _V, _U, _V)),
    ("C_SeedRandom", (_U, _V, _U)),
    ("C_GenerateRandom", (_U, _V, _U)),
    ("C_GetFunctionStatus", (_U,)),
    ("C_CancelFunction", (_U,)),
    ("C_WaitForSlotEvent", (_U, _V, _V)),
)
_INDEX = {name: index for index, (name, _) in enumerate(_SIGNATURES)}


_MOST_GROWTH = 8
_LONGEST_DIGEST = 64
_MOST_ADDED = 32  # by a mode with padding or a tag
_NO_HANDLE = 0  # CK_INVALID_HANDLE


class _FunctionListStruct(Packed):
    _fields_ = [("version", Version), ("functions", c_void_p * len(_SIGNATURES))]


class Cryptoki:
    """The functions of one loaded module; made by ``load``, everything else needs ``initialize`` first."""

    _ATTRIBUTE_LIMIT = 1 << 20
    _LIST_LIMIT = 1 << 16
    _OBJECT_LIMIT = 1 << 20
    _MANY_SIGNATURES = 64

    def __init__(self, library: ctypes.CDLL) -> None:
        """Ask the library for its function list, once: p11-kit's client answers with a new instance every time."""
        self._library = library
        pointer = POINTER(_FunctionListStruct)()
        library.C_GetFunctionList.argtypes = [c_void_p]
        library.C_GetFunctionList.restype = c_ulong
        rv = library.C_GetFunctionList(addressof(pointer))
        if rv != ck.CKR_OK or not pointer:
            raise CryptokiError("C_GetFunctionList", rv)
        self._functions = pointer.contents.functions
        self._bound: dict[str, Callable[..., int]] = {}
        self.sign_into = self.function("C_Sign")
        self.sign_init = self._counted(self.function("C_SignInit"), self.sign_into)

    @classmethod
    def load(cls, path: str) -> "Cryptoki":
        """Load the shared library; ``OSError`` or ``AttributeError`` when it is no PKCS#11 module."""
        return cls(ctypes.CDLL(path))

    def function(self, name: str) -> Callable[..., int]:
        """One C function as a callable that answers the return value; bound when first asked for."""
        bound = self._bound.get(name)
        if bound is None:
            index = _INDEX[name]
            pointer = self._functions[index]
            if not pointer:
                raise CryptokiError(name, ck.CKR_FUNCTION_NOT_SUPPORTED)
            argtypes: Sequence[object] = _SIGNATURES[index][1]
            prototype = ctypes.CFUNCTYPE(c_ulong, *argtypes)  # type: ignore[arg-type]
            bound = self._bound[name] = prototype(pointer)
        return bound

    def _counted(self, sign_init: Callable[..., int], sign_into: Callable[..., int]) -> Callable[..., int]:
        """C_SignInit, until there have been so many signatures that loading the swift way to it is worth its time."""
        calls = 0

        def counted(session: int, mechanism: int, key: int) -> int:
            nonlocal calls
            calls += 1
            if calls >= self._MANY_SIGNATURES and self.sign_init is counted and self.sign_into is sign_into:
                from dojang.pkcs11.swift import swift

                self.sign_init, self.sign_into = swift(sign_init, sign_into)
            return sign_init(session, mechanism, key)

        return counted

    def _call(self, name: str, *arguments: object) -> None:
        rv = self.function(name)(*arguments)
        if rv != ck.CKR_OK:
            raise CryptokiError(name, rv)

    # General purpose and slots (5.4, 5.5)

    def initialize(self, init_string: str | None = None, *, locking: bool = True) -> None:
        """C_Initialize with OS locking, or without arguments where callers take turns and no lock shall be taken (2.40,
        5.4.1); ``init_string`` goes where NSS looks for it (pReserved).
        """
        if not locking:
            return self._call("C_Initialize", None)
        text = create_string_buffer(init_string.encode()) if init_string is not None else None
        arguments = InitializeArgs(flags=ck.CKF_OS_LOCKING_OK, reserved=addressof(text) if text else None)
        return self._call("C_Initialize", addressof(arguments))

    def finalize(self) -> None:
        self._call("C_Finalize", None)

    def info(self) -> InfoStruct:
        info = InfoStruct()
        self._call("C_GetInfo", addressof(info))
        return info

    def slot_list(self, *, token_present: bool) -> list[int]:
        """Slot ids, each once."""
        return self._list("C_GetSlotList", int(token_present))

    def slot_info(self, slot_id: int) -> SlotInfoStruct:
        info = SlotInfoStruct()
        self._call("C_GetSlotInfo", slot_id, addressof(info))
        return info

    def token_info(self, slot_id: int) -> TokenInfoStruct:
        info = TokenInfoStruct()
        self._call("C_GetTokenInfo", slot_id, addressof(info))
        return info

    def slot_event(self) -> int | None:
        """The slot in which something was put in or taken out since the last call; never waits (CKF_DONT_BLOCK)."""
        slot_id = c_ulong()
        try:
            self._call("C_WaitForSlotEvent", ck.CKF_DONT_BLOCK, addressof(slot_id), None)
        except CryptokiError as error:
            if error.rv == ck.CKR_NO_EVENT:
                return None
            raise
        return slot_id.value

    def mechanism_list(self, slot_id: int) -> list[int]:
        return self._list("C_GetMechanismList", slot_id)

    def _list(self, function: str, of: int) -> list[int]:
        """What a function lists; asked again when there is more at the second of the two calls the standard needs."""
        count = c_ulong()
        for _ in range(_MOST_GROWTH):
            self._call(function, of, None, addressof(count))
            room = max(_believable(function, count.value, self._LIST_LIMIT), 1)
            numbers = (c_ulong * room)()
            try:
                self._call(function, of, addressof(numbers), addressof(count))
            except CryptokiError as error:
                if error.rv != ck.CKR_BUFFER_TOO_SMALL:
                    raise
                continue
            return list(dict.fromkeys(numbers[: min(count.value, room)]))
        raise CryptokiError(function, ck.CKR_BUFFER_TOO_SMALL)

    def init_token(self, slot_id: int, so_pin: bytes | None, label: str) -> None:
        """C_InitToken; the label is padded with spaces to 32 bytes as 5.5 demands."""
        padded = utf8(label).ljust(32)
        self._call("C_InitToken", slot_id, *_pin(so_pin), padded)

    def init_pin(self, session: int, pin: bytes | None) -> None:
        self._call("C_InitPIN", session, *_pin(pin))

    def set_pin(self, session: int, old: bytes | None, new: bytes | None) -> None:
        self._call("C_SetPIN", session, *_pin(old), *_pin(new))

    # Sessions (5.6)

    def open_session(self, slot_id: int, *, read_write: bool) -> int:
        flags = ck.CKF_SERIAL_SESSION | (ck.CKF_RW_SESSION if read_write else 0)
        handle = c_ulong()
        self._call("C_OpenSession", slot_id, flags, None, None, addressof(handle))
        return handle.value

    def close_session(self, session: int) -> None:
        self._call("C_CloseSession", session)

    def session_state(self, session: int) -> int:
        """CKS_…: who is logged in, as the token sees it."""
        info = SessionInfoStruct()
        self._call("C_GetSessionInfo", session, addressof(info))
        return int(info.state)

    def login(self, session: int, user: int, pin: bytes | None) -> None:
        """C_Login; no PIN means the token's own keypad (protected authentication path)."""
        self._call("C_Login", session, user, *_pin(pin))

    def logout(self, session: int) -> None:
        self._call("C_Logout", session)

    # Objects (5.7)

    def create_object(self, session: int, attributes: Iterable[tuple[int, AttributeValue | bytearray]]) -> int:
        template = Template(attributes)
        handle = c_ulong()
        self._call("C_CreateObject", session, template.address, template.count, addressof(handle))
        return handle.value

    def copy_object(self, session: int, obj: int, attributes: Iterable[tuple[int, AttributeValue]]) -> int:
        template = Template(attributes)
        handle = c_ulong()
        self._call("C_CopyObject", session, obj, template.address, template.count, addressof(handle))
        return handle.value

    def destroy_object(self, session: int, obj: int) -> None:
        self._call("C_DestroyObject", session, obj)

    def set_attributes(self, session: int, obj: int, attributes: Iterable[tuple[int, AttributeValue]]) -> None:
        template = Template(attributes)
        self._call("C_SetAttributeValue", session, obj, template.address, template.count)

    def read_attributes(self, session: int, obj: int, reader: AttributeReader) -> dict[int, bytes]:
        """One C_GetAttributeValue for all; hidden or unknown attributes are left out (5.7.5), long ones read again."""
        partial = (ck.CKR_OK, ck.CKR_ATTRIBUTE_SENSITIVE, ck.CKR_ATTRIBUTE_TYPE_INVALID)
        read = self.function("C_GetAttributeValue")
        reader.prepare()
        rv = read(session, obj, reader.address, reader.count)
        if rv == ck.CKR_BUFFER_TOO_SMALL:
            reader.measure()
            rv = read(session, obj, reader.address, reader.count)
            if rv in partial and not reader.grow(self._ATTRIBUTE_LIMIT):
                raise CryptokiError("C_GetAttributeValue", ck.CKR_ATTRIBUTE_VALUE_INVALID)
            if rv in partial:
                reader.prepare()
                rv = read(session, obj, reader.address, reader.count)
        if rv not in partial:
            raise CryptokiError("C_GetAttributeValue", rv)
        return reader.values()

    def find_objects(self, session: int, attributes: Iterable[tuple[int, AttributeValue]], limit: int = 0) -> list[int]:
        """Handles of the matching objects, at most ``limit`` of them when given; the search is always ended."""
        template = Template(attributes)
        self._call("C_FindObjectsInit", session, template.address, template.count)
        found: dict[int, None] = {}
        batch = (c_ulong * (limit or 512))()
        count = c_ulong()
        try:
            while True:
                self._call("C_FindObjects", session, addressof(batch), len(batch), addressof(count))
                before = len(found)
                found.update(dict.fromkeys(batch[: min(count.value, len(batch))]))
                if len(found) == before or (limit and len(found) >= limit):
                    found.pop(_NO_HANDLE, None)
                    return list(found)  # a batch without anything new ends it: some modules would go on for ever
                _believable("C_FindObjects", len(found), self._OBJECT_LIMIT)
        finally:
            self.function("C_FindObjectsFinal")(session)

    # Keys and cryptography (5.8 – 5.18)

    def generate_key(self, session: int, mechanism: Mechanism, attributes: Iterable[tuple[int, AttributeValue]]) -> int:
        template = Template(attributes)
        handle = c_ulong()
        self._call("C_GenerateKey", session, mechanism.address, template.address, template.count, addressof(handle))
        return handle.value

    def generate_key_pair(
        self,
        session: int,
        mechanism: Mechanism,
        public: Iterable[tuple[int, AttributeValue]],
        private: Iterable[tuple[int, AttributeValue]],
    ) -> tuple[int, int]:
        """Handles of the public and the private key."""
        open_part, closed_part = Template(public), Template(private)
        public_handle, private_handle = c_ulong(), c_ulong()
        self._call(
            "C_GenerateKeyPair",
            session,
            mechanism.address,
            open_part.address,
            open_part.count,
            closed_part.address,
            closed_part.count,
            addressof(public_handle),
            addressof(private_handle),
        )
        return public_handle.value, private_handle.value

    def wrap_key(self, session: int, mechanism: Mechanism, wrapping_key: int, key: int) -> bytes:
        length = c_ulong()
        self._call("C_WrapKey", session, mechanism.address, wrapping_key, key, None, addressof(length))
        # NSS forgets what KWP adds when it is asked for the length (seen, 3.87), so there is room for two blocks more.
        length.value = _believable("C_WrapKey", length.value, self._ATTRIBUTE_LIMIT) + 32
        wrapped = create_string_buffer(length.value)
        self._call("C_WrapKey", session, mechanism.address, wrapping_key, key, addressof(wrapped), addressof(length))
        return wrapped.raw[: length.value]

    def unwrap_key(
        self,
        session: int,
        mechanism: Mechanism,
        unwrapping_key: int,
        wrapped: bytes,
        attributes: Iterable[tuple[int, AttributeValue]],
    ) -> int:
        template = Template(attributes)
        handle = c_ulong()
        self._call(
            "C_UnwrapKey",
            session,
            mechanism.address,
            unwrapping_key,
            wrapped,
            len(wrapped),
            template.address,
            template.count,
            addressof(handle),
        )
        return handle.value

    def digest(self, session: int, mechanism: Mechanism, data: bytes) -> bytes:
        self._call("C_DigestInit", session, mechanism.address)
        digest = create_string_buffer(_LONGEST_DIGEST)
        length = c_ulong(_LONGEST_DIGEST)
        self._call("C_Digest", session, data, len(data), addressof(digest), addressof(length))
        return digest.raw[: length.value]

    def encrypt(self, session: int, mechanism: Mechanism, key: int, plain: bytes) -> bytes:
        self._call("C_EncryptInit", session, mechanism.address, key)
        ciphertext = create_string_buffer(len(plain) + _MOST_ADDED)
        length = c_ulong(len(ciphertext))
        self._call("C_Encrypt", session, plain, len(plain), addressof(ciphertext), addressof(length))
        return ciphertext.raw[: length.value]

    def random(self, session: int, count: int) -> bytes:
        """So many bytes of the token's own generator."""
        drawn = create_string_buffer(count)
        self._call("C_GenerateRandom", session, addressof(drawn), count)
        return drawn.raw

    def decrypt(self, session: int, mechanism: Mechanism, key: int, ciphertext: bytes) -> bytes:
        self._call("C_DecryptInit", session, mechanism.address, key)
        plain = create_string_buffer(len(ciphertext) or 1)
        length = c_ulong(len(plain))
        self._call("C_Decrypt", session, ciphertext, len(ciphertext), addressof(plain), addressof(length))
        return plain.raw[: length.value]


def _believable(function: str, stated: int, limit: int) -> int:
    """A length or count that a module states, before memory is given to it."""
    if stated > limit:
        raise CryptokiError(function, ck.CKR_FUNCTION_FAILED)
    return stated


def _pin(pin: bytes | None) -> tuple[bytes | None, int]:
    return (None, 0) if pin is None else (pin, len(pin))
