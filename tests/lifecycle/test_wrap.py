"""Wrapping a key and bringing it back: on two slots and two HSMs, readable by other programs, refused when wrong."""

import contextlib
import json
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding, aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.credentials import SmallAuthority, proves

from dojang.errors import (
    AlreadyExists,
    Ambiguous,
    DeviceRefused,
    DojangError,
    FileMalformed,
    KeyDoesNotLeave,
    NotFound,
    NotPermitted,
    UnsupportedOperation,
    WrappingKeyMismatch,
)
from dojang.ledger import Ledger
from dojang.lifecycle.issue import issue
from dojang.lifecycle.renew import RenewOrder, renew
from dojang.lifecycle.workplace import Workplace
from dojang.lifecycle.wrap import UnwrapOrder, look_into, plan_unwrap, plan_wrap, unwrap_credential, wrap_credential
from dojang.lifecycle.wrapped_file import digest_of
from dojang.locations.registry import open_location
from dojang.pkcs11 import ModuleSearch, OpenToken, PinGuard, hmac_keys, open_token, wrapping
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.objects import search_for
from dojang.secret import Secret

FIELDS = {
    **dict.fromkeys(("label", "algorithm", "public_key", "key", "random_number", "certificate", "seal"), "AAAA"),
    "wrapped_at": "2026-11-22T00:00:00Z",
    "wrapping": {"label": "backup", "check": "00000000"},
    "chain": ["AAAA"],
}
KEK = bytes(range(32))
CHECK = aes_key_wrap_with_padding(KEK, bytes(16))[:4].hex()
KEY_ID = b"\x01" * 8
R = Secret(bytes.fromhex("79ea7568a2d3776604e18bcd3a1b1b85b7da0872"))


@dataclass
class Two:
    """Two tokens that have the same wrapping key under different ids, which the tests know, and a ledger."""

    place: Workplace
    first: str
    second: str
    token: Callable[[str], OpenToken]

    def make(self, authority: SmallAuthority, algorithm: str = "ec-p256", name: str = "Hong") -> bytes:
        """A credential on the first token, made for a backup; its certificate."""
        with self.place.open_location(self.first) as location:
            kek = location.wrapping_key("backup")
            key = location.generate_wrappable(algorithm, key_id=KEY_ID, label=name, under=kek)
            der = authority.certify(key, name)
            location.install(key_id=KEY_ID, label=name, certificate_der=der, chain_der=authority.chain_der)
        with self.token(self.first) as token:
            token.add_data(R.reveal(), label="R", application="NPKI", key_id=KEY_ID)
        return der

    def wrapped(self) -> bytes:
        return wrap_credential(self.place, f"{self.first};object=Hong", "backup")

    def unwrap(self, blob: bytes, **changes: object):
        return unwrap_credential(self.place, blob, UnwrapOrder(self.second, "backup", **changes))

    def left(self) -> list[str]:
        """What is on the second token beside its wrapping key."""
        with self.token(self.second) as token:
            return [one.type for one in token.private_objects() if one.type != "secret-key"]


@pytest.fixture(scope="module")
def authority() -> SmallAuthority:
    return SmallAuthority()


