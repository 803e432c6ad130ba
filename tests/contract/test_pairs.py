"""Every pair of locations, both ways: what was copied there and back is what it was, to the last byte."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.contract.conftest import CLASSES, FILES, Passwords, Place, on_removable_disk
from tests.contract.credentials import SmallAuthority, proves

from dojang.errors import KeyDoesNotLeave, NotFound, PasswordIncorrect
from dojang.ledger import Ledger
from dojang.lifecycle.copy import CopyOrder, copy, plan_copy
from dojang.lifecycle.drill import put_in
from dojang.lifecycle.move import move, plan_move
from dojang.lifecycle.parcel import Parcel, take_out
from dojang.lifecycle.workplace import Workplace
from dojang.locations.base import Companions, Location
from dojang.locations.registry import open_location
from dojang.npki.keyfile import SCHEMES, KeyFileForm
from dojang.npki.passwords import ENCODINGS
from dojang.npki.pkcs8 import Pkcs8
from dojang.pkcs11 import ModuleSearch, PinGuard
from dojang.secret import Secret

pytestmark = pytest.mark.usefixtures("quick_passwords")

SOURCES = [kind for kind in CLASSES if kind != "token"]
# There is but one removable disk, so it is no pair with itself.
PAIRS = [(one, other) for one in SOURCES for other in CLASSES if (one, other) != ("removable", "removable")]
R = Secret(bytes(range(101, 121)))


@dataclass(frozen=True, slots=True)
class Map:
    """A workplace whose locations are made when they are asked for, each with its own password or PIN."""

    place: Workplace
    fresh: Callable[[str], Place]


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest, softhsm_module: str) -> Iterator[Map]:
    """Fresh locations of any kind, and the ledger of all that happens between them."""
    made: dict[str, Place] = {}
    numbers = count()

    def fresh(kind: str) -> Place:
        if kind == "removable":
            place = on_removable_disk(Passwords(*[f"removable horse {next(numbers)}!"] * 2))
        elif kind == "token":
            place = _token(request.getfixturevalue("make_token")(), softhsm_module, tmp_path)
        else:
            folder = tmp_path / f"place-{next(numbers)}"
            folder.mkdir()
            place = _of_files(kind, folder, Passwords(*[f"horse of {folder.name}!"] * 2))
        made[place.address] = place
        return place

    def opened(address: str) -> AbstractContextManager[Location]:
        return next(one for start, one in made.items() if address.startswith(start.partition("?")[0])).open()

    with Ledger.open(tmp_path / "state" / "ledger.sqlite") as ledger:
        yield Map(Workplace(ledger, opened, lambda name: None), fresh)


def _of_files(kind: str, folder: Path, passwords: Passwords, form: KeyFileForm | None = None) -> Place:
    address, quick = FILES[kind][0].format(folder), form or KeyFileForm("pbes2-seed")
    return Place(kind, address, lambda: open_location(address, passwords=passwords, key_files=quick), passwords)


def _token(token, module: str, folder: Path) -> Place:
    search, guard = ModuleSearch(module=module, discover=False), PinGuard(folder / "pin-guard")
    opened = lambda: open_location(token.uri, search=search, pins=Secret(token.pin), guard=guard)  # noqa: E731
    return Place("token", token.uri, opened, Passwords())


def parcel(authority: SmallAuthority, *, name: str = "홍길동()0004040902779989", rsa_key: bool = False) -> Parcel:
    """A credential with all that one can have."""
    key = rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
    km_key = ec.generate_private_key(ec.SECP256R1())
    km = Companions(authority.certify(km_key, name), Pkcs8.from_key(km_key, R), b"issuers as the CA sent them")
    return Parcel(name, authority.certify(key, name), Pkcs8.from_key(key, R), authority.chain_der, km)


def put(place: Place, whole: Parcel) -> str:
    """Put it there, as far as the place holds what it has; the address."""
    with place.open() as location:
        put_in(whole, location, whole.label)
    with place.open() as location:
        return location.find(place.address).address


def taken_from(place: Place) -> Parcel:
    with place.open() as location:
        return take_out(location, location.find(place.address))


def kept(one: Parcel, *places: Place) -> Companions:
    """The companions that every one of these places can hold."""
    held = {"km", "ca_pubs"}
    for place in places:
        with place.open() as location:
            held &= getattr(location, "companions_held", frozenset())
    return Companions(
        one.companions.km_certificate_der if "km" in held else b"",
        one.companions.km_key if "km" in held else None,
        one.companions.ca_pubs if "ca_pubs" in held else b"",
    )


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_there_and_back(world: Map, authority: SmallAuthority, source: str, target: str) -> None:
    """Key with R, certificate, chain and companions are the same; what one place cannot hold is said to be left out."""
    here, there = world.fresh(source), world.fresh(target)
    whole = parcel(authority, rsa_key=target == "token")
    address = put(here, whole)
    done = copy(CopyOrder(address, there.address), world.place).brought
    expected = kept(whole, here, there)
    assert done.left_out == kept(whole, here).names() - expected.names()
    assert {"opened-again", "signature", "r", "chain", *expected.names()} == {one.name for one in done.checks}
    with there.open() as location:
        assert proves(location.private_key(done.credential.stored.key_id), whole.certificate_der)
        assert location.chain_of(whole.certificate_der) == whole.chain_der
        if target == "token":
            assert location.random_number(done.credential.stored.key_id) == R
            return
    assert taken_from(here).key == whole.key
    back = world.fresh(source)
    copy(CopyOrder(done.credential.stored.address, back.address), world.place)
    again = taken_from(back)
    assert (again.key, again.certificate_der, again.chain_der) == (whole.key, whole.certificate_der, whole.chain_der)
    assert again.companions == expected
    assert again.label == whole.label


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_move_leaves_one(world: Map, authority: SmallAuthority, source: str, target: str) -> None:
    """Afterwards it works there and is gone here; asked for again, there is nothing to do."""
    here, there = world.fresh(source), world.fresh(target)
    whole = parcel(authority)
    slim = Parcel(whole.label, whole.certificate_der, whole.key, whole.chain_der)
    address = put(here, slim)
    order = CopyOrder(address, there.address)
    assert [step.name for step in plan_move(order, world.place)][-1] == "remove"
    done = move(order, world.place)
    assert done.original is not None
    assert done.original.stored.address == address
    with there.open() as location:
        assert proves(location.private_key(done.brought.credential.stored.key_id), slim.certificate_der)
    with here.open() as location:
        assert list(location.credentials()) == []
        with pytest.raises(NotFound):
            location.find(address)
    again = move(order, world.place)
    assert again.brought.already
    assert again.original is None


@pytest.mark.parametrize("target", SOURCES)
def test_from_a_token_nothing_leaves(world: Map, authority: SmallAuthority, target: str) -> None:
    """Not for a copy, not for a move, not for a plan; the advice is a second one there, from who issued it."""
    token, there = world.fresh("token"), world.fresh(target)
    whole = parcel(authority)
    order = CopyOrder(put(token, whole), there.address)
    for verb in (copy, move, plan_copy, plan_move):
        with pytest.raises(KeyDoesNotLeave) as refused:
            verb(order, world.place)
        advice = refused.value.advice()
        assert "CN=Contract CA" in advice
        assert there.address in advice
    with there.open() as location:
        assert list(location.credentials()) == []


PASSWORDS = st.one_of(
    st.text("가나다라힣 한글", min_size=1, max_size=20),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40),
    st.text("pass word", min_size=100, max_size=300),
    st.text("ÀÉîøü €£", min_size=1, max_size=10),
)


FORMS = st.builds(KeyFileForm, st.sampled_from(SCHEMES), st.sampled_from(ENCODINGS))


@settings(max_examples=15)
@given(
    form=FORMS,
    first=PASSWORDS,
    second=PASSWORDS,
    name=st.text("홍길동Hong Kil-dong()0123", min_size=1).filter(str.strip),
)
def test_any_password_and_any_name(
    tmp_path_factory, authority: SmallAuthority, form: KeyFileForm, first: str, second: str, name: str
):
    """From a key file as old and new programs write it to other files and on, under other passwords, Korean, with
    spaces, long: nothing changes, and only the right password opens it.
    """
    assume(_can_be_written(first, form.encoding))
    tmp_path, whole = tmp_path_factory.mktemp("passwords"), parcel(authority, name=name)
    here = _of_files("disk", tmp_path, Passwords(first, first), form)
    there = _of_files("pkcs12", tmp_path, Passwords(second, second))
    other = _of_files("pem", tmp_path, Passwords(first, first))
    places = {one.address: one for one in (here, there, other)}
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        place = Workplace(ledger, lambda text: places[text.partition("?")[0].partition("#")[0]].open(), lambda _: None)
        put(here, whole)
        copy(CopyOrder(here.address, there.address), place)
        copy(CopyOrder(there.address, other.address), place)
    assert taken_from(there).key == taken_from(other).key == whole.key
    assert taken_from(there).companions == whole.companions
    if first != second:
        there.passwords.old = first
        with pytest.raises(PasswordIncorrect):
            taken_from(there)


def _can_be_written(password: str, encoding: str) -> bool:
    try:
        return bool(password.encode(encoding))
    except UnicodeEncodeError:
        return False
