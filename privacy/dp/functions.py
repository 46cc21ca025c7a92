"""The allow-list of scalar functions: what each takes, what it gives, and when it may be null.

The reference is Spark 4.3 with ANSI mode off. `call` puts Spark's implicit conversions into the
plan as explicit `cast` nodes, so that nothing below has to know them. Synonyms (`ifnull`, `power`,
`ucase`, …) arrive in the plan under one canonical name, the key of `FUNCTIONS`.

Source: Spark 4.3 `FunctionRegistry`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from privacy.dp.coercion import as_date, cast, compared, is_nullable, mismatch, widest
from privacy.dp.plan import Apply, Const, Expr, Ref
from privacy.dp.types import INT_MIN, LONG_MIN, DataType
from privacy.errors import Refusal

BOOLEAN, INTEGER, LONG, DOUBLE = (
    DataType.BOOLEAN,
    DataType.INTEGER,
    DataType.LONG,
    DataType.DOUBLE,
)
STRING, DATE, NULL = DataType.STRING, DataType.DATE, DataType.NULL

MAX_PATTERN_LENGTH = 500
"""Characters of a literal pattern or separator."""

MAX_REPEAT = 1000
"""Largest literal count of `repeat`, `lpad` and `rpad`: a row's text stays small."""

DATE_PATTERN = "yyyy-MM-dd"
"""The one pattern of `to_date`."""

TRUNC_UNITS: Mapping[str, str] = {
    **dict.fromkeys(("year", "yyyy", "yy"), "year"),
    "quarter": "quarter",
    **dict.fromkeys(("month", "mon", "mm"), "month"),
    "week": "week",
}
"""Spark's names of the units of `trunc`, and the one that reaches the plan."""

_INJECTIVE_CASTS = frozenset({(INTEGER, LONG), (INTEGER, DOUBLE)})


class Nullability(StrEnum):
    """When a result can be null."""

    ANY = "any"
    """If any argument can."""
    ALL = "all"
    """If every argument can."""
    ALWAYS = "always"
    NEVER = "never"


Rule = Callable[[str, tuple[Expr, ...]], tuple[tuple[Expr, ...], DataType]]
"""From name and arguments to converted arguments and result type; refuses what does not fit."""


@dataclass(frozen=True, slots=True)
class Function:
    """The signature of one function of the allow-list."""

    least: int
    """Fewest arguments."""
    most: int | None
    """Most arguments; None means any number."""
    rule: Rule
    nullability: Nullability = Nullability.ANY
    literals: frozenset[int] = frozenset()
    """Positions whose arguments must be literals."""
    injective: bool = False
    """Whether different arguments always give different results (for one column; soundness A.4)."""


SYNONYMS: Mapping[str, str] = {
    "=": "==",
    "<>": "!=",
    "!": "not",
    "mod": "%",
    "ifnull": "coalesce",
    "nvl": "coalesce",
    "ceiling": "ceil",
    "power": "pow",
    "signum": "sign",
    "dayofmonth": "day",
    "dateadd": "date_add",
    "date_diff": "datediff",
    "ucase": "upper",
    "lcase": "lower",
    "char_length": "length",
    "character_length": "length",
    "len": "length",
    "substr": "substring",
    "regexp": "rlike",
    "regexp_like": "rlike",
}


def call(function: str, args: tuple[Expr, ...]) -> Expr:
    """Return the typed application of an allow-listed function; refuse anything else."""
    name = function.lower()
    sugar = _SUGAR.get(name)
    if sugar is not None:
        least, most, build = sugar
        _check_arity(name, least, most, len(args))
        return build(args)
    canonical = SYNONYMS.get(name, name)
    signature = FUNCTIONS.get(canonical)
    if signature is None:
        raise unknown(name)
    _check_arity(name, signature.least, signature.most, len(args))
    coerced, result = signature.rule(canonical, args)
    for position in signature.literals:
        if position < len(coerced) and not isinstance(coerced[position], Const):
            raise Refusal(
                "UNSUPPORTED",
                f"Argument {position + 1} of `{name}` has to be a literal, not a column.",
                f"`{name}` 的第 {position + 1} 个参数必须是字面量，不能是列。",
            )
    return Apply(canonical, coerced, result, _nullable(canonical, signature, coerced))


def is_injective(expr: Expr) -> bool:
    """Return whether `expr` is a chain of allow-listed injective functions over one column."""
    while isinstance(expr, Apply):
        if expr.function == "cast":
            pair = (expr.args[0].type, expr.type)
            if pair[0] is not pair[1] and pair not in _INJECTIVE_CASTS:
                return False
        elif not FUNCTIONS[expr.function].injective:
            return False
        expr = expr.args[0]
    return isinstance(expr, Ref)


