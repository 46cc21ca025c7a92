"""Reports as PDF, with a Chinese font of the machine embedded: only the characters that are used.

fpdf2 (LGPL-3.0, kept up) writes it; it takes TrueType and OpenType fonts and collections.
"""

import datetime as dt
from pathlib import Path

from fpdf import FPDF, FontFace
from fpdf.enums import XPos, YPos

from marketplace.errors import MarketplaceError
from marketplace.reports.model import Report

FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".fonts")
FONTS = (
    ("NotoSansCJK-Regular.ttc", 2),
    ("NotoSansCJKsc-Regular.otf", 0),
    ("NotoSansSC-Regular.otf", 0),
    ("NotoSerifCJK-Regular.ttc", 2),
    ("wqy-microhei.ttc", 0),
    ("wqy-zenhei.ttc", 0),
)
"""Fonts with Chinese characters that Debian packages install, the best first, and which face of a
collection draws characters as in mainland China (Noto's order is JP, KR, SC, TC, HK)."""
MOST_ROWS = 2_000
FONT = "lab"


def pdf_of(report: Report, language: str, folders: tuple[Path, ...] = FOLDERS) -> bytes:
    """Return a report as PDF; FONT_MISSING where no Chinese font is installed."""
    if len(report.rows) > MOST_ROWS:
        raise MarketplaceError(
            "BAD_REQUEST",
            f"A PDF has at most {MOST_ROWS} rows, and this report has {len(report.rows)}. Ask for "
            "fewer days, or for CSV.",
            f"PDF 至多 {MOST_ROWS} 行，该报告有 {len(report.rows)} 行，请缩短报告期或使用 CSV。",
        )
    path, number = _font(folders)
    page = _Page(report.sha256, orientation="landscape", format="A4")
    page.set_creation_date(report.generated.astimezone(dt.UTC))
    page.set_title(report.kind.title.of(language))
    page.set_lang("zh-CN" if language == "zh" else "en")
    page.add_font(FONT, "", path, collection_font_number=number)
    page.set_auto_page_break(auto=True, margin=16)
    page.add_page()
    page.set_font(FONT, size=15)
    _line(page, 10, report.kind.title.of(language))
    page.set_font(FONT, size=8.5)
    for name, value in report.lines(language)[1:]:
        _line(page, 4.6, f"{name}: {value}")
    for note in report.kind.notes:
        _line(page, 4.6, note.of(language))
    page.ln(3)
    page.set_font(FONT, size=7)
    _table(page, report, language)
    return bytes(page.output())


class _Page(FPDF):
    """Pages with number and hash at their foot."""

    def __init__(self, sha256: str, orientation: str, format: str) -> None:  # noqa: A002  # fpdf's word
        super().__init__(orientation=orientation, format=format)
        self._sha256 = sha256

    def footer(self) -> None:
        """Write which page of which report this is."""
        self.set_y(-12)
        self.set_font(FONT, size=7)
        self.cell(0, 5, f"{self.page_no()} · {self._sha256}", align="R")


def _line(page: FPDF, height: float, text: str) -> None:
    page.multi_cell(0, height, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _table(page: FPDF, report: Report, language: str) -> None:
    heads = [c.head.of(language) for c in report.kind.columns]
    shown = [[_cell(c) for c in row] for row in report.rows]
    longest = [
        min(40, max(6, *(_width(row[i]) for row in [heads, *shown]))) for i in range(len(heads))
    ]
    with page.table(
        headings_style=FontFace(emphasis="", fill_color=(233, 237, 243)),
        col_widths=tuple(longest),
        line_height=4,
        text_align="LEFT",
        wrapmode="CHAR",
    ) as table:
        for cells in (heads, *shown):
            row = table.row()
            for cell in cells:
                row.cell(cell)


def _cell(value: str | int) -> str:
    text = f"{value:,}" if isinstance(value, int) else value
    return "".join(c if c.isprintable() else " " for c in text)


def _width(text: str) -> int:
    """Return how wide a text is, in Latin letters: a Chinese character takes two."""
    return sum(1 if ord(c) < 0x2E80 else 2 for c in text)  # noqa: PLR2004  # where CJK begins


def _font(folders: tuple[Path, ...]) -> tuple[Path, int]:
    for name, face in FONTS:
        for folder in folders:
            found = next(iter(sorted(folder.rglob(name))), None) if folder.is_dir() else None
            if found is not None:
                return found, face
    raise MarketplaceError(
        "FONT_MISSING",
        "No font with Chinese characters is installed here, so no PDF is made. Install the Debian "
        "package fonts-noto-cjk, or ask for CSV or JSON.",
        "本机未安装中文字体，无法生成 PDF。请安装 Debian 软件包 fonts-noto-cjk，或选择 CSV、JSON。",
    )
