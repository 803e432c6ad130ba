"""Renewing a folder of due credentials against the local authority, as a multiple of the key and two signatures each.

The reference makes one key and two signatures on one core; the renewal may use all cores. Beside that it encrypts each
new key under the password, asks the authority, proves the pair and keeps two journals; what the encryption takes is
shown: its key derivation is the user's protection and not ours to save. RSA-2048 is what Korean certificates have. A
successor's key file has the form of the one it replaces: dojang's own, or that of other programs, whose derivation is
short. All on tmpfs.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from secrets import token_bytes
from time import perf_counter, process_time

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from place import Place, Row

from dojang.authority.base import Submission
from dojang.authority.founding import create_authority
from dojang.authority.local import LocalAuthority, open_authority
from dojang.ledger import Ledger
from dojang.lifecycle.held import due_in
from dojang.lifecycle.renewals import renew_all
from dojang.lifecycle.workplace import Workplace
from dojang.locations.registry import open_location
from dojang.npki import shelves
from dojang.npki.contents import files_beside_key, files_of_key
from dojang.npki.keyfile import generate_key, seal_key
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
from dojang.x509.name import parse_name
from dojang.x509.request import build_request

TARGET = 1.5
PASSWORD = Secret("correct horse 1!")
ALWAYS_DUE = timedelta(days=3000)
KINDS = (
    ("rsa-2048", "pbes2-aes256", "due RSA-2048 credentials on disk", TARGET, 40),
    ("rsa-2048", "pbes2-seed", "the same as other programs leave them", TARGET, 40),
    ("ec-p256", "pbes2-aes256", "due P-256 credentials on disk", None, 8),
)
_FEW = 8
"""Old keys there are: what they are matters to nothing, and making a thousand takes a minute."""


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    del seconds
    office, authorities = place.another("office"), place.folder / "authorities"
    search = ModuleSearch(module=place.module, discover=False)
    with (
        open_token(office.uri, Secret(office.pin), search=search) as token,
        Ledger.open(place.folder / "ledger.sqlite") as ledger,
    ):
        key = token.generate_key_pair("ec-p256", label="root")
        subject = parse_name("CN=Bench CA")
        create_authority(authorities, name="bench", subject=subject, key=key, key_address=office.uri).close()
        opened = partial(open_authority, authorities, key=lambda _address: key)
        workplace = Workplace(
            ledger=ledger,
            open_location=partial(open_location, passwords=lambda _path, _new: PASSWORD),
            open_authority=lambda name: opened(name),
            authorities=lambda: ["bench"],
        )
        return [_row(place.folder, workplace, rounds, *kind) for kind in KINDS]


def _row(
    folder: Path,
    workplace: Workplace,
    rounds: int,
    algorithm: str,
    form: str,
    name: str,
    target: float | None,
    times: int,
) -> Row:
    number, root = rounds * times, folder / f"{algorithm}-{form}"
    with workplace.open_authority("bench") as authority:
        _fill(root, authority, algorithm, form, number)
    before, before_work = _reference(algorithm, number)
    start, work = perf_counter(), process_time()
    held = list(due_in(workplace, [f"npki:{root}"], ALWAYS_DUE))
    listed = perf_counter() - start
    outcomes = list(renew_all(workplace, held, window=ALWAYS_DUE, jobs=os.cpu_count() or 1))
    taken, work = perf_counter() - start, process_time() - work
    failed = [outcome.error for outcome in outcomes if outcome.renewal is None]
    assert not failed, failed[:3]
    assert len(outcomes) == number
    after, after_work = _reference(algorithm, number)
    reference, reference_work, each = (before + after) / 2, (before_work + after_work) / 2, taken / number
    detail = (
        f"{number} in {taken:.1f} s, {each * 1000:.1f} ms each, {work / number * 1000:.1f} ms of work; key and two"
        f" signatures {reference * 1000:.1f} ms, {reference_work * 1000:.1f} ms of work; encrypting a key"
        f" {_encrypting(form) * 1000:.1f} ms of work; list {listed:.2f} s"
    )
    return Row("renewing", name, each / reference, target, False, detail)


def _fill(root: Path, authority: LocalAuthority, algorithm: str, form: str, number: int) -> None:
    """Folders with key files of that form, each with a certificate of the authority."""
    keys = [generate_key(algorithm, where="bench") for _ in range(_FEW)]
    sealed = [seal_key(key, PASSWORD, scheme=form) for key in keys]
    for one in range(number):
        key, key_id, subject = keys[one % _FEW], token_bytes(8), parse_name(f"CN=Subscriber {one},O=Bench,C=KR")
        transaction = f"{root.name}-{one}"
        answer = authority.submit(Submission("issue", build_request(key, subject), "tls-client", transaction))
        authority.confirm(transaction)
        files = files_of_key(key_id, key, sealed[one % _FEW])
        files |= files_beside_key(key_id, answer.certificate_der, answer.chain_der, None)
        shelves.place(root, shelves.stage(root, key_id, files), answer.certificate_der)


def _reference(algorithm: str, number: int) -> tuple[float, float]:
    """Seconds for one key and two signatures, and how many of them were work; how long a prime takes is chance."""
    start, work = perf_counter(), process_time()
    for _ in range(number):
        sign = _KEYS[algorithm]()
        sign(b"request")
        sign(b"challenge")
    return (perf_counter() - start) / number, (process_time() - work) / number


def _rsa() -> Callable[[bytes], bytes]:
    key = rsa.generate_private_key(65537, 2048)
    return lambda data: key.sign(data, padding.PKCS1v15(), SHA256())


def _ec() -> Callable[[bytes], bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    return lambda data: key.sign(data, ec.ECDSA(SHA256()))


_KEYS = {"rsa-2048": _rsa, "ec-p256": _ec}


def _encrypting(form: str) -> float:
    key = generate_key("ec-p256", where="bench")
    work = process_time()
    seal_key(key, PASSWORD, scheme=form)
    return process_time() - work
