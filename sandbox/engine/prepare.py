"""Public parts of a private question: evaluated first, so that both engines read the same rows.

A public scan with filters stays in the plan (it may be large); anything richer, such as a public
aggregate that private rows are joined with, is evaluated once and given as rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from privacy.dp.exact import ExactQuery
from privacy.dp.facts import TableFacts
from privacy.dp.iterate import Steps, drive
from privacy.dp.plan import Local, Node, Scan, children, walk, with_children
from sandbox.engine.compile import compile_query
from sandbox.engine.database import positional
from sandbox.engine.refusals import too_large
from sandbox.engine.render import DUCKDB, SPARK, Renderer
from sandbox.engine.settle import is_settled

Evaluate = Callable[[Node], pa.Table]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A question whose rich public parts have become rows."""

    query: ExactQuery
    rows: Mapping[str, pa.Table]
    """The rows by digest."""
    public: Mapping[int, Node]
    """For each column in a public side, the uppermost plan over tables and `rows` that has it."""


def prepared(query: ExactQuery, tables: Mapping[str, TableFacts], evaluate: Evaluate) -> Prepared:
    """Evaluate the public parts of `query` that are more than a scan, filtered and narrowed."""
    made: dict[str, pa.Table] = {}
    public: dict[int, Node] = {}
    private = _private_nodes(query.child, tables)

    def rewrite(current: Node) -> Steps[Node]:
        if id(current) not in private:
            side = current
            if not is_settled(current):
                digest = f"p{len(made)}"
                made[digest] = positional(evaluate(current))
                sources = tuple(f"f{i}" for i in range(len(current.columns)))
                side = Local(digest, current.columns, sources)
            for part in reversed(walk(side)):
                public.update({c.id: part for c in part.columns})
            return side
        inputs: list[Node] = []
        for child in children(current):
            changed: Node = yield rewrite(child)
            inputs.append(changed)
        return with_children(current, tuple(inputs))

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
