"""What a condition says of single columns, and what it does not say."""

import pytest

from privacy.dp.plan import Apply, Const, Expr, Ref
from privacy.dp.predicate import not_null, pin
from privacy.dp.types import DataType

N, B = DataType.INTEGER, DataType.BOOLEAN
COLUMN, FIVE = Ref(1, N), Const(5, N)


@pytest.mark.parametrize(
    ("function", "args", "column"),
    [
        ("==", (COLUMN, FIVE), 1),
        ("==", (FIVE, COLUMN), 1),
        ("in", (COLUMN, FIVE), 1),
        ("in", (FIVE, COLUMN, FIVE), None),
        ("<=>", (COLUMN, FIVE), None),
        ("isnull", (COLUMN,), None),
    ],
)
def test_a_column_is_present_only_where_the_condition_needs_it(
    function: str, args: tuple[Expr, ...], column: int | None
) -> None:
    assert not_null(Apply(function, args, B)) == column


@pytest.mark.parametrize(
    "condition",
    [
        Apply("in", (FIVE, COLUMN, FIVE), B),
        Apply("in", (COLUMN, FIVE, Const(None, N)), B),
        Apply("==", (Ref(1, DataType.DOUBLE), Const(5.0, DataType.DOUBLE)), B),
        Apply("==", (Apply("cast", (COLUMN,), DataType.LONG), Const(5, DataType.LONG)), B),
        Apply("or", (Apply("==", (COLUMN, FIVE), B), Apply("==", (COLUMN, FIVE), B)), B),
    ],
)
def test_only_plain_equality_with_literals_of_its_own_type_pins_a_column(condition: Expr) -> None:
    assert pin(condition) is None
