"""Registering certificates that others issued: what is accepted, what each fault is called, none hiding another."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from secrets import token_bytes
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from tests.lifecycle.conftest import Office
from tests.x509.issuer import ANSWERING, DAY, REVOKED, SIGNING, Issuer, addresses, der, now, policies
from tests.x509.web import Web, answering, web_server

from dojang.errors import (
    CertificateRevoked,
    CertificateSuspended,
    CertificateUnusable,
    DojangError,
    NotFound,
    PurposeRefused,
    RegistrationRefused,
    StatusUnknown,
    Usage,
)
from dojang.lifecycle.delete import delete
from dojang.lifecycle.doctor_registered import examine_registrations
from dojang.lifecycle.held import due_in, held_at
from dojang.lifecycle.possession import give_challenge
from dojang.lifecycle.register import Registration, recheck_at, recheck_file, register_at, register_file
from dojang.lifecycle.vetting import Terms
from dojang.lifecycle.where import find_everywhere, recorded_locations
from dojang.npki.pkcs8 import Pkcs8
from dojang.npki.policy_names import oids_named
from dojang.npki.vid import IdentifyData, compute_vid, identify
from dojang.secret import Secret
from dojang.signing.response import is_response
from dojang.x509.lookup import GivenList, Sources

PERSONAL, BANKING = "1.2.410.200005.1.1.1", "1.2.410.200005.1.1.4"
NUMBER, R = Secret("123456-1234567"), Secret(token_bytes(20))
KEY, OTHER_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
ISSUER, STRANGER = Issuer("Other Bank CA"), Issuer("Stranger")


def vid_extension(vid: IdentifyData) -> tuple[x509.ExtensionType, bool]:
    return x509.SubjectAlternativeName([vid.to_other_name()]), False


VID = vid_extension(identify("홍길동", NUMBER, R))
OLD_VID = vid_extension(IdentifyData("홍길동", "sha1", compute_vid(NUMBER, R, "sha1")))


@dataclass
class Desk:
    """A place to register at, and terms that a good certificate meets."""

    office: Office
    terms: Terms = field(default_factory=lambda: terms(ISSUER.crl()))

    def hold(self, certificate: x509.Certificate, key: Any = KEY, random_number: Secret | None = R) -> str:
        """Put key, R and certificate where they are to be registered; the address."""
        key_id = token_bytes(8)
        with self.office.place.open_location(self.office.address) as location:
            location.import_key(Pkcs8.from_key(key, random_number), key_id=key_id, label="Hong")
            return location.install(key_id=key_id, label="Hong", certificate_der=der(certificate)).address

    def register(self, address: str, **options: Any) -> Registration:
        return register_at(address, self.terms, self.office.place, **options)

    def events(self) -> list[str]:
        return [event.event for event in self.office.place.ledger.history()]


def terms(*lists: bytes, **changes: Any) -> Terms:
    given = Sources(tuple(GivenList(f"{number}.crl", one) for number, one in enumerate(lists)), offline=True)
    return replace(Terms((ISSUER.der,), sources=given), **changes)


def good(*extensions: Any, issuer: Issuer = ISSUER, **options: Any) -> x509.Certificate:
    return issuer.sign(KEY.public_key(), "Hong", [SIGNING, *(extensions or [policies(PERSONAL), VID])], **options)


@pytest.fixture
def desk(office: Office) -> Desk:
    return Desk(office)


on_disk = pytest.mark.parametrize("office", ["disk"], indirect=True)


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as web:
        yield web


def failed(error: DojangError) -> set[str]:
    return {check["name"] for check in error.facts["checks"] if not check["ok"]}


def test_a_good_certificate_is_registered(desk: Desk) -> None:
    """On a token and in a folder: path, list, purpose, key and owner; the ledger says what was looked at and where."""
    address = desk.hold(good())
    desk.terms = replace(desk.terms, allowed_policies=oids_named("개인 범용"))
    done = desk.register(address, number=NUMBER)
    assert all(check.ok for check in done.checks)
    assert {check.name for check in done.checks} >= {
        "path",
        "validity",
        "revocation",
        "purpose",
        "possession",
        "person",
    }
    assert (done.held.state, done.held.stored.address, done.again) == ("valid", address, False)
    assert done.vetted.policies == (PERSONAL,)
    (event,) = desk.office.place.ledger.history()
    assert (event.event, event.address) == ("registered", address)
    assert (event.facts["state"], event.facts["source"], event.facts["place"]) == ("good", "crl-file", "0.crl")
    assert "person" in event.facts["checks"]
    assert desk.register(address).again
    assert desk.events() == ["registered", "registered"]


def test_what_is_registered_is_known_everywhere(desk: Desk) -> None:
    """``where`` looks into its location from then on, and it becomes due."""
    place = desk.office.place
    assert recorded_locations(place.ledger) == []
    address = desk.hold(good(end=now() + 40 * DAY))
    desk.register(address)
    found = find_everywhere(place, recorded_locations(place.ledger))
    assert [one.stored.address for one in found.held] == [address]
    assert list(due_in(place, recorded_locations(place.ledger))) == []
    desk.office.later = timedelta(days=20)
    assert [one.stored.address for one in due_in(place, recorded_locations(place.ledger))] == [address]


def test_nothing_secret_is_written(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Neither number nor R stands in the ledger, a log, an error or the answer, whether they fit or not."""
    caplog.set_level(0)
    address = desk.hold(good())
    done = desk.register(address, number=NUMBER)
    with pytest.raises(RegistrationRefused) as caught:
        desk.register(address, number=Secret("123456-7654321"))
    folder = desk.office.place.ledger.path.parent
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    written += repr((done, caught.value.facts, str(caught.value))).encode() + caplog.text.encode()
    for secret in (b"123456", b"1234567", b"7654321", R.reveal(), R.reveal().hex().encode(), repr(R.reveal()).encode()):
        assert secret not in written


