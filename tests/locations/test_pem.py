"""PEM files as locations: what other programs wrote is read and kept, what is written they read."""

import ssl
import subprocess
import time
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.credentials import SmallAuthority, proves
from tests.locations.dying import killed_at_every_step
from tests.locations.life import FIRST, SECOND, issue, renew
from tests.npki.fuzz.mutation import mutated

from dojang.errors import FileMalformed, FileUnwritable, NotFound, PasswordIncorrect
from dojang.locations.base import ChangesPassword
from dojang.locations.pem_blocks import CERTIFICATE, MOST_BLOCKS, Block, read_blocks
from dojang.locations.pem_layout import laid_out, sorted_out
from dojang.locations.registry import open_location
from dojang.npki.keyfile import open_pkcs8
from dojang.secret import Secret

pytestmark = pytest.mark.usefixtures("quick_passwords")
PASSWORD = Secret("correct horse 1!")
PASS = ("-passin", "pass:correct horse 1!")


def openssl(*arguments: object) -> str:
    run = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def authority() -> SmallAuthority:
    return SmallAuthority()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hong.pem"


def opened(path: Path, key_path: Path | None = None, password: Secret = PASSWORD):
    beside = "" if key_path is None else f"?key={key_path}"
    return open_location(f"pem:{path}{beside}", passwords=lambda path, new: password)


def pem_of(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


def test_other_programs_take_the_credential_in_use(path: Path, authority: SmallAuthority) -> None:
    """After a renewal too: OpenSSL and a TLS server take the new pair and its chain, and none of what is retired."""
    with opened(path) as location:
        issue(location, authority)
        new = renew(location, authority)
    assert openssl("x509", "-in", path) == pem_of(new.certificate_der)
    public = openssl("pkey", "-in", path, "-pubout", *PASS)
    assert public == openssl("x509", "-in", path, "-noout", "-pubkey")
    assert openssl("pkcs8", "-in", path, *PASS).startswith("-----BEGIN PRIVATE KEY")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, password=PASSWORD.reveal())
    found = [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(path.read_bytes())]
    assert found == [new.certificate_der, *authority.chain_der]
    assert (
        load_pem_private_key(path.read_bytes(), PASSWORD.reveal()).public_key()
        == x509.load_der_x509_certificate(new.certificate_der).public_key()
    )


def test_no_file_is_written_that_would_not_be_read(path: Path, authority: SmallAuthority) -> None:
    """A file that is nearly full takes no new key, and what is in it is still there."""
    with opened(path) as location:
        old = issue(location, authority)
    text = path.read_text()
    path.write_text(text + pem_of(authority.chain_der[0]) * (MOST_BLOCKS - text.count("-----BEGIN ") - 2))
    before = path.read_bytes()
    with opened(path) as location, pytest.raises(FileUnwritable, match="more than anybody"):
        renew(location, authority)
    assert path.read_bytes() == before
    with opened(path) as location:
        assert location.find(old.address) == old


def test_a_key_in_the_clear_gets_its_first_password(tmp_path: Path, authority: SmallAuthority) -> None:
    """Nobody is asked for the old one, and the plain bytes are gone."""
    key = ec.generate_private_key(ec.SECP256R1())
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path / "plain.pem"
    certificate_der = authority.certify(key, "Hong")
    path.write_bytes(pem_of(certificate_der).encode() + plain)
    asked = []

    def provide(path: str, new: bool) -> Secret:
        asked.append(new)
        return PASSWORD

    with open_location(f"pem:{path}", passwords=provide) as location:
        assert isinstance(location, ChangesPassword)
        location.change_password(location.find(location.address).key_id)
    assert asked == [True]
    assert b"BEGIN PRIVATE" not in path.read_bytes()
    with opened(path) as location:
        assert proves(location.private_key(location.find(location.address).key_id), certificate_der)


def test_a_retired_certificate_is_had_back_by_hand(path: Path, authority: SmallAuthority) -> None:
    """Its block says what it is; with the usual BEGIN and END every program reads it."""
    with opened(path) as location:
        old = issue(location, authority)
        renew(location, authority)
    text = path.read_text()
    assert "friendlyName: 홍길동 (retired 2" in text
    parked = text[text.index("-----BEGIN PARKED CERTIFICATE") :].replace("PARKED CERTIFICATE", "CERTIFICATE")
    assert x509.load_pem_x509_certificate(parked.encode()).public_bytes(Encoding.DER) == old.certificate_der


