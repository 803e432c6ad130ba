"""QR codes of otpauth URIs: on the terminal, or in a picture that its owner alone can read."""

from pathlib import Path

from dojang.cli.context import Invocation
from dojang.cli.files import check_writable
from dojang.cli.language import N_
from dojang.errors import AlreadyExists, Usage
from dojang.secret import Secret

FORMS = {".svg": "svg", ".png": "png"}


def check_picture(path: Path) -> None:
    """Before there is anything to draw. ``Usage``, ``AlreadyExists``, ``FileUnwritable``."""
    if path.suffix.lower() not in FORMS:
        raise Usage(problem=N_("a QR code is written into FILE.svg or FILE.png"))
    if path.exists():
        raise AlreadyExists(what=str(path), where=path.absolute().parent)
    check_writable(path)


def write_picture(path: Path, uri: Secret) -> None:
    """Written aside and renamed, 0600: whole or not there."""
    from dojang.npki.files import write_file
    from dojang.otp.qr import drawn

    write_file(path, drawn(uri, FORMS[path.suffix.lower()]))


def show_on_terminal(invocation: Invocation, uri: Secret) -> None:
    """Beside the result, so that whoever reads that as JSON gets no seed with it."""
    from dojang.otp.qr import on_terminal

    invocation.out.note(on_terminal(uri))
