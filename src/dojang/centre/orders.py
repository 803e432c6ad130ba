"""An officer's order: what is to be done at which authority, signed by the key of his certificate (CMS, RFC 5652).

    {"schema": 2, "authority": "office", "certificate": "<SHA-256, hex>", "method": "certificate.revoke",
     "arguments": {…}, "at": "…Z", "id": "…"}

The content is of a kind of its own, ``CONTENT_TYPE``: no signature over plain data passes for an order. ``certificate``
is that of the authority itself, whatever others are called as it is. ``id`` is of 128 random bits, ``at`` the moment of
signing. ``read_order`` proves the signature and nothing else: whose certificate it is, whether the order is fresh, and
that it was not carried out before, is for who receives it.
"""

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from dojang.der import oid
from dojang.errors import FileMalformed, Phrase
from dojang.signing.ber import BerReader, ByteWindow
from dojang.signing.cms import CmsOptions, sign_file
from dojang.signing.cms_reader import read_signed_message
from dojang.signing.source import open_source
from dojang.signing.verification import Trust
from dojang.signing.verify import verify_cms

if TYPE_CHECKING:
    from dojang.signing.digest import DigestSigner
    from dojang.x509.path import Check

MEDIA_TYPE: Final = "application/vnd.dojang.order"
CONTENT_TYPE: Final = "1.3.6.1.4.1.32473.410.4.1"
SCHEMA: Final = 2
_FIELDS: Final = {"schema", "authority", "certificate", "method", "arguments", "at", "id"}
_OLDER: Final = Phrase("it has the form of another version; have it signed anew by the dojang that is used here")
_MOMENT: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """An order whose signature verifies with the key of ``certificate_der``; ``der`` is all of it, as evidence.

    ``fingerprint`` is that of the certificate of the authority that is meant.
    """

    authority: str
    fingerprint: str
    method: str
    arguments: Mapping[str, Any]
    at: datetime
    id: str
    certificate_der: bytes
    der: bytes


def fingerprint_of(certificate_der: bytes) -> str:
    """By what an order names the certificate of its authority."""
    return hashlib.sha256(certificate_der).hexdigest()


def sign_order(
    authority: str,
    authority_der: bytes,
    method: str,
    arguments: Mapping[str, Any],
    signer: "DigestSigner",
    certificate_der: bytes,
    *,
    at: datetime,
) -> bytes:
    """A new order in DER. Raises ``CertificateUnusable`` for a certificate that is not the key's, or not valid now."""
    content = {
        "schema": SCHEMA,
        "authority": authority,
        "certificate": fingerprint_of(authority_der),
        "method": method,
        "arguments": dict(arguments),
        "at": at.astimezone(UTC).strftime(_MOMENT),
        "id": token_hex(16),
    }
    signed = io.BytesIO()
    options = CmsOptions(certificate_der, signed_at=at, content_type=CONTENT_TYPE)
    sign_file(io.BytesIO(json.dumps(content).encode()), signed, signer, options)
    return signed.getvalue()


def read_order(der: bytes) -> SignedOrder:
    """The order and the certificate it is signed with. Raises ``FileMalformed`` and ``VerificationFailed``."""
    verified = verify_cms(io.BytesIO(der), trust=_NoTrust(()))
    (signer, *others) = verified.signers
    if others or signer.certificate_der is None:
        raise _malformed(Phrase("it is signed by more than one"))
    fields = _fields(_content(der))
    return SignedOrder(
        authority=fields["authority"],
        fingerprint=fields["certificate"],
        method=fields["method"],
        arguments=fields["arguments"],
        at=_moment(fields["at"]),
        id=fields["id"],
        certificate_der=signer.certificate_der,
        der=der,
    )


class _NoTrust(Trust):
    """Signatures are checked, paths are not: an officer's certificate counts because it is registered."""

    def check(
        self, certificate_der: bytes, sent_der: tuple[bytes, ...] = (), sent_crls_der: tuple[bytes, ...] = ()
    ) -> "tuple[Check, ...]":
        return ()


def _content(der: bytes) -> bytes:
    content = bytearray()
    with open_source(io.BytesIO(der)) as source:
        message = read_signed_message(BerReader(ByteWindow(source)), content.extend)
    if message.content_type != oid(CONTENT_TYPE):
        raise _malformed(_OLDER)
    return bytes(content)


def _fields(content: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _malformed(Phrase("it is not JSON")) from error
    texts = ("authority", "certificate", "method", "at", "id")
    if isinstance(fields, dict) and isinstance(fields.get("schema"), int) and fields["schema"] != SCHEMA:
        raise _malformed(_OLDER)
    if (
        not isinstance(fields, dict)
        or fields.keys() != _FIELDS
        or not isinstance(fields["arguments"], dict)
        or not all(isinstance(fields[name], str) for name in texts)
        or not re.fullmatch("[0-9a-f]{32}", fields["id"])
    ):
        raise _malformed(Phrase("it has not the fields of an order"))
    return fields


def _moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, _MOMENT).replace(tzinfo=UTC)
    except ValueError as error:
        raise _malformed(Phrase("it has not the fields of an order")) from error


def _malformed(problem: Phrase) -> FileMalformed:
    return FileMalformed(path="-", expected=Phrase("an officer's order"), problem=problem)
