"""What `df.explain()` says: unit, bounds, mechanism, price and expected error, free of charge.

Every figure is a function of the question, the contracts, the grant and the asker's own budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from privacy.dp.draw import Program, ReleasePlan
from privacy.dp.release import half_widths, price

_TEXT = {
    "en": {
        "public": "Public data only: exact, free of charge.",
        "head": "Differentially private: {n} release(s), epsilon {epsilon} = {rho} micro-rho.",
        "engine": "Engine: {engine}.",
        "strict": "Strict time: the answer leaves {seconds:.3g} s after the question.",
        "budget": "Budget left: epsilon {left} ({micro} micro-rho); {count} more like this one.",
        "unit": "  Protected unit: one {domain}; tables: {tables}; cohorts: {cohorts}.",
        "bounds": "  One unit: at most {rows} rows, {groups} groups, {per} rows in one group.",
        "window": "  Rows beyond {limit} of a unit are left out, by stored keyed rank.",
        "declared": "  Groups: {n}, all answered (declared keys).",
        "open": "  Groups: open; shown where the noised count of units is big (delta {delta}e-12).",
        "gauss": "  {name}: {mechanism}, 95 % ±{half:.6g}; values in [{low:.6g}, {high:.6g}].",
        "count": "  {name}: {mechanism}, 95 % ±{half:.6g} a cell.",
        "other": "  {name}: {form}; the half-width is given with the answer.",
        "wish": "  For half the error: epsilon {twice:.3g}; for a tenth: epsilon {ten:.3g}.",
        "covers": "  Intervals cover the noise, not clamping, row caps or faults of the data.",
    },
    "zh": {
        "public": "仅涉及公开数据：精确，不计费。",
        "head": "差分隐私回答：共 {n} 次发布，epsilon {epsilon}，合计 {rho} micro-rho。",
        "engine": "引擎：{engine}。",
        "strict": "严格计时：回答在提问后 {seconds:.3g} 秒发出。",
        "budget": "剩余预算：epsilon {left}（{micro} micro-rho）；同类问题还可提 {count} 次。",
        "unit": "  受保护主体：一个 {domain}；表：{tables}；批次：{cohorts}。",
        "bounds": "  单个主体：最多 {rows} 行，分布于最多 {groups} 个组，每组最多 {per} 行。",
        "window": "  每个主体超过 {limit} 行的部分按存储的密钥序次舍去。",
        "declared": "  分组数：{n}，全部给出（声明的键）。",
        "open": "  分组：开放键；加噪后的主体数超过阈值的组才会出现（delta {delta}e-12）。",
        "gauss": "  {name}：{mechanism}，每格 95 % ±{half:.6g}；取值 [{low:.6g}, {high:.6g}]。",
        "count": "  {name}：{mechanism}，每格 95 % ±{half:.6g}。",
        "other": "  {name}：{form}；半宽随回答给出。",
        "wish": "  误差减半需 epsilon {twice:.3g}；降到十分之一需 epsilon {ten:.3g}。",
        "covers": "  区间只涵盖噪声，不含截断、行数上限和数据错误。",
    },
}


@dataclass(frozen=True, slots=True)
class Priced:
    """The figures of one question's price."""

    epsilon: str
    micro_rho: int
    shares: tuple[int, ...]
    """Micro-rho of each release, in the program's order."""
    left_epsilon: str
    left_micro_rho: int
    twice_epsilon: float
    """Epsilon at which the error would halve."""
    ten_epsilon: float
    strict_seconds: float | None = None
    """When the answer leaves, where the lab keeps strict time."""


def explain(program: Program, priced: Priced, engine: str, language: str) -> str:
    """Return the explanation as lines of text."""
    say = _TEXT["zh" if language == "zh" else "en"]
    if not program.releases:
        return say["public"]
    count = priced.left_micro_rho // max(priced.micro_rho, 1)
    lines = [
        say["head"].format(n=len(program.releases), epsilon=priced.epsilon, rho=priced.micro_rho),
        say["engine"].format(engine=engine),
        say["budget"].format(left=priced.left_epsilon, micro=priced.left_micro_rho, count=count),
    ]
    if priced.strict_seconds is not None:
        lines.append(say["strict"].format(seconds=priced.strict_seconds))
    for release, share in zip(program.releases, priced.shares, strict=True):
        lines += _release(release, share, say)
    lines.append(say["wish"].format(twice=priced.twice_epsilon, ten=priced.ten_epsilon))
    lines.append(say["covers"])
    return "\n".join(lines)


def _release(plan: ReleasePlan, micro_rho: int, say: dict[str, str]) -> Sequence[str]:
    bound = plan.contribution
    lines = [
        say["unit"].format(
            domain=plan.domain,
            tables=", ".join(plan.tables),
            cohorts=", ".join(map(str, plan.cohorts)) or "-",
        ),
        say["bounds"].format(rows=bound.rows, groups=bound.groups, per=bound.rows_in_group),
    ]
    if plan.exact.unit_limit is not None:
        lines.append(say["window"].format(limit=plan.exact.unit_limit))
    if plan.cells is None:
        lines.append(say["open"].format(delta=plan.delta_1e12))
    else:
        lines.append(say["declared"].format(n=len(plan.cells)))
    priced = price(plan, micro_rho)
    measures = {m.name: m for m in plan.exact.measures}
    for output, half in zip(plan.outputs, half_widths(plan, priced), strict=True):
        measure = measures[plan.draws[output.draws[0]].measure]
        mechanism = str(priced[output.draws[0]].parameters["mechanism"])
        name, unit = output.column.name, 10.0**output.scale
        if half is None:
            form = f"{mechanism}, {output.form}"
            lines.append(say["other"].format(name=name, form=form))
        elif measure.value is None:
            lines.append(say["count"].format(name=name, mechanism=mechanism, half=half))
        else:
            lines.append(
                say["gauss"].format(
                    name=name,
                    mechanism=mechanism,
                    half=half,
                    low=measure.low / unit,
                    high=measure.high / unit,
                )
            )
    lines += [f"  {note}." for note in plan.notes]
    return lines
