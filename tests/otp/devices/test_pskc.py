"""Seeds between PSKC files and registered devices: all or nothing, on the HSM, as python-pskc and pskctool read it."""

import io
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from pskc import PSKC
from sqlalchemy import event
from tests.otp.devices.conftest import HOTP, TOTP, Desk, Fob

from dojang.authority.audit import reading
from dojang.authority.audit.verify import verify
from dojang.errors import AlreadyExists, FileMalformed, InvalidOtp, NotPermitted, TransportKeyWrong
from dojang.otp.devices import NewDevice
from dojang.otp.parameters import OtpParameters
from dojang.otp.pskc import read_container
from dojang.otp.pskc.transfer import Transfer, ids_in
from dojang.otp.pskc.writing import NAMED, Transport
from dojang.secret import Secret

SEED = b"12345678901234567890"
KEY = bytes(range(16))
SECRET = Secret(KEY.hex())
URN = "urn:ietf:params:xml:ns:keyprov:pskc"


def _made(*serials: str, cipher: str = "aes128-cbc", seed: bytes = SEED, key: bytes = KEY, **more: object) -> bytes:
    """What somebody sends who uses python-pskc."""
    sent = PSKC()
    for serial in serials:
        said = {"algorithm": f"{URN}:hotp", "secret": seed, "serial": serial, "counter": 5, "response_length": 6}
        sent.add_key(id=f"key-{serial}", **{**said, **more})
    sent.encryption.setup_preshared_key(key=key, algorithm=cipher)
    written = io.BytesIO()
    sent.write(written)
    return written.getvalue()


@pytest.fixture
def transfer(desk: Desk) -> Transfer:
    return Transfer(desk.database, desk.devices, "test")


def _take(transfer: Transfer, document: bytes, given: Secret | None = SECRET, **more):
    container = read_container(document, "seeds.xml")
    return transfer.take(container, given, dict.fromkeys(ids_in(container), "hong"), **more)


@pytest.mark.parametrize(("cipher", "seed"), [("aes128-cbc", SEED), ("kw-aes128", SEED + b"1234")])
def test_devices_of_a_file_are_registered(desk, transfer, cipher, seed):
    """Their codes are accepted from the counter on that the file tells; a second run finds them there."""
    told = []
    taken = _take(
        transfer, _made("1", "2", "3", cipher=cipher, seed=seed), progress=lambda *so_far: told.append(so_far)
    )
    assert [one.id for one in taken.added] == ["1", "2", "3"]
    assert {one.applicant for one in taken.added} == {"hong"}
    assert told == [(1, 3), (2, 3), (3, 3)]
    fob = Fob("2", seed, HOTP, counter=5)
    assert not desk.accepts(fob, fob.shown(4))
    assert desk.accepts(fob, fob.press())
    again = _take(transfer, _made("1", "2", "3", "4", cipher=cipher, seed=seed))
    assert ([one.id for one in again.added], again.present) == (["4"], ["1", "2", "3"])
    assert desk.audited().count("otp-added") == 4


def test_a_wrapped_seed_is_not_opened_here(desk, transfer, monkeypatch):
    """The HSM unwraps it: nothing in this process is asked to."""
    monkeypatch.setattr("dojang.otp.pskc.protection.Cipher.decrypted", lambda *_: pytest.fail("opened on the host"))
    document = _made("9", cipher="kw-aes128", seed=SEED + b"1234")
    document = document.replace(b"<pskc:MACMethod>", b"<!--").replace(b"</pskc:MACMethod>", b"-->")
    assert [one.id for one in _take(transfer, document).added] == ["9"]


def test_a_padded_wrap_is_taken(desk, transfer):
    """RFC 5649, with a seed of twenty bytes, whichever of HSM and host can."""
    import base64

    from cryptography.hazmat.primitives.keywrap import aes_key_wrap, aes_key_wrap_with_padding

    document = _made("7", cipher="kw-aes128", seed=SEED + b"1234")
    old, new = aes_key_wrap(KEY, SEED + b"1234"), aes_key_wrap_with_padding(KEY, SEED)
    document = document.replace(base64.b64encode(old), base64.b64encode(new))
    _take(transfer, document.replace(b"2001/04/xmlenc#kw-aes128", b"2009/xmlenc11#kw-aes-128-pad"))
    fob = Fob("7", SEED, HOTP, counter=5)
    assert desk.accepts(fob, fob.press())


@pytest.mark.parametrize("cipher", ["aes128-cbc", "kw-aes128"])
@pytest.mark.parametrize("given", ["ff" * 16, "ff" * 32, "no key", ""])
def test_a_wrong_key_registers_nothing(desk, transfer, cipher, given):
    """Neither in the records nor on record."""
    with pytest.raises(TransportKeyWrong):
        _take(transfer, _made("1", "2", cipher=cipher, seed=SEED + b"1234"), Secret(given))
    assert desk.devices.listed() == []
    assert "otp-added" not in desk.audited()


def test_one_that_does_not_fit_keeps_all_out(desk, transfer):
    """A seed under an id that has another one, or one too short: not one of the file is registered."""
    _take(transfer, _made("2"))
    with pytest.raises(AlreadyExists):
        _take(transfer, _made("1", "2", seed=b"another seed of 24 bytes"))
    with pytest.raises(InvalidOtp):
        _take(transfer, _made("5", "6", seed=b"short"))
    desk.devices.remove("2")
    with pytest.raises(AlreadyExists):
        _take(transfer, _made("1", "2"))
    assert desk.devices.listed() == []


