"""Public parts of a private question: evaluated first, so that both engines read the same rows.

A public scan with filters and projections stays in the plan (it may be large); anything richer, such
as a public aggregate that private rows are joined with, is evaluated once and given as rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pyarrow as pa

from privacy.dp.exact import ExactQuery
from privacy.dp.facts import TableFacts
from privacy.dp.iterate import Steps, drive
from privacy.dp.plan import (
    JoinOn,
    Local,
    Node,
    Project,
    Scan,
    UnionAll,
    Where,
    children,
    walk,
)
from sandbox.engine.compile import compile_query, too_large
from sandbox.engine.render import DUCKDB, SPARK, Renderer

Evaluate = Callable[[Node], pa.Table]


def evaluated(
    query: ExactQuery, tables: Mapping[str, TableFacts], evaluate: Evaluate
) -> tuple[ExactQuery, dict[str, pa.Table]]:
    """Return the question with its rich public parts as rows, and those rows by their digest."""
    made: dict[str, pa.Table] = {}
    private = _private_nodes(query.child, tables)

    def rewrite(current: Node) -> Steps[Node]:
        if id(current) not in private:
            if _is_simple(current):
                return current
            digest = f"p{len(made)}"
            made[digest] = evaluate(current)
            sources = tuple(f"f{i}" for i in range(len(current.columns)))
            return Local(digest, current.columns, sources)
        inputs: list[Node] = []
        for child in children(current):
            changed: Node = yield rewrite(child)
            inputs.append(changed)
        return _with_inputs(current, inputs)

    return replace(query, child=drive(rewrite(query.child))), made


def check_supported(query: ExactQuery, tables: Mapping[str, TableFacts]) -> None:
    """Raise `Refusal` if either engine could not run `query`. Reads nothing: ask before charging."""
    without_rows, _ = evaluated(query, tables, lambda _: pa.table({}))
    plan = compile_query(without_rows, tables)
    for engine in (DUCKDB, SPARK):
        try:
            Renderer(engine, lambda name: name).statements(plan)
        except RecursionError:
            raise too_large() from None


def _private_nodes(node: Node, tables: Mapping[str, TableFacts]) -> set[int]:
    """Return the identities of all nodes with private rows; parents come first in `walk`."""
    found: set[int] = set()
    for current in reversed(walk(node)):
        if isinstance(current, Scan):
            if tables[current.table].is_private:
                found.add(id(current))
        elif any(id(c) in found for c in children(current)):
            found.add(id(current))
    return found


def _is_simple(node: Node) -> bool:
    while isinstance(node, Project | Where):
        node = node.child
    return isinstance(node, Scan)


def _with_inputs(node: Node, inputs: list[Node]) -> Node:
    match node:
        case Scan() | Local():
            return node
        case JoinOn():
            return replace(node, left=inputs[0], right=inputs[1])
        case UnionAll():
            return replace(node, children=tuple(inputs))
        case _:
            return replace(node, child=inputs[0])
