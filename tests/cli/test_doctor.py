"""``dojang doctor`` and ``dojang where``."""

import json
import os
import shlex
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from tests.lifecycle.test_copy import self_signed

from dojang.ledger import Event, Ledger
from dojang.lifecycle.drill import put_in
from dojang.locations.registry import open_location
from dojang.pkcs11 import ModuleSearch, OpenToken, PinGuard, open_token
from dojang.pkcs11.stores import STORES, token_folder
from dojang.secret import Secret
from dojang.testing.piv import plugged_in


def answer(done) -> dict:
    return json.loads(done.stdout)["data"]


@pytest.fixture
def token(make_token):
    return make_token(f"doc-{uuid4().hex[:8]}")


def codes(data: dict) -> set[str]:
    return {finding["code"] for finding in data["findings"]}


def found(data: dict, code: str) -> dict:
    (finding,) = [one for one in data["findings"] if one["code"] == code]
    return finding


def mend(run_dojang, finding: dict, *extra: object):
    """Run the command of a finding as it stands; ``extra`` says only where PINs come from."""
    program, *words = shlex.split(finding["command"])
    assert program == "dojang"
    return run_dojang(*words, *extra)


@pytest.fixture
def opened(token, softhsm_module, tmp_path):
    search = ModuleSearch(module=softhsm_module, discover=False)
    with open_token(token.uri, Secret(token.pin), search=search, guard=PinGuard(tmp_path / "guard")) as one:
        yield one


@pytest.fixture
def lying(liar, softhsm_module, run_dojang, tmp_path):
    """Runs dojang over SoftHSM2 with a module between them that tells ``lies``."""

    def run(*words: object, lies: str):
        (tmp_path / "lies").write_text(lies)
        environment = {"LYING_OVER": softhsm_module, "LYING_FILE": str(tmp_path / "lies"), "DOJANG_MODULE": str(liar)}
        return run_dojang(*words, env=environment)

    return run


