"""Certificate authorities: what can be asked of each, and one of one's own with its key on a token.

    with open_authority(directory, "office", key=lambda address: …) as authority:
        answer = authority.submit(Submission("issue", request_der, "personal", transaction_id))

Names are loaded when first used, so that speaking of an authority does not load what signs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dojang.authority.base import CertificateAuthority, Issued, Submission
    from dojang.authority.folder import authority_names
    from dojang.authority.founding import Founder, create_authority
    from dojang.authority.local import AuthorityInfo, LocalAuthority, list_authorities, open_authority
    from dojang.authority.remote import RemoteAuthority
    from dojang.authority.store import Record

_HOME = {
    "CertificateAuthority": "base",
    "Issued": "base",
    "Submission": "base",
    "Founder": "founding",
    "create_authority": "founding",
    "AuthorityInfo": "local",
    "LocalAuthority": "local",
    "authority_names": "folder",
    "list_authorities": "local",
    "open_authority": "local",
    "Record": "store",
    "RemoteAuthority": "remote",
}

__all__ = [
    "AuthorityInfo",
    "CertificateAuthority",
    "Founder",
    "Issued",
    "LocalAuthority",
    "Record",
    "RemoteAuthority",
    "Submission",
    "authority_names",
    "create_authority",
    "list_authorities",
    "open_authority",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
