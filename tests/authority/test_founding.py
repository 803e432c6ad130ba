"""Founding an authority: complete or not at all."""

import errno
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from dojang.authority import (
    Founder,
    Submission,
    authority_names,
    create_authority,
    founding,
    list_authorities,
    open_authority,
)
from dojang.authority.founding import remove_rests, settle
from dojang.errors import (
    AlreadyExists,
    CertificateUnusable,
    DatabaseUnavailable,
    DeviceFailure,
    FileUnwritable,
    InvalidName,
    InvalidSetting,
    NotFound,
    NotPermitted,
    Usage,
)
from dojang.testing.postgres import PrivatePostgres
from dojang.x509.name import parse_name
from dojang.x509.request import build_request

ROOT = parse_name("CN=Root,C=KR")


def found(folder: Path, key: Any, name: str = "office", subject: x509.Name = ROOT, **options: Any) -> None:
    create_authority(folder, name=name, subject=subject, key=key, key_address="pkcs11:object=root", **options).close()


def test_what_was_founded_is_listed_without_a_key(tmp_path: Path, new_key: Any) -> None:
    """Name, addresses, terms and both certificates; a Korean name is a name."""
    found(tmp_path, new_key())
    found(
        tmp_path,
        new_key("ec-p384"),
        "우리집",
        issuing=Founder(parse_name("CN=Issuing"), new_key("rsa-3072"), "pkcs11:object=issuing"),
    )
    assert authority_names(tmp_path) == ["office", "우리집"]
    office, home = list_authorities(tmp_path)
    assert (office.key_address, office.root_key_address) == ("pkcs11:object=root", "pkcs11:object=root")
    assert office.certificate == office.root
    assert (home.key_address, home.root_key_address) == ("pkcs11:object=issuing", "pkcs11:object=root")
    assert (home.certificate.subject, home.certificate.issuer) == ("CN=Issuing", "CN=Root,C=KR")
    assert (home.certificate.algorithm, home.root.algorithm) == ("rsa-3072", "ec-p384")
    assert home.crl_path.is_file()


def test_an_empty_or_missing_folder_has_no_authorities(tmp_path: Path) -> None:
    """That is no error."""
    assert list_authorities(tmp_path / "nothing") == []


def test_a_key_is_opened_once_and_only_to_sign(tmp_path: Path, new_key: Any) -> None:
    """It is asked for by the address that was stored."""
    key, asked = new_key(), []
    found(tmp_path, key)
    with open_authority(tmp_path, "office", lambda address: asked.append(address) or key) as authority:
        authority.info(), list(authority.issued()), authority.profiles(), authority.chain_der()
        assert asked == []
        authority.publish_crl()
        authority.publish_crl()
        assert asked == ["pkcs11:object=root"]


def test_another_key_at_the_address_signs_nothing(tmp_path: Path, new_key: Any) -> None:
    """A key that took the place of the authority's is refused, and the list that is out stays."""
    found(tmp_path, new_key())
    with open_authority(tmp_path, "office", lambda _address: new_key()) as authority:
        before = authority.crl_path().read_bytes()
        with pytest.raises(CertificateUnusable, match="does not belong"):
            authority.publish_crl()
        request = build_request(new_key(), parse_name("CN=Hong"))
        with pytest.raises(CertificateUnusable, match="does not belong"):
            authority.submit(Submission("issue", request, "personal", "t"))
        assert list(authority.issued()) == []
        assert authority.crl_path().read_bytes() == before


def test_a_name_in_use_is_refused(tmp_path: Path, new_key: Any) -> None:
    """The old authority is untouched."""
    found(tmp_path, new_key())
    before = {path: path.read_bytes() for path in (tmp_path / "office").iterdir()}
    with pytest.raises(AlreadyExists):
        found(tmp_path, new_key())
    assert {path: path.read_bytes() for path in (tmp_path / "office").iterdir()} == before


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/tmp/x", ".hidden", "a b", "x" * 65, "a\x00b", "-x"])
def test_a_name_that_is_no_folder_is_usage(tmp_path: Path, new_key: Any, name: str) -> None:
    """Nothing leads out of the folder."""
    with pytest.raises(Usage):
        found(tmp_path / "in", new_key(), name)
    assert not (tmp_path / "in").exists()


def test_a_subject_needs_a_common_name(tmp_path: Path, new_key: Any) -> None:
    """The profile says so."""
    with pytest.raises(InvalidName, match="CN is missing"):
        found(tmp_path, new_key(), subject=parse_name("O=Example"))


def test_weak_and_shared_keys_are_not_permitted(tmp_path: Path, new_key: Any) -> None:
    """Neither RSA-1024, nor one key or one name for both."""
    key = new_key()
    with pytest.raises(NotPermitted, match="rsa-1024"):
        found(tmp_path, rsa.generate_private_key(65537, 1024))
    for founder in (Founder(parse_name("CN=x"), key, "b"), Founder(ROOT, new_key(), "b")):
        with pytest.raises(NotPermitted):
            found(tmp_path, key, issuing=founder)
    assert list(tmp_path.iterdir()) == []


