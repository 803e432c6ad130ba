"""C structures of PKCS#11 2.40 (OASIS, chapter 3) and memory that modules write to."""

import ctypes
import sys
from collections.abc import Iterable, Sequence
from ctypes import Structure, addressof, c_char, c_ubyte, c_ulong, c_void_p, create_string_buffer

from dojang.errors import Phrase, Usage
from dojang.pkcs11 import constants as ck

ULONG_BYTES = ctypes.sizeof(c_ulong)
UNAVAILABLE = c_ulong(-1).value
"""CK_UNAVAILABLE_INFORMATION: the length of an attribute that cannot be read, or a count the token does not tell."""

_NUMBERS = frozenset({ck.CKA_CLASS, ck.CKA_CERTIFICATE_TYPE, ck.CKA_KEY_TYPE, ck.CKA_VALUE_LEN})
"""Attributes that are a CK_ULONG."""


class Packed(Structure):
    """PKCS#11 structures are byte-packed on Windows and naturally aligned elsewhere."""

    if sys.platform == "win32":
        _pack_ = 1


class Version(Packed):
    _fields_ = [("major", c_ubyte), ("minor", c_ubyte)]

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


class InfoStruct(Packed):
    _fields_ = [
        ("cryptoki_version", Version),
        ("manufacturer", c_char * 32),
        ("flags", c_ulong),
        ("description", c_char * 32),
        ("library_version", Version),
    ]


class SlotInfoStruct(Packed):
    _fields_ = [
        ("description", c_char * 64),
        ("manufacturer", c_char * 32),
        ("flags", c_ulong),
        ("hardware_version", Version),
        ("firmware_version", Version),
    ]


class TokenInfoStruct(Packed):
    _fields_ = [
        ("label", c_char * 32),
        ("manufacturer", c_char * 32),
        ("model", c_char * 16),
        ("serial", c_char * 16),
        ("flags", c_ulong),
        ("max_session_count", c_ulong),
        ("session_count", c_ulong),
        ("max_rw_session_count", c_ulong),
        ("rw_session_count", c_ulong),
        ("max_pin_len", c_ulong),
        ("min_pin_len", c_ulong),
        ("total_public_memory", c_ulong),
        ("free_public_memory", c_ulong),
        ("total_private_memory", c_ulong),
        ("free_private_memory", c_ulong),
        ("hardware_version", Version),
        ("firmware_version", Version),
        ("utc_time", c_char * 16),
    ]


class SessionInfoStruct(Packed):
    _fields_ = [("slot_id", c_ulong), ("state", c_ulong), ("flags", c_ulong), ("device_error", c_ulong)]


class MechanismStruct(Packed):
    _fields_ = [("mechanism", c_ulong), ("parameter", c_void_p), ("parameter_len", c_ulong)]


class PssParams(Packed):
    _fields_ = [("hash_alg", c_ulong), ("mgf", c_ulong), ("salt_len", c_ulong)]


class OaepParams(Packed):
    _fields_ = [
        ("hash_alg", c_ulong),
        ("mgf", c_ulong),
        ("source", c_ulong),
        ("source_data", c_void_p),
        ("source_data_len", c_ulong),
    ]


class GcmParams(Packed):
    _fields_ = [
        ("iv", c_void_p),
        ("iv_len", c_ulong),
        ("iv_bits", c_ulong),
        ("aad", c_void_p),
        ("aad_len", c_ulong),
        ("tag_bits", c_ulong),
    ]


class OtpParam(Packed):
    _fields_ = [("type", c_ulong), ("value", c_void_p), ("value_len", c_ulong)]


class OtpParams(Packed):
    """CK_OTP_PARAMS, and CK_OTP_SIGNATURE_INFO, which is the same (mechanisms of 2.40, 2.30.3)."""

    _fields_ = [("params", c_void_p), ("count", c_ulong)]


class AttributeStruct(Packed):
    _fields_ = [("type", c_ulong), ("value", c_void_p), ("value_len", c_ulong)]


class InitializeArgs(Packed):
    _fields_ = [
        ("create_mutex", c_void_p),
        ("destroy_mutex", c_void_p),
        ("lock_mutex", c_void_p),
        ("unlock_mutex", c_void_p),
        ("flags", c_ulong),
        ("reserved", c_void_p),
    ]


