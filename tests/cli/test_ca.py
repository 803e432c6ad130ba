"""``dojang ca``: founding, showing, listing, revoking."""

import subprocess

import pytest

from dojang.testing.postgres import private_postgres


@pytest.fixture
def run(json_run):
    """Runs dojang with the PIN of one token, as JSON."""
    return json_run


def _found(run, *more):
    key = f"{run.token.uri};object=root"
    return run("ca", "init", "--alias", "office", "--key", key, "--name", "CN=Office CA,C=KR", *more)


def test_each_token_of_a_hierarchy_gets_its_own_pin(run_dojang, make_token) -> None:
    """What an address says of its own token goes before what is said for all; no PIN is tried on the other."""
    root, issuing = make_token(pin="615243"), make_token(pin="730164")
    keys = ("--key", f"{root.uri}?pin-source={root.pin_source}", "--issuing-key", issuing.uri)
    names = ("--name", "CN=Root,C=KR", "--issuing-name", "CN=CA,C=KR", "--alias", "office")
    made = run_dojang("ca", "init", *keys, *names, "--ca-pin-source", issuing.pin_source)
    assert made.returncode == 0, made.stderr


def test_a_root_that_issues(run, tmp_path) -> None:
    """The key is made on the token, the address holds no PIN, openssl accepts certificate and revocation list."""
    authority = _found(run)["data"]["authority"]
    assert authority["name"] == "office"
    assert "pin" not in authority["address"]
    assert [key["label"] for key in run("key", "list", run.token.uri)["data"]["keys"]] == ["root"]
    (tmp_path / "ca.pem").write_text(authority["chain"])
    run("ca", "crl", "-o", tmp_path / "ca.crl")
    words = f"openssl crl -inform DER -in {tmp_path}/ca.crl -CAfile {tmp_path}/ca.pem -noout"
    assert "verify OK" in subprocess.run(words.split(), capture_output=True, text=True).stderr
    assert run("ca", "show", "office")["data"]["authority"]["crl"]["number"] == 2


def test_an_issuing_authority_below_a_root(run) -> None:
    """Two keys, two certificates; what is issued leads up to the root."""
    issuing = ["--issuing-key", f"{run.token.uri};object=issuing", "--issuing-name", "CN=Office Issuing CA,C=KR"]
    authority = _found(run, *issuing)["data"]["authority"]
    assert authority["root"]["subject"] != authority["certificate"]["subject"]
    issued = run("cert", "issue", "--to", run.token.uri, "--subject", "CN=Hong")["data"]["credential"]
    assert issued["issuer"] == "CN=Office Issuing CA,C=KR"
    assert len(run("cert", "show", issued["address"])["data"]["chain"]) == 2


def test_a_key_that_is_there_is_used(run) -> None:
    """A key generated before becomes the authority's; none is made."""
    run("key", "generate", run.token.uri, "--algorithm", "rsa-2048", "--label", "root")
    assert _found(run)["data"]["authority"]["certificate"]["algorithm"] == "rsa-2048"
    assert len(run("key", "list", run.token.uri)["data"]["keys"]) == 1


def test_founding_twice(run) -> None:
    """The second time it is there already: 9, and the first stays as it was."""
    first = _found(run)["data"]["authority"]
    words = ["--alias", "office", "--key", run.token.uri, "--name", "CN=Other"]
    again = run("ca", "init", *words, ok=False)
    assert (again["status"], again["error"]["code"]) == (9, "already-exists")
    assert run("ca", "show")["data"]["authority"]["certificate"]["serial"] == first["certificate"]["serial"]
    assert len(run("key", "list", run.token.uri)["data"]["keys"]) == 1


def test_founding_that_is_refused_leaves_no_key(run) -> None:
    """A key made for an authority that cannot be is removed again."""
    done = run("ca", "init", "--alias", "a/b", "--key", run.token.uri, "--name", "CN=Office CA", ok=False)
    assert done["status"] == 2
    assert run("key", "list", run.token.uri)["data"]["keys"] == []


def test_without_an_authority(run) -> None:
    """Every command that needs one says how to set one up."""
    for words in (["show"], ["list"], ["crl"], ["revoke", "01"]):
        done = run("ca", *words, ok=False)
        assert (done["status"], done["error"]["code"]) == (3, "not-found")
        assert "ca init" in done["error"]["next"]


def test_profiles_are_listed(run) -> None:
    """Names, days and algorithms, with titles in both languages."""
    profiles = {one["name"]: one for one in run("ca", "profiles")["data"]["profiles"]}
    assert profiles["personal"]["validity_days"] == 365
    assert set(profiles["personal"]["titles"]) == {"en", "ko"}


