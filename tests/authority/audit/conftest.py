"""A small authority to keep a record of: a root, an issuing key, and rows."""

from collections.abc import Callable

import pytest
from tests.authority.audit.signers import MOMENT, Signer, root_signer

from dojang.authority.audit.chain import Entry, beginning_of, details_text, hash_of


@pytest.fixture(scope="session")
def root() -> Signer:
    return root_signer()


@pytest.fixture(scope="session")
def issuing(root: Signer) -> Signer:
    return root.below("Issuing")


@pytest.fixture(scope="session")
def chained(root: Signer) -> Callable[[int], list[Entry]]:
    """``chained(n)``: so many rows as they would be stored."""

    def make(count: int) -> list[Entry]:
        rows: list[Entry] = []
        previous = beginning_of(root.chain[0])
        for seq in range(1, count + 1):
            told = details_text("certificate-revoked", {"reason": "keyCompromise"})
            fields = (seq, MOMENT, "local:hong", "certificate-revoked", f"{seq:x}", told)
            previous, before = hash_of(previous, *fields), previous
            rows.append(Entry(*fields, before, previous))
        return rows

    return make
