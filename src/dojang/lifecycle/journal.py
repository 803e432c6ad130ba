"""What the verbs write in the journal, and how what they made is taken back."""

import contextlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from datetime import datetime

from dojang.cmp.urls import is_url
from dojang.errors import AnswerPending, AuthorityRefused, DojangError
from dojang.ledger import Event, Fact, Operation
from dojang.lifecycle.asking import authority_of
from dojang.lifecycle.claims import drop_claim
from dojang.lifecycle.hooks import run_post_hook
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.workplace import Workplace
from dojang.locations.address import parse_address
from dojang.locations.base import KeepsKeys, Location, StoredCredential

# How long the random key_id is that a verb makes its key under.
KEY_ID_BYTES = 8
# Verbs that make a credential under a key_id of its own, which nobody else has used before.
BRINGING = frozenset(("copy", "move", "import", "restore", "unwrap"))
KEPT_FACTS = (
    *("location", "authority", "profile", "window_days", "subject", "algorithm", "key_id", "old_fingerprint"),
    *("not_after", "backup_under"),
)


def identity_of(address: str) -> str:
    """What tells the location at ``address`` from others; see ``Address.identity``."""
    return parse_address(address).identity()


def name_in(location: Location, label: str) -> str:
    """The subject of an operation that makes something new under ``label``."""
    return f"{identity_of(location.address)}#label={label}"


def key_in(location: Location, key_id: bytes) -> str:
    """The subject of an operation that changes what lies under ``key_id``."""
    return f"{identity_of(location.address)}#id={key_id.hex()}"


def moment(at: datetime) -> str:
    """A moment as the journal and the ledger keep it, and as hooks are told it: RFC 3339, UTC."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def answer_facts(certificate_der: bytes, chain_der: Sequence[bytes]) -> dict[str, Fact]:
    """A checked answer as the journal keeps it: whoever holds it finishes without asking the authority again."""
    from dojang.x509.reading import read_certificate

    return {
        "not_after": moment(read_certificate(certificate_der).not_valid_after_utc),
        "certificate": b64encode(certificate_der).decode(),
        "chain": [b64encode(der).decode() for der in chain_der],
    }


def noted_answer(operation: Operation) -> tuple[bytes, tuple[bytes, ...]]:
    """The certificate and the chain that ``answer_facts`` kept."""
    facts = operation.record.facts
    chain = facts["chain"]
    assert isinstance(chain, list)
    return b64decode(str(facts["certificate"])), tuple(b64decode(der) for der in chain)


def key_id_of(operation: Operation, fact: str = "key_id") -> bytes:
    return bytes.fromhex(str(operation.record.facts[fact]))


def replaced_by(operation: Operation) -> bytes | None:
    """The ``key_id`` of the credential whose place the new one takes; ``None`` where it takes nobody's."""
    return key_id_of(operation, "old_key_id") if "old_key_id" in operation.record.facts else None


def certified_event(name: str, operation: Operation, stored: StoredCredential) -> Event:
    """The ledger's entry for a new credential, with what renewing it will need."""
    facts = {fact: operation.record.facts[fact] for fact in KEPT_FACTS if fact in operation.record.facts}
    facts["transaction"] = operation.operation_id
    if is_url(str(facts.get("authority", ""))):  # whose records are not here, when the token with it is lost
        facts["certificate"] = operation.record.facts["certificate"]
    return Event(name, stored.address, fingerprint_of(stored.certificate_der), facts)


def predecessor_revoked(operation: Operation, **more: Fact) -> Event:
    """The ledger's entry for what a reissue has replaced, which the authority revoked with the confirmation."""
    facts = operation.record.facts
    told = {name: facts[name] for name in ("authority", "serial", "reason")} | more
    return Event("revoked", str(facts["address"]), str(facts["old_fingerprint"]), told)


def take_back(place: Workplace, operation: Operation, location: Location, reason: str) -> None:
    """Undo what an operation made: the authority cancels the transaction, the new key and certificate go.

    Once undoing has begun it is never turned into finishing: the authority may have revoked the answer already.
    """
    if operation.record.step not in ("begun", "undoing"):
        operation.advance("undoing")
    if replaced_by(operation) is not None and operation.record.step == "begun":
        drop_claim(operation, location)  # nothing is made before the claim: what lies there is somebody else's
        operation.undo(reason)
        return
    if "authority" in operation.record.facts:
        withdraw(place, operation, location)
    made_here = _made_in_place_of_nothing(operation) and not isinstance(location, KeepsKeys)
    if made_here or operation.record.verb in BRINGING:
        location.delete(key_id_of(operation))
    elif operation.record.verb != "install" and not _staged_by_others(operation, location):
        # the key of an install was there before it, and goes on waiting
        location.discard(key_id_of(operation))
    drop_claim(operation, location)
    run_post_hook(place, operation, "failed")
    operation.undo(reason)


def _staged_by_others(operation: Operation, location: Location) -> bool:
    """Whether another machine, that broke a stale claim, has staged a successor for the key that is kept."""
    key_id = key_id_of(operation)
    if key_id != replaced_by(operation):
        return False
    own = noted_answer(operation)[0] if "certificate" in operation.record.facts else b""
    return any(one.staged and one.key_id == key_id and one.certificate_der != own for one in location.credentials())


def _made_in_place_of_nothing(operation: Operation) -> bool:
    """Whether what was made is in nobody's place and never staged, so that ``discard`` would leave it."""
    verb = operation.record.verb
    return verb == "issue" or (verb == "reissue" and replaced_by(operation) is None)


def withdraw(place: Workplace, operation: Operation, location: Location | None = None) -> None:
    """Nothing that was issued for this operation stays valid.

    What it replaced may then be replaced by another; after a reissue it is revoked all the same, and that is noted.
    """
    from cryptography.x509 import load_der_x509_certificate

    with authority_of(place, operation, location) as authority:
        try:
            authority.cancel(operation.operation_id)
        except AuthorityRefused:
            if operation.record.step not in ("answered", "confirmed", "undoing"):
                raise
            # It had been confirmed when the run was killed, and then its key was lost.
            certificate = load_der_x509_certificate(noted_answer(operation)[0])
            authority.revoke(f"{certificate.serial_number:x}", "cessationOfOperation")
            if operation.record.verb == "reissue":
                place.ledger.record(predecessor_revoked(operation))


@contextlib.contextmanager
def taken_back_on_failure(
    place: Workplace, operation: Operation, location: Location, failure: type[DojangError] = DojangError
) -> Iterator[None]:
    """Take the operation back when the block fails; what cannot be taken back now waits in the journal."""
    try:
        yield
    except AnswerPending:  # what an authority may have granted by now is asked for again, not thrown away
        raise
    except failure as error:
        with contextlib.suppress(DojangError):
            take_back(place, operation, location, error.code)
        raise