def test_r_is_kept_in_the_key(path: Path, authority: SmallAuthority) -> None:
    """As an attribute of the PKCS#8, which openssl opens without losing a word about it."""
    with opened(path) as location:
        issue(location, authority)
        number = location.random_number(FIRST)
    der = next(one.der for one in read_blocks(path.read_bytes())[0] if one.kind == "ENCRYPTED PRIVATE KEY")
    assert open_pkcs8(der, PASSWORD, "x").random_number == number


FORMS = {
    "pkcs8": "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    "pkcs8-encrypted": "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -pass file:{password}",
    "rsa": "genrsa -traditional",
    "rsa-encrypted": "genrsa -traditional -aes256 -passout file:{password}",
    "ec": "ecparam -name prime256v1 -genkey",
}


@pytest.fixture(params=list(FORMS))
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key in two files, as OpenSSL makes them."""
    password, key, certificate = (tmp_path / name for name in ("password", "site.key", "site.crt"))
    password.write_text("correct horse 1!")
    openssl(*FORMS[request.param].format(password=password).split(), "-out", key)
    words = ["req", "-x509", "-new", "-key", key, "-subj", "/CN=Hong/C=KR", "-days", "30", *PASS]
    certificate.write_text("My own site\n" + openssl(*words, "-addext", "basicConstraints=CA:FALSE"))
    return certificate, key


def test_a_foreign_pair_is_read_and_renewed(foreign: tuple[Path, Path], authority: SmallAuthority) -> None:
    """The new pair comes first, the new key is encrypted; the old key and what people wrote stay as they were."""
    certificate, key = foreign
    block = "".join(one.body for one in read_blocks(key.read_bytes())[0] if one.kind.endswith("PRIVATE KEY"))
    with opened(*foreign) as location:
        (stored,) = location.credentials()
        assert stored.label == "Hong"
        assert stored.has_key
        assert location.find(stored.address) == stored
        signing = location.private_key(stored.key_id)
        assert openssl("pkey", "-in", key, "-pubout", *PASS) == openssl("x509", "-in", certificate, "-noout", "-pubkey")
        new = renew(location, authority)
    with opened(*foreign) as location:
        assert location.find(stored.address) == new
        assert proves(location.private_key(SECOND), new.certificate_der)
        assert location.private_key(stored.key_id).public_key() == signing.public_key()
    assert openssl("x509", "-in", certificate) == pem_of(new.certificate_der)
    assert openssl("pkey", "-in", key, "-pubout", *PASS) == openssl("x509", "-in", certificate, "-noout", "-pubkey")
    assert key.read_text().index("ENCRYPTED PRIVATE KEY") < key.read_text().index(block)
    assert "My own site\n" in certificate.read_text()


def test_a_foreign_pair_in_one_file_is_read_and_renewed(
    foreign: tuple[Path, Path], path: Path, authority: SmallAuthority
) -> None:
    """In either order."""
    for order in (foreign, foreign[::-1]):
        path.write_text("".join(one.read_text() for one in order))
        with opened(path) as location:
            new = renew(location, authority)
        assert openssl("x509", "-in", path) == pem_of(new.certificate_der)
        assert openssl("pkey", "-in", path, "-pubout", *PASS) == openssl("x509", "-in", path, "-noout", "-pubkey")


def test_a_foreign_pair_is_never_without_a_usable_pair(tmp_path: Path, authority: SmallAuthority) -> None:
    """A renewal killed at any of its writes to the two files: one certificate is in use, and its key signs."""
    (kept := tmp_path / "kept").mkdir()
    key, text = _foreign_key(None)
    (kept / "site.key").write_text(text)
    (kept / "site.crt").write_text(pem_of(authority.certify(key, "Hong")))

    def renew_all(work: Path) -> None:
        with opened(work / "site.crt", work / "site.key") as location:
            renew(location, authority)

    def check(work: Path) -> None:
        with opened(work / "site.crt", work / "site.key") as location:
            (live,) = [one for one in location.credentials() if one.live]
            assert proves(location.private_key(live.key_id), live.certificate_der)
        assert text in (work / "site.key").read_text()

    assert killed_at_every_step(kept, renew_all, check) > 8


def test_a_foreign_pair_is_deleted_whole(foreign: tuple[Path, Path]) -> None:
    """The key is taken for the certificate's, being the only one."""
    with opened(*foreign) as location:
        (stored,) = location.credentials()
        location.delete(stored.key_id)
        assert list(location.credentials()) == []
        assert not location.has_key(stored.key_id)


