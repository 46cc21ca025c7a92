"""Tax: one row for each enterprise and month."""

import numpy as np
import pyarrow as pa

from sandbox.lake.generate.city import GRADES, Array
from sandbox.lake.generate.reference import VALUE_ADDED_TAX
from sandbox.lake.generate.rows import (
    SECTION_OF_DIVISION,
    MonthlyRows,
    Part,
    chosen,
    codes,
    integers,
    later,
    money,
    monthly_rows,
    provenance,
)

SEASON = np.array([0.9, 0.72, 1.02, 0.98, 1.0, 1.06, 0.96, 0.98, 1.05, 1.0, 1.08, 1.25])
"""A month's sales over the year's mean: a dip at the spring festival, a rush in December."""
NEW_FIRM_MONTHS = 18
_RATES = np.array([VALUE_ADDED_TAX[section] for section in SECTION_OF_DIVISION])
_SMALL_RATE = 0.01
"""Small-scale taxpayers: 3 percent, reduced to 1."""
_QUARTER_MONTHS = (1, 4, 7, 10)


def tax_summary(part: Part) -> pa.Table:
    """Return the monthly tax rows of a part."""
    rows = monthly_rows(part)
    draw = part.random("tax_summary")
    sales, value_added, income = _amounts(part, rows, draw)
    city, firm = part.city, rows.firm
    grade = np.where(_months_old(part, rows) < NEW_FIRM_MONTHS, GRADES.index("M"), city.grade[firm])
    unpaid = city.tax_arrears[firm] & (rows.ago < 1 + city.serial[firm] % 9)
    late = draw.poisson(np.where(city.tax_arrears[firm], 0.35, 0.03))
    return pa.table(
        {
            "uscc": codes(part, firm),
            "tax_period": rows.periods,
            "taxpayer_type": chosen(["一般纳税人", "小规模纳税人"], city.small_taxpayer[firm] * 1),
            "tax_credit_grade": chosen(GRADES, grade),
            "vat_sales": money(sales),
            "vat_paid": money(value_added * ~unpaid),
            "cit_paid": money(income),
            "tax_arrears_amt": money(value_added * unpaid),
            "late_filing_cnt": integers(np.minimum(late, 9)),
            **provenance("税务局", rows.last_days, later(rows.last_days, draw, 10, 22)),
        }
    )


def yearly_sales(part: Part, rows: MonthlyRows) -> Array:
    """Return each row's yearly level of sales in yuan: revenue moved by the firm's growth."""
    years = (rows.month.astype(int) - np.datetime64("2025-07", "M").astype(int)) / 12
    growth = np.clip(1 + part.city.growth[rows.firm], 0.6, 1.6)
    return np.asarray(part.city.revenue[rows.firm] * growth**years)


def paid_by_year(part: Part, years: range) -> Array:
    """Return the tax paid by firm and calendar year, scaled up where the window cuts the year."""
    rows = monthly_rows(part)
    _, value_added, income = _amounts(part, rows, part.random("tax_summary"))
    year = rows.month.astype("datetime64[Y]").astype(int) + 1970
    totals = np.zeros((len(part), len(years)))
    for place, each in enumerate(years):
        mine = year == each
        months_seen = len(np.unique(rows.month[mine]))
        sums = np.bincount(rows.firm[mine], (value_added + income)[mine], len(part))
        totals[:, place] = sums * 12 / max(months_seen, 1)
    return totals


def _months_old(part: Part, rows: MonthlyRows) -> Array:
    born = part.city.established[rows.firm].astype("datetime64[M]")
    return np.asarray((rows.month - born).astype(int))


def _amounts(
    part: Part, rows: MonthlyRows, draw: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Return monthly sales, value-added tax and enterprise income tax, in yuan."""
    city, firm = part.city, rows.firm
    calendar = rows.month.astype(int) % 12
    wobble = np.exp(draw.normal(-0.03, 0.25, len(firm)))
    sales = yearly_sales(part, rows) / 12 * SEASON[calendar] * wobble
    added = draw.uniform(0.18, 0.32, len(firm))
    general = sales * _RATES[city.industry[firm]] * added
    value_added = np.where(city.small_taxpayer[firm], sales * _SMALL_RATE, general)
    profit = np.maximum(sales * 3 * city.margin[firm], 0)
    due = np.isin(calendar + 1, _QUARTER_MONTHS)
    income = due * profit * np.where(profit * 4 <= 3_000_000, 0.05, 0.25)  # noqa: PLR2004  # yuan
    return np.round(sales, 2), np.round(value_added, 2), np.round(income, 2)
