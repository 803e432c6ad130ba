"""A card on paper, as programs read it that we did not write: poppler's."""

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dojang.otp.cards import paper

CODES = [f"{at * 277 % 10000:04d}" for at in range(1, 36)]
FACE = paper.Face("407312345678", "office", datetime(2026, 11, 22, tzinfo=UTC))


def _poppler(program: str, *arguments: object) -> str:
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module", params=paper.PAPERS)
def printed(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("paper") / f"{request.param}.pdf"
    path.write_bytes(paper.pdf_of(FACE, CODES, request.param))
    return path


def test_everything_is_on_the_paper(printed):
    """Number, both languages, every place and every code, on one page."""
    text = _poppler("pdftotext", "-layout", printed, "-")
    assert "4073-1234-5678" in text
    assert "보안카드" in text
    assert "Security card" in text
    assert "알려주거나" in text
    for place, code in enumerate(CODES, start=1):
        assert code in text
        assert str(place) in text.split()
    info = dict(line.split(":", 1) for line in _poppler("pdfinfo", printed).splitlines())
    assert info["Pages"].strip() == "1"


def test_korean_is_embedded(printed):
    """The letters come with the file; whoever opens it needs no font."""
    rows = [line.split() for line in _poppler("pdffonts", printed).splitlines()[2:]]
    ours = [row for row in rows if row[0].endswith("DojangHangul")]
    assert ours
    assert all("yes" in row for row in ours)


def test_korean_is_drawn(printed, tmp_path):
    """The font has every letter of what is said, and there is ink where the title stands."""
    from reportlab.pdfbase import pdfmetrics

    known = pdfmetrics.getFont("DojangHangul").face.charToGlyph
    said = "보안카드" + "".join(paper._WARNINGS + paper._HOW_TO)
    assert not {letter for letter in said if ord(letter) not in known}
    boxes = re.findall(r'<word xMin="([^"]+)" yMin="([^"]+)" xMax="([^"]+)" yMax="([^"]+)">([^<]+)<', _boxes(printed))
    title = next([float(one) for one in box] for *box, word in boxes if word == "보안카드")
    left, top, right, bottom = (round(2 * one) for one in title)
    cut = ("-x", left, "-y", top, "-W", right - left, "-H", bottom - top)
    _poppler("pdftoppm", "-r", 144, "-gray", "-singlefile", *cut, printed, tmp_path / "title")
    pixels = (tmp_path / "title.pgm").read_bytes().split(b"\n", 3)[3]
    ink = sum(one < 128 for one in pixels) / len(pixels)
    assert 0.05 < ink < 0.4


def _boxes(printed: Path) -> str:
    return _poppler("pdftotext", "-bbox", printed, "-")


def test_the_card_is_as_large_as_a_bank_card(printed):
    """85.6 by 54 millimetres; A4 for the sheet."""
    info = dict(line.split(":", 1) for line in _poppler("pdfinfo", printed).splitlines())
    width, height = (float(word) * 25.4 / 72 for word in info["Page size"].split() if word[0].isdigit())
    wanted = (210, 297) if printed.stem == "a4" else (85.6, 53.98)
    assert (width, height) == pytest.approx(wanted, abs=0.2)


def test_a_name_may_have_any_letter(tmp_path):
    """What the embedded font lacks is still text."""
    path = tmp_path / "card.pdf"
    face = paper.Face("407312345678", "뷁은행", FACE.made_at)
    path.write_bytes(paper.pdf_of(face, CODES[:30], "card"))
    assert "뷁은행" in _poppler("pdftotext", path, "-")
