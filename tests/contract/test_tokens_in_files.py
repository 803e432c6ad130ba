"""Tokens that are files, here or behind a socket: each keeps the whole contract, in a process of its own."""

import pytest
from tests.contract.token.abilities import README, columns_of
from tests.contract.token.run import CHAPTERS, check_chapter, check_readme

from dojang.testing import modules

pytestmark = pytest.mark.timeout(300)  # the first chapter of a kind waits for all of them
KINDS = ["softhsm", "nss", "p11-kit"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_contract_is_kept(kind, chapter):
    """Keys, objects, PINs, commands: what the token can do is done right, what it cannot is refused."""
    check_chapter(kind, chapter)


@pytest.mark.parametrize("kind", KINDS)
def test_the_readme_tells_what_it_can_do(kind):
    """The table in the README is what was seen just now; python -m tests.contract.token writes it anew."""
    check_readme(kind)


def test_the_readme_has_a_column_for_every_kind():
    assert list(columns_of(README.read_text())) == list(modules.KINDS)
