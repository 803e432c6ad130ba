"""Officers: whose certificate counts, which roles allow what, and orders given by name."""

import functools
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from sqlalchemy import insert, update

from dojang.authority import tables
from dojang.authority.audit import acting
from dojang.authority.enrolment import ORDERS, EnrolmentPolicy
from dojang.errors import AlreadyExists, NotFound, NotPermitted, Usage
from dojang.x509.name import parse_name

KEY = ec.generate_private_key(ec.SECP256R1())


@functools.cache
def key_of(subject: str) -> ec.EllipticCurvePrivateKey:
    return KEY if subject == "CN=Office,C=KR" else ec.generate_private_key(ec.SECP256R1())


def certificate(
    bureau, subject: str, days: float = 10, issuer: str = "CN=Office,C=KR", name: x509.Name | None = None
) -> x509.Certificate:
    """One of the authority that signs officers' certificates. ``name`` is another way to write the subject."""
    is_ca, key = subject == issuer, key_of(subject).public_key()
    return (
        x509.CertificateBuilder(parse_name(issuer), name or parse_name(subject), key, x509.random_serial_number())
        .not_valid_before(bureau.at - timedelta(days=1))
        .not_valid_after(bureau.at + timedelta(days=days))
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .sign(KEY, hashes.SHA256())
    )


def der(one: x509.Certificate) -> bytes:
    return one.public_bytes(Encoding.DER)


@pytest.fixture
def office_authority(small, tmp_path) -> x509.Certificate:
    """Another authority, trusted for officers."""
    root = certificate(small, "CN=Office,C=KR", 100)
    (tmp_path / "office.pem").write_bytes(root.public_bytes(Encoding.PEM))
    small.policy = EnrolmentPolicy(officer_anchors=(tmp_path / "office.pem",))
    return root


def issue(bureau, subject: str, name: x509.Name | None = None) -> bytes:
    """A certificate on the authority's own record."""
    made = certificate(bureau, subject, name=name)
    values: dict[str, Any] = dict.fromkeys(("not_before_at", "not_after_at", "recorded_at", "changed_at"), bureau.at)
    values |= {"serial": f"{made.serial_number:x}", "signer": "root", "certificate_der": der(made), "subject": subject}
    values |= {"profile": "personal", "key_fingerprint": b"", "state": "confirmed"}
    with bureau.database.writing() as connection:
        connection.execute(insert(tables.certificate).values(**values))
    return der(made)


def test_an_officer_of_ones_own_authority(bureau) -> None:
    """Registered, his certificate is his; suspended, revoked, expired or removed it is nobody's."""
    mine = issue(bureau, "CN=Kim,C=KR")
    with pytest.raises(NotPermitted):
        bureau.officers.officer_of(mine)
    added = bureau.officers.add(mine, ["approver", "registrar"])
    assert added.roles == ("registrar", "approver")
    assert bureau.officers.officer_of(mine) == added
    with pytest.raises(AlreadyExists):
        bureau.officers.add(mine, ["registrar", "approver"])
    for state, accepted in (("suspended", False), ("confirmed", True), ("revoked", False), ("confirmed", True)):
        held = (
            {"reason": "certificateHold", "revoked_at": bureau.at}
            if not accepted
            else {"reason": None, "revoked_at": None}
        )
        with bureau.database.writing() as connection:
            connection.execute(update(tables.certificate).values(state=state, **held))
        if accepted:
            assert bureau.officers.officer_of(mine).actor == f"officer:{added.id}"
        else:
            with pytest.raises(NotPermitted, match=state):
                bureau.officers.officer_of(mine)
    bureau.turn(days=11)
    with pytest.raises(NotPermitted, match="not valid now"):
        bureau.officers.officer_of(mine)
    bureau.turn(days=-11)
    bureau.officers.remove(added.id, "left")
    with pytest.raises(NotPermitted):
        bureau.officers.officer_of(mine)
    with pytest.raises(NotFound):
        bureau.officers.remove(added.id)
    assert [event for event, _, _ in bureau.audited()] == ["officer-added", "officer-removed"]


def test_an_officer_of_another_authority(small, office_authority, tmp_path) -> None:
    """A path to an anchor that is named for officers; with a list named, what it revokes does not count."""
    kim, lee = (certificate(small, f"CN={name},C=KR") for name in ("Kim", "Lee"))
    stranger = certificate(small, "CN=Park,C=KR", issuer="CN=Another,C=KR")
    with pytest.raises(NotPermitted):
        small.officers.add(der(stranger), ["auditor"])
    for one in (kim, lee):
        small.officers.add(der(one), ["auditor"])
    entry = x509.RevokedCertificateBuilder(kim.serial_number, small.at).build()
    crl = x509.CertificateRevocationListBuilder(office_authority.subject, small.at, small.at + timedelta(days=1))
    crl = crl.add_revoked_certificate(entry)
    (tmp_path / "office.crl").write_bytes(crl.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER))
    anchors = small.policy.officer_anchors
    small.policy = EnrolmentPolicy(officer_anchors=anchors, officer_crls=(tmp_path / "office.crl",))
    with pytest.raises(NotPermitted, match="revoked"):
        small.officers.officer_of(der(kim))
    assert small.officers.officer_of(der(lee)).name == "CN=Lee,C=KR"
    small.turn(days=2)
    with pytest.raises(NotPermitted):  # the list is too old to say that it is good
        small.officers.officer_of(der(lee))


