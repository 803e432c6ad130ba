"""What locations promise that can do more than issue and sign: give keys, take them, keep what belongs to them, retire
credentials, change passwords. Each test runs over every kind that has the methods it is about.
"""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.contract.conftest import Place, kinds_that
from tests.contract.credentials import SmallAuthority, proves
from tests.contract.test_location import FIRST, SECOND, issue, stage, states

from dojang.errors import AlreadyExists, NotFound, PasswordIncorrect
from dojang.lifecycle.possession import random_number_of
from dojang.locations.base import Companions, Location, StoredCredential
from dojang.npki.pkcs8 import Pkcs8
from dojang.secret import Secret

R = Secret(bytes(range(1, 21)))
TAKES, MOVES = kinds_that("import_key"), kinds_that("import_key", "export_key")
KEEPS_COMPANIONS = kinds_that("import_companions", "export_companions")


def over(kinds: list[str]) -> pytest.MarkDecorator:
    """Runs a test over these kinds."""
    assert kinds
    return pytest.mark.parametrize("place", kinds, indirect=True)


def new_key(random_number: Secret | None = R) -> Pkcs8:
    return Pkcs8.from_key(ec.generate_private_key(ec.SECP256R1()), random_number)


def bring(location: Location, authority: SmallAuthority, key_id: bytes = FIRST, name: str = "Hong") -> StoredCredential:
    """A key made elsewhere and the certificate it has had there."""
    key = new_key()
    location.import_key(key, key_id=key_id, label=name)
    certificate_der = authority.certify(key.key(), name)
    return location.install(key_id=key_id, label=name, certificate_der=certificate_der, chain_der=authority.chain_der)


@over(TAKES)
@pytest.mark.parametrize("make", [lambda: new_key().key(), lambda: rsa.generate_private_key(65537, 2048)])
def test_a_key_that_is_brought_signs_here_and_in_the_next_run(place: Place, authority: SmallAuthority, make) -> None:
    """``import_key`` is durable when it returns, and hands the key out as it signs here."""
    key = make()
    certificate_der = authority.certify(key, "Hong")
    with place.open() as location:
        brought = location.import_key(Pkcs8.from_key(key, R), key_id=FIRST, label="Hong")
        assert brought.public_key() == key.public_key()
        assert proves(brought, certificate_der)
    with place.open() as location:
        assert location.has_key(FIRST)
        stored = location.install(key_id=FIRST, label="Hong", certificate_der=certificate_der)
        assert stored.live
    with place.open() as location:
        assert location.find(stored.address) == stored
        assert location.private_key(FIRST).public_key() == key.public_key()
        assert proves(location.private_key(FIRST), certificate_der)


@over(MOVES)
def test_what_was_brought_leaves_again_whole(place: Place, authority: SmallAuthority) -> None:
    """The PKCS#8 comes back byte for byte, R and all, before the certificate is there, after, and once retired."""
    key = new_key()
    with place.open() as location:
        location.import_key(key, key_id=FIRST, label="Hong")
        assert location.export_key(FIRST) == key
        location.install(key_id=FIRST, label="Hong", certificate_der=authority.certify(key.key(), "Hong"))
    with place.open() as location:
        old = location.find(place.address)
        stage(location, authority, old, SECOND)
        location.switch(old_key_id=FIRST, new_key_id=SECOND)
        assert location.export_key(FIRST) == key
    with place.open() as location:
        assert location.export_key(FIRST) == key


@over(kinds_that("random_number", "import_key"))
def test_r_is_told_of_where_there_is_one(place: Place) -> None:
    """And nothing is told where there is none."""
    with place.open() as location:
        assert location.holds_r
        location.import_key(new_key(), key_id=FIRST, label="Hong")
        location.import_key(new_key(None), key_id=SECOND, label="Kim")
    with place.open() as location:
        assert location.random_number(FIRST) == R
        assert location.random_number(SECOND) is None