@pytest.fixture
def two(make_token: Callable, softhsm_module: str, tmp_path: Path) -> Iterator[Two]:
    tokens = [make_token(), make_token()]
    search, guard = ModuleSearch(module=softhsm_module, discover=False), PinGuard(tmp_path / "pin-guard")
    pins = Secret(tokens[0].pin)

    def opened(uri: str) -> OpenToken:
        return open_token(uri.partition(";object")[0], pins, search=search, guard=guard)

    for number, one in enumerate(tokens):
        with opened(one.uri) as token:
            wrapping.import_wrapping_key(token, KEK, label="backup", key_id=bytes([0xF0, number]))
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        place = Workplace(
            ledger=ledger,
            open_location=lambda text: open_location(
                text, search=search, pins=pins, guard=guard, passwords=lambda path, new: Secret("correct horse 1!")
            ),
            open_authority=lambda name: pytest.fail("nobody is asked"),
        )
        yield Two(place, tokens[0].uri, tokens[1].uri, opened)


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256", "ec-p384", "ec-p521"])
def test_a_credential_comes_back_on_another_token(two: Two, authority: SmallAuthority, algorithm: str) -> None:
    """Key, certificate, chain and R: it signs there, never leaves again, and the ledger says both."""
    der = two.make(authority, algorithm)
    blob = two.wrapped()
    done = two.unwrap(blob)
    assert (done.label, done.algorithm, done.already) == ("Hong", algorithm, False)
    assert all(check.ok for check in done.checks)
    with two.place.open_location(two.second) as location:
        stored = location.find(f"{two.second};object=Hong")
        assert stored.key_id == done.key_id
        assert stored.certificate_der == der
        assert location.chain_of(der) == authority.chain_der
        assert location.random_number(done.key_id) == R
        assert proves(location.private_key(done.key_id), der)
    with two.token(two.second) as token:
        (key,) = token.keys()
        allowed = {name for name, value in key.attributes.items() if value}
        assert allowed == {"private", "sensitive", "sign"}
        with pytest.raises(KeyDoesNotLeave):
            wrap_credential(two.place, f"{two.second};object=Hong", "backup")
    events = [event.event for event in two.place.ledger.history(fingerprint=sha256(der).hexdigest())]
    assert events == ["wrapped", "unwrapped"]


def test_it_comes_back_once(two: Two, authority: SmallAuthority) -> None:
    """Where it is already, it is proven and left; another name does not make a second one of it."""
    two.make(authority)
    blob = two.wrapped()
    assert not two.unwrap(blob).already
    assert two.unwrap(blob, label="Other").already
    with two.token(two.second) as token:
        assert len(list(token.keys())) == 1


def test_a_certificate_whose_key_was_lost_is_no_credential(two: Two, authority: SmallAuthority) -> None:
    """It keeps its name until it is removed; under another name the credential comes back."""
    two.make(authority)
    blob = two.wrapped()
    lost = two.unwrap(blob).key_id
    with two.token(two.second) as token:
        assert token.destroy(lost, "private") == 1
    with pytest.raises(AlreadyExists):
        two.unwrap(blob)
    assert two.unwrap(blob, label="Hong again").key_id != lost


def test_a_key_without_a_certificate_comes_back_too(two: Two) -> None:
    """It is found under the name that was asked for, and proven by its own public half."""
    with two.place.open_location(two.first) as location:
        key = location.generate_wrappable("ec-p256", key_id=KEY_ID, label="bare", under=location.wrapping_key("backup"))
    blob = wrap_credential(two.place, f"{two.first};object=bare", "backup")
    assert look_into(blob).certificate_der == b""
    done = two.unwrap(blob, label="again")
    with two.place.open_location(two.second) as location:
        assert location.find_key(f"{two.second};object=again") == (done.key_id, "again")
        assert location.private_key(done.key_id).public_key() == key.public_key()


def test_other_programs_open_what_is_in_the_file(two: Two, authority: SmallAuthority, tmp_path: Path) -> None:
    """With the wrapping key in hand, openssl and cryptography get the key, R and the digest behind the seal."""
    two.make(authority)
    body = json.loads(two.wrapped())
    assert body["wrapping"]["check"] == CHECK
    plain = aes_key_unwrap_with_padding(KEK, b64decode(body["key"]))
    key = load_der_private_key(plain[: 2 + plain[1]], None)
    with two.place.open_location(two.first) as location:
        assert key.public_key() == location.private_key(KEY_ID).public_key()
    assert aes_key_unwrap_with_padding(KEK, b64decode(body["random_number"]))[2:22] == R.reveal()
    seal = b64decode(body.pop("seal"))
    canonical = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    assert aes_key_unwrap_with_padding(KEK, seal) == sha256(canonical).digest()
    (tmp_path / "key.kwp").write_bytes(b64decode(body["key"]))
    words = f"enc -d -id-aes256-wrap-pad -K {KEK.hex()} -iv A65959A6 -in key.kwp -out key.der"
    subprocess.run(["openssl", *words.split()], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "key.der").read_bytes() == plain
    read = subprocess.run(["openssl", "pkey", "-inform", "DER", "-in", "key.der", "-noout"], cwd=tmp_path)
    assert read.returncode == 0
    secret = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert b64encode(secret)[8:24] not in two.wrapped()


