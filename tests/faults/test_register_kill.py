"""Registering is one entry in the ledger: killed before it, nothing was registered, and nothing is left to recover."""

from itertools import count
from pathlib import Path
from signal import SIGKILL

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.faults.conftest import Bench


def _events(bench: Bench, address: str) -> list[str]:
    return [event["event"] for event in bench.json("cert", "show", address)["history"]]


def _root(bench: Bench, address: str) -> Path:
    """The certificate of the bench's authority, as the one at ``address`` names it."""
    chain, root = bench.home / "chain.pem", bench.home / "root.pem"
    bench.json("cert", "show", address, "-o", chain)
    root.write_bytes(x509.load_pem_x509_certificates(chain.read_bytes())[-1].public_bytes(Encoding.PEM))
    return root


@pytest.mark.parametrize("kind", ["token", "disk"])
def test_register_killed_anywhere(bench: Bench, kind: str) -> None:
    """The same command again registers it, once; a state that was learnt before the kill is kept."""
    bench.json(*bench.issue_words(kind, "hong"))
    address = bench.address_of(kind, "hong")
    serial = bench.credentials(kind, "hong")[0]["serial"]
    crl = bench.json("ca", "show")["authorities"][0]["crl"]["path"]
    words = ["cert", "register", address, "--trust", _root(bench, address), "--crl", crl]
    bench.json("ca", "suspend", serial)
    assert bench.run(*words).status == 13
    bench.json("ca", "restore", serial)
    before = _events(bench, address)
    for point in count():
        run = bench.run(*words, at=point)
        if not run.effects[-1].startswith("!"):
            assert run.status == 0, run.err
            break
        assert run.status == -SIGKILL
        assert _events(bench, address)[len(before) :] == []
        assert bench.run("renew", "run", bench.locations[kind]).status in (0, 14)
    assert point == 1
    assert _events(bench, address)[len(before) :] == ["registered"]
