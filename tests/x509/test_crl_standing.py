"""What lists say of a certificate, in files and where it names them; several sources together; openssl's lists."""

import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from tests.x509.issuer import DAY, HOUR, REVOKED, SIGNING, Issuer, addresses, now
from tests.x509.web import Web, answering, web_server

from dojang.testing.authority import throw_away_authority
from dojang.x509.lookup import Finding, GivenList, Sources, look_up, worst_finding
from dojang.x509.name import parse_name
from dojang.x509.request import build_request
from dojang.x509.standing import Standing, decide, standing_in_list

ISSUER = Issuer()
KEY = ec.generate_private_key(ec.SECP256R1())
LEAF = ISSUER.sign(KEY.public_key())


def said(crl_der: bytes, certificate: x509.Certificate = LEAF) -> Standing:
    return standing_in_list(crl_der, certificate=certificate, issuer=ISSUER.certificate, at=now(), place="list.crl")


def pem(crl_der: bytes) -> bytes:
    return x509.load_der_x509_crl(crl_der).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("revoked", "state"),
    [
        ((), "good"),
        (((LEAF, "keyCompromise"),), "revoked"),
        (((LEAF, "unspecified"),), "revoked"),
        (((LEAF, "certificateHold"),), "suspended"),
        (((ISSUER.sign(KEY.public_key()), "keyCompromise"),), "good"),
    ],
)
def test_a_list_tells_the_state(revoked, state: str) -> None:
    """In DER and in PEM, with its moments and since when."""
    listed = ISSUER.crl(*revoked)
    for form in (listed, pem(listed), b"\n" + pem(listed)):
        found = said(form)
        assert (found.state, found.source, found.place) == (state, "crl-file", "list.crl")
        assert found.this_update_at < now() < found.next_update_at
        assert (found.since_at is None) == (state == "good")


STRANGER, TWIN = Issuer("Stranger"), Issuer(ISSUER.common_name)


@pytest.mark.parametrize(
    ("crl_der", "why"),
    [
        (ISSUER.crl(start=now() - 9 * DAY), "held until"),
        (ISSUER.crl(start=now() + DAY), "still to come"),
        (STRANGER.crl((LEAF, "keyCompromise")), "another authority's"),
        (TWIN.crl((LEAF, "keyCompromise")), "its signature"),
        (ISSUER.crl()[:-1], "no revocation list"),
        (b"", "no revocation list"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "no revocation list"),
        (b"<html>404</html>", "no revocation list"),
        (LEAF.public_bytes(Encoding.DER), "no revocation list"),
    ],
)
def test_a_list_that_says_nothing_says_why(crl_der: bytes, why: str) -> None:
    """Expired, from the future, a stranger's, one who only has the name, cut short, no list at all."""
    found = said(crl_der)
    assert found.state == "unknown"
    assert why in found.problem


def test_a_list_does_not_tell_of_what_expired_before_it() -> None:
    """Authorities take such certificates off their lists; one that is still listed is revoked."""
    expired = ISSUER.sign(KEY.public_key(), start=now() - 9 * DAY, end=now() - 3 * DAY)
    found = said(ISSUER.crl(), expired)
    assert found.state == "unknown"
    assert "leaves out what expired" in found.problem
    assert said(ISSUER.crl((expired, "keyCompromise")), expired).state == "revoked"


