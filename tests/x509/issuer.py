"""An authority in memory with everything that real certificates name: lists, responders, policies, a VID."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
CA = [
    (x509.BasicConstraints(ca=True, path_length=None), True),
    (x509.KeyUsage(**{name: name in ("key_cert_sign", "crl_sign") for name in USAGES}), True),
]
SIGNING = (x509.KeyUsage(**{name: name in ("digital_signature", "content_commitment") for name in USAGES}), True)
ANSWERING = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)
GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def addresses(*, ocsp_at: str | None = None, list_at: str | None = None) -> list[tuple[x509.ExtensionType, bool]]:
    """The extensions that name a responder and a list."""
    found: list[tuple[x509.ExtensionType, bool]] = []
    if ocsp_at:
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp_at))
        found.append((x509.AuthorityInformationAccess([access]), False))
    if list_at:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(list_at)], None, None, None)
        found.append((x509.CRLDistributionPoints([point]), False))
    return found


def policies(*oids: str) -> tuple[x509.ExtensionType, bool]:
    return x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(one), None) for one in oids]), True


@dataclass
class Issuer:
    """A root unless ``above`` is given; its certificate and key are those that sign."""

    common_name: str = "Elsewhere CA"
    above: "Issuer | None" = None
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        extensions = [*CA, policies("2.5.29.32.0")]
        signer = self.above or self
        self.certificate = signer.sign(self.key.public_key(), self.common_name, extensions, start=now() - 400 * DAY)

    @property
    def der(self) -> bytes:
        return der(self.certificate)

    def sign(
        self,
        public_key: Any,
        common_name: str = "Hong",
        extensions: Any = (SIGNING,),
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> x509.Certificate:
        """A certificate; it began an hour ago and lasts 90 days unless said."""
        issuer = self.certificate.subject if hasattr(self, "certificate") else name(self.common_name)
        term = (start or now() - HOUR, end or now() + 90 * DAY)
        builder = x509.CertificateBuilder(issuer, name(common_name), public_key, x509.random_serial_number(), *term)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def crl(
        self, *revoked: tuple[x509.Certificate, str], start: datetime | None = None, end: datetime | None = None
    ) -> bytes:
        """A list in DER: certificates with the reasons why they stand in it."""
        begin = start or now() - HOUR
        builder = x509.CertificateRevocationListBuilder(self.certificate.subject, begin, end or begin + 7 * DAY)
        for certificate, reason in revoked:
            entry = x509.RevokedCertificateBuilder(certificate.serial_number, begin - HOUR)
            entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags(reason)), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def delegate(self, extensions: Any = (ANSWERING,), **options: Any) -> "Responder":
        """Somebody whom this authority certified for answering."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Responder(self, key, self.sign(key.public_key(), "Responder", extensions, **options))

    def responder(self) -> "Responder":
        return Responder(self, self.key, self.certificate)


@dataclass
class Responder:
    """Answers for ``issuer`` with its own key."""

    issuer: Issuer
    key: Any
    certificate: x509.Certificate

    def answer(
        self,
        certificate: x509.Certificate,
        nonce: bytes | None,
        status: ocsp.OCSPCertStatus = GOOD,
        *,
        reason: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        issuer: x509.Certificate | None = None,
        encoding: ocsp.OCSPResponderEncoding = ocsp.OCSPResponderEncoding.NAME,
        extensions: Any = (),
    ) -> bytes:
        """One answer in DER, as this responder would give it."""
        begin = start or now()
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=certificate,
            issuer=issuer or self.issuer.certificate,
            algorithm=hashes.SHA1(),
            cert_status=status,
            this_update=begin,
            next_update=end,
            revocation_time=begin - HOUR if status is REVOKED else None,
            revocation_reason=x509.ReasonFlags(reason) if reason else None,
        )
        builder = builder.responder_id(encoding, self.certificate)
        if self.certificate != self.issuer.certificate:
            builder = builder.certificates([self.certificate])
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def reply(self, request_der: bytes, certificate: x509.Certificate, status: Any = GOOD, **options: Any) -> bytes:
        """An answer to a request, with its nonce."""
        request = ocsp.load_der_ocsp_request(request_der)
        assert request.serial_number == certificate.serial_number
        nonce = request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        return self.answer(certificate, nonce, status, **options)
