"""A certificate authority to throw away: its key is in memory, its records are in a folder, and it issues at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

if TYPE_CHECKING:
    from dojang.authority.local import LocalAuthority

NAME: Final = "throw-away"
SUBJECT: Final = "CN=Throw-away root,O=dojang testing,C=KR"
PROFILE: Final = "personal"
_AGE: Final = timedelta(days=4 * 365)


class ThrowAwayAuthority:
    """A root that certifies what it is asked to. Get it from ``throw_away_authority()``.

    It is four years old, so that it can issue certificates that have expired. ``certificate_file`` (PEM) is what others
    trust, ``crl_file`` (DER) its revocation list.
    """

    def __init__(self, folder: Path) -> None:
        """Found it in ``folder``, which is its own."""
        from cryptography.hazmat.primitives.asymmetric import ec

        from dojang.authority.founding import create_authority
        from dojang.x509.name import parse_name

        self._at: datetime | None = _now() - _AGE
        self._local: LocalAuthority = create_authority(
            folder,
            name=NAME,
            subject=parse_name(SUBJECT),
            key=ec.generate_private_key(ec.SECP256R1()),
            key_address="memory",
            clock=lambda: self._at or _now(),
        )
        self._at = None
        self._local.watches_clock = False  # certificates of the past are what it is for
        self.crl_file = self._local.publish_crl()
        self.certificate_der = self._local.certificate_der()
        self.certificate_pem = pem_of(self.certificate_der)
        self.certificate_file = folder / "root.pem"
        self.certificate_file.write_text(self.certificate_pem)

    def issue(self, request_der: bytes, *, profile: str = PROFILE, at: datetime | None = None) -> bytes:
        """The certificate (DER) for a PKCS#10 request, as if issued ``at`` that moment; now, unless said.

        ``profile`` is one of ``dojang ca profiles``; ``personal`` is for signing and lasts a year.
        """
        from dojang.authority.base import Submission

        transaction = uuid4().hex
        self._at = at
        try:
            issued = self._local.submit(Submission("issue", request_der, profile, transaction))
            self._local.confirm(transaction)
        finally:
            self._at = None
        return issued.certificate_der

    def revoke(self, certificate_der: bytes, reason: str = "key-compromise") -> Path:
        """Revoke it and publish the list; returns ``crl_file``."""
        from cryptography import x509

        serial = x509.load_der_x509_certificate(certificate_der).serial_number
        self._local.revoke(f"{serial:x}", reason)
        return self.crl_file

    def close(self) -> None:
        self._local.close()


@contextmanager
def throw_away_authority(folder: Path) -> Iterator[ThrowAwayAuthority]:
    """An authority with its files in ``folder``."""
    authority = ThrowAwayAuthority(folder)
    try:
        yield authority
    finally:
        authority.close()


def pem_of(certificate_der: bytes) -> str:
    """The certificate as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_der_x509_certificate(certificate_der).public_bytes(Encoding.PEM).decode()


def _now() -> datetime:
    return datetime.now(UTC)
