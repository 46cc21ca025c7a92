"""Expressions as a client wrote them: names not yet looked up, types not yet known, nothing judged.

Function names are Spark's, in lower case, operators included (`+`, `==`, `<=>`, `and`, `not`,
`isnull`, `in`, `like`, `when`). `when` takes condition, value, condition, value, …, and an optional
last default; `in` takes the tested expression, then the candidates.
"""

from dataclasses import dataclass

from privacy.dp.types import DataType, Value


@dataclass(frozen=True, slots=True)
class Name:
    """A column by name: `("district",)` or `("t", "district")`; matched without regard to case."""

    parts: tuple[str, ...]
    plan_id: int | None = None
    """The client-side DataFrame that the name is bound to (`df.district`), if any."""


@dataclass(frozen=True, slots=True)
class Star:
    """All columns, of one alias (`t.*`) or of the whole input."""

    qualifier: tuple[str, ...] = ()
    plan_id: int | None = None


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; a decimal literal arrives here as DOUBLE (documented difference from Spark)."""

    value: Value
    type: DataType


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator call, aggregates included."""

    function: str
    args: tuple["Expression", ...]
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Cast:
    """A conversion; always the total kind (null where the value does not convert)."""

    operand: "Expression"
    type: DataType


@dataclass(frozen=True, slots=True)
class Alias:
    """A named expression."""

    operand: "Expression"
    name: str


@dataclass(frozen=True, slots=True)
class SortKey:
    """One term of an ordering. Spark's default: ascending puts nulls first, descending last."""

    operand: "Expression"
    ascending: bool = True
    nulls_first: bool = True


Expression = Name | Star | Literal | Call | Cast | Alias