def _foreign_key(password: Secret | None = PASSWORD) -> tuple[ec.EllipticCurvePrivateKey, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    sealed = NoEncryption() if password is None else BestAvailableEncryption(password.reveal())
    return key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed).decode()


def test_several_encrypted_keys_are_told_apart_by_opening_them(path: Path, authority: SmallAuthority) -> None:
    """Until then nobody says of a certificate whether its key is there."""
    keys = [_foreign_key() for _ in range(3)]
    certificates = [authority.certify(key, name) for (key, _), name in zip(keys, ("Hong", "Kim"), strict=False)]
    path.write_text("".join([*map(pem_of, certificates), *(text for _, text in reversed(keys))]))
    with opened(path) as location:
        assert [one.has_key for one in location.credentials()] == [None, None]
        for stored in location.credentials():
            assert location.has_key(stored.key_id)
            assert proves(location.private_key(stored.key_id), stored.certificate_der)
        assert not location.has_key(FIRST)


def test_a_key_of_another_certificate_is_found_out(path: Path, authority: SmallAuthority) -> None:
    """Encrypted, it may be anybody's; opened, nothing is signed with it. In the clear it is seen at once."""
    (key, _), (_, other), (_, plain) = _foreign_key(), _foreign_key(), _foreign_key(None)
    certificate = pem_of(authority.certify(key, "Hong"))
    path.write_text(certificate + other)
    with opened(path) as location:
        (stored,) = location.credentials()
        with pytest.raises(FileMalformed):
            location.private_key(stored.key_id)
        with pytest.raises(FileMalformed):
            location.export_key(stored.key_id)
    path.write_text(certificate + plain)
    with opened(path) as location:
        assert [one.has_key for one in location.credentials()] == [False]
        with pytest.raises(NotFound):
            location.private_key(stored.key_id)


def test_keys_under_several_passwords(path: Path, authority: SmallAuthority) -> None:
    """Each is asked for once; a key that none of them opens is the only one that does not open."""
    passwords = [Secret("correct horse 1!"), Secret("battery staple 2!")]
    keys = [_foreign_key(password) for password in passwords]
    certificates = [authority.certify(key, name) for (key, _), name in zip(keys, ("Hong", "Kim"), strict=True)]
    path.write_text("".join([*map(pem_of, certificates), *(text for _, text in keys)]))
    given = iter(passwords)
    with open_location(f"pem:{path}", passwords=lambda path, new: next(given)) as location:
        for stored in location.credentials():
            assert proves(location.private_key(stored.key_id), stored.certificate_der)
    with opened(path) as location, pytest.raises(PasswordIncorrect):
        location.private_key(list(location.credentials())[1].key_id)


def test_a_new_key_gets_the_password_of_the_key_in_use(path: Path, authority: SmallAuthority) -> None:
    """Whatever other keys in the file have, and whichever was opened last."""
    passwords = {"Hong": PASSWORD, "Kim": Secret("battery staple 2!")}
    keys = [_foreign_key(password) for password in passwords.values()]
    certificates = [authority.certify(key, name) for (key, _), name in zip(keys, passwords, strict=True)]
    path.write_text("".join([*map(pem_of, certificates), *(text for _, text in keys)]))
    given = iter(passwords.values())
    with open_location(f"pem:{path}", passwords=lambda path, new: next(given)) as location:
        for stored in location.credentials():
            location.private_key(stored.key_id)
        location.generate("ec-p256", key_id=SECOND, label="Lee")
    with opened(path) as location:
        assert location.private_key(SECOND)


def test_an_authoritys_own_pair_is_a_credential(path: Path, authority: SmallAuthority) -> None:
    """A key tells whose the file is, though the certificate is of the kind that stands above others."""
    key = authority.root_key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"correct horse 1!")
    )
    root = authority.root.public_bytes(Encoding.PEM)
    path.write_bytes(root + key)
    with opened(path) as location:
        (stored,) = location.credentials()
        assert proves(location.private_key(stored.key_id), stored.certificate_der)
    path.write_bytes(root)
    with opened(path) as location:
        assert list(location.credentials()) == []


