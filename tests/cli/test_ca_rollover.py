"""``dojang ca signer``, ``ca rollover`` and ``ca cross-sign``, as a person uses them."""

import subprocess

import pytest


@pytest.fixture
def run(json_run):
    """Runs dojang with the PIN of one token, as JSON; an authority called office is there, with two tiers."""
    run, token = json_run, json_run.token
    run.key = lambda name: ["--key", f"{token.uri};object={name}"]
    below = ["--issuing-key", f"{token.uri};object=issuing", "--issuing-name", "CN=Office Issuing,C=KR"]
    run("ca", "init", "--alias", "office", *run.key("root"), "--name", "CN=Office Root,C=KR", *below)
    return run


def states(run):
    return {one["id"]: one["state"] for one in run("ca", "signer", "list")["data"]["signers"]}


def verify(path, certificate, chain, root):
    for name, pem in (("one", certificate), ("chain", chain), ("root", root)):  # openssl reads the first of one.pem
        (path / f"{name}.pem").write_text(pem)
    words = ["openssl", "verify", "-x509_strict", "-CAfile", "root.pem", "-untrusted", "chain.pem", "one.pem"]
    done = subprocess.run(words, cwd=path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_rollover_of_what_issues(run, tmp_path) -> None:
    """Prepared, switched to, and what was issued before and after verifies with the same root; nothing is lost."""
    root = run("ca", "signer", "list")["data"]["signers"][1]["pem"]
    run("ca", "signer", "add", "--role", "ocsp", *run.key("responder"))
    old = run("cert", "issue", "--to", run.token.uri, "--subject", "CN=Hong")["data"]["credential"]
    planned = run("ca", "rollover", "prepare", *run.key("next"), "--plan")["data"]
    assert (planned["changed"], len(planned["plan"])) == (False, 3)
    assert run("ca", "rollover", "prepare", *run.key("next"))["data"]["signer"]["state"] == "next"
    assert states(run)["issuing"] == "current"
    switched = run("ca", "rollover", "switch")["data"]
    assert (switched["signer"]["id"], switched["signer"]["state"]) == ("issuing-2", "current")
    assert states(run) == {
        "issuing": "retiring",
        "issuing-2": "current",
        "ocsp": "retiring",
        "ocsp-2": "current",
        "root": "current",
    }
    new = run("cert", "issue", "--to", run.token.uri, "--subject", "CN=Kim")["data"]["credential"]
    for one in (old, new):
        shown = run("cert", "show", one["address"])["data"]
        verify(tmp_path, shown["certificate"], shown["certificate"], root)
    assert {one["subject"] for one in run("ca", "list")["data"]["certificates"]} >= {"CN=Hong", "CN=Kim"}
    assert run("ca", "rollover", "switch", ok=False)["status"] == 14
    done = run("ca", "rollover", "retire", ok=False)
    assert (done["status"], done["error"]["code"]) == (9, "not-permitted")
    run("ca", "revoke", old["serial"])
    assert run("cert", "show", old["address"])["data"]["credential"]["state"] == "revoked"
    assert run("ca", "rollover", "retire")["data"]["signers"][0]["state"] == "retired"


def test_a_new_root_is_tied_to_the_old(run, tmp_path) -> None:
    """What is issued afterwards verifies with either root."""
    signers = {one["id"]: one for one in run("ca", "signer", "list")["data"]["signers"]}
    run("ca", "rollover", "prepare", "--root", *run.key("root2"), "--algorithm", "ec-p384")
    run("ca", "rollover", "switch", "--root")
    run("ca", "rollover", "prepare", *run.key("issuing2"))
    chain = run("ca", "rollover", "switch")["data"]["chain"]
    now = {one["id"]: one for one in run("ca", "signer", "list")["data"]["signers"]}
    assert now["root-2"]["certificate"]["algorithm"] == "ec-p384"
    for root in (signers["root"]["pem"], now["root-2"]["pem"]):
        verify(tmp_path, now["issuing-2"]["pem"], chain, root)


def test_a_key_made_for_nothing_is_removed(run) -> None:
    """A key that cannot be used leaves no trace; one that was there before stays."""
    before = run("key", "list", run.token.uri)["data"]["keys"]
    done = run("ca", "signer", "add", "--role", "tsa", *run.key("stamps"), "--name", "O=nobody", ok=False)
    assert done["error"]["code"] == "invalid-name"
    done = run("ca", "signer", "add", "--role", "tsa", *run.key("issuing"), ok=False)
    assert (done["status"], done["error"]["code"]) == (9, "not-permitted")
    done = run("ca", "rollover", "prepare", *run.key("issuing"), ok=False)
    assert (done["status"], done["error"]["code"]) == (9, "not-permitted")
    assert ";object=NAME" in done["error"]["next"]
    assert run("key", "list", run.token.uri)["data"]["keys"] == before


def test_own_certificates_are_renewed(run) -> None:
    """Nothing is due at first: 14; with --all each has a new one for the same key."""
    made = run("ca", "signer", "add", "--role", "cmp", *run.key("cmp"))["data"]["signer"]
    assert run("ca", "signer", "renew", ok=False)["status"] == 14
    (renewed,) = run("ca", "signer", "renew", "--all")["data"]["signers"]
    assert renewed["address"] == made["address"]
    assert renewed["certificate"]["serial"] != made["certificate"]["serial"]


def test_another_root_is_certified(run, tmp_path) -> None:
    """By a file of its certificate; the answer is a file too, and the certificate is on record."""
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem -out other.pem -subj /CN=Other"
    subprocess.run(["openssl", *words.split(), "-days", "30"], cwd=tmp_path, check=True, capture_output=True)
    made = run("ca", "cross-sign", tmp_path / "other.pem", "-o", tmp_path / "crossing.pem")["data"]["certificate"]
    assert (made["subject"], made["issuer"]) == ("CN=Other", "CN=Office Root,C=KR")
    assert "BEGIN CERTIFICATE" in (tmp_path / "crossing.pem").read_text()
    run("ca", "revoke", made["serial"])
    leaf = run("ca", "signer", "list")["data"]["signers"]
    (tmp_path / "leaf.pem").write_text(next(one["pem"] for one in leaf if one["id"] == "issuing"))
    assert run("ca", "cross-sign", tmp_path / "nothing.pem", ok=False)["error"]["code"] == "file-unreadable"