def unknown(name: str) -> Refusal:
    """Return the refusal of a function that is not on the allow-list, with the nearest that are."""
    if name == "array":
        return Refusal(
            "UNSUPPORTED",
            "Arrays are not available. For several percentiles, call the function once for each.",
            "不支持数组。如需多个百分位，请分别调用该函数。",
        )
    near = get_close_matches(name, [*FUNCTIONS, *SYNONYMS], n=3)
    also = f" Nearest: {', '.join(near)}." if near else ""
    return Refusal(
        "UNSUPPORTED",
        f"The function `{name}` is not available here.{also}",
        f"此处不支持函数 `{name}`。" + (f"相近的有：{'、'.join(near)}。" if near else ""),
    )


def _check_arity(name: str, least: int, most: int | None, given: int) -> None:
    if least <= given and (most is None or given <= most):
        return
    wanted = str(least) if least == most else f"{least} to {most}" if most else f"at least {least}"
    raise Refusal(
        "UNSUPPORTED",
        f"`{name}` takes {wanted} arguments here, not {given}.",
        f"`{name}` 此处接受的参数个数为 {wanted}，而不是 {given}。",
    )


def _nullable(name: str, signature: Function, args: tuple[Expr, ...]) -> bool:
    if name == "when":
        return len(args) % 2 == 0 or any(map(is_nullable, (*args[1::2], args[-1])))
    if name == "concat_ws":
        return is_nullable(args[0])
    match signature.nullability:
        case Nullability.ANY:
            return any(map(is_nullable, args))
        case Nullability.ALL:
            return all(map(is_nullable, args))
        case Nullability.ALWAYS:
            return True
        case Nullability.NEVER:
            return False


def _fixed(codes: str, result: DataType) -> Rule:
    """Return a rule by letters, the last repeating: s text, d double, i int, t date, b boolean."""

    def rule(function: str, args: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], DataType]:
        padded = codes + codes[-1] * len(args)
        return tuple(_argument(function, c, a) for c, a in zip(padded, args, strict=False)), result

    return rule


def _argument(function: str, code: str, arg: Expr) -> Expr:
    kind = arg.type
    match code:
        case "s":
            return cast(arg, STRING)
        case "d" if kind.is_numeric or kind is NULL:
            return cast(arg, DOUBLE)
        case "i" if kind in (INTEGER, NULL):
            return cast(arg, INTEGER)
        case "t" if kind in (STRING, DATE, NULL):
            return as_date(function, arg)
        case "b" if kind in (BOOLEAN, NULL):
            return cast(arg, BOOLEAN)
    wanted = {"d": "a number", "i": "an int", "t": "a date", "b": "a boolean"}[code]
    raise mismatch(function, (kind,), wanted)


def _numbers(function: str, args: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], DataType]:
    types = tuple(a.type for a in args)
    common = widest(types)
    if common is NULL:
        common = DOUBLE
    if common is None or not common.is_numeric:
        wanted = "numbers"
        if DATE in types:
            wanted = "numbers (for dates: date_add, date_sub, datediff)"
        raise mismatch(function, types, wanted)
    return tuple(cast(a, common) for a in args), common


def _whole_division(function: str, args: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], DataType]:
    coerced, common = _numbers(function, args)
    if not common.is_integral:
        raise mismatch(function, tuple(a.type for a in args), "whole numbers")
    return coerced, LONG


def _comparison(function: str, args: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], DataType]:
    return compared(function, args), BOOLEAN


def _nullif(function: str, args: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], DataType]:
    coerced = compared(function, args)
    if coerced[0].type is not args[0].type:
        # The result keeps the first argument's type, so only the second may be converted.
        raise mismatch(function, tuple(a.type for a in args), "a second argument like the first")
    return coerced, args[0].type


def _common(function: str, args: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], DataType]:
    types = tuple(a.type for a in args)
    common = widest(types, text=True)
    if common is None:
        raise mismatch(function, types, "values of one type")
    return tuple(cast(a, common) for a in args), common


def _extreme(function: str, args: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], DataType]:
    types = tuple(a.type for a in args)
    common = widest(types)
    if common is None:
        raise mismatch(function, types, "values of one type")
    return tuple(cast(a, common) for a in args), common


def _when(function: str, args: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], DataType]:
    values, result = _common(function, args[1::2] + ((args[-1],) if len(args) % 2 else ()))
    coerced: list[Expr] = []
    for position, condition in enumerate(args[0 : len(args) - 1 : 2]):
        coerced += [_argument(function, "b", condition), values[position]]
    return (*coerced, *values[len(args) // 2 :]), result


def _round(function: str, args: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], DataType]:
    (value,), kind = _numbers(function, args[:1])
    digits = _argument(function, "i", args[1]) if len(args) > 1 else Const(0, INTEGER)
    return (value, digits), kind


def _to_whole(function: str, args: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], DataType]:
    return _numbers(function, args)[0], LONG


