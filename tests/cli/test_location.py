"""``dojang location``: what scripts read, what people are told, how it ends, and what openssl reads of it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.lifecycle.test_copy import self_signed

from dojang.cli.run import run
from dojang.ledger import Event, Ledger
from dojang.lifecycle.drill import put_in
from dojang.locations.registry import open_location
from dojang.secret import Secret

OLD, NEW = "correct horse 1!", "battery staple 2!"
Dojang = Callable[..., dict]


@pytest.fixture
def files(home: Path) -> Path:
    """A folder for what is exported, with the passwords and PINs in files beside it."""
    for name, secret in (("old", OLD), ("new", NEW)):
        (home / name).write_text(secret)
        (home / name).chmod(0o600)
    (home / "files").mkdir()
    return home / "files"


@pytest.fixture
def token(make_token, softhsm_module: str, monkeypatch: pytest.MonkeyPatch):
    made = make_token()
    monkeypatch.setenv("DOJANG_MODULE", softhsm_module)
    monkeypatch.setenv("DOJANG_PIN_SOURCE", made.pin_source)
    return made


@pytest.fixture
def dojang(files: Path, home: Path, capfd: pytest.CaptureFixture[str], quick_passwords: None) -> Dojang:
    """Runs ``dojang location ARGS --json`` here, with the old password for what exists; the document and the status."""

    def call(*words: object, new: str | None = "new", ok: bool = True, old: str = "old") -> dict:
        sources = ["--password-source", f"file:{home / old}"]
        sources += ["--new-password-source", f"file:{home / new}"] if new else []
        status = run(["location", *map(str, words), *sources, "--no-input", "--json"])
        captured = capfd.readouterr()
        document = json.loads(captured.out)
        assert document["ok"] == (status == 0)
        assert not ok or status == 0, captured
        assert OLD not in captured.out + captured.err
        return {"status": status, "err": captured.err, **(document.get("data") or document["error"])}

    return call


def put(address: str, name: str = "홍길동", **how: object) -> str:
    """A credential under the old password; its address."""
    parcel = self_signed(name, **how)
    with open_location(address, passwords=lambda path, new: Secret(OLD)) as location:
        put_in(parcel, location, parcel.label)
        return next(one.address for one in location.credentials() if one.certificate_der == parcel.certificate_der)


def test_copy_to_a_token(dojang: Dojang, token, files: Path, quick_passwords: None) -> None:
    """The fields of scripts, what was checked, and progress on standard error; again, there is nothing to do."""
    address = put(f"npki:{files}/NPKI")
    done = dojang("copy", address, "--to", token.uri, new=None)
    assert done["credential"]["location"] == "token"
    assert not done["credential"]["key_leaves"]
    assert not done["already"]
    assert done["left_out"] == []
    assert {"opened-again", "signature", "r"} <= {one["name"] for one in done["checks"] if one["ok"]}
    assert "Putting the key into its new place" in done["err"]
    again = dojang("copy", address, "--to", token.uri, new=None)
    assert again["already"]
    assert again["credential"]["address"] == done["credential"]["address"]
    signed = run(
        ["sign", "raw", "--key", done["credential"]["address"], str(files.parent / "old"), "-o", str(files / "s")]
    )
    assert signed == 0


def test_a_copy_of_what_was_renewed_is_replaced(dojang: Dojang, token, files: Path, quick_passwords: None) -> None:
    """The error says how; then the new one has the old one's address, and the old one is there, retired."""
    copied = dojang("copy", put(f"npki:{files}/old", begins=-20, days=400), "--to", token.uri, new=None)["credential"]
    words = ["copy", put(f"npki:{files}/NPKI", days=400), "--to", token.uri]
    refused = dojang(*words, new=None, ok=False)
    assert (refused["status"], "--replace" in refused["next"]) == (9, True)
    assert "Give the new credential the name" in dojang(*words, "--replace", "--plan", new=None)["plan"][-1]
    assert dojang(*words, "--replace", "--label", "other", new=None, ok=False)["status"] == 2
    done = dojang(*words, "--replace", new=None)
    assert (done["credential"]["address"], done["credential"]["state"]) == (copied["address"], "valid")
    assert (done["previous"]["serial"], done["previous"]["state"]) == (copied["serial"], "retired")


