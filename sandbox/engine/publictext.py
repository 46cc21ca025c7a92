"""How long the texts of a public plan can get: one row of it must not fill the engine's memory.

The engine's own limit counts what it stores, not the texts of a batch that it is computing.
"""

from collections.abc import Callable, Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from privacy.dp.facts import TableFacts
from privacy.dp.plan import (
    AggregateKind,
    Expr,
    Group,
    JoinOn,
    Local,
    Node,
    Project,
    Scan,
    SortBy,
    UnionAll,
    Where,
    children,
    walk,
)
from privacy.dp.textlength import check_carried, check_texts, longest
from privacy.dp.types import DataType

Known = dict[int, int]
"""Characters of the longest text of each text column, by id."""


MAX_CARRIED = 262_144
"""Characters of all texts of one row: an engine works on 2,048 rows at once (0.5 GB)."""


def check_public_texts(
    root: Node,
    facts: Callable[[str], TableFacts],
    frames: Mapping[str, pa.Table],
) -> None:
    """Raise `Refusal(TOO_LARGE)` if a step could make more text of one row than is allowed."""
    found: dict[int, Known] = {}
    for node in reversed(walk(root)):
        below = [found[id(child)] for child in children(node)]
        known = {i: size for each in below for i, size in each.items()}
        match node:
            case Scan():
                columns = facts(node.table)
                pairs = zip(node.columns, node.sources, strict=True)
                known = {c.id: columns.column(s).max_length for c, s in pairs}
            case Local():
                rows = frames[node.digest]
                pairs = zip(node.columns, node.sources, strict=True)
                known = {c.id: _longest(rows, s) for c, s in pairs if c.type is DataType.STRING}
            case Project():
                exprs = [expr for _, expr in node.items]
                check_texts(exprs, known)
                check_carried(exprs, known, MAX_CARRIED)
                known = {c.id: longest(e, known) for c, e in node.items if _is_text(e)}
            case Where():
                check_texts((node.predicate,), known)
            case SortBy():
                check_texts((expr for expr, _, _ in node.keys), known)
            case JoinOn():
                check_texts(() if node.condition is None else (node.condition,), known)
            case UnionAll():
                known = {
                    column.id: max(
                        each.get(child.columns[i].id, 0)
                        for each, child in zip(below, node.children, strict=True)
                    )
                    for i, column in enumerate(node.columns)
                    if column.type is DataType.STRING
                }
            case Group():
                known = _grouped(node, known)
            case _:
                pass
        found[id(node)] = known


def _grouped(node: Group, known: Known) -> Known:
    check_texts((*(e for _, e in node.keys), *_args(node)), known)
    made = {c.id: longest(e, known) for c, e in node.keys if _is_text(e)}
    for column, call in node.aggregates:
        if call.kind in (AggregateKind.MIN, AggregateKind.MAX) and _is_text(call.args[0]):
            made[column.id] = longest(call.args[0], known)
    return made


def _args(node: Group) -> Iterable[Expr]:
    return (arg for _, call in node.aggregates for arg in call.args)


def _is_text(expr: Expr) -> bool:
    return expr.type is DataType.STRING


def _longest(rows: pa.Table, column: str) -> int:
    texts = rows.column(column)
    if not pa.types.is_string(texts.type) and not pa.types.is_large_string(texts.type):
        return 0
    return pc.max(pc.utf8_length(texts)).as_py() or 0
