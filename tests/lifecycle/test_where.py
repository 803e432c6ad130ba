"""Where every certificate is: what each is for, what is there twice, and that no place hides another."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as USES

from dojang.errors import FileMalformed, NotFound
from dojang.ledger import Event, Ledger
from dojang.lifecycle.held import held_in
from dojang.lifecycle.issue import issue
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.purpose import purpose_of
from dojang.lifecycle.where import find_everywhere, holding
from dojang.lifecycle.workplace import Workplace
from dojang.locations.registry import open_location
from dojang.x509.name import parse_name

KEY = ec.generate_private_key(ec.SECP256R1())
# Whole Korean days, as every Korean certificate: until 23:59:59 on 2 March 2026 in Seoul.
BEGIN, END = datetime(2025, 3, 2, 15, tzinfo=UTC), datetime(2026, 3, 2, 14, 59, 59, tzinfo=UTC)
BANKING, TWO = "1.2.410.200005.1.1.4", ["1.2.410.200005.1.1.1", "1.2.410.200005.1.1.6.8"]


def certified(
    name: str = "Hong", *extensions: x509.ExtensionType, policies: tuple[str, ...] = (), until: datetime = END
) -> bytes:
    subject = parse_name(f"CN={name},C=KR")
    builder = x509.CertificateBuilder(subject, subject, KEY.public_key(), x509.random_serial_number(), BEGIN, until)
    named = [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in policies]
    for one in (*([x509.CertificatePolicies(named)] if named else []), *extensions):
        builder = builder.add_extension(one, critical=True)
    return builder.sign(KEY, SHA256()).public_bytes(Encoding.DER)


GOOD = certified()


def put(root: Path, certificate_der: bytes, folder: str = "cn=Hong,c=KR", shelf: str = "USER") -> Path:
    path = root / "yessign" / shelf / folder
    path.mkdir(parents=True)
    (path / "signCert.der").write_bytes(certificate_der)
    (path / "signPri.key").write_bytes(b"a key")
    return path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    """A workplace without tokens and authorities, at noon in Seoul on the last day but one."""
    now = END.replace(hour=3) - timedelta(days=1)
    with Ledger.open(tmp_path / "state" / "ledger.sqlite") as ledger:
        yield Workplace(ledger, open_location, open_authority=open_location, now=lambda: now)


@pytest.mark.parametrize(
    ("policies", "extensions", "english", "korean", "holder"),
    [
        ([BANKING], [], "banking, insurance, credit cards and civil services", "은행·보험·신용카드·민원", "person"),
        (TWO, [], "general purpose, electronic tax invoices", "범용, 전자세금용", None),
        (["1.2.410.200005.1.1.777"], [x509.ExtendedKeyUsage([USES.SERVER_AUTH])], "unknown purpose", None, None),
        (["1.2.3"], [], "unknown purpose", "알 수 없는 용도", None),
        (["1.2.3"], [x509.ExtendedKeyUsage([USES.SERVER_AUTH])], "TLS server", "TLS 서버", None),
        ([], [x509.ExtendedKeyUsage([USES.CLIENT_AUTH, USES.CODE_SIGNING])], "TLS client, code signing", "", None),
        ([], [x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.2.3.4")])], "unknown purpose", None, None),
        ([], [x509.KeyUsage(*[True, True] + [False] * 7)], "signatures", "전자서명", None),
        ([], [x509.KeyUsage(*[False, False, True] + [False] * 6)], "encryption", "암호화", None),
        ([], [], "not restricted", "용도 제한 없음", None),
    ],
)  # fmt: skip
def test_each_says_what_it_is_for(
    policies: list[str],
    extensions: list[x509.ExtensionType],
    english: str,
    korean: str | None,
    holder: str | None,
) -> None:
    """By its policies, else by its usages; a number nobody knows is an unknown purpose, not an error."""
    found = purpose_of(certified("Hong", *extensions, policies=tuple(policies)))
    assert found.words["en"] == english
    assert korean in (None, "", found.words["ko"])
    assert found.holder == holder
    assert list(found.policy_oids) == policies


def test_what_we_issued_is_called_as_its_profile_is(office) -> None:
    """The ledger knows the profile, and the profile has words."""
    held = issue(office.order("Hong", profile="tls-client"), office.place)
    assert held_in(office.place, office.address)[0].purpose.words == {"en": "TLS client", "ko": "TLS 클라이언트"}
    assert held.purpose == held_in(office.place, office.address)[0].purpose


def test_days_of_korean_certificates_are_korean_days(place: Workplace, tmp_path: Path) -> None:
    """Late on the day before the last, in Seoul: one day is left, where others count none until noon."""
    noon = END - timedelta(hours=12)
    put(tmp_path / "NPKI", certified("Korean", policies=(BANKING,), until=noon), "cn=Korean,c=KR")
    put(tmp_path / "NPKI", certified("Other", until=noon), "cn=Other,c=KR")
    found = find_everywhere(replace(place, now=lambda: noon - timedelta(hours=13)), [f"npki:{tmp_path}/NPKI"])
    days = {one.stored.label: one.facts.days_left for one in found.held}
    assert days == {"Korean": 1, "Other": 0}


def test_the_same_certificate_elsewhere_is_a_duplicate(place: Workplace, tmp_path: Path) -> None:
    """Both name each other; one that is retired is nobody's duplicate, and another of the same name is not either."""
    same, other = certified(), certified()
    put(tmp_path / "a", same)
    put(tmp_path / "b", same)
    put(tmp_path / "c", same, "cn=Hong,c=KR 5", shelf="RETIRED")
    put(tmp_path / "d", other)
    found = find_everywhere(place, [f"npki:{tmp_path}/{name}" for name in "abcd"])
    seen = {one.stored.address.partition("#")[0][-1]: one for one in found.held}
    assert seen["a"].duplicate_of == (seen["b"].stored.address,)
    assert seen["b"].duplicate_of == (seen["a"].stored.address,)
    assert seen["c"].duplicate_of == seen["d"].duplicate_of == ()


