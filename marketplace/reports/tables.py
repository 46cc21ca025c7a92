"""Reports as CSV, which spreadsheets open."""

import csv
import io

from marketplace.catalogue.exports import plain
from marketplace.reports.model import Cell, Report


def csv_of(report: Report, language: str) -> bytes:
    """Return a report as CSV with what it is about above the rows; no cell runs (attack H4)."""
    output = io.StringIO()
    writer = csv.writer(output)
    for name, value in report.lines(language):
        writer.writerow([f"# {name}", safe(value)])
    for note in report.kind.notes:
        writer.writerow(["#", safe(note.of(language))])
    writer.writerow([c.head.of(language) for c in report.kind.columns])
    for row in report.rows:
        writer.writerow([safe(cell) for cell in row])
    return ("\ufeff" + output.getvalue()).encode()


def safe(cell: Cell) -> Cell:
    r"""Return a cell that no spreadsheet runs; a number stays one, also a negative one.

    >>> safe("=1+1"), safe("\t=1"), safe(-3)
    ("'=1+1", "'\t=1", -3)
    """
    return plain(cell) if isinstance(cell, str) else cell
