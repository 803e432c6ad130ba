"""Whose word an answer is: the secret that both know made its MAC, or the authority's key its signature."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography import x509

from dojang.cmp.bodies import Failure
from dojang.cmp.faults import CmpFault, FailInfo
from dojang.cmp.macs import Mac, is_mac
from dojang.cmp.messages import Message
from dojang.cmp.protection import verify_signature
from dojang.cmp.schema import Algorithm
from dojang.errors import AnswerPending, AuthorityUntrusted, FileMalformed, Phrase
from dojang.x509.path import check_path
from dojang.x509.reading import UNREADABLE, read_certificate

if TYPE_CHECKING:
    from dojang.secret import Secret

# id-kp-cmcCA, id-kp-cmcRA (RFC 6402): who may speak for an authority without being one.
SPEAKERS = frozenset(map(x509.ObjectIdentifier, ("1.3.6.1.5.5.7.3.27", "1.3.6.1.5.5.7.3.28")))


AWAY = frozenset((FailInfo.SYSTEM_UNAVAIL, FailInfo.SYSTEM_FAILURE))


@dataclass(frozen=True, slots=True)
class Judge:
    """Believes an answer that is protected with the secret, if there is one, or by a key under ``anchors_der``.

    ``secret`` is asked only for an answer that has a MAC.
    """

    authority: str
    anchors_der: tuple[bytes, ...]
    now: Callable[[], datetime]
    secret: "Callable[[], Secret] | None" = None

    def check(self, message: Message) -> None:
        """Raises ``AuthorityUntrusted`` for what is not protected, or not by the authority, and ``AnswerPending`` where
        nobody claims to have an answer.
        """
        algorithm, protection = message.header.protection, message.protection
        if algorithm is None or protection is None:
            raise self._unprotected(message)
        try:
            if is_mac(algorithm):
                self._check_mac(message, algorithm, protection)
            else:
                self._check_signature(message, algorithm, protection)
        except CmpFault as error:
            raise self._untrusted(error.phrase) from error

    def _check_mac(self, message: Message, algorithm: Algorithm, protection: bytes) -> None:
        if self.secret is None:
            raise self._untrusted(Phrase("its answer is protected with a code, and none was given"))
        Mac(self.secret(), algorithm).verify(protection, message.protected_der)

    def _check_signature(self, message: Message, algorithm: Algorithm, protection: bytes) -> None:
        if not self.anchors_der:
            raise self._untrusted(Phrase("its answer is signed, and no certificate to check that with is known"))
        problem: Phrase | str = Phrase("the certificate of the key that signed its answer is not there")
        for certificate_der in self._candidates(message):
            certificate = read_certificate(certificate_der)
            verify_signature(certificate.public_key(), algorithm, protection, message.protected_der)
            found = self._problem_with(certificate, certificate_der, message.certificates)
            if found is None:
                return
            problem = found
        raise self._untrusted(problem)

    def _candidates(self, message: Message) -> Iterable[bytes]:
        """The certificates that the sender may mean: by the identifier of the key, else by name."""
        header = message.header
        for der in dict.fromkeys((*message.certificates, *self.anchors_der)):
            try:
                certificate = read_certificate(der)
                named = header.sender is None or certificate.subject == header.sender
                if header.sender_key_id in (None, key_id_of(certificate)) and named:
                    yield der
            except (FileMalformed, *UNREADABLE):
                continue

    def _problem_with(
        self, certificate: x509.Certificate, certificate_der: bytes, others_der: Iterable[bytes]
    ) -> Phrase | str | None:
        report = check_path(certificate_der, intermediates_der=others_der, anchors_der=self.anchors_der, at=self.now())
        if not report.ok:
            return report.problems[0]
        if not _may_speak(certificate):
            return Phrase("the key that signed its answer is not an authority's")
        return None

    def _unprotected(self, message: Message) -> AuthorityUntrusted | AnswerPending:
        """An authority whose own keys are away can protect nothing; that is as good as no answer, whoever says it."""
        body = message.body
        if not isinstance(body, Failure):
            return self._untrusted(Phrase("its answer is not protected"))
        if body.status.failures & AWAY:
            return AnswerPending(authority=self.authority, problem=Phrase("it cannot work at the moment"))
        said = "; ".join([*(one.spelling for one in sorted(body.status.failures)), *shown(body.status.text)])
        return self._untrusted(Phrase("it refused without any protection; whoever it was said: {said}", said=said))

    def _untrusted(self, problem: str) -> AuthorityUntrusted:
        return AuthorityUntrusted(authority=self.authority, problem=problem)


def shown(texts: Iterable[str]) -> list[str]:
    """What another wrote, short, and without what would move a terminal's cursor."""
    return ["".join(letter for letter in text[:200] if letter.isprintable()) for text in list(texts)[:4]]


def key_id_of(certificate: x509.Certificate) -> bytes | None:
    """The subjectKeyIdentifier."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


def _may_speak(certificate: x509.Certificate) -> bool:
    extensions = certificate.extensions
    for one in extensions:
        if isinstance(one.value, x509.BasicConstraints) and one.value.ca:
            return True
        if isinstance(one.value, x509.ExtendedKeyUsage) and SPEAKERS & set(one.value):
            return True
    return False
