"""Shared secrets and proofs of possession: the right ones pass, everything else is refused with the right failInfo."""

import subprocess
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.asn1 import BitString
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from dojang.cmp.crmf import SIGNATURE, CertificateTemplate, RequestMessage, build_request, extension_der, read_request
from dojang.cmp.faults import CmpFault, FailInfo
from dojang.cmp.macs import MOST_ITERATIONS, PBM, PBMAC1, Mac, new_pbm, new_pbmac1
from dojang.cmp.names import directory_name_der
from dojang.cmp.proof import request_from_crmf, verify_proof
from dojang.cmp.schema import (
    Algorithm,
    PasswordBasedMac,
    Pbkdf2,
    Pbmac1,
    PublicKeyMac,
    SigningKeyInput,
    SigningKeyProof,
    decode,
    encode,
    tlv_of,
    typed,
    value_of,
)
from dojang.cmp.signatures import sign, verify
from dojang.der import NULL, oid, tlv
from dojang.secret import Secret
from dojang.x509.alternative_names import format_alternative_names
from dojang.x509.keys import same_key
from dojang.x509.name import format_name, parse_name

SECRET = Secret("0123456789ABCDEF")
KEYS = {
    "rsa-2048": rsa.generate_private_key(65537, 2048),
    "ec-p256": ec.generate_private_key(ec.SECP256R1()),
    "ec-p384": ec.generate_private_key(ec.SECP384R1()),
    "ec-p521": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ed448": ed448.Ed448PrivateKey.generate(),
}
KEY = KEYS["ec-p256"]
SUBJECT = parse_name("CN=홍길동,C=KR")
SHA1, SHA256, MD5 = "1.3.14.3.2.26", "2.16.840.1.101.3.4.2.1", "1.2.840.113549.2.5"
HMAC_SHA1, HMAC_SHA256, HMAC_MD5 = "1.3.6.1.5.5.8.1.2", "1.2.840.113549.2.9", "1.3.6.1.5.5.8.1.1"


def pbm(*, owf: str = SHA256, iterations: int = 500, mac: str = HMAC_SHA1, salt: bytes = b"s" * 16) -> Algorithm:
    parameters = PasswordBasedMac(salt=salt, owf=typed(oid(owf)), iterations=iterations, mac=typed(oid(mac)))
    return typed(oid(PBM), encode(parameters))


def pbmac1(*, iterations: int = 1000, mac: str = HMAC_SHA256, length: int | None = 32) -> Algorithm:
    prf = typed(oid(HMAC_SHA256), tlv(NULL))
    derivation = Pbkdf2(salt=b"salt", iterations=iterations, key_length=length, prf=prf)
    inner = typed(oid("1.2.840.113549.1.5.12"), encode(derivation))
    return typed(oid(PBMAC1), encode(Pbmac1(derivation=inner, mac=typed(oid(mac)))))


def failure_of(check: object, *arguments: object, **named: object) -> FailInfo:
    assert callable(check)
    with pytest.raises(CmpFault) as refused:
        check(*arguments, **named)
    return refused.value.failure


@pytest.mark.parametrize("algorithm", [pbm(), pbm(owf=SHA1, mac=HMAC_SHA256), pbmac1(), new_pbm(), new_pbmac1()])
def test_a_mac_holds_for_one_secret_and_these_bytes(algorithm: Algorithm) -> None:
    """Made and checked; another secret or other bytes are a badMessageCheck."""
    made = Mac(SECRET, algorithm).protect(b"message")
    Mac(SECRET, algorithm).verify(made, b"message")
    assert failure_of(Mac(Secret("0123456789ABCDEG"), algorithm).verify, made, b"message") is FailInfo.BAD_MESSAGE_CHECK
    for wrong in (made[:-1], b"", made + b"\0"):
        assert failure_of(Mac(SECRET, algorithm).verify, wrong, b"message") is FailInfo.BAD_MESSAGE_CHECK
    assert failure_of(Mac(SECRET, algorithm).verify, made, b"massage") is FailInfo.BAD_MESSAGE_CHECK


