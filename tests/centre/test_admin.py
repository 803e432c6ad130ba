"""The officers' door: signed orders from afar, each carried out once, with the roles of whoever signed."""

import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import insert, select
from tests.authority.enrolment.conftest import Bureau, founded

from dojang.authority import tables
from dojang.authority.enrolment import EnrolmentPolicy
from dojang.authority.enrolment.policy import ProfileRule
from dojang.centre.doors import admin
from dojang.centre.limits import Limits
from dojang.centre.orders import CONTENT_TYPE, MEDIA_TYPE, read_order, sign_order
from dojang.centre.remote_office import RemoteOffice
from dojang.errors import (
    AuthorityRefused,
    AuthorityUnreachable,
    AuthorityUntrusted,
    FileMalformed,
    NotFound,
    NotPermitted,
    Usage,
    VerificationFailed,
)
from dojang.signing.private_key import PrivateKeySigner
from dojang.x509.name import parse_name

from .conftest import Server

OWN = b"the authority's certificate"


@dataclass
class Person:
    """Somebody with a key and a certificate that the authority issued."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def signer(self) -> PrivateKeySigner:
        return PrivateKeySigner(self.key)


def _person(bureau: Bureau, name: str) -> Person:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = parse_name(f"CN={name},C=KR")
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(bureau.at - timedelta(days=1))
        .not_valid_after(bureau.at + timedelta(days=9))
        .sign(key, hashes.SHA256())
    )
    person = Person(key, certificate)
    values: dict[str, Any] = dict.fromkeys(("not_before_at", "not_after_at", "recorded_at", "changed_at"), bureau.at)
    values |= {"serial": f"{certificate.serial_number:x}", "signer": "root", "certificate_der": person.der}
    values |= {"profile": "personal", "key_fingerprint": b"", "state": "confirmed", "subject": name}
    with bureau.database.writing() as connection:
        connection.execute(insert(tables.certificate).values(**values))
    return person


@dataclass
class Hall:
    """A centre with one authority, whose office, officers and record are real."""

    server: Server
    bureau: Bureau
    registrar: Person
    approver: Person
    stranger: Person

    def office(self, who: Person, name: str = "test", **more: Any) -> RemoteOffice:
        url = f"http://127.0.0.1:{self.server.port}/{name}"
        return RemoteOffice(url, who.signer, who.der, clock=more.pop("clock", lambda: self.bureau.at), **more)

    def order(
        self, method: str = "officer.list", authority: str = "test", own_der: bytes = OWN, **arguments: Any
    ) -> bytes:
        who = self.registrar
        return sign_order(authority, own_der, method, arguments, who.signer, who.der, at=self.bureau.at)

    def post(self, order: bytes, path: str = "/admin/test", kind: str = MEDIA_TYPE) -> tuple[int, dict[str, Any]]:
        status, _headers, body = self.server.ask(path, order, {"Content-Type": kind})
        return status, json.loads(body)


@pytest.fixture(scope="module")
def hall(tmp_path_factory, run_centre) -> Iterator[Hall]:
    bureau = Bureau(founded(f"sqlite:///{tmp_path_factory.mktemp('hall') / 'store.sqlite'}"))
    bureau.policy = EnrolmentPolicy(usual=ProfileRule("officers", True))
    people = [_person(bureau, name) for name in ("Kim", "Lee", "Park")]
    bureau.officers.add(people[0].der, ["registrar"])
    bureau.officers.add(people[1].der, ["approver"])
    authority = SimpleNamespace(name="test", counter=bureau.counter, database=bureau.database)
    authority.certificate_der, authority.chain_der = lambda: OWN, lambda: (OWN,)
    with run_centre(
        Limits(rate=0), authorities={"test": authority}, doors=(admin.routes,), clock=lambda: bureau.at
    ) as server:
        yield Hall(server, bureau, *people)
    bureau.database.close()


def test_an_officer_works_from_afar(hall: Hall):
    """A code that one made the other approves; the record names both as officers, and keeps the signed approval."""
    with hall.office(hall.registrar) as office:
        made = office.perform("code.new", {"profile": "personal", "subject": "CN=Hong,C=KR"})
        assert len(made["code"]) == 16
        reference = made["enrolment"]["reference"]
        listed = office.perform("enrolment.list", {})["enrolments"]
        assert reference in [one["reference"] for one in listed]
    kim, lee = (hall.bureau.officers.officer_of(one.der) for one in (hall.registrar, hall.approver))
    assert ("enrolment-created", kim.actor, reference) in hall.bureau.audited()
    with hall.office(hall.approver) as office:
        approved = office.perform("enrolment.approve", {"reference": reference})
        assert approved["enrolment"]["state"] == "ready"
    assert ("enrolment-approved", lee.actor, reference) in hall.bureau.audited()
    with hall.bureau.database.reading() as connection:
        approvals = tables.approval
        his = (approvals.c.subject == reference) & (approvals.c.officer == lee.actor)
        query = select(approvals.c.evidence).where(his)
        kept = read_order(connection.execute(query).scalar_one())
    assert (kept.method, kept.arguments, kept.certificate_der) == (
        "enrolment.approve",
        {"reference": reference},
        hall.approver.der,
    )


def test_a_role_that_one_has_not_is_refused_and_put_on_record(hall: Hall):
    """The same error as at the authority's own command line, and a row that says who tried what from where."""
    with hall.office(hall.approver) as office, pytest.raises(NotPermitted, match="no registrar"):
        office.perform("code.new", {"profile": "personal", "subject": "CN=Hong,C=KR"})
    with hall.office(hall.registrar) as office, pytest.raises(NotPermitted, match="where the authority is"):
        office.perform("officer.add", {"certificate": hall.stranger.der.hex(), "roles": ["registrar"]})
    lee = hall.bureau.officers.officer_of(hall.approver.der)
    assert "order-refused" in [event for event, actor, _ in hall.bureau.audited() if actor == lee.actor]


