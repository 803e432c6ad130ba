"""``dojang otp card``: printed once, asked, answered, locked, unlocked, from the command line."""

import json
import re
import stat
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from dojang.cli import otp_card
from dojang.cli.context import Invocation
from dojang.cli.flags import Flags
from dojang.errors import AuthorityUnreachable, NotPermitted, Phrase


def _codes_in(pdf: Path) -> list[str]:
    """What a card has at each place, as poppler reads it: down the columns."""
    done = subprocess.run(["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True)
    rows = [re.findall(r"\b\d{4}\b", line) for line in done.stdout.splitlines()]
    table = [row for row in rows if len(row) == 7]
    return [row[column] for column in range(7) for row in table]


def _answer(codes: list[str], asked: dict[str, Any]) -> str:
    return codes[asked["first"] - 1][:2] + codes[asked["second"] - 1][2:]


def test_a_card_from_printing_to_its_end(plain_office, tmp_path):
    """What is printed answers what is asked; wrong answers are counted to the lock, which the office opens."""
    office = plain_office
    paper, applicant = tmp_path / "card.pdf", office.applicant()
    made = office.data("otp", "card", "new", "--applicant", applicant, "--paper", "card", "-o", paper)
    assert made["card"]["state"] == "active"
    assert stat.S_IMODE(paper.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["card.pdf"]
    number, codes = made["card"]["number"], _codes_in(paper)
    assert len(codes) == 35
    told = [code for code in codes if code in json.dumps(made)]
    assert len(told) < 4  # a year, or digits of the card's number or of a folder, may happen to be one of them

    asked = office.data("otp", "card", "challenge", number)["card"]
    right = {"ANSWER": _answer(codes, asked)}
    wrong = {"ANSWER": f"{(int(right['ANSWER']) + 1) % 10_000:04d}"}
    verify = ("otp", "card", "verify", f"{number[:4]}-{number[4:8]}-{number[8:]}", "--code-source", "env:ANSWER")
    for status, code in ((13, "otp-wrong"),) * 4 + ((8, "otp-locked"),) * 2:
        done = office.run(*verify, env=wrong)
        assert (done["status"], done["error"]["code"]) == (status, code)
    page = office.data("otp", "card", "list", "--applicant", applicant, "--limit", 1)
    (listed,), more = page["cards"], page["next"]
    assert more == number
    assert (listed["state"], listed["wrong_tries"]) == ("locked", 5)
    assert office.data("otp", "card", "unlock", number)["card"]["state"] == "active"
    assert office.data("otp", "kek", "rotate", "--ca", "office")["kek"] == "kek-2"
    assert office.data(*verify, env=right)["valid"]
    assert office.run(*verify, env=right)["error"]["code"] == "not-permitted"

    delete = ("otp", "card", "delete", number, "--reason", "lost")
    assert office.run(*delete)["error"]["code"] == "input-required"
    assert office.run(*delete, "--yes", "another")["error"]["code"] == "serial-mismatch"
    assert office.data(*delete, "--yes", number)["card"]["state"] == "removed"
    assert office.data("otp", "card", "list", "--applicant", applicant)["cards"] == []
    assert office.run("otp", "card", "challenge", number)["error"]["code"] == "not-permitted"
    events = [one["event"] for one in office.data("audit", "tail", "--lines", "20")["entries"] if number in str(one)]
    wanted = ["card-made", "card-printed", *["card-wrong"] * 5, "card-locked", "card-unlocked"]
    assert events == [*wanted, "card-answered", "card-removed"]


def test_a_new_card_takes_the_place_of_the_old_one(plain_office, tmp_path):
    """Said when it is made, and on record."""
    office = plain_office
    applicant = office.applicant()
    first = office.data("otp", "card", "new", "--applicant", applicant, "-o", tmp_path / "1.pdf")
    assert first["replaced"] == []
    old = first["card"]["number"]
    second = office.data("otp", "card", "new", "--applicant", applicant, "-o", tmp_path / "2.pdf")
    assert second["replaced"] == [old]
    listed = office.data("otp", "card", "list", "--applicant", applicant)["cards"]
    assert [one["number"] for one in listed] == [second["card"]["number"]]
    gone = office.data("audit", "tail", "--lines", "1")["entries"][-1]
    assert (gone["event"], gone["subject"], gone["details"]) == ("card-removed", old, {"reason": "replaced"})


def test_no_card_without_its_paper(plain_office, tmp_path):
    """A file that is there is not written over, one that cannot be written leaves no card, and a plan makes none."""
    office = plain_office
    there, applicant = tmp_path / "card.pdf", office.applicant()
    there.write_text("mine")
    new = ("otp", "card", "new", "--applicant", applicant, "-o")
    assert office.run(*new, there)["error"]["code"] == "already-exists"
    assert there.read_text() == "mine"
    assert office.run(*new, tmp_path / "nowhere" / "card.pdf")["error"]["code"] == "file-unwritable"
    assert office.data(*new, tmp_path / "other.pdf", "--plan")["changed"] is False
    assert office.data("otp", "card", "list", "--applicant", applicant)["cards"] == []
    gone = office.run("otp", "card", "new", "--applicant", "nobody", "-o", tmp_path / "third.pdf")
    assert gone["error"]["code"] == "not-found"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["card.pdf"]


@pytest.mark.parametrize(("lost", "kept"), [(1, True), (2, True), (0, False)])
def test_a_lost_answer_leaves_no_card_without_its_paper(lost, kept, tmp_path, home, monkeypatch):
    """Asked once more; where that is lost too, the card may count and its paper stays. A refusal leaves neither."""
    orders, file = [], tmp_path / "card.pdf"

    def ordered(_invocation, authority, method, arguments, _officer):
        orders.append(method)
        if method == "card.printed" and not lost:
            raise NotPermitted(problem=Phrase("it was removed"), remedy=Phrase("-"))
        if orders.count("card.printed") <= lost:
            raise AuthorityUnreachable(authority=authority, problem=Phrase("the line is cut"))
        return {"card": {"number": "222488552240"}, "replaced": []}

    monkeypatch.setattr(otp_card, "ordered", ordered)
    made = {"card": {"number": "222488552240", "created_at": "2026-01-01T00:00:00+00:00"}, "codes": ["0123"] * 35}
    made["issuer"] = "office"
    expected = {0: pytest.raises(NotPermitted), 1: nullcontext(), 2: pytest.raises(AuthorityUnreachable, match="2224-")}
    with expected[lost] as refused:
        otp_card._print(Invocation(Flags()), "office", made, file, "a4", None)
    assert file.exists() is kept
    assert ("card.remove" in orders) is not kept
    assert lost != 2 or "card list" in refused.value.advice()


def test_settings_of_cards(plain_office, tmp_path):
    """How many codes, and after how many wrong answers, is data."""
    office = plain_office
    path = office.home / "state" / "authorities" / "office" / "authority.toml"
    path.write_text("[cards]\nentries = 30\ntries = 3\n")
    try:
        made = office.data("otp", "card", "new", "--applicant", office.applicant(), "-o", tmp_path / "card.pdf")
        assert made["card"]["entries"] == 30
        path.write_text("[cards]\nentries = 40\n")
        assert office.run("otp", "card", "list")["error"]["code"] == "invalid-setting"
    finally:
        path.unlink()
