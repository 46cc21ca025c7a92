"""The fields that a question is said to use are those on whose values its answer can depend."""

import random

import pytest

from privacy.dp.analysis import analyse
from privacy.dp.exact import ExactQuery
from privacy.dp.plan import (
    AggregateCall,
    AggregateKind,
    Apply,
    DistinctOn,
    Group,
    JoinOn,
    Node,
    Project,
    UnionAll,
    Where,
)
from privacy.dp.query import JoinKind
from privacy.dp.reading import fields_read
from privacy.errors import Refusal
from tests.support.engine import (
    BOOLEAN,
    INTEGER,
    LONG,
    limits,
    new_column,
    number,
    ref,
    rows_measure,
    scan,
    sum_measure,
    text,
)
from tests.support.plans import PRIVATE, PlanMaker, facts_of, random_world
from tests.support.reference import run


def read(node: Node, *keys: object, measure: object = None) -> dict[str, frozenset[str]]:
    named = tuple((new_column("k", k.type), k) for k in keys)  # type: ignore[attr-defined]
    measures = (measure or rows_measure(),)
    return fields_read([ExactQuery(node, named, measures, limits(node))])  # type: ignore[arg-type]


def test_counting_rows_reads_no_field() -> None:
    assert read(scan("tax").node) == {"tax": frozenset()}


def test_keys_sums_and_filters_are_read() -> None:
    tax = scan("tax")
    node = Where(tax.node, Apply("==", (tax["note"], text("x")), BOOLEAN))
    found = read(node, tax["district"], measure=sum_measure("m0", tax["amount"]))
    assert found == {"tax": {"note", "district", "amount"}}


def test_what_is_only_passed_on_is_not_read() -> None:
    tax = scan("tax")
    double = new_column("double", INTEGER)
    items = tuple((c, ref(c)) for c in tax.node.columns)
    made = (double, Apply("*", (tax["staff"], number(2)), INTEGER))
    assert read(Project(tax.node, (*items, made)), ref(double)) == {"tax": {"staff"}}
    assert read(Project(tax.node, (*items, made)), tax["period"]) == {"tax": {"period"}}


@pytest.mark.parametrize("kind", [JoinKind.INNER, JoinKind.SEMI], ids=["inner", "semi"])
def test_both_sides_of_a_join_are_read_where_they_meet(kind: JoinKind) -> None:
    tax, registration = scan("tax"), scan("registration")
    on = Apply("==", (tax["uscc"], registration["uscc"]), BOOLEAN)
    columns = tax.node.columns
    columns += registration.node.columns if kind is JoinKind.INNER else ()
    found = read(JoinOn(tax.node, registration.node, kind, on, columns), tax["period"])
    assert found == {"tax": {"uscc", "period"}, "registration": {"uscc"}}


def test_unions_distinct_rows_and_inner_groups_are_followed() -> None:
    a, b = scan("tax", "uscc", "staff", "note"), scan("tax", "uscc", "staff", "note")
    columns = tuple(new_column(c.name, c.type) for c in a.node.columns)
    union = UnionAll((a.node, b.node), columns)
    assert read(union, ref(columns[1])) == {"tax": {"staff"}}
    assert read(DistinctOn(union, (columns[0].id, columns[2].id))) == {"tax": {"uscc", "note"}}
    total, unused = new_column("total", LONG), new_column("unused", LONG)
    calls = (
        (total, AggregateCall(AggregateKind.COUNT, (ref(columns[1]),))),
        (unused, AggregateCall(AggregateKind.COUNT, (ref(columns[2]),))),
    )
    group = Group(union, ((columns[0], ref(columns[0])),), calls)
    assert read(group, ref(total)) == {"tax": {"uscc", "staff"}}


@pytest.mark.parametrize("seed", range(300))
def test_no_other_field_moves_an_answer(seed: int) -> None:
    """Whatever the values of a field that is not read become, the exact answer stays."""
    chance = random.Random(seed)
    world = random_world(chance)
    try:
        program = analyse(PlanMaker(chance).plan(), facts_of(world, None))
    except Refusal:
        return
    for release in program.releases:
        used = fields_read([release.exact])
        other = random_world(random.Random(seed))
        for name, rows in other.tables.items():
            if name in PRIVATE:
                free = {c.name for c in PRIVATE[name].columns} - used.get(name, frozenset())
                for row in rows:
                    row.update(dict.fromkeys(free))
        assert run(release.exact, other) == run(release.exact, world)
