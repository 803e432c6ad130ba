"""Every shipped profile: programs we did not write find nothing wrong with it, and it says what it must."""

import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from pkilint.bin import lint_pkix_cert

from dojang.authority.addresses import addresses_for
from dojang.authority.base import Submission
from dojang.authority.certificate import Draft, sign_certificate
from dojang.authority.rules import Predecessor, Rulebook
from dojang.authority.status.list_signing import Scope, sign_list
from dojang.errors import AuthorityRefused
from dojang.npki.policies import is_korean, policies_of
from dojang.npki.validity import KST
from dojang.npki.vid import identify, verify_vid
from dojang.secret import Secret
from dojang.x509.name import parse_name
from dojang.x509.profiles import Profile, profile, profiles, read_profile
from dojang.x509.request import build_request

BASE = "http://ca.example.kr/office/"
SUBJECT = "CN=홍길동()0004,serialNumber=0001+UID=hong,OU=개인,O=주식회사 보기,L=서울,ST=서울,C=KR"
NAMES = {"tls-server": ("dns:www.example.kr", "ip:10.0.0.1", "ip:2001:db8::1"), "email": ("email:hong@example.kr",)}
SUBSCRIBERS = [one.name for one in profiles() if not one.is_ca]
KOREAN = [one.name for one in profiles() if one.korean_days]
# RFC 5280 advises to give a policy by its OID alone; Korean certificates have qualifiers beside it.
ACCEPTED = {"pkix.certificate_policies_policy_has_qualifier"}
AT = datetime.now(UTC).replace(microsecond=0)
NUMBER, R = Secret(b"123456-1234567"), Secret(bytes(range(20)))


class Office:
    """A root on P-384, an issuing authority on RSA-2048, and their lists; all of it in memory."""

    def __init__(self, folder: Path) -> None:
        self.root_key, self.key = ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)
        self.root = self._made("root", self.root_key, None)
        self.issuing = self._made("issuing", self.key, self.root)
        self.trusted, self.chain, self.lists = (folder / name for name in ("root.pem", "chain.pem", "lists.pem"))
        self.trusted.write_bytes(self.root.public_bytes(Encoding.PEM))
        self.chain.write_bytes(self.issuing.public_bytes(Encoding.PEM))
        self.lists.write_bytes(b"".join(map(self._list, ((self.root, self.root_key), (self.issuing, self.key)))))

    def _made(self, role: str, key: Any, issuer: x509.Certificate | None) -> x509.Certificate:
        wanted = profile(role)
        addresses = addresses_for(wanted, BASE, "root")
        term = AT - timedelta(days=2), AT + timedelta(days=wanted.validity_days)
        draft = Draft(wanted, parse_name(f"CN={role},O=보기,C=KR"), key.public_key(), (), *term, addresses)
        der = sign_certificate(draft, issuer, self.root_key, x509.random_serial_number())
        return x509.load_der_x509_certificate(der)

    def _list(self, signer: tuple[x509.Certificate, Any]) -> bytes:
        der = sign_list(*signer, (), Scope(1, AT, AT + timedelta(days=9)))
        return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)

    def issue(self, name: str | Profile, *, key: Any = None, at: datetime = AT, old: Any = None, **more: Any) -> bytes:
        wanted = profile(name) if isinstance(name, str) else name
        subject, names = more.pop("subject", SUBJECT), more.pop("names", NAMES.get(wanted.name, ()))
        request = build_request(key or ec.generate_private_key(ec.SECP256R1()), parse_name(subject), names)
        kind = more.pop("kind", "renew" if old else "issue")
        asked = Submission(kind, request, wanted.name, "t", **more)
        before = old and Predecessor(old, wanted.name, "confirmed", replaced=False)
        draft = Rulebook("office", self.issuing, at, "issuing-2", BASE).draft(asked, wanted, before)
        return sign_certificate(draft, self.issuing, self.key, x509.random_serial_number())

    def certificate(self, *arguments: Any, **named: Any) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.issue(*arguments, **named))


@pytest.fixture
def records_at() -> None:
    """What is asked here is the same wherever the records are."""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("office"))


def value_of(certificate: x509.Certificate, kind: type[Any]) -> Any:
    return certificate.extensions.get_extension_for_class(kind).value