def test_a_renewed_certificate_is_the_same_officer(small) -> None:
    """It takes the place of the old one, which opens nothing any more; the two are never two people."""
    old, new = issue(small, "CN=Kim,C=KR"), issue(small, "CN=Kim,C=KR")
    first, second = (small.officers.add(one, ["approver"]) for one in (old, new))
    assert first.id == second.id
    assert small.officers.officer_of(new) == second
    with pytest.raises(NotPermitted):
        small.officers.officer_of(old)
    assert small.officers.listed() == [second]


def test_a_name_written_otherwise_or_a_key_under_another_name_is_no_second_officer(small) -> None:
    """Another kind of string, other spaces and letters: the same officer. The same key under another name: refused."""
    first = small.officers.add(issue(small, "CN=Kim Min,C=KR"), ["registrar"])
    printable = x509.NameAttribute(x509.NameOID.COMMON_NAME, "KIM  Min", _ASN1Type.PrintableString)
    other = x509.Name([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "KR"), printable])
    second = small.officers.add(issue(small, "another key", name=other), ["approver"])
    assert (second.id, small.officers.listed()) == (first.id, [second])
    borrowed = issue(small, "another key", name=parse_name("CN=Lee,C=KR"))
    with pytest.raises(NotPermitted, match="another officer has its key"):
        small.officers.add(borrowed, ["approver"])
    small.officers.remove(second.id)
    small.officers.add(borrowed, ["approver"])


def test_roles(small) -> None:
    """Each order is open to its role; an auditor reads everything and changes nothing; some are given here alone."""
    with pytest.raises(Usage):
        small.officers.add(issue(small, "CN=Nobody"), ["king"])
    by_role = {
        role: small.officers.add(issue(small, f"CN={role}"), [role]) for role in ("registrar", "approver", "auditor")
    }
    may = {role: set() for role in by_role}
    for method in ORDERS:
        for role, officer in by_role.items():
            try:
                small.counter.perform(method, {"surplus": 1}, officer=officer)
            except NotPermitted:
                continue
            except Usage:
                may[role].add(method)
    reading = {method for method, order in ORDERS.items() if not order.changes}
    assert may["auditor"] == reading
    assert may["approver"] == {
        "enrolment.approve",
        "enrolment.refuse",
        "enrolment.list",
        "enrolment.show",
        "officer.list",
    }
    assert may["registrar"] == ORDERS.keys() - {
        "enrolment.approve",
        "enrolment.refuse",
        "officer.add",
        "officer.remove",
    }


def test_orders_by_name(bureau) -> None:
    """From the applicant to the approved code; answers are JSON, and what officers did is on record as theirs."""
    bureau.wants("personal", "in-person")
    registrar = bureau.officers.add(issue(bureau, "CN=Kim"), ["registrar"])
    counter = bureau.counter
    applicant = counter.perform(
        "applicant.add", {"kind": "person", "name": "홍길동", "number": "9001011234567"}, officer=registrar
    )
    wanted = applicant["applicant"]["id"]
    handed = counter.perform(
        "code.new", {"profile": "personal", "subject": "CN=Hong", "applicant": wanted}, officer=registrar
    )
    reference = handed["enrolment"]["reference"]
    phone = {"phone": "010-1234-5678"}
    changed = counter.perform("applicant.change", {"applicant": wanted, **phone}, officer=registrar)
    assert changed["applicant"]["contact"] == phone
    assert handed["enrolment"]["missing"] == {"checks": ["in-person"], "approvals": 0}
    counter.perform("check.add", {"applicant": wanted, "kind": "in-person", "evidence": "00" * 32}, officer=registrar)
    shown = counter.perform("enrolment.show", {"reference": reference})
    assert (shown["enrolment"]["state"], shown["enrolment"]["created_by"]) == ("ready", registrar.actor)
    assert "code" not in shown
    assert counter.perform("applicant.show", {"applicant": wanted})["checks"][0]["checked_by"] == registrar.actor
    assert len(counter.perform("enrolment.list", {"states": ["ready"]})["enrolments"]) == 1
    assert counter.perform("code.cancel", {"reference": reference})["enrolment"]["state"] == "cancelled"
    assert json.loads(json.dumps([applicant, handed, shown])) == [applicant, handed, shown]
    assert "9001011234567" not in json.dumps([applicant, shown, bureau.audited()])


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("code.steal", {}),
        ("code.new", {"profile": "personal"}),
        ("code.new", {"profile": "personal", "subject": "CN=Hong", "uses": True}),
        ("code.new", {"profile": "personal", "subject": "CN=Hong", "alternative_names": "dns:x"}),
        ("code.new", {"profile": "personal", "subject": "CN=Hong", "pre_authorised": "yes"}),
        ("code.new", {"profile": "personal", "subject": "CN=Hong", "colour": "red"}),
        ("check.add", {"applicant": "a", "kind": "email", "evidence": "xy"}),
        ("check.add", {"applicant": "a", "kind": "email", "evidence": "00"}),
        ("applicant.add", {"kind": "dog", "name": "Rex"}),
        ("applicant.change", {"applicant": "a"}),
        ("applicant.change", {"applicant": "a", "without": ["name"]}),
        ("applicant.change", {"applicant": "a", "phone": "010-1234-5678", "without": ["phone"]}),
        ("enrolment.list", {"states": ["lost"]}),
        ("enrolment.list", {"limit": 0}),
        ("enrolment.show", {"reference": "x\n"}),
    ],
)
def test_orders_that_make_no_sense(small, method: str, arguments: dict[str, Any]) -> None:
    """Each is refused as such, and nothing is written."""
    with acting("local:clerk"), pytest.raises(Usage):
        small.counter.perform(method, arguments)
    assert small.audited() == []
