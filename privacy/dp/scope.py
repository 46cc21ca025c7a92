"""What names mean above a resolved plan: visible columns, their qualifiers, and what lies below.

Spark's rules, as far as the question language goes: names match without regard to case; a
qualifier matches the end of a column's full name; one column listed twice is not ambiguous;
`df.column` means that column of that DataFrame wherever its id is still there; `filter` and
`sort` may also read columns that the select below them left out.

Source: Spark 4.3 `AttributeSeq.resolve`, `ColumnResolutionHelper`.
"""

from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from privacy.dp.expr import Name, Star
from privacy.dp.plan import Column, DistinctOn, Group, Node, Project, Ref, Slice, SortBy, Where
from privacy.errors import Refusal

_Chained = Project | Where | SortBy | Slice
"""Nodes through which a column below can be carried upwards."""

MAX_SHOWN = 5
"""Column names listed in a refusal."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column as names see it."""

    column: Column
    qualifier: tuple[str, ...] = ()
    identity: int = -1
    """Id of the column that this one repeats, so that `select("a", "a")` stays unambiguous."""

    @property
    def same(self) -> int:
        """What two fields share exactly when they are one column."""
        return self.column.id if self.identity < 0 else self.identity

    def answers(self, parts: tuple[str, ...]) -> bool:
        """Return whether `parts` names this column."""
        *qualifier, name = parts
        return self.column.name.lower() == name.lower() and self.belongs(tuple(qualifier))

    def belongs(self, qualifier: tuple[str, ...]) -> bool:
        """Return whether `qualifier` is the end of this column's own."""
        if not qualifier:
            return True
        tail = self.qualifier[-len(qualifier) :]
        return tuple(p.lower() for p in tail) == tuple(p.lower() for p in qualifier)


@dataclass(frozen=True, slots=True)
class Relation:
    """A resolved input: its plan, and the names that can be used above it."""

    node: Node
    fields: tuple[Field, ...]
    """One for each of the node's columns, in order."""
    hidden: tuple[Field, ...] = ()
    """Columns of a `using` join that only a qualifier or a DataFrame reference reaches."""
    inputs: tuple["Relation", ...] = ()
    """The relations below, searched for DataFrame references."""
    below: "Relation | None" = None
    """Where `filter` and `sort` look for columns that this relation left out."""
    plan_id: int | None = None
    grouped: object = field(default=None, compare=False)
    """State of the aggregate right below, for aggregate calls in `having` and `order by`."""


def find(relation: Relation, name: Name, *, below: bool) -> Field:
    """Return the one column that `name` means; `below` also looks under the last select."""
    if name.plan_id is not None:
        return _by_dataframe(relation, name, name.plan_id, below=below)
    scope: Relation | None = relation
    while scope is not None:
        matches = _matches(scope.fields, name.parts)
        if not matches and len(name.parts) > 1:
            matches = _matches(scope.hidden, name.parts)
        if len(matches) > 1:
            raise _ambiguous(name)
        if matches:
            return matches[0]
        scope = scope.below if below else None
    raise missing(name.parts, relation.fields)


def exists(relation: Relation, name: Name) -> bool:
    """Return whether `name` means at least one visible column."""
    return bool(_matches(relation.fields, name.parts))


def expand(relation: Relation, star: Star) -> tuple[Field, ...]:
    """Return the columns that a star stands for."""
    if star.plan_id is not None:
        reachable = {f.same: f for f in (*relation.fields, *relation.hidden)}
        for labelled, _ in _labelled(relation, star.plan_id):
            found = [reachable.get(f.same) for f in labelled.fields]
            if all(found):
                return tuple(f for f in found if f is not None)
        raise missing(("*",), relation.fields)
    if not star.qualifier:
        return relation.fields
    everything = (*relation.hidden, *relation.fields)
    selected = tuple(f for f in everything if f.belongs(star.qualifier))
    if not selected:
        raise missing((*star.qualifier, "*"), relation.fields)
    return selected


