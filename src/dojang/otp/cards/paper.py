"""A security card as a PDF: the card alone at the size of a bank card, or on a sheet of A4 to be cut out.

Korean is drawn with a font that lies here and is embedded, so that it looks alike everywhere: ``hangul.ttf``, the
letters of these texts out of NanumGothic (SIL Open Font License, see ``hangul-OFL.txt``). What else a name may hold is
left to the Korean font of whoever opens the file. The file is made in memory, and nothing of it is kept here.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dojang.otp.cards.codes import NUMBER_DIGITS

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

PAPERS: Final = ("a4", "card")
COLUMNS: Final = 7
_MM: Final = 72 / 25.4
_CARD: Final = (85.6 * _MM, 53.98 * _MM)
_A4: Final = (210 * _MM, 297 * _MM)
_EDGE: Final = 3.2 * _MM
_CORNER: Final = 3.2 * _MM
_HEAD: Final = 11.5 * _MM
_FOOT: Final = 8.6 * _MM
_KOREAN, _LATIN, _BOLD, _DIGITS, _OTHER = (
    "DojangHangul",
    "Helvetica",
    "Helvetica-Bold",
    "Courier-Bold",
    "HYGothic-Medium",
)

_WARNINGS: Final = (
    "번호를 남에게 알려주거나 사진으로 찍지 마십시오. 어떤 기관도 전체 번호를 묻지 않습니다.",
    "Tell nobody and take no picture. Nobody ever asks for all numbers.",
)
_HOW_TO: Final = (
    "두 번호를 물으면 첫 번째 번호의 앞 두 자리와 두 번째 번호의 뒤 두 자리를 입력합니다.",
    "When two numbers are asked for, type the first two digits of the first and the last two digits of the second.",
    "",
    "여러 번 틀리면 카드가 잠깁니다. 잃어버리면 곧바로 발급기관에 알리십시오.",
    "After several wrong answers the card is locked. Tell the issuer at once when it is lost.",
    "",
    "이 카드는 다시 인쇄되지 않습니다. 테두리를 따라 오려서 쓰고, 파일은 지우십시오.",
    "This card is printed only once. Cut it out along its edge, and delete the file.",
)


@dataclass(frozen=True, slots=True)
class Face:
    """What is printed beside the codes."""

    number: str
    issuer: str
    made_at: datetime


def pdf_of(face: Face, codes: Sequence[str], paper: str = "a4") -> bytes:
    """The file. ``ModuleNotFoundError`` without reportlab, which the extra ``otp`` brings."""
    from reportlab.pdfgen.canvas import Canvas

    _register_fonts()
    page = _A4 if paper == "a4" else _CARD
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=page, invariant=True, pageCompression=1)
    canvas.setTitle("보안카드 · Security card")
    canvas.setAuthor(face.issuer)
    if paper == "a4":
        canvas.translate((page[0] - _CARD[0]) / 2, page[1] - 40 * _MM - _CARD[1])
        _explain(canvas)
    _draw(canvas, face, codes)
    canvas.showPage()
    canvas.save()
    return file.getvalue()


def load() -> None:
    """Before a card is made: ``ModuleNotFoundError`` where none could be printed."""
    _register_fonts()


def grouped(number: str) -> str:
    """The number of a card as people read it: ``1234-5678-9012``."""
    return "-".join(number[at : at + 4] for at in range(0, NUMBER_DIGITS, 4))


def _register_fonts() -> None:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfbase.ttfonts import TTFont

    if _KOREAN not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(TTFont(_KOREAN, Path(__file__).with_name("hangul.ttf")))
        pdfmetrics.registerFont(UnicodeCIDFont(_OTHER))


def _draw(canvas: "Canvas", face: Face, codes: Sequence[str]) -> None:
    """The card, its lower left corner where the canvas begins."""
    width, height = _CARD
    canvas.setLineWidth(0.5)
    canvas.roundRect(0.25, 0.25, width - 0.5, height - 0.5, _CORNER)
    _text(canvas, _EDGE, height - 5.6 * _MM, "보안카드", _KOREAN, 10)
    _text(canvas, _EDGE + 16.5 * _MM, height - 5.6 * _MM, "Security card", _BOLD, 8)
    _name(canvas, _EDGE, height - 9.6 * _MM, f"{face.issuer}  {face.made_at:%Y-%m-%d}", 6)
    canvas.setFont(_BOLD, 8)
    canvas.drawRightString(width - _EDGE, height - 5.6 * _MM, f"No. {grouped(face.number)}")
    _table(canvas, codes)
    for line, (text, font) in enumerate(zip(_WARNINGS, (_KOREAN, _LATIN), strict=True)):
        _text(canvas, _EDGE, (5.6 - 2.9 * line) * _MM, text, font, 5.6)


def _table(canvas: "Canvas", codes: Sequence[str]) -> None:
    """Down the columns: the place in small digits, the code in large ones."""
    rows = -(-len(codes) // COLUMNS)
    width = (_CARD[0] - 2 * _EDGE) / COLUMNS
    height = (_CARD[1] - _HEAD - _FOOT) / rows
    canvas.setStrokeGray(0.6)
    canvas.setLineWidth(0.3)
    for place, code in enumerate(codes, start=1):
        column, row = divmod(place - 1, rows)
        left, low = _EDGE + column * width, _CARD[1] - _HEAD - (row + 1) * height
        canvas.setFillGray(0.93 if row % 2 else 1)
        canvas.rect(left, low, width, height, fill=1)
        canvas.setFillGray(0.3)
        canvas.setFont(_LATIN, 5)
        canvas.drawString(left + 0.8 * _MM, low + height - 2.2 * _MM, str(place))
        canvas.setFillGray(0)
        canvas.setFont(_DIGITS, 9.5)
        canvas.drawRightString(left + width - 0.8 * _MM, low + 1.5 * _MM, code)


def _explain(canvas: "Canvas") -> None:
    """How the card is used, below it on the sheet."""
    canvas.saveState()
    canvas.setLineWidth(0.3)
    low = -14 * _MM
    for line, text in enumerate(_HOW_TO):
        korean = any(ord(letter) > 0x7F for letter in text)
        _text(canvas, -40 * _MM, low - line * 5.2 * _MM, text, _KOREAN if korean else _LATIN, 9)
    canvas.restoreState()


def _name(canvas: Any, left: float, low: float, text: str, size: float) -> None:
    """A name, in our font where it has every letter."""
    from reportlab.pdfbase import pdfmetrics

    known = pdfmetrics.getFont(_KOREAN).face.charToGlyph
    font = _KOREAN if all(ord(letter) in known for letter in text) else _OTHER
    _text(canvas, left, low, text, font, size)


def _text(canvas: "Canvas", left: float, low: float, text: str, font: str, size: float) -> None:
    canvas.setFont(font, size)
    canvas.drawString(left, low, text)
