"""What a key file in an NPKI folder keeps through its life: R, its companions, its password."""

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.contract.credentials import SmallAuthority, proves
from tests.locations.test_disk import FIRST, PASSWORD, SECOND, copy, killed_at_every_step

from dojang.errors import FileUnwritable, KeyMismatch, NotFound, PasswordIncorrect
from dojang.locations.base import ChangesPassword, Companions, GivesKeys, HoldsCompanions, TakesKeys
from dojang.locations.disk import DiskLocation
from dojang.npki import derivation, keyfile
from dojang.npki.folder import scan
from dojang.npki.keyfile import SCHEMES, KeyFileForm, generate_key, open_pkcs8, scheme_of, seal_pkcs8
from dojang.npki.pkcs8 import Pkcs8, new_random_number
from dojang.npki.schemes import Pbes2
from dojang.secret import Secret

NEW = Secret("새로운 비밀 2@")
FAST = KeyFileForm("pbes2-seed")
KM = Pkcs8.from_key(generate_key("ec-p256", where="here"), new_random_number())


@pytest.fixture(scope="module")
def authority() -> SmallAuthority:
    return SmallAuthority()


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory, authority: SmallAuthority) -> tuple[Path, Pkcs8]:
    """A root with one credential that came from elsewhere with its companions; tests copy it."""
    root = tmp_path_factory.mktemp("brought") / "NPKI"
    pkcs8 = Pkcs8.from_key(generate_key("ec-p256", where="here"), new_random_number())
    bring(at(root), pkcs8, authority, FIRST)
    return root, pkcs8


@pytest.fixture
def root(brought: tuple[Path, Pkcs8], tmp_path: Path) -> Path:
    return copy(brought[0], tmp_path)


def at(root: Path, *passwords: Secret) -> DiskLocation:
    """A location; the passwords are given in this order, the last one again and again."""
    answers = list(passwords or (PASSWORD,))
    return DiskLocation(root, lambda path, new: answers.pop(0) if len(answers) > 1 else answers[0], FAST)


def bring(location: DiskLocation, pkcs8: Pkcs8, authority: SmallAuthority, key_id: bytes, name: str = "Hong") -> None:
    key = location.import_key(pkcs8, key_id=key_id, label=name)
    location.import_companions(Companions(b"km certificate", KM, b"above"), key_id=key_id)
    location.install(key_id=key_id, label=name, certificate_der=authority.certify(key, name))


def key_files(root: Path) -> Iterator[Path]:
    return root.rglob("*Pri.key")


def opens(path: Path, password: Secret) -> bool:
    try:
        return bool(open_pkcs8(path.read_bytes(), password, str(path)))
    except PasswordIncorrect:
        return False


def test_a_folder_can_do_everything_with_keys(root: Path) -> None:
    """It gives them, takes them, keeps their companions and changes their passwords."""
    for interface in (GivesKeys, TakesKeys, HoldsCompanions, ChangesPassword):
        assert isinstance(at(root), interface)


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256", "ed25519"])
def test_a_new_key_has_an_r_of_its_own_and_openssl_opens_it(tmp_path: Path, algorithm: str) -> None:
    """160 random bits in the attributes of the key file, still there in the next run; no two are alike."""
    for key_id in (FIRST, SECOND):
        DiskLocation(tmp_path, lambda path, new: PASSWORD).generate(algorithm, key_id=key_id, label="x")
    found = {at(tmp_path).export_key(key_id).random_number.reveal() for key_id in (FIRST, SECOND)}
    assert [len(one) for one in found] == [20, 20]
    for path in key_files(tmp_path):
        command = ["openssl", "pkey", "-inform", "DER", "-in", path, "-passin", "pass:correct horse 1!", "-noout"]
        subprocess.run(command, check=True)


