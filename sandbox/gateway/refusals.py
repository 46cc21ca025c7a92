"""What is said about plans that are not taken: the reason, and the nearest form that is."""

from typing import Final

from privacy.errors import Refusal
from sandbox.gateway.wire import too_large

MAX_COLUMNS: Final = 2_000
"""Columns in one list of a plan (attack D21)."""

_AGGREGATE: Final = (
    "Ask for an aggregate: groupBy(...).agg(count, sum, avg, percentile, …).",
    "请改为汇总查询：groupBy(...).agg(count, sum, avg, percentile, …)。",
)
_CODE: Final = (
    "User code never runs here: use built-in functions, or apply it to the answer.",
    "用户代码不会在实验室内运行：请使用内置函数，或在结果上应用。",
)
_NEAREST: Final = {
    "sample": (
        "All rows are used; the noise is what protects them.",
        "查询使用全部行，由噪声提供保护。",
    ),
    "tail": ("Use orderBy(desc) and limit.", "请使用 orderBy(desc) 与 limit。"),
    "to_schema": ("Use select with casts.", "请使用 select 与 cast。"),
    "fill_na": ("Use coalesce(column, value).", "请使用 coalesce(列, 值)。"),
    "drop_na": ("Use filter(column.isNotNull()).", "请使用 filter(列.isNotNull())。"),
    "replace": ("Use when(...).otherwise(...).", "请使用 when(...).otherwise(...)。"),
    "unpivot": ("Use one aggregate for each column.", "请对每一列分别汇总。"),
    "range": ("Use createDataFrame.", "请使用 createDataFrame。"),
    "cached_local_relation": (
        "Send at most 8 MiB with createDataFrame.",
        "createDataFrame 至多 8 MiB。",
    ),
    "chunked_cached_local_relation": (
        "Send at most 8 MiB with createDataFrame.",
        "createDataFrame 至多 8 MiB。",
    ),
    "map_partitions": _CODE,
    "group_map": _CODE,
    "co_group_map": _CODE,
    "apply_in_pandas_with_state": _CODE,
    "common_inline_user_defined_table_function": _CODE,
    "common_inline_user_defined_data_source": _CODE,
    "lateral_join": ("Use an ordinary join.", "请使用普通连接。"),
    "as_of_join": ("Use an ordinary join.", "请使用普通连接。"),
}


def unsupported_relation(kind: str | None) -> Refusal:
    """Return the error for a relation kind that is not on the allow-list."""
    en, zh = _NEAREST.get(kind or "", _AGGREGATE)
    return Refusal(
        "UNSUPPORTED",
        f"The operation `{kind or 'empty'}` is not supported here. {en}",
        f"此处不支持操作 `{kind or 'empty'}`。{zh}",
    )


def natural(kind: str, number: int) -> int:
    """Return a number of rows; refuse one below 0."""
    if number < 0:
        raise Refusal(
            "UNSUPPORTED",
            f"`{kind}` takes a number of at least 0.",
            f"`{kind}` 的数值不得小于 0。",
        )
    return number


def too_wide() -> Refusal:
    """Return the error for a list that is too long."""
    return too_large(f"at most {MAX_COLUMNS} columns", f"至多 {MAX_COLUMNS} 列")


def set_operation() -> Refusal:
    """Return the error for intersect and subtract."""
    return Refusal(
        "UNSUPPORTED",
        "intersect and subtract are not supported here. Use a left_semi or left_anti join.",
        "此处不支持 intersect 与 subtract。请使用 left_semi 或 left_anti 连接。",
    )


def subquery() -> Refusal:
    """Return the error for a query inside an expression."""
    return Refusal(
        "UNSUPPORTED",
        "A query inside an expression is not supported here. Compute the inner question first, or "
        "write a left_semi or left_anti join.",
        "此处不支持表达式中的子查询。请先计算内层查询，或改写为 left_semi 或 left_anti 连接。",
    )


def pivot_without_values() -> Refusal:
    """Return the error for a pivot that would read its values from the data."""
    return Refusal(
        "UNSUPPORTED",
        "pivot needs its values, since reading them from the data would disclose them: "
        "pivot(column, [value, …]).",
        "pivot 必须给出取值，从数据中读取会造成泄露：请写 pivot(列, [取值, …])。",
    )


def unknown_hint(name: str) -> Refusal:
    """Return the error for a hint that is not the lab's."""
    return Refusal(
        "UNSUPPORTED",
        f'The hint `{name}` is not known; the only one is hint("epsilon", number).',
        f'未知提示 `{name}`；只支持 hint("epsilon", 数值)。',
    )


def unsupported_command(kind: str | None) -> Refusal:
    """Return the error for a command that is not on the allow-list."""
    return Refusal(
        "UNSUPPORTED",
        f"The command `{kind or 'empty'}` is not supported here: the lab answers questions and "
        "writes nothing. Take the answer with toPandas() and go on in the notebook.",
        f"此处不支持命令 `{kind or 'empty'}`：实验室只回答问题，不写入数据。"
        "请用 toPandas() 取回结果后在笔记本中继续。",
    )
