"""The token: what other programs see of it, and that a kill between any two objects costs nothing."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from tests.contract.credentials import SmallAuthority, proves

from dojang.errors import AlreadyExists, Ambiguous, NotFound, NotPermitted
from dojang.locations.base import Location
from dojang.locations.registry import location_kinds, open_location
from dojang.pkcs11 import ModuleSearch, OpenToken, PinGuard, open_token
from dojang.secret import Secret

FIRST, SECOND = b"\x01" * 8, b"\x02" * 8


@dataclass(frozen=True, slots=True)
class Bench:
    """A fresh token with a credential ``Hong`` on it, and how to reach it."""

    uri: str
    pin: str
    module: str
    guard_path: Path

    def open(self) -> AbstractContextManager[Location]:
        return open_location(
            self.uri,
            search=ModuleSearch(module=self.module, discover=False),
            pins=Secret(self.pin),
            guard=PinGuard(self.guard_path),
        )

    def token(self) -> OpenToken:
        search = ModuleSearch(module=self.module, discover=False)
        return open_token(self.uri, Secret(self.pin), search=search, guard=PinGuard(self.guard_path))

    def tool(self, *arguments: str) -> str:
        """What OpenSC's pkcs11-tool says about the token."""
        label = self.uri.partition("token=")[2].partition(";")[0]
        command = ["pkcs11-tool", "--module", self.module, "--token-label", label, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def authority() -> SmallAuthority:
    return SmallAuthority()


@pytest.fixture
def bench(make_token: Callable, softhsm_module: str, tmp_path: Path, authority: SmallAuthority) -> Bench:
    token = make_token()
    bench = Bench(token.uri, token.pin, softhsm_module, tmp_path / "pin-guard")
    with bench.open() as location:
        key = location.generate("ec-p256", key_id=FIRST, label="Hong")
        location.install(
            key_id=FIRST,
            label="Hong",
            certificate_der=authority.certify(key, "Hong"),
            chain_der=authority.chain_der,
        )
    return bench


def stage(bench: Bench, authority: SmallAuthority, key_id: bytes, *, days: int = 1) -> bytes:
    with bench.open() as location:
        if key_id == FIRST:
            key = location.private_key(FIRST)
        else:
            key = location.generate("ec-p256", key_id=key_id, label="Hong", replaces=FIRST)
        certificate_der = authority.certify(key, "Hong", days=days)
        location.install(key_id=key_id, label="Hong", certificate_der=certificate_der, replaces=FIRST)
    return certificate_der


# Counts the calls that change the token and dies before the n-th.
KILLED_RUN = """
import os, signal, sys
from dojang.pkcs11.cryptoki import Cryptoki

left = int(sys.argv[5])

def counted(work):
    def call(*arguments, **named):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*arguments, **named)
    return call

for name in ("set_attributes", "create_object", "destroy_object", "generate_key_pair"):
    setattr(Cryptoki, name, counted(getattr(Cryptoki, name)))

from dojang.locations.registry import open_location
from dojang.pkcs11 import ModuleSearch, PinGuard
from dojang.secret import Secret

uri, pin, module, guard = sys.argv[1:5]
search = ModuleSearch(module=module, discover=False)
with open_location(uri, search=search, pins=Secret(pin), guard=PinGuard(guard)) as location:
    exec(sys.argv[6])
"""


def killed(bench: Bench, step: int, verb: str) -> bool:
    """Run ``verb`` in a process of its own that dies before its n-th change; whether it died."""
    arguments = [bench.uri, bench.pin, bench.module, str(bench.guard_path), str(step), verb]
    run = subprocess.run([sys.executable, "-c", KILLED_RUN, *arguments], capture_output=True, text=True)
    assert run.returncode in (0, -9), run.stderr
    return run.returncode == -9


@pytest.mark.parametrize("successor", [SECOND, FIRST], ids=["new key", "kept key"])
def test_a_kill_during_the_switch_loses_nothing_and_is_finished(
    bench: Bench, authority: SmallAuthority, successor: bytes
) -> None:
    """After a kill before any change both pairs sign; switching again leaves the name to the new one alone."""
    verb = f"location.switch(old_key_id={FIRST!r}, new_key_id={successor!r})"
    with bench.open() as location:
        old_der = location.find(bench.uri).certificate_der
    new_der = stage(bench, authority, successor)
    changes = 0
    # Each round dies one change later than it could get before: the rest of an earlier kill is where the next begins.
    while killed(bench, 2, verb):
        changes += 1
        with bench.open() as location:
            live = [one.certificate_der for one in location.credentials() if one.live]
            assert live
            assert set(live) <= {old_der, new_der}
            assert proves(location.private_key(FIRST), old_der)
            assert proves(location.private_key(successor), new_der)
    assert changes >= (4 if successor == SECOND else 1)
    with bench.open() as location:
        assert location.find(f"{bench.uri};object=Hong").certificate_der == new_der
        found = {(one.certificate_der, one.live, one.retired) for one in location.credentials()}
        assert found == {(old_der, False, True), (new_der, True, False)}


def test_a_kill_during_install_or_generate_is_undone_by_discard(bench: Bench, authority: SmallAuthority) -> None:
    """Whatever was made of the successor goes, and the old pair never notices."""
    verb = (
        f"location.generate('ec-p256', key_id={SECOND!r}, label='Hong', replaces={FIRST!r});"
        f"location.install(key_id={SECOND!r}, label='Hong', replaces={FIRST!r}, "
        f"certificate_der=bytes.fromhex('{authority.certify(authority.key, 'Hong').hex()}'))"
    )
    step = 1
    while killed(bench, step, verb):
        with bench.open() as location:
            assert [one.key_id for one in location.credentials()] == [FIRST]
            location.discard(SECOND)
            assert not location.has_key(SECOND)
        step += 1
    assert step > 2
    with bench.open() as location:
        assert location.find(f"{bench.uri};object=Hong").key_id == FIRST


def test_other_programs_see_one_id_and_the_label(bench: Bench, authority: SmallAuthority) -> None:
    """pkcs11-tool finds certificate and key under the CKA_ID, and the chain under the issuers' own names."""
    shown = bench.tool("--list-objects", "--login", "--pin", bench.pin)
    assert shown.count(f"ID:         {FIRST.hex()}") == 3
    assert shown.count("label:      Hong\n") == 3
    assert shown.count("label:      Contract CA") == 1
    stage(bench, authority, SECOND)
    with bench.open() as location:
        location.switch(old_key_id=FIRST, new_key_id=SECOND)
    shown = bench.tool("--list-objects", "--login", "--pin", bench.pin)
    assert shown.count("label:      Hong\n") == 3
    assert shown.count(f"label:      Hong (retired {time.strftime('%Y-%m-%d', time.gmtime())})") == 3
    assert "staged" not in shown


def test_looking_asks_for_no_pin(bench: Bench, authority: SmallAuthority) -> None:
    """Listing, finding and reading the chain work before anybody is asked."""

    def ask(request: object) -> Secret:
        raise AssertionError("a PIN was asked for")

    search = ModuleSearch(module=bench.module, discover=False)
    with open_location(bench.uri, search=search, pins=ask, guard=PinGuard(bench.guard_path)) as location:
        stored = next(location.credentials())
        assert location.find(stored.address) == stored
        assert stored.has_key is None
        assert location.chain_of(stored.certificate_der) == authority.chain_der


def test_an_address_outlives_the_renewal_and_an_id_does_not(bench: Bench, authority: SmallAuthority) -> None:
    """Live ones are printed by label; the id of a retired one goes on naming the retired one."""
    with bench.open() as location:
        old = location.find(bench.uri)
        assert ";id=" not in old.address
        by_id = location.find(f"{bench.uri};id=%01%01%01%01%01%01%01%01")
        stage(bench, authority, SECOND)
        location.switch(old_key_id=FIRST, new_key_id=SECOND)
        assert location.find(old.address).key_id == SECOND
        assert location.find(by_id.address).key_id == FIRST
        with pytest.raises(NotFound):
            location.find(f"{bench.uri};object=Hong%20%28retired%202026-11-22%29")


def test_a_pin_in_an_address_is_never_repeated(bench: Bench) -> None:
    """Neither in errors nor in the addresses that come back."""
    with bench.open() as location:
        with pytest.raises(NotFound) as caught:
            location.find(f"{bench.uri};object=Nobody?pin-value=4711")
        assert "4711" not in str(caught.value)
        assert "4711" not in location.find(f"{bench.uri};object=Hong?pin-value=4711").address


def test_two_of_one_label_print_addresses_that_tell_them_apart(bench: Bench, authority: SmallAuthority) -> None:
    """Another program put a second one there; after a wait for a switch that might be going on, both are shown."""
    with bench.token() as token:
        key = token.generate_key_pair("ec-p256", label="Hong", key_id=SECOND)
        token.add_certificate(authority.certify(key, "Hong"), label="Hong", key_id=SECOND)
    with bench.open() as location:
        with pytest.raises(Ambiguous) as caught:
            location.find(f"{bench.uri};object=Hong")
        addresses = str(caught.value.facts["matches"]).split(", ")
        assert {location.find(address).key_id for address in addresses} == {FIRST, SECOND}
        assert {location.find(one.address).key_id for one in location.credentials()} == {FIRST, SECOND}


def test_a_switch_that_goes_on_elsewhere_is_waited_for(bench: Bench, authority: SmallAuthority) -> None:
    """Two bear the name for a moment; whoever looks then gets the new one, not an error."""
    new_der = stage(bench, authority, SECOND)
    assert killed(bench, 4, f"location.switch(old_key_id={FIRST!r}, new_key_id={SECOND!r})")
    with bench.open() as location, bench.token() as other:
        assert sum(one.live for one in location.credentials()) == 2
        timer = Timer(0.1, lambda: other.relabel(FIRST, "Hong (retired 2026-11-22)"))
        timer.start()
        assert location.find(f"{bench.uri};object=Hong").certificate_der == new_der
        timer.join()


def test_a_key_of_that_label_takes_the_name_too(bench: Bench) -> None:
    """``key generate`` made it; a certificate of the same name would make two of them."""
    with bench.token() as token:
        token.generate_key_pair("ec-p256", label="Kim", key_id=SECOND)
    with bench.open() as location, pytest.raises(AlreadyExists):
        location.generate("ec-p256", key_id=b"\x03", label="Kim")


def test_a_key_made_before_gets_its_certificate(bench: Bench, authority: SmallAuthority) -> None:
    """``key generate``, then ``cert request``, then ``cert install``: the label is the key's own."""
    with bench.token() as token:
        key = token.generate_key_pair("ec-p256", label="Kim", key_id=SECOND)
    with bench.open() as location:
        stored = location.install(key_id=SECOND, label="Kim", certificate_der=authority.certify(key, "Kim"))
        assert stored.live
        with pytest.raises(AlreadyExists):
            location.install(key_id=SECOND, label="Kim", certificate_der=authority.certify(key, "Kim"))
        with pytest.raises(AlreadyExists):
            location.generate("ec-p256", key_id=SECOND, label="Lee")


@pytest.mark.parametrize("label", ["Hong (staged)", "Hong (retired 2026-11-22)"])
def test_a_label_that_means_a_state_is_refused(bench: Bench, label: str) -> None:
    """Nobody could tell it from a credential in that state."""
    with bench.open() as location, pytest.raises(NotPermitted):
        location.check_free(label=label, subject_der=b"")


def test_a_certificate_without_an_id_is_listed_and_never_deleted_by_it(bench: Bench) -> None:
    """An empty CKA_ID would match what belongs to others."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Foreign")])
    now = x509.load_der_x509_certificate(_any_certificate(bench)).not_valid_before_utc
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now.replace(year=now.year + 1))
    with bench.token() as token:
        token.add_certificate(
            builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER), label="Foreign", key_id=b""
        )
    with bench.open() as location:
        stored = location.find(f"{bench.uri};object=Foreign")
        assert stored.key_id == b""
        for work in (location.delete, location.discard):
            with pytest.raises(NotPermitted):
                work(b"")
        assert len(list(location.credentials())) == 2


def _any_certificate(bench: Bench) -> bytes:
    with bench.open() as location:
        return next(location.credentials()).certificate_der


def test_every_kind_states_what_it_protects() -> None:
    """The chooser's rows: a token's key never leaves and takes a PIN, a disk's leaves under a password."""
    facts = {row.kind: (row.traits.key_leaves, row.traits.copyable, row.traits.opened_by) for row in location_kinds()}
    assert facts["token"] == (False, False, "pin")
    assert facts["disk"] == (True, True, "password")