HELD_BACK = good()
OVER, EARLY = good(end=now() - DAY, start=now() - 9 * DAY), good(start=now() + DAY)
UNKNOWN_ROOT = good(issuer=STRANGER)
SELF_SIGNED = Issuer("Hong", key=KEY).certificate
NO_SIGNING = ISSUER.sign(
    KEY.public_key(), "Hong", [policies(PERSONAL), (x509.KeyUsage(False, False, True, *([False] * 6)), True)]
)


@on_disk
@pytest.mark.parametrize(
    ("certificate", "lists", "leaf", "names"),
    [
        (OVER, [ISSUER.crl(start=now() - 2 * DAY)], RegistrationRefused, {"validity"}),
        (EARLY, [ISSUER.crl()], RegistrationRefused, {"validity"}),
        (UNKNOWN_ROOT, [STRANGER.crl()], RegistrationRefused, {"path", "revocation"}),
        (SELF_SIGNED, [ISSUER.crl()], RegistrationRefused, {"path", "revocation", "key-usage", "purpose"}),
        (NO_SIGNING, [ISSUER.crl()], RegistrationRefused, {"key-usage"}),
        (HELD_BACK, [ISSUER.crl((HELD_BACK, "keyCompromise"))], CertificateRevoked, {"revocation"}),
        (HELD_BACK, [ISSUER.crl((HELD_BACK, "certificateHold"))], CertificateSuspended, {"revocation"}),
        (HELD_BACK, [], StatusUnknown, {"revocation"}),
        (HELD_BACK, [ISSUER.crl(start=now() - 9 * DAY)], StatusUnknown, {"revocation"}),
        (HELD_BACK, [STRANGER.crl((HELD_BACK, "keyCompromise"))], StatusUnknown, {"revocation"}),
        (HELD_BACK, [b"<html>no list</html>"], StatusUnknown, {"revocation"}),
        (good(policies(BANKING)), [ISSUER.crl()], PurposeRefused, {"purpose"}),
        (good(policies("1.2.3.4")), [ISSUER.crl()], PurposeRefused, {"purpose"}),
        (good(VID), [ISSUER.crl()], PurposeRefused, {"purpose"}),
    ],
)
def test_each_fault_has_its_name(desk: Desk, certificate, lists, leaf, names) -> None:
    """The one thing that is wrong is the one that is told, by an error of its own, and nothing is registered."""
    desk.terms = terms(*lists, allowed_policies=frozenset([PERSONAL]))
    address = desk.hold(certificate)
    with pytest.raises(leaf) as caught:
        desk.register(address)
    assert failed(caught.value) == names
    assert caught.value.exit_status == (9 if leaf is PurposeRefused else 13)
    assert desk.events() == []