def test_pbmac1_is_what_openssl_computes() -> None:
    """OpenSSL derives the same key by PBKDF2 and makes the same HMAC with it."""
    options = ("digest:SHA256", f"hexpass:{SECRET.reveal().hex()}", "salt:salt", "iter:1000")
    arguments = [part for option in options for part in ("-kdfopt", option)]
    derived = subprocess.run(
        ["openssl", "kdf", "-keylen", "32", *arguments, "PBKDF2"], check=True, capture_output=True, text=True
    )
    key = derived.stdout.strip().replace(":", "")
    made = subprocess.run(
        ["openssl", "mac", "-digest", "SHA256", "-macopt", f"hexkey:{key}", "HMAC"],
        input=b"message",
        check=True,
        capture_output=True,
    )
    assert Mac(SECRET, pbmac1()).protect(b"message").hex().upper() == made.stdout.decode().strip()


@pytest.mark.parametrize(
    "algorithm",
    [
        pbm(iterations=MOST_ITERATIONS + 1),
        pbm(iterations=2**200),
        pbm(iterations=99),
        pbm(iterations=-1),
        pbm(owf=MD5),
        pbm(mac=HMAC_MD5),
        pbm(salt=bytes(2000)),
        pbmac1(iterations=MOST_ITERATIONS + 1),
        pbmac1(iterations=0),
        pbmac1(length=65),
        pbmac1(mac=HMAC_MD5),
        typed(oid("1.2.840.113533.7.66.30"), tlv(NULL)),
        typed(oid(PBM)),
    ],
)
def test_an_unknown_or_greedy_mac_is_a_bad_algorithm(algorithm: Algorithm) -> None:
    """Iterations beyond the cap, unknown hashes, Diffie-Hellman, no parameters: badAlg before anything is computed."""
    assert failure_of(Mac, SECRET, algorithm) is FailInfo.BAD_ALG


def test_a_mac_with_unreadable_parameters_is_bad_data() -> None:
    """Parameters that are no PBMParameter."""
    assert failure_of(Mac, SECRET, typed(oid(PBM), tlv(NULL))) is FailInfo.BAD_DATA_FORMAT


def test_a_lower_cap_can_be_set() -> None:
    """What an authority's settings allow is what counts."""
    assert failure_of(Mac, SECRET, pbm(iterations=500), most_iterations=499) is FailInfo.BAD_ALG


def test_nothing_shows_the_secret() -> None:
    """Neither the MAC nor a fault has it in its words."""
    assert "0123456789ABCDEF" not in repr(Mac(SECRET, pbm()))


@pytest.mark.parametrize("kind", KEYS)
def test_the_key_of_a_request_is_proved(kind: str) -> None:
    """A request by every kind of key is read again as it was made, with what it asks for."""
    names = extension_der(x509.SubjectAlternativeName([x509.DNSName("www.example.kr")]))
    made = build_request(KEYS[kind], CertificateTemplate(subject=SUBJECT, extensions_der=(names,)))
    der = made.to_der()
    assert read_request(der) == made
    asked = request_from_crmf(der)
    assert format_name(asked.subject) == "CN=홍길동,C=KR"
    assert same_key(asked.public_key, KEYS[kind].public_key())
    assert format_alternative_names(asked.alternative_names) == ("dns:www.example.kr",)


def bound(request: RequestMessage, *, who: bytes, key_der: bytes | None = None) -> RequestMessage:
    """The request with a POPOSigningKeyInput as its proof, as Korean clients send it."""
    key = tlv_of(key_der or request.template.public_key_der or b"")
    signed = encode(SigningKeyInput(who=tlv_of(who), public_key=key))
    algorithm, signature = sign(KEY, signed)
    input_parts = list(map(tlv_of, (who, key_der or request.template.public_key_der or b"")))
    proof = SigningKeyProof(signed=input_parts, algorithm=algorithm, signature=BitString(signature, 0))
    return replace(request, proof_der=bytes((SIGNATURE,)) + encode(proof)[1:])