def test_what_was_brought_is_given_again_as_it_was(
    root: Path, brought: tuple[Path, Pkcs8], tmp_path: Path, authority: SmallAuthority
) -> None:
    """Key, R, km pair and CaPubs, through as many folders as one likes; the file is another each time."""
    pkcs8 = brought[1]
    first = at(root)
    assert first.export_key(FIRST) == pkcs8
    assert first.export_companions(FIRST) == Companions(b"km certificate", KM, b"above")
    second = at(tmp_path / "second", NEW)
    bring(second, first.export_key(FIRST), authority, SECOND)
    again = at(tmp_path / "second", NEW)
    assert (again.export_key(SECOND), again.export_companions(SECOND).km_key) == (pkcs8, KM)
    assert proves(again.private_key(SECOND), next(again.credentials()).certificate_der)
    assert len({path.read_bytes() for folder in (root, tmp_path / "second") for path in key_files(folder)}) == 4


def test_the_km_key_is_put_under_the_password_of_its_folder(root: Path) -> None:
    """One password opens both, as other programs expect."""
    assert [opens(path, PASSWORD) for path in key_files(root)] == [True, True]
    with pytest.raises(NotFound):
        at(root).import_companions(Companions(ca_pubs=b"above"), key_id=SECOND)


def test_a_km_key_under_a_password_of_its_own_is_asked_for(root: Path) -> None:
    """Where another program changed only one of the two."""
    km_file = next(root.rglob("kmPri.key"))
    km_file.write_bytes(FAST.seal(KM, NEW))
    assert at(root, PASSWORD, NEW).export_companions(FIRST).km_key == KM
    with pytest.raises(PasswordIncorrect, match="kmPri"):
        at(root).export_companions(FIRST)


def test_companions_that_were_brought_stay_when_another_is_replaced(root: Path, authority: SmallAuthority) -> None:
    """The predecessor's fill only what is missing."""
    location = at(root)
    other = Pkcs8.from_key(generate_key("ec-p256", where="here"))
    key = location.import_key(other, key_id=SECOND, label="Hong", replaces=FIRST)
    location.import_companions(Companions(km_certificate_der=b"another"), key_id=SECOND)
    certificate_der = authority.certify(key, "Hong", days=1)
    location.install(key_id=SECOND, label="Hong", certificate_der=certificate_der, replaces=FIRST)
    location.switch(old_key_id=FIRST, new_key_id=SECOND)
    assert at(root).export_companions(SECOND) == Companions(b"another", KM, b"above")


def test_a_key_that_is_kept_keeps_its_r(root: Path, brought: tuple[Path, Pkcs8], authority: SmallAuthority) -> None:
    """Renewal of the certificate alone, then the retired one: the same key file."""
    location = at(root)
    certificate_der = authority.certify(location.private_key(FIRST), "Hong", days=1)
    location.install(key_id=FIRST, label="Hong", certificate_der=certificate_der, replaces=FIRST)
    location.switch(old_key_id=FIRST, new_key_id=FIRST)
    assert len(list(key_files(root))) == 4
    for path in root.rglob("signPri.key"):
        assert open_pkcs8(path.read_bytes(), PASSWORD, "x") == brought[1]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_password_is_changed_for_both_keys(
    root: Path, brought: tuple[Path, Pkcs8], scheme: str, authority: SmallAuthority
) -> None:
    """Old first, then new; R and companions stay, the old opens nothing more, and the form is the one set now."""
    asked = []

    def provide(path: str, new: bool) -> Secret:
        asked.append((Path(path).name, new))
        return NEW if new else PASSWORD

    location = DiskLocation(root, provide, KeyFileForm(scheme, "cp949"))
    location.change_password(FIRST)
    assert asked == [("signPri.key", False), ("signPri.key", True)]
    assert location.export_key(FIRST) == brought[1]
    assert not any(opens(path, PASSWORD) for path in key_files(root))
    for path in key_files(root):
        assert open_pkcs8(path.read_bytes(), NEW, "x", ("cp949",))
    with pytest.raises(PasswordIncorrect):
        at(root).private_key(FIRST)
    assert at(root, NEW).export_companions(FIRST) == Companions(b"km certificate", KM, b"above")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_takes_a_files_place_is_written_as_that_was(root: Path, authority: SmallAuthority, scheme: str) -> None:
    """A successor's key, and both keys under a new password: the programs that read the old ones read the new."""
    for path in key_files(root):
        path.write_bytes(seal_pkcs8(open_pkcs8(path.read_bytes(), PASSWORD, "x").der, PASSWORD, 1000, scheme=scheme))
    answers = {True: NEW, False: PASSWORD}
    location = DiskLocation(root, lambda path, new: answers[new])
    location.generate("ec-p256", key_id=SECOND, label="Hong", replaces=FIRST)
    location.change_password(FIRST)
    made = [scheme_of(path.read_bytes()) or SCHEMES[0] for path in key_files(root)]
    assert made == [scheme] * 4
    assert all(opens(path, NEW) for path in key_files(root))


