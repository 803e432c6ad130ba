"""What ``cert register`` asks of a certificate: whom it leads up to, where its state is known, what it may be for."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dojang.cli.context import Invocation
from dojang.cli.files import certificates_of, read_file
from dojang.errors import Phrase, Usage

if TYPE_CHECKING:
    from dojang.lifecycle.vetting import Terms
    from dojang.x509.lookup import Sources

_URLS = ("http://", "https://")


def terms_of(
    invocation: Invocation, trust: Sequence[Path], chain: Sequence[Path], sources: "Sources", allowed: Sequence[str]
) -> "Terms":
    """What is named on the command line, else what the settings say. ``Usage`` for a purpose that is none."""
    from dojang.lifecycle.vetting import Terms
    from dojang.npki.policy_names import oids_named

    anchors = trust or invocation.settings.trust_anchors
    purposes = allowed or invocation.settings.allowed_policies
    return Terms(
        anchors_der=tuple(der for path in anchors for der in certificates_of(path)),
        intermediates_der=tuple(der for path in chain for der in certificates_of(path)),
        sources=sources,
        allowed_policies=frozenset().union(*map(oids_named, purposes)) if purposes else None,
    )


def sources_of(invocation: Invocation, crl: Sequence[str], ocsp: str | None, offline: bool) -> "Sources":
    """Lists from files, addresses of lists, a responder. What could only be silent is a slip and said at once."""
    from dojang.x509.lookup import PATIENCE, GivenList, Sources
    from dojang.x509.reading import read_crl

    _refuse_other_addresses([*([ocsp] if ocsp is not None else []), *(one for one in crl if "://" in one)])
    files = [path for path in crl if not _is_url(path)]
    lists = [GivenList(path, read_file(path)) for path in files]
    for one in lists:
        read_crl(one.crl_der, one.place)
    addresses = tuple(path for path in crl if path not in files)
    seconds = min(invocation.flags.timeout or PATIENCE, PATIENCE)
    return Sources(tuple(lists), addresses, ocsp, offline, seconds)


def _is_url(text: str) -> bool:
    return text.lower().startswith(_URLS)


def _refuse_other_addresses(addresses: Sequence[str]) -> None:
    for address in addresses:
        if not _is_url(address):
            raise Usage(
                problem=Phrase(
                    "'{address}' is not asked: write http:// or https://, or give a list as a file",
                    address=address[:200],
                )
            )
