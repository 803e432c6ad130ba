"""Where a certificate says that its issuer, the revocation list and the answers about it are found.

An authority has an address of its own or none (``authority.toml``); what a profile gives below it is left out where
there is none. What a profile gives as a whole is always said.
"""

from collections.abc import Mapping

from dojang.x509.profiles import Profile


def addresses_for(profile: Profile, base: str | None, signer: str) -> Mapping[str, str]:
    """``crl``, ``ocsp``, ``issuer`` and ``cps``, as far as there are any, for what the key ``signer`` certifies."""
    templates = {**profile.addresses, **({"cps": profile.cps} if profile.cps else {})}
    found = {kind: _whole(template.format(signer=signer), base) for kind, template in templates.items()}
    return {kind: address for kind, address in found.items() if address is not None}


def _whole(address: str, base: str | None) -> str | None:
    if address.startswith(("http://", "https://")):
        return address
    return f"{base.rstrip('/')}/{address.lstrip('/')}" if base else None