def missing(parts: tuple[str, ...], fields: tuple[Field, ...]) -> Refusal:
    """Return the refusal of an unknown column, with the nearest column names (names are public)."""
    wanted = ".".join(parts)
    by_lower = {f.column.name.lower(): f.column.name for f in fields}
    near = get_close_matches(parts[-1].lower(), by_lower, n=3, cutoff=0.5)
    names = [by_lower[n] for n in near] or sorted({f.column.name for f in fields})[:MAX_SHOWN]
    shown = ", ".join(f"`{n}`" for n in names) or "none"
    return Refusal(
        "UNKNOWN_COLUMN",
        f"There is no column `{wanted}` here. Nearest: {shown}.",
        f"此处没有列 `{wanted}`。相近的列：{shown}。",
    )


def expose(node: Node, ids: frozenset[int]) -> Node:
    """Return `node` with the columns `ids`, which exist further down, added to its output."""
    chain: list[tuple[_Chained, frozenset[int]]] = []
    wanted = ids - _ids(node)
    while wanted:
        if not isinstance(node, _Chained):
            raise AssertionError(f"columns {sorted(wanted)} cannot be reached")  # noqa: TRY004 - a bug
        chain.append((node, wanted))
        node = node.child
        wanted -= _ids(node)
    for parent, added in reversed(chain):
        below = {c.id: c for c in columns_of_node(node)}
        node = replace(parent, child=node)
        if isinstance(node, Project):
            items = tuple((below[i], as_ref(below[i])) for i in sorted(added))
            node = Project(node.child, (*node.items, *items))
    return node


def regroup(node: Node, group: Group) -> Node:
    """Return `node` with the `Group` at the end of its chain replaced by an extended one."""
    chain: list[_Chained] = []
    while isinstance(node, _Chained):
        chain.append(node)
        node = node.child
    node = group
    for parent in reversed(chain):
        node = replace(parent, child=node)
    return node


def as_ref(column: Column) -> Ref:
    """Return the expression that reads `column`."""
    return Ref(column.id, column.type, column.nullable)


def columns_of_node(node: Node) -> tuple[Column, ...]:
    """Return the output columns of `node` without recursing through a chain of filters."""
    while isinstance(node, Where | SortBy | Slice | DistinctOn):
        node = node.child
    return node.columns


def _ids(node: Node) -> frozenset[int]:
    return frozenset(c.id for c in columns_of_node(node))


def _matches(fields: tuple[Field, ...], parts: tuple[str, ...]) -> list[Field]:
    distinct: dict[int, Field] = {}
    for candidate in fields:
        if candidate.answers(parts):
            distinct.setdefault(candidate.same, candidate)
    return list(distinct.values())


def _labelled(relation: Relation, plan_id: int) -> list[tuple[Relation, int]]:
    """Return the relations below (or at) `relation` that carry the label, nearest first."""
    found: list[tuple[Relation, int]] = []
    queue, depth = [relation], 0
    while queue:
        found += [(r, depth) for r in queue if r.plan_id == plan_id]
        queue = [i for r in queue if r.plan_id != plan_id for i in r.inputs]
        depth += 1
    return found


def _by_dataframe(relation: Relation, name: Name, plan_id: int, *, below: bool) -> Field:
    """Follow a DataFrame reference: the nearest labelled input whose column is still reachable."""
    nearest: list[Field] = []
    least = -1
    for labelled, depth in _labelled(relation, plan_id):
        if nearest and depth > least:
            break
        matches = _matches(labelled.fields, name.parts) or _matches(labelled.hidden, name.parts)
        if len(matches) > 1:
            raise _ambiguous(name)
        for match in matches:
            reachable = _reach(relation, match.same, below=below)
            if reachable is not None and reachable.same not in {f.same for f in nearest}:
                nearest.append(reachable)
                least = depth
    if len(nearest) > 1:
        raise _ambiguous(name)
    if not nearest:
        raise missing(name.parts, relation.fields)
    return nearest[0]


def _reach(relation: Relation, identity: int, *, below: bool) -> Field | None:
    scope: Relation | None = relation
    while scope is not None:
        for candidate in (*scope.fields, *scope.hidden):
            if candidate.same == identity:
                return candidate
        scope = scope.below if below else None
    return None


def _ambiguous(name: Name) -> Refusal:
    wanted = ".".join(name.parts)
    return Refusal(
        "AMBIGUOUS_COLUMN",
        f"`{wanted}` could be more than one column. Give the tables aliases (df.alias('a')) and "
        "write col('a.…'), or rename one of the columns.",
        f"`{wanted}` 对应多个列。请为表起别名（df.alias('a')）并写 col('a.…')，或重命名其中一列。",
    )