def test_an_error_over_there_is_the_same_error_here(hall: Hall):
    """With its facts, its advice and so its exit status."""
    with hall.office(hall.registrar) as office:
        with pytest.raises(NotFound) as caught:
            office.perform("enrolment.show", {"reference": "0000000000"})
        assert caught.value.exit_status == 3
        assert "dojang ca" in caught.value.advice()
        with pytest.raises(Usage, match="nothing that an office does"):
            office.perform("enrolment.burn", {})


def test_a_stranger_opens_nothing(hall: Hall):
    """A certificate that the authority issued is not enough: it must be an officer's, and count now."""
    with hall.office(hall.stranger) as office, pytest.raises(NotPermitted, match="not registered"):
        office.perform("officer.list", {})


def test_an_order_is_carried_out_once(hall: Hall):
    """The same bytes again are refused, however soon; nothing is done a second time."""
    order = hall.order("applicant.add", kind="person", name="Once")
    assert hall.post(order)[0] == 200
    status, said = hall.post(order)
    assert (status, said["error"]["code"]) == (403, "not-permitted")
    assert "given before" in said["error"]["message"]
    with hall.office(hall.registrar) as office:
        names = [one["name"] for one in office.perform("applicant.list", {})["applicants"]]
    assert names.count("Once") == 1


@pytest.mark.parametrize(("minutes", "accepted"), [(-6, False), (-4, True), (4, True), (6, False)])
def test_an_order_is_fresh_for_five_minutes(hall: Hall, minutes, accepted):
    """Either way: clocks differ."""
    at = hall.bureau.at + timedelta(minutes=minutes)
    with hall.office(hall.registrar, clock=lambda: at) as office:
        if accepted:
            assert office.perform("officer.list", {})["officers"]
        else:
            with pytest.raises(NotPermitted, match="signed at"):
                office.perform("officer.list", {})


def test_an_order_for_another_authority_is_not_taken(hall: Hall):
    """What was signed for one cannot be handed in at another."""
    status, said = hall.post(hall.order(authority="other"))
    assert (status, said["error"]["code"]) == (403, "not-permitted")
    status, said = hall.post(hall.order(own_der=b"the certificate of one that is called the same"))
    assert (status, said["error"]["code"]) == (403, "not-permitted")
    assert "another authority of this name" in said["error"]["message"]
    with hall.office(hall.registrar, "other") as office, pytest.raises(NotFound):
        office.perform("officer.list", {})


def test_an_officer_who_knows_the_authority_signs_for_no_other(hall: Hall):
    """Where its root is known, whoever answers at its address shows a certificate below it, or gets no order."""
    other = hall.stranger
    with hall.office(hall.registrar, anchors_der=(other.der,)) as office, pytest.raises(FileMalformed):
        office.perform("officer.list", {})  # what is there is no certificate at all
    with hall.office(hall.registrar, anchors_der=(other.der,)) as office:
        office._transport.post = lambda _message: json.dumps(
            {"ok": True, "data": {"name": "test", "chain": [hall.approver.der.hex()]}}
        ).encode()
        with pytest.raises(AuthorityUntrusted):
            office.perform("officer.list", {})


