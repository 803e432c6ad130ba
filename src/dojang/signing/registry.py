"""The formats dojang signs in, one row each, imported only when one is used."""

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple, cast

from dojang.errors import Phrase, UnsupportedFormat


class Signed(NamedTuple):
    """What signing a file left behind: where (``-`` for a stream), in which format, by which algorithm."""

    output: str
    format: str
    algorithm: str


class SigningFormat(NamedTuple):
    """One row. ``module`` has its options and ``sign_file(source, output, signer, options, on_progress, unsynced)``."""

    name: str
    suffix: str
    module: str

    def load(self) -> Callable[..., Signed]:
        """Import the format and give its ``sign_file``."""
        return cast(Callable[..., Signed], import_module(self.module).sign_file)


FORMATS = (
    SigningFormat(name="raw", suffix=".sig", module="dojang.signing.raw"),
    SigningFormat(name="cms", suffix=".p7s", module="dojang.signing.cms"),
)


def signing_format(name: str) -> SigningFormat:
    """The row called ``name``; ``UnsupportedFormat`` lists those that exist."""
    for row in FORMATS:
        if row.name == name:
            return row
    known = ", ".join(row.name for row in FORMATS)
    raise UnsupportedFormat(what=name, problem=Phrase("the formats are {known}", known=known))