@pytest.mark.parametrize(
    ("in_list", "in_certificate", "same"),
    [
        ("ldap://ds.kr:389/ou=dp4,o=CA,c=KR", "ldap://DS.kr:389/ou=dp4,o=CA,c=kr?certificateRevocationList", True),
        ("ldap://ds.kr/ou=dp4,o=CA,c=KR", "ldap://ds.kr:389/ou=dp4,o=CA,c=KR", True),
        ("ldap://ds.kr:389/ou=dp5,o=CA,c=KR", "ldap://ds.kr:389/ou=dp4,o=CA,c=KR?certificateRevocationList", False),
        ("http://ds.kr/a?1", "http://ds.kr/a?2", False),
    ],
)
def test_a_part_on_ldap_is_known_by_its_entry(in_list: str, in_certificate: str, same: bool) -> None:
    """Korean lists and certificates spell one distribution point differently; what follows the name does not count."""
    part = x509.IssuingDistributionPoint(
        [x509.UniformResourceIdentifier(in_list)], None, False, False, None, False, False
    )
    builder = x509.CertificateRevocationListBuilder(ISSUER.certificate.subject, now() - DAY, now() + DAY)
    crl = builder.add_extension(part, critical=True).sign(ISSUER.key, hashes.SHA256())
    certificate = ISSUER.sign(KEY.public_key(), extensions=addresses(list_at=in_certificate))
    assert said(crl.public_bytes(Encoding.DER), certificate).state == ("good" if same else "unknown")


