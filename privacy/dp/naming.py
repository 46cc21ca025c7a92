"""The names of columns that nobody named, spelled as Spark spells them.

Names come from what the client wrote, before types and conversions are known. Spark's DataFrame
API and its SQL sometimes reach one function by different names (`negative(i)` and `(- i)`); the
function name that arrived decides, as in Spark.

Source: Spark 4.3 `toPrettySQL`, `usePrettyExpression` and the `sql` of each expression.
"""

import datetime as dt
import math
from collections.abc import Mapping
from decimal import Decimal

from privacy.dp.expr import Alias, Call, Cast, Expression, Literal, Name, Star
from privacy.dp.iterate import Steps, drive
from privacy.dp.types import DataType, Value

_INFIX: Mapping[str, str] = {
    "==": "=",
    "=": "=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
    "<=>": "<=>",
    "+": "+",
    "-": "-",
    "*": "*",
    "/": "/",
    "%": "%",
    "div": "div",
    "and": "AND",
    "or": "OR",
}

_CAPITALS = frozenset(
    {"ceil", "exp", "floor", "log10", "power", "regexp_like", "rlike", "signum", "sqrt"}
)
"""Functions whose Spark expression prints its own name in capitals."""

_DEFAULTS: Mapping[str, tuple[int, str]] = {
    "round": (1, "0"),
    "bround": (1, "0"),
    "percentile": (2, "1"),
    "percentile_approx": (2, "10000"),
    "approx_percentile": (2, "10000"),
    "replace": (2, ""),
    "lpad": (2, " "),
    "rpad": (2, " "),
}
"""Number of arguments at which Spark prints one more, its default."""

_CAST_NAMES = frozenset({"boolean", "int", "bigint", "double", "string", "date"})
"""Functions that are casts: `int(x)` prints as one."""

_TYPE_NAMES: Mapping[DataType, str] = {DataType.NULL: "VOID"}


def output_name(expression: Expression) -> str:
    """Return the name of the column that `expression` becomes in a select list."""
    named = expression
    while True:  # A cast of a named column keeps the column's name.
        if isinstance(named, Cast):
            named = named.operand
        elif isinstance(named, Call) and named.function in _CAST_NAMES and len(named.args) == 1:
            named = named.args[0]
        else:
            break
    if isinstance(named, Name):
        return named.parts[-1]
    return pretty(expression)


def pretty(expression: Expression) -> str:
    """Return `expression` as Spark prints it, without qualifiers and without implicit casts."""
    return drive(_pretty(expression))


def literal_text(value: Value) -> str:
    """Return a literal as Spark prints it in a name; text stands without quotes."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _double_text(value)
    if isinstance(value, dt.date):
        return f"DATE '{value.isoformat()}'"
    return str(value)


def pivot_text(value: Value) -> str:
    """Return the column name that a pivot value becomes."""
    if value is None:
        return "null"
    return value.isoformat() if isinstance(value, dt.date) else literal_text(value)


def _pretty(expression: Expression) -> Steps[str]:
    match expression:
        case Name():
            return expression.parts[-1]
        case Star():
            return ".".join((*expression.qualifier, "*"))
        case Literal():
            return literal_text(expression.value)
        case Alias():
            operand = yield _pretty(expression.operand)
            return f"{operand} AS {expression.name}"
        case Cast():
            operand = yield _pretty(expression.operand)
            return _cast_text(operand, expression.type)
        case Call():
            args: list[str] = []
            for arg in expression.args:
                text: str = yield _pretty(arg)
                args.append(text)
            return _call_text(expression, args)


def _call_text(call: Call, args: list[str]) -> str:
    function = call.function
    if function == "count" and any(isinstance(a, Star) for a in call.args) and not call.distinct:
        args = ["1"]
    if function in _INFIX and len(args) == 2:  # noqa: PLR2004 - an infix operator has two sides
        return f"({args[0]} {_INFIX[function]} {args[1]})"
    if function in _CAST_NAMES and len(args) == 1:
        return _cast_text(args[0], DataType(function))
    default = _DEFAULTS.get(function)
    if default is not None and len(args) == default[0]:
        args = [*args, default[1]]
    match function, args:
        case (("!=" | "<>"), [left, right]):
            return f"(NOT ({left} = {right}))"
        case (("not" | "!"), [operand]):
            return f"(NOT {operand})"
        case "positive", [operand]:
            return f"(+ {operand})"
        case "isnull", [operand]:
            return f"({operand} IS NULL)"
        case "isnotnull", [operand]:
            return f"({operand} IS NOT NULL)"
        case "in", [operand, *values]:
            return f"({operand} IN ({', '.join(values)}))"
        case "like", [operand, pattern]:
            return f"{operand} LIKE {pattern}"
        case "if", [_, _, _]:
            return f"(IF({', '.join(args)}))"
        case "when", _:
            return _case_text(args)
        case "log", [operand]:
            return f"LOG(E(), {operand})"
    shown = function.upper() if function in _CAPITALS else function
    return f"{shown}({'DISTINCT ' if call.distinct else ''}{', '.join(args)})"


def _case_text(args: list[str]) -> str:
    pairs = len(args) // 2
    branches = " ".join(f"WHEN {args[2 * i]} THEN {args[2 * i + 1]}" for i in range(pairs))
    otherwise = f" ELSE {args[-1]}" if len(args) % 2 else ""
    return f"CASE {branches}{otherwise} END"


def _cast_text(operand: str, kind: DataType) -> str:
    return f"CAST({operand} AS {_TYPE_NAMES.get(kind, kind.value.upper())})"


def _double_text(value: float) -> str:
    """Return a double as Java's `Double.toString` prints it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    exact = Decimal(repr(value))
    if value == 0 or 1e-3 <= abs(value) < 1e7:  # noqa: PLR2004 - Java's range of plain notation
        plain = f"{exact:f}"
        return plain if "." in plain else f"{plain}.0"
    sign, digits, exponent = exact.normalize().as_tuple()
    first, rest = str(digits[0]), "".join(map(str, digits[1:])) or "0"
    return f"{'-' if sign else ''}{first}.{rest}E{len(digits) - 1 + int(exponent)}"
