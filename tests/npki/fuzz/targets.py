"""What is fuzzed: each target takes any bytes, may raise ``DojangError``, and keeps its own promises about the rest."""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from cryptography.x509.ocsp import load_der_ocsp_request, load_der_ocsp_response

from dojang.authority.status.answer import UNKNOWN, Pen, Term, Verdict
from dojang.authority.status.request import HASHES, RequestMalformed, read_request
from dojang.authority.status.several import _nobody
from dojang.cmp.bodies import Certification, General, Kind
from dojang.cmp.factors import (
    FACTOR_ANSWERED,
    FACTOR_PREPARED,
    FACTORS_WANTED,
    FactorRequest,
    Outcome,
    Prepared,
    Wanted,
    wanted_in,
)
from dojang.cmp.faults import CmpFault
from dojang.cmp.macs import Mac
from dojang.cmp.messages import read_message, write_message
from dojang.cmp.proof import certificate_request, verify_proof
from dojang.errors import DojangError
from dojang.locations import pem_layout
from dojang.locations.file_contents import Contents
from dojang.locations.pem_blocks import Block, read_blocks
from dojang.locations.pkcs12_layout import laid_out, sorted_out
from dojang.locations.registry import open_location
from dojang.npki import derivation, keyfile, zips
from dojang.npki.folder import scan, staged_folder
from dojang.npki.names import ca_folder_name, subject_folder_name
from dojang.npki.pkcs12 import open_key_bag, read_bags, read_pkcs12
from dojang.npki.pkcs12_bags import Pkcs12
from dojang.npki.pkcs12_writing import write_bags, write_pkcs12
from dojang.npki.shelves import place, stage
from dojang.secret import Secret

