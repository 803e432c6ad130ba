"""C_SignInit and C_Sign called through the backend of cffi, which takes less of Python's time than ctypes.

The time of a P-256 signature is short enough for that to be seen (3 % of it). cryptography brings the backend along;
where it is missing, everything stays with ctypes.
"""

from collections.abc import Callable
from ctypes import c_void_p, cast
from importlib import import_module

Function = Callable[..., int]

_SIGN_INIT = "unsigned long (*)(unsigned long, uintptr_t, unsigned long)"
_SIGN = "unsigned long (*)(unsigned long, char const *, unsigned long, uintptr_t, uintptr_t)"


def swift(sign_init: Function, sign: Function) -> tuple[Function, Function]:
    """The same C functions, taking the same arguments and releasing the GIL as before."""
    try:
        backend = import_module("_cffi_backend").FFI()
    except (ImportError, AttributeError):
        return sign_init, sign
    return backend.cast(_SIGN_INIT, _address(sign_init)), backend.cast(_SIGN, _address(sign))


def _address(function: Function) -> int | None:
    return cast(function, c_void_p).value  # type: ignore[arg-type]
