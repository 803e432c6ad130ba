"""A workplace with a local authority whose key is in memory, and an empty location of each kind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from dojang.authority.founding import create_authority
from dojang.authority.local import authority_names, open_authority
from dojang.ledger import Ledger
from dojang.lifecycle.issue import IssueOrder
from dojang.lifecycle.workplace import Workplace
from dojang.locations.registry import open_location
from dojang.pkcs11 import ModuleSearch, PinGuard
from dojang.secret import Secret
from dojang.x509.name import parse_name


@dataclass(slots=True)
class Office:
    """One ledger, one authority called office, one location; ``later`` moves the clock of all of them."""

    address: str
    place: Workplace
    authorities: Path
    later: timedelta = timedelta()
    steps: list[str] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.later

    def order(self, name: str = "Hong", **changes: object) -> IssueOrder:
        subject = parse_name(f"CN={name},C=KR")
        usual = IssueOrder(self.address, subject, "office", "tls-client", "ec-p256", name)
        return replace(usual, **changes)

    def credentials(self) -> list:
        with self.place.open_location(self.address) as location:
            return list(location.credentials())

    def issued(self) -> list:
        with self.place.open_authority("office") as authority:
            return list(authority.issued())

    def tamper(self, change: Callable) -> None:
        """From now on the authority's answers go through ``change``."""
        honest = self.place.open_authority

        @contextmanager
        def tampered(name: str) -> Iterator:
            with honest(name) as authority:
                submit = authority.submit
                authority.submit = lambda submission: change(submit(submission))
                yield authority

        self.place = replace(self.place, open_authority=tampered)


@pytest.fixture(params=["token", "disk"])
def office(request: pytest.FixtureRequest, tmp_path: Path, softhsm_module: str) -> Iterator[Office]:
    """The same promises hold on a token and in a folder."""
    address, pins = f"npki:{tmp_path}/NPKI", None
    if request.param == "token":
        token = request.getfixturevalue("make_token")()
        address, pins = token.uri, Secret(token.pin)
    search, guard = ModuleSearch(module=softhsm_module, discover=False), PinGuard(tmp_path / "pin-guard")
    authorities, key = tmp_path / "authorities", ec.generate_private_key(ec.SECP256R1())
    subject = parse_name("CN=Office CA")
    create_authority(authorities, name="office", subject=subject, key=key, key_address="pkcs11:token=none").close()
    with Ledger.open(tmp_path / "state" / "ledger.sqlite") as ledger:
        place = Workplace(
            ledger=ledger,
            open_location=lambda text: open_location(
                text, search=search, pins=pins, guard=guard, passwords=lambda path, new: Secret("correct horse 1!")
            ),
            open_authority=lambda name: open_authority(authorities, name, lambda _address: key, clock=office.now),
            authorities=lambda: authority_names(authorities),
            say=lambda step: office.steps.append(step),
            now=lambda: office.now(),
        )
        office = Office(address, place, authorities)
        yield office