@pytest.mark.parametrize("name", ["root", "issuing", *SUBSCRIBERS])
def test_pkilint_and_openssl_find_nothing(
    office: Office, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No finding but a notice about qualifiers, and a strict path with every list checked."""
    own = {"root": office.root, "issuing": office.issuing}.get(name)
    vid = identify("홍길동", NUMBER, R).to_other_name().value if profile(name).vid != "none" else None
    der = own.public_bytes(Encoding.DER) if own else office.issue(name, vid_der=vid)
    (tmp_path / "one.der").write_bytes(der)
    lint_pkix_cert.main(["lint", "-s", "NOTICE", str(tmp_path / "one.der")])
    found = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith(" ")]
    assert set(found) <= ACCEPTED
    strict = ["-x509_strict", "-check_ss_sig", "-crl_check_all", "-CAfile", office.trusted, "-untrusted", office.chain]
    words = ["openssl", "verify", *strict, "-CRLfile", office.lists, tmp_path / "one.der"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_certificate_says_where_to_ask(office: Office) -> None:
    """The list, the responder and the issuer, by the key that signs; an OCSP signer is not asked about, nor a root."""
    certificate = office.certificate("personal-general")
    (point,) = value_of(certificate, x509.CRLDistributionPoints)
    assert point.full_name == [x509.UniformResourceIdentifier(f"{BASE}crl/issuing-2.crl")]
    access = {
        one.access_method: one.access_location.value for one in value_of(certificate, x509.AuthorityInformationAccess)
    }
    assert access == {
        AuthorityInformationAccessOID.OCSP: f"{BASE}ocsp",
        AuthorityInformationAccessOID.CA_ISSUERS: f"{BASE}ca/issuing-2.cer",
    }
    responder = office.certificate("ocsp")
    assert value_of(responder, x509.OCSPNoCheck) == x509.OCSPNoCheck()
    for kind in (x509.CRLDistributionPoints, x509.AuthorityInformationAccess):
        with pytest.raises(x509.ExtensionNotFound):
            value_of(office.root, kind)


def test_without_an_address_nothing_is_said() -> None:
    """What is relative is left out, what is whole stays."""
    assert addresses_for(profile("personal-general"), None, "root") == {}
    whole = read_profile_of("like = 'personal'\naddresses = { crl = 'http://x.kr/{signer}.crl', ocsp = false }")
    assert addresses_for(whole, None, "issuing") == {"crl": "http://x.kr/issuing.crl"}
    assert set(addresses_for(whole, BASE, "issuing")) == {"crl", "issuer"}


def read_profile_of(text: str) -> Profile:
    """A profile of one's own, as its file says it."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "own.toml"
        path.write_text(text)
        return read_profile(path)


@pytest.mark.parametrize("name", KOREAN)
def test_korean_profiles_are_what_they_stand_in_for(office: Office, name: str) -> None:
    """Whole Korean days; critical policy with notice and practice statement; told by its OID as ours, and for what."""
    certificate = office.certificate(name)
    begin, end = (at.astimezone(KST) for at in (certificate.not_valid_before_utc, certificate.not_valid_after_utc))
    assert (begin.time().isoformat(), end.time().isoformat()) == ("00:00:00", "23:59:59")
    assert end.year == begin.year + profile(name).validity_years[0]
    policies = certificate.extensions.get_extension_for_class(x509.CertificatePolicies)
    assert policies.critical
    cps, notice = policies.value[0].policy_qualifiers
    assert cps == f"{BASE}cps"
    assert notice.explicit_text == profile(name).notice
    (known,) = policies_of(certificate)
    assert (known.authority, known.holder) == ("dojang", "business" if "business" in name else "person")
    assert is_korean(certificate)


@pytest.mark.parametrize("years", [1, 2, 3])
def test_a_term_is_chosen_at_enrolment(office: Office, years: int) -> None:
    """One, two or three years by the calendar; another choice is refused with those there are."""
    certificate = office.certificate("business-general", years=years)
    end = certificate.not_valid_after_utc.astimezone(KST)
    assert (end.year, end.month) == (AT.astimezone(KST).year + years, AT.astimezone(KST).month)
    with pytest.raises(AuthorityRefused, match=r"4 years \(1, 2, 3\)"):
        office.issue("business-general", years=4)
    with pytest.raises(AuthorityRefused, match="no term of 1 years"):
        office.issue("personal", years=1)


def test_a_renewal_in_time_costs_nothing(office: Office) -> None:
    """From the first moment of D-30 in Korea, one term of the same length from the old expiry; never before."""
    old = office.certificate("business-general", years=2, at=AT)
    opens = (old.not_valid_after_utc.astimezone(KST) - timedelta(days=30)).replace(hour=0, minute=0, second=0)
    new = office.certificate("business-general", at=opens, old=old, replaces_der=b"old")
    had, has = (one.not_valid_after_utc.astimezone(KST) for one in (old, new))
    assert (has.year, has.time()) == (had.year + 2, had.time())
    with pytest.raises(AuthorityRefused, match="30 days before expiry"):
        office.issue("business-general", at=opens - timedelta(seconds=1), old=old, replaces_der=b"old")


def test_what_may_change_on_renewal(office: Office) -> None:
    """Key and kind of key unless the profile says otherwise; subject and names only where it says so."""
    key = ec.generate_private_key(ec.SECP256R1())
    fixed = read_profile_of("like = 'personal'\nkeep-key = true\nmay-change = []")
    old = office.certificate(fixed, key=key, subject="CN=a,C=KR")
    with pytest.raises(AuthorityRefused, match="keeps the key"):
        office.issue(fixed, old=old, subject="CN=a,C=KR", replaces_der=b"old")
    same_kind = read_profile_of("like = 'personal'\nmay-change = ['key']")
    with pytest.raises(AuthorityRefused, match="keeps the kind of key"):
        office.issue(same_kind, key=office.key, old=old, subject="CN=a,C=KR", replaces_der=b"old")
    with pytest.raises(AuthorityRefused, match="keeps the subject"):
        office.issue("personal", old=old, subject="CN=b,C=KR", replaces_der=b"old")
    free = read_profile_of("like = 'personal'\nmay-change = ['key', 'subject', 'alternative-names']")
    new = office.certificate(free, old=old, subject="CN=b,C=KR", names=("email:b@b.kr",), replaces_der=b"old")
    assert new.subject == parse_name("CN=b,C=KR")
    assert value_of(new, x509.SubjectAlternativeName)[0].value == "b@b.kr"


def test_the_vid_is_the_authoritys_word(office: Office) -> None:
    """It explains number and R; a renewal keeps it, a reissue does not; a subscriber cannot bring one himself."""
    vid = identify("홍길동", NUMBER, R).to_other_name()
    certificate = office.certificate("personal-general", vid_der=vid.value)
    assert verify_vid(certificate.public_bytes(Encoding.DER), NUMBER, R)
    late = certificate.not_valid_after_utc - timedelta(days=3)
    renewed = office.issue("personal-general", at=late, old=certificate, replaces_der=b"old")
    assert verify_vid(renewed, NUMBER, R)
    reissued = office.certificate("personal-general", old=certificate, kind="reissue", replaces_der=b"old")
    with pytest.raises(x509.ExtensionNotFound):
        value_of(reissued, x509.SubjectAlternativeName)
    with pytest.raises(AuthorityRefused, match="cannot be decoded"):
        office.issue("personal-general", vid_der=b"\x30\x00")
    with pytest.raises(AuthorityRefused, match="has no VID"):
        office.issue("personal", vid_der=vid.value)
    wanted = read_profile_of("like = 'personal-general'\nvid = 'required'")
    with pytest.raises(AuthorityRefused, match="wants a VID"):
        office.issue(wanted)


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("CN=홍길동,C=US", "C to be 'US'"),
        ("CN=a@b,C=KR", "CN to be 'a@b'"),
        ("CN=홍,C=KR", "CN to be '홍'"),
        ("CN=홍길동", "wants C"),
        ("CN=홍길동,DC=x,C=KR", "does not allow DC"),
    ],
)
def test_names_outside_the_policy_are_refused(office: Office, subject: str, said: str) -> None:
    """Country, pattern, length, what must be there and what may not."""
    with pytest.raises(AuthorityRefused) as caught:
        office.issue("personal-general", subject=subject)
    assert said in str(caught.value)


