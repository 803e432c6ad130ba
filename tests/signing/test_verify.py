"""Verifying: what others signed passes, what is not good fails with every reason, rubbish is called rubbish."""

import io
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.der import OCTET_STRING, SEQUENCE, SET, children, integer, parse, set_of, tlv
from dojang.errors import FileMalformed, InputRequired, Usage, VerificationFailed
from dojang.signing import oids
from dojang.signing.algorithms import digest_identifier, signature_identifier
from dojang.signing.cms_frame import definite_opening
from dojang.signing.cms_seal import Seal, _attribute
from dojang.signing.digest import Scheme
from dojang.signing.verification import Trust
from dojang.signing.verify import verify_cms

ALGORITHMS = ("rsa-2048", "ec-p256", "ec-p384", "ec-p521")


def _failed(*arguments: object, **options: object) -> dict[str, str]:
    """The names of the checks that failed, with what they say."""
    with pytest.raises(VerificationFailed) as caught:
        verify_cms(*arguments, **options)
    assert not caught.value.facts["verification"].valid
    failed = {check.name: check.detail for check in caught.value.facts["checks"] if not check.ok}
    assert failed
    assert all(name in caught.value.message() for name in failed)
    return failed


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-nodetach",),
        ("-noattr",),
        ("-noattr", "-nodetach"),
        ("-nodetach", "-stream", "-indef"),
        ("-nodetach", "-keyid"),
        ("-cades",),
        ("-md", "sha512", "-nodetach"),
        ("-md", "sha224"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_openssl_signed(pki, openssl, document, tmp_path, algorithm, options) -> None:
    """Detached and enveloping, with and without attributes, streamed, by key identifier, with ESS; DER and PEM."""
    subscriber, message = pki.subscriber(algorithm), tmp_path / "m"
    signer = ("-signer", subscriber.certificate_file, "-inkey", subscriber.key_file, "-certfile", pki.issuing_file)
    enveloping = "-nodetach" in options
    for form in ("DER", "PEM"):
        openssl("cms", "-sign", "-binary", "-in", document, *signer, "-outform", form, *options, "-out", message)
        found = verify_cms(
            message,
            trust=pki.trust,
            content=None if enveloping else document,
            extract_to=tmp_path / "out" if enveloping else None,
        )
        assert found.signers[0].subject == f"CN=Hong {algorithm},C=KR"
        assert (found.signers[0].signed_at is None) == ("-noattr" in options)
        assert found.content_bytes == document.stat().st_size
        if enveloping:
            assert (tmp_path / "out").read_bytes() == document.read_bytes()


@pytest.mark.parametrize("salt", ["digest", "max", "20"])
def test_what_openssl_signed_with_pss(pki, openssl, document, tmp_path, salt) -> None:
    """With every salt length."""
    subscriber = pki.subscriber("rsa-2048")
    signer = ("-signer", subscriber.certificate_file, "-inkey", subscriber.key_file)
    pss = ("-keyopt", "rsa_padding_mode:pss", "-keyopt", f"rsa_pss_saltlen:{salt}")
    openssl(
        "cms",
        "-sign",
        "-binary",
        "-nodetach",
        "-in",
        document,
        *signer,
        *pss,
        "-outform",
        "DER",
        "-out",
        tmp_path / "m",
    )
    found = verify_cms(tmp_path / "m", trust=replace(pki.trust, intermediates_der=pki.chain_der))
    assert found.signers[0].algorithm == "rsa-pss-sha256"


@pytest.mark.parametrize("extra", [[], ["--p7-time"]])
def test_what_certtool_signed_with_ed25519(pki, document, tmp_path, extra) -> None:
    """GnuTLS signs the content itself without attributes, and the attributes with them."""
    subscriber = pki.subscriber("ed25519")
    signer = ["--load-privkey", subscriber.key_file, "--load-certificate", subscriber.certificate_file]
    trust = replace(pki.trust, intermediates_der=pki.chain_der)
    for mode, content in (("--p7-sign", None), ("--p7-detached-sign", document)):
        command = ["certtool", mode, *extra, *signer, "--hash", "sha512", "--outder"]
        subprocess.run([*command, "--infile", document, "--outfile", tmp_path / mode], check=True, capture_output=True)
        assert verify_cms(tmp_path / mode, trust=trust, content=content).signers[0].algorithm == "ed25519"


def test_two_signers_are_both_checked(pki, openssl, document, tmp_path) -> None:
    """Both are reported; one that is bad makes the whole bad."""
    one, other = pki.subscriber("rsa-2048"), pki.subscriber("ec-p256")
    signers = ("-signer", one.certificate_file, "-inkey", one.key_file)
    signers += ("-signer", other.certificate_file, "-inkey", other.key_file)
    openssl(
        "cms", "-sign", "-binary", "-nodetach", "-in", document, *signers, "-outform", "DER", "-out", tmp_path / "m"
    )
    trust = replace(pki.trust, intermediates_der=pki.chain_der)
    found = verify_cms(tmp_path / "m", trust=trust)
    assert {signer.algorithm for signer in found.signers} == {"rsa-sha256", "ecdsa-sha256"}
    crl = pki.crl_der(revoked=other.certificate_der)
    assert _failed(tmp_path / "m", trust=replace(trust, crls_der=(crl,))) == {"revocation": "revoked"}


def test_sha1_is_refused_and_so_is_md5(pki, openssl, document, tmp_path) -> None:
    """The digest is named as the reason; a signature by it is not even checked."""
    subscriber = pki.subscriber("rsa-2048")
    signer = ("-signer", subscriber.certificate_file, "-inkey", subscriber.key_file)
    trust = replace(pki.trust, intermediates_der=pki.chain_der)
    for name in ("sha1", "md5"):
        openssl(
            "cms",
            "-sign",
            "-nodetach",
            "-md",
            name,
            "-in",
            document,
            *signer,
            "-outform",
            "DER",
            "-out",
            tmp_path / name,
        )
        assert _failed(tmp_path / name, trust=trust) == {
            "digest-algorithm": f"{name} is not accepted",
            "signature": "not checked",
        }


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "ed25519"])
def test_another_content_fails(pki, document, tmp_path, sign_cms, algorithm) -> None:
    """Detached: the digest of the file differs; everything else is still good and told."""
    message = sign_cms(document, tmp_path / "m", algorithm, detached=True)
    document.write_bytes(document.read_bytes()[:-1])
    failed = _failed(message, trust=pki.trust, content=document)
    assert failed == {"message-digest": "the content is not the one that was signed"}


