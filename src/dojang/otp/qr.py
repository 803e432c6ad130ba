"""QR codes (ISO/IEC 18004) of what a phone is to read, drawn by segno."""

import io
from typing import TYPE_CHECKING

from dojang.errors import ExtraMissing, InvalidOtp, Phrase
from dojang.secret import Secret

if TYPE_CHECKING:
    from segno import QRCode

FORMS = ("svg", "png", "txt")
_BORDER = 4  # modules of quiet zone, as the standard asks for


def drawn(text: Secret, form: str, *, scale: int = 4) -> bytes:
    """The picture of a text: ``svg``, ``png``, or ``txt`` for a terminal. As secret as the text."""
    if form not in FORMS:
        raise InvalidOtp(problem=Phrase("a picture is one of {forms}", forms=", ".join(FORMS)))
    code = _code(text)
    if form == "txt":
        return on_terminal(text).encode()
    out = io.BytesIO()
    code.save(out, kind=form, scale=scale, border=_BORDER)
    return out.getvalue()


def on_terminal(text: Secret) -> str:
    """The picture in half blocks, two rows a line, for light letters on a dark ground."""
    out = io.StringIO()
    _code(text).terminal(out, border=_BORDER, compact=True)
    return out.getvalue()


def _code(text: Secret) -> "QRCode":
    try:
        import segno
    except ImportError as error:
        raise ExtraMissing(module="segno", extra="otp") from error
    try:
        return segno.make_qr(text.reveal().decode(), error="m")
    except segno.DataOverflowError:
        raise InvalidOtp(problem=Phrase("it is too long for a QR code")) from None