PASSWORD = Secret("correct horse 1!")
_PEN = Pen(*_nobody(), delegated=True)
_TERM = Term(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
_SCRATCH = Path("/dev/shm") if Path("/dev/shm").is_dir() else None


def hurry() -> None:
    """Lower the cap on iterations: honest work is not what is looked for, and the caps have tests of their own."""
    derivation.MAX_ITERATIONS_PER_FILE = keyfile.MAX_ITERATIONS = 100_000


def key_file(data: bytes) -> None:
    """Opening; what opens is sealed and opened again, and is the same."""
    opened = keyfile.open_pkcs8(data, PASSWORD, "signPri.key")
    assert keyfile.open_pkcs8(keyfile.seal_pkcs8(opened.der, PASSWORD, 1), PASSWORD, "signPri.key") == opened
    keyfile.load_key(opened, "signPri.key")


def pkcs12(data: bytes) -> None:
    """Reading; what was read is written and read again, and is the same. As a location too, where nothing is lost."""
    found = read_pkcs12(data, PASSWORD, "a.p12")
    assert read_pkcs12(write_pkcs12(found, PASSWORD, iterations=1), PASSWORD, "a.p12") == found
    contents = _sorted_out(data)
    for one in contents.certificates:
        contents.chain_of(one.der)
    again = write_bags(laid_out(contents), PASSWORD, iterations=1)
    kept = read_pkcs12(again, PASSWORD, "a.p12")
    assert sorted(one.pkcs8.der for one in kept.entries) == sorted(one.pkcs8.der for one in found.entries)
    assert _certificates(kept) == _certificates(found)
    assert [one.state for one in _sorted_out(again).certificates] == [one.state for one in contents.certificates]


def _sorted_out(data: bytes) -> Contents:
    return sorted_out(read_bags(data, PASSWORD, "a.p12"), lambda bag: open_key_bag(bag, PASSWORD, "a.p12"))


def _certificates(found: Pkcs12) -> list[bytes]:
    return sorted([*(one.certificate_der or b"" for one in found.entries), *found.others_der])


def name(data: bytes) -> None:
    """Folder names of a DN: one legal name each, however long or hostile."""
    for make in (subject_folder_name, ca_folder_name):
        made = make(data)
        assert 0 < len(made.encode()) <= 255
        assert not set(made) & set('/\\:*?"<>|\0')
        assert made not in (".", "..")


def folder(data: bytes) -> None:
    """A zip of folders: read, brought into a root, and the root scanned; the same files laid out as they are, too."""
    with tempfile.TemporaryDirectory(dir=_SCRATCH) as scratch:
        (path := Path(scratch) / "a.zip").write_bytes(data)
        for number, found in enumerate(zips.read_zip(path)):
            laid_out = Path(scratch) / "NPKI" / "yessign" / "USER" / str(number)
            laid_out.mkdir(parents=True)
            for file_name, content in found.files.items():
                (laid_out / file_name).write_bytes(content)
            (laid_out / "dojang.json").write_bytes(found.files.get("CaPubs", b""))
            try:
                root = Path(scratch) / "NPKI"
                stage(root, b"\1", found.files)
                if one := staged_folder(root, b"\1"):
                    place(root, one.path, one.certificate_der)
            finally:
                for one in scan(Path(scratch) / "NPKI"):
                    assert one.key_id
                assert sorted(child.name for child in Path(scratch).iterdir()) == ["NPKI", "a.zip"]
                shutil.rmtree(Path(scratch) / "NPKI")


def pem(data: bytes) -> None:
    """As a location: what it lists opens, or says why not. The blocks, laid out again and read: nothing is lost."""
    with tempfile.TemporaryDirectory(dir=_SCRATCH) as scratch:
        (path := Path(scratch) / "a.pem").write_bytes(data)
        with open_location(f"pem:{path}", passwords=lambda _path, _new: PASSWORD) as location:
            listed = list(location.credentials())
            blocks = read_blocks(data)
            (text,) = pem_layout.laid_out(pem_layout.sorted_out([blocks]), 1)
            assert _insides(read_blocks(text.encode(errors="surrogateescape"))[0]) == _insides(blocks[0])
            for one in listed:
                location.private_key(one.key_id)
        assert path.read_bytes() == data


def _insides(blocks: list[Block]) -> list[bytes]:
    """What is in the blocks, without their order; the lines themselves where that is not base64."""

    def inside(block: Block) -> bytes:
        try:
            return block.der
        except ValueError:
            return block.body.encode(errors="surrogateescape")

    return sorted(map(inside, blocks))


def cmp(data: bytes) -> None:
    """A message: read, and what was read is written and read again, and is the same. Its MAC, its requests' proofs."""
    message = read_message(data)
    again = read_message(write_message(message.header, message.body, None, message.certificates))
    assert again.body == message.body
    assert (again.header.sender_der, again.header.information) == (
        message.header.sender_der,
        message.header.information,
    )
    _ = message.header.profiles, message.header.confirm_wait_at
    if isinstance(message.body, General):
        _factors(message.body)
    if (wanted := wanted_in(message.header.information)) is not None:
        _same(wanted)
    for request in message.body.requests if isinstance(message.body, Certification) else ():
        certificate_request(request)
        _ = request.old_certificate, request.registration_token, request.authenticator
        verify_proof(request, secret=PASSWORD)
    if message.header.protection is not None:
        Mac(PASSWORD, message.header.protection, most_iterations=1000).verify(b"", message.protected_der)


def _factors(body: General) -> None:
    """Questions and answers about factors: what was read is written and read again, and is the same."""
    for item in body.items:
        if item.kind not in (FACTORS_WANTED, FACTOR_PREPARED, FACTOR_ANSWERED):
            continue
        if body.kind == Kind.GENM:
            asked = FactorRequest.from_der(item.value_der)
            assert FactorRequest.from_der(asked.to_der()) == asked
        elif item.kind == FACTORS_WANTED:
            _same(Wanted.from_der(item.value_der))
        elif item.kind == FACTOR_PREPARED:
            _same(Prepared.from_der(item.value_der))
        else:
            _same(Outcome.from_der(item.value_der))


def _same(told: Wanted | Prepared | Outcome) -> None:
    assert type(told).from_der(told.information().value_der) == told


def ocsp(data: bytes) -> None:
    """A request: what was read can be answered, and another reader finds the same in it."""
    asked = read_request(data)
    with suppress(ValueError, NotImplementedError):  # the name of who asks is read there, too
        assert load_der_ocsp_request(data).serial_number == asked.certificates[0].serial
    known = [Verdict(one, UNKNOWN) for one in asked.certificates if one.algorithm in HASHES]
    if known:
        answer = load_der_ocsp_response(_PEN.write(known, _TERM, asked.nonce))
        assert [one.serial_number for one in answer.responses] == [one.certificate.serial for one in known]


TARGETS: dict[str, Callable[[bytes], None]] = {
    "keyfile": key_file,
    "pkcs12": pkcs12,
    "pem": pem,
    "name": name,
    "folder": folder,
    "cmp": cmp,
    "ocsp": ocsp,
}


def survives(target: str, data: bytes) -> DojangError | CmpFault | RequestMalformed | None:
    """The error of ours that a target answered with, if any; whatever else it raises goes on."""
    try:
        TARGETS[target](data)
    except (DojangError, CmpFault, RequestMalformed) as error:
        return error
    return None