def test_what_a_token_keeps_is_refused_with_advice(dojang: Dojang, token, home: Path, files: Path) -> None:
    """Exit status 9; who issues a second certificate, or the command where that is an authority known here."""
    there = dojang("copy", put(f"npki:{files}/NPKI"), "--to", token.uri, new=None)["credential"]["address"]
    for verb, to in (("copy", f"npki:{files}/other"), ("move", f"pkcs12:{files}/a.p12")):
        refused = dojang(verb, there, "--to", to, ok=False)
        assert (refused["status"], refused["code"]) == (9, "key-does-not-leave")
        assert "Ask the institution that issued it (CN=홍길동)" in refused["next"]
        assert to in refused["next"]
    known = {"authority": "office", "profile": "personal"}
    with Ledger.open(home / "state" / "ledger.sqlite") as ledger:
        fingerprint = ledger.history(there)[0].fingerprint
        ledger.record(Event("issued", there, fingerprint, known))
    refused = dojang("copy", there, "--to", f"npki:{files}/other", ok=False)
    assert f"dojang cert issue --to 'npki:{files}/other' --subject 'CN=홍길동'" in refused["next"]
    for verb in ("export", "backup"):
        refused = dojang(verb, there, "--to", files / "a.p12", ok=False)
        assert (refused["status"], refused["code"]) == (9, "key-does-not-leave")
    assert not (files / "a.p12").exists()


def test_move_tells_what_is_gone(dojang: Dojang, files: Path) -> None:
    """``previous`` is the credential as it was; the new password opens what is written, the old one does not."""
    address = put(f"npki:{files}/NPKI")
    done = dojang("move", address, "--to", f"npki:{files}/other/NPKI")
    assert done["previous"]["address"] == address
    assert dojang("move", address, "--to", f"npki:{files}/other/NPKI")["already"]
    back = dojang("move", done["credential"]["address"], "--to", f"npki:{files}/NPKI", ok=False)
    assert (back["status"], back["code"]) == (7, "password-incorrect")


def test_without_a_new_password_the_copy_keeps_the_old(dojang: Dojang, files: Path) -> None:
    """And says so; without any, it says which flag is missing."""
    address = put(f"npki:{files}/NPKI")
    done = dojang("copy", address, "--to", f"npki:{files}/other/NPKI", new=None)
    assert "keeps that of the original" in done["err"]
    assert dojang("move", done["credential"]["address"], "--to", f"npki:{files}/third/NPKI")["previous"]
    assert run(["location", "copy", address, "--to", f"npki:{files}/fourth", "--no-input"]) == 2
    assert not (files / "fourth").exists()


def test_plan_changes_nothing(dojang: Dojang, files: Path, token) -> None:
    """Each step in words, nothing made, no password read; what would be refused is refused already."""
    address, to = put(f"npki:{files}/NPKI"), f"npki:{files}/other"
    steps = {
        ("copy", address, "--to", token.uri): 4,
        ("move", address, "--to", to): 5,
        ("export", address, "--to", files / "a.p12"): 4,
        ("import", files / "NPKI", "--to", to): 4,
        ("restore", files / "NPKI", "--to", token.uri): 4,
        ("backup", address, "--to", files / "b.p12"): 3,
    }
    for words, count in steps.items():
        done = dojang(*words, "--plan", old="none")
        assert len(done["plan"]) == count, done["plan"]
        assert not done["changed"]
    assert {path.name for path in files.iterdir()} == {"NPKI"}
    put(to)
    assert dojang("move", address, "--to", to, "--plan", ok=False)["code"] == "already-exists"


def test_whatever_nobody_reads_the_work_is_done(files: Path, home: Path) -> None:
    """A reader that left, or a full disk, ends nothing in the middle; and no error becomes a success."""
    source = ["--password-source", f"file:{home / 'old'}", "--json"]
    command = [sys.executable, "-m", "dojang", "location", "copy", put(f"npki:{files}/NPKI")]
    reading, gone = os.pipe()
    os.close(reading)
    with Path("/dev/full").open("w") as full, os.fdopen(gone, "w") as pipe:
        for to, remarks in (("pipe", pipe), ("full", full)):
            words = [*command, "--to", f"npki:{files}/{to}/NPKI", *source]
            done = subprocess.run(words, stdout=subprocess.PIPE, stderr=remarks, timeout=60)
            assert (done.returncode, json.loads(done.stdout)["ok"]) == (0, True)
        for stdout, stderr, json_wanted in ((None, pipe, []), (pipe, None, ["--json"])):
            words = [*command[:-1], f"npki:{files}/none", "--to", f"npki:{files}/x", *json_wanted]
            assert subprocess.run(words, stdout=stdout, stderr=stderr, timeout=60).returncode == 3
    with Ledger.open(home / "state" / "ledger.sqlite") as ledger:
        assert ledger.incomplete() == []