def test_the_km_key_comes_under_the_new_password_of_a_successor(root: Path, authority: SmallAuthority) -> None:
    """One password opens both keys again; where nobody knows the km key's, it goes along as it is."""
    before = next(root.rglob("kmPri.key")).read_bytes()
    for answers, password in (([NEW, PASSWORD], NEW), ([NEW, Secret("forgotten")], PASSWORD), ([NEW], PASSWORD)):
        location = at(root, *answers)
        key = location.generate("ec-p256", key_id=SECOND, label="Hong", replaces=FIRST)
        certificate_der = authority.certify(key, "Hong", days=1)
        location.install(key_id=SECOND, label="Hong", certificate_der=certificate_der, replaces=FIRST)
        staged = root / ".dojang" / SECOND.hex()
        assert open_pkcs8((staged / "kmPri.key").read_bytes(), password, "x") == KM
        assert opens(staged / "signPri.key", NEW)
        location.discard(SECOND)
    assert next(root.rglob("kmPri.key")).read_bytes() == before
    location = at(root, PASSWORD, NEW, Secret("not asked for"))
    location.private_key(FIRST)
    location.generate("ec-p256", key_id=SECOND, label="Hong", replaces=FIRST)
    assert opens(root / ".dojang" / SECOND.hex() / "kmPri.key", NEW)


def test_a_change_of_password_that_cannot_be_written_changes_nothing(root: Path) -> None:
    """Neither of the two keys, when there is no room for the second; and nothing lies beside them."""
    before = {path: path.read_bytes() for path in key_files(root)}
    in_the_way = next(root.rglob("signPri.key")).with_name("signPri.key.part")
    in_the_way.mkdir()
    with pytest.raises(FileUnwritable):
        at(root, PASSWORD, NEW).change_password(FIRST)
    in_the_way.rmdir()
    assert {path: path.read_bytes() for path in key_files(root)} == before
    assert not list(root.rglob("*.part"))


def test_who_may_read_a_key_file_may_still_after_its_password_changed(root: Path) -> None:
    """Permissions stay, and so does the owner: an administrator does not take another user's key from him."""
    for path in key_files(root):
        path.chmod(0o640)
    at(root, PASSWORD, NEW).change_password(FIRST)
    assert [path.stat().st_mode & 0o777 for path in key_files(root)] == [0o640] * 2


