"""Pictures of otpauth URIs, which their owner alone can read."""

from pathlib import Path

from dojang.cli.files import check_writable
from dojang.errors import AlreadyExists, InvalidOtp, Phrase
from dojang.secret import Secret

FORMS = {".svg": "svg", ".png": "png", ".txt": "txt"}


def check_picture(path: Path) -> None:
    """Before there is anything to draw. ``InvalidOtp``, ``AlreadyExists``, ``FileUnwritable``."""
    if path.suffix.lower() not in FORMS:
        raise InvalidOtp(problem=Phrase("a picture is one of {forms}", forms=", ".join(FORMS)))
    if path.exists():
        raise AlreadyExists(what=str(path), where=path.absolute().parent)
    check_writable(path)


def write_picture(path: Path, uri: Secret) -> None:
    """Written aside and renamed, 0600: whole or not there."""
    from dojang.npki.files import write_file
    from dojang.otp.qr import drawn

    write_file(path, drawn(uri, FORMS[path.suffix.lower()]))