BROKEN_NAMES = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x30\x03\xa0\x01\x00"), False
BY_BROKEN_NAMES = {"key-usage", "critical-extensions", "policies"}


@pytest.mark.parametrize(
    ("extensions", "number", "random_number", "said"),
    [
        ([VID], NUMBER, R, None),
        ([OLD_VID], NUMBER, R, None),
        ([VID], Secret("1234567890"), R, "not issued to"),
        ([VID], NUMBER, Secret(token_bytes(20)), "not issued to"),
        ([VID], NUMBER, None, "no random number R"),
        ([policies(PERSONAL)], NUMBER, R, "no VID"),
        (
            [BROKEN_NAMES],
            NUMBER,
            R,
            "read",
        ),
    ],
)
def test_the_person_is_proved_by_number_and_r(desk: Desk, extensions, number, random_number, said) -> None:
    """By SHA-256 and, in old certificates, SHA-1; another number, another R, none or no VID: each is told."""
    address = desk.hold(good(*extensions), random_number=random_number)
    if said is None:
        assert desk.register(address, number=number).checks[-1].ok
        return
    with pytest.raises(RegistrationRefused) as caught:
        desk.register(address, number=number)
    assert failed(caught.value) == {"person"} | (set() if said != "read" else BY_BROKEN_NAMES)
    assert said in caught.value.facts["problems"][-1]
    assert desk.events() == []


@on_disk
def test_a_number_that_is_none_is_refused_at_once(desk: Desk) -> None:
    """Before a password is asked or anything is looked up."""
    with pytest.raises(Usage):
        desk.register("npki:/nowhere?cn=nobody", number=Secret("12345"))


def test_a_key_of_another_certificate(desk: Desk) -> None:
    """What lies beside it signs, but not for it."""
    address = desk.hold(good(), key=OTHER_KEY)
    with pytest.raises(RegistrationRefused) as caught:
        desk.register(address)
    assert failed(caught.value) == {"possession"}
    assert desk.events() == []


@on_disk
def test_everything_that_is_wrong_is_told_at_once(desk: Desk) -> None:
    """Expired, revoked, for another purpose, without its key and somebody else's: one error with five faults."""
    certificate = good(policies(BANKING), VID, start=now() - 9 * DAY, end=now() - DAY)
    address = desk.hold(certificate, key=OTHER_KEY)
    desk.terms = terms(ISSUER.crl((certificate, "superseded")), allowed_policies=oids_named("전자세금용"))
    with pytest.raises(CertificateRevoked) as caught:
        desk.register(address, number=Secret("1234567890"))
    assert failed(caught.value) == {"validity", "revocation", "purpose", "possession", "person"}
    assert len(caught.value.facts["problems"]) == 5
    assert caught.value.facts["status"]["state"] == "revoked"
    assert desk.events() == []


@on_disk
def test_a_retired_credential_is_not_registered(desk: Desk) -> None:
    """It is out of use whatever its certificate says."""
    address = desk.hold(good())
    with desk.office.place.open_location(desk.office.address) as location:
        location.retire(location.find(address).key_id)
        (retired,) = location.credentials()
    with pytest.raises(CertificateUnusable):
        desk.register(retired.address)


@on_disk
def test_nobody_is_asked_about_a_strangers_certificate(desk: Desk, web: Web) -> None:
    """The addresses in a certificate are believed once its path is."""
    named = addresses(ocsp_at=f"{web.base}/ocsp", list_at=f"{web.base}/ca.crl")
    for issuer, asked in ((STRANGER, []), (ISSUER, ["/ocsp", "/ca.crl"])):
        certificate = good(*named, issuer=issuer)
        web.put("/ca.crl", issuer.crl())
        desk.terms = replace(desk.terms, sources=Sources())
        address = desk.hold(certificate)
        if issuer is ISSUER:
            desk.register(address)
        else:
            with pytest.raises(RegistrationRefused):
                desk.register(address)
        with desk.office.place.open_location(desk.office.address) as location:
            location.delete(location.find(address).key_id)
        assert web.asked == asked


