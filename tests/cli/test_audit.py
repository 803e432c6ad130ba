"""``dojang audit``: looking at the record, checking it, and carrying it away."""

import base64
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def office(tmp_path_factory, make_token, dojang_at):
    """A home with an authority that has issued and revoked, used by all tests here; each gets a copy."""
    home = tmp_path_factory.mktemp("audit") / "dojang"
    home.mkdir()
    token = make_token()

    def run(*words):
        done = dojang_at(home)(*words, "--pin-source", token.pin_source, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)["data"]

    run("ca", "init", "--alias", "office", "--key", f"{token.uri};object=root", "--name", "CN=Office CA,C=KR")
    issued = run("cert", "issue", "--to", token.uri, "--subject", "CN=Hong")["credential"]
    run("ca", "revoke", issued["serial"], "--reason", "keyCompromise")
    return home, token


@pytest.fixture
def run(office, tmp_path, dojang_at):
    home, token = office
    own = tmp_path / "home" / "dojang"
    shutil.copytree(home, own)

    def run(*words, status=0, pin=True):
        more = ("--pin-source", token.pin_source) if pin else ("--no-input",)
        done = dojang_at(own)("audit", *words, *more, "--json")
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)

    run.home, run.store = own, next(own.rglob("store.sqlite"))
    return run


def touch(store: Path, *statements: str) -> None:
    """What only the owner of the file can do."""
    connection = sqlite3.connect(store)
    for name in ("audit_no_update", "audit_no_delete"):
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_the_story_is_on_record(run):
    """Founding, issuing and revoking stand there in order, with who did it, and without a PIN being asked."""
    entries = run("tail", pin=False)["data"]["entries"]
    events = [entry["event"] for entry in entries]
    assert [one for one in events if one != "crl-published"] == [
        *("authority-founded", "certificate-issued", "certificate-confirmed", "certificate-revoked")
    ]
    assert events[-1] == "crl-published"
    assert [entry["number"] for entry in entries] == list(range(1, len(entries) + 1))
    assert {entry["actor"].split(":")[0] for entry in entries} == {"local"}
    revoked = entries[events.index("certificate-revoked")]
    assert revoked["details"] == {"reason": "keyCompromise"}
    assert len(run("tail", "-n", "2", pin=False)["data"]["entries"]) == 2


def test_an_untouched_record_is_whole(run):
    """Publishing a list signed the head, so every row is covered."""
    data = run("verify", pin=False)["data"]
    assert (data["valid"], data["findings"]) == (True, [])
    assert data["sealed"] == data["entries"] > 4
    assert data["compared"] == {"certificate": 1, "enrolment": 0, "officer": 0, "signer": 1}


def test_a_changed_row_is_named(run):
    """Status 13, the row's number, and what to do."""
    touch(run.store, "UPDATE audit SET actor = 'local:nobody' WHERE seq = 3")
    error = run("verify", pin=False, status=13)["error"]
    assert error["code"] == "verification-failed"
    assert "row 3 is not what was written" in error["message"]
    assert error["details"]["findings"] == [{"kind": "changed", "row": 3, "problem": "row 3 is not what was written"}]


def test_a_state_that_was_changed_in_the_tables_is_named(run):
    """Status 13, what it is, the row that says otherwise; the record alone is whole."""
    connection = sqlite3.connect(run.store)
    connection.execute("UPDATE certificate SET state = 'confirmed', reason = NULL, revoked_at = NULL")
    serial = connection.execute("SELECT serial FROM certificate").fetchone()[0]
    connection.commit()
    connection.close()
    found = run("verify", pin=False, status=13)["error"]["details"]["findings"]
    assert {(one["kind"], one["subject"]) for one in found} == {("certificate-differs", serial)}
    rows = {entry["number"]: entry["event"] for entry in run("tail", pin=False)["data"]["entries"]}
    assert {rows[one["row"]] for one in found} == {"certificate-revoked"}
    assert run("verify", "--no-tables", pin=False)["data"]["compared"] is None


def test_a_head_kept_outside_tells_of_removal_at_the_end(run, tmp_path):
    """Whoever removes the last rows and their heads passes the check of the database, and fails that of the head."""
    kept = tmp_path / "office.head"
    head = run("head", "-o", kept, pin=False)["data"]["head"]
    touch(run.store, "DROP TRIGGER audit_head_no_delete", "DELETE FROM audit WHERE seq > 3", "DELETE FROM audit_head")
    assert run("verify", "--no-tables", pin=False)["data"]["sealed"] == 0
    message = run("verify", "--head", kept, pin=False, status=13)["error"]["message"]
    assert f"rows 4 to {head['entries']} are missing at the end" in message


