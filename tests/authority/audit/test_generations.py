"""Heads of an authority whose keys come and go: every one that was ever signed stays good."""

from collections.abc import Iterator

import pytest
from tests.authority.test_hierarchy import House

from dojang.authority import audit
from dojang.authority.audit.heads import Head
from dojang.authority.audit.reading import entries, heads, root_of
from dojang.authority.audit.sealing import seal, sealing_signer
from dojang.authority.audit.verify import Outcome, verify
from dojang.authority.database import Database
from dojang.authority.hierarchy import delegates, rollover


@pytest.fixture
def house(tmp_path, database_url) -> Iterator[House]:
    database = Database.create(database_url)
    made = House(tmp_path, database)
    made.found()
    yield made
    database.close()


def sealed(house: House) -> Head:
    """The head over a row more, by the key whose turn it is."""
    with house.database.writing() as connection:
        audit.record(connection, event="certificate-restored", subject="a1", at=house.at)
    return seal(house.database, house.open, house.at)


def checked(house: House) -> Outcome:
    return verify(root_of(house.database), entries(house.database), heads(house.database))


def test_heads_of_every_generation_stay_good(house):
    """Before and after the issuing key, and twice the root, roll over: all heads lead to the first root."""
    for _turn in range(2):
        sealed(house)
        house.prepare("root")
        rollover.switch(house.scene, "root")
        sealed(house)
        house.prepare("issuing")
        rollover.switch(house.scene, "issuing")
        assert len(sealed(house).chain_der) > 1
    assert sealing_signer(house.database) == "issuing-3"
    outcome = checked(house)
    assert outcome.findings == ()
    assert outcome.heads >= 6
    assert outcome.sealed == outcome.entries


def test_a_key_for_heads_alone_takes_over(house):
    """A key certified for the audit record signs the heads, also after its certificate was renewed; both verify."""
    before = sealed(house)
    private, address = house.key("heads")
    delegates.add_delegate(house.scene, "audit", private, address)
    after = sealed(house)
    assert (sealing_signer(house.database), after.chain_der[1:2]) == ("audit", before.chain_der[:1])
    assert checked(house).findings == ()
    delegates.renew_delegates(house.scene, all_of_them=True)
    assert sealed(house).chain_der[0] != after.chain_der[0]
    assert checked(house).findings == ()


def test_heads_by_a_key_for_heads_outlive_the_key_that_certified_it(house):
    """It was certified by the issuing key before; heads that it signs after the switch verify all the same."""
    private, address = house.key("heads")
    delegates.add_delegate(house.scene, "audit", private, address)
    house.prepare("issuing")
    rollover.switch(house.scene, "issuing")
    sealed(house)
    assert sealing_signer(house.database) == "audit"
    assert checked(house).findings == ()
