"""Planted faults: every kind at its rate, where the ground truth says, and nowhere else."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sandbox.lake.generate import faults
from sandbox.lake.generate.city import make_city
from sandbox.lake.generate.identifiers import is_social_credit_code
from sandbox.lake.generate.rows import Part
from sandbox.lake.generate.tables import ENTERPRISE_TABLES

RATE = 0.02
FIRST_ROW = 1_000
SPARE = 900_000


@dataclass(frozen=True)
class Planted:
    clean: pa.Table
    rows: pa.Table
    found: pa.Table

    def spoilt(self, kind: str) -> pa.Table:
        """The rows that the ground truth names for a kind of fault."""
        numbers = self.found.filter(pc.equal(self.found["fault"], kind))["row"]
        return self.rows.take(pc.subtract(numbers, FIRST_ROW))

    def right_codes(self, kind: str) -> list[str]:
        return list(self.found.filter(pc.equal(self.found["fault"], kind))["uscc"].to_pylist())


def plant(table: str, rate: float = RATE, enterprises: int = 1_500) -> Planted:
    clean = ENTERPRISE_TABLES[table](Part(make_city(enterprises, 5), 0, 5))
    draw = np.random.default_rng(9)
    return Planted(clean, *faults.plant(table, clean, FIRST_ROW, rate, draw, SPARE))


@pytest.fixture(scope="module")
def planted() -> dict[str, Planted]:
    return {table: plant(table) for table in ENTERPRISE_TABLES}


def test_every_kind_is_planned_somewhere_and_every_table_has_some() -> None:
    kinds = {kind for planned in faults.PLANNED.values() for kind in planned}
    assert kinds == set(faults._KINDS)
    assert set(faults.PLANNED) == set(ENTERPRISE_TABLES)


def test_each_kind_hits_one_to_three_percent_of_the_rows(planted: dict[str, Planted]) -> None:
    for table in ("tax_summary", "social_insurance", "utility_usage"):
        each = planted[table]
        for kind in faults.PLANNED[table]:
            assert len(each.right_codes(kind)) / each.clean.num_rows == pytest.approx(
                RATE, abs=0.004
            )


def test_a_row_has_one_fault_at_most(planted: dict[str, Planted]) -> None:
    for table, each in planted.items():
        numbers = each.found["row"].drop_null()
        assert len(numbers.unique()) == len(numbers), table


def test_rows_without_a_fault_are_as_they_were(planted: dict[str, Planted]) -> None:
    for table, each in planted.items():
        numbers = pa.array(range(FIRST_ROW, FIRST_ROW + each.rows.num_rows))
        untouched = each.rows.filter(pc.invert(pc.is_in(numbers, each.found["row"])))
        lost = each.clean.num_rows - untouched.num_rows
        in_place = [k for k in faults.PLANNED[table] if k not in ("duplicate", "double_key")]
        assert lost == sum(len(each.right_codes(kind)) for kind in in_place)
        assert not duckdb.arrow(untouched).except_(duckdb.arrow(each.clean)).fetchall(), table


def test_rows_that_are_missing_are_missing(planted: dict[str, Planted]) -> None:
    for table in ("tax_summary", "annual_report", "utility_usage"):
        each = planted[table]
        copies = sum(len(each.right_codes(kind)) for kind in ("duplicate", "double_key"))
        missing = len(each.right_codes("missing_record"))
        assert missing > 0
        assert each.rows.num_rows == each.clean.num_rows + copies - missing


def canonical(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip().upper()


@pytest.mark.parametrize("kind", ["lowercase_id", "fullwidth_id", "padded_id"])
def test_ids_in_another_dress_are_the_right_ids(kind: str, planted: dict[str, Planted]) -> None:
    each = planted["ent_registration"]
    seen = each.spoilt(kind)["uscc"].to_pylist()
    assert seen
    assert not set(seen) & set(each.right_codes(kind))
    assert [canonical(text) for text in seen] == each.right_codes(kind)


@pytest.mark.parametrize("kind", ["bad_check_digit", "bad_inner_digit"])
def test_ids_with_a_wrong_digit_are_invalid(kind: str, planted: dict[str, Planted]) -> None:
    seen = planted["ent_registration"].spoilt(kind)["uscc"].to_pylist()
    assert seen
    assert not any(is_social_credit_code(code) for code in seen)


def test_orphans_are_valid_ids_that_the_register_does_not_know(planted: dict[str, Planted]) -> None:
    known = set(planted["ent_registration"].clean["uscc"].to_pylist())
    for table in ("annual_report", "admin_penalty", "judicial_case"):
        seen = planted[table].spoilt("orphan")["uscc"].to_pylist()
        assert seen
        assert all(is_social_credit_code(code) for code in seen)
        assert not set(seen) & known
        assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    ("table", "kind", "shows"),
    [
        ("ent_registration", "missing_required", lambda r: r["ent_name"].is_null()),
        ("tax_summary", "missing_id", lambda r: r["uscc"].is_null()),
        ("ent_registration", "wrong_code", lambda r: pc.equal(r["industry_code"], "00")),
        ("ent_registration", "wrong_unit", lambda r: pc.greater_equal(r["reg_capital"], 10_000)),
        ("tax_summary", "out_of_range", lambda r: pc.less(r["vat_sales"], 0)),
        ("social_insurance", "broken_rule", lambda r: pc.greater(r["paid"], r["payable"])),
        ("tax_summary", "outside_window", lambda r: pc.greater(r["tax_period"], 202606)),
        ("social_insurance", "time_disorder", lambda r: pc.less(r["known_date"], r["data_date"])),
        ("loan_performance", "broken_rule", lambda r: pc.equal(
            pc.greater_equal(r["max_dpd_12m"], 90), pc.equal(r["default_flag"], 0))),
    ],
)  # fmt: skip
def test_a_fault_shows_in_every_row_that_has_it(
    table: str, kind: str, shows: Callable[[pa.Table], pa.ChunkedArray], planted: dict[str, Planted]
) -> None:
    rows = planted[table].spoilt(kind)
    assert rows.num_rows > 0
    assert pc.all(shows(rows)).as_py()


def test_a_duplicate_equals_a_row_and_a_double_key_was_known_later(
    planted: dict[str, Planted],
) -> None:
    each = planted["tax_summary"]
    copies = each.spoilt("duplicate")
    assert copies.join(each.clean, copies.column_names, join_type="left anti").num_rows == 0
    doubled = each.spoilt("double_key")
    both = doubled.select(["uscc", "tax_period", "known_date"]).join(
        each.clean.select(["uscc", "tax_period", "known_date"]),
        ["uscc", "tax_period"],
        right_suffix="_first",
    )
    assert pc.all(pc.greater(both["known_date"], both["known_date_first"])).as_py()


def test_no_fault_is_planted_when_switched_off() -> None:
    each = plant("tax_summary", rate=0)
    assert each.rows == each.clean
    assert each.found.num_rows == 0


def test_a_city_that_fills_the_band_has_no_orphans() -> None:
    clean = ENTERPRISE_TABLES["annual_report"](Part(make_city(300, 5), 0, 5))
    _, found = faults.plant("annual_report", clean, 0, RATE, np.random.default_rng(1), 0)
    assert "orphan" not in found["fault"].to_pylist()
