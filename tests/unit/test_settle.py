"""Which public plans may stay in a private plan, and how evaluated rows are named."""

import pyarrow as pa
import pytest

from privacy.dp.plan import (
    Apply,
    Column,
    Const,
    DistinctOn,
    Expr,
    Group,
    Local,
    Node,
    Project,
    Ref,
    Scan,
    Slice,
    SortBy,
    Where,
)
from privacy.dp.types import DataType
from sandbox.engine.settle import is_settled, settled

X = Column(1, "x", DataType.DOUBLE)
SCAN = Scan("districts", (X,), ("x",))
REF = Ref(1, DataType.DOUBLE)
ZERO = Const(0.0, DataType.DOUBLE)


def apply(function: str, *args: Expr, kind: DataType = DataType.BOOLEAN) -> Apply:
    return Apply(function, args, kind, nullable=True)


POSITIVE = apply(">", REF, ZERO)
GROWTH = apply(">", apply("exp", REF, kind=DataType.DOUBLE), ZERO)
RENAMED = Project(SCAN, ((Column(2, "y", DataType.DOUBLE), REF),))
COMPUTED = Project(
    SCAN, ((Column(2, "y", DataType.DOUBLE), apply("exp", REF, kind=DataType.DOUBLE)),)
)


@pytest.mark.parametrize("node", [SCAN, RENAMED, Where(RENAMED, POSITIVE), Where(SCAN, POSITIVE)])
def test_a_table_filtered_by_comparisons_stays(node: Node) -> None:
    assert is_settled(node)


@pytest.mark.parametrize(
    "node",
    [
        Where(SCAN, GROWTH),
        Where(Where(SCAN, GROWTH), POSITIVE),
        COMPUTED,
        Slice(SCAN, 3, 0),
        SortBy(SCAN, ()),
        DistinctOn(SCAN, (1,)),
        Group(SCAN, (), ()),
        Local("ab", (X,), ("x",)),
    ],
)
def test_what_could_come_out_differently_does_not(node: Node) -> None:
    assert not is_settled(node)


def named(*rows: float | None, kind: pa.DataType | None = None) -> str:
    plan, _ = settled(SCAN, pa.table({"x": pa.array(rows, kind or pa.float64())}))
    return plan.digest


def test_rows_are_named_by_what_they_are_and_not_by_their_order() -> None:
    assert named(1.0, None, 2.0) == named(2.0, 1.0, None)
    others = {
        named(1.0, 2.0),
        named(1.0, 2.0, 2.0),
        named(1.0, 2.0 + 2**-50),
        named(1, 2, kind=pa.int64()),
    }
    assert len(others | {named()}) == 5


def test_the_plan_reads_the_rows_by_position() -> None:
    table = pa.table([pa.array([1]), pa.array(["a"])], names=["same", "same"])
    columns = (Column(1, "same", DataType.LONG), Column(2, "same", DataType.STRING))
    plan, rows = settled(Local("ab", columns, ("same", "same")), table)
    assert plan.columns == columns
    assert plan.sources == tuple(rows.column_names) == ("f0", "f1")
