"""``dojang cert``: what scripts read, what people are asked, and how it ends."""

import json
import re
import shlex
import subprocess

import pytest

CREDENTIAL = {
    "address",
    "location",
    "subject",
    "issuer",
    "serial",
    "not_before",
    "not_after",
    "days_left",
    "algorithm",
    "key_leaves",
    "copyable",
    "state",
}


@pytest.fixture
def office(home, make_token, run_dojang):
    """Two tokens and an authority called office; returns a function that runs dojang with their PINs."""
    token, authority = make_token(), make_token()
    (home / "password").write_text("correct horse 1!")
    (home / "password").chmod(0o600)
    pins = ["--pin-source", token.pin_source, "--ca-pin-source", authority.pin_source]
    pins += ["--password-source", f"file:{home / 'password'}"]

    def run(*words, ok=True, **options):
        done = run_dojang(*words, *pins, **options)
        assert not ok or done.returncode == 0, done.stderr
        return done

    run("ca", "init", "--alias", "office", "--key", f"{authority.uri};object=root", "--name", "CN=Office CA,C=KR")
    run.token, run.ca_pin_source = token, authority.pin_source
    return run


def _data(done):
    envelope = json.loads(done.stdout)
    assert envelope["schema"] == 1
    assert envelope["ok"]
    return envelope["data"]


def test_issue_with_flags_alone(office) -> None:
    """``--to`` and ``--subject`` are enough; the JSON has the fields of scripts; progress is on standard error."""
    done = office("cert", "issue", "--to", office.token.uri, "--subject", "CN=Hong Gildong,C=KR", "--json")
    credential = _data(done)["credential"]
    assert credential.keys() >= CREDENTIAL
    assert (credential["location"], credential["state"], credential["key_leaves"]) == ("token", "valid", False)
    assert credential["address"].endswith("object=Hong%20Gildong")
    assert credential["not_after"].endswith("Z")
    assert "Asking the authority" in done.stderr


def test_what_is_printed_can_be_pasted(office, tmp_path) -> None:
    """The address works in show, list and the suggested next commands; openssl verifies the file it writes."""
    address = office("cert", "issue", "--to", "npki:", "--subject", "CN=홍길동,C=KR", "--quiet").stdout.strip()
    shown = office("cert", "show", address, "-o", tmp_path / "hong.pem").stdout
    assert "CN=홍길동,C=KR" in shown
    office("ca", "show", "office", "-o", tmp_path / "ca.pem")
    words = ["openssl", "verify", "-x509_strict", "-CAfile", tmp_path / "ca.pem", tmp_path / "hong.pem"]
    subprocess.run(words, check=True, capture_output=True)
    (listed,) = _data(office("cert", "list", "npki:", "--json"))["credentials"]
    assert listed["address"] == address
    assert "CN=홍길동" in office("cert", "show", tmp_path / "hong.pem").stdout


def test_what_is_new_is_looked_after(office, home, tmp_path) -> None:
    """It is checked, and what is advised against its loss runs as it stands; people see the same."""
    done = _data(office("cert", "issue", "--to", "npki:", "--subject", "CN=Hong,C=KR", "--json"))
    assert [one["name"] for one in done["checks"]] == ["stored", "validity", "issuer", "chain", "signature"]
    assert all(one["ok"] for one in done["checks"])
    (backup,) = map(shlex.split, done["next"])
    target = backup.index("--to") + 1
    backup[target] = tmp_path / backup[target]
    office(*backup[1:], "--new-password-source", f"file:{home / 'password'}")
    renewed = _data(office("renew", "now", done["credential"]["address"], "--json"))
    assert (len(renewed["checks"]), renewed["next"]) == (5, done["next"])
    text = office("cert", "issue", "--to", office.token.uri, "--subject", "CN=Hong,C=KR").stdout
    assert "cannot be copied" in text
    assert "dojang cert reissue --serial " in text
    assert text.count("✓") == 5


