"""Social insurance and housing fund: one row for each enterprise and month."""

import numpy as np
import pyarrow as pa

from sandbox.lake.generate.city import Array
from sandbox.lake.generate.rows import (
    MonthlyRows,
    Part,
    codes,
    integers,
    later,
    money,
    monthly_rows,
    provenance,
)

_CONTRIBUTION = 0.36
"""Employer's and employee's shares together, of the contribution base."""
_FUND_MEMBERS = 0.6
"""Share of firms that pay into the housing fund at all."""
_LAST_MONTHS = 12


def social_insurance(part: Part) -> pa.Table:
    """Return monthly social insurance; unpaid months are the last ones before today."""
    rows = monthly_rows(part)
    draw = part.random("social_insurance")
    firm = rows.firm
    insured = _heads(part, rows, draw, part.city.insured_share)
    base = np.round(insured * _wage(part)[firm], 2)
    payable = np.round(base * _CONTRIBUTION, 2)
    owed = np.maximum(part.city.social_arrears[firm] - rows.ago, 0)
    return pa.table(
        {
            "uscc": codes(part, firm),
            "period": rows.periods,
            "insured_cnt": integers(insured),
            "contrib_base": money(base),
            "payable": money(payable),
            "paid": money(payable * (owed == 0)),
            "arrears_months": integers(owed),
            **provenance("人社局", rows.last_days, later(rows.last_days, draw, 8, 20)),
        }
    )


def housing_fund(part: Part) -> pa.Table:
    """Return monthly housing fund deposits of the firms that take part."""
    draw = part.random("housing_fund")
    member = draw.random(len(part)) < _FUND_MEMBERS
    rate = draw.choice([5, 6, 8, 10, 12], len(part), p=[0.35, 0.1, 0.2, 0.1, 0.25])
    late = draw.poisson(0.5 * part.city.social_arrears)
    rows = monthly_rows(part, part.months if part.full else min(part.months, _LAST_MONTHS))
    rows = rows.keep(member[rows.firm])
    firm = rows.firm
    depositors = _heads(part, rows, draw, part.city.insured_share * 0.9)
    base = np.round(depositors * _wage(part)[firm], 2)
    owed = np.maximum(late[firm] - rows.ago, 0)
    return pa.table(
        {
            "uscc": codes(part, firm),
            "period": rows.periods,
            "depositor_cnt": integers(depositors),
            "deposit_base": money(base),
            "rate": money(rate[firm].astype(float)),
            "paid": money(base * rate[firm] / 100 * 2 * (owed == 0)),
            "arrears_months": integers(owed),
            **provenance("公积金中心", rows.last_days, later(rows.last_days, draw, 8, 20)),
        }
    )


def _heads(part: Part, rows: MonthlyRows, draw: np.random.Generator, share: Array) -> Array:
    city, firm = part.city, rows.firm
    trend = np.exp(-0.05 * rows.ago / 12)
    wobble = 1 + 0.03 * draw.standard_normal(len(firm))
    return np.rint(np.maximum(city.staff[firm] * share[firm] * trend * wobble, 0))


def _wage(part: Part) -> Array:
    """Return each firm's monthly contribution base a head, in yuan."""
    draw = part.random("wage")
    return np.round(np.clip(np.exp(draw.normal(np.log(6_500), 0.3, len(part))), 4_500, 22_500), 2)
