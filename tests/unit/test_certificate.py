"""The stability certificate accepts what is bounded as claimed and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from privacy.dp.exact import ExactQuery, Measure, MeasureKind
from privacy.dp.plan import (
    AggregateCall,
    AggregateKind,
    Apply,
    Const,
    DistinctOn,
    Group,
    JoinOn,
    UnionAll,
    Where,
)
from privacy.dp.query import JoinKind
from privacy.errors import Refusal
from sandbox.engine.certificate import CertificateError, Claim, certify
from sandbox.engine.compile import compile_query
from sandbox.engine.physical import (
    Buckets,
    Call,
    Cells,
    Clamped,
    CohortIn,
    Col,
    Compute,
    CountRows,
    First,
    Fixed,
    Keep,
    Lit,
    Meet,
    PerUnit,
    RankAtMost,
    Shifted,
    Squared,
    Stack,
    SumWhole,
    UnitExtreme,
    UnitRows,
    UnitSum,
)
from tests.support.engine import (
    BOOLEAN,
    DOUBLE,
    FACTS,
    INTEGER,
    LONG,
    STRING,
    limits,
    new_column,
    number,
    ref,
    rows_measure,
    scan,
    sum_measure,
    text,
    units_measure,
)


def check(plan: Cells, claim: Claim, values: int = 3) -> None:
    certify(plan, claim, FACTS, lambda _: range(values))


def refuses(plan: Cells, claim: Claim, words: str) -> None:
    with pytest.raises(CertificateError, match=words):
        check(plan, claim)


def compiled(node: Any, keys: Any = (), measures: Any = (rows_measure(),), **more: Any) -> Cells:  # noqa: B008
    named = tuple((new_column("k", e.type), e) for e in keys)
    return compile_query(ExactQuery(node, named, measures, limits(node), **more), FACTS)


def swapped(node: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """Return the plan with its first node of this kind changed."""
    if isinstance(node, kind):
        return change(node)
    if hasattr(node, "child"):
        return replace(node, child=swapped(node.child, kind, change))
    if isinstance(node, Meet):
        left = swapped(node.left, kind, change)
        if left is node.left or left == node.left:
            return replace(node, right=swapped(node.right, kind, change))
        return replace(node, left=left)
    return node


TAX_CLAIM = Claim(12, 4, 12, {"m0": (0, 1)})


def test_a_plan_that_keeps_its_claim_passes() -> None:
    tax = scan("tax")
    check(compiled(tax.node, [tax["district"]]), TAX_CLAIM)


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (replace(TAX_CLAIM, rows_per_unit=11), "rows of one unit: computed 12, claimed 11"),
        (replace(TAX_CLAIM, groups_per_unit=3), "groups of one unit"),
        (replace(TAX_CLAIM, rows_per_group=11), "rows of one unit in one group"),
        (replace(TAX_CLAIM, measures={}), "other things"),
        (replace(TAX_CLAIM, measures={"m0": (0, 0)}), "the integers of m0"),
        (replace(TAX_CLAIM, squared_l2={"m0": 143}), "squared L2"),
        (replace(TAX_CLAIM, cohorts=(2020,)), "without its cohort filter"),
    ],
)
def test_a_claim_below_the_truth_is_refused(claim: Claim, words: str) -> None:
    tax = scan("tax")
    refuses(compiled(tax.node, [tax["district"]]), claim, words)


def test_the_noise_of_twelve_rows_in_one_cell_is_accepted_and_no_less() -> None:
    tax = scan("tax")
    check(compiled(tax.node, [tax["district"]]), replace(TAX_CLAIM, squared_l2={"m0": 144}))


def test_without_its_rank_filter_a_table_without_unique_key_is_unbounded() -> None:
    penalties = scan("penalties")
    plan = compiled(penalties.node)
    claim = Claim(6, 1, 6, {"m0": (0, 1)})
    check(plan, claim)
    refuses(swapped(plan, RankAtMost, lambda n: n.child), claim, "computed inf")


def test_a_wider_rank_filter_is_refused() -> None:
    penalties = scan("penalties")
    plan = compiled(penalties.node)
    wider = swapped(plan, RankAtMost, lambda n: replace(n, limit=7))
    refuses(wider, Claim(6, 1, 6, {"m0": (0, 1)}), "rows of one unit")


def test_a_rank_filter_counts_only_on_the_stored_ranks() -> None:
    penalties = scan("penalties")
    plan = compiled(penalties.node)
    other = swapped(plan, RankAtMost, lambda n: replace(n, rank="c1"))
    refuses(other, Claim(6, 1, 6, {"m0": (0, 1)}), "away from the stored ranks")
    above = replace(plan, child=RankAtMost(Keep(plan.child, Lit(True, BOOLEAN)), "r1", 1))
    refuses(above, Claim(6, 1, 6, {"m0": (0, 1)}), "away from the stored ranks")


def test_the_cohort_filter_must_be_there_and_as_charged() -> None:
    tax = scan("tax")
    plan = compiled(tax.node, cohorts=(2020, 2021))
    claim = replace(TAX_CLAIM, groups_per_unit=1, cohorts=(2020, 2021))
    check(plan, claim)
    refuses(swapped(plan, CohortIn, lambda n: n.child), claim, "without its cohort filter")
    more = swapped(plan, CohortIn, lambda n: replace(n, cohorts=(2020, 2021, 2022)))
    refuses(more, claim, "the cohorts read")


def summed(**more: Any) -> tuple[Cells, Claim]:
    tax = scan("tax")
    measure = sum_measure("m0", tax["amount"], low=-5, high=100, **more)
    return compiled(tax.node, measures=(measure,)), Claim(12, 1, 12, {"m0": (-5, 100)})


def with_total(plan: Cells, change: Callable[[Any], Any]) -> Cells:
    (name, total), *rest = plan.totals
    return replace(plan, totals=((name, change(total)), *rest))


@pytest.mark.parametrize(
    "whole",
    [
        Fixed(Col("c1", LONG), 2),
        Shifted(Fixed(Col("c1", LONG), 2), 3),
        Squared(Fixed(Col("c1", LONG), 2)),
        Squared(Squared(Clamped(Fixed(Col("c1", LONG), 2), 0, 1))),
        Clamped(Shifted(Fixed(Col("c1", LONG), 2), 3), 0, 1),
    ],
)
def test_a_sum_without_its_clamp_in_its_place_is_refused(whole: Any) -> None:
    plan, claim = summed()
    refuses(with_total(plan, lambda t: replace(t, value=whole)), claim, "not clamped")


def test_a_wider_clamp_is_refused() -> None:
    plan, claim = summed()
    check(plan, claim)
    wider = with_total(plan, lambda t: replace(t, value=replace(t.value, high=101)))
    refuses(wider, claim, "the integers of m0")


def test_offset_and_square_move_the_bounds() -> None:
    plan, claim = summed(offset=50, square=True)
    refuses(plan, claim, "the integers of m0")
    check(plan, replace(claim, measures={"m0": (0, 55 * 55)}))


def test_a_total_that_could_wrap_is_refused() -> None:
    tax = scan("tax")
    huge = 2**62 // (12 * 1_000_000)
    for high, passes in ((huge - 1, True), (huge + 1, False)):
        measure = sum_measure("m0", tax["large"], scale=0, low=0, high=high)
        plan = compiled(tax.node, measures=(measure,))
        claim = Claim(12, 1, 12, {"m0": (0, high)})
        if passes:
            check(plan, claim)
        else:
            refuses(plan, claim, "largest possible total")


@pytest.mark.parametrize("hidden", ["u1", "r1", "h1"])
def test_no_expression_reads_a_hidden_column(hidden: str) -> None:
    tax = scan("tax")
    plan = compiled(tax.node)
    claim = replace(TAX_CLAIM, groups_per_unit=12)
    column = Col(hidden, LONG)
    refuses(replace(plan, child=Keep(plan.child, column)), claim, "surrogate")
    refuses(replace(plan, keys=(("k0", column),)), claim, "surrogate")
    refuses(with_total(plan, lambda _: CountRows(column)), claim, "surrogate")
    total = SumWhole(None, Clamped(Fixed(column, 0), 0, 1))
    refuses(with_total(plan, lambda _: total), claim, "surrogate")


def test_keys_made_from_the_unit_are_refused() -> None:
    tax = scan("tax")
    refuses(compiled(tax.node, [tax["uscc"]]), replace(TAX_CLAIM, groups_per_unit=12), "unit's id")


def test_keys_made_from_the_unit_in_steps_are_refused() -> None:
    tax, claim = scan("tax"), replace(TAX_CLAIM, groups_per_unit=12)
    plan = compiled(tax.node)
    unit, name = plan.unit, f"c{tax['uscc'].id}"
    upper = Call("upper", (Col(name, STRING),), STRING)
    made = Compute(plan.child, (unit,), (("e9", upper),))
    again = Compute(made, (unit,), (("e10", Call("length", (Col("e9", STRING),), INTEGER)),))
    features = PerUnit(plan.child, unit, (("e9", upper),), ())
    extreme = UnitExtreme(Col(name, STRING), largest=True)
    largest = PerUnit(plan.child, unit, (), (("e9", extreme),))
    branch = replace(made, items=(*made.items, ("e8", Col(name, STRING))))
    takes = ((unit, Col("e8", STRING), Col("e9", STRING)),) * 2
    stacked = Stack((branch, branch), takes, ("u9", "e8", "e9"), "u9")
    for child, key in ((made, "e9"), (again, "e10"), (features, "e9"), (largest, "e9")):
        keyed = replace(plan, child=child, keys=(("k0", Col(key, STRING)),))
        refuses(keyed, claim, "unit's id")
    keyed = replace(plan, child=stacked, unit="u9", keys=(("k0", Col("e9", STRING)),))
    refuses(keyed, replace(claim, groups_per_unit=24), "unit's id")


def test_an_unknown_node_is_refused() -> None:
    @dataclass(frozen=True)
    class Sample:
        child: Any

    tax = scan("tax")
    plan = compiled(tax.node)
    refuses(replace(plan, child=Sample(plan.child)), TAX_CLAIM, "unknown node")


def test_a_pinned_month_bounds_rows_by_the_unique_key() -> None:
    tax = scan("tax")
    one = Where(tax.node, Apply("==", (tax["period"], number(202503)), BOOLEAN))
    check(compiled(one), Claim(1, 1, 1, {"m0": (0, 1)}))
    two = Where(tax.node, Apply("in", (tax["period"], number(202503), number(202504)), BOOLEAN))
    check(compiled(two), Claim(2, 1, 2, {"m0": (0, 1)}))
    refuses(compiled(two), Claim(1, 1, 1, {"m0": (0, 1)}), "rows of one unit")


@pytest.mark.parametrize("function", [">=", "!=", "or"])
def test_other_conditions_pin_nothing(function: str) -> None:
    tax = scan("tax")
    same = Apply("==", (tax["period"], number(202503)), BOOLEAN)
    predicate = (
        Apply("or", (same, Apply("isnull", (tax["staff"],), BOOLEAN)), BOOLEAN)
        if function == "or"
        else Apply(function, (tax["period"], number(202503)), BOOLEAN)
    )
    refuses(
        compiled(Where(tax.node, predicate)), Claim(1, 1, 1, {"m0": (0, 1)}), "rows of one unit"
    )


def test_months_as_keys_leave_one_row_for_each_group() -> None:
    tax = scan("tax")
    check(compiled(tax.node, [tax["period"]]), Claim(12, 12, 1, {"m0": (0, 1)}))


def joined(kind: JoinKind = JoinKind.INNER) -> Any:
    tax, registration = scan("tax"), scan("registration")
    on = Apply("==", (tax["uscc"], registration["uscc"]), BOOLEAN)
    columns = tax.node.columns
    if kind in (JoinKind.INNER, JoinKind.LEFT):
        columns += registration.node.columns
    return JoinOn(tax.node, registration.node, kind, on, columns), tax, registration


def test_a_join_on_the_unit_keeps_the_constants_of_the_one_row_side() -> None:
    node, _, registration = joined()
    check(compiled(node, [registration["district"]]), Claim(12, 1, 12, {"m0": (0, 1)}))


def monthly(kind: JoinKind, *more: Callable[[Any, Any], Any]) -> Any:
    """Two monthly tables of twelve rows of a unit, joined on the unit and on what `more` says."""
    tax, other = scan("tax"), scan("tax")
    on = Apply("==", (tax["uscc"], other["uscc"]), BOOLEAN)
    for part in more:
        on = Apply("and", (on, part(tax, other)), BOOLEAN)
    return JoinOn(tax.node, other.node, kind, on, tax.node.columns + other.node.columns)


def same_month(tax: Any, other: Any) -> Any:
    return Apply("==", (other["period"], tax["period"]), BOOLEAN)


@pytest.mark.parametrize("kind", [JoinKind.INNER, JoinKind.LEFT], ids=["inner", "left"])
def test_months_that_meet_their_own_month_do_not_multiply(kind: JoinKind) -> None:
    claim = Claim(12, 1, 12, {"m0": (0, 1)})
    check(compiled(monthly(kind, same_month)), claim)
    refuses(compiled(monthly(kind, same_month)), replace(claim, rows_per_unit=11), "rows of one")


@pytest.mark.parametrize(
    "more",
    [
        (),
        (lambda tax, other: Apply("==", (other["period"], other["staff"]), BOOLEAN),),
        (lambda tax, other: Apply("<=>", (other["period"], tax["period"]), BOOLEAN),),
        (lambda tax, other: Apply("<=", (other["period"], tax["period"]), BOOLEAN),),
        (lambda tax, other: Apply("==", (other["note"], tax["note"]), BOOLEAN),),
        (lambda tax, other: Apply("or", (same_month(tax, other),) * 2, BOOLEAN),),
    ],
    ids=["unit only", "own column", "null-safe", "at most", "no key", "or"],
)
def test_other_conditions_of_a_join_keep_no_month_apart(more: Any) -> None:
    claim = Claim(12, 1, 12, {"m0": (0, 1)})
    refuses(compiled(monthly(JoinKind.INNER, *more)), claim, "rows of one unit")


def test_a_left_join_keeps_rows_that_meet_nothing() -> None:
    """Each penalty meets one month at most, but months without a penalty come on top."""
    tax, penalties = scan("tax"), scan("penalties")
    unit = Apply("==", (tax["uscc"], penalties["uscc"]), BOOLEAN)
    month = Apply("==", (tax["period"], Apply("length", (penalties["kind"],), INTEGER)), BOOLEAN)
    on = Apply("and", (unit, month), BOOLEAN)
    columns = tax.node.columns + penalties.node.columns
    claim = Claim(6, 1, 6, {"m0": (0, 1)})
    check(compiled(JoinOn(tax.node, penalties.node, JoinKind.INNER, on, columns)), claim)
    left = compiled(JoinOn(tax.node, penalties.node, JoinKind.LEFT, on, columns))
    refuses(left, claim, "rows of one unit")


def test_a_step_that_makes_too_many_rows_of_one_unit_is_refused() -> None:
    node: Any = monthly(JoinKind.INNER)
    for _ in range(2):
        other = scan("tax")
        on = Apply("==", (ref(node.columns[0]), other["uscc"]), BOOLEAN)
        node = JoinOn(node, other.node, JoinKind.INNER, on, node.columns + other.node.columns)
    refuses(compiled(node), Claim(12**4, 1, 12**4, {"m0": (0, 1)}), "a step makes of one unit")


def test_a_private_join_without_its_units_is_refused() -> None:
    node, *_ = joined()
    plan = compiled(node)
    claim = Claim(12, 1, 12, {"m0": (0, 1)})
    check(plan, claim)
    refuses(swapped(plan, Meet, lambda n: replace(n, units=None)), claim, "unit of both sides")
    crossed = swapped(plan, Meet, lambda n: replace(n, units=("u1", "u1")))
    refuses(crossed, claim, "unit of both sides")
    full = swapped(plan, Meet, lambda n: replace(n, kind=JoinKind.FULL))
    refuses(full, claim, "without a unit")


def test_a_public_join_multiplies_by_its_multiplicity() -> None:
    tax, areas = scan("tax"), scan("areas")
    on = Apply("==", (tax["district"], areas["code"]), BOOLEAN)
    node = JoinOn(tax.node, areas.node, JoinKind.INNER, on, tax.node.columns + areas.node.columns)
    plan = compiled(node)
    claim = Claim(12, 1, 12, {"m0": (0, 1)}, public_multiplicities={areas.node.columns[0].id: 2})
    refuses(plan, claim, "rows of one unit")
    check(plan, replace(claim, rows_per_unit=24, rows_per_group=24))
    refuses(plan, replace(claim, public_multiplicities={}), "multiplicity")


def test_public_keys_count_by_their_values_only_where_cells_are_open() -> None:
    tax, areas = scan("tax"), scan("areas")
    on = Apply("==", (tax["district"], areas["code"]), BOOLEAN)
    node = JoinOn(tax.node, areas.node, JoinKind.INNER, on, tax.node.columns + areas.node.columns)
    claim = Claim(12, 3, 12, {"m0": (0, 1)}, public_multiplicities={areas.node.columns[0].id: 1})
    plan = compiled(node, [areas["region"]])
    check(plan, claim, values=3)
    with pytest.raises(CertificateError, match="groups"):
        check(plan, claim, values=4)


def test_open_keys_do_not_trust_the_sizes_of_the_claim() -> None:
    tax = scan("tax")
    plan = compiled(tax.node, [tax["note"]])
    claim = Claim(12, 2, 12, {"m0": (0, 1)}, key_sizes=(2,))
    refuses(plan, claim, "groups of one unit")
    check(plan, replace(claim, cells=2))


def union() -> Any:
    a, b = scan("penalties"), scan("penalties")
    columns = tuple(new_column(c.name, c.type) for c in a.node.columns)
    return UnionAll((a.node, b.node), columns), columns


def test_a_union_adds_up_and_keeps_no_key() -> None:
    node, _ = union()
    plan = compiled(node)
    check(plan, Claim(12, 1, 12, {"m0": (0, 1)}))
    refuses(plan, Claim(11, 1, 11, {"m0": (0, 1)}), "rows of one unit")


def test_a_union_branch_that_brings_another_unit_is_refused() -> None:
    node, _ = union()
    plan = compiled(node)

    def crossed(stack: Stack) -> Stack:
        first, second = stack.takes
        return replace(stack, takes=(first, ("r2", *second[1:])))

    refuses(swapped(plan, Stack, crossed), Claim(12, 1, 12, {"m0": (0, 1)}), "without its unit")


def test_a_per_unit_group_leaves_one_row_for_each_unit() -> None:
    tax = scan("tax")
    total = new_column("total", DOUBLE)
    group = Group(
        tax.node,
        ((tax.columns["uscc"], tax["uscc"]),),
        ((total, AggregateCall(AggregateKind.SUM, (tax["amount"],))),),
    )
    inner = ((total.id, sum_measure("i", tax["amount"])),)
    measure = sum_measure("m0", ref(total), high=1_200_000)
    plan = compiled(group, measures=(measure,), inner=inner)
    claim = Claim(1, 1, 1, {"m0": (0, 1_200_000)})
    check(plan, claim)
    other = swapped(plan, PerUnit, lambda n: replace(n, unit="r1"))
    refuses(other, claim, "not by the unit|another unit")

    def unclamped(node: PerUnit) -> PerUnit:
        (name, aggregate), *rest = node.aggregates
        assert isinstance(aggregate, UnitSum)
        bare = replace(aggregate, value=Fixed(Col("c1", LONG), 0))
        return replace(node, aggregates=((name, bare), *rest))

    refuses(swapped(plan, PerUnit, unclamped), claim, "not clamped")


def test_distinct_rows_of_a_unit_are_a_key() -> None:
    penalties = scan("penalties")
    node = DistinctOn(penalties.node, (penalties["uscc"].id,))
    check(compiled(node), Claim(1, 1, 1, {"m0": (0, 1)}))


def test_a_limit_at_query_time_counts_within_the_unit_only() -> None:
    penalties = scan("penalties")
    plan = compiled(penalties.node, unit_limit=2)
    claim = Claim(2, 1, 2, {"m0": (0, 1)})
    check(plan, claim)
    refuses(swapped(plan, UnitRows, lambda n: n.child), claim, "rows of one unit")
    refuses(swapped(plan, UnitRows, lambda n: replace(n, unit="r1")), claim, "within one unit")
    by_unit = swapped(plan, UnitRows, lambda n: replace(n, order=(n.unit,)))
    refuses(by_unit, claim, "within one unit")


def test_a_projection_that_loses_the_unit_is_refused() -> None:
    tax = scan("tax")
    plan = compiled(tax.node)
    lost = replace(plan, child=Compute(plan.child, ("c1",), ()))
    refuses(lost, replace(TAX_CLAIM, groups_per_unit=1), "loses the unit")


def test_a_histogram_stays_within_its_buckets() -> None:
    tax = scan("tax")
    measure = Measure(
        "m0", MeasureKind.HISTOGRAM, value=tax["amount"], scale=2, high=1000, step=10, buckets=101
    )
    plan = compiled(tax.node, measures=(measure,))
    claim = Claim(12, 1, 12, {"m0": (0, 100)})
    check(plan, claim)

    def fewer(histograms: Any) -> Any:
        (name, buckets), *rest = histograms
        assert isinstance(buckets, Buckets)
        return ((name, replace(buckets, count=100)), *rest)

    refuses(replace(plan, histograms=fewer(plan.histograms)), claim, "the last bucket")


def test_units_move_one_count_in_each_group() -> None:
    tax = scan("tax")
    plan = compiled(tax.node, [tax["district"]], (units_measure("m0"),))
    check(plan, replace(TAX_CLAIM, squared_l2={"m0": 4}))
    refuses(plan, replace(TAX_CLAIM, squared_l2={"m0": 3}), "squared L2")


def test_conditional_keys_have_as_many_groups_as_answers() -> None:
    tax = scan("tax")
    test = Apply(">", (tax["staff"], number(100)), BOOLEAN)
    key = Apply("when", (test, text("big"), text("small")), STRING)
    plan = compiled(tax.node, [key])
    check(plan, replace(TAX_CLAIM, groups_per_unit=2))
    refuses(plan, replace(TAX_CLAIM, groups_per_unit=1), "groups of one unit")


def test_errors_hold_public_numbers_and_the_reason() -> None:
    error = CertificateError("rows of one unit", computed=12, claimed=11)
    assert (error.computed, error.claimed) == (12, 11)
    assert str(error).endswith("rows of one unit: computed 12, claimed 11.")


def test_a_public_join_that_multiplies_kills_the_unique_key() -> None:
    tax, areas = scan("tax"), scan("areas")
    on = Apply("==", (tax["district"], areas["code"]), BOOLEAN)
    node = JoinOn(tax.node, areas.node, JoinKind.INNER, on, tax.node.columns + areas.node.columns)
    plan = compiled(node, [tax["period"]])
    first = areas.node.columns[0].id
    claim = Claim(24, 12, 1, {"m0": (0, 1)}, public_multiplicities={first: 2})
    refuses(plan, claim, "rows of one unit in one group")
    check(plan, replace(claim, rows_per_group=24))
    check(plan, replace(claim, rows_per_unit=12, public_multiplicities={first: 1}))


@pytest.mark.parametrize("multiplicity", [1, 2])
def test_public_columns_follow_the_unit_only_through_constant_keys(multiplicity: int) -> None:
    registration, areas = scan("registration"), scan("areas")
    on = Apply("==", (registration["district"], areas["code"]), BOOLEAN)
    columns = registration.node.columns + areas.node.columns
    plan = compiled(
        JoinOn(registration.node, areas.node, JoinKind.INNER, on, columns), [areas["region"]]
    )
    claim = Claim(
        2, 1, 2, {"m0": (0, 1)}, public_multiplicities={areas.node.columns[0].id: multiplicity}
    )
    if multiplicity == 1:
        check(plan, claim)
    else:
        refuses(plan, claim, "groups of one unit")


def test_tables_of_different_units_do_not_join() -> None:
    node, *_ = joined()
    people = replace(FACTS["registration"], unit_domain="person")
    plan = compiled(node)
    with pytest.raises(CertificateError, match="unit of both sides"):
        certify(plan, Claim(12, 1, 12, {"m0": (0, 1)}), {**FACTS, "registration": people}, range)


def test_a_union_of_different_units_is_refused() -> None:
    a, b = scan("penalties", "uscc"), scan("registration", "uscc")
    plan = compiled(UnionAll((a.node, b.node), (new_column("uscc", STRING),)))
    claim = Claim(7, 1, 7, {"m0": (0, 1)})
    check(plan, claim)
    people = replace(FACTS["registration"], unit_domain="person")
    with pytest.raises(CertificateError, match="different units"):
        certify(plan, claim, {**FACTS, "registration": people}, range)


def test_a_literal_of_another_type_pins_nothing() -> None:
    tax = scan("tax")
    node = Where(tax.node, Apply("==", (tax["period"], Const(202503, LONG)), BOOLEAN))
    refuses(compiled(node), Claim(1, 1, 1, {"m0": (0, 1)}), "rows of one unit")


def test_distinct_pairs_are_one_row_for_each_pair_and_no_less() -> None:
    penalties = scan("penalties")
    node = DistinctOn(penalties.node, (penalties["uscc"].id, penalties["kind"].id))
    claim = Claim(6, 1, 1, {"m0": (0, 1)})
    refuses(compiled(node), claim, "rows of one unit")
    check(compiled(node, [penalties["kind"]]), replace(claim, groups_per_unit=6))


def test_a_left_join_on_more_than_the_unit_has_no_constants_on_its_right() -> None:
    tax, registration = scan("tax"), scan("registration")
    unit = Apply("==", (tax["uscc"], registration["uscc"]), BOOLEAN)
    more = Apply("==", (tax["note"], registration["district"]), BOOLEAN)
    columns = tax.node.columns + registration.node.columns
    claim = Claim(12, 1, 12, {"m0": (0, 1)})
    for condition, passes in ((unit, True), (Apply("and", (unit, more), BOOLEAN), False)):
        node = JoinOn(tax.node, registration.node, JoinKind.LEFT, condition, columns)
        plan = compiled(node, [registration["founded"]])
        if passes:
            check(plan, claim)
        else:
            refuses(plan, claim, "groups of one unit")


def test_the_unit_of_a_left_joins_right_side_is_no_unit_of_its_rows() -> None:
    """It is null where nothing matched: rows distinct by it may be many."""
    tax, registration = scan("tax"), scan("registration")
    on = Apply("==", (tax["uscc"], registration["uscc"]), BOOLEAN)
    columns = tax.node.columns + registration.node.columns
    node = JoinOn(tax.node, registration.node, JoinKind.LEFT, on, columns)
    by_left = DistinctOn(node, (tax["uscc"].id,))
    claim = Claim(1, 1, 1, {"m0": (0, 1)})
    check(compiled(by_left), claim)
    right = f"c{registration['uscc'].id}"
    other = swapped(compiled(by_left), First, lambda n: replace(n, by=(right,)))
    refuses(other, claim, "rows of one unit")
    with pytest.raises(Refusal):
        compiled(DistinctOn(node, (registration["uscc"].id,)))


@pytest.mark.parametrize(("function", "groups"), [("<=", 2), (">", 10), ("!=", 11)])
def test_comparisons_leave_fewer_of_the_declared_values(function: str, groups: int) -> None:
    tax = scan("tax")
    node = Where(tax.node, Apply(function, (tax["period"], number(202502)), BOOLEAN))
    plan = compiled(node, [tax["period"]])
    claim = Claim(groups, groups, 1, {"m0": (0, 1)})
    check(plan, claim)
    refuses(plan, replace(claim, groups_per_unit=groups - 1), "groups of one unit")


def test_a_literal_on_the_left_compares_the_other_way_round() -> None:
    tax = scan("tax")
    node = Where(tax.node, Apply("<", (number(202502), tax["period"]), BOOLEAN))
    check(compiled(node, [tax["period"]]), Claim(10, 10, 1, {"m0": (0, 1)}))


def test_whole_numbers_that_a_condition_chooses_are_as_few_as_its_answers() -> None:
    """Keys are cast to their own type; the cast changes none of the listed values."""
    tax = scan("tax")
    early = Apply("<=", (tax["period"], number(202506)), BOOLEAN)
    half = Apply("when", (early, number(1), number(2)), INTEGER)
    key, total = new_column("half", INTEGER), new_column("total", LONG)
    count = AggregateCall(AggregateKind.COUNT_ROWS)
    keys = ((tax.node.columns[0], tax["uscc"]), (key, half))
    plan = compiled(Group(tax.node, keys, ((total, count),)))
    claim = Claim(2, 1, 2, {"m0": (0, 1)})
    check(plan, claim)
    refuses(plan, replace(claim, rows_per_unit=1), "rows of one unit")