def test_a_proof_can_be_bound_to_the_secret() -> None:
    """publicKeyMAC: the key's MAC under the code. With another code, or about another key, it is a badPOP."""
    request = build_request(KEY, CertificateTemplate(subject=SUBJECT))
    key_der = request.template.public_key_der or b""
    algorithm = pbm(owf=SHA1, iterations=1024)
    mac = BitString(Mac(SECRET, algorithm).protect(key_der), 0)
    sent = read_request(bound(request, who=encode(PublicKeyMac(algorithm=algorithm, value=mac))).to_der())
    verify_proof(sent, secret=SECRET)
    verify_proof(sent)
    assert failure_of(verify_proof, sent, secret=Secret("another")) is FailInfo.BAD_POP
    another = build_request(KEYS["ec-p384"], CertificateTemplate()).template.public_key_der
    moved = bound(request, who=encode(PublicKeyMac(algorithm=algorithm, value=mac)), key_der=another)
    assert failure_of(verify_proof, moved, secret=SECRET) is FailInfo.BAD_POP


def test_a_proof_can_be_bound_to_the_sender() -> None:
    """The sender in the proof is the sender of the message."""
    name = directory_name_der(SUBJECT)
    sent = bound(build_request(KEY, CertificateTemplate(subject=SUBJECT)), who=tlv(0xA0, name))
    verify_proof(sent, sender_der=name)
    other = directory_name_der(parse_name("CN=Another"))
    assert failure_of(verify_proof, sent, sender_der=other) is FailInfo.BAD_POP


@pytest.mark.parametrize(
    ("proof", "failure"),
    [
        (None, FailInfo.BAD_POP),
        (b"\x80\x00", FailInfo.BAD_POP),
        (b"\xa2\x02\x30\x00", FailInfo.BAD_POP),
        (b"\xa3\x02\x30\x00", FailInfo.BAD_POP),
        (b"\xa1\x02\x30\x00", FailInfo.BAD_DATA_FORMAT),
    ],
)
def test_a_key_that_is_not_proved_is_refused(proof: bytes | None, failure: FailInfo) -> None:
    """No proof, raVerified, or proofs for keys that do not sign."""
    request = replace(build_request(KEY, CertificateTemplate(subject=SUBJECT)), proof_der=proof)
    assert failure_of(verify_proof, request) is failure


def test_the_proof_of_another_key_or_request_is_refused() -> None:
    """The signature has to be the key's own, over this very request, by an algorithm that is not broken."""
    request = build_request(KEY, CertificateTemplate(subject=SUBJECT))
    other = build_request(ec.generate_private_key(ec.SECP256R1()), CertificateTemplate(subject=SUBJECT))
    assert failure_of(verify_proof, replace(request, proof_der=other.proof_der)) is FailInfo.BAD_POP
    rsa_request = build_request(KEYS["rsa-2048"], CertificateTemplate())
    assert failure_of(verify_proof, replace(request, proof_der=rsa_request.proof_der)) is FailInfo.BAD_ALG
    sha1 = (rsa_request.proof_der or b"").replace(oid("1.2.840.113549.1.1.11"), oid("1.2.840.113549.1.1.5"))
    assert failure_of(verify_proof, replace(rsa_request, proof_der=sha1)) is FailInfo.BAD_ALG


@pytest.mark.parametrize("key_der", [None, bytes.fromhex("300c300706052b8104000a030100"), b"\x30\x03\x02\x01\x00"])
def test_a_template_without_a_usable_key_is_refused(key_der: bytes | None) -> None:
    """No key, the empty key that asks for one to be made here, and what is no key: badCertTemplate."""
    request = build_request(KEY, CertificateTemplate(subject=SUBJECT))
    without = replace(request, template=replace(request.template, public_key_der=key_der))
    assert failure_of(verify_proof, without) is FailInfo.BAD_CERT_TEMPLATE


def test_a_signature_algorithm_that_is_not_taken_is_called_so() -> None:
    """SHA-1 with its usual NULL, and one that nobody knows: it is the algorithm that is refused, not its parameters."""
    key = rsa.generate_private_key(65537, 2048).public_key()
    for kind in ("1.2.840.113549.1.1.5", "1.2.3.4"):
        with pytest.raises(CmpFault, match="not accepted") as caught:
            verify(key, typed(oid(kind), tlv(NULL)), b"", b"", failure=FailInfo.BAD_MESSAGE_CHECK)
        assert caught.value.failure is FailInfo.BAD_ALG


def test_the_salt_is_fresh_each_time() -> None:
    """Two MACs that we begin have different salts of sixteen bytes."""
    one, other = (decode(PasswordBasedMac, value_of(new_pbm()) or b"").salt for _ in range(2))
    assert one != other
    assert len(one) == 16