def test_every_fault_is_listed(pki, document, tmp_path, sign_cms) -> None:
    """Content, trust and validity wrong at once: three checks fail, not the first alone."""
    message = sign_cms(document, tmp_path / "m", detached=True)
    document.write_bytes(b"other")
    later = pki.issuing.not_valid_after_utc + timedelta(days=1)
    failed = _failed(message, trust=Trust((), at=later), content=document)
    assert {"message-digest", "path", "validity"} <= failed.keys()


def test_the_content_appears_only_when_it_is_good(pki, document, tmp_path, sign_cms) -> None:
    """A forged content is never shown, an older file of that name stays."""
    message, output = sign_cms(document, tmp_path / "m"), tmp_path / "out"
    output.write_bytes(b"old")
    data = bytearray(message.read_bytes())
    data[5000] ^= 1
    message.write_bytes(data)
    assert "message-digest" in _failed(message, trust=pki.trust, extract_to=output)
    assert output.read_bytes() == b"old"
    assert _names(tmp_path) == ["document.bin", "m", "out"]


def test_content_and_message_must_fit_together(pki, document, tmp_path, sign_cms) -> None:
    """A detached signature needs the file, an enveloping one has it, and neither is guessed."""
    enveloping, detached = sign_cms(document, tmp_path / "e"), sign_cms(document, tmp_path / "d", detached=True)
    with pytest.raises(InputRequired):
        verify_cms(detached, trust=pki.trust)
    with pytest.raises(Usage):
        verify_cms(enveloping, trust=pki.trust, content=document)
    with pytest.raises(Usage):
        verify_cms(detached, trust=pki.trust, content=document, extract_to=tmp_path / "out")


def test_a_message_may_come_through_a_pipe(pki, document, sign_cms) -> None:
    """As a stream, DER or PEM."""
    for pem in (False, True):
        stream = io.BytesIO()
        sign_cms(document, stream, pem=pem)
        assert verify_cms(io.BytesIO(stream.getvalue()), trust=pki.trust).valid


def test_revocation_is_found_in_the_lists_given(pki, document, tmp_path, sign_cms) -> None:
    """Good, revoked, suspended; unknown is a fault only when asked for."""
    message, subscriber = sign_cms(document, tmp_path / "m"), pki.subscriber("ec-p256")
    hold = pki.crl_der(subscriber.certificate_der, x509.ReasonFlags.certificate_hold)
    assert verify_cms(message, trust=replace(pki.trust, crls_der=(pki.crl_der(),))).valid
    for crl, state in ((pki.crl_der(subscriber.certificate_der), "revoked"), (hold, "suspended")):
        assert _failed(message, trust=replace(pki.trust, crls_der=(crl,))) == {"revocation": state}
    assert _failed(message, trust=replace(pki.trust, require_revocation=True)) == {"revocation": "unknown"}


