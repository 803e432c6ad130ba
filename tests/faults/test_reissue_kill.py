"""A kill before everything that lasts while certificates are reissued and revoked, and passwords changed: one valid
certificate is left, whose key signs, and every other one is revoked.
"""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import CRLReason, ReasonFlags, load_der_x509_crl
from tests.faults.conftest import Bench, strike_everywhere

from dojang.authority.local import open_authority
from dojang.authority.store import Record
from dojang.errors import DojangError, PasswordIncorrect
from dojang.ledger import Ledger
from dojang.locations.base import Location, StoredCredential
from dojang.locations.registry import open_location
from dojang.pkcs11 import ModuleSearch, PinGuard, open_token
from dojang.pkcs11.pin import PinSource
from dojang.secret import Secret
from dojang.x509.challenge import prove_possession


class Watch:
    """Looks at what the commands leave, from here and with the same PIN and password."""

    def __init__(self, bench: Bench, open_at: Callable[[str], AbstractContextManager[Location]]) -> None:
        self.bench, self.open_at = bench, open_at

    def stored(self, name: str, *kinds: str) -> list[StoredCredential]:
        """Every credential of that name in the locations of these kinds."""
        found: list[StoredCredential] = []
        for kind in kinds:
            with self.open_at(self.bench.locations[kind]) as location:
                found += [one for one in location.credentials() if one.label.partition(" (")[0] == name]
        return found

    def signs(self, one: StoredCredential) -> bool:
        with self.open_at(one.address) as location:
            try:
                prove_possession(location.private_key(one.key_id), one.certificate_der)
            except DojangError:
                return False
        return True

    def records(self, name: str) -> dict[bytes, Record]:
        """What the authority has issued to that name, by certificate."""
        with open_authority(self.bench.home / "state" / "authorities", "office", self._no_key) as office:
            return {one.certificate_der: one for one in office.issued() if one.subject == f"CN={name},C=KR"}

    def nothing_waits(self) -> None:
        with Ledger.open(self.bench.home / "state" / "ledger.sqlite") as ledger:
            assert ledger.incomplete() == []
        staging = self.bench.home.parent / "NPKI" / ".dojang"
        assert not staging.exists() or not any(staging.iterdir())

    def listed(self) -> dict[str, ReasonFlags]:
        """Serials and reasons on the revocation list that lies there for everybody."""
        crl = load_der_x509_crl((self.bench.home / "state" / "authorities" / "office" / "crl.der").read_bytes())
        reasons = {one.serial_number: one.extensions.get_extension_for_class(CRLReason).value.reason for one in crl}
        return {f"{serial:x}": reason for serial, reason in reasons.items()}

    def _no_key(self, address: str) -> None:
        raise AssertionError("nothing is signed here")

    def one_is_valid(self, name: str, *kinds: str) -> StoredCredential:
        """One certificate stands at the authority, it lies in use in one place, and its key signs."""
        standing = [der for der, one in self.records(name).items() if one.state != "revoked"]
        (live,) = [one for one in self.stored(name, *kinds) if one.live and one.certificate_der in standing]
        assert standing == [live.certificate_der]
        assert self.records(name)[live.certificate_der].state == "confirmed"
        assert self.signs(live)
        return live


@pytest.fixture
def watch(bench: Bench, softhsm_module: str, tmp_path: Path) -> Watch:
    pin = PinSource.parse(bench.environment["DOJANG_PIN_SOURCE"])
    search, guard = ModuleSearch(module=softhsm_module, discover=False), PinGuard(tmp_path / "pin-guard")
    passwords = lambda path, new: Secret("correct horse 1!")  # noqa: E731
    opened = {"search": search, "guard": guard, "pins": pin, "passwords": passwords}
    return Watch(bench, lambda address: open_location(address, **opened))


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("token", []),
        # After the revocation, which is killed everywhere below, all goes as it does without.
        ("disk", ["--reason", "keyCompromise"]),
        ("token", ["--to", "npki:"]),
    ],
    ids=["token", "disk-compromised", "token-to-disk"],
)
def test_reissue_killed_anywhere(bench: Bench, watch: Watch, kind: str, more: list[str]) -> None:
    """Until the old one is revoked it signs; afterwards the next run brings the one valid one, with the same end.

    What was in use before it is on the revocation list that was published, with its reason.
    """
    kinds = {kind, "disk"} if "--to" in more else {kind}
    issued: dict[str, dict[str, Any]] = {}
    reason = ReasonFlags("keyCompromise" if "keyCompromise" in more else "superseded")

    def prepare(name: str) -> list[str]:
        issued[name] = bench.json(*bench.issue_words(kind, name))["credential"]
        return ["cert", "reissue", bench.address_of(kind, name), *more]

    def check(name: str, point: int) -> None:
        records = watch.records(name)
        standing = [one for one in watch.stored(name, *kinds) if records[one.certificate_der].state != "revoked"]
        assert any(watch.signs(one) for one in standing) or "keyCompromise" in more
        if point % 2:
            again = bench.run("cert", "reissue", bench.address_of(kind, name), *more)
            assert again.status in (0, 14), again.err
        else:
            assert bench.run("renew", "run", *(bench.locations[one] for one in kinds)).status in (0, 14)
        watch.nothing_waits()
        if {one.state for one in watch.records(name).values()} == {"revoked"}:  # the compromised key was, at once
            assert bench.run("cert", "reissue", bench.address_of(kind, name), *more).status == 0
        live = watch.one_is_valid(name, *kinds)
        found = watch.records(name)[live.certificate_der]
        assert f"{found.not_after_at:%Y-%m-%dT%H:%M:%SZ}" == issued[name]["not_after"]
        first = issued[name]["serial"]
        assert watch.listed().get(first) is (None if found.serial == first else reason)

    strike_everywhere(bench, prepare, check, journal=not more)