def test_alternative_names_have_rules_too(office: Office) -> None:
    """A host outside the domain is refused."""
    own = read_profile_of("like = 'tls-server'\n[alternative-names.dns]\npattern = '.*\\.example\\.kr'")
    assert office.issue(own, names=("dns:www.example.kr",))
    with pytest.raises(AuthorityRefused, match=r"dns to be 'www\.example\.com'"):
        office.issue(own, names=("dns:www.example.com",))


def test_a_tsa_and_a_cmp_server_show_what_they_are_for(office: Office) -> None:
    """RFC 3161: critical and alone. RFC 9810: cmcCA."""
    tsa = office.certificate("tsa").extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert (tsa.critical, list(tsa.value)) == (True, [ExtendedKeyUsageOID.TIME_STAMPING])
    (purpose,) = value_of(office.certificate("cmp"), x509.ExtendedKeyUsage)
    assert purpose.dotted_string == "1.3.6.1.5.5.7.3.27"


def test_the_signers_own_profiles_are_nobody_elses(desk: Any) -> None:
    """Who could ask for an OCSP signer's certificate could unsay revocations."""
    offered = {one.name for one in desk.authority.profiles()}
    assert {"personal-general", "financial-business", "tls-server"} <= offered
    for name in ("root", "issuing", "ocsp", "tsa", "cmp", "audit"):
        assert name not in offered
        with pytest.raises(AuthorityRefused, match="does not issue by the profile"):
            desk.ask(profile=name)
