"""Planted faults of data quality, and the table that says where they are.

Kinds follow the dimensions of GB/T 36344-2018 (the indicator codes are named from memory). Every
kind planned for a table hits the same share of its rows, and a row has one fault at most, so that
a quality engine can be scored. `expected` says what ingest must do with the row: `quarantine`, or
`store` where one row alone does not show the fault, or where its id can be put right.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sandbox.lake.generate.city import Array
from sandbox.lake.generate.identifiers import (
    SERIALS,
    social_credit_codes,
    with_wrong_check_digit,
    with_wrong_inner_digit,
)

SCHEMA = pa.schema(
    [
        ("table", pa.string()),
        ("row", pa.int64()),
        ("column", pa.string()),
        ("fault", pa.string()),
        ("indicator", pa.string()),
        ("expected", pa.string()),
        ("uscc", pa.string()),
    ]
)
"""`row` counts the file's rows from 0, null for one that is missing; `uscc` is the right code."""

DEFAULT_RATE = 0.01

_KINDS = {
    "missing_id": ("0201", "quarantine"),
    "missing_required": ("0201", "quarantine"),
    "missing_record": ("0202", "absent"),
    "bad_check_digit": ("0302", "quarantine"),
    "bad_inner_digit": ("0302", "quarantine"),
    "lowercase_id": ("0302", "store"),
    "fullwidth_id": ("0302", "store"),
    "padded_id": ("0302", "store"),
    "wrong_code": ("0105", "quarantine"),
    "wrong_unit": ("0101", "store"),
    "out_of_range": ("0301", "store"),
    "broken_rule": ("0104", "store"),
    "duplicate": ("0303", "quarantine"),
    "double_key": ("0304", "quarantine"),
    "conflict": ("0401", "store"),
    "orphan": ("0402", "store"),
    "outside_window": ("0501", "quarantine"),
    "late": ("0502", "store"),
    "time_disorder": ("0503", "store"),
}
"""Indicator and what ingest must do. A duplicate is its later copy; of a doubled key either row may
be the one that is stored. Values out of range are stored and clamped when a question reads them."""

_ORDINARY = {"bad_check_digit": "uscc", "lowercase_id": "uscc", "duplicate": ""}
PLANNED: Mapping[str, Mapping[str, str]] = {
    "ent_registration": {
        "missing_required": "ent_name",
        "bad_check_digit": "uscc",
        "bad_inner_digit": "uscc",
        "lowercase_id": "uscc",
        "fullwidth_id": "uscc",
        "padded_id": "uscc",
        "wrong_code": "industry_code",
        "wrong_unit": "reg_capital",
        "out_of_range": "reg_capital",
        "duplicate": "",
        "time_disorder": "known_date",
    },
    "tax_summary": {
        "missing_id": "uscc",
        "missing_record": "",
        "bad_check_digit": "uscc",
        "lowercase_id": "uscc",
        "wrong_code": "tax_credit_grade",
        "out_of_range": "vat_sales",
        "duplicate": "",
        "double_key": "",
        "outside_window": "tax_period",
        "late": "known_date",
    },
    "social_insurance": {
        "missing_required": "insured_cnt",
        "bad_check_digit": "uscc",
        "padded_id": "uscc",
        "out_of_range": "insured_cnt",
        "broken_rule": "paid",
        "duplicate": "",
        "outside_window": "period",
        "time_disorder": "known_date",
    },
    "annual_report": {
        "missing_required": "revenue",
        "missing_record": "",
        "fullwidth_id": "uscc",
        "wrong_unit": "revenue",
        "conflict": "tax_total",
        "orphan": "uscc",
        "outside_window": "year",
        "duplicate": "",
    },
    "admin_penalty": {
        "missing_required": "violation_type",
        "bad_check_digit": "uscc",
        "out_of_range": "amount",
        "orphan": "uscc",
        "duplicate": "",
        "time_disorder": "known_date",
    },
    "judicial_case": _ORDINARY | {"wrong_code": "role", "orphan": "uscc"},
    "housing_fund": _ORDINARY | {"missing_id": "uscc", "out_of_range": "rate"},
    "utility_usage": _ORDINARY | {"wrong_code": "utility_type", "missing_record": ""},
    "loan_performance": _ORDINARY | {"bad_inner_digit": "uscc", "broken_rule": "default_flag"},
} | dict.fromkeys(
    (
        "ent_change",
        "admin_permit",
        "ip_rights",
        "customs_credit",
        "land_property",
        "bid_record",
        "env_credit",
        "honour",
    ),
    _ORDINARY,
)
"""For each table its kinds of fault and the column that each hits."""