def test_a_key_that_was_not_made_for_it_does_not_leave(two: Two) -> None:
    """The advice says how to make one that does."""
    with two.token(two.first) as token:
        token.generate_key_pair("ec-p256", label="stays", key_id=KEY_ID)
    with pytest.raises(KeyDoesNotLeave) as caught:
        wrap_credential(two.place, f"{two.first};object=stays", "backup")
    assert "--backup-under" in caught.value.advice()


def test_what_no_token_can_do_is_said_before_anything(two: Two, tmp_path: Path) -> None:
    """A folder wraps nothing; an absent key or wrapping key is not found, a wrong one is refused."""
    with pytest.raises(UnsupportedOperation):
        wrap_credential(two.place, f"npki:{tmp_path}/NPKI", "backup")
    with pytest.raises(NotFound):
        wrap_credential(two.place, f"{two.first};object=nobody", "backup")
    with two.token(two.first) as token:
        token.generate_key_pair("ec-p256", label="Hong", key_id=KEY_ID)
        hmac_keys.import_hmac_key(token, b"s" * 32, label="no kek", key_id=b"\x05")
        wrapping.generate_wrapping_key(token, label="backup", key_id=b"\x06")
    for name, leaf in (("absent", NotFound), ("no kek", NotPermitted), ("backup", Ambiguous)):
        with pytest.raises(leaf):
            wrap_credential(two.place, f"{two.first};object=Hong", name)


def reseal(body: dict) -> bytes:
    """The file as somebody who has the wrapping key would write it."""
    body = {name: value for name, value in body.items() if name != "seal"}
    return json.dumps({**body, "seal": b64encode(aes_key_wrap_with_padding(KEK, digest_of(body))).decode()}).encode()


DAMAGE = {
    "label": lambda body: {**body, "label": "Kim"},
    "certificate": lambda body: {**body, "certificate": None, "chain": []},
    "R": lambda body: {**body, "random_number": None},
    "key": lambda body: {**body, "key": body["seal"]},
    "algorithm": lambda body: {**body, "algorithm": "rsa-2048"},
    "added": lambda body: {**body, "comment": "added later"},
    "no key": lambda body: {name: value for name, value in body.items() if name != "key"},
    "no text": lambda body: {**body, "label": 7},
    "version": lambda body: {**body, "version": 2},
    "another kind": lambda body: {**body, "kind": "shopping list"},
    "base64": lambda body: {**body, "public_key": "%%%"},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_changed_file_is_refused_and_leaves_nothing(two: Two, authority: SmallAuthority, damage: str) -> None:
    """Whatever is changed in it, it is found out before anything is made."""
    two.make(authority)
    body = DAMAGE[damage](json.loads(two.wrapped()))
    with pytest.raises(FileMalformed):
        two.unwrap(json.dumps(body).encode())
    assert two.left() == []
    assert two.place.ledger.incomplete() == []


def test_a_cut_or_foreign_file_is_refused(two: Two, authority: SmallAuthority) -> None:
    """Every length short of the whole, and what is no JSON at all."""
    two.make(authority)
    blob = two.wrapped().rstrip()
    for wrong in (*(blob[:length] for length in range(0, len(blob), 97)), b"\xff" * 64, b"[" * 100000, b"0" * 2**21):
        with pytest.raises(FileMalformed):
            two.unwrap(wrong)


def test_another_wrapping_key_is_told_from_the_right_one(two: Two, authority: SmallAuthority) -> None:
    """The error names both check values."""
    two.make(authority)
    blob = two.wrapped()
    with two.token(two.second) as token:
        other = wrapping.generate_wrapping_key(token, label="other", key_id=b"\x0b")
    order = UnwrapOrder(two.second, "other")
    with pytest.raises(WrappingKeyMismatch) as caught:
        unwrap_credential(two.place, blob, order)
    assert caught.value.facts["check"] == CHECK
    assert caught.value.facts["found"] == other.check
    assert two.left() == []


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        (ck.CKA_DECRYPT, True, "decrypts data"),
        (ck.CKA_EXTRACTABLE, True, "can be taken out"),
        (ck.CKA_SENSITIVE, False, "shows its value"),
    ],
)
def test_a_wrapping_key_that_gives_away_what_it_wraps_is_refused(
    two: Two, attribute: int, value: bool, said: str
) -> None:
    """One that also decrypts makes every file of it as good as plain for whoever knows the PIN; as does one that
    leaves. None is made for it, and nothing goes under it.
    """
    good = wrapping._kek_template("leaky", b"\x0c")
    leaky = [*((kind, value if kind == attribute else old) for kind, old in good), (ck.CKA_VALUE, bytes(32))]
    with two.token(two.first) as token:
        token.logged_in(lambda session: session.cryptoki.create_object(session.handle, leaky))
    with two.place.open_location(two.first) as location:
        with pytest.raises(NotPermitted, match=said) as caught:
            location.wrapping_key("leaky")
        assert "dojang key" in caught.value.advice()