def test_a_plan_does_nothing(office) -> None:
    """``--plan`` tells the steps and leaves the token empty."""
    words = ["cert", "issue", "--to", office.token.uri, "--subject", "CN=Hong,C=KR"]
    plan = _data(office(*words, "--plan", "--json"))
    assert plan["changed"] is False
    assert len(plan["plan"]) == 5
    assert _data(office("cert", "list", office.token.uri, "--json"))["credentials"] == []


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["--subject", "CN=Hong"], 2, "input-required"),
        (["--to", "npki:"], 2, "input-required"),
        (["--to", "npki:", "--subject", "Hong"], 2, "invalid-name"),
        (["--to", "nowhere:", "--subject", "CN=Hong"], 2, "invalid-address"),
        (["--to", "pkcs11:token=absent", "--subject", "CN=Hong"], 6, "token-not-found"),
        (["--to", "npki:", "--subject", "CN=Hong", "--profile", "none"], 3, "not-found"),
        (["--to", "npki:", "--subject", "CN=Hong", "--ca", "none"], 3, "not-found"),
        (["--to", "npki:", "--subject", "CN=Hong", "--profile", "business"], 12, "authority-refused"),
    ],
)
def test_each_mistake_has_its_status(office, words, status, code) -> None:
    """Nobody is asked without a terminal; each mistake has its own code and exit status."""
    done = office("cert", "issue", *words, "--json", ok=False)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"], error["exit"]) == (status, code, status)
    assert error["message"]
    assert error["next"]


def test_an_existing_label(office) -> None:
    """The second issue under one label is refused with 9 and changes nothing."""
    words = ["cert", "issue", "--to", office.token.uri, "--subject", "CN=Hong", "--json"]
    first = _data(office(*words))["credential"]
    again = office(*words, ok=False)
    assert (again.returncode, json.loads(again.stdout)["error"]["code"]) == (9, "already-exists")
    (listed,) = _data(office("cert", "list", office.token.uri, "--json"))["credentials"]
    assert listed["serial"] == first["serial"]


def test_request_and_install(office, tmp_path) -> None:
    """A request goes to an authority elsewhere and its certificate comes back to the key."""
    office("cert", "request", office.token.uri, "--subject", "CN=Hong", "-o", tmp_path / "hong.csr")
    for words in (
        "req -x509 -newkey rsa:2048 -nodes -keyout k -out ca.pem -subj /CN=Elsewhere",
        "x509 -req -in hong.csr -CA ca.pem -CAkey k -days 90 -out hong.pem",
    ):
        subprocess.run(["openssl", *words.split()], check=True, capture_output=True, cwd=tmp_path)
    words = ["cert", "install", office.token.uri, "--cert", tmp_path / "hong.pem", "--chain", tmp_path / "ca.pem"]
    assert _data(office(*words, "--json"))["credential"]["state"] == "valid"
    other = office("cert", "install", office.token.uri, "--cert", tmp_path / "ca.pem", "--json", ok=False)
    assert (other.returncode, json.loads(other.stdout)["error"]["code"]) == (3, "not-found")


def test_a_request_that_cannot_be_written(office, tmp_path) -> None:
    """A file that cannot be is refused before the key is made, so that the same may be tried again."""
    words = ["cert", "request", office.token.uri, "--subject", "CN=Hong", "-o"]
    for output in (tmp_path / "missing" / "hong.csr", tmp_path):
        refused = office(*words, output, "--json", ok=False)
        assert json.loads(refused.stdout)["error"]["code"] == "file-unwritable"
    office(*words, tmp_path / "hong.csr")


def test_delete_asks_for_the_serial(office) -> None:
    """Without it nothing goes, with a wrong one neither; with the token's serial the credential is destroyed."""
    issued = office("cert", "issue", "--to", office.token.uri, "--subject", "CN=Hong", "--quiet")
    address = issued.stdout.strip()
    assert office("cert", "delete", address, ok=False).returncode == 2
    assert office("cert", "delete", address, "--yes", "0000", ok=False).returncode == 9
    assert len(_data(office("cert", "list", office.token.uri, "--json"))["credentials"]) == 1
    office("cert", "delete", address, "--yes", office.token.serial)
    assert _data(office("cert", "list", office.token.uri, "--json"))["credentials"] == []


