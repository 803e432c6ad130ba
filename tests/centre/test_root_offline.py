"""A server never opens the key of a root, of whatever generation, whenever that came to be."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from dojang.authority import Founder, create_authority, open_authority
from dojang.authority.hierarchy import delegates, rollover
from dojang.centre.opening import open_centre
from dojang.errors import RootOffline
from dojang.x509.name import parse_name

ROOT, ISSUING, NEXT = (f"pkcs11:object={name}" for name in ("root", "issuing", "root-next"))


class Opener(dict[str, Any]):
    """Keys in memory, by their addresses; tells which were asked for."""

    def __init__(self) -> None:
        super().__init__({name: ec.generate_private_key(ec.SECP256R1()) for name in (ROOT, ISSUING, NEXT)})
        self.asked: list[str] = []

    def __call__(self, address: str) -> Any:
        self.asked.append(address)
        return self[address]


@pytest.fixture
def keys(tmp_path: Path) -> Opener:
    opener = Opener()
    below = Founder(parse_name("CN=Issuing"), opener[ISSUING], ISSUING)
    create_authority(
        tmp_path, name="office", subject=parse_name("CN=Root"), key=opener[ROOT], key_address=ROOT, issuing=below
    ).close()
    return opener


def test_no_root_is_opened_by_a_server(keys: Opener, tmp_path: Path) -> None:
    """Neither the one that was there nor one that was prepared, and switched to, while it served."""
    with open_centre(tmp_path, ["office"], keys) as opened:
        with open_authority(tmp_path, "office", keys.__getitem__) as boss:
            rollover.prepare(boss.scene(), "root", keys[NEXT], NEXT)
            with pytest.raises(RootOffline, match="office"):
                opened.keys(NEXT)
            rollover.switch(boss.scene(), "root")
        authority = opened.state.authority("office")
        for address in (ROOT, NEXT):
            with pytest.raises(RootOffline) as caught:
                opened.keys(address)
            assert caught.value.exit_status == 9
        authority.roster.look()
        with pytest.raises(RootOffline):
            authority.publish_crl(root=True)
        authority.publish_crl()
        assert set(keys.asked) == {ISSUING}


def test_what_a_server_can_renew_it_renews(keys: Opener, tmp_path: Path) -> None:
    """The certificate of a responder is made by the issuing key, so the root is not missed."""
    responder = ec.generate_private_key(ec.SECP256R1())
    with open_authority(tmp_path, "office", keys.__getitem__) as boss:
        delegates.add_delegate(boss.scene(), "ocsp", responder, "pkcs11:object=ocsp")
    with open_centre(tmp_path, ["office"], keys) as opened:
        (renewed,) = delegates.renew_delegates(opened.state.authority("office").scene(), all_of_them=True)
    assert renewed.id == "ocsp"
    assert ROOT not in keys.asked