def _trunc(function: str, args: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], DataType]:
    date, unit = _argument(function, "t", args[0]), args[1]
    if isinstance(unit, Const) and isinstance(unit.value, str):
        known = TRUNC_UNITS.get(unit.value.lower())
        if known is not None:
            return (date, Const(known, STRING)), DATE
    raise Refusal(
        "UNSUPPORTED",
        "`trunc` takes a date and one of the literals 'year', 'quarter', 'month', 'week'.",
        "`trunc` 的参数为日期和以下字面量之一：'year'、'quarter'、'month'、'week'。",
    )


def _to_date(function: str, args: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], DataType]:
    text, pattern = args
    if pattern != Const(DATE_PATTERN, STRING):
        raise Refusal(
            "UNSUPPORTED",
            f"`{function}` understands the literal pattern '{DATE_PATTERN}' only.",
            f"`{function}` 仅支持字面量格式 '{DATE_PATTERN}'。",
        )
    return (cast(text, STRING), pattern), DATE


def _bounded(rule: Rule, position: int) -> Rule:
    """Add to `rule` that the literal at `position` is small: a pattern, or a count."""

    def checked(function: str, args: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], DataType]:
        coerced, result = rule(function, args)
        literal = coerced[position] if position < len(coerced) else None
        if isinstance(literal, Const):
            value = literal.value
            if isinstance(value, str) and len(value) > MAX_PATTERN_LENGTH:
                raise _too_big(function, len(value), MAX_PATTERN_LENGTH)
            if isinstance(value, int) and value > MAX_REPEAT:
                raise _too_big(function, value, MAX_REPEAT)
        return coerced, result

    return checked


def _too_big(function: str, given: int, limit: int) -> Refusal:
    return Refusal(
        "UNSUPPORTED",
        f"`{function}` takes a literal of at most {limit}, not {given}.",
        f"`{function}` 的字面量上限为 {limit}，而不是 {given}。",
    )


def _padded(function: str, args: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], DataType]:
    full = args if len(args) > 2 else (*args, Const(" ", STRING))  # noqa: PLR2004 - Spark's default
    return _fixed("sis", STRING)(function, full)


def _replaced(function: str, args: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], DataType]:
    full = args if len(args) > 2 else (*args, Const("", STRING))  # noqa: PLR2004 - Spark's default
    return _fixed("s", STRING)(function, full)


def _between(args: tuple[Expr, ...]) -> Expr:
    value, low, high = args
    return call("and", (call(">=", (value, low)), call("<=", (value, high))))


def _nvl2(args: tuple[Expr, ...]) -> Expr:
    return call("when", (call("isnotnull", args[:1]), *args[1:]))


def _read_date(args: tuple[Expr, ...]) -> Expr:
    if len(args) == 1:
        return _argument("to_date", "t", args[0])
    coerced, result = _to_date("to_date", args)
    return Apply("to_date", coerced, result, nullable=True)


def _unary_minus(args: tuple[Expr, ...]) -> Expr:
    (operand,) = args
    if isinstance(operand, Const) and operand.type.is_numeric:
        value = operand.value
        if isinstance(value, int | float) and value not in (INT_MIN, LONG_MIN):
            return Const(-value, operand.type)
    coerced, kind = _numbers("negative", args)
    return Apply("negative", coerced, kind, is_nullable(operand))


_SUGAR: Mapping[str, tuple[int, int, Callable[[tuple[Expr, ...]], Expr]]] = {
    "between": (3, 3, _between),
    "if": (3, 3, lambda args: call("when", args)),
    "nvl2": (3, 3, _nvl2),
    "to_date": (1, 2, _read_date),
    "negative": (1, 1, _unary_minus),
    "positive": (1, 1, lambda args: _numbers("positive", args)[0][0]),
    **{
        name: (1, 1, lambda args, target=target: cast(args[0], target))  # type: ignore[misc]
        for name, target in {
            "boolean": BOOLEAN,
            "int": INTEGER,
            "bigint": LONG,
            "double": DOUBLE,
            "string": STRING,
            "date": DATE,
        }.items()
    },
}
"""Calls that are written with other functions."""

_TEXT_TO_TEXT = _fixed("s", STRING)
_ALWAYS, _ALL, _NEVER = Nullability.ALWAYS, Nullability.ALL, Nullability.NEVER

