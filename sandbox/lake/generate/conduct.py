"""Conduct: permits, penalties, lawsuits and environmental credit."""

import numpy as np
import pyarrow as pa

from sandbox.lake.generate.city import TODAY, Array
from sandbox.lake.generate.rows import (
    SECTION_OF_DIVISION,
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

MOST_ROWS = 36
"""No enterprise has more rows in a table of events; contracts promise it."""

VIOLATIONS = (
    "未按期公示年报",
    "虚假宣传",
    "无照经营",
    "食品标签不合格",
    "超范围经营",
    "消防设施不达标",
    "未缴社会保险",
    "违法占道",
    "产品质量不合格",
    "价格违法",
    "安全生产隐患",
    "超标排放",
    "未办环评",
    "偷税",
    "计量器具未检定",
    "商标侵权",
    "不正当竞争",
    "违法用工",
    "危险化学品管理违规",
    "特种设备未检",
    "广告违法",
    "建筑施工扬尘",
    "道路运输违规",
    "海域使用违规",
    "统计资料迟报",
)
"""From frequent to rare."""
ROLES = ("defendant", "plaintiff")
RESULTS = ("审理中", "判决", "调解", "撤诉")
CAUSES = (
    "买卖合同",
    "借款合同",
    "劳动争议",
    "租赁合同",
    "建设工程",
    "知识产权",
    "公司股权",
    "其他",
)
PERMITS = ("食品经营许可", "道路运输许可", "建筑业资质", "特种行业许可", "排污许可", "其他许可")
PERMIT_STATES = ("有效", "过期", "注销")
ENVIRONMENT_GRADES = ("绿", "蓝", "黄", "红", "黑")
DISCHARGE_PERMITS = ("重点管理", "简化管理", "登记管理")


def admin_penalty(part: Part) -> pa.Table:
    """Return the penalties of the last 3 years."""
    draw = part.random("admin_penalty")
    firm = np.repeat(np.arange(len(part)), np.minimum(part.city.penalties, MOST_ROWS))
    day = event_days(part, firm, 3, draw)
    weights = 1 / (np.arange(len(VIOLATIONS)) + 1.5)
    kind = draw.choice(len(VIOLATIONS), len(firm), p=weights / weights.sum())
    amount = np.rint(np.exp(draw.normal(np.log(5_000), 1.2, len(firm))) / 100) * 100
    grave = amount > 50_000  # noqa: PLR2004  # yuan: published for three years instead of one
    return pa.table(
        {
            "uscc": codes(part, firm),
            "decision_no": numbered("CF", part, len(firm)),
            "violation_type": chosen(VIOLATIONS, kind),
            "basis": chosen([f"示例条款第{i + 1}条" for i in range(len(VIOLATIONS))], kind),
            "amount": money(amount),
            "decided_date": dates(day),
            "publicity_until": dates(day + np.where(grave, 1096, 366)),
            "repaired_flag": flags(draw.random(len(firm)) < 0.35),  # noqa: PLR2004
            **provenance("执法部门", day, later(day, draw, 1, 8)),
        }
    )


def admin_permit(part: Part) -> pa.Table:
    """Return permits."""
    draw = part.random("admin_permit")
    firm = np.repeat(np.arange(len(part)), np.minimum(draw.poisson(0.5, len(part)), MOST_ROWS))
    day = event_days(part, firm, 5, draw)
    until = day + draw.choice([365, 1096, 1826], len(firm)).astype("timedelta64[D]")
    ended = draw.random(len(firm)) < 0.05  # noqa: PLR2004
    kind = draw.choice(len(PERMITS), len(firm), p=[0.4, 0.15, 0.1, 0.05, 0.1, 0.2])
    return pa.table(
        {
            "uscc": codes(part, firm),
            "permit_no": numbered("XK", part, len(firm)),
            "permit_type": chosen(PERMITS, kind),
            "valid_from": dates(day),
            "valid_until": dates(until),
            "status": chosen(PERMIT_STATES, np.where(ended, 2, (until < TODAY) * 1)),
            **provenance("审批局", day, later(day, draw, 1, 8)),
        }
    )


def judicial_case(part: Part) -> pa.Table:
    """Return lawsuits. A dishonest judgment debtor without a recent suit has an older one."""
    city, draw = part.city, part.random("judicial_case")
    sued = np.minimum(city.suits, MOST_ROWS // 2)
    suing = np.minimum(draw.poisson(0.08 + 0.004 * city.staff), MOST_ROWS // 3)
    old = (city.dishonest & (city.suits == 0) & (city.age > 2.5)) * 1  # noqa: PLR2004  # years
    firm = np.concatenate([np.repeat(np.arange(len(part)), n) for n in (sued, suing, old)])
    role = np.repeat([0, 1, 0], [sued.sum(), suing.sum(), old.sum()])
    day = event_days(part, firm, 2, draw)
    day[len(firm) - old.sum() :] -= 731
    amount = np.round(np.exp(draw.normal(np.log(80_000), 1.4, len(firm))), 2)
    listed = city.dishonest[firm] & (role == 0)
    cause = draw.choice(len(CAUSES), len(firm), p=[0.3, 0.15, 0.18, 0.1, 0.1, 0.05, 0.04, 0.08])
    order = np.argsort(firm, kind="stable")
    return pa.table(
        {
            "uscc": codes(part, firm),
            "case_no": numbered("AJ", part, len(firm)),
            "cause": chosen(CAUSES, cause),
            "role": chosen(ROLES, role),
            "amount": money(amount),
            "filed_date": dates(day),
            "result": chosen(
                RESULTS, draw.choice(len(RESULTS), len(firm), p=[0.2, 0.45, 0.25, 0.1])
            ),
            "dishonest_flag": flags(listed),
            "enforcement_amt": money(amount * listed),
            **provenance("法院", day, later(day, draw, 1, 30)),
        }
    ).take(pa.array(order))


def env_credit(part: Part) -> pa.Table:
    """Return yearly environmental credit of firms that discharge."""
    city, draw = part.city, part.random("env_credit")
    rated = np.isin(SECTION_OF_DIVISION[city.industry], list("BCDE"))
    rated &= (draw.random(len(part)) < 0.45) & (city.age > 4)  # noqa: PLR2004
    firm = np.repeat(np.flatnonzero(rated), 3)
    year = np.tile(np.arange(2023, 2026), rated.sum())
    exceeded = draw.poisson(0.25, len(firm))
    end = np.array([f"{y}-12-31" for y in range(2023, 2026)], dtype="datetime64[D]")[year - 2023]
    return pa.table(
        {
            "uscc": codes(part, firm),
            "eval_year": pa.array(year, pa.int32()),
            "env_grade": chosen(ENVIRONMENT_GRADES, _environment_grade(exceeded, draw)),
            "permit_type": chosen(DISCHARGE_PERMITS, draw.choice(3, len(part))[firm]),
            "exceed_cnt": integers(exceeded),
            **provenance("生态环境局", end, later(end, draw, 60, 150)),
        }
    )


def _environment_grade(exceeded: Array, draw: np.random.Generator) -> Array:
    clean = (draw.random(len(exceeded)) < 0.75) * 1  # noqa: PLR2004  # blue more often than green
    return np.where(exceeded == 0, clean, np.minimum(exceeded + 1, 4))
