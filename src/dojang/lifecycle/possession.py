"""Proof that somebody holds a certificate's key, and that he is the person it was issued to.

Where the key lies here it signs something unforeseeable. Where only the certificate is here, a challenge is given out,
signed elsewhere and brought back; it counts for an hour, for one certificate and for one registration.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_hex
from typing import TYPE_CHECKING

from dojang.errors import CertificateUnusable, FileMalformed, KeyMismatch, NotFound, Phrase
from dojang.ledger import Event
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.workplace import Workplace
from dojang.locations.base import GivesKeys, HoldsR, Location, StoredCredential
from dojang.x509.path import Check

if TYPE_CHECKING:
    from dojang.secret import Secret

CHALLENGE_LASTS = timedelta(hours=1)
_NONCE_BYTES = 32
_BELONGS_NOT = Phrase("the private key does not belong to it")
_NOT_ITS_ANSWER = Phrase("it is no answer of its key to the challenge: a bare signature, or CMS in DER or PEM")

Answers = Callable[[bytes, Sequence[bytes]], bool]
"""Whether a response was made by the key of a certificate (DER) over one of a few contents."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the holder of the key is to sign, as a line of text."""

    text: str
    ends_at: datetime


def give_challenge(certificate_der: bytes, name: str, place: Workplace) -> Challenge:
    """A fresh challenge for this certificate, in place of any before; ``name`` is the file it came from."""
    fingerprint = fingerprint_of(certificate_der)
    text = f"dojang proof of possession {fingerprint} {token_hex(_NONCE_BYTES)}"
    given = Challenge(text, place.now() + CHALLENGE_LASTS)
    place.ledger.record(
        Event("challenged", name, fingerprint, {"challenge": text, "ends_at": given.ends_at.isoformat()})
    )
    return given


def possession_by_response(certificate_der: bytes, answers: Answers | None, place: Workplace) -> Check:
    """Whether the challenge that was given out came back signed."""
    if answers is None:
        return Check("possession", False, Phrase("nobody has shown that he holds its key (--challenge, --response)"))
    text = _open_challenge(certificate_der, place)
    if text is None:
        return Check("possession", False, Phrase("no challenge waits for an answer, or it is older than an hour"))
    # A text editor, a shell or openssl's S/MIME form may have ended the line.
    if answers(certificate_der, [text + ending for ending in (b"", b"\n", b"\r\n")]):
        return Check("possession", True, Phrase("its key signed the challenge"))
    return Check("possession", False, _NOT_ITS_ANSWER)


def _open_challenge(certificate_der: bytes, place: Workplace) -> bytes | None:
    """The last one, unless a registration has used it or its time is over."""
    history = place.ledger.history(fingerprint=fingerprint_of(certificate_der))
    last = next((event for event in reversed(history) if event.event in ("challenged", "registered")), None)
    if last is None or last.event != "challenged":
        return None
    ended = place.now() > datetime.fromisoformat(str(last.facts["ends_at"]))
    return None if ended else str(last.facts["challenge"]).encode()


def possession_at(location: Location, stored: StoredCredential) -> Check:
    """Whether the key beside a certificate is its own; a PIN or password may be asked, and what that raises passes."""
    from dojang.x509.challenge import prove_possession
    from dojang.x509.reading import UNREADABLE

    try:
        prove_possession(location.private_key(stored.key_id), stored.certificate_der)
    except (CertificateUnusable, KeyMismatch, *UNREADABLE):
        return Check("possession", False, _BELONGS_NOT)
    except NotFound:
        return Check("possession", False, Phrase("there is no private key beside it"))
    return Check("possession", True, Phrase("its key signed a challenge"))


def person_at(location: Location, stored: StoredCredential, number: "Secret") -> Check:
    """Whether a certificate was issued to whoever has this number, by its VID and the R that lies with its key.

    Neither number nor R is ever told.
    """
    from dojang.npki.vid import identify_data_of

    try:
        found = identify_data_of(stored.certificate_der)
    except FileMalformed:
        return Check("person", False, Phrase("what it says of its owner cannot be read"))
    if found is None:
        return Check("person", False, Phrase("it has no VID, so it does not say whose it is"))
    try:
        random_number = random_number_of(location, stored.key_id)
    except (KeyMismatch, NotFound):
        return Check("person", False, Phrase("its owner cannot be proved without its own key"))
    if random_number is None:
        return Check("person", False, Phrase("its key has no random number R, without which nobody is proved"))
    if not found.matches(number, random_number):
        return Check("person", False, Phrase("it was not issued to whoever has this number"))
    return Check("person", True, Phrase("the number is its owner's ({hash})", hash=found.hash_name))


def random_number_of(location: Location, key_id: bytes) -> "Secret | None":
    """R, as the location keeps it with the key; ``None`` where there is none."""
    if isinstance(location, HoldsR):
        return location.random_number(key_id)
    return location.export_key(key_id).random_number if isinstance(location, GivesKeys) else None
