"""What authorities elsewhere are believed by: certificates that the ledger keeps under the authority's URL."""

from base64 import b64decode, b64encode
from collections.abc import Iterable

from dojang.ledger import Event, Ledger
from dojang.lifecycle.origin import fingerprint_of

_TRUSTED = "trusted"


def anchors_of(ledger: Ledger, url: str) -> tuple[bytes, ...]:
    """The certificates that were kept for it, oldest first."""
    kept = [event for event in ledger.history(url) if event.event == _TRUSTED]
    return tuple(dict.fromkeys(b64decode(str(event.facts["certificate"])) for event in kept))


def keep_anchors(ledger: Ledger, url: str, certificates_der: Iterable[bytes]) -> tuple[bytes, ...]:
    """Keep those that are new; they are returned."""
    known = anchors_of(ledger, url)
    new = tuple(der for der in dict.fromkeys(certificates_der) if der not in known)
    facts = [{"certificate": b64encode(der).decode()} for der in new]
    if new:
        events = zip(new, facts, strict=True)
        ledger.record(*(Event(_TRUSTED, url, fingerprint_of(der), fact) for der, fact in events))
    return new
