"""The keys on the HSM: only those that were made there, for nothing else, and none but those that are needed."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.otp.devices.conftest import HOTP, Desk

from dojang.authority import audit
from dojang.errors import DeviceDisobeyed, DojangError, NotFound, NotPermitted, UnsupportedMechanism
from dojang.otp.cards import CardPolicy, Cards
from dojang.otp.devices import Devices
from dojang.otp.keks import Home, Keks, SealingKeys
from dojang.otp.parameters import OtpParameters
from dojang.otp.pskc import protection
from dojang.otp.rotation import Rotation
from dojang.otp.vault import Vault
from dojang.pkcs11 import ModuleSearch, OpenToken, PinGuard, open_token, sealed_hmac
from dojang.pkcs11.sealing import has_sealing_key
from dojang.pkcs11.structures import Mechanism
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.pkcs11.wrapping import import_wrapping_key
from dojang.secret import Secret
from dojang.testing.setup import TokenSetup

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


def _key_id_of(desk: Desk, number: int) -> bytes:
    """The CKA_ID of a key that is not there yet; whoever knows the authority's certificate knows it."""
    mark = str(desk.database.place).encode()
    return hashlib.sha256(b"dojang otp kek 1\0%d\0" % number + mark).digest()[:20]


def _data_id_of(key_id: bytes) -> bytes:
    return hashlib.sha256(b"dojang otp data 1\0" + key_id).digest()[:20]


def test_a_key_that_somebody_has_put_there_is_not_taken(desk: Desk) -> None:
    """What lies under a key that was made elsewhere could be opened by whoever has made it."""
    fob = desk.register(HOTP)
    import_wrapping_key(desk.token, bytes(range(32)), label="planted", key_id=_key_id_of(desk, 2))
    with pytest.raises(NotPermitted):
        Rotation(desk.database, Vault(desk.keks), audit.record, desk.clock).run()
    assert desk.accepts(fob, fob.press())
    assert desk.column(fob, "kek") == "kek-1"


def test_a_key_for_data_is_what_it_must_be_or_is_not_used(desk: Desk) -> None:
    """One that somebody has put there, or that a killed run has made and not proved, is looked at before it is used."""
    key_id = _data_id_of(desk.keks.current().key_id)
    import_wrapping_key(desk.token, bytes(range(32)), label="planted", key_id=key_id)
    with pytest.raises(DeviceDisobeyed):
        SealingKeys(desk.keks).current()


def test_keys_for_data_are_made_for_what_is_new_only(desk: Desk) -> None:
    """Beside a key of before none is made: nothing could lie under it. A rotation without cards makes none at all."""
    desk.register(HOTP)
    old = desk.keks.current()
    with pytest.raises(NotFound):
        SealingKeys(desk.keks).of(old.id)
    cards = Cards(desk.database, SealingKeys(desk.keks), audit.record, desk.clock, CardPolicy(), "test")
    Rotation(desk.database, Vault(desk.keks), audit.record, desk.clock, [cards.seal_anew]).run()
    assert not any(has_sealing_key(desk.token, _data_id_of(one)) for one in (old.key_id, desk.keks.current().key_id))


def test_seeds_follow_the_authority_to_another_token(
    desk: Desk, make_token: Callable[..., TokenSetup], softhsm_module: str, tmp_path: Path
) -> None:
    """Where the next key lies on another token, as after a rollover to another HSM, everything comes over to it."""
    fobs = [desk.register(parameters) for parameters in (HOTP, HOTP, OtpParameters(kind="hotp", hash_name="sha512"))]
    setup, search = make_token(), ModuleSearch(module=softhsm_module, discover=False)
    with open_token(setup.uri, Secret(setup.pin), search=search, guard=PinGuard(tmp_path / "other")) as other:
        home = Home(setup.uri, b"next")
        tokens = {Pkcs11Uri.from_text(desk.address).token: desk.token, Pkcs11Uri.from_text(setup.uri).token: other}

        def opened(address: str) -> OpenToken:
            return tokens[Pkcs11Uri.from_text(address).token]

        vault = Vault(Keks(desk.database, lambda _: home, opened, audit.record, desk.clock, "test"))
        done = Rotation(desk.database, vault, audit.record, desk.clock).run()
        assert (done.current, done.destroyed, done.brought) == ("kek-2", ["kek-1"], 3)
        devices = Devices(desk.database, vault, audit.record, desk.clock, desk.policy, "test")
        for fob in fobs:
            assert devices.verify(fob.id, fob.press()).counter == 1


class Grown(bytearray):
    """One that fails the test when it is to become longer or shorter: that may move it, and leaves a copy behind."""

    def extend(self, _more: object) -> None:
        pytest.fail("a seed was moved")

    def __delitem__(self, _where: object) -> None:
        pytest.fail("a seed was moved")


def test_a_seed_in_hand_is_overwritten_wherever_it_was(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is filled up, and cut to its length, by copying it into what has the length already."""
    seed = Grown(b"12345678901234567890")
    Vault(desk.keks).take(seed, "sha512")
    assert seed == bytes(20)
    made: list[Grown] = []

    def bytes_made(*given: object) -> Grown:
        made.append(Grown(*given))
        return made[-1]

    monkeypatch.setattr(protection, "bytearray", bytes_made, raising=False)
    found = protection._from_cbc(protection.to_cbc(b"12345678901234567890", bytes(16), bytes(16)), bytes(16))
    assert found == b"12345678901234567890"
    assert all(not any(one) for one in made if one is not found)