def test_a_list_inside_the_message_counts(pki, openssl, document, tmp_path, sign_cms) -> None:
    """openssl can add a CRL to a message; the signer it revokes is revoked."""
    message, subscriber = sign_cms(document, tmp_path / "m"), pki.subscriber("ec-p256")
    fields = _signed_data(message)
    fields.insert(4, tlv(0xA1, pki.crl_der(subscriber.certificate_der)))
    _write(message, fields)
    assert _failed(message, trust=pki.trust) == {"revocation": "revoked"}


def test_a_missing_certificate_is_said(pki, openssl, document, tmp_path) -> None:
    """``-nocerts``: it may be given beside; without it the checks that need it fail."""
    subscriber, message = pki.subscriber("ec-p256"), tmp_path / "m"
    signer = ("-signer", subscriber.certificate_file, "-inkey", subscriber.key_file)
    openssl("cms", "-sign", "-nocerts", "-nodetach", "-in", document, *signer, "-outform", "DER", "-out", message)
    assert _failed(message, trust=pki.trust).keys() == {"certificate", "signature"}
    beside = replace(pki.trust, intermediates_der=(*pki.chain_der, subscriber.certificate_der))
    assert verify_cms(message, trust=beside).valid


def test_a_message_without_signers_is_not_signed(pki, openssl, tmp_path) -> None:
    """A bag of certificates has the form of SignedData and vouches for nothing."""
    bag = tmp_path / "bag"
    openssl("crl2pkcs7", "-nocrl", "-certfile", pki.root_file, "-outform", "DER", "-out", bag)
    (tmp_path / "content").write_bytes(b"")
    assert _failed(bag, trust=pki.trust, content=tmp_path / "content") == {"signature": "nobody signed it"}


# --- attributes, made by hand -------------------------------------------------------------------------------------


def _signed_data(message: Path) -> list[bytes]:
    outer = children(parse(message.read_bytes()))
    return [field.der for field in children(children(outer[1])[0])]


def _write(message: Path, fields: list[bytes]) -> None:
    message.write_bytes(tlv(SEQUENCE, oids.SIGNED_DATA, tlv(0xA0, tlv(SEQUENCE, *fields))))


def _message(pki, tmp_path: Path, change, *, content: bytes = b"content", sent=None, scheme=None) -> Path:
    """A message whose list of attributes went through ``change`` before it was signed, and ``sent`` after."""
    import hashlib

    subscriber = pki.subscriber("ec-p256")
    scheme = scheme or Scheme("ecdsa", "sha256")
    seal = Seal(
        subscriber.certificate_der, pki.chain_der, scheme, pki.issuing.not_valid_before_utc + timedelta(hours=25)
    )
    plain = seal.attributes(hashlib.sha256(content).digest())
    signed = change([field.der for field in children(parse(plain))])
    attributes = set_of(*signed)
    signature = subscriber.signer.sign_digest(hashlib.sha256(attributes).digest(), "sha256", "ecdsa")
    trailer = seal.trailer(tlv(SET, *(sent(sorted(signed)) if sent else sorted(signed))), signature)
    path = tmp_path / "m"
    path.write_bytes(definite_opening(seal.digest_algorithms, len(content), len(trailer)) + content + trailer)
    return path


def _without(identifier: bytes):
    return lambda fields: [field for field in fields if identifier not in field]


def test_attributes_made_by_hand_are_good(pki, tmp_path) -> None:
    """The tests below change one thing each; this one changes none."""
    assert verify_cms(_message(pki, tmp_path, list), trust=pki.trust).valid


def test_attributes_sent_in_another_order_are_sorted_first(pki, tmp_path) -> None:
    """What is signed is the DER of the set (RFC 5652 section 5.4), whatever order it was sent in."""
    message = _message(pki, tmp_path, list, sent=lambda fields: fields[::-1])
    assert verify_cms(message, trust=pki.trust).valid


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        (_without(oids.MESSAGE_DIGEST), {"message-digest"}),
        (_without(oids.CONTENT_TYPE), {"content-type"}),
        (lambda fields: [], {"message-digest", "content-type"}),
        (lambda fields: [*fields, fields[0]], {"signed-attributes", "content-type"}),
        (
            lambda fields: [*fields, _attribute(oids.MESSAGE_DIGEST, tlv(OCTET_STRING, bytes(32)))],
            {"signed-attributes", "message-digest"},
        ),
        (
            lambda fields: [
                *_without(oids.MESSAGE_DIGEST)(fields),
                tlv(SEQUENCE, oids.MESSAGE_DIGEST, set_of(tlv(OCTET_STRING, bytes(32)), tlv(OCTET_STRING, bytes(31)))),
            ],
            {"signed-attributes", "message-digest"},
        ),
        (
            lambda fields: [*_without(oids.CONTENT_TYPE)(fields), _attribute(oids.CONTENT_TYPE, oids.SIGNED_DATA)],
            {"content-type"},
        ),
        (
            lambda fields: [*_without(oids.SIGNING_TIME)(fields), _attribute(oids.SIGNING_TIME, tlv(0x17, b"2026"))],
            {"signing-time"},
        ),
        (
            lambda fields: [
                *_without(oids.SIGNING_CERTIFICATE_V2)(fields),
                _attribute(oids.SIGNING_CERTIFICATE_V2, tlv(SEQUENCE)),
            ],
            {"signing-certificate"},
        ),
        (
            lambda fields: [
                *_without(oids.SIGNING_CERTIFICATE_V2)(fields),
                _attribute(
                    oids.SIGNING_CERTIFICATE_V2,
                    tlv(SEQUENCE, tlv(SEQUENCE, tlv(SEQUENCE, tlv(OCTET_STRING, bytes(32))))),
                ),
            ],
            {"signing-certificate"},
        ),
    ],
)
def test_attributes_that_are_not_right(pki, tmp_path, change, failed) -> None:
    """Missing, double, with two values, of the wrong kind: each is named, though the signature itself is good."""
    found = _failed(_message(pki, tmp_path, change), trust=pki.trust)
    assert failed <= found.keys() <= failed | {"signed-attributes"}


