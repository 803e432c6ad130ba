"""Which certificate a person names: an address, a file with it, or its serial."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from dojang.cli.context import Invocation
from dojang.cli.files import certificates_of
from dojang.cli.frame import argument, option
from dojang.cli.language import N_
from dojang.errors import Usage

if TYPE_CHECKING:
    from dojang.lifecycle.meant import Meant

_SERIAL = re.compile(r"(0[xX])?[0-9a-fA-F]{1,40}|[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){1,19}")

source_argument = argument("source", metavar="[ADDRESS|FILE|SERIAL]", required=False)
serial_option = option("--serial", metavar="SERIAL", help=N_("The certificate's serial, where nothing else is left."))
ca_option = option("--ca", metavar="NAME", help=N_("Whose serial it is, where there are several authorities."))


def is_address(text: str) -> bool:
    """Whether it is meant for the address of a place, or for a saved one, rather than for a file."""
    from dojang.locations.registry import kind_at

    return text.startswith("@") or kind_at(text) is not None


def meant_by(invocation: Invocation, source: str | None, serial: str | None, ca: str | None) -> "Meant":
    """What is no address and no file is a serial. ``Usage`` unless exactly one certificate is named."""
    from dojang.lifecycle.meant import Meant

    if (source is None) == (serial is None):
        raise Usage(problem=N_("name one certificate: by its address, a file with it, or its serial"))
    if source is not None and is_address(source):
        return Meant(address=invocation.address(source), authority=ca)
    if serial is None and source is not None and (Path(source).exists() or not _SERIAL.fullmatch(source)):
        return Meant(certificate_der=certificates_of(source)[0], authority=ca)
    return Meant(serial=serial or source, authority=ca)
