"""Tables as text, as Spark prints them (`Dataset.showString`, `Dataset.htmlString`)."""

import datetime as dt
import html
import math
import re
from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from privacy.dp.types import Value

_LEAST_WIDTH: Final = 3
_ELLIPSIS: Final = 4
"""A cut of fewer characters than this leaves no room for `...`."""
_WIDE: Final = re.compile(
    "[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6"
    "\U00010000-\U0010ffff]"
)
_ESCAPES: Final = str.maketrans(
    {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f", "\b": "\\b", "\v": "\\v", "\a": "\\a"}
)


def show_string(
    names: Sequence[str], table: pa.Table, rows: int, truncate: int, *, vertical: bool
) -> str:
    """Return the first `rows` rows as `df.show()` prints them; `table` may hold one more."""
    cells = _cells(table, rows, truncate)
    header = [name.translate(_ESCAPES) for name in names]
    text = _vertical(header, cells) if vertical else _grid(header, cells, right=truncate > 0)
    if vertical and not cells:
        return "(0 rows)"
    return text + _more(table, rows)


def html_string(names: Sequence[str], table: pa.Table, rows: int, truncate: int) -> str:
    """Return the first `rows` rows as an HTML table."""
    lines = ["<table border='1'>", _html_row("th", [name.translate(_ESCAPES) for name in names])]
    lines += [_html_row("td", row) for row in _cells(table, rows, truncate)]
    more = _more(table, rows)
    return "\n".join([*lines, "</table>", f"{more}\n" if more else ""])


def cell_text(value: Value) -> str:
    """Return a value as Spark casts it to a string for showing."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case float():
            return double_text(value)
        case dt.date():
            return value.isoformat()
        case _:
            return str(value)


def double_text(value: float) -> str:
    """Return a number as Java's `Double.toString` writes it.

    >>> double_text(12345678.0), double_text(0.001), double_text(1.0)
    ('1.2345678E7', '0.001', '1.0')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    mantissa, exponent = f"{_shortest(value)}".split("e")
    sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    digits, power = digits.replace(".", ""), int(exponent)
    if -3 <= power < 7:  # noqa: PLR2004  # Java writes 0.001 to 9999999 without an exponent
        if power < 0:
            return f"{sign}0.{'0' * (-power - 1)}{digits}"
        digits = digits.ljust(power + 1, "0")
        return f"{sign}{digits[: power + 1]}.{digits[power + 1 :] or '0'}"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{power}"


def _shortest(value: float) -> str:
    """Return the fewest digits that read back as `value`, always with an exponent."""
    digits = repr(value).replace("-", "").split("e")[0].replace(".", "").strip("0")
    return f"{value:.{max(len(digits) - 1, 0)}e}"


def _cells(table: pa.Table, rows: int, truncate: int) -> list[list[str]]:
    columns = [column.to_pylist() for column in table.slice(0, max(rows, 0)).columns]
    count = min(table.num_rows, max(rows, 0))
    return [[_cell(column[row], truncate) for column in columns] for row in range(count)]


def _cell(value: Value, truncate: int) -> str:
    text = cell_text(value).translate(_ESCAPES)
    if not 0 < truncate < len(text):
        return text
    return text[:truncate] if truncate < _ELLIPSIS else text[: truncate - 3] + "..."


def _width(text: str) -> int:
    """Return the columns that a terminal gives to `text`, by Spark's ranges of wide characters."""
    return len(text) + len(_WIDE.findall(text))


def _grid(header: list[str], cells: list[list[str]], *, right: bool) -> str:
    lines = [header, *cells]
    widths = [
        max([_LEAST_WIDTH, *(_width(line[column]) for line in lines)])
        for column in range(len(header))
    ]
    rule = "+" + "".join("-" * width + "+" for width in widths) + "\n"

    def line_of(line: list[str]) -> str:
        padded = (
            " " * (width - _width(cell)) + cell if right else cell + " " * (width - _width(cell))
            for cell, width in zip(line, widths, strict=True)
        )
        return "|" + "|".join(padded) + "|\n"

    if not header:
        return "++\n||\n++\n" + "||\n" * len(cells) + "++\n"
    return rule + line_of(header) + rule + "".join(map(line_of, cells)) + rule


def _vertical(header: list[str], cells: list[list[str]]) -> str:
    name_width = max([_LEAST_WIDTH, *map(_width, header)])
    data_width = max([_LEAST_WIDTH, *(_width(cell) for row in cells for cell in row)])
    text = ""
    for number, row in enumerate(cells):
        title = f"-RECORD {number}"
        text += title.ljust(name_width + data_width + 5, "-") + "\n"
        for name, cell in zip(header, row, strict=True):
            left = " " + name + " " * (name_width - _width(name))
            text += f"{left} | {cell}" + " " * (data_width - _width(cell)) + " \n"
    return text


def _more(table: pa.Table, rows: int) -> str:
    if table.num_rows <= max(rows, 0):
        return ""
    return f"only showing top {rows} {'row' if rows == 1 else 'rows'}"


def _html_row(tag: str, cells: list[str]) -> str:
    # As in Spark, an apostrophe stays: the text stands in no attribute. Spark also names letters
    # such as &eacute;, which browsers show the same.
    escaped = (html.escape(cell, quote=False).replace('"', "&quot;") for cell in cells)
    middle = f"</{tag}><{tag}>".join(escaped)
    return f"<tr><{tag}>{middle}</{tag}></tr>"
