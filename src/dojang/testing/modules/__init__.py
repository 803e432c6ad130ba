"""Every PKCS#11 module that can be had on a Debian machine, brought up for real: a name, and a token is there.

    with bring_up("tpm") as token:
        ...

What a bring-up starts ends with it, also when this process is killed. ``python -m dojang.testing NAME COMMAND`` does
the same around a command.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Final, NamedTuple

from dojang.testing.scratch import scratch
from dojang.testing.setup import BringUpFailed, TokenSetup


class Kind(NamedTuple):
    """A module that can be brought up: the file beside this one that does it, and what it is."""

    file: str
    about: str


KINDS: Final = {
    "softhsm": Kind("softhsm", "SoftHSM2, a token in files"),
    "opencryptoki": Kind(
        "opencryptoki", "opencryptoki's software token with its daemon, in namespaces of its own (root)"
    ),
    "nss": Kind("nss", "NSS softokn, the key database of Firefox"),
    "tpm": Kind("tpm", "tpm2-pkcs11 on a TPM in software (swtpm) with its resource manager"),
    "p11-kit": Kind("p11_kit", "a SoftHSM2 token behind p11-kit's server, over a unix socket"),
    "piv": Kind("piv", "OpenSC with an emulated PIV card in an emulated reader"),
}


@contextmanager
def bring_up(name: str) -> Iterator[TokenSetup]:
    """The token of one kind, in a folder in memory that is gone afterwards; ``BringUpFailed`` says what is missing."""
    if name not in KINDS:
        raise BringUpFailed(f"There is no module {name} to bring up, only these: {', '.join(KINDS)}.")
    with scratch("dojang-token-") as folder:
        kind = import_module(f"{__name__}.{KINDS[name].file}")
        with kind.bring_up(folder) as setup:
            yield setup


def around(name: str) -> list[str]:
    """The command that must stand before that of a process which brings this token up; mostly none."""
    kind = import_module(f"{__name__}.{KINDS[name].file}")
    return list(getattr(kind, "AROUND", ()))
