"""A bank's authority over HTTP on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.authority.factors.conftest import BANK, BankCounter
from tests.cmp.own_server import OwnServer, own_server


@contextmanager
def bank_server(folder: Path) -> Iterator[OwnServer]:
    """Its profile ``bank`` wants a text message and one of two devices, ``strict`` a device for a renewal."""
    with own_server(folder) as server:
        own = server.counter.authority.folder / "profiles"
        own.mkdir()
        (own / "bank.toml").write_text(BANK)
        (own / "strict.toml").write_text('like = "personal"\n[factors]\nany = ["otp"]\nfor = ["renew"]\n')
        server.counter = BankCounter(server.counter.authority, server.counter.clock, server.counter.keys)
        yield server
