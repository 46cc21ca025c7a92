"""Registration: who is there, what changed, and the yearly report."""

import numpy as np
import pyarrow as pa

from sandbox.lake.generate.city import ENTITY_TYPES, STATUSES, TODAY
from sandbox.lake.generate.identifiers import resident_ids
from sandbox.lake.generate.reference import DISTRICTS, INDUSTRIES
from sandbox.lake.generate.rows import (
    DISTRICT_CODES,
    DIVISION_CODES,
    Part,
    chosen,
    codes,
    dates,
    event_days,
    flags,
    integers,
    later,
    money,
    numbered,
    provenance,
)
from sandbox.lake.generate.tax import paid_by_year

REPORT_YEARS = range(2023, 2026)
CHANGE_ITEMS = ("法定代表人", "注册资本", "住所", "经营范围", "股东", "企业名称")
_CHANGE_SHARES = (0.2, 0.15, 0.25, 0.15, 0.2, 0.05)
_DEPARTMENT = "市场监管局"


def ent_registration(part: Part) -> pa.Table:
    """Return one row for each enterprise."""
    city, draw = part.city, part.random("ent_registration")
    everyone = np.arange(len(part))
    births = TODAY - (draw.integers(25 * 365, 65 * 365, len(part))).astype("timedelta64[D]")
    token = resident_ids(DISTRICT_CODES.astype("S6")[city.district], births)
    return pa.table(
        {
            "uscc": codes(part, everyone),
            "ent_name": _names(part),
            "ent_type_code": chosen(ENTITY_TYPES, city.entity_type),
            "est_date": dates(city.established),
            "biz_status": chosen(STATUSES, city.status),
            "reg_capital": money(city.capital),
            "currency": chosen(["CNY", "USD"], (city.entity_type == len(ENTITY_TYPES) - 1) * 1),
            "industry_code": chosen(DIVISION_CODES, city.industry),
            "district_code": chosen(DISTRICT_CODES, city.district),
            "biz_scope": chosen([f"{name}及相关服务" for _, name, _ in INDUSTRIES], city.industry),
            "legal_rep_name": pa.array([f"虚构人{serial:06d}" for serial in city.serial]),
            "legal_rep_id_token": pa.array(token.astype("U18"), pa.string()),
            "reg_authority": chosen(
                [f"{name}市场监管局" for _, name, *_ in DISTRICTS], city.district
            ),
            **provenance(_DEPARTMENT, city.established, later(city.established, draw, 1, 8)),
        }
    )


def ent_change(part: Part) -> pa.Table:
    """Return changes of registration, shareholders included."""
    draw = part.random("ent_change")
    firm = np.repeat(np.arange(len(part)), np.minimum(draw.poisson(0.6, len(part)), 12))
    item = draw.choice(len(CHANGE_ITEMS), len(firm), p=_CHANGE_SHARES)
    day = event_days(part, firm, 5, draw)
    shares = np.round(draw.uniform(1, 100, len(firm)), 2)
    holder = item == CHANGE_ITEMS.index("股东")
    versions = [f"虚构内容{i:03d}" for i in range(1000)]
    return pa.table(
        {
            "uscc": codes(part, firm),
            "change_no": numbered("BG", part, len(firm)),
            "change_item": chosen(CHANGE_ITEMS, item),
            "before": chosen(versions, draw.integers(0, 1000, len(firm))),
            "after": chosen(versions, draw.integers(0, 1000, len(firm))),
            "change_date": dates(day),
            "shareholder_name": pa.array(
                [f"虚构股东{i:06d}" if h else None for i, h in enumerate(holder)], pa.string()
            ),
            "share_ratio": pa.array(shares, pa.float64(), mask=~holder),
            **provenance(_DEPARTMENT, day, later(day, draw, 1, 8)),
        }
    )


def annual_report(part: Part) -> pa.Table:
    """Return the yearly reports of the years at whose end the enterprise existed."""
    city, draw = part.city, part.random("annual_report")
    years = np.array(REPORT_YEARS)
    ends = np.array([f"{year}-12-31" for year in years], dtype="datetime64[D]")
    firm, place = np.nonzero(city.established[:, None] <= ends[None, :])
    wobble = np.exp(draw.normal(0, 0.05, len(firm)))
    steps = years[place] - 2025
    revenue = city.revenue[firm] * np.clip(1 + city.growth[firm], 0.6, 1.6) ** steps * wobble
    staff = np.maximum(city.staff[firm] * np.exp(0.05 * steps), 1)
    assets = revenue * np.exp(draw.normal(0.1, 0.6, len(firm)))
    equity = assets * np.clip(draw.normal(0.42, 0.22, len(firm)), -0.5, 0.98)
    profit = revenue * (city.margin[firm] + draw.normal(0, 0.02, len(firm)))
    filed = later(ends[place], draw, 1, 182)
    return pa.table(
        {
            "uscc": codes(part, firm),
            "year": pa.array(years[place], pa.int32()),
            "staff_cnt": integers(staff),
            "assets": money(assets),
            "equity": money(equity),
            "revenue": money(revenue),
            "profit": money(profit),
            "tax_total": money(paid_by_year(part, REPORT_YEARS)[firm, place]),
            "disclose_flags": flags(draw.random(len(firm)) < 0.4),  # noqa: PLR2004
            **provenance(_DEPARTMENT, ends[place], filed),
        }
    )


def _names(part: Part) -> pa.Array:
    """Return names that nobody can take for a real firm's."""
    city = part.city
    trades = [name for _, name, _ in INDUSTRIES]
    places = [name.removesuffix("(黄岛区)") for _, name, *_ in DISTRICTS]
    columns = (column.tolist() for column in (city.serial, city.district, city.industry))
    return pa.array(
        [
            f"虚构{places[district]}第{serial:06d}号{trades[industry]}有限公司"
            for serial, district, industry in zip(*columns, strict=True)
        ]
    )