class Mechanism:
    """CK_MECHANISM with its parameter, kept alive and at a fixed address for as long as this object lives."""

    __slots__ = ("_parameter", "_struct", "address", "number")

    def __init__(self, number: int, parameter: Structure | bytes | None = None) -> None:
        """``parameter`` is a parameter structure, raw bytes (an IV), or nothing."""
        self.number = number
        holder = create_string_buffer(parameter, len(parameter)) if isinstance(parameter, bytes) else parameter
        self._parameter = holder
        if holder is None:
            self._struct = MechanismStruct(number, None, 0)
        else:
            self._struct = MechanismStruct(number, addressof(holder), ctypes.sizeof(holder))
        self.address = addressof(self._struct)


AttributeValue = bytes | bool | int


def encode_attribute(value: AttributeValue | bytearray) -> bytes | bytearray:
    """CK_BBOOL for a bool, CK_ULONG for an int, bytes as they are."""
    if isinstance(value, bool):
        return b"\x01" if value else b"\x00"
    if isinstance(value, int):
        return value.to_bytes(ULONG_BYTES, sys.byteorder)
    return value


def decode_ulong(value: bytes) -> int:
    """A CK_ULONG as a module wrote it; some write fewer bytes than the platform's width."""
    return int.from_bytes(value, sys.byteorder)


class Template:
    """CK_ATTRIBUTE array built from Python values; owns the memory it points to."""

    __slots__ = ("_values", "address", "array", "count")

    def __init__(self, attributes: Iterable[tuple[int, AttributeValue | bytearray]]) -> None:
        encoded = [(kind, encode_attribute(value)) for kind, value in attributes]
        self._values = [_held(value) for _, value in encoded]
        self.count = len(encoded)
        self.array = (AttributeStruct * (self.count or 1))()
        for slot, (kind, value), held in zip(self.array, encoded, self._values, strict=False):
            slot.type, slot.value, slot.value_len = kind, addressof(held), len(value)
        self.address = addressof(self.array)


def _held(value: bytes | bytearray) -> "ctypes.Array[c_char]":
    """Memory with a value in it; that of a bytearray is its own, so that whoever overwrites it leaves no copy."""
    if isinstance(value, bytearray) and value:
        return (c_char * len(value)).from_buffer(value)
    return create_string_buffer(bytes(value), len(value) or 1)


class AttributeReader:
    """Reads one fixed set of attributes from many objects with one C call each, in memory it reuses."""

    _FIRST_GUESS = 4096

    def __init__(self, kinds: Sequence[int]) -> None:
        """``kinds`` are CKA numbers, read together."""
        self.kinds = tuple(kinds)
        self._array = (AttributeStruct * len(self.kinds))()
        self._sizes = [self._first_guess(kind) for kind in self.kinds]
        self._buffers = [create_string_buffer(size) for size in self._sizes]
        self.address = addressof(self._array)
        self.count = len(self.kinds)

    def _first_guess(self, kind: int) -> int:
        if kind in _NUMBERS:
            return ULONG_BYTES  # exactly: NSS answers nothing where there is more room than that
        return self._FIRST_GUESS if kind in (ck.CKA_VALUE, ck.CKA_MODULUS) else 512

    def prepare(self) -> None:
        """Point every slot at its buffer and state the room there is."""
        for slot, kind, held, size in zip(self._array, self.kinds, self._buffers, self._sizes, strict=True):
            slot.type, slot.value, slot.value_len = kind, addressof(held), size

    def measure(self) -> None:
        """Ask only for lengths."""
        for slot, kind in zip(self._array, self.kinds, strict=True):
            slot.type, slot.value, slot.value_len = kind, None, 0

    def grow(self, limit: int) -> bool:
        """Make room for the lengths the module just stated; false when one is beyond ``limit``."""
        for index, slot in enumerate(self._array):
            length = slot.value_len
            if length == UNAVAILABLE or length <= self._sizes[index]:
                continue
            if length > limit:
                return False
            self._sizes[index] = length
            self._buffers[index] = create_string_buffer(length)
        return True

    def values(self) -> dict[int, bytes]:
        """What was read; an attribute the object lacks or hides is absent."""
        return {
            kind: held.raw[: slot.value_len]
            for slot, kind, held, size in zip(self._array, self.kinds, self._buffers, self._sizes, strict=True)
            if slot.value_len != UNAVAILABLE and slot.value_len <= size
        }


def utf8(text: str) -> bytes:
    """A text as tokens store it; ``Usage`` for what is no text: half a surrogate pair, as broken input leaves it."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise Usage(problem=Phrase("a name or label has characters that are not Unicode text")) from error


def text(raw: bytes) -> str:
    """A space-padded text field (some modules pad with NUL); broken UTF-8 shows as replacement characters."""
    return raw.decode("utf-8", "replace").split("\0", 1)[0].rstrip(" ")