def test_what_devices_are_called(desk, transfer):
    """By the number on the device; with the key's own where one device has several; never two alike."""
    figure = Path(__file__).parents[1] / "pskc" / "rfc6030" / "figure10.xml"
    document = figure.read_bytes()
    assert list(ids_in(read_container(document, "seeds.xml"))) == ["654321", "123456", "9999999-3", "9999999-4"]
    alike = read_container(document.replace(b">654321<", b">9999999-3<"), "seeds.xml")
    with pytest.raises(FileMalformed):
        transfer.take(alike, None, {})


PASSWORD = Secret("correct horse")
TRANSPORTS = {name: Transport.by_key(Secret("0f" * (16 if "128" in name else 32)), name) for name in NAMED}


@pytest.mark.parametrize("name", [*NAMED, "password"])
@pytest.mark.parametrize(
    "parameters", [HOTP, OtpParameters("totp", "sha256", 8, 60), OtpParameters("ocra", suite="OCRA-1:HOTP-SHA1-6:QN08")]
)
def test_what_is_exported_is_read_elsewhere(desk, transfer, tmp_path: Path, name, parameters, monkeypatch):
    """By python-pskc with the same key, by pskctool against the schema, and by ourselves; it is the same seed."""
    monkeypatch.setattr("dojang.otp.pskc.writing._ITERATIONS", 1000)
    transport = TRANSPORTS.get(name) or Transport.by_password(PASSWORD)
    made = desk.devices.add(NewDevice(parameters, "hong", "bank & <co>", counter=3, exportable=True))
    document = transfer.give([made.id], transport)

    theirs = PSKC(io.BytesIO(document))
    if name == "password":
        theirs.encryption.derive_key(PASSWORD.reveal().decode())
    else:
        theirs.encryption.key = transport.key
    (key,) = theirs.keys
    assert key.check() is not False
    assert (key.serial, key.issuer, key.algorithm) == (made.id, "test", f"{URN}:{parameters.kind}")
    assert key.response_length == parameters.digits
    sealed = desk.devices.for_export(made.id, "pskc")[1]
    assert key.secret == desk.devices.vault.reveal_unprotected(sealed)
    assert key.counter == (3 if parameters.kind == "hotp" else None)

    path = tmp_path / "seeds.xml"
    path.write_bytes(document)
    read = subprocess.run(["pskctool", "--info", path], capture_output=True, text=True, check=True)
    assert made.id in read.stdout
    checked = subprocess.run(["pskctool", "--validate", path], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout.strip()) == (0, "OK"), checked.stderr

    (ours,) = read_container(document, "seeds.xml").keys
    assert (ours.parameters.digits, ours.parameters.hash_name) == (parameters.digits, parameters.hash_name)
    assert ours.parameters.suite == parameters.suite
    assert ours.parameters.account == "bank & <co>"
    assert "otp-exported" in desk.audited()


def test_what_was_exported_comes_back(desk, transfer):
    """The device is there already, with that seed."""
    transport = Transport.by_key(SECRET)
    made = desk.devices.add(NewDevice(TOTP, "hong", "bank", exportable=True))
    again = _take(transfer, transfer.give([made.id], transport))
    assert (again.added, again.present) == ([], [made.id])


def test_only_what_was_made_for_it_is_exported(desk, transfer):
    """One that was not keeps the others from being written, too."""
    free = desk.devices.add(NewDevice(TOTP, "hong", exportable=True))
    kept = desk.devices.add(NewDevice(TOTP, "hong"))
    with pytest.raises(NotPermitted):
        transfer.give([free.id, kept.id], Transport.by_key(SECRET))


def test_a_clock_that_is_off_is_known_from_the_file(desk, transfer):
    """Its codes are accepted at once; a file that is written tells of it as it is by then."""
    fob = Fob("8", SEED, TOTP, off=timedelta(minutes=-5))
    document = _made("8", algorithm=f"{URN}:totp", counter=None, time_interval=30, time_drift=-10)
    _take(transfer, document, exportable=True)
    assert desk.accepts(fob, fob.at(desk.now))
    written = transfer.give(["8"], Transport.by_key(SECRET))
    assert read_container(written, "out.xml").keys[0].drift == -10


def test_many_devices_keep_the_others_waiting_for_a_few_statements(desk, transfer):
    """While they are registered, all or none, nobody else writes; each is on record, and the record hangs together."""
    devices = desk.devices
    sealed = devices.vault.make("sha1")
    statements: list[str] = []

    def count(_connection, _cursor, statement, *_):
        statements.append(statement)

    event.listen(desk.database._engine, "before_cursor_execute", count)
    try:
        added = devices.add_many([NewDevice(HOTP, "hong", sealed=sealed, id=f"d{at}") for at in range(400)])
    finally:
        event.remove(desk.database._engine, "before_cursor_execute", count)
    assert [one.id for one in added] == [f"d{at}" for at in range(400)]
    assert len(statements) < 20
    assert desk.audited().count("otp-added") == 400
    outcome = verify(reading.root_of(desk.database), reading.entries(desk.database))
    assert (outcome.findings, outcome.entries) == ((), len(desk.audited()))
    for twice in ("d9", "x"):
        with pytest.raises(AlreadyExists):
            devices.add_many([NewDevice(HOTP, sealed=sealed, id=one) for one in ("x", twice)])
    assert len(devices.listed(limit=1000)) == 400
