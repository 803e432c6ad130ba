"""``dojang where`` over 10,000 NPKI folders as a multiple of a program that only reads and parses the same files."""

import datetime
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from subprocess import DEVNULL
from time import perf_counter

from cryptography.x509 import load_der_x509_certificate
from place import Place, Row, timed

from dojang.ledger import Ledger
from dojang.lifecycle.where import find_everywhere
from dojang.lifecycle.workplace import Workplace
from dojang.locations.registry import open_location

FOLDERS = 10_000
BARE = """
import os, sys
from cryptography.x509 import load_der_x509_certificate
for entry in os.scandir(sys.argv[1]):
    with open(entry.path + "/signCert.der", "rb") as file:
        certificate = load_der_x509_certificate(file.read())
    certificate.subject, certificate.issuer, certificate.not_valid_before_utc, certificate.not_valid_after_utc
"""
FORMS = {"--json": "as JSON", "--quiet": "addresses alone", "": "as a table"}


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    del seconds
    home = place.folder / "me"
    os.environ |= {"HOME": str(home), "LC_ALL": "C.UTF-8"}
    shelf = home / "NPKI" / "yessign" / "USER"
    _fill(shelf)
    return [_found(place.folder, shelf, min(rounds, 9)), *_commands(shelf, min(rounds, 5))]


def _found(folder: Path, shelf: Path, rounds: int) -> Row:
    """Like with like: both have everything in memory, and neither prints it."""
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        place = Workplace(ledger, open_location, open_authority=open_location)
        address = f"npki:{shelf.parents[1]}"
        _bare(shelf), _find(place, address)  # for the file system's memory
        pairs = [(_seconds(lambda: _find(place, address)), _seconds(lambda: _bare(shelf))) for _ in range(rounds)]
    return _row("finding and looking at 10,000 folders", *zip(*pairs, strict=True), target=1.5)


def _commands(shelf: Path, rounds: int) -> list[Row]:
    """The whole command with its start and its output, beside a bare program that prints nothing."""
    bare = [sys.executable, "-c", BARE, shelf]
    ours = {form: [sys.executable, "-m", "dojang", "where", *form.split()] for form in FORMS}
    timed(ours["--json"], stderr=DEVNULL)  # for the bytecode
    theirs, times = [], {form: [] for form in FORMS}
    for _ in range(rounds):
        theirs.append(timed(bare))
        for form, command in ours.items():
            times[form].append(timed(command, stderr=DEVNULL))
    return [_row(f"the whole command, {FORMS[form]}", found, theirs) for form, found in times.items()]


def _find(place: Workplace, address: str) -> None:
    found = find_everywhere(place, [address], wait=60)
    assert len(found.held) == FOLDERS, found.failures


def _bare(shelf: Path) -> None:
    for entry in os.scandir(shelf):
        with open(entry.path + "/signCert.der", "rb") as file:  # noqa: PTH123 – as fast as can be
            certificate = load_der_x509_certificate(file.read())
        _ = certificate.subject, certificate.issuer, certificate.not_valid_before_utc, certificate.not_valid_after_utc


def _seconds(call: Callable[[], None]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def _row(name: str, ours: Sequence[float], theirs: Sequence[float], target: float | None = None) -> Row:
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    detail = f"{median(ours):.2f} s, cryptography alone {median(theirs):.2f} s"
    return Row("where", name, ratio, target, False, detail)


def _fill(shelf: Path) -> None:
    """Certificates of the form, and about the length, of those that Korean authorities issue; no two alike."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    authority, key = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048).public_key()
    issuer = _name(("C", "KR"), ("O", "yessign"), ("OU", "AccreditedCA"), ("CN", "yessignCA Class 2"))
    policy = x509.PolicyInformation(x509.ObjectIdentifier("1.2.410.200005.1.1.4"), ["http://www.yessign.or.kr/cps.htm"])
    revocation = x509.UniformResourceIdentifier("ldap://ds.yessign.or.kr:389/ou=dp4p1,ou=AccreditedCA,o=yessign,c=kr")
    status = x509.UniformResourceIdentifier("http://ocsp.yessign.org:4612")
    same = [
        (x509.KeyUsage(True, True, *[False] * 7), True),
        (x509.CertificatePolicies([policy]), True),
        (x509.CRLDistributionPoints([x509.DistributionPoint([revocation], None, None, None)]), False),
        (x509.AuthorityInformationAccess([x509.AccessDescription(x509.OID_OCSP, status)]), False),
        (x509.AuthorityKeyIdentifier(bytes(20), [x509.DirectoryName(issuer)], 16), False),
    ]
    first = datetime.datetime(2026, 1, 1, 15, tzinfo=datetime.UTC)
    for number in range(FOLDERS):
        begin = first + datetime.timedelta(days=number % 300)
        end = begin + datetime.timedelta(days=365, seconds=-1)
        common_name = f"홍길동()0011041202601{number:014}"
        subject = _name(("C", "kr"), ("O", "yessign"), ("OU", "personal4IB"), ("OU", "KMB"), ("CN", common_name))
        builder = x509.CertificateBuilder(issuer, subject, key, secrets.randbits(64) | 1, begin, end)
        identity = x509.OtherName(x509.ObjectIdentifier("1.2.410.200004.10.1.1"), b"\x04\x60" + secrets.token_bytes(96))
        own = [(x509.SubjectKeyIdentifier(secrets.token_bytes(20)), False)]
        own.append((x509.SubjectAlternativeName([identity]), False))
        for extension, critical in own + same:
            builder = builder.add_extension(extension, critical)
        folder = shelf / f"cn={common_name},ou=KMB,ou=personal4IB,o=yessign,c=kr"
        folder.mkdir(parents=True)
        (folder / "signCert.der").write_bytes(builder.sign(authority, SHA256()).public_bytes(Encoding.DER))
        (folder / "signPri.key").write_bytes(secrets.token_bytes(1300))


def _name(*parts: tuple[str, str]):  # type: ignore[no-untyped-def]
    from cryptography import x509

    oids = {"C": "2.5.4.6", "O": "2.5.4.10", "OU": "2.5.4.11", "CN": "2.5.4.3"}
    return x509.Name([x509.NameAttribute(x509.ObjectIdentifier(oids[kind]), value) for kind, value in parts])
