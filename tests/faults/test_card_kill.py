"""Killed while a security card is made and printed: no half print, no card that counts without one, and the next run
makes a whole one.
"""

import re
import subprocess
from pathlib import Path

from tests.faults.conftest import Bench, strike_everywhere


def test_a_card_killed_anywhere(bench: Bench, tmp_path) -> None:
    """What was left is unprinted and asked nothing, or printed whole; the next card of the applicant clears it away."""
    applicants: dict[str, str] = {}

    def prepare(name: str) -> list[object]:
        applicants[name] = bench.json("ca", "applicant", "add", "--name", name)["applicant"]["id"]
        return ["otp", "card", "new", "--applicant", applicants[name], "-o", tmp_path / f"{name}.pdf", "--json"]

    def check(name: str, _point: int) -> None:
        paper = tmp_path / f"{name}.pdf"
        left = bench.json("otp", "card", "list", "--applicant", applicants[name])["cards"]
        assert [one["state"] for one in left] in ([], ["unprinted"], ["active"])
        if paper.exists():
            assert subprocess.run(["pdftotext", paper, "-"], capture_output=True, check=False).returncode == 0
        else:
            assert "active" not in [one["state"] for one in left]
        for one in left:
            asked = bench.run("otp", "card", "challenge", one["number"], "--json")
            assert asked.status == (0 if one["state"] == "active" else 9)
        again = bench.json("otp", "card", "new", "--applicant", applicants[name], "-o", tmp_path / f"{name}-2.pdf")
        assert again["card"]["state"] == "active"
        states = [one["state"] for one in bench.json("otp", "card", "list", "--applicant", applicants[name])["cards"]]
        assert set(states) == {"active"}

    strike_everywhere(bench, prepare, check, every=2, journal=False)


def test_an_answer_killed_anywhere(bench: Bench, tmp_path) -> None:
    """A right answer is taken once, whoever is killed over it."""
    paper = tmp_path / "card.pdf"
    applicant = bench.json("ca", "applicant", "add", "--name", "Hong")["applicant"]["id"]
    number = bench.json("otp", "card", "new", "--applicant", applicant, "-o", paper, "--paper", "card")["card"][
        "number"
    ]
    codes = _codes_in(paper)
    asked: dict[str, dict] = {}

    def prepare(name: str) -> list[object]:
        asked[name] = card = bench.json("otp", "card", "challenge", number)["card"]
        bench.environment["ANSWER"] = codes[card["first"] - 1][:2] + codes[card["second"] - 1][2:]
        return ["otp", "card", "verify", number, "--code-source", "env:ANSWER", "--json"]

    def check(name: str, _point: int) -> None:
        verify = ("otp", "card", "verify", number, "--code-source", "env:ANSWER", "--json")
        first, second = bench.run(*verify), bench.run(*verify)
        assert (first.status, second.status) in ((0, 9), (9, 9)), (first.out, second.out)
        assert bench.json("otp", "card", "list")["cards"][0]["wrong_tries"] == 0

    strike_everywhere(bench, prepare, check, every=1, journal=False)


def _codes_in(paper: Path) -> list[str]:
    """Down the columns, as poppler reads it."""
    text = subprocess.run(["pdftotext", "-layout", paper, "-"], capture_output=True, text=True, check=True).stdout
    rows = [re.findall(r"\b\d{4}\b", line) for line in text.splitlines()]
    table = [row for row in rows if len(row) == 7]
    return [row[column] for column in range(7) for row in table]