def test_revoke_killed_anywhere(bench: Bench, watch: Watch) -> None:
    """The authority and the ledger come to say the same, by the next run or by the same command."""

    def words(name: str) -> list[str]:
        serial = next(iter(watch.records(name).values())).serial
        return ["cert", "revoke", serial, "--reason", "superseded", "--yes-revoke", serial]

    def prepare(name: str) -> list[str]:
        bench.json(*bench.issue_words("token", name))
        return words(name)

    def check(name: str, point: int) -> None:
        if point % 2:
            assert bench.run(*words(name)).status == 0
        else:
            assert bench.run("renew", "run", bench.locations["token"]).status in (0, 14)
        watch.nothing_waits()
        (record,) = watch.records(name).values()
        (listed,) = bench.credentials("token", name)
        assert listed["state"] == ("valid" if record.state == "confirmed" else record.state)
        assert point == 0 or record.state == "revoked"

    strike_everywhere(bench, prepare, check)


def test_password_change_killed_anywhere(bench: Bench, watch: Watch) -> None:
    """Every key opens with the old password or the new one, and the same command finishes."""
    old, new = "correct horse 1!", "battery staple 2?"
    source, root, kept = bench.home / "new-password", bench.home.parent / "NPKI", bench.home / "NPKI-kept"
    source.write_text(new)
    source.chmod(0o600)
    words = ["location", "password", "npki:", "--all", "--new-password-source", f"file:{source}"]

    bench.json(*bench.issue_words("disk", "Hong"))
    for _ in range(2):
        bench.json("renew", "now", bench.address_of("disk", "Hong"), "--again")
    shutil.copytree(root, kept)

    def opens(password: str) -> set[bytes]:
        with open_location(f"npki:{root}", passwords=lambda path, new: Secret(password)) as location:
            return {one.key_id for one in location.credentials() if _proves(location, one)}

    def prepare(name: str) -> list[str]:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(kept, root)
        return words

    def check(name: str, point: int) -> None:
        assert len(opens(old) | opens(new)) == 3
        again = bench.run(*words)
        assert again.status == 0, again.err
        assert (len(opens(new)), opens(old)) == (3, set())

    strike_everywhere(bench, prepare, check)


def _proves(location: Location, one: StoredCredential) -> bool:
    try:
        prove_possession(location.private_key(one.key_id), one.certificate_der)
    except PasswordIncorrect:
        return False
    return True


def test_founding_an_authority_killed_anywhere(bench: Bench, watch: Watch, make_token, softhsm_module: str) -> None:
    """All of it is there, or nothing and no key; the same command founds it, with the first key or with a new one."""
    office = make_token()
    authorities = bench.home / "state" / "authorities"
    search = ModuleSearch(module=softhsm_module, discover=False)

    def keys() -> set[str]:
        with open_token(office.uri, Secret(office.pin), search=search) as token:
            return {key.label for key in token.keys(label=None)}

    def prepare(name: str) -> list[str]:
        key = f"{office.uri};object={name}?pin-source={office.pin_source}"
        below = ["--issuing-key", key.replace(name, f"{name}-below"), "--issuing-name", f"CN={name} below"]
        return ["ca", "init", "--alias", name, "--key", key, "--name", f"CN={name}", *below]

    def check(name: str, point: int) -> None:
        if point % 2:
            assert bench.run("renew", "run", "npki:").status in (0, 14)
            founded = (authorities / name).exists()
            assert {label for label in keys() if label.startswith(name)} == (
                {name, f"{name}-below"} if founded else set()
            )
        again = bench.run(*prepare(name))
        assert again.status == 0 or (authorities / name).exists()
        assert {label for label in keys() if label.partition("-below")[0] == name} == {name, f"{name}-below"}
        assert [path.name for path in authorities.iterdir() if path.name.startswith(f".{name}.")] == []
        assert bench.run("ca", "crl", "--ca", name).status == 0

    strike_everywhere(bench, prepare, check)
    assert bench.run("renew", "run", "npki:").status in (0, 14)  # the last one struck may be founded and not settled
    watch.nothing_waits()
