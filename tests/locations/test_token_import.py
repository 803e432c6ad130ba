"""Keys made elsewhere on a token: what other programs see, where R goes, and what a kill leaves."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from tests.contract.credentials import SmallAuthority, proves
from tests.locations.test_token import FIRST, SECOND, Bench, killed, stage

from dojang.der import BIT_STRING, OCTET_STRING, SEQUENCE, SET, oid, tlv
from dojang.errors import AlreadyExists, Ambiguous, FileMalformed, KeyDoesNotLeave, UnsupportedMechanism
from dojang.locations.base import GivesKeys, HoldsR, RObject, TakesKeys
from dojang.locations.registry import open_location
from dojang.npki.pkcs8 import RANDOM_NUMBER, Pkcs8
from dojang.pkcs11 import ModuleSearch, PinGuard
from dojang.secret import Secret

R = Secret(bytes.fromhex("79ea7568a2d3776604e18bcd3a1b1b85b7da0872"))
KINDS = {
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "ec-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.fixture(scope="module")
def authority() -> SmallAuthority:
    return SmallAuthority()


@pytest.fixture
def bench(make_token: Callable, softhsm_module: str, tmp_path: Path) -> Bench:
    token = make_token()
    return Bench(token.uri, token.pin, softhsm_module, tmp_path / "pin-guard")


def some_key(kind: str = "ec-p256") -> Pkcs8:
    return Pkcs8.from_key(KINDS[kind](), R)


def put(bench: Bench, authority: SmallAuthority, key: Pkcs8, key_id: bytes, replaces: bytes | None = None) -> bytes:
    with bench.open() as location:
        imported = location.import_key(key, key_id=key_id, label="Hong", replaces=replaces)
        certificate_der = authority.certify(imported, "Hong")
        location.install(key_id=key_id, label="Hong", certificate_der=certificate_der, replaces=replaces)
    return certificate_der


@pytest.mark.parametrize("kind", KINDS)
def test_an_imported_key_signs_stays_and_brings_its_r(bench: Bench, authority: SmallAuthority, kind: str) -> None:
    """Opened again, the key signs for the original's public half, R is the same, and neither comes out as a key."""
    key = some_key(kind)
    certificate_der = put(bench, authority, key, FIRST)
    with bench.open() as location:
        assert isinstance(location, TakesKeys)
        assert isinstance(location, HoldsR)
        assert not isinstance(location, GivesKeys)
        found = location.private_key(FIRST)
        assert proves(found, certificate_der)
        assert found.public_key() == key.key().public_key()
        assert location.holds_r
        assert location.random_number(FIRST) == R
        with pytest.raises(KeyDoesNotLeave):
            found.private_numbers() if kind != "ed25519" else found.private_bytes_raw()


def test_other_programs_see_a_sensitive_key_and_a_private_data_object(bench: Bench, authority: SmallAuthority) -> None:
    """pkcs11-tool lists pair, certificate and R; R only after the login, and its value is the 20 bytes."""
    put(bench, authority, some_key(), FIRST)
    shown = bench.tool("--list-objects", "--login", "--pin", bench.pin)
    private = shown.partition("Private Key Object")[2].partition("Object;")[0]
    assert re.search(r"Access:\s+sensitive\n", private), private
    assert re.search(r"Usage:\s+sign\n", private)
    assert shown.count(f"ID:         {FIRST.hex()}") == 3
    data = shown.partition("Data object")[2]
    assert re.search(r"label:\s+'R'", data)
    assert re.search(r"application:\s+'NPKI'", data)
    assert "private" in data
    assert "Data object" not in bench.tool("--list-objects")
    words = ["--login", "--pin", bench.pin, "--read-object", "--type", "data", "--label", "R", "--output-file"]
    value = bench.guard_path.with_name("r")
    bench.tool(*words, str(value))
    assert value.read_bytes() == R.reveal()