FUNCTIONS: Mapping[str, Function] = {
    **{f: Function(2, 2, _numbers) for f in ("+", "-", "*")},
    **{f: Function(2, 2, _numbers, _ALWAYS) for f in ("%", "pmod")},
    "/": Function(2, 2, _fixed("d", DOUBLE), _ALWAYS),
    "div": Function(2, 2, _whole_division, _ALWAYS),
    "negative": Function(1, 1, _numbers, injective=True),
    "abs": Function(1, 1, _numbers),
    **{f: Function(2, 2, _comparison) for f in ("==", "!=", "<", "<=", ">", ">=")},
    "<=>": Function(2, 2, _comparison, _NEVER),
    "and": Function(2, 2, _fixed("b", BOOLEAN)),
    "or": Function(2, 2, _fixed("b", BOOLEAN)),
    "not": Function(1, 1, _fixed("b", BOOLEAN)),
    "isnull": Function(1, 1, lambda _, args: (args, BOOLEAN), _NEVER),
    "isnotnull": Function(1, 1, lambda _, args: (args, BOOLEAN), _NEVER),
    "isnan": Function(1, 1, _fixed("d", BOOLEAN), _NEVER),
    "coalesce": Function(1, None, _common, _ALL),
    "nullif": Function(2, 2, _nullif, _ALWAYS),
    "when": Function(2, None, _when),
    "in": Function(2, None, _comparison),
    "round": Function(1, 2, _round, _ALWAYS, literals=frozenset({1})),
    "bround": Function(1, 2, _round, _ALWAYS, literals=frozenset({1})),
    "floor": Function(1, 1, _to_whole, _ALWAYS),
    "ceil": Function(1, 1, _to_whole, _ALWAYS),
    "sqrt": Function(1, 1, _fixed("d", DOUBLE), _ALWAYS),
    "exp": Function(1, 1, _fixed("d", DOUBLE), _ALWAYS),
    "ln": Function(1, 1, _fixed("d", DOUBLE), _ALWAYS),
    "log10": Function(1, 1, _fixed("d", DOUBLE), _ALWAYS),
    "pow": Function(2, 2, _fixed("d", DOUBLE)),
    "sign": Function(1, 1, _fixed("d", DOUBLE), _ALWAYS),
    "greatest": Function(2, None, _extreme, _ALL),
    "least": Function(2, None, _extreme, _ALL),
    **{
        f: Function(1, 1, _fixed("t", INTEGER))
        for f in ("year", "month", "day", "quarter", "dayofweek", "weekofyear", "dayofyear")
    },
    "date_add": Function(2, 2, _fixed("ti", DATE), _ALWAYS),  # null outside 0001–9999
    "date_sub": Function(2, 2, _fixed("ti", DATE), _ALWAYS),  # null outside 0001–9999
    "add_months": Function(2, 2, _fixed("ti", DATE), _ALWAYS),  # null outside 0001–9999
    "datediff": Function(2, 2, _fixed("tt", INTEGER)),
    "trunc": Function(2, 2, _trunc, _ALWAYS, frozenset({1})),
    "last_day": Function(1, 1, _fixed("t", DATE)),
    "to_date": Function(2, 2, _to_date, _ALWAYS, frozenset({1})),
    "make_date": Function(3, 3, _fixed("i", DATE), _ALWAYS),
    **{
        f: Function(1, 1, _TEXT_TO_TEXT)
        for f in ("upper", "lower", "trim", "ltrim", "rtrim", "reverse")
    },
    "length": Function(1, 1, _fixed("s", INTEGER)),
    "substring": Function(2, 3, _fixed("si", STRING)),
    "left": Function(2, 2, _fixed("si", STRING)),
    "right": Function(2, 2, _fixed("si", STRING)),
    "concat": Function(1, None, _TEXT_TO_TEXT),
    "concat_ws": Function(2, None, _bounded(_TEXT_TO_TEXT, 0), literals=frozenset({0})),
    **{f: Function(2, 2, _fixed("s", BOOLEAN)) for f in ("startswith", "endswith", "contains")},
    **{
        f: Function(2, 2, _bounded(_fixed("s", BOOLEAN), 1), literals=frozenset({1}))
        for f in ("like", "rlike")
    },
    "replace": Function(2, 3, _replaced),
    **{
        f: Function(2, 3, _bounded(_padded, 1), literals=frozenset({1, 2}))
        for f in ("lpad", "rpad")
    },
    "instr": Function(2, 2, _fixed("s", INTEGER)),
    "repeat": Function(2, 2, _bounded(_fixed("si", STRING), 1), literals=frozenset({1})),
}
"""Canonical name to signature; `cast` stands beside it, with `CASTS`."""
