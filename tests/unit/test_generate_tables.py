"""Tables of the made-up city before any fault is planted keep what their contracts promise."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sandbox.lake.contract import Contract, DomainSource, load_contract
from sandbox.lake.generate.city import make_city
from sandbox.lake.generate.loans import loans_full_schema
from sandbox.lake.generate.market import market_regulation
from sandbox.lake.generate.reference import industries
from sandbox.lake.generate.rows import Part, yyyymm
from sandbox.lake.generate.tables import ENTERPRISE_TABLES, REAL_LOANS

FOLDER = Path(__file__).parents[2] / "policies" / "contracts"
PRIVATE = (*ENTERPRISE_TABLES, REAL_LOANS)


@pytest.fixture(scope="module")
def part() -> Part:
    return Part(make_city(4_000, 11), 0, 11)


@pytest.fixture(scope="module")
def tables(part: Part) -> dict[str, pa.Table]:
    made = {name: make(part) for name, make in ENTERPRISE_TABLES.items()}
    return made | {REAL_LOANS: loans_full_schema()}


def contract_of(table: str) -> Contract:
    return load_contract(FOLDER / f"{table}.yaml").resolve(
        lambda source: tuple(industries().column(source.column).to_pylist())
    )


@pytest.mark.parametrize("table", PRIVATE)
def test_promised_keys_are_unique(table: str, tables: dict[str, pa.Table]) -> None:
    rows = tables[table]
    for key in contract_of(table).unique_keys:
        assert rows.group_by(list(key)).aggregate([]).num_rows == rows.num_rows


@pytest.mark.parametrize("table", PRIVATE)
def test_no_unit_has_more_rows_than_promised(table: str, tables: dict[str, pa.Table]) -> None:
    unit = contract_of(table).unit
    assert unit is not None
    counts = tables[table].group_by([unit.column]).aggregate([([], "count_all")])
    assert pc.max(counts.column("count_all")).as_py() <= unit.max_rows


@pytest.mark.parametrize("table", PRIVATE)
def test_required_cells_are_filled_and_codes_are_in_their_domains(
    table: str, tables: dict[str, pa.Table]
) -> None:
    for field in contract_of(table).fields:
        column = tables[table].column(field.name)
        assert not field.required or column.null_count == 0, field.name
        assert not isinstance(field.domain, DomainSource)
        if field.domain is not None:
            assert set(column.drop_null().unique().to_pylist()) <= set(field.domain), field.name


@pytest.mark.parametrize("table", PRIVATE)
def test_bounds_cut_off_few_rows(table: str, tables: dict[str, pa.Table]) -> None:
    for field in contract_of(table).fields:
        if field.low is None:
            continue
        values = tables[table].column(field.name).drop_null().to_numpy()
        outside = (values < field.low) | (values > field.high)
        assert outside.mean() < 0.01, field.name


def test_amounts_have_no_digits_beyond_their_scale(tables: dict[str, pa.Table]) -> None:
    for table in ENTERPRISE_TABLES:
        for field in contract_of(table).fields:
            if field.low is not None and pa.types.is_floating(tables[table][field.name].type):
                values = tables[table].column(field.name).drop_null().to_numpy()
                kept = np.rint(values * 10**field.scale) / 10**field.scale
                assert np.abs(values - kept).max(initial=0) < 1e-6, (table, field.name)


def test_tax_rows_run_from_establishment_or_the_window_to_the_last_month(
    part: Part, tables: dict[str, pa.Table]
) -> None:
    found = {
        row[0]: row[1:]
        for row in duckdb.arrow(tables["tax_summary"])
        .aggregate("uscc, min(tax_period), max(tax_period), count(*)")
        .fetchall()
    }
    established = yyyymm(part.city.established.astype("datetime64[M]"))
    for code, born in zip(part.city.uscc.astype(str), established, strict=True):
        first, last, months = found[code]
        assert (first, last) == (max(int(born), 202307), 202606)
        assert months == (last // 100 - first // 100) * 12 + last % 100 - first % 100 + 1


def test_february_is_weak_and_december_strong(tables: dict[str, pa.Table]) -> None:
    sales = duckdb.arrow(tables["tax_summary"])
    by_month = dict(
        sales.filter("tax_period BETWEEN 202501 AND 202512")
        .aggregate("tax_period % 100 AS month, median(vat_sales)")
        .fetchall()
    )
    assert by_month[2] < 0.85 * by_month[3]
    assert by_month[12] > 1.1 * by_month[11]


def test_heat_is_used_in_winter(part: Part) -> None:
    rows = ENTERPRISE_TABLES["utility_usage"](Part(part.city, 0, 11, full=True))
    heat = duckdb.arrow(rows).filter("utility_type = '热'")
    use = dict(heat.aggregate("period % 100 AS month, median(usage)").fetchall())
    assert min(use[month] for month in (11, 12, 1, 2, 3)) > 5 * use[7]


def test_the_last_month_owes_what_the_recipe_says(part: Part, tables: dict[str, pa.Table]) -> None:
    social = duckdb.arrow(tables["social_insurance"]).filter("period = 202606")
    ((share,),) = social.aggregate("avg((arrears_months > 0)::INT)").fetchall()
    assert share == pytest.approx((part.city.social_arrears > 0).mean(), abs=1e-9)


def test_yearly_tax_is_the_sum_of_the_months(tables: dict[str, pa.Table]) -> None:
    with duckdb.connect() as connection:
        connection.register("tax", tables["tax_summary"])
        connection.register("report", tables["annual_report"])
        apart = connection.execute(
            """
            SELECT count(*) FROM report JOIN (
                SELECT uscc, tax_period // 100 AS year,
                    sum(vat_paid + cit_paid + tax_arrears_amt) AS paid
                FROM tax GROUP BY ALL
            ) USING (uscc, year)
            WHERE year IN (2024, 2025) AND abs(paid - tax_total) > 0.011
            """
        ).fetchone()
    assert apart == (0,)


def test_nothing_was_known_before_it_was_true(tables: dict[str, pa.Table]) -> None:
    for name, rows in tables.items():
        early = pc.less(rows.column("known_date"), rows.column("data_date"))
        assert not pc.any(early).as_py(), name


def test_a_default_is_ninety_days_and_the_label_says_so(tables: dict[str, pa.Table]) -> None:
    loans = tables["loan_performance"]
    late = pc.greater_equal(loans.column("max_dpd_12m"), 90).cast(pa.int32())
    assert loans.column("default_flag") == late
    granted = loans.column("grant_date").to_numpy().astype("datetime64[D]")
    assert granted.max() < np.datetime64("2025-07-01")
    assert granted.min() >= np.datetime64("2024-07-01")


def test_the_label_is_the_recipes_default(part: Part, tables: dict[str, pa.Table]) -> None:
    label = tables["loan_performance"].column("default_flag").to_numpy().astype(bool)
    assert np.array_equal(label, part.city.defaults[part.city.borrows])


def test_names_are_plainly_made_up(tables: dict[str, pa.Table]) -> None:
    registration = tables["ent_registration"]
    for column in ("ent_name", "legal_rep_name"):
        assert all(name.startswith("虚构") for name in registration.column(column).to_pylist())
    numbers = registration.column("legal_rep_id_token").to_pylist()
    assert {number[14:17] for number in numbers} == {"000"}


def test_a_table_does_not_depend_on_the_tables_made_before_it(part: Part) -> None:
    ENTERPRISE_TABLES["ent_change"](part)
    after = ENTERPRISE_TABLES["honour"](part)
    assert after == ENTERPRISE_TABLES["honour"](Part(make_city(4_000, 11), 0, 11))


def test_every_table_and_part_has_a_random_stream_of_its_own(part: Part) -> None:
    other = Part(part.city, 1, 11)
    first = {
        float(each.random(table).random()) for each in (part, other) for table in ENTERPRISE_TABLES
    }
    assert len(first) == 2 * len(ENTERPRISE_TABLES)


def test_the_open_table_has_as_many_rows_as_asked_and_names_no_enterprise() -> None:
    rows = market_regulation(100, 1_234, np.random.default_rng(1))
    assert rows.num_rows == 1_234
    assert rows.column("inspection_id").to_pylist()[0] == 100
    assert "uscc" not in rows.column_names


def test_the_real_loans_are_all_there_under_their_row_numbers() -> None:
    rows = loans_full_schema()
    assert rows.column("loan_id").to_pylist() == list(range(1, 10_001))
    assert pc.mean(rows.column("loan_amount")).as_py() == pytest.approx(16361.92, abs=0.01)