def test_openssl_reads_what_was_exported(dojang: Dojang, files: Path) -> None:
    """PKCS#12 and PEM under the new password, the certificate alone without any; the file's name says which."""
    address = put(f"npki:{files}/NPKI", "Hong", key=ec.generate_private_key(ec.SECP256R1()))
    password = f"pass:{NEW}"
    for name, words in {
        "hong.p12": ["pkcs12", "-nodes", "-passin", password],
        "hong.pem": ["pkey", "-passin", password],
    }.items():
        done = dojang("export", address, "--to", files / name)
        assert done["file"] == str(files / name)
        assert (files / name).stat().st_mode & 0o777 == 0o600
        read = subprocess.run(["openssl", *words, "-in", files / name], capture_output=True, text=True)
        assert "PRIVATE KEY" in read.stdout, read.stderr
    dojang("export", address, "--to", files / "certificate.pem", "--certificate-only", new=None)
    read = subprocess.run(
        ["openssl", "x509", "-subject", "-in", files / "certificate.pem"], capture_output=True, text=True
    )
    assert "Hong" in read.stdout
    assert b"PRIVATE" not in (files / "certificate.pem").read_bytes()
    refused = dojang("export", address, "--to", files / "certificate.pem", "--certificate-only", new=None, ok=False)
    assert (refused["status"], refused["code"]) == (9, "already-exists")


def test_what_old_programs_read_is_exported(dojang: Dojang, files: Path) -> None:
    """In the old profile of PKCS#12, where that is asked for."""
    dojang("export", put(f"npki:{files}/NPKI"), "--to", files / "old.p12", "--pkcs12-profile", "legacy-3des")
    words = ["openssl", "pkcs12", "-legacy", "-info", "-noout", "-passin", f"pass:{NEW}", "-in", files / "old.p12"]
    assert "pbeWithSHA1And3-KeyTripleDES-CBC" in subprocess.run(words, capture_output=True, text=True).stderr


