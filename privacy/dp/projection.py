"""Output columns: which keep the identity of an input column, and which are new."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from privacy.dp.coercion import is_nullable
from privacy.dp.plan import Column, Expr, Node, Project, Ref
from privacy.dp.resolve_expr import columns_of
from privacy.dp.scope import Field, Relation, as_ref, columns_of_node, expose

Fresh = Callable[[], int]
"""Gives a column id that was not given before."""


@dataclass(frozen=True, slots=True)
class Output:
    """One column to come."""

    name: str
    expr: Expr
    qualifier: tuple[str, ...] = ()
    same: int = -1
    """Identity of the column that is passed on, where it is not the one that `expr` reads."""
    is_new: bool = False
    """Whether it is a column of its own even if `expr` is a bare column: an alias."""


def passed(field: Field) -> Output:
    """Return the output that hands `field` on unchanged."""
    return Output(field.column.name, as_ref(field.column), field.qualifier, field.same)


def new_column(number: int, name: str, expr: Expr) -> Column:
    """Return the column that will hold `expr`."""
    return Column(number, name, expr.type, is_nullable(expr))


def projected(
    outputs: Sequence[Output], fresh: Fresh
) -> tuple[tuple[tuple[Column, Expr], ...], tuple[Field, ...]]:
    """Return a projection's items and their fields; a column listed twice gets a second id."""
    items: list[tuple[Column, Expr]] = []
    fields: list[Field] = []
    seen: set[int] = set()
    for output in outputs:
        expr = output.expr
        keeps = isinstance(expr, Ref) and not output.is_new
        number = expr.id if isinstance(expr, Ref) and keeps and expr.id not in seen else fresh()
        seen.add(number)
        column = new_column(number, output.name, expr)
        same = -1
        if isinstance(expr, Ref) and keeps:
            same = output.same if output.same >= 0 else expr.id
        fields.append(Field(column, output.qualifier, same if same != number else -1))
        items.append((column, expr))
    return tuple(items), tuple(fields)


def project(
    child: Relation, outputs: Sequence[Output], fresh: Fresh, *, keeps_hidden: bool = False
) -> Relation:
    """Return `outputs` over `child`; without a node of its own if nothing changes."""
    items, fields = projected(outputs, fresh)
    used = frozenset[int]().union(*(columns_of(e) for _, e in items))
    node: Node = Project(expose(child.node, used), items)
    if node.columns == columns_of_node(child.node):
        node = child.node
    return Relation(node, fields, child.hidden if keeps_hidden else (), below=child)