def test_a_wrapping_key_does_nothing_else(two: Two) -> None:
    """As the token itself says: it wraps and unwraps, and neither encrypts, decrypts, signs nor derives."""
    kinds = {
        *(ck.CKA_WRAP, ck.CKA_UNWRAP, ck.CKA_ENCRYPT, ck.CKA_DECRYPT, ck.CKA_SIGN, ck.CKA_VERIFY, ck.CKA_DERIVE),
        *(ck.CKA_EXTRACTABLE, ck.CKA_SENSITIVE, ck.CKA_PRIVATE),
    }
    with two.token(two.first) as token:
        wrapping.generate_wrapping_key(token, label="made", key_id=b"\x0d")
        for label in ("made", "backup"):
            search = search_for(ck.CKO_SECRET_KEY, label=label)
            told = token.logged_in(lambda session, search=search: session.read(session.resolve(search), tuple(kinds)))
            may = {kind for kind, value in told.items() if value == b"\x01"}
            assert may == {ck.CKA_WRAP, ck.CKA_UNWRAP, ck.CKA_SENSITIVE, ck.CKA_PRIVATE}
            assert told.keys() == kinds


def test_a_wrapping_key_of_another_token_is_not_taken_for_ours(two: Two, authority: SmallAuthority) -> None:
    """Its address names a token; the key of the same label on this one is another key."""
    two.make(authority)
    with pytest.raises(NotFound):
        wrap_credential(two.place, f"{two.first};object=Hong", f"{two.second};object=backup")
    assert wrap_credential(two.place, f"{two.first};object=Hong", f"{two.first};object=backup")


@pytest.mark.parametrize("wrong", ["another kind of key", "another key", "no key"])
def test_a_file_that_lies_about_its_key_leaves_nothing(two: Two, authority: SmallAuthority, wrong: str) -> None:
    """Sealed by somebody who has the wrapping key, and yet not what it says: refused, and the token is as it was."""
    two.make(authority)
    body = json.loads(two.wrapped())
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    plain = {"another kind of key": other, "another key": other, "no key": b"nothing of the sort...."}[wrong]
    if wrong == "another kind of key":
        body |= {"algorithm": "rsa-2048"}
    body["key"] = b64encode(aes_key_wrap_with_padding(KEK, plain)).decode()
    with pytest.raises(DojangError) as caught:
        two.unwrap(reseal(body))
    assert caught.value.exit_status in (9, 10, 11, 13)
    assert two.left() == []
    assert two.place.ledger.incomplete() == []