_WRONG_CODES = {
    "industry_code": "00",
    "tax_credit_grade": "E",
    "role": "证人",
    "utility_type": "煤",
}
_WRONG_UNITS = {"reg_capital": 10_000.0, "revenue": 1 / 10_000}
"""Yuan where ten thousand yuan are meant, and the other way round."""
_FULL_WIDTH = {code: code + 0xFEE0 for code in range(ord("!"), ord("~") + 1)}


@dataclass(frozen=True, slots=True)
class Spot:
    """Where faults of one kind go."""

    table: str
    kind: str
    column: str
    positions: Array
    """Row numbers in the part, ascending."""


def plant(
    table: str, rows: pa.Table, first_row: int, rate: float, draw: np.random.Generator, spare: int
) -> tuple[pa.Table, pa.Table]:
    """Return rows with faults, and the faults; `first_row` is the first row's number in the file.

    `spare` is the number of codes in the reserved band that no enterprise has.
    """
    planned = dict(PLANNED.get(table, {}))
    if spare <= 0:
        planned.pop("orphan", None)
    if not planned or rate <= 0:
        return rows, SCHEMA.empty_table()
    spots = _spots(table, rows.num_rows, planned, rate, draw)
    right = rows.column("uscc").combine_chunks()
    keep = np.ones(rows.num_rows, dtype=bool)
    copies, found = [], []
    for spot in spots:
        match spot.kind:
            case "missing_record":
                keep[spot.positions] = False
            case "duplicate":
                copies.append((spot, rows.take(spot.positions)))
            case "double_key":
                copies.append((spot, _delayed(rows.take(spot.positions), 30)))
            case _:
                rows = _changed(rows, spot, first_row, spare)
    moved = first_row + np.cumsum(keep) - 1
    rows = rows.filter(pa.array(keep))
    end = first_row + rows.num_rows
    for spot in spots:
        if spot.kind not in ("duplicate", "double_key"):
            known = None if spot.kind == "missing_record" else moved[spot.positions]
            found.append(_record(spot, known, right))
    for spot, copied in copies:
        found.append(_record(spot, np.arange(end, end + copied.num_rows), right))
        end += copied.num_rows
    return pa.concat_tables([rows, *(c for _, c in copies)]), pa.concat_tables(found)


def _spots(
    table: str, count: int, planned: Mapping[str, str], rate: float, draw: np.random.Generator
) -> list[Spot]:
    sizes = draw.binomial(count, min(rate, 1 / len(planned)), len(planned))
    order = draw.permutation(count)[: sizes.sum()]
    ends = np.cumsum(sizes)
    return [
        Spot(table, kind, column, np.sort(order[end - size : end]))
        for (kind, column), end, size in zip(planned.items(), ends, sizes, strict=True)
    ]


def _record(spot: Spot, numbers: Array | None, right: pa.Array) -> pa.Table:
    count = len(spot.positions)
    indicator, expected = _KINDS[spot.kind]
    words = (spot.column or None, spot.kind, indicator, expected)
    return pa.Table.from_arrays(
        [
            pa.repeat(pa.scalar(spot.table), count),
            pa.nulls(count, pa.int64()) if numbers is None else pa.array(numbers, pa.int64()),
            *(pa.repeat(pa.scalar(word, pa.string()), count) for word in words),
            right.take(pa.array(spot.positions)),
        ],
        schema=SCHEMA,
    )