@over(kinds_that("keep_random_number"))
@pytest.mark.parametrize("replaces", [None, FIRST])
def test_a_key_gets_the_r_that_was_kept_for_it(place: Place, authority: SmallAuthority, replaces) -> None:
    """That very key and no other, in its successor's place too; what was taken back is kept for none."""
    with place.open() as location:
        issue(location, authority, FIRST)
        location.keep_random_number(R, key_id=SECOND, replaces=replaces)
        location.generate("ec-p256", key_id=SECOND, label="Kim", replaces=replaces)
    with place.open() as location:
        assert random_number_of(location, SECOND) == R
        assert random_number_of(location, FIRST) != R
        location.discard(SECOND)
        location.keep_random_number(R, key_id=SECOND, replaces=replaces)
        location.discard(SECOND)
        location.generate("ec-p256", key_id=SECOND, label="Kim", replaces=replaces)
        assert random_number_of(location, SECOND) != R


@over(kinds_that("export_key"))
def test_a_key_that_is_made_here_gets_an_r(place: Place) -> None:
    """Where a key may be taken elsewhere, it takes an R of its own along."""
    with place.open() as location:
        made = [location.generate("ec-p256", key_id=key_id, label=key_id.hex()) for key_id in (FIRST, SECOND)]
        found = [location.export_key(key_id) for key_id in (FIRST, SECOND)]
    assert [one.key().public_key() for one in found] == [one.public_key() for one in made]
    numbers = [one.random_number for one in found]
    assert None not in numbers
    assert numbers[0] != numbers[1]


@over(kinds_that("export_key"))
def test_a_key_that_is_not_there_is_not_given(place: Place) -> None:
    """``NotFound``, in an empty location too."""
    with place.open() as location:
        with pytest.raises(NotFound):
            location.export_key(FIRST)
        location.generate("ec-p256", key_id=FIRST, label="Hong")
        with pytest.raises(NotFound):
            location.export_key(SECOND)


@over(TAKES)
def test_a_brought_key_is_discarded_like_one_made_here(place: Place, location: Location) -> None:
    """Nothing is left of it, and its id can be used again."""
    for _ in range(2):
        location.import_key(new_key(), key_id=FIRST, label="Hong")
        location.discard(FIRST)
        assert not location.has_key(FIRST)
        assert list(location.credentials()) == []
    with place.open() as again, pytest.raises(NotFound):
        again.private_key(FIRST)


@over(TAKES)
def test_a_taken_name_is_refused_to_a_brought_key(place: Place, location: Location, authority: SmallAuthority) -> None:
    """At the latest with its certificate; what was there stays as it was."""
    stored = issue(location, authority, FIRST)
    with pytest.raises(AlreadyExists):
        bring(location, authority, SECOND)
    location.discard(SECOND)
    assert list(location.credentials()) == [stored]


@over(TAKES)
def test_a_brought_key_may_succeed_one_that_is_there(
    place: Place, location: Location, authority: SmallAuthority
) -> None:
    """Staged until the switch, as any successor."""
    old, key = issue(location, authority, FIRST), new_key()
    location.import_key(key, key_id=SECOND, label="Hong", replaces=FIRST)
    certificate_der = authority.certify(key.key(), "Hong", days=1)
    new = location.install(key_id=SECOND, label="Hong", certificate_der=certificate_der, replaces=FIRST)
    assert new.staged
    assert location.find(place.address) == old
    switched = location.switch(old_key_id=FIRST, new_key_id=SECOND)
    assert location.find(old.address) == switched
    assert states(location) == [(FIRST, "retired"), (SECOND, "live")]
    assert proves(location.private_key(SECOND), certificate_der)