def test_a_taken_name_is_refused_before_anything_is_made(two: Two, authority: SmallAuthority) -> None:
    """Another key of that name stays alone; with another name it works."""
    two.make(authority)
    blob = two.wrapped()
    with two.token(two.second) as token:
        token.generate_key_pair("ec-p256", label="Hong", key_id=b"\x09")
    with pytest.raises(AlreadyExists):
        two.unwrap(blob)
    assert sorted(two.left()) == ["private", "public"]
    assert two.unwrap(blob, label="Hong the second").label == "Hong the second"


def test_a_plan_changes_nothing(two: Two, authority: SmallAuthority) -> None:
    """The steps are named after the same refusals."""
    two.make(authority)
    blob = two.wrapped()
    assert [step.name for step in plan_wrap(two.place, f"{two.first};object=Hong", "backup")] == ["wrap"]
    order = UnwrapOrder(two.second, "backup")
    assert [step.name for step in plan_unwrap(two.place, blob, order)] == ["unwrap", "prove", "install"]
    assert two.left() == []
    with pytest.raises(WrappingKeyMismatch):
        plan_unwrap(two.place, reseal({**json.loads(blob), "wrapping": {"label": "x", "check": "00000000"}}), order)


MARK = """
import sys
import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass

module, label, so_pin = sys.argv[1:]
may = Attribute.TOKEN, Attribute.SENSITIVE, Attribute.TRUSTED, Attribute.WRAP, Attribute.UNWRAP
wrapping = {**dict.fromkeys(may, True), Attribute.DECRYPT: False}
kind = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES, Attribute.VALUE: bytes(32)}
name = {Attribute.LABEL: "marked", Attribute.ID: b"marked", Attribute.PRIVATE: False, Attribute.EXTRACTABLE: False}
with pkcs11.lib(module).get_token(token_label=label).open(rw=True, so_pin=so_pin) as session:
    session.create_object({**kind, **wrapping, **name})
"""


