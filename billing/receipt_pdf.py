"""A receipt as PDF."""

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from django.http import HttpResponse
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table

from billing.queries.receipts import Line, Statement, day

FONTS = Path(__file__).parent / "fonts"
PLAIN, BOLD = "DejaVuSans", "DejaVuSans-Bold"
INK, QUIET, LINE = HexColor("#1a1a2e"), HexColor("#5b6178"), HexColor("#d5d9e5")
MARGIN = 22 * mm
AMOUNTS = 45 * mm
PADDING = 6  # Of the frame that the page is written into, in points.


def file_of(statement: Statement) -> HttpResponse:
    """Answer with the receipt as a file that browsers show."""
    return HttpResponse(
        pdf_of(statement),
        content_type="application/pdf",
        headers={"Content-Disposition": f'inline; filename="receipt-{statement.receipt}.pdf"'},
    )


def pdf_of(statement: Statement) -> bytes:
    """Return the receipt as a file: the same receipt, the same bytes."""
    load_fonts()
    receipt, file = statement.receipt, BytesIO()
    document = SimpleDocTemplate(
        file,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title=f"Receipt {receipt}",
        author=receipt.seller["name"],
        lang="en",
        invariant=1,
    )
    document.build(parts_of(statement, document.width - 2 * PADDING))
    return file.getvalue()


@cache
def load_fonts() -> None:
    for name in [PLAIN, BOLD]:
        pdfmetrics.registerFont(TTFont(name, FONTS / f"{name}.ttf"))


def parts_of(statement: Statement, width: float) -> list[Any]:
    receipt, payment = statement.receipt, statement.payment
    seller = receipt.seller
    tax_id = [f"Tax id {seller['tax_id']}"] if seller["tax_id"] else []
    return [
        text(seller["name"], bold=True),
        *(text(line, quiet=True) for line in [*seller["address"], *tax_id]),
        Spacer(1, 14 * mm),
        text(f"Receipt {receipt}", size=20, bold=True),
        Spacer(1, 4 * mm),
        text(f"Paid on {day(receipt.issued_on)}"),
        *(text(line) for line in statement.buyer),
        text(f"Payment {payment.public_id}", quiet=True, size=8),
        Spacer(1, 10 * mm),
        table_of(statement.lines, width),
    ]


def table_of(lines: list[Line], width: float) -> Table:
    return Table(
        [
            [text(line.name, bold=line.is_total), text(line.money, bold=line.is_total, right=True)]
            for line in lines
        ],
        colWidths=[width - AMOUNTS, AMOUNTS],
        style=[
            ("LINEBELOW", (0, 0), (-1, -1), 0.5, LINE),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 6),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 6),
        ],
    )


def text(
    said: str, *, size: int = 10, bold: bool = False, quiet: bool = False, right: bool = False
) -> Paragraph:
    style = ParagraphStyle(
        "text",
        fontName=BOLD if bold else PLAIN,
        fontSize=size,
        leading=size * 1.45,
        textColor=QUIET if quiet else INK,
        alignment=2 if right else 0,
        splitLongWords=1,
    )
    return Paragraph(escape(said), style)
