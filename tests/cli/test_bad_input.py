"""What tokens, cards and modules should never say, said to the commands that list and look: each answers with one valid
document, names what it can, and leaves out what it cannot.
"""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from dojang.testing.piv import damaged, noise, plugged_in, status, truncated, wrong_length
from dojang.testing.setup import TokenSetup
from dojang.testing.softhsm import softhsm

LIES = {
    "none": [],
    "label ends early": ["label ends early"],
    "label is not UTF-8": ["label is not UTF-8"],
    "label has half a pair": ["label has half a pair"],
    "label moves the cursor": ["label moves the cursor"],
    "label is blank": ["label is blank"],
    "no serial": ["serial is blank"],
    "no serial, no label": ["serial is blank", "label is blank"],
    "one serial": ["serial is the same"],
    "all alike": ["serial is the same", "label is the same"],
    "slots twice": ["slots twice"],
    "slots grow": ["slots grow"],
    "mechanisms grow": ["mechanisms grow"],
    "attributes are huge": ["attributes are huge"],
    "attributes are longer than their room": ["attributes are longer than their room"],
    "attributes shrink": ["attributes shrink"],
    "attributes never fit": ["attributes never fit"],
    "objects": ["objects"],
    "more objects than asked for": ["more objects than asked for"],
    "one object for ever": ["one object for ever"],
    "new objects for ever": ["new objects for ever"],
    "deaf token": ["deaf token"],
}
SURVIVES = {"slots grow": 5}
"""The only lie after which nothing at all can be listed, and what the commands answer then."""

FAULTS = {
    "noise": noise(1),
    "half an answer": damaged(truncated),
    "wrong lengths": damaged(wrong_length),
    "errors": status(0x6F00),
}

# Every command in one process: a start costs more than all that is tested here.
RUN = """
    import io, json, os, sys
    from pathlib import Path
    from dojang.cli.run import run
    lies, pin_source = json.loads(sys.argv[1]), sys.argv[2]
    real = sys.stdout
    def answer(*words):
        sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        status = run([*words, "--json", "--no-input"])
        sys.stdout.flush()
        text = sys.stdout.buffer.getvalue().decode()
        sys.stdout = real
        return status, text
    for name, lines in lies.items():
        Path(os.environ["LYING_FILE"]).write_text(os.linesep.join(lines))
        said = [("token list", *answer("token", "list"))]
        document = json.loads(said[0][2])
        tokens = document["data"]["tokens"] if document["ok"] else []
        for token in tokens:
            for words in (["token", "show"], ["cert", "list"]):
                said.append((" ".join(words), *answer(*words, token["address"])))
        for token in tokens[:1]:
            said.append(("key list", *answer("key", "list", token["address"], "--pin-source", pin_source)))
        said.append(("where", *answer("where")))
        said.append(("doctor", *answer("doctor")))
        if "label" in name or "serial" in name or "slots" in name:
            said.append(("token watch", *answer("token", "watch", "--timeout", "0.2")))
        print(json.dumps([name, said]), flush=True)
"""


JUNK = """
    import sys
    from dojang.pkcs11 import ModuleSearch, open_token
    from dojang.pkcs11 import constants as ck
    from dojang.secret import Secret
    uri, pin, module = sys.argv[1:]
    with open_token(uri, Secret(pin), search=ModuleSearch(module=module, discover=False)) as token:
        token.generate_key_pair("ec-p256", label="good", key_id=b"good")
        token.generate_key_pair("ec-p256", label="soon no text", key_id=b"odd")
        def store(session):
            for handle in session.cryptoki.find_objects(session.handle, [(ck.CKA_ID, b"odd")]):
                session.cryptoki.set_attributes(session.handle, handle, [(ck.CKA_LABEL, b"\\xff\\xfe")])
            for label in (b"junk", b"half \\xed\\xa0\\x80 pair", b"\\xff\\xfe\\x1b[2J"):
                attributes = [(ck.CKA_CLASS, ck.CKO_CERTIFICATE), (ck.CKA_TOKEN, True), (ck.CKA_PRIVATE, False)]
                attributes += [(ck.CKA_CERTIFICATE_TYPE, 0), (ck.CKA_LABEL, label), (ck.CKA_ID, label)]
                attributes += [(ck.CKA_SUBJECT, b"junk"), (ck.CKA_VALUE, b"junk")]
                session.cryptoki.create_object(session.handle, attributes)
        token.logged_in(store)
"""
"""Two keys, one with a label that is no text, and three certificates that are none."""