def test_a_key_for_a_trusted_wrapping_key_goes_under_no_other(two: Two) -> None:
    """Where the security officer has marked the wrapping key, the token itself refuses every other."""
    label = two.first.partition("token=")[2].partition(";")[0]
    with two.token(two.first) as token:
        module = token.token.module.path
    run = subprocess.run([sys.executable, "-c", MARK, module, label, "12345678"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    with two.place.open_location(two.first) as location:
        marked = location.wrapping_key("marked")
        assert (marked.trusted, location.wrapping_key("backup").trusted) == (True, False)
        location.generate_wrappable("ec-p256", key_id=KEY_ID, label="Hong", under=marked)
        assert location.wrap(KEY_ID, marked).key
    with pytest.raises(DeviceRefused, match="CKR_KEY_NOT_WRAPPABLE"):
        two.wrapped()


def test_a_kind_of_key_that_the_token_cannot_wrap_is_not_made(two: Two, authority: SmallAuthority) -> None:
    """It would look as if a backup could be made of it. What had its CKA_ID before stays."""
    issuer, *_above = authority.chain_der
    with two.token(two.first) as token:
        token.add_certificate(issuer, label="there before", key_id=KEY_ID)
    with two.place.open_location(two.first) as location:
        with pytest.raises(UnsupportedOperation):
            location.generate_wrappable("ed25519", key_id=KEY_ID, label="Hong", under=location.wrapping_key("backup"))
        assert not location.has_key(KEY_ID)
    with two.token(two.first) as token:
        assert [one.type for one in token.private_objects(key_id=KEY_ID)] == ["cert"]


def test_a_wrapping_key_that_is_numbered_like_a_credential_outlives_it(two: Two, authority: SmallAuthority) -> None:
    """Some programs give everything the CKA_ID 01: retiring and deleting a credential leave the wrapping key alone."""
    with two.token(two.first) as token:
        before = wrapping.import_wrapping_key(token, bytes(32), label="numbered", key_id=KEY_ID)
    two.make(authority)
    with two.place.open_location(two.first) as location:
        location.retire(KEY_ID)
        assert location.wrapping_key("numbered") == before
        location.delete(KEY_ID)
        assert location.wrapping_key("numbered") == before
        assert not location.has_key(KEY_ID)


def test_a_second_wrapping_key_under_one_id_is_refused_and_the_first_stays(two: Two) -> None:
    """Made or brought: what was wrapped under the first can still be opened."""
    with two.token(two.first) as token:
        there = wrapping.wrapping_key(token, label="backup")
        with pytest.raises(AlreadyExists):
            wrapping.generate_wrapping_key(token, label="second", key_id=there.key_id)
        with pytest.raises(AlreadyExists):
            wrapping.import_wrapping_key(token, bytes(32), label="second", key_id=there.key_id)
        assert wrapping.wrapping_key(token, label="backup") == there


def test_a_successor_can_be_backed_up_like_its_predecessor(office) -> None:
    """Issued for a backup, it is renewed and reissued for one; a folder makes no such key, and keeps nothing of it."""
    order = office.order(backup_under="backup")
    if office.address.startswith("npki:"):
        with pytest.raises(UnsupportedOperation):
            issue(order, office.place)
        assert office.credentials() == []
        return
    with office.place.open_location(office.address) as location:
        location.keep_wrapping_key(KEK, key_id=b"kek", label="backup")
    issue(order, office.place)
    office.later = timedelta(days=85)
    renewed = renew(RenewOrder(f"{office.address};object=Hong", again=True), office.place).credential
    assert look_into(wrap_credential(office.place, renewed.stored.address, "backup")).wrapped.algorithm == "ec-p256"
    again = renew(RenewOrder(f"{office.address};object=Hong", again=True), office.place).credential
    assert again.stored.key_id != renewed.stored.key_id
    assert wrap_credential(office.place, again.stored.address, "backup")


NSS_STORY = """
import json, os, sys
from contextlib import contextmanager
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric import ec
from dojang.errors import NotPermitted
from dojang.lifecycle.backup_wrapped import Second, WrappedBackupOrder, wrapped_backup
from dojang.lifecycle.copy import CopyOrder, copy
from dojang.lifecycle.import_key import ImportKeyOrder, import_key
from dojang.npki.pkcs8 import Pkcs8
from dojang.testing.modules import bring_up
from dojang.testing.softhsm import softhsm
from dojang.ledger import Ledger
from dojang.lifecycle.workplace import Workplace
from dojang.lifecycle.wrap import UnwrapOrder, unwrap_credential, wrap_credential
from dojang.locations.registry import open_location
from dojang.pkcs11 import ModuleSearch, ModuleSpec, PinGuard, open_token, wrapping
from dojang.secret import Secret
from tests.contract.credentials import SmallAuthority, proves

authority, folder = SmallAuthority(), Path(sys.argv[1])
with bring_up("nss") as nss, softhsm() as hsm, hsm.in_this_process():
    token = hsm.token("Hong")
    def where(setup):
        search = ModuleSearch(str(setup.module), (ModuleSpec(str(setup.module), "m", setup.init_string),), False)
        return {"search": search, "guard": PinGuard(folder / "guard")}
    def at(setup):
        if setup is None:
            return open_location(disk, passwords=lambda path, new: Secret("correct horse 1!"))
        return open_location(setup.uri, pins=Secret(setup.pin), **where(setup))
    setups = {setup.uri.partition(";")[0]: setup for setup in (nss, token)}
    def named(address):
        return at(next(one for uri, one in setups.items() if address.startswith(uri)))
    for setup in (nss, token):
        with open_token(setup.uri, Secret(setup.pin), **where(setup)) as opened:
            wrapping.import_wrapping_key(opened, bytes(range(32)), label="backup", key_id=b"kek")
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        place = Workplace(ledger, named, lambda name: None)
        for source, target in ((token, nss), (nss, token)):
            for algorithm in ("rsa-2048", "ec-p256", "ec-p384"):
                with at(source) as location:
                    kek, key_id = location.wrapping_key("backup"), os.urandom(8)
                    key = location.generate_wrappable(algorithm, key_id=key_id, label=algorithm, under=kek)
                    der = authority.certify(key, f"{source.name} {algorithm}")
                    location.install(key_id=key_id, label=algorithm, certificate_der=der)
                blob = wrap_credential(place, f"{source.uri};object={algorithm}", "backup")
                done = unwrap_credential(place, blob, UnwrapOrder(target.uri, "backup", f"{algorithm} from elsewhere"))
                with at(target) as location:
                    print(source.name, algorithm, proves(location.private_key(done.key_id), der))
        for source, target in ((token, nss), (nss, token)):
            key_id = os.urandom(8)
            with at(source) as location:
                kek = location.wrapping_key("backup")
                key = location.generate_wrappable("ec-p256", key_id=key_id, label="kept", under=kek)
                location.install(key_id=key_id, label="kept", certificate_der=authority.certify(key, "kept"))
            order = WrappedBackupOrder(
                f"{source.uri};object=kept", "backup", folder / f"{source.name}.key", Second(target.uri, "backup")
            )
            print("signature" in {one.name for one in wrapped_backup(order, place).drilled[0].checks})
            with at(source) as location:
                location.delete(key_id)
        with open_token(token.uri, Secret(token.pin), **where(token)) as opened:
            opened.add_data(b"r" * 20, label="R", application="NPKI", key_id=next(opened.keys(label="ec-p256")).key_id)
        blob = wrap_credential(place, f"{token.uri};object=ec-p256", "backup")
        with at(nss) as location:
            location.delete(location.find(f"{nss.uri};object=ec-p256%20from%20elsewhere").key_id)
        for without_r in (False, True):
            order = UnwrapOrder(nss.uri, "backup", "without", without_r=without_r)
            try:
                print(sorted(unwrap_credential(place, blob, order).left_out))
            except NotPermitted as error:
                print("--without-r" in error.advice())
        key = Pkcs8.from_key(ec.generate_private_key(ec.SECP256R1()), Secret(b"r" * 20))
        for without_r in (False, True):
            try:
                print(sorted(import_key(ImportKeyOrder(nss.uri, "bare", key, without_r=without_r), place).left_out))
            except NotPermitted as error:
                print("--without-r" in error.advice())
        disk = f"npki:{folder}/NPKI"
        with open_location(disk, passwords=lambda path, new: Secret("correct horse 1!")) as location:
            made = location.import_key(key, key_id=b"12345678", label="Hong")
            location.install(key_id=b"12345678", label="Hong", certificate_der=authority.certify(made, "Hong"))
        setups[disk] = None
        for without_r in (False, True):
            try:
                done = copy(CopyOrder(f"{disk}?cn=Hong", nss.uri, "copied", without_r=without_r), place)
                print(sorted(done.brought.left_out))
            except NotPermitted as error:
                print("--without-r" in error.advice())
        print(place.ledger.incomplete())
"""


def test_keys_go_from_one_makers_hsm_to_anothers(tmp_path: Path) -> None:
    """SoftHSM to NSS and back: each unwraps what the other wrapped, and it signs; so a backup of the one is tried on
    the other. R stays behind only on purpose.
    """
    run = subprocess.run([sys.executable, "-c", NSS_STORY, str(tmp_path)], capture_output=True, text=True)
    kinds = ("rsa-2048", "ec-p256", "ec-p384")
    wanted = [f"{source} {kind} True" for source in ("softhsm", "nss") for kind in kinds]
    left_behind = ["True", "['r']"] * 3  # first refused, then left behind where the caller says so
    tried = ["True", "True"]
    assert run.stdout.splitlines() == [*wanted, *tried, *left_behind, "[]"], run.stdout + run.stderr


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), JSON), st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(changes: dict, tail: bytes) -> None:
    """Whatever stands in the fields, and whatever follows, nothing but ``FileMalformed`` comes of it."""
    body = {"kind": "dojang wrapped key", "version": 1, **FIELDS, **changes}
    for data in (json.dumps(body).encode(), json.dumps(body).encode() + tail, tail):
        with contextlib.suppress(FileMalformed):
            look_into(data)