def _changed(rows: pa.Table, spot: Spot, first_row: int, spare: int) -> pa.Table:
    """Return rows with the fault's column spoilt at its spots."""
    place = rows.schema.get_field_index(spot.column)
    column = rows.column(place).combine_chunks()
    chosen = rows.take(spot.positions)
    if spot.kind == "orphan":
        serials = SERIALS - 1 - (first_row + spot.positions) % spare
        prefixes = np.repeat(np.array([b"91370211"]), len(serials))
        spoilt = pa.array(social_credit_codes(prefixes, serials).astype("U18"), pa.string())
    else:
        spoilt = _SPOIL[spot.kind](chosen, spot.column)
    mask = np.zeros(rows.num_rows, dtype=bool)
    mask[spot.positions] = True
    replaced = pc.replace_with_mask(column, pa.array(mask), spoilt.cast(column.type))
    return rows.set_column(place, rows.schema.field(place), replaced)


def _delayed(rows: pa.Table, days: int) -> pa.Table:
    place = rows.schema.get_field_index("known_date")
    moved = _shifted(rows.column(place), days)
    return rows.set_column(place, rows.schema.field(place), moved)


def _shifted(column: pa.ChunkedArray, days: int) -> pa.Array:
    return pa.array(column.to_numpy().astype("datetime64[D]") + days, pa.date32())


def _text(rows: pa.Table, column: str) -> list[str]:
    return [str(value) for value in rows.column(column).to_pylist()]


def _recoded(change: Callable[[Array], Array]) -> Callable[[pa.Table, str], pa.Array]:
    def spoil(rows: pa.Table, column: str) -> pa.Array:
        given = np.array(_text(rows, column), dtype="S18")
        return pa.array(change(given).astype("U18") if len(given) else [], pa.string())

    return spoil


def _constant(value: object) -> Callable[[pa.Table, str], pa.Array]:
    return lambda rows, _: pa.repeat(pa.scalar(value), rows.num_rows)


def _broken_rule(rows: pa.Table, column: str) -> pa.Array:
    """More paid than was due; a default that the days past due do not show."""
    if column == "default_flag":
        return pc.subtract(1, rows.column(column).combine_chunks())
    return pc.add(pc.multiply(rows.column("payable").combine_chunks(), 2.0), 100.0)


_SPOIL: Mapping[str, Callable[[pa.Table, str], pa.Array]] = {
    "missing_id": _constant(None),
    "missing_required": _constant(None),
    "bad_check_digit": _recoded(with_wrong_check_digit),
    "bad_inner_digit": _recoded(with_wrong_inner_digit),
    "lowercase_id": lambda r, c: pc.utf8_lower(r.column(c).combine_chunks()),
    "fullwidth_id": lambda r, c: pa.array([t.translate(_FULL_WIDTH) for t in _text(r, c)]),
    "padded_id": lambda r, c: pa.array([f" {text}\u3000" for text in _text(r, c)]),
    "wrong_code": lambda r, c: pa.repeat(pa.scalar(_WRONG_CODES[c]), r.num_rows),
    "wrong_unit": lambda r, c: pc.round(
        pc.multiply(r.column(c).combine_chunks(), _WRONG_UNITS[c]), 2
    ),
    "out_of_range": _constant(-1),
    "broken_rule": _broken_rule,
    "conflict": lambda r, c: pc.round(pc.add(pc.multiply(r.column(c).combine_chunks(), 1.5), 1), 2),
    "outside_window": lambda r, c: pa.repeat(
        pa.scalar(1949 if c == "year" else 209912), r.num_rows
    ),
    "late": lambda r, c: _shifted(r.column(c), 400),
    "time_disorder": lambda r, _: _shifted(r.column("data_date"), -30),
}
