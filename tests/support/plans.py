"""Random small worlds and random plans over them, for the laws that every plan must obey."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from privacy.dp.facts import ColumnFacts, PublicFacts, TableFacts
from privacy.dp.plan import (
    AggregateCall,
    AggregateKind,
    Apply,
    Column,
    Const,
    DistinctOn,
    Expr,
    Group,
    JoinOn,
    Node,
    Project,
    Ref,
    Scan,
    UnionAll,
    Where,
)
from privacy.dp.query import JoinKind
from privacy.dp.types import DataType
from tests.support.reference import COHORT, RANK, UNIT, PublicWorld, Row, World

B, N, L, D, S = (
    DataType.BOOLEAN,
    DataType.INTEGER,
    DataType.LONG,
    DataType.DOUBLE,
    DataType.STRING,
)
UNIT_ID = ColumnFacts("u", S, nullable=False)
PRIVATE = {
    "reg": TableFacts(
        "reg",
        "v1",
        (
            UNIT_ID,
            ColumnFacts("d", S, nullable=False, domain=("p", "q", "r")),
            ColumnFacts("n", N, low=0, high=50),
            ColumnFacts("x", D, low=-5, high=20, scale=1),
        ),
        "enterprise",
        "u",
        (("u",),),
        3,
        1000,
        (2025, 2026),
    ),
    "tax": TableFacts(
        "tax",
        "v1",
        (
            UNIT_ID,
            ColumnFacts("m", N, nullable=False, low=1, high=4, domain=(1, 2, 3, 4)),
            ColumnFacts("g", S, domain=("a", "b")),
            ColumnFacts("amt", D, low=0, high=30, scale=2),
            ColumnFacts("k", N, low=-3, high=9),
        ),
        "enterprise",
        "u",
        (("u", "m"),),
        9,
        1000,
        (2025, 2026),
    ),
    "util": TableFacts(
        "util",
        "v1",
        (
            UNIT_ID,
            ColumnFacts("m", N, nullable=False, low=1, high=3, domain=(1, 2, 3)),
            ColumnFacts("t", S, nullable=False, domain=("w", "e")),
            ColumnFacts("k", N, low=0, high=9),
        ),
        "enterprise",
        "u",
        (("u", "m", "t"),),
        5,
        1000,
        (2025, 2026),
    ),
    "pen": TableFacts(
        "pen",
        "v1",
        (
            UNIT_ID,
            ColumnFacts("c", S),
            ColumnFacts("g", S, domain=("a", "b")),
            ColumnFacts("amt", D, low=-2, high=7, scale=1),
        ),
        "enterprise",
        "u",
        (),
        4,
        1000,
        (2025, 2026),
    ),
}
OPEN = {
    "one": TableFacts("one", "v1", (ColumnFacts("d", S), ColumnFacts("w", N))),
    "many": TableFacts("many", "v1", (ColumnFacts("d", S), ColumnFacts("w", N))),
}


def facts_of(world: World, cohorts: tuple[int, ...] | None = None) -> PublicFacts:
    """Return the public facts of a random world: contracts, and its public tables."""
    return PublicFacts({**PRIVATE, **OPEN}, PublicWorld(world), cohorts)


def random_world(rng: random.Random, units: int = 3) -> World:
    """Return tables with nulls, NaN, values out of bounds, and units beyond their row caps."""
    tables: dict[str, list[Row]] = {name: [] for name in PRIVATE}
    for unit in range(1, units + 1):
        cohort = rng.choice((2025, 2026))
        for name, table in PRIVATE.items():
            rows = _unit_rows(rng, name, unit)
            rng.shuffle(rows)
            for rank, row in enumerate(rows, 1):
                tables[name].append({UNIT: unit, RANK: rank, COHORT: cohort, **row})
            assert table.is_private
    tables["one"] = [{"d": d, "w": rng.randint(-2, 5)} for d in ("p", "q", "z")]
    tables["many"] = [
        {"d": rng.choice("pqr"), "w": rng.randint(-2, 5)} for _ in range(rng.randint(1, 5))
    ]
    return World(tables)


def _unit_rows(rng: random.Random, name: str, unit: int) -> list[Row]:
    u = f"id{unit}"
    if name == "reg":
        if rng.random() < 0.2:
            return []
        return [
            {"u": u, "d": rng.choice("pqr"), "n": _maybe(rng, rng.randint(-9, 70)), "x": _real(rng)}
        ]
    if name == "tax":
        months = [m for m in (1, 2, 3, 4) if rng.random() < 0.8]
        g = _maybe(rng, rng.choice("ab"))
        return [
            {
                "u": u,
                "m": m,
                "g": g if rng.random() < 0.6 else _maybe(rng, rng.choice("ab")),
                "amt": _real(rng),
                "k": _maybe(rng, rng.randint(-9, 20)),
            }
            for m in months
        ]
    if name == "util":
        pairs = [(m, t) for m in (1, 2, 3) for t in "we" if rng.random() < 0.8]
        return [{"u": u, "m": m, "t": t, "k": _maybe(rng, rng.randint(-9, 20))} for m, t in pairs]
    same = rng.random() < 0.5
    return [
        {
            "u": u,
            "c": "s" if same else rng.choice("stu"),
            "g": "a" if same else _maybe(rng, rng.choice("ab")),
            "amt": 7.0 if same else _real(rng),
        }
        for _ in range(rng.randint(0, 7))
    ]


def _maybe(rng: random.Random, v: object) -> object:
    return None if rng.random() < 0.15 else v


def _real(rng: random.Random) -> float | None:
    roll = rng.random()
    if roll < 0.1:
        return None
    if roll < 0.15:
        return math.nan
    if roll < 0.35:
        return rng.choice((-1e6, 1e6, 1e300, -1e300, 30.0, -5.0))
    return round(rng.uniform(-8, 35), 2)


@dataclass
class PlanMaker:
    """Builds one random aggregate over private rows; some plans are refused, which is fine."""

    rng: random.Random
    next_id: int = 0

    def column(self, name: str, kind: DataType, *, nullable: bool = True) -> Column:
        self.next_id += 1
        return Column(self.next_id, name, kind, nullable)

    def scan(self, name: str) -> Scan:
        table = {**PRIVATE, **OPEN}[name]
        columns = tuple(self.column(c.name, c.type, nullable=c.nullable) for c in table.columns)
        return Scan(name, columns, tuple(c.name for c in table.columns))

    def plan(self) -> Group:
        """Return a random plan whose root is a group without the raw unit id."""
        node = self.relation(self.rng.randint(0, 4))
        return self.final(node)

    def relation(self, steps: int) -> Node:
        node: Node = self.scan(self.rng.choice(list(PRIVATE)))
        moves: list[Callable[[Node], Node]] = [
            self.filtered,
            self.filtered,
            self.filtered,
            self.computed,
            self.joined_units,
            self.joined_units,
            self.joined_public,
            self.union,
            self.distinct,
            self.per_unit,
        ]
        for _ in range(steps):
            node = self.rng.choice(moves)(node)
        return node

    def unit_of(self, node: Node) -> Column | None:
        return next((c for c in node.columns if c.name == "u"), None)

    def pick(self, node: Node, *kinds: DataType) -> Column | None:
        found = [c for c in node.columns if c.type in kinds]
        return self.rng.choice(found) if found else None

    def literal(self, column: Column) -> Const:
        if column.type is S:
            return Const(self.rng.choice(("p", "q", "a", "b", "w", "s", "id1")), S)
        if column.type is D:
            return Const(round(self.rng.uniform(-5, 30), 1), D)
        if column.type is B:
            return Const(self.rng.random() < 0.5, B)
        return Const(self.rng.randint(-2, 6), column.type)

    def predicate(self, node: Node) -> Expr:
        column = self.rng.choice(node.columns)
        ref = Ref(column.id, column.type, column.nullable)
        roll = self.rng.random()
        if roll < 0.35:
            return Apply("==", (ref, self.literal(column)), B)
        if roll < 0.55:
            return Apply("in", (ref, self.literal(column), self.literal(column)), B)
        if roll < 0.65:
            return Apply("isnotnull", (ref,), B, nullable=False)
        if roll < 0.75:
            return Apply("or", (self.predicate(node), self.predicate(node)), B)
        if roll < 0.85:
            return Apply("and", (self.predicate(node), self.predicate(node)), B)
        if column.type in (N, L, D):
            return Apply(self.rng.choice(("<", "<=", ">", ">=")), (ref, self.literal(column)), B)
        return Apply("not", (Apply("isnull", (ref,), B, nullable=False),), B, nullable=False)

    def filtered(self, node: Node) -> Node:
        return Where(node, self.predicate(node))

    def number(self, node: Node) -> Expr:
        column = self.pick(node, N, L, D)
        if column is None:
            return Const(1, N)
        ref: Expr = Ref(column.id, column.type, column.nullable)
        roll = self.rng.random()
        if roll < 0.5:
            return ref
        if roll < 0.65:
            return Apply(
                "*",
                (
                    ref,
                    Const(self.rng.choice((-2, 3)) if column.type is not D else -1.5, column.type),
                ),
                column.type,
            )
        if roll < 0.8:
            return Apply("+", (ref, ref), column.type)
        if roll < 0.9:
            return Apply(
                "when",
                (self.predicate(node), ref, Const(1 if column.type is not D else 1.0, column.type)),
                column.type,
            )
        return Apply(
            "greatest", (ref, Const(0 if column.type is not D else 0.0, column.type)), column.type
        )

    def computed(self, node: Node) -> Node:
        value = self.number(node)
        items: list[tuple[Column, Expr]] = [
            (c, Ref(c.id, c.type, c.nullable))
            for c in node.columns
            if c.name == "u" or self.rng.random() < 0.85
        ]
        items.append((self.column("y", value.type), value))
        self.rng.shuffle(items)
        return Project(node, tuple(items))

    def joined_units(self, node: Node) -> Node:
        unit = self.unit_of(node)
        if unit is None:
            return node
        other = self.scan(self.rng.choice(("reg", *PRIVATE)))
        mine, theirs = Ref(unit.id, S, unit.nullable), Ref(other.columns[0].id, S, nullable=False)
        condition: Expr = Apply("==", (mine, theirs), B)
        if self.rng.random() < 0.5:
            both = self.predicate(self.rng.choice((node, node, other)))
            condition = Apply("and", (condition, both), B)
        for _ in range(self.rng.choice((0, 0, 1, 2))):
            condition = Apply("and", (condition, self.equality(node, other)), B)
        kind = self.rng.choice(
            (JoinKind.INNER, JoinKind.LEFT, JoinKind.LEFT, JoinKind.SEMI, JoinKind.ANTI)
        )
        columns = node.columns
        if kind in (JoinKind.INNER, JoinKind.LEFT):
            # The second unit column must not pass for the first: it gets another name.
            columns += tuple(
                Column(c.id, "u2" if c.name == "u" else c.name, c.type) for c in other.columns
            )
        return JoinOn(node, other, kind, condition, columns)

    def equality(self, node: Node, other: Node) -> Expr:
        """Return an equality of the two sides, now and then of one side with itself."""
        pairs = [
            (mine, theirs)
            for theirs in other.columns[1:]
            for mine in (*node.columns, *other.columns)
            if mine.type is theirs.type and mine.name not in ("u", "u2")
        ]
        if not pairs:
            return Const(value=True, type=B)
        same = [p for p in pairs if p[0].name == p[1].name]
        mine, theirs = self.rng.choice(same if same and self.rng.random() < 0.7 else pairs)
        refs = [Ref(c.id, c.type, c.nullable) for c in (mine, theirs)]
        self.rng.shuffle(refs)
        return Apply("==", tuple(refs), B)

    def joined_public(self, node: Node) -> Node:
        key = next((c for c in node.columns if c.name in ("d", "g", "t")), None)
        if key is None:
            return node
        other = self.scan(self.rng.choice(list(OPEN)))
        condition = Apply("==", (Ref(key.id, S, key.nullable), Ref(other.columns[0].id, S)), B)
        kind = self.rng.choice((JoinKind.INNER, JoinKind.LEFT, JoinKind.SEMI, JoinKind.ANTI))
        columns = node.columns
        if kind in (JoinKind.INNER, JoinKind.LEFT):
            columns += tuple(Column(c.id, f"p_{c.name}", c.type) for c in other.columns)
        return JoinOn(node, other, kind, condition, columns)

    def union(self, node: Node) -> Node:
        name = self.rng.choice(list(PRIVATE))
        a, b = self.scan(name), self.scan(name)
        columns = tuple(self.column(c.name, c.type, nullable=c.nullable) for c in a.columns)
        left: Node = self.filtered(a) if self.rng.random() < 0.5 else a
        return UnionAll((left, b), columns)

    def distinct(self, node: Node) -> Node:
        unit = self.unit_of(node)
        if unit is None:
            return node
        others = [
            c.id
            for c in node.columns
            if c is not unit and c.type is not D and self.rng.random() < 0.4
        ]
        return DistinctOn(node, (unit.id, *others))

    def per_unit(self, node: Node) -> Node:
        unit = self.unit_of(node)
        if unit is None:
            return node
        keys: list[tuple[Column, Expr]] = [(unit, Ref(unit.id, S, unit.nullable))]
        extra = self.pick(node, S, N)
        if extra is not None and extra.id != unit.id and self.rng.random() < 0.5:
            keys.append((extra, Ref(extra.id, extra.type, extra.nullable)))
        return Group(node, tuple(keys), tuple(self.aggregate(node, inner=True) for _ in range(2)))

    def aggregate(self, node: Node, *, inner: bool) -> tuple[Column, AggregateCall]:
        value = self.number(node)
        roll = self.rng.random()
        if roll < 0.25:
            return self.column("a", L, nullable=False), AggregateCall(AggregateKind.COUNT_ROWS)
        if roll < 0.35:
            return self.column("a", L, nullable=False), AggregateCall(AggregateKind.COUNT, (value,))
        if roll < 0.55:
            kind = D if value.type is D else L
            return self.column("a", kind), AggregateCall(AggregateKind.SUM, (value,))
        if roll < 0.65:
            return self.column("a", D), AggregateCall(AggregateKind.AVG, (value,))
        if inner:
            kind_ = self.rng.choice((AggregateKind.MIN, AggregateKind.MAX))
            return self.column("a", value.type), AggregateCall(kind_, (value,))
        if roll < 0.85:
            unit = self.unit_of(node)
            if unit is not None:
                ref = Ref(unit.id, S, unit.nullable)
                return self.column("a", L, nullable=False), AggregateCall(
                    AggregateKind.COUNT_DISTINCT, (ref,)
                )
        if roll < 0.93:
            return self.column("a", D), AggregateCall(
                AggregateKind.QUANTILE, (value,), (self.rng.choice((100, 500, 900)),)
            )
        return self.column("a", D), AggregateCall(AggregateKind.VAR_POP, (value,))

    def final(self, node: Node) -> Group:
        keys: list[tuple[Column, Expr]] = []
        for _ in range(self.rng.randint(0, 2)):
            # Keys that came last through a join are where constants and fan-out go wrong.
            late = [c for c in node.columns[-4:] if c.type in (S, N, B)]
            column = (
                self.rng.choice(late)
                if late and self.rng.random() < 0.7
                else self.pick(node, S, N, B)
            )
            if (
                column is None
                or column.name in ("u", "u2")
                or any(k.id == column.id for k, _ in keys)
            ):
                continue
            if self.rng.random() < 0.75:
                keys.append((column, Ref(column.id, column.type, column.nullable)))
            else:
                test = self.predicate(node)
                keys.append((self.column("key", B), test))
        return Group(
            node,
            tuple(keys),
            tuple(self.aggregate(node, inner=False) for _ in range(self.rng.randint(1, 3))),
        )
