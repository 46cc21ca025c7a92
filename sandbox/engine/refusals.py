"""Refusals of the engines: forms of a plan that neither runs, decided without any data."""

from privacy.dp.query import JoinKind
from privacy.errors import Refusal


def too_large() -> Refusal:
    """Return the refusal of an expression or plan that is nested too deeply to write as SQL."""
    return Refusal(
        "TOO_LARGE",
        "This question is nested too deeply. Split it: fewer operations inside one expression.",
        "该问题嵌套过深。请拆分：减少单个表达式中的运算层数。",
    )


def unsupported(en: str, zh: str) -> Refusal:
    """Return the refusal of a plan form that the engines do not run."""
    return Refusal("UNSUPPORTED", en, zh)


def join_form(kind: JoinKind) -> Refusal:
    """Return the refusal of a join whose rows would belong to no unit."""
    return Refusal(
        "JOIN_FORM",
        f"A {kind.value} join would make rows that belong to no protected unit; use inner, left, "
        "semi "
        "or anti with the private table on the left.",
        f"{kind.value} 连接会产生不属于任何受保护主体的行；请使用 inner、left、semi 或 anti，私有"
        "表在左侧。",
    )