def test_revoke_suspend_restore(run) -> None:
    """Each changes the state in the authority's list and in the holder's; what is revoked stays revoked."""
    _found(run)
    issued = run("cert", "issue", "--to", run.token.uri, "--subject", "CN=Hong")["data"]["credential"]
    assert run("ca", "revoke", issued["serial"], "--reason", "boredom", "--plan", ok=False)["status"] == 2
    for words, state in (
        (["suspend", issued["serial"]], "suspended"),
        (["restore", issued["serial"]], "confirmed"),
        (["revoke", issued["serial"], "--reason", "keyCompromise"], "revoked"),
    ):
        assert run("ca", *words)["data"]["certificate"]["state"] == state
        held = run("cert", "show", issued["address"])["data"]["credential"]["state"]
        assert held == {"confirmed": "valid"}.get(state, state)
    assert run("ca", "restore", issued["serial"], ok=False)["status"] == 12
    assert run("ca", "revoke", "dead", ok=False)["status"] == 3
    (listed,) = run("ca", "list")["data"]["certificates"]
    assert (listed["state"], listed["reason"]) == ("revoked", "keyCompromise")


def test_a_list_comes_in_pages(run) -> None:
    """So many at once, from the one after the last; by state; those that are due; a mix of the two is usage."""
    _found(run)
    for name in ("one", "two", "three"):
        run("cert", "issue", "--to", run.token.uri, "--subject", f"CN={name}", "--label", name)
    first = run("ca", "list", "--limit", "2")["data"]
    rest = run("ca", "list", "--limit", "2", "--after", first["next"])["data"]
    assert [one["subject"] for one in first["certificates"] + rest["certificates"]] == ["CN=one", "CN=two", "CN=three"]
    assert (first["next"], rest["next"]) == (first["certificates"][-1]["serial"], None)
    assert run("ca", "list", "--state", "revoked")["data"]["certificates"] == []
    assert run("ca", "list", "--due")["data"] == {"certificates": [], "next": None}
    assert run("ca", "list", "--due", "--state", "issued", ok=False)["status"] == 2


def test_what_an_authority_is_set_to_is_shown(run, home) -> None:
    """The defaults, then what its file says; a wrong word in it is named, and nothing is done."""
    _found(run)
    shown = run("ca", "show")["data"]["authority"]["settings"]
    assert (shown["test"], shown["cmp"]["poll_seconds"]) == (False, 5)
    assert shown["database"].endswith("office/store.sqlite")
    (file,) = [path.parent / "authority.toml" for path in home.glob("**/store.sqlite")]
    file.write_text("test = true\n[cmp]\npoll-seconds = 60\n")
    shown = run("ca", "show")["data"]["authority"]["settings"]
    assert (shown["test"], shown["cmp"]["poll_seconds"]) == (True, 60)
    file.write_text("tset = true\n")
    assert "tset" in run("ca", "show", ok=False)["error"]["message"]


def test_advice_names_the_authority(run) -> None:
    """Where there are several authorities, what is advised still runs as it stands."""
    _found(run)
    run("ca", "init", "--alias", "second", "--key", f"{run.token.uri};object=second", "--name", "CN=Second,C=KR")
    for words in (["ca", "revoke", "1a", "--ca", "second"], ["ca", "list", "--ca", "third"]):
        advice = run(*words, ok=False)["error"]["next"]
        assert run(*advice.partition(": dojang ")[2].split())["ok"], advice


def test_one_profile_is_shown_whole(run) -> None:
    """Everything it says, the authority's own among them; a folder of one's own adds to them; 3 for none."""
    one = run("ca", "profiles", "business-general")["data"]["profile"]
    assert one["fee"] == {"currency": "KRW", "amount": 110000}
    assert (one["for"], one["validity_years"], one["korean_days"]) == ("subscriber", [1, 2, 3], True)
    assert one["subject_rules"]["C"]["values"] == ["KR", "kr"]
    assert run("ca", "profiles", "ocsp")["data"]["profile"]["for"] == "ocsp"
    assert "ocsp" not in {each["name"] for each in run("ca", "profiles")["data"]["profiles"]}
    done = run("ca", "profiles", "nobody", ok=False)
    assert (done["status"], done["error"]["code"]) == (3, "not-found")


def test_records_on_a_server(run, home) -> None:
    """Founded, shown, listed and revoked from there; its password is nobody's business on a command line."""
    with private_postgres() as server:
        url = server.new_database()
        _found(run, "--database", url)
        issued = run("cert", "issue", "--to", run.token.uri, "--subject", "CN=Hong")["data"]["credential"]
        run("ca", "revoke", issued["serial"], "--reason", "superseded")
        (listed,) = run("ca", "list")["data"]["certificates"]
        assert (listed["serial"], listed["state"]) == (issued["serial"], "revoked")
        assert "postgresql" in run("ca", "show")["data"]["authority"]["settings"]["database"]
        assert list(home.glob("**/store.sqlite")) == []
        server.stop()
        gone = run("ca", "list", ok=False)
        assert (gone["status"], gone["error"]["code"]) == (11, "database-unavailable")
        refused = run(
            "ca", "init", "--key", run.token.uri, "--name", "CN=B", "--database", "postgresql://a:hush@b/c", ok=False
        )
        assert (refused["status"], "hush" in str(refused)) == (2, False)
