"""``dojang ca jobs``: periodic work by hand, and how it went."""

import json

import pytest


@pytest.fixture
def run(make_token, run_dojang):
    """Runs dojang with the PIN of the token of an authority that has been founded, as JSON."""
    token = make_token()

    def run(*words, status=0, pin=True):
        more = ("--pin-source", token.pin_source) if pin else ("--no-input",)
        done = run_dojang(*words, *more, "--json")
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)

    run("ca", "init", "--alias", "office", "--key", f"{token.uri};object=root", "--name", "CN=Office CA,C=KR")
    return run


def test_work_by_hand(run):
    """Every kind is done once on demand; afterwards nothing is due, and the list says when each was done."""
    before = run("ca", "jobs", "list", pin=False)["data"]["jobs"]
    assert {(one["state"], one["done_at"]) for one in before} == {(None, None)}
    done = run("ca", "jobs", "run", "--all")["data"]["jobs"]
    assert [one for one in done if not one["ok"]] == []
    assert {one["kind"] for one in done} == {one["kind"] for one in before} - {"notify-renewals"}
    assert run("ca", "jobs", "run", status=14)["data"]["jobs"] == []
    after = run("ca", "jobs", "list", pin=False)["data"]["jobs"]
    assert [one["kind"] for one in after if one["done_at"] is None] == ["notify-renewals"]
    assert run("audit", "verify", pin=False)["data"]["valid"]


def test_what_fails_is_told_and_waits(run):
    """Without a PIN a head cannot be signed: status 15, the failure in the list, and the job waits for its time."""
    run("ca", "applicant", "add", "--name", "홍길동", pin=False)
    (failed,) = run("ca", "jobs", "run", "sign-head", pin=False, status=15)["data"]["jobs"]
    assert not failed["ok"]
    (job,) = (one for one in run("ca", "jobs", "list", pin=False)["data"]["jobs"] if one["kind"] == "sign-head")
    assert (job["state"], job["failures"], job["done_at"]) == ("waiting", 1, None)
    assert "PIN" in job["problem"]
    (done,) = run("ca", "jobs", "run", "sign-head")["data"]["jobs"]
    assert (done["ok"], done["attempt"]) == (True, 2)


def test_a_plan_and_unknown_work(run):
    """--plan says what would be done; work that there is not is refused with what there is."""
    assert len(run("ca", "jobs", "run", "--all", "--plan", pin=False)["data"]["plan"]) == 8
    assert "sign-head" in run("ca", "jobs", "run", "no-such-work", status=2)["error"]["message"]
