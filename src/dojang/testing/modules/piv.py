"""OpenSC and an emulated PIV card: its PIN has three tries, its PUK unblocks it, one key wants the PIN every time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dojang.testing.modules.parts import program
from dojang.testing.piv import plugged_in
from dojang.testing.setup import TokenSetup


@contextmanager
def bring_up(_: Path) -> Iterator[TokenSetup]:
    """A fresh card in a reader of a pcscd of its own; it is pulled when this process ends."""
    with plugged_in() as plugged:
        tool = program("pkcs15-tool", "opensc")
        pins = {"PUK": plugged.setup.so_pin_source, "PIN": plugged.setup.pin_source}
        read = " ".join(f'{name}="$(cat {str(source).removeprefix("file:")})"' for name, source in pins.items())
        unblock = f"{read} {tool} --unblock-pin --auth-id 01 --puk env:PUK --new-pin env:PIN"
        yield replace(plugged.setup, so_pin=None, so_pin_source=None, unlock_command=("sh", "-c", unblock))
