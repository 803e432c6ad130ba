"""The parts of a CMS SignedData that say who signed what: signed attributes, SignerInfo, certificates (RFC 5652)."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from dojang.der import GENERALIZED_TIME, OCTET_STRING, SEQUENCE, SET, UTC_TIME, integer, set_of, tlv
from dojang.signing import oids
from dojang.signing.algorithms import digest_identifier, signature_identifier
from dojang.signing.certificate import CertificateIdentity, identify
from dojang.signing.digest import Scheme

_LAST_UTC_TIME_YEAR = 2049
_LONGEST_ECDSA = {"ec-p256": 72, "ec-p384": 104, "ec-p521": 139}


@dataclass(frozen=True, slots=True)
class Seal:
    """Everything about one signature but the digest and the signature itself."""

    certificate_der: bytes
    chain_der: tuple[bytes, ...]
    scheme: Scheme
    signed_at: datetime
    kind: bytes = oids.DATA
    """What the content is: the DER of an OBJECT IDENTIFIER."""

    @property
    def digest_algorithms(self) -> bytes:
        """The SET of the one hash used."""
        return set_of(digest_identifier(self.scheme.hash_name))

    def attributes(self, digest: bytes) -> bytes:
        """The signed attributes as the DER SET OF that is signed (RFC 5652 section 5.4, RFC 5035)."""
        identity = identify(self.certificate_der)
        return set_of(
            _attribute(oids.CONTENT_TYPE, self.kind),
            _attribute(oids.MESSAGE_DIGEST, tlv(OCTET_STRING, digest)),
            _attribute(oids.SIGNING_TIME, _time(self.signed_at)),
            _attribute(oids.SIGNING_CERTIFICATE_V2, _signing_certificate(self.certificate_der, identity)),
        )

    def trailer(self, attributes: bytes, signature: bytes) -> bytes:
        """What follows the content: certificates, then the set of the one SignerInfo."""
        certificates = set_of(*{self.certificate_der, *self.chain_der}, tag=0xA0)
        return certificates + set_of(self._signer_info(attributes, signature))

    def longest_trailer(self, signature_length: int) -> int:
        """The length of the trailer around a signature of that length; digest and time always take the same room."""
        digest = bytes(hashlib.new(self.scheme.hash_name).digest_size)
        return len(self.trailer(self.attributes(digest), bytes(signature_length)))

    def _signer_info(self, attributes: bytes, signature: bytes) -> bytes:
        identity = identify(self.certificate_der)
        return tlv(
            SEQUENCE,
            integer(1),
            tlv(SEQUENCE, identity.issuer_der, identity.serial_der),
            digest_identifier(self.scheme.hash_name),
            b"\xa0" + attributes[1:],
            signature_identifier(self.scheme),
            tlv(OCTET_STRING, signature),
        )


def signature_length(key_algorithm: str) -> tuple[int, bool]:
    """How long a signature by this key gets at most, and whether it always is that long."""
    if key_algorithm in _LONGEST_ECDSA:
        return _LONGEST_ECDSA[key_algorithm], False
    if key_algorithm == "ed25519":
        return 64, True
    return (int(key_algorithm.removeprefix("rsa-")) + 7) // 8, True


def _attribute(identifier: bytes, value: bytes) -> bytes:
    return tlv(SEQUENCE, identifier, tlv(SET, value))


def _time(moment: datetime) -> bytes:
    text = moment.astimezone(UTC).strftime("%Y%m%d%H%M%SZ")
    if moment.astimezone(UTC).year > _LAST_UTC_TIME_YEAR:
        return tlv(GENERALIZED_TIME, text.encode())
    return tlv(UTC_TIME, text[2:].encode())


def _signing_certificate(certificate_der: bytes, identity: CertificateIdentity) -> bytes:
    # The hash is SHA-256, which DER leaves out as the default (RFC 5035 section 4).
    fingerprint = tlv(OCTET_STRING, hashlib.sha256(certificate_der).digest())
    general_names = tlv(SEQUENCE, tlv(0xA4, identity.issuer_der))
    issuer_serial = tlv(SEQUENCE, general_names, identity.serial_der)
    return tlv(SEQUENCE, tlv(SEQUENCE, tlv(SEQUENCE, fingerprint, issuer_serial)))