def test_two_who_change_a_password_at_once_leave_the_one_that_was_told(root: Path) -> None:
    """One of them, or one after the other; whoever was told that it is done can open both keys."""
    told: list[Secret] = []
    third = Secret("a third one 3#")

    def change(new: Secret) -> None:
        location = at(root, PASSWORD, new)
        with contextlib.suppress(PasswordIncorrect):
            location.change_password(FIRST)
            told.append(new)

    both = [threading.Thread(target=change, args=(new,)) for new in (NEW, third)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(told) == 1
    assert all(opens(path, told[0]) for path in key_files(root))


def test_a_wrong_old_password_changes_nothing(root: Path) -> None:
    """Every file is as it was, byte for byte."""
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises(PasswordIncorrect):
        at(root, Secret("wrong"), NEW).change_password(FIRST)
    with pytest.raises(NotFound):
        at(root).change_password(SECOND)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_retired_copies_of_the_key_change_along(root: Path, authority: SmallAuthority) -> None:
    """A password that others know opens the key nowhere; a copy under yet another password is left alone."""
    location = at(root)
    for days in (1, 2):
        certificate_der = authority.certify(location.private_key(FIRST), "Hong", days=days)
        location.install(key_id=FIRST, label="Hong", certificate_der=certificate_der, replaces=FIRST)
        location.switch(old_key_id=FIRST, new_key_id=FIRST)
    live, *retired = sorted(root.rglob("signPri.key"), key=lambda path: "RETIRED" in str(path))
    third = Secret("a third one 3#")
    retired[0].write_bytes(FAST.seal(at(root).export_key(FIRST), third))
    retired[0].with_name("kmPri.key").write_bytes(b"damaged")
    at(root, PASSWORD, NEW).change_password(FIRST)
    assert opens(retired[1].with_name("kmPri.key"), NEW)
    assert [opens(live, NEW), opens(retired[1], NEW), opens(retired[0], third)] == [True, True, True]


def test_a_key_without_a_password_gets_one(root: Path, brought: tuple[Path, Pkcs8]) -> None:
    """Nobody is asked for the old one; the plain bytes are gone."""
    path = next(root.rglob("signPri.key"))
    path.write_bytes(brought[1].der)
    location = at(root, PASSWORD)
    location.change_password(FIRST)
    assert brought[1].der not in path.read_bytes()
    assert opens(path, PASSWORD)


def test_a_change_of_password_that_is_killed_is_finished_by_the_next(root: Path) -> None:
    """At every instruction each key opens with the old or the new password, also when it was done already."""

    def change(location: DiskLocation) -> None:
        at(location.root, PASSWORD, NEW).change_password(FIRST)

    def check(root: Path) -> None:
        files = list(key_files(root))
        assert len(files) == 2
        assert all(opens(path, PASSWORD) or opens(path, NEW) for path in files)
        change(at(root))
        assert all(opens(path, NEW) for path in key_files(root))
        assert not list(root.rglob("*.part"))

    assert killed_at_every_step(root, change, check) > 4


def test_a_kill_while_companions_come_loses_nothing(tmp_path: Path, authority: SmallAuthority) -> None:
    """They are brought again, and then they are complete."""
    pkcs8 = Pkcs8.from_key(generate_key("ec-p256", where="here"))

    def bring_all(location: DiskLocation) -> None:
        bring(at(location.root), pkcs8, authority, FIRST)

    def check(root: Path) -> None:
        location = at(root)
        if not list(location.credentials()):
            location.discard(FIRST)
            assert not [path for path in root.rglob("*") if path.is_file()]
            bring_all(location)
        assert at(root).export_companions(FIRST) == Companions(b"km certificate", KM, b"above")

    assert killed_at_every_step(tmp_path / "NPKI", bring_all, check) > 8


def test_a_key_beside_a_certificate_of_another_is_refused(
    root: Path, brought: tuple[Path, Pkcs8], authority: SmallAuthority, tmp_path: Path
) -> None:
    """The error names the key file; nothing is signed with it and nothing is copied from it."""
    folder = next(root.glob("*/USER/*"))
    other = copy(brought[0], tmp_path / "other")
    bring(at(other), Pkcs8.from_key(generate_key("ec-p256", where="here")), authority, SECOND, "Kim")
    shutil.copy(other / "Contract CA/USER/cn=Kim,c=KR/signPri.key", folder / "signPri.key")
    for use in (DiskLocation.private_key, DiskLocation.export_key, DiskLocation.export_companions):
        with pytest.raises(KeyMismatch, match="signPri"):
            use(at(root), FIRST)


def test_a_plain_key_file_is_given_as_it_is(root: Path, brought: tuple[Path, Pkcs8]) -> None:
    """And a library that knows nothing of R reads the same key from it."""
    next(root.rglob("signPri.key")).write_bytes(brought[1].der)
    key = DiskLocation(root).private_key(FIRST)
    form = Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
    assert key.private_bytes(*form) == brought[1].key().private_bytes(*form)


def sealed_at(root: Path, key_id: bytes) -> tuple[Pbes2, bytes]:
    """How a key file is encrypted, and what is hidden in it."""
    (path,) = [folder.key_path for folder in scan(root) if folder.key_id == key_id and folder.key_path]
    scheme, hidden = keyfile._framed(path.read_bytes())
    assert isinstance(scheme, Pbes2)
    return scheme, hidden


def renew_after_opening(root: Path, authority: SmallAuthority, *passwords: Secret) -> DiskLocation:
    """A renewal as it goes: the old key is opened, then its successor is made and installed."""
    answers = list(passwords)
    location = DiskLocation(root, lambda path, new: answers[new] if len(answers) > 1 else answers[0])
    (old,) = location.credentials()
    location.private_key(old.key_id)
    key = location.generate("ec-p256", key_id=SECOND, label="Hong", replaces=old.key_id)
    certificate_der = authority.certify(key, "Hong")
    location.install(key_id=SECOND, label="Hong", certificate_der=certificate_der, replaces=old.key_id)
    location.switch(old_key_id=old.key_id, new_key_id=SECOND)
    return location


def made_here(root: Path, authority: SmallAuthority) -> None:
    location = DiskLocation(root, lambda path, new: PASSWORD)
    key = location.generate("ec-p256", key_id=FIRST, label="Hong")
    location.install(key_id=FIRST, label="Hong", certificate_der=authority.certify(key, "Hong"))


def test_a_successor_under_the_same_password_costs_one_derivation(
    tmp_path: Path, authority: SmallAuthority, monkeypatch: pytest.MonkeyPatch, quick_passwords: None
) -> None:
    """What opened the old key seals the new one, with an IV of its own; openssl opens both."""
    root = tmp_path / "NPKI"
    made_here(root, authority)
    derived, derive = [], derivation.pbkdf2
    monkeypatch.setattr(derivation, "pbkdf2", lambda *words: derived.append(words) or derive(*words))
    renew_after_opening(root, authority, PASSWORD)
    assert len(derived) == 1
    (old, _), (new, _) = sealed_at(root, FIRST), sealed_at(root, SECOND)
    assert old.derivation == new.derivation
    assert old.iv != new.iv
    for path in key_files(root):
        command = ["openssl", "pkey", "-inform", "DER", "-in", path, "-passin", f"pass:{PASSWORD.reveal().decode()}"]
        assert subprocess.run([*command, "-noout"], capture_output=True).returncode == 0
    assert at(root).private_key(SECOND)


def test_what_is_weaker_or_under_another_password_is_derived_anew(
    tmp_path: Path, authority: SmallAuthority, monkeypatch: pytest.MonkeyPatch, quick_passwords: None
) -> None:
    """A new password has a salt of its own, and fewer iterations than a new file has are not handed on."""
    made_here(tmp_path / "one", authority)
    renew_after_opening(tmp_path / "one", authority, PASSWORD, NEW)
    old, new = sealed_at(tmp_path / "one", FIRST)[0], sealed_at(tmp_path / "one", SECOND)[0]
    assert old.derivation.salt != new.derivation.salt
    made_here(tmp_path / "two", authority)
    monkeypatch.setattr(keyfile, "SEAL_ITERATIONS", 2000)
    renew_after_opening(tmp_path / "two", authority, PASSWORD)
    weak, strong = sealed_at(tmp_path / "two", FIRST)[0], sealed_at(tmp_path / "two", SECOND)[0]
    assert (weak.derivation.iterations, strong.derivation.iterations) == (1000, 2000)
    assert weak.derivation.salt != strong.derivation.salt
