"""The keys on the HSM: only those that were made there, for nothing else, and none but those that are needed."""

from collections.abc import Callable

import pytest
from tests.otp.devices.conftest import HOTP, Desk

from dojang.errors import DojangError, UnsupportedMechanism
from dojang.otp.vault import Vault
from dojang.pkcs11 import sealed_hmac
from dojang.pkcs11.structures import Mechanism

UNKNOWN = 0x8000_4711


@pytest.mark.parametrize("where", ["came wrapped in a way", "goes wrapped in a way", "hashed in a way"])
def test_what_the_hsm_does_not_do_once_costs_nobody_else_his_codes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A refusal of some other mechanism is not taken for one of the key wrap, under which everything lies."""
    fob, vault = desk.register(HOTP), Vault(desk.keks)
    sealed = vault.make("sha1")
    monkeypatch.setitem(sealed_hmac.TRANSPORTS, "kw", UNKNOWN)
    monkeypatch.setitem(sealed_hmac._HASHES, "sha512", Mechanism(UNKNOWN))
    tries: dict[str, Callable[[], object]] = {
        "came wrapped in a way": lambda: vault.take_wrapped(bytes(24), bytes(16), "kw", "sha1"),
        "goes wrapped in a way": lambda: vault.give_wrapped(sealed, bytes(16), "kw"),
        "hashed in a way": lambda: vault.hmacs(sealed, "sha512", [b"message"]),
    }
    with pytest.raises(DojangError) as refused:
        tries[where]()
    assert isinstance(refused.value, UnsupportedMechanism)
    assert desk.accepts(fob, fob.press())