@over(KEEPS_COMPANIONS)
def test_companions_are_kept_beside_the_key(place: Place, authority: SmallAuthority) -> None:
    """What the location says it holds comes back whole; a km pair is no credential of its own."""
    key, km_key = new_key(), new_key()
    given = Companions(authority.certify(km_key.key(), "Hong"), km_key, b"issuers as the CA sent them")
    with place.open() as location:
        location.import_key(key, key_id=FIRST, label="Hong")
        location.import_companions(given, key_id=FIRST)
        location.install(key_id=FIRST, label="Hong", certificate_der=authority.certify(key.key(), "Hong"))
        bring(location, authority, SECOND, "Kim")
    with place.open() as location:
        kept = location.companions_held
        expected = Companions(
            given.km_certificate_der if "km" in kept else b"",
            given.km_key if "km" in kept else None,
            given.ca_pubs if "ca_pubs" in kept else b"",
        )
        assert location.export_companions(FIRST) == expected
        assert location.export_companions(SECOND) == Companions()
        assert states(location) == [(FIRST, "live"), (SECOND, "live")]


@over(KEEPS_COMPANIONS)
def test_companions_go_along_to_the_successor_and_go_with_it(place: Place, authority: SmallAuthority) -> None:
    """Without the km key nothing that was encrypted before can be read; with the last credential it is gone."""
    key, km_key = new_key(), new_key()
    given = Companions(authority.certify(km_key.key(), "Hong"), km_key)
    with place.open() as location:
        location.import_key(key, key_id=FIRST, label="Hong")
        location.import_companions(given, key_id=FIRST)
        old = location.install(key_id=FIRST, label="Hong", certificate_der=authority.certify(key.key(), "Hong"))
        stage(location, authority, old, SECOND)
        location.switch(old_key_id=FIRST, new_key_id=SECOND)
        assert location.export_companions(SECOND) == given
    with place.open() as location:
        assert location.export_companions(SECOND) == given
        location.delete(FIRST)
        assert location.export_companions(SECOND) == given
        location.delete(SECOND)
        assert list(location.credentials()) == []


@over(kinds_that("retire"))
def test_what_is_retired_is_out_of_use_and_readable(
    place: Place, location: Location, authority: SmallAuthority
) -> None:
    """Its name is free, its own address finds it, its key signs; retiring it again changes nothing."""
    old, other = issue(location, authority, FIRST), issue(location, authority, SECOND, name="Kim")
    retired = location.retire(FIRST)
    assert retired.retired
    assert retired.certificate_der == old.certificate_der
    assert location.retire(FIRST) == retired
    with place.open() as again:
        assert again.find(place.address) == other
        assert again.find(retired.address) == retired
        assert proves(again.private_key(FIRST), old.certificate_der)
        again.discard(FIRST)
        subject = x509.load_der_x509_certificate(old.certificate_der).subject
        again.check_free(label="Hong", subject_der=subject.public_bytes())
        with pytest.raises(NotFound):
            again.retire(b"\x09" * 8)


CHANGES_PASSWORD = kinds_that("change_password")


@over(CHANGES_PASSWORD)
def test_a_password_is_changed(place: Place, authority: SmallAuthority) -> None:
    """The new one opens the key, the old one does not, R is still there; the same change once more is no error."""
    with place.open() as location:
        stored = bring(location, authority)
    place.passwords.new = "battery staple 2!"
    for _ in range(2):
        with place.open() as location:
            location.change_password(FIRST)
            assert proves(location.private_key(FIRST), stored.certificate_der)
    with place.open() as location, pytest.raises(PasswordIncorrect):
        location.private_key(FIRST)
    place.passwords.old = place.passwords.new
    with place.open() as location:
        assert location.find(place.address) == stored
        assert location.export_key(FIRST).random_number == R


@over(CHANGES_PASSWORD)
def test_a_wrong_password_changes_none(place: Place, authority: SmallAuthority) -> None:
    """``PasswordIncorrect``, and the one it has had still opens the key."""
    with place.open() as location:
        stored = issue(location, authority, FIRST)
    right = place.passwords.old
    place.passwords.old, place.passwords.new = "wrong horse 3!", "battery staple 2!"
    with place.open() as location, pytest.raises(PasswordIncorrect):
        location.change_password(FIRST)
    place.passwords.old = right
    with place.open() as location:
        assert proves(location.private_key(FIRST), stored.certificate_der)