def test_a_key_in_a_pem_file_is_encrypted_as_asked(dojang: Dojang, home: Path, files: Path) -> None:
    """The setting is for key files of other programs: a PEM file stays what OpenSSL reads, unless a flag says it."""
    (home / "config.toml").write_text('key-file-format = "seed-cbc-sha1"\n')
    address = put(f"npki:{files}/NPKI")
    for name, words, cipher in (
        ("usual", [], "aes-256-cbc"),
        ("seed", ["--key-file-format", "pbes2-seed"], "seed-cbc"),
    ):
        file = files / f"{name}.pem"
        dojang("copy", address, "--to", f"pem:{file}", *words)
        _, begin, key = file.read_text().partition("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        parsed = subprocess.run(["openssl", "asn1parse"], input=begin + key, capture_output=True, text=True)
        assert f":{cipher}" in parsed.stdout, parsed
        kept = dojang("copy", f"pem:{file}", "--to", f"npki:{files}/from-{name}", new=None, old="new")
        assert "signature" in {one["name"] for one in kept["checks"] if one["ok"]}


def test_a_token_gives_its_certificate(dojang: Dojang, token, files: Path) -> None:
    """Without its PIN."""
    there = dojang("copy", put(f"npki:{files}/NPKI"), "--to", token.uri, new=None)["credential"]["address"]
    dojang(
        "export", there, "--to", files / "certificate.pem", "--certificate-only", "--pin-source", "file:none", new=None
    )
    assert (files / "certificate.pem").read_text().startswith("-----BEGIN CERTIFICATE")


def test_openssl_s_files_are_imported(dojang: Dojang, files: Path) -> None:
    """What another program wrote comes in, from PKCS#12 and from PEM."""
    key, certificate, box = files / "key.pem", files / "cert.pem", files / "box.p12"
    secret = ["-passout", f"pass:{OLD}"]
    made = [*["req", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=Kim", "-keyout"], key, "-out", certificate, *secret]
    boxed = ["pkcs12", "-export", "-inkey", key, "-in", certificate, "-passin", f"pass:{OLD}", "-out", box, *secret]
    for words in (made, boxed):
        subprocess.run(["openssl", *words], check=True, capture_output=True)
    both = files / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    for number, file in enumerate((box, both)):
        (credential,) = dojang("import", file, "--to", f"npki:{files}/{number}/NPKI")["credentials"]
        assert credential["subject"] == "CN=Kim"
        assert {"signature"} <= {one["name"] for one in credential["checks"]}


def test_backup_drill_and_restore(dojang: Dojang, files: Path) -> None:
    """One file for a whole place, with its digest; the drill is repeated; a restore brings everything back."""
    for name in ("홍길동", "Kim"):
        put(f"npki:{files}/NPKI", name)
    made = dojang("backup", f"npki:{files}/NPKI", "--to", files / "all.p12")
    digest = subprocess.run(["sha256sum", files / "all.p12"], capture_output=True, text=True).stdout.split()[0]
    assert made["sha256"] == digest
    assert [one["subject"] for one in made["credentials"]] == ["CN=Kim", "CN=홍길동"]
    assert all({"restored", "signature"} <= {one["name"] for one in each["checks"]} for each in made["checks"])
    assert dojang("backup", f"npki:{files}/NPKI", "--to", files / "all.p12", ok=False)["status"] == 9
    assert dojang("backup", "--drill-only", files / "all.p12", old="new", new=None)["sha256"] == digest
    assert dojang("backup", "--drill-only", files / "all.p12", new=None, ok=False)["status"] == 7
    restored = dojang("restore", files / "all.p12", "--to", f"npki:{files}/new/NPKI", old="new")
    assert [one["subject"] for one in restored["credentials"]] == ["CN=Kim", "CN=홍길동"]
    assert dojang("backup", ok=False, new=None)["status"] == 2
    assert {path.name for path in files.iterdir()} == {"NPKI", "all.p12", "new"}


@pytest.mark.parametrize(("begins", "said"), [(-60, "expired"), (5, "not valid before")])
def test_what_is_not_valid_now_is_remarked_on(dojang: Dojang, files: Path, begins: int, said: str) -> None:
    done = dojang("copy", put(f"npki:{files}/NPKI", begins=begins), "--to", f"npki:{files}/other/NPKI")
    assert said in done["err"]


def test_every_mistake_has_its_own_answer(dojang: Dojang, files: Path) -> None:
    """Its code, its exit status, a next step, and nothing changed."""
    address, other = put(f"npki:{files}/NPKI"), f"npki:{files}/other"
    put(f"npki:{files}/taken")
    (files / "in the way").write_text("a file")
    (files / "letter").write_text("Dear Hong,")
    before = sorted(files.rglob("*"))
    mistakes = [
        (("copy", f"npki:{files}/NPKI?cn=Park", "--to", other), 3, "not-found"),
        (("copy", address, "--to", f"npki:{files}/taken"), 9, "already-exists"),
        (("copy", address, "--to", f"npki:{files}/in%20the%20way"), 9, "file-unwritable"),
        (("copy", address, "--to", "phone:"), 10, "unsupported-operation"),
        (("copy", address, "--to", "nowhere:"), 2, "invalid-address"),
        (("import", files / "letter", "--to", other), 10, "file-malformed"),
        (("import", files / "none", "--to", other), 3, "file-unreadable"),
        (("export", address, "--to", files / "none" / "a.p12"), 9, "file-unwritable"),
        (("export", address, "--to", files / "hong.zip"), 2, "usage"),
        (("export", address, "--to", files), 2, "usage"),
        (("backup", f"npki:{files}/empty", "--to", files / "a.p12"), 3, "not-found"),
        (("backup", address, "--to", files / "a.p12", "--under", "kek"), 2, "input-required"),
        (("backup", address, "--drill-only", files / "letter"), 2, "usage"),
        (("import", files / "NPKI", "--to", other, "--all", "--label", "Kim"), 2, "usage"),
        (("restore", files / "letter", "--to", other), 10, "file-malformed"),
    ]
    for words, status, code in mistakes:
        refused = dojang(*words, ok=False)
        assert (refused["status"], refused["code"]) == (status, code), refused
        assert refused["next"]
    assert sorted(files.rglob("*")) == before


def test_a_person_types_the_new_password_twice(terminal, files: Path) -> None:
    """And the old one once; what was checked is shown, in Korean where that is spoken."""
    address = put(f"npki:{files}/NPKI")
    child = terminal("location", "copy", address, "--to", f"npki:{files}/other/NPKI", "--lang", "ko")
    for secret in (OLD, NEW, NEW):
        child.expect("비밀번호|한 번 더")
        child.expect(": ")
        child.sendline(secret)
    child.expect("복사했습니다")
    child.expect("R.*같음")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0


def test_a_copy_under_another_password_is_asked_for_by_its_option(dojang: Dojang, files: Path) -> None:
    """What is there already was opened with the password of the original, and that did not fit."""
    address = put(f"npki:{files}/NPKI")
    dojang("copy", address, "--to", f"npki:{files}/usb/NPKI")
    refused = dojang("copy", address, "--to", f"npki:{files}/usb/NPKI", new=None, ok=False)
    assert (refused["status"], refused["code"]) == (7, "password-incorrect")
    assert "--new-password-source" in refused["next"]
    wrong = dojang("copy", address, "--to", f"npki:{files}/usb/NPKI", old="new", ok=False)
    assert (wrong["status"], "--new-password-source" in wrong["next"]) == (7, False)
