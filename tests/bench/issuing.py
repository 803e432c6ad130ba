"""Issuing a P-256 certificate onto a token, as a multiple of the key pair and two signatures it cannot do without."""

from functools import partial
from statistics import median
from time import perf_counter

from place import Place, Row

from dojang.authority.founding import create_authority
from dojang.authority.local import open_authority
from dojang.ledger import Ledger
from dojang.lifecycle.issue import IssueOrder, issue
from dojang.lifecycle.workplace import Workplace
from dojang.locations.registry import open_location
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
from dojang.x509.name import parse_name

TARGET = 1.5
EACH = 10


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    del seconds
    office, authorities = place.another("office"), place.folder / "authorities"
    opened = partial(open_token, search=ModuleSearch(module=place.module, discover=False))
    with opened(office.uri, Secret(office.pin)) as token, Ledger.open(place.folder / "ledger.sqlite") as ledger:
        key = token.generate_key_pair("ec-p256", label="root")
        create_authority(authorities, name="bench", subject=parse_name("CN=Bench CA"), key=key, key_address=office.uri)
        workplace = Workplace(
            ledger=ledger,
            open_location=partial(open_location, pins=Secret(place.pin), **opened.keywords),
            open_authority=lambda name: open_authority(authorities, name, lambda _address: key),
        )
        theirs, ours = [], []
        with opened(place.uri, Secret(place.pin)):  # one login for all, as where more than one certificate is issued
            _issue(place, workplace, 0)
            for number in range(1, rounds + 1):
                theirs.append(median(place.c("issue", EACH)))
                ours.append(median(_issue(place, workplace, number * EACH + again) for again in range(EACH)))
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    detail = f"{median(ours) * 1000:.2f} ms, C {median(theirs) * 1000:.2f} ms"
    return [Row("issuing", "P-256 onto a token", ratio, TARGET, False, detail)]


def _issue(place: Place, workplace: Workplace, number: int) -> float:
    subject = parse_name(f"CN=Subscriber {number}")
    order = IssueOrder(place.uri, subject, "bench", "personal", "ec-p256", f"subscriber-{number}")
    start = perf_counter()
    held = issue(order, workplace)
    taken = perf_counter() - start
    with workplace.open_location(place.uri) as location:
        location.delete(held.stored.key_id)
    return taken