@on_disk
def test_nobody_is_asked_about_what_a_subscriber_signed(desk: Desk, web: Web) -> None:
    """His certificate leads to the anchor, but he is no authority; nor is one whose key may not sign certificates."""
    lists_only = x509.KeyUsage(*[False] * 6, True, False, False), True
    no_authority = [x509.BasicConstraints(ca=True, path_length=None), True], lists_only
    named = addresses(ocsp_at=f"{web.base}/ocsp", list_at=f"{web.base}/ca.crl")
    desk.terms = replace(desk.terms, sources=Sources())
    for extensions, name in (([SIGNING], "basic-constraints"), (no_authority, "key-usage")):
        below = Issuer("Kim", ISSUER)
        below.certificate = ISSUER.sign(below.key.public_key(), "Kim", extensions)
        desk.terms = replace(desk.terms, intermediates_der=(below.der,))
        address = desk.hold(good(*named, issuer=below))
        with pytest.raises(RegistrationRefused) as caught:
            desk.register(address)
        assert failed(caught.value) >= {name, "revocation"}
        assert web.asked == []
        delete(address, desk.office.place)


@on_disk
def test_answers_of_responders(desk: Desk, web: Web) -> None:
    """Good, suspended, replayed, by somebody unauthorised: the last two leave the state unknown, never good."""
    certificate = good()
    address = desk.hold(certificate)
    desk.terms = replace(desk.terms, sources=Sources(responder=web.base + "/ocsp"))

    def serve(reply) -> None:
        web.put("/ocsp", lambda handler, body: answering(reply(body))(handler, body))

    serve(lambda body: ISSUER.delegate().reply(body, certificate, REVOKED, reason="certificateHold"))
    with pytest.raises(CertificateSuspended):
        desk.register(address)
    old = ISSUER.responder().answer(certificate, token_bytes(32), end=now() + DAY)
    for reply, why in (
        (lambda _body: old, "wrong nonce"),
        (lambda body: ISSUER.delegate([SIGNING]).reply(body, certificate), "OCSPSigning"),
        (lambda body: STRANGER.delegate([ANSWERING]).reply(body, certificate, issuer=ISSUER.certificate), "not hold"),
        (lambda _body: b"<html>", "decoded"),
    ):
        serve(reply)
        with pytest.raises(StatusUnknown, match=why):
            desk.register(address)
    assert desk.events() == []
    serve(lambda body: ISSUER.delegate().reply(body, certificate))
    done = desk.register(address)
    assert (done.vetted.finding.standing.source, done.vetted.finding.standing.place) == ("ocsp", f"{web.base}/ocsp")


@on_disk
def test_an_issuer_below_the_anchor_is_looked_up_too(desk: Desk) -> None:
    """Its certificate comes from the chain; revoked, it takes down what it issued; its own anchor, it is trusted."""
    below = Issuer("Branch CA", ISSUER)
    certificate = good(issuer=below)
    address = desk.hold(certificate)
    chain = {"intermediates_der": (below.der,)}
    with pytest.raises(RegistrationRefused):
        desk.register(address)
    for lists, leaf in (
        ([below.crl()], StatusUnknown),
        ([below.crl(), ISSUER.crl((below.certificate, "cACompromise"))], CertificateRevoked),
    ):
        desk.terms = terms(*lists, **chain)
        with pytest.raises(leaf, match="Branch CA"):
            desk.register(address)
    desk.terms = terms(below.crl(), ISSUER.crl(), **chain)
    assert desk.register(address).vetted.policies == (PERSONAL,)
    desk.terms = terms(below.crl(), anchors_der=(below.der,))
    assert desk.register(address).again


@on_disk
def test_a_state_that_changes_is_known_after_the_next_look(desk: Desk) -> None:
    """Suspended, restored, revoked; ``where`` shows each; what is revoked stays so even by an older list."""
    place, certificate = desk.office.place, good()
    address = desk.hold(certificate)
    with pytest.raises(NotFound):
        recheck_at(address, desk.terms, place)
    desk.register(address)
    for reason, leaf, state in (
        ("certificateHold", CertificateSuspended, "suspended"),
        (None, None, "valid"),
        ("keyCompromise", CertificateRevoked, "revoked"),
        (None, None, "revoked"),
    ):
        look = terms(ISSUER.crl((certificate, reason)) if reason else ISSUER.crl())
        if leaf is None:
            recheck_at(address, look, place)
        else:
            with pytest.raises(leaf):
                recheck_at(address, look, place)
        assert held_at(place, address)[0].state == state
    assert desk.events() == ["registered", "suspended", "restored", "checked", "revoked", "checked"]
    with pytest.raises(CertificateRevoked):
        register_at(address, terms(ISSUER.crl((certificate, "keyCompromise"))), place)