INDEPENDENT = """
import base64, hashlib, json, struct, sys
lines = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
first, rows, last = lines[0], lines[1:-1], lines[-1]
root = base64.b64decode(first["certificate"])
previous = hashlib.sha256(b"dojang audit 1\\0" + root).digest()
for number, row in enumerate(rows, start=1):
    texts = [str(row["seq"]), row["at"], row["actor"], row["event"], row["subject"], row["details"]]
    digest = hashlib.sha256(previous)
    for octets in map(str.encode, texts):
        digest.update(struct.pack(">I", len(octets)) + octets)
    previous = digest.digest()
    assert row["seq"] == number and previous.hex() == row["hash"], number
said = dict(line.split(": ") for line in last["head"].splitlines()[1:])
assert said["authority"] == hashlib.sha256(root).hexdigest()
assert said["entries"] == str(len(rows)) and said["hash"] == previous.hex()
for name, octets in (("text", last["head"].encode()), ("sig", base64.b64decode(last["signature"]))):
    open(sys.argv[2] + "/head." + name, "wb").write(octets)
for number, der in enumerate(last["certificates"]):
    open(f"{sys.argv[2]}/{number}.der", "wb").write(base64.b64decode(der))
"""


def independently(file: Path, folder: Path) -> bool:
    """Whether a program that shares nothing with ours, and openssl for the signature, find the file good."""
    program = [sys.executable, "-I", "-c", INDEPENDENT, file, folder]
    if subprocess.run(program, capture_output=True).returncode:
        return False
    key = [
        "openssl",
        "x509",
        "-inform",
        "DER",
        "-in",
        folder / "0.der",
        "-pubkey",
        "-noout",
        "-out",
        folder / "key.pem",
    ]
    subprocess.run(key, check=True)
    verify = ["openssl", "dgst", "-sha256", "-verify", folder / "key.pem", "-signature", folder / "head.sig"]
    done = subprocess.run([*verify, folder / "head.text"], capture_output=True, text=True)
    return done.returncode == 0 and "Verified OK" in done.stdout


def test_an_exported_record_stands_alone(run, tmp_path):
    """Our check needs nothing but the file; nor does one of 20 lines with openssl; both see a letter that changed."""
    file = tmp_path / "office.jsonl"
    data = run("export", "--to", file)["data"]
    assert data["entries"] == data["head"]["entries"]
    checked = run("verify", "--file", file, pin=False)["data"]
    assert checked["sealed"] == checked["entries"] == data["entries"]
    assert independently(file, tmp_path)
    assert run("tail", "-n", "1", pin=False)["data"]["entries"][0]["event"] == "audit-exported"
    good = file.read_bytes()
    for number, (was, becomes) in enumerate(((b"keyCompromise", b"superseded"), (b"local:", b"locaI:"))):
        file.write_bytes(good.replace(was, becomes, 1))
        assert run("verify", "--file", file, pin=False, status=13)["error"]["details"]["findings"], number
        assert not independently(file, tmp_path)
    lines = good.splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:-2], lines[-1]]))
    assert "missing at the end" in run("verify", "--file", file, pin=False, status=13)["error"]["message"]
    file.write_bytes(b"".join(lines[:-1]))
    assert run("verify", "--file", file, pin=False, status=10)["error"]["code"] == "file-malformed"


def test_signing_a_head_by_hand(run):
    """After new rows a head is signed on request; a wrong place for a PIN leaves no row of an export."""
    before = run("head", pin=False)["data"]["head"]
    run("export", "--to", "/nonexistent/x", status=9)  # the row of the export itself is there
    after = run("head", "--sign")["data"]["head"]
    assert after["entries"] == before["entries"] + 1
    assert after["text"].startswith("dojang audit head 1\n")
    assert base64.b64decode(after["signature"])


def test_following_shows_what_is_added(run, dojang_at):
    """Each row is a line as soon as it is there; --timeout ends it in good order."""
    done = dojang_at(run.home)("audit", "tail", "--follow", "-n", "3", "--timeout", "1", "--json")
    assert done.returncode == 0, done.stderr
    numbers = [json.loads(line)["data"]["entry"]["number"] for line in done.stdout.splitlines()]
    assert len(numbers) == 3
    assert numbers == sorted(numbers)


def test_a_plan_changes_nothing(run, tmp_path):
    """--plan writes neither file nor row."""
    before = run("tail", pin=False)["data"]["entries"]
    run("export", "--to", tmp_path / "x", "--plan", pin=False)
    run("head", "--sign", "--plan", pin=False)
    assert not (tmp_path / "x").exists()
    assert run("tail", pin=False)["data"]["entries"] == before
