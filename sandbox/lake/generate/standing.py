"""Standing: intellectual property, honours, land, tenders and foreign trade."""

import numpy as np
import pyarrow as pa

from sandbox.lake.generate.city import TODAY, Array
from sandbox.lake.generate.conduct import MOST_ROWS
from sandbox.lake.generate.rows import (
    SECTION_OF_DIVISION,
    Part,
    chosen,
    codes,
    dates,
    event_days,
    flags,
    later,
    money,
    monthly_rows,
    numbered,
    provenance,
)
from sandbox.lake.generate.tax import SEASON

PROPERTY_KINDS = ("invention", "utility", "design", "trademark", "software")
PROPERTY_STATES = ("申请中", "有效", "失效")
HONOURS = ("高新技术企业", "专精特新", "小巨人", "瞪羚")
HONOUR_ISSUERS = ("科技局", "工信局", "工信局", "科技局")
LAND_USES = ("工业", "商业", "办公", "仓储")
CUSTOMS_CLASSES = ("高级认证", "常规", "失信")
BID_ROLES = ("投标人", "联合体成员")
_YUAN_FOR_A_DOLLAR = 7.2


def ip_rights(part: Part) -> pa.Table:
    """Return patents, trademarks and software."""
    city, draw = part.city, part.random("ip_rights")
    inventive = _in_sections(part, "CIM")
    mean = np.where(inventive, 0.9, 0.12) * np.sqrt(city.staff / 8)
    firm = np.repeat(np.arange(len(part)), np.minimum(draw.poisson(mean), MOST_ROWS))
    kind = draw.choice(len(PROPERTY_KINDS), len(firm), p=[0.12, 0.28, 0.12, 0.33, 0.15])
    day = event_days(part, firm, 8, draw)
    granted = later(day, draw, 120, 900)
    done = (granted < TODAY) & (draw.random(len(firm)) < 0.8)  # noqa: PLR2004
    state = np.where(done, np.where(draw.random(len(firm)) < 0.12, 2, 1), 0)  # noqa: PLR2004
    return pa.table(
        {
            "uscc": codes(part, firm),
            "ip_type": chosen(PROPERTY_KINDS, kind),
            "apply_no": numbered("ZL", part, len(firm)),
            "apply_date": dates(day),
            "grant_date": pa.array(granted, pa.date32(), mask=~done),
            "status": chosen(PROPERTY_STATES, state),
            "pledge_flag": flags(done & (draw.random(len(firm)) < 0.03)),  # noqa: PLR2004
            **provenance("知识产权局", day, later(day, draw, 1, 30)),
        }
    )


def honour(part: Part) -> pa.Table:
    """Return honours, at most one of a kind for an enterprise."""
    city, draw = part.city, part.random("honour")
    able = _in_sections(part, "CIM") & (city.staff > 20)  # noqa: PLR2004
    given = draw.random((len(part), len(HONOURS))) < np.array([0.35, 0.18, 0.03, 0.05])
    firm, kind = np.nonzero(given & able[:, None])
    day = event_days(part, firm, 3, draw)
    return pa.table(
        {
            "uscc": codes(part, firm),
            "honour_type": chosen(HONOURS, kind),
            "issued_by": chosen(HONOUR_ISSUERS, kind),
            "valid_until": dates(day + 1096),
            **provenance("工信科技部门", day, later(day, draw, 1, 60)),
        }
    )


def land_property(part: Part) -> pa.Table:
    """Return land and buildings in the enterprise's name."""
    city, draw = part.city, part.random("land_property")
    owns = draw.random(len(part)) < np.clip(0.05 + 0.03 * np.log(city.staff), 0, 0.5)
    firm = np.repeat(np.arange(len(part)), owns * (1 + np.minimum(draw.poisson(0.5, len(part)), 9)))
    industrial = SECTION_OF_DIVISION[city.industry[firm]] == "C"
    use = np.where(industrial, 0, draw.choice([1, 2, 3], len(firm)))
    day = event_days(part, firm, 15, draw)
    return pa.table(
        {
            "uscc": codes(part, firm),
            "unit_no": numbered("BDC", part, len(firm)),
            "area": money(np.minimum(np.exp(draw.normal(np.log(600), 1.1, len(firm))), 90_000)),
            "use_type": chosen(LAND_USES, use),
            "mortgage_flag": flags(draw.random(len(firm)) < 0.38),  # noqa: PLR2004
            "acquired_date": dates(day),
            **provenance("自然资源局", day, later(day, draw, 1, 15)),
        }
    )


def bid_record(part: Part) -> pa.Table:
    """Return bids in public tenders."""
    city, draw = part.city, part.random("bid_record")
    mean = np.where(_in_sections(part, "EINMC"), 0.35, 0.04) * np.sqrt(city.staff / 8)
    firm = np.repeat(np.arange(len(part)), np.minimum(draw.poisson(mean), MOST_ROWS))
    won = draw.random(len(firm)) < 0.22  # noqa: PLR2004
    amount = np.round(np.exp(draw.normal(np.log(600_000), 1.3, len(firm))), 2)
    day = event_days(part, firm, 3, draw)
    return pa.table(
        {
            "uscc": codes(part, firm),
            "project_no": numbered("ZB", part, len(firm)),
            "role": chosen(BID_ROLES, (draw.random(len(firm)) < 0.1) * 1),  # noqa: PLR2004
            "win_flag": flags(won),
            "win_amt": money(amount * won),
            "open_date": dates(day),
            **provenance("公共资源交易中心", day, later(day, draw, 1, 10)),
        }
    )


def customs_credit(part: Part) -> pa.Table:
    """Return foreign trade by month, of firms that trade abroad."""
    city, draw = part.city, part.random("customs_credit")
    trades = _in_sections(part, "CF") & (draw.random(len(part)) < 0.12)  # noqa: PLR2004
    exported = draw.beta(1.2, 3, len(part))
    imported = draw.beta(1, 6, len(part))
    grade = draw.choice(len(CUSTOMS_CLASSES), len(part), p=[0.08, 0.9, 0.02])
    rows = monthly_rows(part)
    rows = rows.keep(trades[rows.firm])
    firm = rows.firm
    month = SEASON[rows.month.astype(int) % 12] * np.exp(draw.normal(0, 0.35, len(firm)))
    dollars = city.revenue[firm] / 12 / _YUAN_FOR_A_DOLLAR * month
    return pa.table(
        {
            "uscc": codes(part, firm),
            "year_month": rows.periods,
            "credit_class": chosen(CUSTOMS_CLASSES, grade[firm]),
            "imp_amt": money(dollars * imported[firm]),
            "exp_amt": money(dollars * exported[firm]),
            **provenance("海关", rows.last_days, later(rows.last_days, draw, 8, 20)),
        }
    )


def _in_sections(part: Part, sections: str) -> Array:
    return np.isin(SECTION_OF_DIVISION[part.city.industry], list(sections))
