"""What an authority means by a refusal, in words, and what there is to do about it."""

from collections.abc import Mapping
from typing import NamedTuple

from dojang.cmp.bodies import Status
from dojang.cmp.faults import FailInfo
from dojang.cmp.trust import shown
from dojang.errors import AuthorityRefused, AuthorityUnreachable, Phrase


class Meaning(NamedTuple):
    """Why, and what to do next."""

    problem: Phrase
    next_step: Phrase | None = None


MEANINGS: Mapping[FailInfo, Meaning] = {
    FailInfo.BAD_MESSAGE_CHECK: Meaning(
        Phrase("the code, or the key that signed, is not the right one"),
        Phrase("Make sure of the reference number and the code; wrong ones are counted, and too many lock them."),
    ),
    FailInfo.BAD_TIME: Meaning(
        Phrase("the time of the request is too far from its own"),
        Phrase("Set this machine's clock, then try again."),
    ),
    FailInfo.BAD_CERT_ID: Meaning(
        Phrase("it does not know the certificate"),
        Phrase("Make sure that this authority issued it: dojang cert show ADDRESS"),
    ),
    FailInfo.BAD_POP: Meaning(Phrase("the request does not prove possession of its key")),
    FailInfo.CERT_REVOKED: Meaning(
        Phrase("the certificate is revoked"),
        Phrase("A revoked certificate signs nothing any more; ask for a reference number and a code, and issue anew."),
    ),
    FailInfo.CERT_CONFIRMED: Meaning(Phrase("the certificate was confirmed already")),
    FailInfo.BAD_ALG: Meaning(
        Phrase("it does not take this kind of key or signature"), Phrase("Choose another with --algorithm.")
    ),
    FailInfo.BAD_CERT_TEMPLATE: Meaning(
        Phrase("it does not issue a certificate like this"),
        Phrase("Mend the subject, the names, the kind of key or the profile as it says, then try again."),
    ),
    FailInfo.UNACCEPTED_POLICY: Meaning(Phrase("it does not issue for this purpose")),
    FailInfo.UNACCEPTED_EXTENSION: Meaning(Phrase("it does not take an extension of the request")),
    FailInfo.SIGNER_NOT_TRUSTED: Meaning(
        Phrase("it does not accept the certificate that signed the request"),
        Phrase("Ask the authority for a reference number and a code: --reference R --code-source SRC."),
    ),
    FailInfo.NOT_AUTHORIZED: Meaning(
        Phrase("whoever asked may not"),
        Phrase(
            "Do what it says; where that takes a code, the authority gives out a reference number and a code: "
            "--reference R --code-source SRC."
        ),
    ),
    FailInfo.DUPLICATE_CERT_REQ: Meaning(
        Phrase("it has issued a certificate for this key already"), Phrase("Ask with a new key.")
    ),
    FailInfo.TRANSACTION_ID_IN_USE: Meaning(
        Phrase("it knows the transaction, with other contents"), Phrase("Run the command again.")
    ),
    FailInfo.SYSTEM_UNAVAIL: Meaning(Phrase("it cannot work at the moment"), Phrase("Try again later.")),
    FailInfo.SYSTEM_FAILURE: Meaning(Phrase("something failed there"), Phrase("Try again later.")),
}


def refused(authority: str, status: Status) -> AuthorityRefused | AuthorityUnreachable:
    """The refusal, with what the authority said of it itself; one that only cannot now may do it later."""
    known = next((MEANINGS[one] for one in sorted(status.failures) if one in MEANINGS), None)
    failures, text = [one.spelling for one in sorted(status.failures)], ", ".join(shown(status.text))
    said = ", ".join([*failures, *([text] if text else [])])
    if known is None:
        problem = Phrase("it says: {said}", said=said) if said else Phrase("it says no more than that")
        return AuthorityRefused(authority=authority, problem=problem, failures=failures, said=text)
    problem = Phrase("{meaning} ({said})", meaning=known.problem, said=said)
    if FailInfo.SYSTEM_UNAVAIL in status.failures:
        return AuthorityUnreachable(authority=authority, problem=problem, sent=True, next_step=known.next_step)
    return AuthorityRefused(authority=authority, problem=problem, next_step=known.next_step)
