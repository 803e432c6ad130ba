"""Programs we did not write find nothing wrong with what an authority signs: pkilint and OpenSSL."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint.bin import lint_crl, lint_pkix_cert

from dojang.authority import Founder, LocalAuthority, Submission, create_authority
from dojang.x509.name import parse_name
from dojang.x509.request import build_request

ISSUABLE = ["business", "code-signing", "email", "personal", "tls-client", "tls-server"]  # test_profiles.py has all
NAMES = {"tls-server": ("dns:www.example.kr", "ip:10.0.0.1", "ip:2001:db8::1"), "email": ("email:hong@example.kr",)}
SUBJECT = "CN=홍길동,serialNumber=0001+UID=hong,OU=개인,O=주식회사 보기,L=서울,ST=서울,C=KR"


@pytest.fixture
def records_at() -> None:
    """What is asked here is the same wherever the records are."""


def run(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lint(capsys: pytest.CaptureFixture[str], main: Callable[[list[str]], int], *arguments: object) -> None:
    """Run a program of pkilint in this process (its start alone takes a second) and expect no finding."""
    status = main(["lint", "-s", "NOTICE", *map(str, arguments)])
    assert (status, capsys.readouterr().out.strip()) == (0, "")


def pem(path: Path, *ders: bytes) -> Path:
    path.write_bytes(b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in ders))
    return path


def crl_pem(path: Path, *sources: Path) -> Path:
    path.write_bytes(b"".join(x509.load_der_x509_crl(one.read_bytes()).public_bytes(Encoding.PEM) for one in sources))
    return path


@pytest.fixture(params=["ec-p256", "ec-p384", "rsa-2048", "ed25519", "token ec-p256", "token rsa-2048"])
def signing(request: pytest.FixtureRequest, new_key: Callable[[str], Any]) -> Iterator[tuple[Any, Any]]:
    """Two keys of one kind: in memory, or on a token."""
    *where, algorithm = request.param.split()
    if not where:
        yield new_key(algorithm), new_key(algorithm)
        return
    from dojang.pkcs11 import open_token
    from dojang.secret import Secret

    token = request.getfixturevalue("make_token")()
    with ExitStack() as stack:
        opened = stack.enter_context(open_token(token.uri, Secret(token.pin)))
        yield tuple(opened.generate_key_pair(algorithm, label=label) for label in ("root", "issuing"))


@pytest.fixture(params=["root alone", "with issuing"])
def office(request: pytest.FixtureRequest, signing: tuple[Any, Any], tmp_path: Path) -> Iterator[LocalAuthority]:
    root, below = signing
    issuing = Founder(parse_name("CN=발급,C=KR"), below, "pkcs11:object=b") if request.param == "with issuing" else None
    subject = parse_name("CN=최상위,O=보기,C=KR")
    with create_authority(
        tmp_path / "ca", name="office", subject=subject, key=root, key_address="pkcs11:object=a", issuing=issuing
    ) as made:
        yield made


def test_everything_passes_pkilint_and_openssl(
    office: LocalAuthority, new_key: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every profile, every authority certificate and every list: no finding above a notice, and a strict path."""
    root = pem(tmp_path / "root.pem", office.chain_der()[-1])
    chain = pem(tmp_path / "chain.pem", *office.chain_der())
    crls = crl_pem(tmp_path / "crls.pem", *{office.crl_path(), office.crl_path(root=True)})
    certificates = dict(enumerate(office.chain_der()))
    for number, name in enumerate(ISSUABLE):
        key = new_key("ed25519" if number % 2 and name != "code-signing" else "ec-p384")
        request = build_request(key, parse_name(SUBJECT), NAMES.get(name, ()))
        certificates[name] = office.submit(Submission("issue", request, name, name)).certificate_der
    for der in certificates.values():
        (tmp_path / "one.der").write_bytes(der)
        lint(capsys, lint_pkix_cert.main, tmp_path / "one.der")
        one = pem(tmp_path / "one.pem", der)
        strict = ("openssl", "verify", "-x509_strict", "-check_ss_sig", "-CAfile", root, "-untrusted", chain)
        run(*strict, "-crl_check_all", "-CRLfile", crls, one)


@pytest.mark.parametrize(
    ("profile", "purpose"), [("tls-server", "sslserver"), ("tls-client", "sslclient"), ("email", "smimesign")]
)
def test_openssl_takes_each_for_its_purpose(
    tiered: LocalAuthority, new_key: Callable[[str], Any], tmp_path: Path, profile: str, purpose: str
) -> None:
    """And the server's by its host name."""
    request = build_request(new_key("ec-p256"), parse_name("CN=x"), NAMES.get(profile, ()))
    issued = tiered.submit(Submission("issue", request, profile, "t"))
    root, chain = pem(tmp_path / "r.pem", issued.chain_der[-1]), pem(tmp_path / "c.pem", *issued.chain_der)
    host = ("-verify_hostname", "www.example.kr") if profile == "tls-server" else ()
    one = pem(tmp_path / "one.pem", issued.certificate_der)
    run("openssl", "verify", "-x509_strict", "-purpose", purpose, *host, "-CAfile", root, "-untrusted", chain, one)


def test_lists_pass_pkilint_and_openssl_sees_the_revocation(
    desk: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Empty, with every reason, and with a hold: clean each time, and the revoked one is refused."""
    office = desk.authority
    reasons = (
        "unspecified",
        "keyCompromise",
        "affiliationChanged",
        "superseded",
        "cessationOfOperation",
        "privilegeWithdrawn",
    )
    first, held, *rest = [desk.have() for _ in range(len(reasons) + 1)]
    serials = [f"{x509.load_der_x509_certificate(der).serial_number:x}" for der in (first, held, *rest)]
    root, good = pem(tmp_path / "r.pem", office.chain_der()[-1]), pem(tmp_path / "g.pem", first)
    lint(capsys, lint_crl.main, "-p", "PKIX", "-t", "CRL", office.crl_path())
    for serial, reason in zip(serials[1:], reasons, strict=True):
        office.revoke(serial, reason)
    office.suspend(serials[0])
    lint(capsys, lint_crl.main, "-p", "PKIX", "-t", "CRL", office.crl_path())
    crls = crl_pem(tmp_path / "crl.pem", office.crl_path())
    strict = ("openssl", "verify", "-x509_strict", "-crl_check", "-CAfile", root, "-CRLfile", crls)
    refused = subprocess.run([*strict, pem(tmp_path / "h.pem", held)], capture_output=True, text=True)
    assert refused.returncode != 0
    assert "certificate revoked" in refused.stderr
    office.restore(serials[0])
    crl_pem(tmp_path / "crl.pem", office.crl_path())
    run(*strict, good)


def test_the_list_of_a_root_passes_pkilint(tiered: LocalAuthority, capsys: pytest.CaptureFixture[str]) -> None:
    """The root's list over the issuing authority, before and after that is revoked."""
    lint(capsys, lint_crl.main, "-p", "PKIX", "-t", "ARL", tiered.crl_path(root=True))
    issuing = x509.load_der_x509_certificate(tiered.certificate_der())
    tiered.revoke(f"{issuing.serial_number:x}", "affiliation-changed")
    lint(capsys, lint_crl.main, "-p", "PKIX", "-t", "ARL", tiered.crl_path(root=True))
    crl = x509.load_der_x509_crl(tiered.crl_path(root=True).read_bytes())
    assert [entry.serial_number for entry in crl] == [issuing.serial_number]