def listing(moment: datetime, *, start: datetime | None = None) -> bytes:
    """A list with the certificate in it, revoked from that moment."""
    begin = start or now() - HOUR
    builder = x509.CertificateRevocationListBuilder(ISSUER.certificate.subject, begin, begin + DAY)
    builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(LEAF.serial_number, moment).build())
    return builder.sign(ISSUER.key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_what_stands_in_a_list_is_revoked() -> None:
    """Also where the authority's clock is ahead, or its entry names a moment to come (local time, say)."""
    assert said(listing(now() + 9 * HOUR)).state == "revoked"
    ahead = now() + timedelta(minutes=4)
    assert said(listing(ahead, start=ahead)).state == "revoked"


def test_an_authority_that_is_revoked_sends_us_nowhere(web: Web) -> None:
    """Its certificates may be anybody's, and so may the addresses in them."""
    below = Issuer("Below", ISSUER)
    certificate = below.sign(KEY.public_key(), extensions=addresses(list_at=web.put("/below.crl", below.crl())))
    for revoked, asked in (((), ["/below.crl"]), (((below.certificate, "cACompromise"),), [])):
        web.asked.clear()
        sources = Sources(lists=(GivenList("x", ISSUER.crl(*revoked)),))
        found = state(certificate, sources, below.certificate, ISSUER.certificate)
        assert found.state == ("revoked" if revoked else "good")
        assert web.asked == asked


def test_what_an_old_list_revoked_stays_revoked() -> None:
    """But a suspension may have ended since."""
    old = now() - 9 * DAY
    early = ISSUER.sign(KEY.public_key(), start=now() - 30 * DAY)
    assert said(ISSUER.crl((early, "superseded"), start=old), early).state == "revoked"
    assert said(ISSUER.crl((early, "certificateHold"), start=old), early).state == "unknown"


GENUINE = ISSUER.crl((LEAF, "keyCompromise"))


@given(st.integers(0, len(GENUINE) - 1), st.integers(1, 255))
def test_no_changed_byte_hides_a_revocation(position: int, change: int) -> None:
    """A list that says revoked says so or nothing at all once it was touched."""
    damaged = bytearray(GENUINE)
    damaged[position] ^= change
    assert said(bytes(damaged)).state in ("revoked", "unknown")


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as web:
        yield web


def state(certificate: x509.Certificate, sources: Sources, *above: x509.Certificate) -> Standing:
    return worst_finding(look_up([certificate, *(above or (ISSUER.certificate,))], sources, now())).standing


def test_the_list_that_a_certificate_names_is_fetched(web: Web) -> None:
    """In DER as it should be, or in PEM; a wrong page leaves the state unknown and says so."""
    certificate = ISSUER.sign(KEY.public_key(), extensions=addresses(list_at=f"{web.base}/ca.crl"))
    for content in (ISSUER.crl((certificate, "keyCompromise")), pem(ISSUER.crl((certificate, "keyCompromise")))):
        web.put("/ca.crl", content)
        found = state(certificate, Sources())
        assert (found.state, found.source, found.place) == ("revoked", "crl", f"{web.base}/ca.crl")
    web.put("/ca.crl", b"<html>moved</html>")
    assert "no revocation list" in state(certificate, Sources()).problem
    web.put("/ca.crl", answering(b"", 500))
    assert "status 500" in state(certificate, Sources()).problem


def test_a_list_on_ldap_is_asked_for_as_a_file(web: Web) -> None:
    """As the certificates of Korean authorities name them; the file then tells."""
    certificate = ISSUER.sign(KEY.public_key(), extensions=addresses(list_at="ldap://ds.example.kr:389/ou=dp1,o=CA"))
    assert "--crl" in state(certificate, Sources()).problem
    assert state(certificate, Sources(lists=(GivenList("x", ISSUER.crl()),))).state == "good"


def test_what_the_user_names_is_asked_first_and_what_the_certificate_names_last(web: Web) -> None:
    """Nobody is asked once the state is known; a silent responder leaves it to the list."""
    extensions = addresses(ocsp_at=f"{web.base}/ocsp", list_at=f"{web.base}/ca.crl")
    certificate = ISSUER.sign(KEY.public_key(), extensions=extensions)
    web.put("/ca.crl", ISSUER.crl())
    assert state(certificate, Sources(lists=(GivenList("file", ISSUER.crl()),))).place == "file"
    assert web.asked == []
    assert state(certificate, Sources(list_addresses=(f"{web.base}/ca.crl",))).state == "good"
    assert web.asked == ["/ca.crl"]
    assert state(certificate, Sources()).source == "crl"
    assert web.asked == ["/ca.crl", "/ocsp", "/ca.crl"]
    held = lambda handler, body: answering(  # noqa: E731
        ISSUER.responder().reply(body, certificate, REVOKED, reason="certificateHold")
    )(handler, body)
    web.put("/mine", held)
    given_both = Sources(lists=(GivenList("file", ISSUER.crl()),), responder=f"{web.base}/mine")
    assert state(certificate, given_both).state == "suspended"  # the newer answer
    found = look_up([certificate, ISSUER.certificate], given_both, now())[0]
    assert [one.source for one in found.asked] == ["crl-file", "ocsp"]


def test_what_is_revoked_anywhere_is_revoked() -> None:
    """No newer source takes it back; otherwise the newest answer holds."""
    one = [Standing(name, "crl", name, this_update_at=now() - days * DAY) for days, name in enumerate(("good", "good"))]
    old = Standing("revoked", "crl", "old", this_update_at=now() - 9 * DAY)
    held = Standing("suspended", "ocsp", "held", this_update_at=now())
    assert decide([*one, old]) == old
    assert decide([one[1], held]) == held
    assert decide([Standing("unknown", "ocsp", "x"), one[1]]) == one[1]
    assert decide([Standing("unknown", "ocsp", "x")]).place == "x"
    assert decide([]) is None


def test_every_certificate_of_the_path_is_looked_up() -> None:
    """A revoked authority revokes what it issued; a list that is missing leaves the whole path unknown."""
    below = Issuer("Below", ISSUER)
    leaf = below.sign(KEY.public_key())
    path = (below.certificate, ISSUER.certificate)
    lists = {
        "root": GivenList("root", ISSUER.crl()),
        "below": GivenList("below", below.crl()),
        "bad": GivenList("bad", ISSUER.crl((below.certificate, "cACompromise"))),
    }
    assert state(leaf, Sources(lists=(lists["root"], lists["below"])), *path).state == "good"
    assert state(leaf, Sources(lists=(lists["bad"], lists["below"])), *path).state == "revoked"
    assert state(leaf, Sources(lists=(lists["below"],)), *path).state == "unknown"
    assert look_up([ISSUER.certificate], Sources(), now())[0].standing.source == "trust-anchor"
    worst = worst_finding([Finding(LEAF, Standing("good", "", "")), Finding(LEAF, Standing("unknown", "", "x"))])
    assert worst.standing.place == "x"


def test_the_lists_of_our_own_authority(tmp_path: Path) -> None:
    """What the local authority publishes is understood: good before, revoked after."""
    with throw_away_authority(tmp_path) as authority:
        certificate_der = authority.issue(build_request(KEY, parse_name("CN=Hong,C=KR")))
        certificate, root = map(x509.load_der_x509_certificate, (certificate_der, authority.certificate_der))
        before = Sources(lists=(GivenList("crl", authority.crl_file.read_bytes()),))
        assert state(certificate, before, root).state == "good"
        authority.revoke(certificate_der)
        after = Sources(lists=(GivenList("crl", authority.crl_file.read_bytes()),))
        assert state(certificate, after, root).state == "revoked"
        other = x509.load_der_x509_certificate(authority.issue(build_request(KEY, parse_name("CN=Kim,C=KR"))))
        assert state(other, after, root).state == "good"


CONFIGURATION = """
[ca]
default_ca = own
[own]
database = index.txt
crlnumber = number
default_md = sha256
default_crl_days = 7
crl_extensions = extensions
[extensions]
authorityKeyIdentifier = keyid
issuingDistributionPoint = critical, @part
[part]
fullname = URI:http://127.0.0.1/part1.crl
"""


def test_openssls_lists(tmp_path: Path) -> None:
    """A list by ``openssl ca -gencrl`` for the distribution point that the certificates name: good, revoked, held.

    The same signed with SHA-1 says nothing, and why.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    issuer = Issuer("Openssl CA", key=key)
    issuer.certificate = issuer.sign(
        key.public_key(), "Openssl CA", [(x509.BasicConstraints(True, None), True), identifier], start=now() - DAY
    )
    extensions = [SIGNING, *addresses(list_at="http://127.0.0.1/part1.crl")]
    certificates = [issuer.sign(KEY.public_key(), extensions=extensions) for _ in range(3)]
    elsewhere = issuer.sign(KEY.public_key())
    reasons = [None, "keyCompromise", "certificateHold"]
    (tmp_path / "index.txt").write_text(
        "".join(_line(one, reason) for one, reason in zip(certificates, reasons, strict=True))
    )
    (tmp_path / "number").write_text("01\n")
    (tmp_path / "ca.cnf").write_text(CONFIGURATION)
    (tmp_path / "ca.pem").write_bytes(issuer.certificate.public_bytes(Encoding.PEM))
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ca.key").write_bytes(plain)
    words = "ca -config ca.cnf -gencrl -cert ca.pem -keyfile ca.key -out"
    for made in (["made.crl"], ["weak.crl", "-md", "sha1"]):
        subprocess.run(["openssl", *words.split(), *made], cwd=tmp_path, check=True, capture_output=True)
    sources = Sources(lists=(GivenList("made.crl", (tmp_path / "made.crl").read_bytes()),), offline=True)
    states = [state(one, sources, issuer.certificate).state for one in (*certificates, elsewhere)]
    assert states == ["good", "revoked", "suspended", "unknown"]
    weak = Sources(lists=(GivenList("weak.crl", (tmp_path / "weak.crl").read_bytes()),), offline=True)
    assert "sha1, which is too weak" in state(certificates[0], weak, issuer.certificate).problem


def _line(certificate: x509.Certificate, reason: str | None) -> str:
    ended = f"{now() - DAY:%y%m%d%H%M%SZ},{reason}" if reason else ""
    until = f"{certificate.not_valid_after_utc:%y%m%d%H%M%SZ}"
    return f"{'R' if reason else 'V'}\t{until}\t{ended}\t{certificate.serial_number:040X}\tunknown\t/CN=Hong\n"
