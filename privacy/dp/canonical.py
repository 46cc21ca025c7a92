"""One form and one digest for questions that mean the same.

Column ids are renumbered in order of first appearance, names and aliases are dropped, and the
arguments of commutative functions are sorted, so that two spellings of one question share a digest
where that is cheap to see. A digest identifies the release node with the versions of all tables it
reads, its cohorts and the mechanisms' version; it never identifies noise (soundness B.19).
"""

import datetime as dt
import hashlib
import json
import math
from collections.abc import Mapping

from privacy.dp.facts import PublicFacts
from privacy.dp.plan import (
    Apply,
    Column,
    Const,
    DistinctOn,
    Expr,
    Group,
    JoinOn,
    Local,
    Node,
    Project,
    Ref,
    Scan,
    Slice,
    SortBy,
    UnionAll,
    Where,
)
from privacy.dp.types import Value

FORM = "digital-lab/plan/1"

_COMMUTATIVE = frozenset({"and", "or", "==", "!=", "<=>", "+", "*"})

Json = str | int | bool | None | list["Json"] | dict[str, "Json"]


def digest(node: Node, facts: PublicFacts, *, extra: Mapping[str, Json] | None = None) -> str:
    """Return the SHA-256 (hex) of the canonical form of `node` over its table versions."""
    writer = _Writer(facts)
    body: Json = {
        "form": FORM,
        "plan": writer.node(node),
        "cohorts": None if facts.cohorts is None else list(facts.cohorts),
        **(extra or {}),
    }
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class _Writer:
    def __init__(self, facts: PublicFacts) -> None:
        self._facts = facts
        self._numbers: dict[int, int] = {}

    def _number(self, column: int) -> int:
        return self._numbers.setdefault(column, len(self._numbers))

    def _columns(self, columns: tuple[Column, ...]) -> list[Json]:
        return [self._number(c.id) for c in columns]

    def node(self, node: Node) -> Json:
        match node:
            case Scan():
                facts = self._facts.tables[node.table]
                identity: list[Json] = [node.table, facts.version, facts.contract_digest]
                return ["scan", identity, [*node.sources], self._columns(node.columns)]
            case Local():
                return ["local", node.digest, [*node.sources], self._columns(node.columns)]
            case Project():
                child = self.node(node.child)
                items: list[Json] = [[self._number(c.id), self.expr(e)] for c, e in node.items]
                return ["project", child, items]
            case Where():
                child = self.node(node.child)
                return ["where", child, self.expr(node.predicate)]
            case JoinOn():
                left, right = self.node(node.left), self.node(node.right)
                condition = None if node.condition is None else self.expr(node.condition)
                return ["join", node.kind.value, left, right, condition]
            case UnionAll():
                inputs: list[Json] = [self.node(c) for c in node.children]
                positions: list[Json] = [self._columns(c.columns) for c in node.children]
                return ["union", inputs, positions, self._columns(node.columns)]
            case DistinctOn():
                child = self.node(node.child)
                return ["distinct", child, [*sorted(self._number(i) for i in node.on)]]
            case Group():
                child = self.node(node.child)
                keys: list[Json] = [[self._number(c.id), self.expr(e)] for c, e in node.keys]
                aggregates: list[Json] = [
                    [
                        self._number(c.id),
                        c.type.value,
                        call.kind.value,
                        [self.expr(a) for a in call.args],
                        list(call.parameters),
                    ]
                    for c, call in node.aggregates
                ]
                return ["group", child, keys, aggregates]
            case SortBy():
                child = self.node(node.child)
                return ["sort", child, [[self.expr(e), a, n] for e, a, n in node.keys]]
            case Slice():
                return ["slice", self.node(node.child), node.count, node.offset]

    def expr(self, expr: Expr) -> Json:
        match expr:
            case Ref():
                return ["ref", self._number(expr.id)]
            case Const():
                return ["const", expr.type.value, literal(expr.value)]
            case Apply():
                args = [self.expr(a) for a in expr.args]
                if expr.function in _COMMUTATIVE:
                    if expr.function in ("and", "or"):
                        args = _flattened(expr.function, args)
                    args.sort(key=lambda a: json.dumps(a, sort_keys=True))
                return [expr.function, expr.type.value, *args]


def _flattened(function: str, args: list[Json]) -> list[Json]:
    flat: list[Json] = []
    for arg in args:
        if isinstance(arg, list) and arg and arg[0] == function:
            flat.extend(arg[2:])
        else:
            flat.append(arg)
    return flat


def literal(value: Value) -> Json:
    """Return a JSON value that tells literals of different types and doubles apart exactly."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value.hex()
    if isinstance(value, dt.date):
        return value.isoformat()
    return value