@on_disk
def test_the_doctor_tells_what_became_of_it(desk: Desk) -> None:
    """Nothing while it is fresh; then that nobody looked for a month, that it is suspended, that it is over."""
    place, certificate = desk.office.place, good(end=now() + 40 * DAY)

    def codes() -> list[str]:
        return [one.code for one in examine_registrations(place.ledger.history(), place.now())]

    address = desk.hold(certificate)
    desk.register(address)
    assert codes() == []
    desk.office.later = timedelta(days=31)
    assert codes() == ["registration-unchecked"]
    recheck_at(address, terms(ISSUER.crl(start=now() + timedelta(days=30))), place)
    desk.office.later = timedelta(days=41)
    assert codes() == ["registration-expired"]
    desk.office.later = timedelta(days=32)
    for reason, code in (("certificateHold", "registration-suspended"), ("superseded", "registration-revoked")):
        with pytest.raises(DojangError):
            recheck_at(address, terms(ISSUER.crl((certificate, reason), start=now() + timedelta(days=30))), place)
        assert codes() == [code]
    delete(address, place)
    assert codes() == []


@pytest.fixture
def challenged(desk: Desk):
    """A certificate in a file whose holder was challenged, and a function that registers it with a response."""
    certificate_der = der(good())
    given = give_challenge(certificate_der, "hong.pem", desk.office.place)

    def bring(response: bytes | None, certificate: bytes = certificate_der) -> Registration:
        answers = None if response is None else lambda *words: is_response(response, *words)
        return register_file("hong.pem", certificate, (), desk.terms, desk.office.place, answers)

    bring.text, bring.desk, bring.certificate_der = given.text.encode(), desk, certificate_der
    return bring


def sign(text: bytes, key: Any = KEY) -> bytes:
    from cryptography.hazmat.primitives import hashes

    return key.sign(text, ec.ECDSA(hashes.SHA256()))


def refused(bring, *words: Any) -> str:
    with pytest.raises(RegistrationRefused) as caught:
        bring(*words)
    assert failed(caught.value) == {"possession"}
    return caught.value.facts["problems"][0]


@on_disk
def test_a_challenge_signed_elsewhere_is_brought_back(challenged) -> None:
    """It counts once; without it, with another's signature or over something else nothing is registered."""
    assert "nobody has shown" in refused(challenged, None)
    assert "no answer of its key" in refused(challenged, sign(challenged.text, OTHER_KEY))
    assert "no answer of its key" in refused(challenged, sign(challenged.text[:-1]))
    assert "no answer of its key" in refused(challenged, b"")
    done = challenged(sign(challenged.text + b"\n"))
    assert done.held is None
    assert "no challenge waits" in refused(challenged, sign(challenged.text))
    assert challenged.desk.events() == ["challenged", "registered"]
    recheck_file("hong.pem", challenged.certificate_der, (), challenged.desk.terms, challenged.desk.office.place)


@on_disk
def test_a_challenge_is_for_one_certificate_and_an_hour(challenged) -> None:
    """A second certificate of the same key needs its own, and a new challenge ends the one before."""
    assert "no challenge waits" in refused(challenged, sign(challenged.text), der(good()))
    give_challenge(challenged.certificate_der, "hong.pem", challenged.desk.office.place)
    assert "no answer of its key" in refused(challenged, sign(challenged.text))
    challenged.desk.office.later = timedelta(minutes=61)
    assert "older than an hour" in refused(challenged, sign(challenged.text))


@on_disk
def test_a_certificate_with_a_key_of_another_kind(desk: Desk) -> None:
    """Ed25519 signs the challenge as it is."""
    key = ed25519.Ed25519PrivateKey.generate()
    certificate_der = der(ISSUER.sign(key.public_key()))
    text = give_challenge(certificate_der, "ed.pem", desk.office.place).text.encode()
    answers = lambda *words: is_response(key.sign(text), *words)  # noqa: E731
    assert register_file("ed.pem", certificate_der, (), desk.terms, desk.office.place, answers).certificate_der
