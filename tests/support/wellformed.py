"""What must hold in every resolved plan, checked node by node."""

from privacy.dp.plan import (
    Apply,
    Column,
    DistinctOn,
    Expr,
    Group,
    JoinOn,
    Local,
    Node,
    Project,
    Ref,
    Scan,
    SortBy,
    UnionAll,
    Where,
    children,
    walk,
)
from privacy.dp.query import JoinKind
from privacy.dp.resolve_expr import parts
from privacy.dp.types import DataType


def assert_well_formed(root: Node) -> None:
    """Fail unless every reference is to a column of the input and every id is defined once."""
    defined: list[int] = []
    for node in walk(root):
        ids = [c.id for c in node.columns]
        assert len(ids) == len(set(ids)), f"{type(node).__name__} lists a column twice"
        inputs = {c.id: c for child in children(node) for c in child.columns}
        defined += [c.id for c in _own(node) if c.id not in inputs]
        for expr in _expressions(node):
            for part in parts(expr):
                if isinstance(part, Ref):
                    column = inputs[part.id]
                    assert (part.type, part.nullable) == (column.type, column.nullable)
        match node:
            case Project():
                for column, expr in node.items:
                    _assert_holds(column, expr)
            case Group():
                for column, expr in node.keys:
                    _assert_holds(column, expr)
            case Where():
                assert node.predicate.type is DataType.BOOLEAN
            case JoinOn():
                wanted = [*node.left.columns, *node.right.columns]
                if node.kind in (JoinKind.SEMI, JoinKind.ANTI):
                    wanted = [*node.left.columns]
                assert ids == [c.id for c in wanted]
            case UnionAll():
                for child in node.children:
                    assert [c.type for c in child.columns] == [c.type for c in node.columns]
            case DistinctOn():
                assert set(node.on) <= set(inputs)
            case _:
                pass
    assert len(defined) == len(set(defined)), "an id is defined twice"


def _own(node: Node) -> tuple[Column, ...]:
    return node.columns if isinstance(node, Scan | Local | Project | Group | UnionAll) else ()


def _expressions(node: Node) -> list[Expr]:
    match node:
        case Project():
            return [e for _, e in node.items]
        case Where():
            return [node.predicate]
        case JoinOn():
            return [] if node.condition is None else [node.condition]
        case Group():
            return [e for _, e in node.keys] + [a for _, c in node.aggregates for a in c.args]
        case SortBy():
            return [e for e, _, _ in node.keys]
        case _:
            return []


def _assert_holds(column: Column, expr: Expr) -> None:
    assert column.type is expr.type
    if isinstance(expr, Ref):
        assert column.nullable == expr.nullable
    elif isinstance(expr, Apply):
        assert column.nullable or not expr.nullable
