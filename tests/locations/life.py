"""What happens to a credential in any location: it is issued, and renewed."""

from tests.contract.credentials import SmallAuthority

from dojang.locations.base import Location, StoredCredential

FIRST, SECOND = b"\x01" * 8, b"\x02" * 8


def issue(
    location: Location, authority: SmallAuthority, key_id: bytes = FIRST, name: str = "홍길동"
) -> StoredCredential:
    """A new credential, with its chain."""
    key = location.generate("ec-p256", key_id=key_id, label=name)
    certificate_der = authority.certify(key, name)
    return location.install(key_id=key_id, label=name, certificate_der=certificate_der, chain_der=authority.chain_der)


def renew(location: Location, authority: SmallAuthority, new_key_id: bytes = SECOND) -> StoredCredential:
    """The successor of the only one in use."""
    (old,) = [one for one in location.credentials() if one.live]
    stage(location, authority, old, new_key_id)
    return location.switch(old_key_id=old.key_id, new_key_id=new_key_id)


def stage(
    location: Location, authority: SmallAuthority, old: StoredCredential, new_key_id: bytes = SECOND
) -> StoredCredential:
    """A successor that waits for the switch."""
    key = location.generate("ec-p256", key_id=new_key_id, label=old.label, replaces=old.key_id)
    return location.install(
        key_id=new_key_id,
        label=old.label,
        certificate_der=authority.certify(key, old.label, days=1),
        chain_der=authority.chain_der,
        replaces=old.key_id,
    )