def test_one_place_by_two_addresses_is_one_place(place: Workplace, tmp_path: Path) -> None:
    """What a link shows again is no duplicate."""
    put(tmp_path / "NPKI", certified())
    (tmp_path / "link").symlink_to(tmp_path / "NPKI")
    found = find_everywhere(place, [f"npki:{tmp_path}/NPKI", f"npki:{tmp_path}/link"])
    assert [one.duplicate_of for one in found.held] == [()]


def test_a_place_that_hangs_delays_nobody(place: Workplace, tmp_path: Path) -> None:
    """What is elsewhere is found, and the one that hangs is named when the time is up."""
    put(tmp_path / "NPKI", certified())
    never = threading.Event()

    @contextmanager
    def opened(address: str) -> Iterator[object]:
        if address.endswith("/stuck"):
            never.wait(60)
        with open_location(address) as location:
            yield location

    addresses = [f"npki:{tmp_path}/stuck", f"npki:{tmp_path}/NPKI"]
    found = find_everywhere(replace(place, open_location=opened), addresses, wait=0.5)
    never.set()
    assert len(found.held) == 1
    assert [(address, error.code, error.exit_status) for address, error in found.failures] == [
        (addresses[0], "location-silent", 11)
    ]


def test_a_place_that_hides_its_certificates_is_named(place: Workplace, tmp_path: Path) -> None:
    """Without a password it is not even read; with one it is looked into."""
    address = f"pkcs12:{tmp_path}/some.p12"
    (tmp_path / "some.p12").write_bytes(b"")
    found = find_everywhere(place, [address], passwords=False)
    assert (found.needs_password, found.failures) == ((address,), ())
    found = find_everywhere(place, [address], passwords=True)
    assert found.needs_password == ()


def test_a_file_that_is_gone_needs_no_password(place: Workplace, tmp_path: Path) -> None:
    """Nothing is said of one that was moved away or emptied; one that should hold something is missed."""
    gone, missed = f"pkcs12:{tmp_path}/gone.p12", f"pkcs12:{tmp_path}/missed.p12"
    place.ledger.record(Event("issued", f"{gone}?cn=x", "f", {"location": gone}))
    place.ledger.record(Event("moved-away", f"{gone}?cn=x", "f", {"location": gone}))
    place.ledger.record(Event("issued", f"{missed}?cn=y", "g", {"location": missed}))
    found = find_everywhere(place, [gone, missed], passwords=False)
    assert found.needs_password == ()
    assert [(address, error.code) for address, error in found.failures] == [(missed, "file-unreadable")]


def test_a_place_that_should_hold_something_and_is_away_is_named(place: Workplace, tmp_path: Path) -> None:
    """As the ledger has it; a place that never held anything may be away without a word."""
    gone, never = f"npki:{tmp_path}/gone", f"npki:{tmp_path}/never"
    place.ledger.record(Event("issued", f"{gone}#x", "f", {"location": gone}))
    found = find_everywhere(place, [gone, never])
    assert [(address, error.code) for address, error in found.failures] == [(gone, "file-unreadable")]


def test_the_ledger_knows_which_places_hold_something() -> None:
    """What was deleted, moved away or retired counts no more; what was only asked for does not count yet."""

    def event(name: str, location: str, fingerprint: str = "f") -> Event:
        return Event(name, f"{location}#x", fingerprint, {"location": location})

    held = [
        event("issued", "a"),
        event("issued", "b"),
        event("deleted", "b"),
        event("issued", "c"),
        event("copied", "d"),
    ]
    moved = [event("moved-away", "c"), event("moved", "e"), event("requested", "f")]
    two = [event("issued", "g", "1"), event("renewed", "g", "2"), event("retired", "g", "1")]
    assert holding([*held, *moved, *two]) == {"a", "d", "e", "g"}


