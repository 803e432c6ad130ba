"""Keys that somebody else's device holds: a phone, or a signing service. Their addresses can be written and saved; what
answers at them is set up elsewhere, and until then opening one says so.
"""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from dojang.errors import Phrase, UnsupportedOperation
from dojang.locations.base import Access, Location, Traits

if TYPE_CHECKING:
    from dojang.locations.address import Address

TRAITS: Final = Traits(key_leaves=False, copyable=False, opened_by="pin", holds_r=False)


def open_at(address: "Address", access: Access) -> AbstractContextManager[Location]:
    """``UnsupportedOperation``: no service is set up that holds keys at such an address."""
    del access
    raise UnsupportedOperation(
        where="This version of dojang",
        operation=Phrase("open {scheme} addresses", scheme=address.scheme),
        next_step="Use a token (pkcs11:token=LABEL), a folder (npki:/folder) or a file (pkcs12:/path/file.p12).",
    )