def test_a_token_that_fails_leaves_nothing(tmp_path: Path, new_key: Any) -> None:
    """No folder, no half of an authority."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = new_key("ed25519").public_key()

    class Broken(Ed25519PrivateKey):
        def public_key(self) -> Any:
            return public

        def sign(self, data: bytes) -> bytes:
            raise DeviceFailure(token="t", function="C_Sign", result="CKR_DEVICE_ERROR")

        def _refuse(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

        private_bytes = private_bytes_raw = __copy__ = __deepcopy__ = _refuse

    with pytest.raises(DeviceFailure):
        found(tmp_path, Broken())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotFound):
        open_authority(tmp_path, "office", lambda address: None)


def test_a_folder_that_cannot_be_synced(tmp_path: Path, new_key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems cannot; the authority is founded then too, and nobody takes it for failed."""
    honest = os.open

    def refuse(path: Any, *rest: Any) -> int:
        if Path(path) == tmp_path:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return honest(path, *rest)

    monkeypatch.setattr(os, "open", refuse)
    found(tmp_path, new_key())
    assert authority_names(tmp_path) == ["office"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, new_key: Any) -> None:
    """Where a file stands in the way."""
    (tmp_path / "file").write_text("")
    with pytest.raises(FileUnwritable):
        found(tmp_path / "file" / "authorities", new_key())


def test_records_may_be_on_a_server(tmp_path: Path, new_key: Any, postgres: PrivatePostgres) -> None:
    """The folder says where; the address stands nowhere else, and a database serves one authority."""
    url = postgres.new_database()
    found(tmp_path, new_key(), database=url)
    assert sorted(path.name for path in (tmp_path / "office").iterdir()) == ["authority.toml", "crl.der"]
    assert (tmp_path / "office" / "authority.toml").stat().st_mode & 0o777 == 0o600
    assert [info.name for info in list_authorities(tmp_path)] == ["office"]
    with pytest.raises(AlreadyExists, match="office"):
        found(tmp_path, new_key(), "another", database=url)
    assert authority_names(tmp_path) == ["office"]


@pytest.mark.parametrize("step", ["sign", "insert", "publish", "rename", "named"])
def test_killed_while_founding_on_a_server(tmp_path: Path, new_key: Any, postgres: PrivatePostgres, step: str) -> None:
    """Before its folder has its name there is no authority and the database is free; afterwards it is taken."""
    url = postgres.new_database()
    child = os.fork()
    if child == 0:
        try:
            _die_at(step)
            found(tmp_path, new_key(), database=url)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    if step == "named":
        settle(tmp_path / "office")  # as the next command does that finds the unfinished operation
        with pytest.raises(AlreadyExists, match="office"):
            found(tmp_path, new_key(), "another", database=url)
        assert [info.name for info in list_authorities(tmp_path)] == ["office"]
        return
    assert authority_names(tmp_path) == []
    remove_rests(tmp_path, "office")
    found(tmp_path, new_key(), database=url)
    assert [info.name for info in list_authorities(tmp_path)] == ["office"]


def _die_at(step: str) -> None:
    """In this process, die where founding comes to that step; ``named`` is right after the folder has its name."""
    honest = Path.rename

    def named(path: Path, target: Path) -> Path:
        honest(path, target)
        os.kill(os.getpid(), signal.SIGKILL)
        return target

    def die(*_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    if step == "named":
        Path.rename = named
    elif step == "rename":
        Path.rename = die
    else:
        place = {"sign": "certify_itself", "insert": "add", "publish": "Lists"}[step]
        setattr(founding, place, die)


def test_two_who_found_in_one_database(tmp_path: Path, new_key: Any, postgres: PrivatePostgres) -> None:
    """One of them is told that somebody is at it, or was; the other's authority is whole."""
    url, refused = postgres.new_database(), []

    def attempt(name: str) -> None:
        try:
            found(tmp_path, new_key(), name, database=url)
        except (AlreadyExists, DatabaseUnavailable) as error:
            refused.append(error)

    threads = [threading.Thread(target=attempt, args=(name,)) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 2
    assert len(list_authorities(tmp_path)) == 1


def test_a_password_in_an_address_is_refused(tmp_path: Path, new_key: Any) -> None:
    """It would stand in the list of processes and in the settings; the message does not repeat it."""
    with pytest.raises(InvalidSetting, match="pgpass") as caught:
        found(tmp_path, new_key(), database="postgresql://ca:hush@localhost/x")
    assert "hush" not in f"{caught.value} {caught.value.facts}"
    assert list(tmp_path.iterdir()) == []


def test_what_others_are_told_from_the_beginning(tmp_path: Path, new_key: Any) -> None:
    """With an address of its own the issuing authority's certificate says where the root's list and certificate are."""
    below = Founder(parse_name("CN=Issuing"), new_key(), "pkcs11:object=issuing")
    with pytest.raises(InvalidSetting, match="address"):
        found(tmp_path, new_key(), issuing=below, address="ca.example.kr")
    found(tmp_path, new_key(), issuing=below, address="http://ca.example.kr/office")
    with open_authority(tmp_path, "office", lambda address: None) as authority:
        assert authority.settings.address == "http://ca.example.kr/office"
        certificate = x509.load_der_x509_certificate(authority.certificate_der())
    (point,) = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name[0].value == "http://ca.example.kr/office/crl/root.crl"
