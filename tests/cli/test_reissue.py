"""``dojang cert reissue`` and ``dojang cert revoke``: what scripts read, which PIN is tried where, and how it ends."""

import json
import shutil

import pytest


@pytest.fixture
def office(home, make_token, run_dojang):
    """Two tokens with different PINs and an authority on a third, one credential; runs dojang with the PINs given."""
    first, second, authority = make_token(pin="1111"), make_token(pin="2222"), make_token(pin="3333")
    (home / "password").write_text("correct horse 1!")
    (home / "password").chmod(0o600)

    def run(*words, token=first, ok=True):
        pins = ["--pin-source", token.pin_source, "--ca-pin-source", authority.pin_source]
        done = run_dojang(*words, *pins, "--json")
        assert not ok or done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout) | {"status": done.returncode, "said": done.stderr}

    run("ca", "init", "--alias", "office", "--key", f"{authority.uri};object=root", "--name", "CN=Office CA,C=KR")
    issued = run("cert", "issue", "--to", first.uri, "--subject", "CN=Hong,C=KR", "--label", "hong")
    run.first, run.second, run.authority = first, second, authority
    run.address, run.serial = f"{first.uri};object=hong", issued["data"]["credential"]["serial"]
    run.end = issued["data"]["credential"]["not_after"]
    return run


def _tries_spent(run_dojang, token) -> bool:
    """Whether the token, or the memory of PINs that failed, has seen a wrong PIN."""
    shown = json.loads(run_dojang("token", "show", token.uri, "--json").stdout)["data"]["token"]
    return bool(shown["user_pin"])


def test_reissue_gives_new_and_previous(office) -> None:
    """The JSON has the new credential, with the same end, and the old one, revoked; again there is nothing to do."""
    done = office("cert", "reissue", office.address)["data"]
    assert done["credential"]["address"] == office.address
    assert (done["credential"]["state"], done["credential"]["not_after"]) == ("valid", office.end)
    assert (done["previous"]["state"], done["previous"]["serial"]) == ("revoked", office.serial)
    (listed,) = [one for one in office("ca", "list")["data"]["certificates"] if one["serial"] == office.serial]
    assert (listed["state"], listed["reason"]) == ("revoked", "superseded")
    again = office("재발급", office.address, ok=False)
    assert (again["command"], again["status"], again["error"]["code"]) == ("cert reissue", 14, "nothing-to-do")
    assert office("cert", "show", done["previous"]["address"])["data"]["history"][-1]["event"] == "revoked"


def test_onto_another_token(office, run_dojang) -> None:
    """``--pin-source`` is the new token's; the old one's PIN is never guessed, and given it is retired there."""
    done = office("cert", "reissue", office.address, "--to", office.second.uri, token=office.second)
    assert done["data"]["credential"]["address"] == f"{office.second.uri};object=hong"
    assert (done["data"]["previous"]["state"], done["data"]["previous"]["address"]) == ("revoked", office.address)
    assert "--old-pin-source" in done["said"]
    assert not _tries_spent(run_dojang, office.first)
    more = ["--old-pin-source", office.first.pin_source]
    back = [
        "cert",
        "reissue",
        f"{office.second.uri};object=hong",
        "--to",
        office.first.uri,
        "--label",
        "again",
        "--again",
    ]
    previous = office(*back, "--old-pin-source", office.second.pin_source)["data"]["previous"]
    assert "retired" in previous["label"]
    assert office("cert", "reissue", office.address, "--to", office.second.uri, *more, ok=False)["status"] == 14
    labels = [one["label"] for one in office("cert", "list", office.first.uri)["data"]["credentials"]]
    assert len([label for label in labels if "retired" in label]) == 1


def test_a_lost_place(office, home, tmp_path) -> None:
    """A folder that is gone: a file with the certificate or its serial is enough; where the new one goes is asked."""
    old, words = f"npki:{tmp_path}/old", ["--password-source", f"file:{home}/password"]
    for name in ("file", "serial"):
        made = office("cert", "issue", "--to", old, "--subject", f"CN={name},C=KR", *words)["data"]["credential"]
        office("cert", "show", made["address"], "-o", tmp_path / "hong.pem")
        shutil.rmtree(tmp_path / "old")
        named = [tmp_path / "hong.pem"] if name == "file" else ["--serial", made["serial"]]
        asked = office("cert", "reissue", *named, ok=False)
        assert (asked["status"], "--to" in asked["error"]["next"]) == (2, True)
        new = office("cert", "reissue", *named, "--to", f"npki:{tmp_path}/new", *words)["data"]
        assert new["credential"]["not_after"] == made["not_after"]
        assert (new["previous"]["address"], new["previous"]["serial"]) == (None, made["serial"])


def test_a_forgotten_password(office, home, tmp_path) -> None:
    """Nothing opens the old key; the new one lies under the new password."""
    folder, old, new = f"npki:{tmp_path}/NPKI", ["--password-source", f"file:{home}/password"], tmp_path / "new"
    made = office("cert", "issue", "--to", folder, "--subject", "CN=Hong,C=KR", *old)["data"]["credential"]
    new.write_text("battery staple 2?")
    new.chmod(0o600)
    (home / "password").unlink()
    done = office("cert", "reissue", made["address"], "--new-password-source", f"file:{new}")["data"]["credential"]
    (tmp_path / "letter").write_text("a letter")
    sign = ["sign", "raw", "--key", done["address"], tmp_path / "letter", "-o", tmp_path / "letter.sig"]
    assert office(*sign, "--password-source", f"file:{new}")["ok"]