def test_attributes_passed_off_as_content_are_refused(pki, tmp_path) -> None:
    """Signed attributes moved into the content verify as a signature over that content; they are recognised."""
    source = _message(pki, tmp_path, list)
    fields = _signed_data(source)
    signer = children(children(parse(fields[-1]))[0])
    attributes = b"\x31" + signer[3].der[1:]
    del signer[3]
    info = set_of(tlv(SEQUENCE, *(field.der for field in signer)))
    trailer = fields[3] + info
    source.write_bytes(definite_opening(fields[1], len(attributes), len(trailer)) + attributes + trailer)
    assert _failed(source, trust=pki.trust) == {"signed-attributes": "they stand in place of the content"}


def test_a_hash_and_a_signature_that_disagree_are_refused(pki, tmp_path) -> None:
    """ecdsa-with-SHA512 beside a SHA-256 digest."""
    message = _message(pki, tmp_path, list)
    data = message.read_bytes()
    ours, theirs = signature_identifier(Scheme("ecdsa", "sha256")), signature_identifier(Scheme("ecdsa", "sha512"))
    at = data.rindex(ours)
    message.write_bytes(data[:at] + theirs + data[at + len(ours) :])
    assert "signature-algorithm" in _failed(message, trust=pki.trust)


def test_a_hash_not_announced_cannot_be_compared(pki, tmp_path) -> None:
    """The digest algorithms at the head do not name the signer's: the content was not hashed by it."""
    message = _message(pki, tmp_path, list)
    data = message.read_bytes()
    head, other = set_of(digest_identifier("sha256")), set_of(digest_identifier("sha384"))
    message.write_bytes(data.replace(head, other, 1))
    assert "message-digest" in _failed(message, trust=pki.trust)


def test_a_key_too_weak_is_refused(pki, openssl, document, tmp_path) -> None:
    """RSA of 1024 bits."""
    key, certificate, message = tmp_path / "k", tmp_path / "c", tmp_path / "m"
    openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", key, "-out", certificate, "-subj", "/CN=Weak")
    openssl(
        "cms",
        "-sign",
        "-nodetach",
        "-in",
        document,
        "-signer",
        certificate,
        "-inkey",
        key,
        "-outform",
        "DER",
        "-out",
        message,
    )
    der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER)
    assert "certificate" in _failed(message, trust=Trust((der,)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\x30",
        b"\x30\x00",
        b"\x30\x80\x00\x00",
        b"hello",
        b"-----BEGIN CMS-----\n",
        b"-----BEGIN CMS-----\nMA==\n",
        b"-----BEGIN CMS-----\nMA=\n-----END CMS-----\n",
        b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CMS-----\nMAA=\n-----END PKCS7-----\n",
        b"MIME-Version: 1.0\n",
        tlv(SEQUENCE, oids.DATA, tlv(0xA0, tlv(OCTET_STRING, b"x"))),
        tlv(SEQUENCE, oids.SIGNED_DATA, tlv(0xA0, tlv(SEQUENCE, integer(9)))),
    ],
)
def test_what_is_no_message_is_malformed(pki, tmp_path, data) -> None:
    """Empty, cut off, another kind of thing, damaged PEM."""
    (tmp_path / "m").write_bytes(data)
    with pytest.raises(FileMalformed):
        verify_cms(tmp_path / "m", trust=pki.trust)


def test_bytes_after_the_message_are_not_overlooked(pki, document, tmp_path, sign_cms) -> None:
    """Something that hides behind a signature is not signed."""
    message = sign_cms(document, tmp_path / "m")
    message.write_bytes(message.read_bytes() + b"\n")
    with pytest.raises(FileMalformed, match="after the end"):
        verify_cms(message, trust=pki.trust)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