def test_states_come_from_one_reading_of_the_ledger(place: Workplace, tmp_path: Path) -> None:
    """However many certificates there are, the ledger is asked a fixed number of times."""
    der = certified("Revoked")
    put(tmp_path / "NPKI", der, "cn=Revoked,c=KR")
    for number in range(5):
        put(tmp_path / "NPKI", certified(str(number)), f"cn={number},c=KR")
    place.ledger.record(Event("revoked", "", fingerprint_of(der), {"authority": "office"}))
    asked: list[object] = []
    history = place.ledger.history
    place.ledger.history = lambda *words, **named: asked.append(named) or history(*words, **named)
    states = [one.state for one in find_everywhere(place, [f"npki:{tmp_path}/NPKI"]).held]
    assert sorted(states) == ["due"] * 5 + ["revoked"]
    assert len(asked) == 1


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _fifo(path: Path) -> None:
    os.mkfifo(path / "signCert.der")


def _link_to_itself(path: Path) -> None:
    (path / "signCert.der").symlink_to("signCert.der")


def _folder_instead(path: Path) -> None:
    (path / "signCert.der").mkdir()


def _huge(path: Path) -> None:
    with (path / "signCert.der").open("wb") as file:
        file.truncate(1 << 40)


def _cut_off(path: Path) -> None:
    (path / "signCert.der").write_bytes(GOOD[:200])


def _not_text(path: Path) -> None:
    subject = parse_name("CN=Hong,C=KR").public_bytes()
    (path / "signCert.der").write_bytes(GOOD.replace(subject, subject.replace(b"Hong", b"\xff\xfe\xfd\xfc")))


@pytest.mark.parametrize("spoil", [_fifo, _link_to_itself, _folder_instead, _huge, _cut_off, _not_text])
def test_broken_folders_hide_nothing(place: Workplace, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """Two thousand of them, in half a minute at most and without leaving files open; the good one is found."""
    root = tmp_path / "NPKI"
    put(root, certified(), "cn=Middle,c=KR")
    for number in range(2000):
        path = root / "yessign" / "USER" / f"cn={'a' if number % 2 else 'z'}{number},c=KR"
        path.mkdir()
        spoil(path)
    place.ledger.history()  # which opens what it needs
    before = open_files()
    found = find_everywhere(place, [f"npki:{root}"], wait=30)
    assert [one.stored.label for one in found.held] == ["Hong"]
    assert open_files() <= before


@pytest.mark.parametrize("spoil", [_fifo, _folder_instead, _cut_off, _not_text])
def test_a_damaged_folder_is_told_of(place: Workplace, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """By its address, which leads to the same answer; a folder that nothing was put into is nobody's loss."""
    root = tmp_path / "NPKI"
    put(root, certified(), "cn=Good,c=KR")
    for name in ("cn=Bad,c=KR", "cn=Empty,c=KR"):
        (root / "yessign" / "USER" / name).mkdir()
    spoil(root / "yessign" / "USER" / "cn=Bad,c=KR")
    found = find_everywhere(place, [f"npki:{root}"])
    assert len(found.held) == 1
    ((address, error),) = found.failures
    assert (address.rpartition("#")[2], error.code) == ("yessign/USER/cn=Bad,c=KR", "file-malformed")
    for named in (address, f"npki:{root}?cn=bad"):
        with place.open_location(named) as location, pytest.raises(FileMalformed, match="cn=Bad"):
            location.find(named)
    with place.open_location(f"npki:{root}") as location, pytest.raises(NotFound):
        location.find(f"npki:{root}?cn=Nobody")


def test_a_key_without_its_certificate_is_told_of(place: Workplace, tmp_path: Path) -> None:
    """Where nothing else is, that is the answer to a question for the whole place, too."""
    path = tmp_path / "NPKI" / "yessign" / "USER" / "cn=Bad,c=KR"
    path.mkdir(parents=True)
    (path / "signPri.key").write_bytes(b"key")
    address = f"npki:{tmp_path}/NPKI"
    assert [error.code for _, error in find_everywhere(place, [address]).failures] == ["file-malformed"]
    with place.open_location(address) as location, pytest.raises(FileMalformed):
        location.find(address)


def test_links_that_go_round_hide_nothing(place: Workplace, tmp_path: Path) -> None:
    """A shelf, an authority and a folder that lead to themselves or back up; the good one is found once."""
    root = tmp_path / "NPKI"
    good = put(root, certified())
    (root / "loop").symlink_to("loop")
    (root / "yessign" / "USER" / "loop").symlink_to("loop")
    (root / "yessign" / "USER" / "up").symlink_to(root)
    (root / "up").symlink_to(root)
    found = find_everywhere(place, [f"npki:{root}"])
    assert [Path(one.stored.address.partition("#")[2]).name for one in found.held] == [good.name]