def test_label_and_application_of_r_are_settings(bench: Bench, authority: SmallAuthority) -> None:
    """What is set is written, and read again by a location that was told the same."""
    names = RObject("RandomNumber", "NPKI_VID")
    options = {"search": ModuleSearch(module=bench.module, discover=False), "guard": PinGuard(bench.guard_path)}
    with open_location(bench.uri, pins=Secret(bench.pin), r_object=names, **options) as location:
        location.import_key(some_key(), key_id=FIRST, label="Hong")
        assert location.random_number(FIRST) == R
    shown = bench.tool("--list-objects", "--login", "--pin", bench.pin)
    assert "'RandomNumber'" in shown
    assert "'NPKI_VID'" in shown


FORMS = {
    "bare": R.reveal(),
    "octet string": tlv(OCTET_STRING, R.reveal()),
    "bit string": tlv(BIT_STRING, b"\0" + R.reveal()),
    "sequence": tlv(SEQUENCE, tlv(BIT_STRING, b"\0" + R.reveal())),
    "attribute": tlv(SEQUENCE, oid(RANDOM_NUMBER), tlv(SET, tlv(BIT_STRING, b"\0" + R.reveal()))),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tied", [True, False], ids=["by its CKA_ID", "by its label"])
def test_r_that_other_programs_wrote_is_found(bench: Bench, form: str, tied: bool) -> None:
    """By CKA_ID whatever its label is, else by the label that is set; in every form it may have."""
    with bench.token() as token:
        token.generate_key_pair("ec-p256", label="Hong", key_id=FIRST)
        if tied:
            token.add_data(FORMS[form], label="whatever", application="other", key_id=FIRST)
        else:
            value = bench.guard_path.with_name("foreign")
            value.write_bytes(FORMS[form])
            words = ["--write-object", str(value), "--type", "data", "--label", "R", "--private"]
            bench.tool("--login", "--pin", bench.pin, *words)
    with bench.open() as location:
        assert location.random_number(FIRST) == R


def test_what_is_no_r_is_not_taken_for_one(bench: Bench) -> None:
    """Another object under the key's CKA_ID is left alone; of two that may be R, neither is chosen."""
    with bench.token() as token:
        token.generate_key_pair("ec-p256", label="Hong", key_id=FIRST)
        token.add_data(b"\x30\x82 no DER at all", label="notes", application="", key_id=FIRST)
    with bench.open() as location:
        assert location.random_number(FIRST) is None
        with bench.token() as token:
            for letter in (b"a", b"b"):
                token.add_data(letter * 20, label="one", application="", key_id=FIRST)
        with pytest.raises(Ambiguous):
            location.random_number(FIRST)


def test_r_goes_the_way_of_its_key(bench: Bench, authority: SmallAuthority) -> None:
    """Staged, live and retired ones stand side by side; by its label alone the live one is found; deleting takes it."""
    put(bench, authority, some_key(), FIRST)
    other = Secret(b"\x07" * 20)
    put(bench, authority, Pkcs8.from_key(KINDS["ec-p256"](), other), SECOND, replaces=FIRST)
    with bench.open() as location, bench.token() as token:
        assert token.read_data(label="R") == [R.reveal()]
        location.switch(old_key_id=FIRST, new_key_id=SECOND)
        assert token.read_data(label="R") == [other.reveal()]
        assert (location.random_number(FIRST), location.random_number(SECOND)) == (R, other)
        location.delete(FIRST)
        assert location.random_number(FIRST) is None
        assert location.random_number(SECOND) == other


def test_retiring_takes_r_out_of_use(bench: Bench, authority: SmallAuthority) -> None:
    """It is still the key's, and the label no longer finds it; retired again, nothing changes."""
    put(bench, authority, some_key(), FIRST)
    with bench.open() as location, bench.token() as token:
        for _ in range(2):
            location.retire(FIRST)
            assert location.random_number(FIRST) == R
            assert token.read_data(label="R") == []


def test_discard_takes_a_staged_r_and_no_other(bench: Bench, authority: SmallAuthority) -> None:
    """A renewal that is taken back leaves the R of the credential in use."""
    put(bench, authority, some_key(), FIRST)
    put(bench, authority, Pkcs8.from_key(KINDS["ec-p256"](), Secret(b"\x07" * 20)), SECOND, replaces=FIRST)
    with bench.open() as location, bench.token() as token:
        location.discard(SECOND)
        assert location.random_number(FIRST) == R
        assert [one.value for one in token.private_objects() if one.type == "data"] == [b""]


def test_a_key_that_is_kept_keeps_its_r(bench: Bench, authority: SmallAuthority) -> None:
    """A renewal with the same key changes nothing about R."""
    put(bench, authority, some_key(), FIRST)
    stage(bench, authority, FIRST)
    with bench.open() as location, bench.token() as token:
        location.switch(old_key_id=FIRST, new_key_id=FIRST)
        assert token.read_data(label="R") == [R.reveal()]


def test_a_kill_anywhere_in_an_import_is_undone_by_discard(bench: Bench) -> None:
    """Whatever was made of key and R goes, and the same import works afterwards."""
    key = some_key()
    verb = (
        "from dojang.npki.pkcs8 import Pkcs8;"
        f"location.import_key(Pkcs8.from_der(bytes.fromhex('{key.der.hex()}')), key_id={FIRST!r}, label='Hong')"
    )
    step = 1
    while killed(bench, step, verb):
        with bench.open() as location, bench.token() as token:
            location.discard(FIRST)
            assert [one.type for one in token.private_objects() if one.type != "unknown"] == []
        step += 1
    assert step > 3
    with bench.open() as location:
        assert location.random_number(FIRST) == R


def test_a_taken_label_or_id_is_refused_before_anything_is_made(bench: Bench, authority: SmallAuthority) -> None:
    """Of the second key nothing is there, its R included."""
    put(bench, authority, some_key(), FIRST)
    with bench.open() as location, bench.token() as token:
        before = len(list(token.private_objects()))
        with pytest.raises(AlreadyExists):
            location.import_key(some_key(), key_id=SECOND, label="Hong")
        with pytest.raises(AlreadyExists):
            location.import_key(some_key(), key_id=FIRST, label="Kim")
        assert len(list(token.private_objects())) == before


def test_a_key_that_no_token_takes_is_refused_before_anything_is_made(bench: Bench) -> None:
    """Another kind of key, and one whose parts do not fit together."""
    damaged = bytearray(some_key("rsa-2048").without_random_number().der)
    damaged[-1] ^= 1
    foreign = Pkcs8.from_key(dsa.generate_private_key(2048))
    with bench.open() as location, bench.token() as token:
        with pytest.raises(UnsupportedMechanism):
            location.import_key(foreign, key_id=FIRST, label="Hong")
        with pytest.raises(FileMalformed):
            location.import_key(Pkcs8.from_der(bytes(damaged)), key_id=FIRST, label="Hong")
        assert list(token.private_objects()) == []


NSS_STORY = """
import json, sys
from cryptography.hazmat.primitives.asymmetric import ec
from dojang.errors import NotPermitted
from dojang.locations.registry import open_location
from dojang.npki.pkcs8 import Pkcs8
from dojang.pkcs11 import ModuleSearch, ModuleSpec
from dojang.secret import Secret
from dojang.testing.modules import bring_up

with bring_up("nss") as setup:
    search = ModuleSearch(str(setup.module), (ModuleSpec(str(setup.module), "nss", setup.init_string),), discover=False)
    key = Pkcs8.from_key(ec.generate_private_key(ec.SECP256R1()), Secret(b"r" * 20))
    with open_location(setup.uri, search=search, pins=Secret(setup.pin)) as location:
        print(location.holds_r)
        try:
            location.import_key(key, key_id=b"1", label="Hong")
        except NotPermitted as error:
            print(error.code, location.has_key(b"1"), "--without-r" in error.advice())
        location.import_key(key.without_random_number(), key_id=b"1", label="Hong")
        print(location.has_key(b"1"), location.random_number(b"1"))
"""


def test_a_token_without_data_objects_says_so_before_anything_is_made() -> None:
    """NSS keeps no R: the key with one is refused, and taken without it where the caller says so."""
    run = subprocess.run([sys.executable, "-c", NSS_STORY], capture_output=True, text=True)
    assert run.stdout.splitlines() == ["False", "not-permitted False True", "True None"], run.stderr
