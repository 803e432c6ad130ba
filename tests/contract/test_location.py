"""What every location promises, whatever it is made of. Adding a kind adds a fixture, never a line here."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.contract.conftest import Place
from tests.contract.credentials import SmallAuthority, proves

from dojang.errors import AlreadyExists, Ambiguous, NotFound
from dojang.locations.base import Location, StoredCredential

FIRST, SECOND, THIRD = b"\x01" * 8, b"\x02" * 8, b"\x03" * 8


def issue(
    location: Location, authority: SmallAuthority, key_id: bytes, name: str = "Hong", algorithm: str = "ec-p256"
) -> StoredCredential:
    key = location.generate(algorithm, key_id=key_id, label=name)
    certificate_der = authority.certify(key, name)
    return location.install(key_id=key_id, label=name, certificate_der=certificate_der, chain_der=authority.chain_der)


def stage(location: Location, authority: SmallAuthority, old: StoredCredential, key_id: bytes) -> StoredCredential:
    """A renewal up to its switch; with the old ``key_id`` the key is kept."""
    if key_id == old.key_id:
        key = location.private_key(key_id)
    else:
        key = location.generate("ec-p256", key_id=key_id, label=old.label, replaces=old.key_id)
    return location.install(
        key_id=key_id,
        label=old.label,
        certificate_der=authority.certify(key, old.label, days=1),
        chain_der=authority.chain_der,
        replaces=old.key_id,
    )


def states(location: Location) -> list[tuple[bytes, str]]:
    return sorted(
        (one.key_id, "staged" if one.staged else "retired" if one.retired else "live") for one in location.credentials()
    )


def test_an_empty_location_lists_nothing_and_finds_nothing(place: Place, location: Location) -> None:
    """A location nobody has used is no error; asking it for a credential is ``NotFound``, which calls it by no name."""
    assert list(location.credentials()) == []
    with pytest.raises(NotFound, match="A credential in use was not found"):
        location.find(place.address)
    with pytest.raises(NotFound):
        location.private_key(FIRST)
    assert not location.has_key(FIRST)


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256", "ec-p384", "ed25519"])
def test_a_generated_key_is_there_in_the_next_run(place: Place, algorithm: str) -> None:
    """``generate`` is durable when it returns, and what it hands out is the key that lies under ``key_id``."""
    with place.open() as location:
        made = location.generate(algorithm, key_id=FIRST, label="Hong").public_key()
    with place.open() as location:
        assert location.has_key(FIRST)
        found = location.private_key(FIRST).public_key()
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    assert found.public_bytes(*form) == made.public_bytes(*form)


def test_an_installed_credential_is_found_by_every_address_it_prints(
    place: Place, location: Location, authority: SmallAuthority
) -> None:
    """Its address, pasted into the next run, finds the same certificate, and its key signs for it."""
    stored = issue(location, authority, FIRST)
    assert stored.live
    assert (stored.kind, stored.key_id) == (place.kind, FIRST)
    with place.open() as again:
        assert list(again.credentials()) == [stored]
        assert again.find(stored.address).certificate_der == stored.certificate_der
        assert again.find(place.address) == stored
        assert proves(again.private_key(FIRST), stored.certificate_der)


def test_a_korean_name_is_found_by_the_address_it_prints(location: Location, authority: SmallAuthority) -> None:
    """Names are UTF-8 from end to end."""
    stored = issue(location, authority, FIRST, name="홍길동()0004040902779989; / ?#%")
    assert location.find(stored.address) == stored


def test_the_chain_lies_beside_the_credential_and_is_no_credential(
    location: Location, authority: SmallAuthority
) -> None:
    """``chain_of`` gives the issuers upwards; a listing shows signers only, however often the chain was stored."""
    first, second = issue(location, authority, FIRST), issue(location, authority, SECOND, name="Kim")
    assert location.chain_of(first.certificate_der) == authority.chain_der
    assert location.chain_of(second.certificate_der) == authority.chain_der
    assert len(list(location.credentials())) == 2


def test_installing_again_changes_nothing(location: Location, authority: SmallAuthority) -> None:
    """A run that was killed after ``install`` may install again."""
    stored = issue(location, authority, FIRST)
    again = location.install(
        key_id=FIRST, label="Hong", certificate_der=stored.certificate_der, chain_der=authority.chain_der
    )
    assert again == stored
    assert list(location.credentials()) == [stored]


def test_a_certificate_needs_a_key_to_lie_beside(location: Location, authority: SmallAuthority) -> None:
    """Without one nothing is installed."""
    certificate_der = authority.certify(authority.key, "Hong")
    with pytest.raises(NotFound):
        location.install(key_id=FIRST, label="Hong", certificate_der=certificate_der)
    assert list(location.credentials()) == []


def test_a_taken_name_is_refused_before_and_after_the_authority_is_asked(
    location: Location, authority: SmallAuthority
) -> None:
    """``check_free`` and ``install`` both say ``AlreadyExists``, and what was there stays as it was."""
    stored = issue(location, authority, FIRST)
    subject_der = x509.load_der_x509_certificate(stored.certificate_der).subject.public_bytes()
    with pytest.raises(AlreadyExists):
        location.check_free(label="Hong", subject_der=subject_der)
    with pytest.raises(AlreadyExists):
        issue(location, authority, SECOND)
    location.discard(SECOND)
    assert list(location.credentials()) == [stored]
    assert not location.has_key(SECOND)


def test_a_free_name_is_free(location: Location, authority: SmallAuthority) -> None:
    """Another credential's name is nobody's business."""
    issue(location, authority, FIRST)
    certificate_der = authority.certify(authority.key, "Kim")
    subject_der = x509.load_der_x509_certificate(certificate_der).subject.public_bytes()
    location.check_free(label="Kim", subject_der=subject_der)


def test_two_credentials_are_ambiguous_until_one_is_named(
    place: Place, location: Location, authority: SmallAuthority
) -> None:
    """The error prints both addresses, and each of them finds one."""
    stored = [issue(location, authority, FIRST), issue(location, authority, SECOND, name="Kim")]
    with pytest.raises(Ambiguous) as caught:
        location.find(place.address)
    addresses = str(caught.value.facts["matches"]).split(", ")
    assert {location.find(address).key_id for address in addresses} == {one.key_id for one in stored}


def test_a_staged_successor_is_out_of_the_way_until_the_switch(
    place: Place, location: Location, authority: SmallAuthority
) -> None:
    """Every name still finds the old pair, while the new one can be read and used by its id."""
    old = issue(location, authority, FIRST)
    new = stage(location, authority, old, SECOND)
    assert new.staged
    assert states(location) == [(FIRST, "live"), (SECOND, "staged")]
    assert location.find(place.address) == old
    assert location.find(old.address) == old
    assert location.find(new.address) == new
    assert location.install(key_id=SECOND, label="Hong", certificate_der=new.certificate_der, replaces=FIRST).staged
    assert proves(location.private_key(SECOND), new.certificate_der)


def test_after_the_switch_the_name_is_the_new_ones(place: Place, location: Location, authority: SmallAuthority) -> None:
    """The old address finds the new pair, the old pair is retired, readable by its id and its key still signs."""
    old = issue(location, authority, FIRST)
    new = stage(location, authority, old, SECOND)
    switched = location.switch(old_key_id=FIRST, new_key_id=SECOND)
    assert switched.certificate_der == new.certificate_der
    assert switched.live
    with place.open() as again:
        assert again.find(old.address) == switched
        assert again.find(place.address) == switched
        assert states(again) == [(FIRST, "retired"), (SECOND, "live")]
        retired = next(one for one in again.credentials() if one.retired)
        assert again.find(retired.address) == retired
        assert retired.certificate_der == old.certificate_der
        assert proves(again.private_key(FIRST), old.certificate_der)
        assert proves(again.private_key(SECOND), new.certificate_der)
        assert again.chain_of(switched.certificate_der) == authority.chain_der


def test_switching_again_changes_nothing(location: Location, authority: SmallAuthority) -> None:
    """A run that was killed after the switch may switch again."""
    old = issue(location, authority, FIRST)
    stage(location, authority, old, SECOND)
    switched = location.switch(old_key_id=FIRST, new_key_id=SECOND)
    before = list(location.credentials())
    assert location.switch(old_key_id=FIRST, new_key_id=SECOND) == switched
    assert list(location.credentials()) == before


def test_a_switch_without_a_successor_is_an_error(location: Location, authority: SmallAuthority) -> None:
    """Nothing staged and nothing switched: the old pair stays."""
    old = issue(location, authority, FIRST)
    with pytest.raises(NotFound):
        location.switch(old_key_id=FIRST, new_key_id=SECOND)
    assert list(location.credentials()) == [old]


def test_renewing_year_after_year_keeps_every_old_pair(location: Location, authority: SmallAuthority) -> None:
    """Each switch retires one more; the name always finds the last."""
    stored = issue(location, authority, FIRST)
    for key_id in (SECOND, THIRD):
        stage(location, authority, stored, key_id)
        stored = location.switch(old_key_id=stored.key_id, new_key_id=key_id)
    assert states(location) == [(FIRST, "retired"), (SECOND, "retired"), (THIRD, "live")]
    assert location.find(stored.address).key_id == THIRD


def test_a_kept_key_gets_a_new_certificate(place: Place, location: Location, authority: SmallAuthority) -> None:
    """Both certificates lie under one ``key_id``; names and ids find the new one, its own address the old."""
    old = issue(location, authority, FIRST)
    new = stage(location, authority, old, FIRST)
    assert new.staged
    assert location.find(old.address) == old
    switched = location.switch(old_key_id=FIRST, new_key_id=FIRST)
    assert location.switch(old_key_id=FIRST, new_key_id=FIRST) == switched
    assert switched.certificate_der == new.certificate_der
    with place.open() as again:
        assert again.find(old.address) == switched
        assert states(again) == [(FIRST, "live"), (FIRST, "retired")]
        retired = next(one for one in again.credentials() if one.retired)
        assert again.find(retired.address).certificate_der == old.certificate_der
        assert proves(again.private_key(FIRST), new.certificate_der)


def test_a_kept_key_may_be_kept_again_the_same_day(location: Location, authority: SmallAuthority) -> None:
    """Every retired certificate keeps an address of its own."""
    stored = issue(location, authority, FIRST)
    for _ in range(2):
        stage(location, authority, stored, FIRST)
        stored = location.switch(old_key_id=FIRST, new_key_id=FIRST)
    retired = [one for one in location.credentials() if one.retired]
    assert len({one.address for one in retired}) == 2
    assert [location.find(one.address) for one in retired] == retired


def test_a_new_key_after_a_kept_one(location: Location, authority: SmallAuthority) -> None:
    """Retired certificates of the old key stay apart when its last one is retired too."""
    stored = issue(location, authority, FIRST)
    stage(location, authority, stored, FIRST)
    stored = location.switch(old_key_id=FIRST, new_key_id=FIRST)
    stage(location, authority, stored, SECOND)
    stored = location.switch(old_key_id=FIRST, new_key_id=SECOND)
    retired = [one for one in location.credentials() if one.retired]
    assert len({one.address for one in retired}) == 2
    assert [location.find(one.address) for one in retired] == retired
    assert location.find(stored.address) == stored


def test_discarding_a_successor_leaves_the_old_pair(location: Location, authority: SmallAuthority) -> None:
    """An authority that says no costs nothing but the staged pair; discarding twice is no error."""
    old = issue(location, authority, FIRST)
    stage(location, authority, old, SECOND)
    for _ in range(2):
        location.discard(SECOND)
        assert list(location.credentials()) == [old]
        assert not location.has_key(SECOND)
    assert proves(location.private_key(FIRST), old.certificate_der)


def test_discarding_a_successor_never_takes_the_kept_key(location: Location, authority: SmallAuthority) -> None:
    """Only the staged certificate goes."""
    old = issue(location, authority, FIRST)
    stage(location, authority, old, FIRST)
    location.discard(FIRST)
    assert list(location.credentials()) == [old]
    assert proves(location.private_key(FIRST), old.certificate_der)


def test_discarding_never_takes_what_is_live_or_retired(location: Location, authority: SmallAuthority) -> None:
    """A careless discard is harmless."""
    old = issue(location, authority, FIRST)
    stage(location, authority, old, SECOND)
    location.switch(old_key_id=FIRST, new_key_id=SECOND)
    before = list(location.credentials())
    location.discard(FIRST)
    location.discard(SECOND)
    assert list(location.credentials()) == before
    assert location.has_key(FIRST)
    assert location.has_key(SECOND)


def test_a_key_without_certificate_is_discarded(location: Location) -> None:
    """What a run killed after ``generate`` leaves goes, and the same ``key_id`` can be used again."""
    location.generate("ec-p256", key_id=FIRST, label="Hong")
    location.discard(FIRST)
    assert not location.has_key(FIRST)
    location.generate("ec-p256", key_id=FIRST, label="Hong")
    assert location.has_key(FIRST)


def test_deleting_removes_everything_under_the_id_and_nothing_else(
    location: Location, authority: SmallAuthority
) -> None:
    """Key and certificates, staged and retired ones too; nothing there is not an error."""
    kept = issue(location, authority, SECOND, name="Kim")
    old = issue(location, authority, FIRST)
    stage(location, authority, old, FIRST)
    location.switch(old_key_id=FIRST, new_key_id=FIRST)
    for _ in range(2):
        location.delete(FIRST)
        assert list(location.credentials()) == [kept]
        assert not location.has_key(FIRST)
    assert location.has_key(SECOND)


def test_a_name_that_was_deleted_can_be_used_again(location: Location, authority: SmallAuthority) -> None:
    """Deleting leaves nothing that stands in the way."""
    issue(location, authority, FIRST)
    location.delete(FIRST)
    assert issue(location, authority, SECOND).key_id == SECOND


def test_a_kind_says_what_it_protects(location: Location) -> None:
    """The chooser's table has its facts from here."""
    assert location.traits.opened_by in ("pin", "password", "nothing")
    assert location.traits.copyable == location.traits.key_leaves
