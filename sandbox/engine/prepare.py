"""Public parts of a private question: evaluated first, so that both engines read the same rows.

A public scan with filters stays in the plan (it may be large); anything richer, such as a public
aggregate that private rows are joined with, is evaluated once and given as rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from privacy.dp.exact import ExactQuery
from privacy.dp.facts import PublicData, TableFacts
from privacy.dp.iterate import Steps, drive
from privacy.dp.plan import (
    JoinOn,
    Local,
    Node,
    Project,
    Ref,
    Scan,
    UnionAll,
    Where,
    children,
    walk,
)
from privacy.dp.types import Value
from sandbox.engine.compile import compile_query
from sandbox.engine.refusals import too_large
from sandbox.engine.render import DUCKDB, SPARK, Renderer

Evaluate = Callable[[Node], pa.Table]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A question whose rich public parts have become rows."""

    query: ExactQuery
    rows: Mapping[str, pa.Table]
    """The rows by digest."""
    public: Mapping[int, Node]
    """For each column of a public side, the public plan that it belongs to."""

    def values(self, data: PublicData) -> Callable[[int], tuple[Value, ...]]:
        """Return a function from a public column's id to all its values, null included."""
        return lambda column: tuple(v for (v,) in data.distinct(self.public[column], (column,)))


def prepared(query: ExactQuery, tables: Mapping[str, TableFacts], evaluate: Evaluate) -> Prepared:
    """Evaluate the public parts of `query` that are more than a scan, filtered and narrowed."""
    made: dict[str, pa.Table] = {}
    public: dict[int, Node] = {}
    private = _private_nodes(query.child, tables)

    def rewrite(current: Node) -> Steps[Node]:
        if id(current) not in private:
            public.update({c.id: current for c in current.columns})
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

    child = drive(rewrite(query.child))
    return Prepared(replace(query, child=child), made, public)


def check_supported(query: ExactQuery, tables: Mapping[str, TableFacts]) -> None:
    """Raise `Refusal` if either engine could not run `query`; reads nothing, so ask first."""
    plan = compile_query(prepared(query, tables, lambda _: pa.table({})).query, tables)
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
    while True:
        if (
            isinstance(node, Project) and all(isinstance(e, Ref) for _, e in node.items)
        ) or isinstance(node, Where):
            node = node.child
        else:
            break
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
