"""Power, water, gas and heat: one row for each enterprise, month and utility it takes."""

import numpy as np
import pyarrow as pa

from sandbox.lake.generate.city import Array
from sandbox.lake.generate.reference import KWH_PER_10000_YUAN
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

UTILITIES = ("电", "水", "气", "热")
_ALL_YEAR = 2
"""Utilities that are made without `full`: power and water."""
_LAST_MONTHS = 12
_CONNECTED = (1.0, 0.9, 0.35, 0.4)
_PER_KWH = (1.0, 0.012, 0.02, 0.0022)
"""Use for each kWh of power: kWh, m³, m³, GJ."""
_PRICES = (0.78, 4.9, 3.9, 95.0)
"""Yuan for each kWh, m³, m³, GJ."""
_CLASSES = ("一般工商业", "大工业", "居民")

_POWER_SEASON = np.array([0.86, 0.74, 0.98, 0.96, 0.98, 1.06, 1.16, 1.18, 1.02, 0.96, 1.02, 1.08])
_HEATING = np.array([2.6, 2.4, 1.5, 0.2, 0.05, 0.05, 0.05, 0.05, 0.05, 0.2, 1.6, 2.4])
"""Gas and heat: the heating season is November to March."""
_SEASONS = np.stack([_POWER_SEASON, np.sqrt(_POWER_SEASON), _HEATING * 0.5 + 0.5, _HEATING])
_INTENSITY = np.array([KWH_PER_10000_YUAN[section] for section in SECTION_OF_DIVISION])
_LARGE_INDUSTRY = 300_000
"""kWh a year above which power is billed as large industry."""


def utility_usage(part: Part) -> pa.Table:
    """Return monthly use and bills; unpaid bills are the last power bills before today."""
    draw = part.random("utility_usage")
    city = part.city
    spread = np.exp(draw.normal(0, 0.45, len(part)))
    yearly = city.revenue / 10_000 * _INTENSITY[city.industry] * spread
    kinds = len(UTILITIES) if part.full else _ALL_YEAR
    taken = draw.random((len(part), kinds)) < np.array(_CONNECTED[:kinds])
    rows = monthly_rows(part, part.months if part.full else min(part.months, _LAST_MONTHS))
    rows, kind = _by_kind(rows, taken)
    firm = rows.firm
    years = (rows.month.astype(int) - np.datetime64("2025-07", "M").astype(int)) / 12
    level = yearly[firm] * np.clip(1 + city.power_growth[firm], 0.4, 2.0) ** years / 12
    season = _SEASONS[kind, rows.month.astype(int) % 12]
    use = level * np.array(_PER_KWH)[kind] * season * np.exp(draw.normal(0, 0.1, len(firm)))
    use = np.round(use, 2)
    price_class = np.where((kind == 0) & (yearly[firm] > _LARGE_INDUSTRY), 1, 0)
    unpaid = (kind == 0) & (rows.ago < city.utility_arrears[firm])
    return pa.table(
        {
            "uscc": codes(part, firm),
            "period": rows.periods,
            "utility_type": chosen(UTILITIES, kind),
            "usage": money(use),
            "bill": money(use * np.array(_PRICES)[kind] * np.where(price_class == 1, 0.85, 1)),
            "arrears_cnt": integers(unpaid),
            "price_class": chosen(_CLASSES, price_class),
            **provenance("公用企业", rows.last_days, later(rows.last_days, draw, 5, 15)),
        }
    )


def _by_kind(rows: MonthlyRows, taken: Array) -> tuple[MonthlyRows, Array]:
    """Return each row once for every utility that its enterprise takes, and the utility."""
    row, kind = np.nonzero(taken[rows.firm])
    return rows.keep(row), kind
