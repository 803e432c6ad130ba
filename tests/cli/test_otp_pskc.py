"""``dojang otp import``, ``export`` and ``add --pskc``: seeds in PSKC files, from the command line."""

import base64
import io
import stat
from pathlib import Path

import pyotp
import pytest
from pskc import PSKC

RFC = Path(__file__).parent.parent / "otp" / "pskc" / "rfc6030"
KEY = "000102030405060708090a0b0c0d0e0f"
SEED = b"12345678901234567890"


@pytest.fixture
def office(plain_office, monkeypatch):
    """With the transport key where ``env:KEY`` finds it."""
    monkeypatch.setenv("KEY", KEY)
    return plain_office


def _sent(path: Path, *serials: str, cipher: str = "aes128-cbc", kind: str = "totp") -> Path:
    sent = PSKC()
    for serial in serials:
        algorithm = f"urn:ietf:params:xml:ns:keyprov:pskc:{kind}"
        sent.add_key(id=serial, serial=serial, secret=SEED, algorithm=algorithm, response_length=6, time_interval=30)
    sent.encryption.setup_preshared_key(key=bytes.fromhex(KEY), algorithm=cipher)
    written = io.BytesIO()
    sent.write(written)
    path.write_bytes(written.getvalue())
    return path


def test_devices_of_a_maker_are_registered_and_given_on(office, tmp_path):
    """Whose each is comes from a list; the same file again says that all are there; what may leaves, encrypted."""
    hong, kim = office.applicant("Hong"), office.applicant("Kim")
    owners = tmp_path / "owners.csv"
    owners.write_text(f"# serial,applicant\n1001,{hong}\n1002,{kim}\n")
    file = _sent(tmp_path / "seeds.xml", "1001", "1002", "1003")
    order = ("otp", "import", file, "--key-source", "env:KEY", "--map", owners, "--exportable")
    assert office.data(*order, "--plan")["changed"] is False
    taken = office.data(*order)
    assert (taken["added"], taken["present"]) == (["1001", "1002", "1003"], [])
    again = office.data(*order)
    assert (again["added"], again["present"]) == ([], ["1001", "1002", "1003"])

    out = tmp_path / "out.xml"
    office.data("otp", "export", "1001", "1002", "--to", out, "--key-source", "env:KEY")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    theirs = PSKC(str(out))
    theirs.encryption.key = bytes.fromhex(KEY)
    seeds = {key.serial: key.secret for key in theirs.keys}
    assert seeds.keys() == {"1001", "1002"}
    assert all(seed.rstrip(b"\0") == SEED for seed in seeds.values())
    assert (
        office.run("otp", "export", "1001", "--to", out, "--key-source", "env:KEY")["error"]["code"] == "already-exists"
    )
    gone = office.run("otp", "export", "none", "--to", tmp_path / "none.xml", "--key-source", "env:KEY")
    assert gone["error"]["code"] == "not-found"
    assert not (tmp_path / "none.xml").exists()


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [
        ("wrong key", 7, "transport-key-wrong"),
        ("half", 10, "file-malformed"),
        ("document type", 10, "file-malformed"),
        ("no file", 3, "file-unreadable"),
        ("no applicant", 3, "not-found"),
        ("no list", 10, "file-malformed"),
        ("no keys", 3, "not-found"),
    ],
)
def test_what_cannot_be_imported(office, tmp_path, what, status, code):
    """Told in one sentence, and nothing is registered."""
    file = _sent(tmp_path / "seeds.xml", "2001")
    more: list[object] = []
    if what == "half":
        file.write_bytes(file.read_bytes()[:500])
    elif what == "document type":
        file.write_bytes(b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>')
    elif what == "no file":
        file.unlink()
    elif what == "no applicant":
        more = ["--applicant", "nobody"]
    elif what == "no list":
        (tmp_path / "list").write_text("2001\n")
        more = ["--map", tmp_path / "list"]
    elif what == "no keys":
        file.write_bytes((RFC / "figure4.xml").read_bytes())
    env = {"KEY": "ff" * 16} if what == "wrong key" else {}
    done = office.run("otp", "import", file, "--key-source", "env:KEY", *more, env=env)
    assert (done["status"], done["error"]["code"]) == (status, code)
    left = office.run("otp", "export", "2001", "--to", tmp_path / "x.xml", "--key-source", "env:KEY")
    assert left["error"]["code"] == "not-found"


def test_a_key_that_does_not_fit_or_is_not_there_is_told(office, tmp_path):
    """By how many bits were wanted, and by the flag that names another."""
    to = ("otp", "export", "2001", "--to", tmp_path / "x.xml", "--key-source")
    short = office.run(*to, "env:KEY", "--cipher", "aes256-cbc", env={"KEY": "00" * 16})
    assert "aes256-cbc wants a key of 256 bits, and this one has 128" in short["error"]["message"]
    gone = office.run(*to, "env:NOTHING")["error"]
    assert gone["message"].startswith("The key or password of the PSKC file could not be read from env:NOTHING")
    assert "--key-source" in gone["next"]


def test_plain_seeds_are_warned_of(office):
    """A file that is not encrypted is read, and told of; it wants no key."""
    done = office.run("otp", "import", RFC / "figure3.xml")
    assert done["data"]["added"] == ["987654321"]
    assert "not encrypted" in done["told"]


def test_a_seed_out_of_a_file_for_a_device_at_hand(office, make_token, tmp_path):
    """``otp add --pskc``: into a token, which then computes what pyotp does."""
    token = make_token()
    file = _sent(tmp_path / "seed.xml", "3001", kind="hotp")
    pin = ("--pin-source", token.pin_source)
    seed = office.data("otp", "add", token.uri, "--pskc", file, "--key-source", "env:KEY", *pin)["seed"]
    assert (seed["name"], seed["kind"]) == ("3001", "hotp")
    shown = office.data("otp", "code", seed["address"], *pin)["code"]
    assert shown == pyotp.HOTP(base64.b32encode(SEED).decode()).at(0)
    wrong = office.run(
        "otp", "add", token.uri, "--pskc", file, "--key-source", "env:WRONG", *pin, env={"WRONG": "00" * 16}
    )
    assert wrong["error"]["code"] == "transport-key-wrong"


def test_a_file_that_should_be_encrypted_and_is_not_is_refused(office, tmp_path):
    """Whoever gives its key expects it to be: somebody may have put another one in its place."""
    plain = tmp_path / "seeds.xml"
    plain.write_bytes((RFC / "figure3.xml").read_bytes().replace(b"987654321", b"5001"))
    done = office.run("otp", "import", plain, "--key-source", "env:KEY")
    assert (done["status"], done["error"]["code"]) == (7, "transport-key-wrong")
    left = office.run("otp", "export", "5001", "--to", tmp_path / "x.xml", "--key-source", "env:KEY")
    assert left["error"]["code"] == "not-found"


@pytest.mark.parametrize(
    "rows",
    ["6001,{hong}\n6002,{hong}\n6001,{kim}\n", "6001,{hong}\n6O02,{kim}\n", "6001,{hong}\n6002,\n"],
    ids=["two owners", "a number that is not in the file", "nobody"],
)
def test_a_list_that_does_not_fit_its_file_is_refused(office, tmp_path, rows):
    """Nobody gets the device of somebody else, and none is left without its owner, by a slip in the list."""
    hong, kim = office.applicant("Hong"), office.applicant("Kim")
    owners = tmp_path / "owners.csv"
    owners.write_text(rows.format(hong=hong, kim=kim))
    file = _sent(tmp_path / "seeds.xml", "6001", "6002")
    done = office.run("otp", "import", file, "--key-source", "env:KEY", "--map", owners)
    assert (done["status"], done["error"]["code"]) == (10, "file-malformed")


def test_a_list_out_of_a_spreadsheet_is_read(office, tmp_path):
    """With the mark that such programs put before the first letter of a file."""
    hong, owners = office.applicant("Hong"), tmp_path / "owners.csv"
    owners.write_text(f"7001,{hong}\n", encoding="utf-8-sig")
    file = _sent(tmp_path / "seeds.xml", "7001")
    office.data("otp", "import", file, "--key-source", "env:KEY", "--map", owners)
    listed = office.data("otp", "list", "--ca", "office", "--applicant", hong)["devices"]
    assert [one["id"] for one in listed] == ["7001"]