def test_a_compromised_key(office) -> None:
    """The plan says in which order and changes nothing; then it is revoked at once, and the list bears the reason."""
    words = ["cert", "reissue", office.address, "--reason", "keyCompromise"]
    plan = office(*words, "--plan")["data"]
    assert plan["changed"] is False
    assert "revoke" in plan["plan"][0]
    assert len(office("cert", "revoke", office.address, "--plan")["data"]["plan"]) == 2
    assert office("cert", "show", office.address)["data"]["credential"]["state"] == "valid"
    done = office(*words)
    assert done["said"].index("stays revoked") < done["said"].index("Making the key")
    reasons = {one["serial"]: one["reason"] for one in office("ca", "list")["data"]["certificates"]}
    assert reasons[office.serial] == "keyCompromise"


def test_a_stolen_laptop(office, home, tmp_path) -> None:
    """What is missing after the revocation is said, and that none is left; then which copies and older ones exist."""
    folder, words = f"npki:{tmp_path}/NPKI", ["--password-source", f"file:{home}/password"]
    made = office("cert", "issue", "--to", folder, "--subject", "CN=Hong,C=KR", *words)["data"]["credential"]
    office("renew", "now", made["address"], *words)
    office("location", "copy", made["address"], "--to", f"npki:{tmp_path}/copy", *words)
    reissue = ["cert", "reissue", made["address"], "--reason", "keyCompromise"]
    cut = office(*reissue, ok=False)
    assert (cut["status"], "--new-password-source" in cut["error"]["next"]) == (2, True)
    assert "no new one yet; run the same command again" in cut["said"]
    done = office(*reissue, "--new-password-source", f"file:{home}/password")
    assert (len(done["data"]["copies"]), done["data"]["still_valid"]) == (1, [made["serial"]])
    assert f"{tmp_path}/copy" in done["data"]["copies"][0]
    assert f"dojang cert revoke {made['serial']} --reason keyCompromise" in done["said"]


def test_revoke_asks_for_the_serial(office, tmp_path) -> None:
    """Without it, or with another, nothing happens; with it the certificate shows as revoked everywhere."""
    office("cert", "show", office.address, "-o", tmp_path / "hong.pem")
    assert office("cert", "revoke", office.address, ok=False)["status"] == 2
    for said in (["--plan"], ["--yes-revoke", office.serial], []):
        done = office("cert", "revoke", office.address, "--reason", "nonsense", *said, ok=False)
        assert (done["status"], "keyCompromise" in done["error"]["message"]) == (2, True)
    assert office("cert", "revoke", office.serial, "--yes-revoke", "00", ok=False)["status"] == 9
    assert office("cert", "show", office.address)["data"]["credential"]["state"] == "valid"
    words = ["--reason", "cessationOfOperation", "--yes-revoke", office.serial]
    done = office("폐기", tmp_path / "hong.pem", *words)["data"]["certificate"]
    assert (done["state"], done["reason"]) == ("revoked", "cessationOfOperation")
    found = office("where")["data"]["credentials"]
    assert [one["state"] for one in found if one["serial"] == office.serial] == ["revoked"]
    again = office("cert", "revoke", office.address, "--yes-revoke", office.serial)["data"]
    assert (again["credential"]["state"], again["certificate"]["reason"]) == ("revoked", "cessationOfOperation")


def test_each_mistake_has_its_status(office, tmp_path) -> None:
    """No certificate named or two, a serial nobody issued, a file that is not there, an authority nobody knows."""
    for words, status in (
        (["revoke"], 2),
        (["revoke", office.address, "--serial", office.serial], 2),
        (["revoke", office.address, "--reason", "none", "--yes-revoke", office.serial], 2),
        (["revoke", tmp_path / "nothing.pem"], 3),
        (["revoke", office.serial, "--ca", "none"], 3),
        (["reissue", "dead", "--to", office.second.uri], 3),
        (["reissue", "pkcs11:token=absent;object=hong"], 6),
    ):
        done = office("cert", *words, ok=False)
        assert done["status"] == status, done
    assert office("cert", "show", office.address)["data"]["credential"]["state"] == "valid"


def test_one_tokens_pin_is_tried_on_no_other(office, run_dojang) -> None:
    """With the PIN of the holder's token alone, the authority's is asked for; where there is one token it is taken."""
    holder = ["--pin-source", office.first.pin_source]
    for words in (
        ["cert", "issue", "--to", office.first.uri, "--subject", "CN=Kim"],
        ["cert", "reissue", office.address],
        ["cert", "revoke", office.address, "--yes-revoke", office.serial],
        ["renew", "now", office.address],
    ):
        done = run_dojang(*words, *holder, "--json")
        error = json.loads(done.stdout)["error"]
        assert (done.returncode, error["code"]) == (2, "input-required"), done.stderr
        assert "--ca-pin-source" in error["next"]
    assert not _tries_spent(run_dojang, office.authority)
    assert office("cert", "show", office.address)["data"]["credential"]["state"] == "valid"
    assert run_dojang("ca", "crl", "--pin-source", office.authority.pin_source).returncode == 0
    own = ["cert", "issue", "--to", office.authority.uri, "--subject", "CN=Lee,C=KR"]
    assert run_dojang(*own, "--pin-source", office.authority.pin_source).returncode == 0
