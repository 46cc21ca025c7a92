"""Public rows that private rows will meet: evaluated once, named by the digest of what they are.

Two evaluations of one public plan can differ: a limit cuts through ties, a sum of doubles carries
the order of its terms. The rows that were counted must be the rows that are joined (soundness A.1),
so both are given the same ones. A public table, filtered by comparisons alone, is the same each
time on either engine; it stays in the plan, since it may be large.
"""

import hashlib

import pyarrow as pa

from privacy.dp.plan import Apply, Const, Expr, Local, Node, Project, Ref, Scan, Where
from sandbox.engine.database import positional

_EXACT = frozenset(
    {"and", "or", "not", "==", "!=", "<", "<=", ">", ">=", "<=>", "in", "isnull", "isnotnull"}
)
"""Functions of a filter that compute nothing that two engines could round differently."""


def is_settled(node: Node) -> bool:
    """Whether a public plan gives the same rows whenever, and by whichever engine, it is run."""
    while True:
        match node:
            case Project() if all(isinstance(e, Ref) for _, e in node.items):
                node = node.child
            case Where() if _is_exact(node.predicate):
                node = node.child
            case _:
                return isinstance(node, Scan)


def settled(node: Node, rows: pa.Table) -> tuple[Local, pa.Table]:
    """Return the plan that reads these rows of `node`, and the rows as it reads them."""
    table = positional(rows)
    sources = tuple(table.column_names)
    return Local(_digest(table), node.columns, sources), table


def _is_exact(predicate: Expr) -> bool:
    match predicate:
        case Ref() | Const():
            return True
        case Apply():
            return predicate.function in _EXACT and all(map(_is_exact, predicate.args))


def _digest(table: pa.Table) -> str:
    """Return the identity of rows, whatever their order: it enters the digest of what is released.

    The word in front keeps it apart from the digests of frames that clients send.
    """
    rows = sorted(repr(row) for row in zip(*(c.to_pylist() for c in table.columns), strict=True))
    said = "\n".join(["settled", *map(str, table.schema.types), str(table.num_rows), *rows])
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