def test_what_nobody_here_reads_stays(path: Path, authority: SmallAuthority) -> None:
    """Parameters, lists of revoked certificates, rubbish between BEGIN and END, and remarks."""
    rest = "-----BEGIN DH PARAMETERS-----\nMAYCAQsCAQI=\n-----END DH PARAMETERS-----\n"
    rubbish = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"
    path.write_bytes(b"# caf\xe9\n" + f"{rest}{rubbish}the end".encode())
    with opened(path) as location:
        issue(location, authority)
    data = path.read_bytes()
    for one in (b"# caf\xe9\n", rest.encode(), rubbish.encode(), b"the end"):
        assert one in data
    with opened(path) as location:
        location.delete(FIRST)
    assert path.read_bytes() == b"# caf\xe9\n" + f"{rest}{rubbish}the end\n".encode()


HOSTILE = {
    "no end": b"-----BEGIN CERTIFICATE-----\nAAAA\n",
    "two begins": b"-----BEGIN CERTIFICATE-----\n" * 30_000,
    "many": b"-----BEGIN X-----\n-----END X-----\n" * 30_000,
    "no PEM": b"\x30\x82\x01\x01" + b"\0" * 257,
    "text": "그냥 글".encode(),
    "another end": b"-----BEGIN CERTIFICATE-----\n-----END PRIVATE KEY-----\n",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_pem_is_said_to_be_none(path: Path, data: bytes) -> None:
    """At once, and nothing is written into it."""
    path.write_bytes(data)
    begun = time.monotonic()
    with opened(path) as location:
        with pytest.raises(FileMalformed):
            list(location.credentials())
        with pytest.raises(FileMalformed):
            location.generate("ec-p256", key_id=FIRST, label="Hong")
    assert time.monotonic() - begun < 5
    assert path.read_bytes() == data


def test_a_damaged_key_is_a_wrong_password(path: Path, authority: SmallAuthority) -> None:
    """Whatever is between BEGIN and END."""
    key = ec.generate_private_key(ec.SECP256R1())
    for kind in ("ENCRYPTED PRIVATE KEY", "EC PRIVATE KEY"):
        for inside in ("!!!", "AAAA", ""):
            block = f"-----BEGIN {kind}-----\n{inside}\n-----END {kind}-----\n"
            path.write_text(pem_of(authority.certify(key, "Hong")) + block)
            with opened(path) as location:
                (stored,) = location.credentials()
                with pytest.raises(PasswordIncorrect):
                    location.private_key(stored.key_id)


@given(st.text(max_size=60), st.binary(max_size=64), st.binary(min_size=1, max_size=200))
def test_names_and_ids_come_back(name: str, key_id: bytes, der: bytes) -> None:
    """Whatever a name holds, it stays on its line and begins no block."""
    name = name.encode("utf-8", "replace").decode()
    block = Block.of(CERTIFICATE, der).named(name, key_id)
    (found,), after = read_blocks(block.to_text().encode())
    assert (found, found.der, after) == (block, der, "")


LINES = st.sampled_from(["-----BEGIN A-----\n", "-----END A-----\n", "AAAA\n", "localKeyID: 01\n", "x", "\r\n"])


@given(st.binary(max_size=300) | st.lists(LINES).map(lambda lines: "".join(lines).encode()))
def test_any_bytes_come_back_or_are_refused(data: bytes) -> None:
    """What is between blocks too, but for the line ends of blocks and for names and ids, which are written anew."""
    try:
        blocks, after = read_blocks(data)
    except ValueError:
        return
    text = "".join(one.to_text() for one in blocks) + after
    assert read_blocks(text.encode("utf-8", "surrogateescape")) == (blocks, after)


def test_no_damage_costs_more_than_what_it_hit(path: Path, authority: SmallAuthority, quick_passwords: None) -> None:
    """Whatever of a file can still be taken apart is written again with every block, and then stays as it is."""
    with opened(path) as location:
        issue(location, authority)
        renew(location, authority)
    whole, random = path.read_bytes(), Random(1)
    for _ in range(200):
        try:
            files = [read_blocks(mutated(whole, [whole], random))]
        except ValueError:
            continue
        contents = sorted_out(files)
        for one in contents.certificates:
            contents.chain_of(one.der)
        (text,) = laid_out(contents, 1)
        again = [read_blocks(text.encode("utf-8", "surrogateescape"))]
        assert laid_out(sorted_out(again), 1) == [text]
        assert _inside(again) == _inside(files)


def _inside(files: list[tuple[list[Block], str]]) -> list[str]:
    return sorted("".join(one.body.split("\n")[1:-2]).replace("\r", "").strip() for one in files[0][0])
