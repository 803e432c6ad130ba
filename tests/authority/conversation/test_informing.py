"""Questions to the authority: certificates, lists, a new root, algorithms; and that others read every answer."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pyasn1.codec.der.decoder import decode as pyasn1_decode
from pyasn1_alt_modules import rfc9810
from tests.authority.conversation.conftest import SOURCE, Counter, Subscriber, failure_in

from dojang.authority.audit import acting
from dojang.authority.conversation import informing
from dojang.authority.enrolment.policy import ProfileRule
from dojang.authority.hierarchy import delegates, rollover
from dojang.cmp.bodies import General, Information, Kind, Poll
from dojang.cmp.faults import FailInfo
from dojang.cmp.schema import (
    ListStatus,
    ListStatuses,
    Many,
    RootUpdate,
    UTCTime,
    decode,
    decode_list,
    der_of,
    encode_list,
    tlv_of,
)
from dojang.der import tlv
from dojang.x509.path import check_path


def asked(one: Subscriber, kind: str, value: bytes | None = None) -> Information:
    """The answer to one question."""
    again = one.again()
    answer = again.ask(General(Kind.GENM, (Information(kind, value),)))
    assert isinstance(answer.body, General), answer.body
    (item,) = answer.body.items
    return item


def test_the_certificates_of_the_authority(bearer: Subscriber, counter: Counter) -> None:
    """caCerts: those between a subscriber and the root; to who has a code, and to who has a certificate."""
    holder = bearer.enrol()
    handed = counter.hand_out()
    another = Subscriber(counter, handed.enrolment.reference, handed.code)
    for one in (another, holder):
        found = asked(one, informing.CA_CERTS)
        certificates = [der_of(part) for part in decode_list(Many, found.value_der or b"").items]
        assert certificates == list(counter.authority.chain_der()[:-1])


def test_the_newest_list(bearer: Subscriber, counter: Counter) -> None:
    """currentCRL; crlStatusList with a list that is as new has nothing, with an older one or none the newest.

    On any host: the file lies on the one where it was signed.
    """
    counter.authority.publish_crl().unlink()
    found = asked(bearer, informing.CURRENT_CRL)
    newest = x509.load_der_x509_crl(found.value_der or b"")
    issuer = newest.issuer.public_bytes()

    def answer(this_update: UTCTime | None, tag: int = 0xA1) -> bytes | None:
        source = tlv(tag, tlv(0x30, tlv(0xA4, issuer)))
        statuses = ListStatuses(items=[ListStatus(source=tlv_of(source), this_update=this_update)])
        item = asked(bearer, informing.CRL_STATUS_LIST, encode_list(statuses))
        assert item.kind == informing.CRLS
        return item.value_der

    at = newest.last_update_utc
    for value in (answer(None), answer(UTCTime(at - timedelta(seconds=1)))):
        assert [der_of(part) for part in decode_list(Many, value or b"").items] == [newest.public_bytes(Encoding.DER)]
    assert answer(UTCTime(at)) is None


def test_a_new_root_is_told_to_who_knows_the_old(bearer: Subscriber, counter: Counter) -> None:
    """rootCaCert: nothing while there is one; then the new root, by itself, by the old, and the old by the new."""
    old = counter.authority.chain_der()[-1]
    assert asked(bearer, informing.ROOT_CA_CERT, old).value_der is None
    key = counter.keys["pkcs11:object=root-2"] = ec.generate_private_key(ec.SECP256R1())
    counter.clock.turn(days=1)
    rollover.prepare(counter.authority.scene(), "root", key, "pkcs11:object=root-2")
    found = asked(bearer, informing.ROOT_CA_CERT, old)
    assert found.kind == informing.ROOT_CA_KEY_UPDATE
    update = decode(RootUpdate, found.value_der or b"")
    before = x509.load_der_x509_certificate(old)
    assert update.new_with_new.public_key() == key.public_key()
    assert update.new_with_old is not None
    update.new_with_old.verify_directly_issued_by(before)
    assert asked(bearer, informing.ROOT_CA_CERT, update.new_with_new.public_bytes(Encoding.DER)).value_der is None


def test_what_there_is_not(bearer: Subscriber) -> None:
    """No key that encrypts, no template: an answer without a value. What is unknown: addInfoNotAvailable."""
    for kind in (informing.CA_PROT_ENC_CERT, informing.CERT_REQ_TEMPLATE):
        assert asked(bearer, kind) == Information(kind)
    types = asked(bearer, informing.SIGN_KEY_PAIR_TYPES)
    assert len(decode_list(Many, types.value_der or b"").items) == 8
    again = bearer.again()
    unknown = again.ask(General(Kind.GENM, (Information("1.2.3.4"),)))
    assert failure_in(unknown) is FailInfo.ADD_INFO_NOT_AVAILABLE
    again = bearer.again()
    broken = again.ask(General(Kind.GENM, (Information(informing.CRL_STATUS_LIST, b"\x05\x00"),)))
    assert failure_in(broken) is FailInfo.BAD_DATA_FORMAT


def test_a_key_that_was_certified_for_it_speaks_for_the_authority(bearer: Subscriber, counter: Counter) -> None:
    """With a key for CMP the answers to holders are signed by that, and its certificate says cmcCA."""
    holder = bearer.enrol()
    key = counter.keys["pkcs11:object=cmp"] = ec.generate_private_key(ec.SECP256R1())
    delegates.add_delegate(counter.authority.scene(), "cmp", key, "pkcs11:object=cmp")
    counter.authority.roster.look()
    again = holder.again()
    answer = again.ask(General(Kind.GENM, (Information(informing.CA_CERTS),)))
    signer = x509.load_der_x509_certificate(answer.certificates[0])
    assert signer.public_key() == key.public_key()
    assert (
        x509.ObjectIdentifier("1.3.6.1.5.5.7.3.27")
        in signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    )


def test_who_speaks_for_the_authority_is_known_after_a_rollover_too(bearer: Subscriber, counter: Counter) -> None:
    """The key for CMP was certified by the issuing key before: with an answer come the certificates that lead from it
    to the root, and those that lead from the new certificate there.
    """
    holder, private, authority = bearer.enrol(), counter.keys, counter.authority
    for name in ("cmp", "issuing-2"):
        private[f"pkcs11:object={name}"] = ec.generate_private_key(ec.SECP256R1())
    delegates.add_delegate(authority.scene(), "cmp", private["pkcs11:object=cmp"], "pkcs11:object=cmp")
    rollover.prepare(authority.scene(), "issuing", private["pkcs11:object=issuing-2"], "pkcs11:object=issuing-2")
    rollover.switch(authority.scene(), "issuing")
    authority.roster.look()
    again = holder.again(key=ec.generate_private_key(ec.SECP256R1()))
    answer = again.ask(again.request(Kind.KUR))
    signer, *others = answer.certificates
    for certificate_der in (signer, again.granted(answer)):
        found = check_path(
            certificate_der,
            intermediates_der=others,
            anchors_der=authority.chain_der()[-1:],
            at=counter.clock() + timedelta(seconds=1),
        )
        assert found.problems == ()


@pytest.mark.parametrize("version", [2, 3])
def test_others_read_every_answer(counter: Counter, version: int) -> None:
    """pyasn1 with the module of RFC 9810 decodes each kind of message that the authority sends."""
    sent: list[bytes] = []
    answer = counter.conversation.answer

    def heard(one: Subscriber, der: bytes) -> None:
        sent.append(answer(der, SOURCE))
        one.last = one.send(der)

    counter.policy = replace(counter.policy, usual=ProfileRule("people", True))
    handed = counter.hand_out()
    one = Subscriber(counter, handed.enrolment.reference, handed.code)
    heard(one, one.message(one.request(), version=version))
    heard(one, one.message(Poll((0,)), version=version))
    with acting("local:another"):
        counter.office.approve(handed.enrolment.reference)
    heard(one, one.message(Poll((0,)), version=version))
    granted = one.granted(one.last) if one.last else b""
    heard(one, one.message(one.confirmation(granted), version=version))
    holder = Subscriber(counter, certificate_der=granted, signing_key=one.key)
    heard(holder, holder.message(General(Kind.GENM, (Information(informing.CA_CERTS),)), version=version))
    wrong = holder.again()
    heard(wrong, wrong.message(wrong.request(), version=version))
    kinds = set()
    for der in sent:
        decoded, rest = pyasn1_decode(der, asn1Spec=rfc9810.PKIMessage())
        assert rest == b""
        assert decoded["header"]["pvno"] == version
        kinds.add(decoded["body"].getName())
    assert kinds == {"ip", "pollRep", "pkiconf", "genp", "error"}


def test_a_test_authority_may_let_a_code_be_used_more_than_once(counter: Counter) -> None:
    """``uses`` of ``[enrolment]``, for conformance tests: so many certificates, and then no more."""
    counter.policy = replace(counter.policy, uses=2)
    handed = counter.hand_out()
    bearer = Subscriber(counter, handed.enrolment.reference, handed.code)
    for _ in range(2):
        bearer.again(key=ec.generate_private_key(ec.SECP256R1())).enrol()
    late = bearer.again()
    assert failure_in(late.ask(late.request())) is FailInfo.NOT_AUTHORIZED