def test_issue_run_bare_asks_for_everything(office, terminal, home) -> None:
    """Profile, subject, location from a table of what protects it, algorithm; a wrong answer is asked again."""
    pins = ["--pin-source", office.token.pin_source, "--ca-pin-source", office.ca_pin_source]
    child = terminal("cert", "issue", *pins, "--password-source", "prompt")
    child.expect("personal")
    child.sendline("")
    child.expect("Subject")
    child.sendline("Hong")
    child.expect("distinguished name")
    child.sendline("CN=Hong,C=KR")
    child.expect("never leaves")
    table = child.before + child.after
    child.expect("whoever has the file")
    rows = re.split(r"(?m)^\s*(?=\d+\s)", table + child.before)[1:]
    child.sendline(str(next(number for number, row in enumerate(rows, 1) if office.token.label in row)))
    child.expect("ec-p256")
    child.sendline("")
    child.expect("Issued", timeout=30)
    child.expect("Try next")


def test_a_kind_that_wants_a_further_name_asks_for_it(office, terminal) -> None:
    """Whoever chooses a kind of certificate that needs an alternative name is asked for one until it is one."""
    words = ["--pin-source", office.token.pin_source, "--ca-pin-source", office.ca_pin_source]
    child = terminal("cert", "issue", "--to", office.token.uri, "--profile", "email", *words)
    child.expect("Subject")
    child.sendline("CN=Hong,C=KR")
    child.expect("further name")
    child.sendline("hong@example.com")
    child.expect("not an alternative name")
    child.sendline("email:hong@example.com")
    child.expect("ec-p256")
    child.sendline("")
    child.expect("Issued", timeout=30)


@pytest.mark.parametrize("verb", ["issue", "request", "renew"])
def test_a_wrong_pin_leaves_nothing_behind(office, run_dojang, verb: str) -> None:
    """The PIN is asked before anything is begun: after a wrong one there is nothing to mend and nothing new."""
    office("cert", "issue", "--to", office.token.uri, "--subject", "CN=Hong")
    words = {
        "issue": ["cert", "issue", "--to", office.token.uri, "--subject", "CN=Kim"],
        "request": ["cert", "request", office.token.uri, "--subject", "CN=Kim"],
        "renew": ["renew", "now", f"{office.token.uri};object=Hong"],
    }[verb]
    pins = ["--pin-source", "env:WRONG", "--ca-pin-source", office.ca_pin_source]
    done = run_dojang(*words, *pins, env={"WRONG": "9999"})
    assert done.returncode == 7
    examined = json.loads(run_dojang("doctor", "--json").stdout)["data"]
    assert not [one for one in examined["findings"] if one["code"] == "operation-incomplete"]
    assert "Making the key" not in done.stderr


def test_a_further_name_that_is_none_is_refused_at_once(office) -> None:
    """It is refused before a key is made for it, and by the plan too."""
    words = ["cert", "issue", "--to", office.token.uri, "--subject", "CN=Hong", "--alternative-name", "dns:a..b"]
    for more in ([], ["--plan"]):
        done = office(*words, *more, ok=False)
        assert done.returncode == 2
        assert "Making the key" not in done.stderr


def test_advice_about_a_folder(office, tmp_path, terminal) -> None:
    """A folder's name may hold a space; its credential is destroyed by the certificate's serial."""
    folder = f"npki:{tmp_path}/My%20NPKI"
    held = _data(office("cert", "issue", "--to", folder, "--subject", "CN=Hong", "--json"))["credential"]
    done = office("cert", "show", f"{folder}?cn=Kim", "--json", ok=False)
    advised = shlex.split(json.loads(done.stdout)["error"]["next"].partition(": dojang ")[2])
    assert office(*advised, "--quiet").stdout.strip() == held["address"]
    child = terminal("cert", "delete", held["address"])
    child.expect_exact("The certificate's serial: ")
    child.sendline("1")
    child.expect_exact("nothing was changed")


def test_in_korean(office) -> None:
    """The alias and the language work together."""
    done = office("발급", "--to", office.token.uri, "--subject", "CN=홍길동,C=KR", "--lang", "ko", "--json")
    assert json.loads(done.stdout)["command"] == "cert issue"
