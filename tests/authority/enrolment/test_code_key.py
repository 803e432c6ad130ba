"""The secret that codes are computed from, on a real token: made once, whoever comes first and whatever is cut."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from sqlalchemy import update

from dojang.authority import tables
from dojang.authority.audit import acting
from dojang.authority.enrolment.code_key import address_of_key, make_code_key, open_code_key
from dojang.cli.authority_tokens import AuthorityTokens
from dojang.errors import NotFound
from dojang.pkcs11 import ModuleSearch, PinGuard, open_token
from dojang.secret import Secret


@pytest.fixture
def token(make_token):
    return make_token()


@pytest.fixture
def ring(bureau, token, softhsm_module, tmp_path) -> Iterator[AuthorityTokens]:
    """Opens the token of the authority, whose root is said to be there."""
    with bureau.database.writing() as connection:
        connection.execute(update(tables.signer).values(key_address=f"{token.uri};object=root"))
    with ExitStack() as opened:
        search = ModuleSearch(module=softhsm_module, discover=False)

        def open_it(_address: str):
            guard = PinGuard(tmp_path / "guard")
            return opened.enter_context(open_token(token.uri, Secret(token.pin), search=search, guard=guard))

        yield AuthorityTokens(open_it)


def secrets_on(ring: AuthorityTokens, token) -> list:
    return [one for one in ring._open_token(token.uri).private_objects() if one.type == "secret-key"]


def test_it_is_made_once(bureau, ring, token) -> None:
    """Sixteen at once make one, which cannot leave the token; its address has no PIN, and it is on record."""
    with pytest.raises(NotFound):
        open_code_key(bureau.database, "test", ring)
    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(lambda _: make_code_key(bureau.database, "test", ring, bureau.at), range(16)))
    assert len({key.digest(b"message") for key in keys}) == 1
    (made,) = secrets_on(ring, token)
    assert made.attributes["sensitive"]
    assert not made.attributes["extractable"]
    assert open_code_key(bureau.database, "test", ring).digest(b"message") == keys[0].digest(b"message")
    assert "pin" not in str(address_of_key(bureau.database))
    assert [event for event, _, _ in bureau.audited()] == ["signer-added"]


def test_what_was_cut_short_is_taken_up(bureau, ring, token) -> None:
    """A secret that was made and not recorded is found by the next run; no second one is made."""

    class Cut:
        def open(self, address: str):
            return ring.open(address)

        def make(self, beside: str, key_id: bytes, label: str) -> str:
            ring.make(beside, key_id, label)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_code_key(bureau.database, "test", Cut(), bureau.at)
    assert address_of_key(bureau.database) is None
    (left,) = secrets_on(ring, token)
    make_code_key(bureau.database, "test", ring, bureau.at)
    (found,) = secrets_on(ring, token)
    assert found.key_id == left.key_id


def test_a_code_from_the_token(bureau, ring) -> None:
    """What the token computes is proved by the token, in another process as well as here."""
    bureau.key = make_code_key(bureau.database, "test", ring, bureau.at)
    with acting("local:clerk"):
        handed = bureau.hand_out()
    bureau.key = open_code_key(bureau.database, "test", ring)
    assert bureau.guess(handed.enrolment.reference, handed.code.reveal())