def test_what_is_no_order_does_no_harm(hall: Hall):
    """Neither nonsense, nor an order of which a bit was changed, nor one in other clothes."""
    order = hall.order()
    assert hall.post(b"nonsense")[0] == 400
    assert hall.post(order[:-1])[0] == 400
    place = order.index(b"officer.list")
    assert hall.post(order[:place] + b"Officer.list" + order[place + 12 :])[0] == 403
    assert hall.post(order, kind="application/json")[0] == 422
    assert hall.server.ask("/admin/test")[0] == 405


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"schema": 1}',
        b'{"schema":1,"authority":"a","method":"m","arguments":{},"at":"2026-01-01T00:00:00Z","id":"'
        + b"0" * 32
        + b'"}',
        b'{"schema":2,"authority":"a","certificate":"","method":"m","arguments":[],"at":"2026-01-01T00:00:00Z","id":"'
        + b"0" * 32
        + b'"}',
        b'{"schema":2,"authority":"a","certificate":"","method":"m","arguments":{},"at":"today","id":"'
        + b"0" * 32
        + b'"}',
        b'{"schema":2,"authority":"a","certificate":"","method":"m","arguments":{},"at":"2026-01-01T00:00:00Z","id":"short"}',
        b"[" * 100_000,
    ],
)
def test_a_signature_over_something_else_is_no_order(hall: Hall, content):
    """However good the signature."""
    from dojang.signing.cms import CmsOptions, sign_file

    signed, who = io.BytesIO(), hall.registrar
    sign_file(
        io.BytesIO(content),
        signed,
        who.signer,
        CmsOptions(who.der, signed_at=hall.bureau.at, content_type=CONTENT_TYPE),
    )
    with pytest.raises(FileMalformed):
        read_order(signed.getvalue())


def test_an_order_is_cms_that_openssl_verifies(hall: Hall, tmp_path):
    """And openssl's own signature over the same content is as good as ours: no code of ours is needed to give one."""
    who = hall.registrar
    (tmp_path / "order").write_bytes(hall.order())
    (tmp_path / "kim.pem").write_bytes(who.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "kim.key").write_bytes(who.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    verify = f"openssl cms -verify -binary -inform DER -in {tmp_path}/order -noverify -out {tmp_path}/content"
    subprocess.run(verify.split(), check=True, capture_output=True)
    content = json.loads((tmp_path / "content").read_bytes()) | {"id": "ab" * 16}
    (tmp_path / "content").write_text(json.dumps(content))
    sign = f"openssl cms -sign -binary -nodetach -outform DER -signer {tmp_path}/kim.pem -inkey {tmp_path}/kim.key"
    words = [*sign.split(), "-in", tmp_path / "content"]
    plain = subprocess.run(words, check=True, capture_output=True).stdout
    status, said = hall.post(plain)
    assert (status, said["error"]["code"]) == (400, "file-malformed")
    assert "another version" in said["error"]["message"]
    signed = subprocess.run([*words, "-econtent_type", CONTENT_TYPE], check=True, capture_output=True).stdout
    assert hall.post(signed)[0] == 200


def test_a_detached_signature_or_a_second_one_is_no_order(hall: Hall, tmp_path):
    """The content is in it, and one person answers for it."""
    who = hall.registrar
    (tmp_path / "kim.pem").write_bytes(
        who.certificate.public_bytes(Encoding.PEM)
        + who.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (tmp_path / "lee.pem").write_bytes(
        hall.approver.certificate.public_bytes(Encoding.PEM)
        + hall.approver.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (tmp_path / "content").write_text("{}")
    sign = f"openssl cms -sign -binary -outform DER -in {tmp_path}/content -signer {tmp_path}/kim.pem"
    detached = subprocess.run(sign.split(), check=True, capture_output=True).stdout
    twice = subprocess.run(
        [*sign.split(), "-nodetach", "-signer", tmp_path / "lee.pem"], check=True, capture_output=True
    ).stdout
    for order in (detached, twice):
        assert hall.post(order)[0] in (400, 403)


def test_orders_do_not_go_where_others_can_read(hall: Hall):
    """The client refuses a plain connection to another machine; the centre refuses one from there."""
    with pytest.raises(NotPermitted, match="others can read"):
        RemoteOffice("http://centre.example/test", hall.registrar.signer, hall.registrar.der)
    with pytest.raises(Usage, match="which authority"):
        RemoteOffice("https://centre.example/", hall.registrar.signer, hall.registrar.der)
    scope = {"client": ("192.0.2.1", 1), "scheme": "http"}
    from dojang.centre.gate import Gate

    gate = Gate(None, Limits(), None)  # type: ignore[arg-type]
    assert not gate._is_private(scope)
    assert gate._is_private({**scope, "scheme": "https"})
    assert gate._is_private({**scope, "client": ("::1", 1)})


def test_a_changed_bit_is_a_failed_verification(hall: Hall):
    """Wherever it is, the order is not read as another one."""
    order = bytearray(hall.order())
    for place in range(len(order) - 40, len(order), 7):
        changed = bytes(order[:place]) + bytes([order[place] ^ 1]) + bytes(order[place + 1 :])
        with pytest.raises((VerificationFailed, FileMalformed)):
            read_order(changed)


def test_a_centre_that_is_away_or_talks_nonsense(hall: Hall):
    """Unreachable is 11, to be tried again; an answer that cannot be read is a refusal."""
    who = hall.registrar
    with RemoteOffice("http://127.0.0.1:1/test", who.signer, who.der) as office, pytest.raises(AuthorityUnreachable):
        office.perform("officer.list", {})
    with hall.office(who) as office:
        office._transport.target = office._transport.target._replace(path="/echo")
        with pytest.raises(AuthorityRefused):
            office.perform("officer.list", {})
