"""Passwords of key files: the bytes they may stand for, the rules institutions have, and how strong one is.

ASCII is the same everywhere. Beyond it old clients took the bytes of CP949 (EUC-KR and its extension), others UTF-8.
"""

from typing import Final

from dojang.secret import Secret

ENCODINGS: Final = ("utf-8", "cp949")
"""The order in which a password is tried on what others made; the first is what we write in."""


def byte_forms(password: Secret, encodings: tuple[str, ...] = ENCODINGS) -> list[bytes]:
    """The bytes a password may stand for, in the order to try them. One that is no UTF-8 stands for itself."""
    raw, text = password.reveal(), text_of(password)
    if text is None or raw.isascii():
        return [raw]
    return list(dict.fromkeys(form for encoding in encodings if (form := _encoded(text, encoding)) is not None))


def utf16_forms(password: Secret, encodings: tuple[str, ...] = ENCODINGS) -> list[bytes]:
    """The same as PKCS#12 wants it (RFC 7292 B.1): UTF-16 and two zero bytes.

    Old programs made each byte a character; so those come last. Of no password some make nothing at all.
    """
    text, zero = text_of(password), b"\0\0"
    whole = [] if text is None else [text.encode("utf-16-be") + zero]
    widened = [form.decode("latin-1").encode("utf-16-be") + zero for form in byte_forms(password, encodings)]
    return list(dict.fromkeys([*whole, *widened, *([] if len(password) else [b""])]))


def text_of(password: Secret) -> str | None:
    """The password as text, if it is text."""
    try:
        return password.reveal().decode()
    except UnicodeDecodeError:
        return None


def _encoded(text: str, encoding: str) -> bytes | None:
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return None