@pytest.fixture(scope="module")
def tokens() -> Iterator[list[TokenSetup]]:
    """Two tokens that nobody else has: one with things on it that should not be there, one to be deaf."""
    with softhsm() as hsm:
        made = [hsm.token("bad", pin="482913"), hsm.token("deaf", pin="482913")]  # the module lists either first
        script = [sys.executable, "-c", textwrap.dedent(JUNK), made[0].uri, made[0].pin, str(hsm.module)]
        subprocess.run(script, env={**os.environ, **hsm.environment}, check=True, timeout=60)
        yield made


@pytest.fixture
def run_dojang(dojang_at, tokens, home):
    """dojang on these tokens alone."""
    run = dojang_at(home)

    def here(*words: object, env: dict[str, str] | None = None):
        return run(*words, env={**tokens[0].environment, **(env or {})})

    return here


@pytest.fixture(scope="module")
def said(tokens, liar, tmp_path_factory) -> dict[str, list]:
    """What each command answered, by the lie that was told."""
    folder = tmp_path_factory.mktemp("bad")
    own = {"HOME": str(folder), "DOJANG_HOME": str(folder / "dojang"), "DOJANG_MODULE": str(liar), "LC_ALL": "C.UTF-8"}
    lying = {"LYING_OVER": str(tokens[0].module), "LYING_FILE": str(folder / "lies")}
    command = [sys.executable, "-c", textwrap.dedent(RUN), json.dumps(LIES), tokens[0].pin_source]
    environment = {**os.environ, **tokens[0].environment, **own, **lying}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.parametrize("lie", LIES)
def test_every_command_answers_with_documents_and_no_lie_is_a_bug(said, lie) -> None:
    """One document each (a line each from the stream), never a traceback, and the listing goes on."""
    for command, exit_status, text in said[lie]:
        documents = [json.loads(line) for line in text.splitlines()]
        assert len(documents) == 1 or command == "token watch", (command, text)
        assert exit_status != 1, (command, text)
        assert all(document["ok"] or document["error"]["code"] != "bug" for document in documents)
    assert said[lie][0][1] == SURVIVES.get(lie, 0), said[lie][0]


@pytest.mark.parametrize("lie", ["no serial", "no serial, no label", "one serial", "all alike", "label is not UTF-8"])
def test_every_address_that_is_printed_names_one_token(said, lie) -> None:
    """Whatever tokens have in common, each is shown by its own address."""
    listed = [token["address"] for token in json.loads(said[lie][0][2])["data"]["tokens"]]
    shown = [json.loads(text) for command, _status, text in said[lie] if command == "token show"]
    assert [one["data"]["token"]["address"] for one in shown] == listed
    assert len(set(listed)) == len(listed) > 1


def test_certificates_that_are_none_are_told_and_hide_no_other(said) -> None:
    """cert list, where and doctor name the certificates that cannot be read, and go on."""
    for command, exit_status, text in said["none"]:
        data = json.loads(text.splitlines()[0])["data"]
        if command == "where":
            assert (exit_status, len(data["unreachable"])) == (0, 3)
        if command == "doctor":
            assert sum(one["code"] == "certificate-unreadable" for one in data["findings"]) == 3


def test_a_key_whose_label_is_no_text_is_addressed_by_its_id(run_dojang, tokens, tmp_path) -> None:
    """What is printed for it can be pasted back, for showing and for signing."""
    pin = ("--pin-source", tokens[0].pin_source)
    listed = json.loads(run_dojang("key", "list", tokens[0].uri, *pin, "--json").stdout)["data"]["keys"]
    (address,) = [key["address"] for key in listed if key["id"] == b"odd".hex()]
    assert run_dojang("key", "show", address, *pin).returncode == 0
    (tmp_path / "file").write_text("content")
    assert run_dojang("sign", "raw", "--key", address, tmp_path / "file", "-o", tmp_path / "out", *pin).returncode == 0


