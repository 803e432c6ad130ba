"""A root that comes in the place of another, and why it is believed (RFC 9483 section 4.3.2, RFC 9810 section 4.4)."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cryptography.x509 import NameConstraints

from dojang.cmp.bodies import General, Information, Kind
from dojang.cmp.schema import RootUpdate, decode
from dojang.errors import AuthorityUntrusted, FileMalformed, Phrase
from dojang.x509.keys import spki_of
from dojang.x509.path import check_path, is_signed_by
from dojang.x509.path_checks import extension_of
from dojang.x509.reading import UNREADABLE, read_certificate

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

ROOT_CA_KEY_UPDATE: Final = "1.3.6.1.5.5.7.4.18"
ROOT_CA_CERT: Final = "1.3.6.1.5.5.7.4.20"


def question_about(root_der: bytes) -> General:
    """What came in its place?"""
    return General(Kind.GENM, (Information(ROOT_CA_CERT, root_der),))


def update_in(answer: General) -> RootUpdate | None:
    """``None`` where nothing did, or the authority has no answer to such questions. Raises ``CmpFault``."""
    found = [one.value_der for one in answer.items if one.kind == ROOT_CA_KEY_UPDATE]
    return decode(RootUpdate, found[0]) if found and found[0] else None


def check_update(
    authority: str, root_der: bytes, update: RootUpdate, others_der: Iterable[bytes], at: datetime
) -> bytes:
    """The new root, which has signed itself and which the old one has signed, by itself or by way of roots between them
    whose certificates are among the others; all of them may sign certificates now, and have one name. So neither an
    issuing authority nor the root of others that the old one certified (RFC 9810 section 6.6) can become one.

    Where it came with a certificate for the old one by the new key, that has to be one. Raises ``AuthorityUntrusted``.
    """
    try:
        problem = _problem_with(update, root_der, tuple(others_der), at)
    except (FileMalformed, *UNREADABLE):
        problem = Phrase("a certificate in the answer cannot be decoded")
    if problem is not None:
        raise AuthorityUntrusted(
            authority=authority,
            problem=Phrase("it offers a new root, but {problem}", problem=problem),
            next_step="What was renewed works. Ask the authority for its root by another way: --ca-certificate FILE.",
        )
    return der_of(update.new_with_new)


def _problem_with(update: RootUpdate, root_der: bytes, others_der: tuple[bytes, ...], at: datetime) -> str | None:
    new, by_new, old = update.new_with_new, update.old_with_new, read_certificate(root_der)
    if not is_signed_by(new, new):
        return Phrase("its certificate is not signed by itself")
    if new.subject != old.subject:
        return Phrase("that has another name than the old root")
    if extension_of(old, NameConstraints) is not None:
        return Phrase("the old root constrains names, which is not understood")
    if (problem := _problem_of_path(new, (), der_of(new), at)) is not None:
        return problem
    between = [one for one in map(read_certificate, others_der) if one.subject == one.issuer == old.subject]
    said = between if update.new_with_old is None else [update.new_with_old]
    problems = [_problem_of_path(one, map(der_of, between), root_der, at) for one in said if _is_about(one, new)]
    if None not in problems:
        return next(iter(problems), Phrase("the old root does not vouch for it"))
    if by_new is not None and not (_is_about(by_new, old) and is_signed_by(by_new, new)):
        return Phrase("that vouches for another one than the old")
    return None


def _problem_of_path(
    certificate: "Certificate", others_der: Iterable[bytes], anchor_der: bytes, at: datetime
) -> str | None:
    report = check_path(
        der_of(certificate), intermediates_der=others_der, anchors_der=(anchor_der,), at=at, purpose="issuing"
    )
    return None if report.ok else report.problems[0]


def _is_about(certificate: "Certificate", root: "Certificate") -> bool:
    """Whether it is for the key that this root has, under the same name."""
    named = certificate.subject, spki_of(certificate.public_key())
    return named == (root.subject, spki_of(root.public_key()))


def der_of(certificate: "Certificate") -> bytes:
    """The certificate as a message or a file has it."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)