def certificate(opened: OpenToken, name: str, key_id: bytes, *, days: int, begun: int = 0, label: str = "") -> bytes:
    """A certificate that names itself, for a key that may be there or not; valid from ``begun`` days ago."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    start = datetime.now(UTC) - timedelta(days=begun)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 77, start, start + timedelta(days=days))
    der = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    opened.add_certificate(der, label=label or name, key_id=key_id)
    return der


def test_nothing_is_wrong_with_a_good_token(run_dojang, token) -> None:
    """A healthy token is exit status 0 with no finding."""
    done = run_dojang("doctor", token.uri, "--json")
    assert (done.returncode, answer(done)["healthy"], answer(done)["findings"]) == (0, True, [])


def test_a_token_without_a_pin(run_dojang, token) -> None:
    """A token without a user PIN is found, and the command that is printed mends it."""
    run_dojang("token", "wipe", token.uri, "--so-pin-source", token.so_pin_source, "--yes-wipe", token.serial)
    uri = f"pkcs11:token={token.label}"
    done = run_dojang("doctor", uri, "--json")
    (finding,) = answer(done)["findings"]
    assert (done.returncode, finding["code"], finding["serious"]) == (6, "pin-not-set", True)
    assert finding["command"].startswith("dojang token pin unblock ")
    words = finding["command"].replace("'", "").split()[1:]
    mended = run_dojang(*words, "--so-pin-source", token.so_pin_source, "--new-pin-source", token.pin_source)
    assert mended.returncode == 0
    assert run_dojang("doctor", uri).returncode == 0


def test_a_wrong_pin_is_remarked_upon(run_dojang, token) -> None:
    """Tries that were spent are shown but are nothing to mend."""
    run_dojang("key", "list", token.uri, "--pin-source", "env:WRONG", env={"WRONG": "999999"})
    done = run_dojang("doctor", token.uri, "--json")
    assert (done.returncode, codes(answer(done))) == (0, {"pin-count-low"})


def test_a_named_module_that_does_not_load(run_dojang, tmp_path) -> None:
    """A module the user named and that cannot be loaded is serious, with the reason in words."""
    rubbish = tmp_path / "rubbish.so"
    rubbish.write_bytes(b"no library")
    done = run_dojang("doctor", "--module", rubbish, "--json")
    findings = {finding["code"]: finding for finding in answer(done)["findings"]}
    assert done.returncode == 5
    assert str(rubbish) in findings["module-unloadable"]["message"]


def test_an_operation_that_was_cut_short(run_dojang, home) -> None:
    """What a killed run left in the ledger is found with the command that finishes it."""
    state = home / "state"
    state.mkdir(mode=0o700)
    with Ledger.open(state / "ledger.sqlite") as ledger:
        ledger.begin("renew", "key", {"address": "pkcs11:token=a;object=b", "location": "pkcs11:token=a"}).leave()
    done = run_dojang("doctor", "--json")
    (finding,) = [one for one in answer(done)["findings"] if one["code"] == "operation-incomplete"]
    assert done.returncode != 0
    assert finding["serious"] is True
    assert "pkcs11:token=a;object=b" in finding["message"]
    assert finding["command"] == "dojang renew run"


def test_an_operation_whose_token_is_gone_for_good_is_given_up(run_dojang, home) -> None:
    """What no run can finish is closed by name, once, and the journal is clean."""
    state = home / "state"
    state.mkdir(mode=0o700)
    with Ledger.open(state / "ledger.sqlite") as ledger:
        operation = ledger.begin("renew", "key", {"address": "pkcs11:token=lost", "location": "pkcs11:token=lost"})
        operation.leave()
    stuck = run_dojang("renew", "run", "--json")
    assert answer(stuck)["recovered"] == [{"verb": "renew", "outcome": "left"}]
    assert run_dojang("doctor", "--give-up", operation.operation_id, "--plan").returncode == 0
    assert operation.operation_id in run_dojang("doctor").stdout
    given_up = run_dojang("doctor", "--give-up", operation.operation_id)
    assert (given_up.returncode, "dojang cert list pkcs11:token=lost" in given_up.stdout) == (0, True)
    assert run_dojang("doctor", "--give-up", operation.operation_id).returncode == 3
    assert "operation-incomplete" not in {one["code"] for one in answer(run_dojang("doctor", "--json"))["findings"]}


def test_a_state_folder_that_others_may_read(run_dojang, home) -> None:
    """An open state folder is found, and chmod mends it."""
    (home / "state").mkdir(mode=0o755)
    findings = answer(run_dojang("doctor", "--json"))["findings"]
    assert [one["command"] for one in findings if one["code"] == "state-not-private"] == [f"chmod 700 {home / 'state'}"]


def test_two_tokens_of_one_label_are_remarked_upon(run_dojang, make_token) -> None:
    """Two tokens with the same label are shown by their addresses."""
    label = f"same-{uuid4().hex[:8]}"
    make_token(label)
    make_token(label)
    (finding,) = [one for one in answer(run_dojang("doctor", "--json"))["findings"] if label in one["message"]]
    assert (finding["code"], finding["serious"]) == ("same-label", False)


def test_sign_test(run_dojang, token) -> None:
    """--sign-test signs with every key at the address and verifies."""
    for label in ("a", "b"):
        run_dojang("key", "generate", token.uri, "--label", label, "--pin-source", token.pin_source)
    done = run_dojang("doctor", token.uri, "--sign-test", "--pin-source", token.pin_source, "--json")
    assert done.returncode == 0, done.stdout
    assert [test["ok"] for test in answer(done)["sign_test"]] == [True, True]
    assert run_dojang("doctor", "--sign-test").returncode == 2


def test_the_doctor_makes_nothing(run_dojang, home) -> None:
    """Looking leaves no ledger and no folder behind."""
    run_dojang("doctor")
    assert not (home / "state").exists()


def test_doctor_for_people(run_dojang, token) -> None:
    """The text names modules, tokens and says when nothing is wrong."""
    text = run_dojang("doctor", token.uri).stdout
    assert token.label in text
    assert "Nothing is wrong." in text


@pytest.mark.parametrize(
    ("lies", "code", "sources"),
    [
        ("locked", "pin-locked", ["--so-pin-source", "--new-pin-source"]),
        ("final try", "pin-last-try", ["--so-pin-source", "--new-pin-source"]),
        ("to be changed", "pin-to-be-changed", ["--pin-source", "--new-pin-source"]),
    ],
)
def test_the_state_of_a_pin_and_the_command_that_mends_it(lying, token, lies, code, sources) -> None:
    """Locked, one try left, to be changed: serious, and the command that is printed runs as it stands."""
    finding = found(answer(lying("doctor", token.uri, "--json", lies=lies)), code)
    assert finding["serious"] is True
    given = {"--so-pin-source": token.so_pin_source, "--pin-source": token.pin_source}
    words = shlex.split(finding["command"])[1:]
    for source in sources:
        words += [source, given.get(source, token.pin_source)]
    assert lying(*words, lies="").returncode == 0


def test_the_state_of_the_so_pin(lying, token) -> None:
    """A locked SO PIN is serious and nothing here mends it."""
    finding = found(answer(lying("doctor", token.uri, "--json", lies="officer locked")), "so-pin-locked")
    assert (finding["serious"], finding["command"]) == (True, "")


def test_a_certificate_that_is_due_is_renewed_by_the_command(run_dojang, token, home) -> None:
    """A window that is open is serious; 'renew now' as it is printed closes it."""
    pin = ("--pin-source", token.pin_source)
    authority = f"{token.uri};object=authority"
    run_dojang("key", "generate", token.uri, "--label", "authority", "--algorithm", "ec-p256", *pin)
    assert run_dojang("ca", "init", "--key", authority, "--name", "CN=Test CA", *pin, "--no-input").returncode == 0
    issue = ("cert", "issue", "--to", token.uri, "--subject", "CN=Hong", "--profile", "personal", *pin, "--no-input")
    assert run_dojang(*issue).returncode == 0
    assert "certificate-due" not in codes(answer(run_dojang("doctor", token.uri, "--json")))
    early = home / "early.toml"
    early.write_text("renewal-window-days = 3650\n")
    done = run_dojang("doctor", token.uri, "--json", "--config", early)
    finding = found(answer(done), "certificate-due")
    assert (done.returncode, finding["serious"]) == (9, True)
    assert mend(run_dojang, finding, *pin).returncode == 0
    left = codes(answer(run_dojang("doctor", token.uri, "--json")))
    assert ("certificate-due" in left, "certificate-retired" in left) == (False, True)


def test_an_expired_certificate_is_replaced_by_the_command(run_dojang, token, home, opened) -> None:
    """Nothing renews what has expired: the command issues another for the same subject, and all is well."""
    pin = ("--pin-source", token.pin_source)
    authority = f"{token.uri};object=authority"
    run_dojang("key", "generate", token.uri, "--label", "authority", "--algorithm", "ec-p256", *pin)
    made = run_dojang("ca", "init", "--key", authority, "--name", "CN=Test CA", *pin, "--no-input", "--json")
    name = answer(made)["authority"]["name"]
    der = certificate(opened, "Hong Gildong", b"old", days=10, begun=20)
    import hashlib

    facts = {"authority": name, "profile": "personal"}
    with Ledger.open(home / "state/ledger.sqlite") as ledger:
        ledger.record(Event("issued", token.uri, hashlib.sha256(der).hexdigest(), facts, datetime.now(UTC)))
    finding = found(answer(run_dojang("doctor", token.uri, "--json")), "certificate-expired")
    assert finding["serious"] is True
    done = mend(run_dojang, finding, *pin, "--no-input")
    assert done.returncode == 0, done.stderr
    assert "certificate-expired" not in codes(answer(run_dojang("doctor", token.uri, "--json")))


@pytest.mark.parametrize(("code", "days", "begun"), [("certificate-expired", 10, 20), ("certificate-due", 20, 10)])
def test_a_certificate_of_others_is_asked_for_anew_by_the_command(run_dojang, token, opened, code, days, begun) -> None:
    """Nobody here issued it: the command makes a new key and writes a request for whoever did."""
    certificate(opened, "Hong Gildong", b"others", days=days, begun=begun)
    finding = found(answer(run_dojang("doctor", token.uri, "--json")), code)
    done = mend(run_dojang, finding, "--pin-source", token.pin_source, "--no-input")
    assert done.stdout.startswith("-----BEGIN CERTIFICATE REQUEST-----"), done.stderr


def test_certificates_and_keys_without_each_other(run_dojang, token, opened) -> None:
    """With the PIN both are found for certain; the command removes the certificate that is good for nothing."""
    opened.generate_key_pair("ec-p256", label="alone", key_id=b"alone")
    certificate(opened, "lonely", b"lonely", days=100)
    words = ("doctor", token.uri, "--json", "--pin-source", token.pin_source)
    data = answer(run_dojang(*words))
    assert (found(data, "key-without-certificate")["serious"], data["healthy"]) == (False, False)
    assert "object=alone" in found(data, "key-without-certificate")["message"]
    finding = found(data, "certificate-without-key")
    assert finding["serious"] is True
    assert mend(run_dojang, finding, "--pin-source", token.pin_source).returncode == 0
    assert codes(answer(run_dojang(*words))) == {"key-without-certificate"}


def test_without_a_pin_nothing_is_asked_and_public_halves_tell(run_dojang, token, opened) -> None:
    """Keys are known by their public halves; what is not certain is a remark, and advises no removal."""
    opened.generate_key_pair("ec-p256", label="alone", key_id=b"alone")
    certificate(opened, "lonely", b"lonely", days=100)
    done = run_dojang("doctor", token.uri, "--json", "--no-input")
    finding = found(answer(done), "certificate-without-key")
    assert (done.returncode, finding["serious"], finding["command"]) == (0, False, "")


def test_a_certificate_of_tomorrow_and_one_that_is_none(run_dojang, token, opened) -> None:
    """Both are remarks with their addresses; the others are looked at all the same."""
    from dojang.pkcs11 import constants as ck

    certificate(opened, "tomorrow", b"tomorrow", days=100, begun=-1)
    junk = [(ck.CKA_CLASS, ck.CKO_CERTIFICATE), (ck.CKA_TOKEN, True), (ck.CKA_PRIVATE, False)]
    junk += [(ck.CKA_CERTIFICATE_TYPE, 0), *((kind, b"junk") for kind in (ck.CKA_LABEL, ck.CKA_SUBJECT, ck.CKA_VALUE))]
    opened.logged_in(lambda session: session.cryptoki.create_object(session.handle, junk))
    data = answer(run_dojang("doctor", token.uri, "--json"))
    assert "object=junk" in found(data, "certificate-unreadable")["message"]
    assert "CN=tomorrow" in found(data, "certificate-not-yet-valid")["message"]


def test_rubbish_is_removed_by_the_command(run_dojang, token) -> None:
    """What a killed process left is serious; the command removes it."""
    left = token_folder(STORES[0], token.serial) / "killed.object"
    left.touch()
    long_ago = time.time() - 3600
    os.utime(left, (long_ago, long_ago))
    finding = found(answer(run_dojang("doctor", token.uri, "--json")), "rubbish")
    assert mend(run_dojang, finding, "--pin-source", token.pin_source).returncode == 0
    assert not left.exists()
    assert run_dojang("doctor", token.uri).returncode == 0


def test_mechanism_lists_that_lie(lying, token, opened) -> None:
    """Hashes are tried without a PIN, signatures with --sign-test: both kinds of lie are named."""
    opened.generate_key_pair("ec-p256", label="sign", key_id=b"sign")
    hidden = found(answer(lying("doctor", token.uri, "--json", lies="no mechanisms")), "mechanisms-unlisted")
    assert "CKM_SHA256" in hidden["details"]["mechanisms"]
    assert hidden["serious"] is False
    test = ("doctor", token.uri, "--sign-test", "--pin-source", token.pin_source, "--json")
    refused = found(answer(lying(*test, lies="another mechanism")), "mechanisms-refused")
    assert refused["details"]["mechanisms"] == ["CKM_ECDSA_SHA256"]
    assert codes(answer(lying(*test, lies=""))) == {"key-without-certificate"}


def test_a_pin_file_that_others_may_read(run_dojang, token, tmp_path) -> None:
    """The settings' and the flags' own files are looked at; chmod as printed mends it."""
    exposed = tmp_path / "my pin"
    exposed.write_text(token.pin)
    exposed.chmod(0o644)
    words = ("doctor", "--json", "--pin-source", f"file:{exposed}")
    finding = found(answer(run_dojang(*words)), "secret-file-exposed")
    assert finding["serious"] is True
    subprocess.run(["sh", "-c", finding["command"]], check=True)
    assert "secret-file-exposed" not in codes(answer(run_dojang(*words)))


BROKEN = {
    "missing-file": lambda library: library.unlink(),
    "not-a-library": lambda library: library.write_bytes(b"no library"),
    "wrong-architecture": lambda library: library.write_bytes(
        library.read_bytes()[:18] + (183).to_bytes(2, "little") + library.read_bytes()[20:]
    ),
    "not-pkcs11": lambda _library: None,
    "changed-file": lambda _library: None,
}


@pytest.mark.parametrize("reason", [*BROKEN, "missing-dependency", "missing-configuration"])
def test_why_each_module_does_not_load(run_dojang, home, token, reason) -> None:
    """Each reason is told by its own words, and the tokens of the other modules are there all the same."""
    library, needed = home / "libbroken.so", home / "libneeded.so"
    source = home / "broken.c"
    source.write_text("int needed(void);\nint f(void) { return needed(); }" if "depend" in reason else "int f(void);")
    extra = []
    if reason == "missing-dependency":
        (home / "needed.c").write_text("int needed(void) { return 1; }")
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", needed, home / "needed.c"], check=True)
        extra = ["-Wl,--no-as-needed", needed]
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, *extra], check=True)
    needed.unlink(missing_ok=True)
    BROKEN.get(reason, lambda _library: None)(library)
    path = next(Path("/usr/lib").glob("*/libsoftokn3.so")) if reason == "missing-configuration" else library
    digest = f'sha256 = "{"ab" * 32}"\n' if reason == "changed-file" else ""
    module = run_dojang("token", "show", token.uri, "--json")
    good = answer(module)["token"]["module"]
    (home / "own.toml").write_text(
        f'discover-modules = false\n[[modules]]\npath = "{path}"\n{digest}[[modules]]\npath = "{good}"\n'
    )
    done = run_dojang("doctor", "--json", "--config", home / "own.toml", env={"DOJANG_MODULE": ""})
    data = answer(done)
    failure = found(data, "module-unloadable")
    assert failure["details"]["reason"] == reason, failure
    assert str(path) in failure["message"]
    assert token.label in {one["label"] for one in data["tokens"]}


def test_a_clock_that_is_behind_the_records(run_dojang, home) -> None:
    """A ledger from the future: every date would be judged wrongly."""
    (home / "state").mkdir(mode=0o700)
    with Ledger.open(home / "state/ledger.sqlite") as ledger:
        ledger.record(Event("issued", "npki:", "ff", {}, datetime.now(UTC) + timedelta(days=1)))
    assert found(answer(run_dojang("doctor", "--json")), "clock-behind")["serious"] is True


def test_what_was_never_backed_up_is_remarked_upon(run_dojang, home, quick_passwords, monkeypatch) -> None:
    """Until there is a backup, made by the command as it stands, or a copy elsewhere."""
    monkeypatch.chdir(home)
    (home / "password").write_text("correct horse 1!")
    (home / "password").chmod(0o600)
    source = f"--password-source=file:{home / 'password'}"
    ends = {"hong": None, "kim": ["location", "copy", "npki:NPKI?cn=kim", "--to", "npki:other/NPKI", source]}
    for name, ending in ends.items():
        with open_location(f"pkcs12:{home}/{name}.p12", passwords=lambda path, new: Secret("correct horse 1!")) as box:
            put_in(self_signed(name, days=300), box, name)
        assert run_dojang("location", "import", f"{name}.p12", "--to", "npki:NPKI", source).returncode == 0
        remark = found(answer(run_dojang("doctor", "--json")), "never-backed-up")
        assert (remark["serious"], remark["details"]["subject"]) == (False, f"CN={name}")
        done = run_dojang(*ending) if ending else mend(run_dojang, remark, source)
        assert done.returncode == 0, done.stderr
        assert "never-backed-up" not in codes(answer(run_dojang("doctor", "--json")))


def test_a_damaged_folder_is_told_as_where_tells_it(run_dojang, home, quick_passwords) -> None:
    """With what to do next and the status of a file that is none, with a ledger or without; its neighbour is well."""
    with open_location(f"npki:{home.parent}/NPKI", passwords=lambda path, new: Secret("correct horse 1!")) as disk:
        for name in ("hong", "kim"):
            put_in(self_signed(name, days=300), disk, name)
    (hong,) = home.parent.glob("NPKI/*/USER/cn=hong*")
    (hong / "signCert.der").write_bytes(b"damaged")
    done = run_dojang("doctor", "--json")
    told = found(answer(done), "place-failed")
    assert (done.returncode, told["serious"], (home / "state").exists()) == (10, True, False)
    assert "Restore its signCert.der from a backup" in told["message"]
    assert f"{told['details']['address']}: {told['details']['message']}" in run_dojang("where").stderr
    assert (home / "state").exists()
    assert told["message"] in run_dojang("doctor").stdout


def test_a_module_whose_daemon_is_away(run_dojang, tmp_path) -> None:
    """A module that was named and shows nothing because its daemon does not listen: the daemon is named."""
    client = next(Path("/usr/lib").glob("*/pkcs11/p11-kit-client.so"))
    address = f"unix:path={tmp_path}/nobody"
    done = run_dojang("doctor", "--module", client, "--json", env={"P11_KIT_SERVER_ADDRESS": address})
    assert done.returncode != 0
    assert "p11-kit server" in found(answer(done), "daemon-silent")["message"]


def test_a_card_in_a_reader(run_dojang) -> None:
    """A card is looked at without its PIN: its certificates, no try spent, nothing serious."""
    with plugged_in() as (setup, card, _daemon, _port):
        words = ("doctor", "--module", setup.module, "--json", "--no-input")
        data = answer(run_dojang(*words, env=dict(setup.environment)))
        assert [one["label"] for one in data["tokens"]] == [setup.label]
        assert data["healthy"] is True, data["findings"]
        assert card.verifications == 0


def test_where_finds_certificates_on_tokens(run_dojang, token, softhsm_module) -> None:
    """Every certificate on a token that is present is listed without a PIN, with the fields that scripts read."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    from dojang.pkcs11 import ModuleSearch, open_token
    from dojang.secret import Secret

    search = ModuleSearch(module=softhsm_module, discover=False)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Hong {token.label}")])
    now = datetime.now(UTC)
    with open_token(token.uri, Secret(token.pin), search=search) as opened:
        key = opened.generate_key_pair("ec-p256", label="mine", key_id=b"mine")
        builder = x509.CertificateBuilder(name, name, key.public_key(), 10, now, now + timedelta(days=20, hours=1))
        certificate = builder.sign(key, hashes.SHA256())
        opened.add_certificate(certificate.public_bytes(Encoding.DER), label="mine", key_id=b"mine")
    listed = answer(run_dojang("where", "--json", "--no-input"))["credentials"]
    (row,) = [one for one in listed if one["subject"] == f"CN=Hong {token.label}"]
    assert (row["location"], row["serial"], row["days_left"], row["key_leaves"]) == ("token", "a", 20, False)
    assert row["not_after"].endswith("Z")
    assert any(one["address"] == row["address"] for one in expiring(run_dojang, "30d"))
    assert not any(one["address"] == row["address"] for one in expiring(run_dojang, "10"))
    assert row["address"] in run_dojang("where").stdout


def expiring(run_dojang, days: str) -> list[dict]:
    return answer(run_dojang("where", "--expiring", days, "--json"))["credentials"]


def test_where_refuses_what_is_no_number_of_days(run_dojang) -> None:
    """``--expiring soon`` is exit status 2."""
    assert run_dojang("where", "--expiring", "soon").returncode == 2