def test_a_token_that_cannot_be_asked_is_a_finding(said) -> None:
    """The slot is named with what it answered, in the list and by the doctor."""
    answers = {command: json.loads(text.splitlines()[0]) for command, _status, text in said["deaf token"]}
    problems = [slot["problem"] for slot in answers["token list"]["data"]["empty_slots"]]
    assert "C_GetTokenInfo: CKR_GENERAL_ERROR" in problems
    assert "slot-unreadable" in {one["code"] for one in answers["doctor"]["data"]["findings"]}


def test_a_label_cannot_move_the_cursor_of_a_terminal(run_dojang, tokens, liar, tmp_path) -> None:
    """Control characters of a label are spelt out for people."""
    (tmp_path / "lies").write_text("label moves the cursor")
    lying = {"LYING_OVER": str(tokens[0].module), "LYING_FILE": str(tmp_path / "lies"), "DOJANG_MODULE": str(liar)}
    for words in (["token", "list"], ["doctor"], ["token", "watch", "--timeout", "0.2"]):
        done = run_dojang(*words, env=lying)
        assert "boo" in done.stdout
        assert not set(done.stdout + done.stderr) & {"\x1b", "\x9b", "\r"}


@pytest.mark.parametrize(
    ("words", "exit_status"),
    [
        ("key generate {uri} --label {bad} --pin-source {pin}", 2),
        ("key list {uri};object={bad} --pin-source {pin}", 2),
        ("token init --label {bad} --so-pin-source {pin} --new-pin-source {pin}", 2),
        ("token init --label new --serial {bad} --so-pin-source {pin} --new-pin-source {pin}", 6),
        ("token fsck {uri} --remove --serial {bad} --pin-source {pin}", 0),
        ("cert request {uri} --subject CN={bad} --pin-source {pin}", 2),
        ("cert show {bad}", 3),
        ("doctor --give-up {bad}", 3),
        ("token show @{bad}", 3),
    ],
)
def test_words_that_are_no_text_are_refused_in_words(run_dojang, tokens, words, exit_status) -> None:
    """A byte that is no UTF-8 anywhere on the command line: an answer in JSON, and nothing was done."""
    facts = {"uri": tokens[1].uri, "pin": tokens[1].pin_source, "bad": os.fsdecode(b"\xff\xfe")}
    done = run_dojang(*(word.format(**facts) for word in words.split()), "--json", "--no-input")
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (exit_status, exit_status == 0), done.stdout


def test_a_token_that_is_named_but_not_initialised_says_so(run_dojang) -> None:
    """By its slot, the token that waits to be set up is named; 'init' is the next step."""
    listed = json.loads(run_dojang("token", "list", "--json").stdout)["data"]["empty_slots"]
    slot = listed[0]["description"].replace(" ", "%20")
    for words in (["token", "show"], ["key", "list"], ["cert", "list"], ["doctor"]):
        done = run_dojang(*words, f"pkcs11:slot-description={slot}", "--json", "--no-input")
        error = json.loads(done.stdout)["error"]
        assert (done.returncode, error["code"]) == (6, "token-not-initialized")
        assert "dojang token init --label NAME" in error["next"]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_card_that_answers_rubbish(dojang_at, tmp_path, fault) -> None:
    """Noise, half answers, wrong lengths, errors instead of data: every command ends in one document, no PIN tried."""
    home = tmp_path / "home" / "dojang"
    with plugged_in() as (setup, card, _daemon, port):
        run = dojang_at(home)
        card.faults.add(fault, times=None)
        for words in (["token", "list"], ["doctor"]):
            done = run(*words, "--module", setup.module, "--json", "--no-input", env=dict(setup.environment))
            assert json.loads(done.stdout)["command"] == " ".join(words)
            assert done.returncode != 1, done.stdout
        assert card.verifications == 0
        card.faults.clear()
        card.remove()
        card.insert(port)
        healed = run("token", "list", "--module", setup.module, "--json", env=dict(setup.environment))
        assert [token["label"] for token in json.loads(healed.stdout)["data"]["tokens"]] == [setup.label]
