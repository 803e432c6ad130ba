"""``dojang doctor`` and ``dojang where``."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from dojang.ledger import Ledger


def answer(done) -> dict:
    return json.loads(done.stdout)["data"]


@pytest.fixture
def token(make_token):
    return make_token(f"doc-{uuid4().hex[:8]}")


def codes(data: dict) -> set[str]:
    return {finding["code"] for finding in data["findings"]}


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
    assert run_dojang("doctor", "--give-up", operation.operation_id).returncode == 0
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
