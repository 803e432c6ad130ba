"""After a renewal: whether the authority's root has a successor, so that it is known before it is needed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dojang.errors import AuthorityUntrusted, DojangError, FileUnwritable, Interrupted
from dojang.ledger import Fact, Operation
from dojang.lifecycle.asking import is_elsewhere
from dojang.lifecycle.journal import key_id_of, noted_answer
from dojang.lifecycle.workplace import Workplace
from dojang.locations.base import Location

if TYPE_CHECKING:
    from dojang.authority.base import CertificateAuthority
    from dojang.authority.elsewhere import Signer


def learn_root(place: Workplace, operation: Operation, location: Location, authority: "CertificateAuthority") -> None:
    """Ask an authority elsewhere, by the new key. Nothing that goes wrong here takes anything from the renewal: a root
    that the old one does not vouch for is told of and not believed, and who has no answer is asked another time.
    """
    if not is_elsewhere(authority):
        return
    try:
        authority.asked_by(_Owner(location, operation)).learn_root(noted_answer(operation)[1])
    except (AuthorityUntrusted, FileUnwritable) as error:
        place.warn(error)
    except Interrupted:
        raise
    except DojangError:
        return


class _Owner:
    """Asks with the key that was just certified, and keeps nothing."""

    by_key = True
    notes: Mapping[str, Fact] = {}

    def __init__(self, location: Location, operation: Operation) -> None:
        self._location, self._key_id = location, key_id_of(operation)
        self._certificate_der, self._chain_der = noted_answer(operation)

    def note(self, **facts: Fact) -> None:
        """Whoever asks again asks anew."""

    def signer(self) -> "Signer":
        from dojang.authority.elsewhere import Signer

        return Signer(self._location.private_key(self._key_id), self._certificate_der, self._chain_der)
