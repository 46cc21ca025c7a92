"""The one table of scalar functions: each with a DuckDB and a Spark template that agree exactly.

Every template is total: no value, however odd, raises. The reference is Spark 4.3 with ANSI mode
off, except that what ANSI mode calls an error (an overflow, a date outside the years 1 to 9999,
text
that does not convert) is null, that `upper` and `lower` change A–Z only (the rest depends on a
locale), and that text becomes a number only if it is written in plain digits,
with blanks around them and no line break.
A function absent here is refused: `exp`, `ln`, `log10` and `pow` differ in the last bit between
the two engines.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from privacy.dp.patterns import like_is_valid, translated
from privacy.dp.types import LONG_MAX, LONG_MIN, DataType
from privacy.errors import Refusal
from sandbox.engine.conversions import (
    LOWER_CASE,
    TWO_63,
    UPPER_CASE,
    Builder,
    conversion,
    read_date,
    refused,
)
from sandbox.engine.physical import Call, Lit, Scalar

FIRST_DAY, LAST_DAY = -719162, 2932896
"""0001-01-01 and 9999-12-31 as days since 1970-01-01."""

FIRST_MONTH, LAST_MONTH = 12, 119999
"""January of year 1 and December of year 9999 as 12·year + month − 1."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """How each engine says one function. A template names arguments by number: `{0}`."""

    duckdb: str | Builder
    spark: str | Builder


def render_call(call: Call, args: tuple[str, ...], engine: str, *, public: bool = False) -> str:
    """Return the text of `call` for `engine`; raise `Refusal` if the engines cannot agree on it."""
    rule: str | Builder
    if public and call.function in PUBLIC_ONLY:
        rule = PUBLIC_ONLY[call.function]
    else:
        rendering = TABLE.get(call.function)
        if rendering is None:
            raise refused(call.function)
        rule = rendering.duckdb if engine == "duckdb" else rendering.spark
    return f"({rule(args, call) if callable(rule) else rule.format(*args)})"


def both(template: str | Builder) -> Rendering:
    """Return a rendering whose text is the same in both engines."""
    return Rendering(template, template)


def _joined(operator: str) -> Builder:
    return lambda args, _: f" {operator} ".join(args)


def _integral(call: Call) -> bool:
    return all(a.type.is_integral or a.type is DataType.NULL for a in call.args)


def _wide(args: tuple[str, ...]) -> list[str]:
    return [f"CAST({a} AS BIGINT)" for a in args]


def _arithmetic(operator: str, spark_function: str) -> Rendering:
    """Whole numbers are computed in 64 bits; what does not fit is null in both engines."""

    def duckdb(args: tuple[str, ...], call: Call) -> str:
        if not _integral(call):
            return f"{args[0]} {operator} {args[1]}"
        a, b = _wide(args)
        if all(x.type is DataType.INTEGER and not isinstance(x, Call) for x in call.args):
            return f"{a} {operator} {b}"  # Two 32-bit operands cannot overflow 64 bits.
        return f"TRY({a} {operator} {b})"

    def spark(args: tuple[str, ...], call: Call) -> str:
        if not _integral(call):
            return f"{args[0]} {operator} {args[1]}"
        a, b = _wide(args)
        return f"{spark_function}({a}, {b})"

    return Rendering(duckdb, spark)


def _remainder(args: tuple[str, ...], call: Call) -> str:
    if not _integral(call):
        return f"{args[0]} % NULLIF({args[1]}, CAST(0 AS DOUBLE))"
    a, b = _wide(args)
    # The remainder by -1 is 0; asking for it would overflow at the smallest number.
    return f"CASE WHEN {b} = -1 THEN {a} * 0 ELSE {a} % NULLIF({b}, 0) END"


def _positive_remainder(args: tuple[str, ...], call: Call) -> str:
    plain = _remainder(args, call)
    if not _integral(call):
        again = _remainder((f"(({plain}) + {args[1]})", args[1]), call)
        return f"CASE WHEN ({plain}) < CAST(0 AS DOUBLE) THEN {again} ELSE {plain} END"
    _, b = _wide(args)
    # Below half the range the divisor could push the sum past the smallest number.
    again = _remainder((f"(({plain}) + {b})", args[1]), call)
    return f"CASE WHEN ({plain}) < 0 AND {b} > {-(2**62)} THEN {again} ELSE {plain} END"


def _whole_division(args: tuple[str, ...], operator: str) -> str:
    a, b = _wide(args)
    overflow = f"{a} = CAST('{LONG_MIN}' AS BIGINT) AND {b} = -1"
    return f"CASE WHEN {overflow} THEN NULL ELSE {a} {operator} NULLIF({b}, 0) END"


def _negative(args: tuple[str, ...], call: Call) -> str:
    if _integral(call):
        (a,) = _wide(args)
        return f"0 - NULLIF({a}, CAST('{LONG_MIN}' AS BIGINT))"
    return f"- {args[0]}"


def _absolute(args: tuple[str, ...], call: Call) -> str:
    if _integral(call):
        (a,) = _wide(args)
        return f"abs(NULLIF({a}, CAST('{LONG_MIN}' AS BIGINT)))"
    return f"abs({args[0]})"


def _when(args: tuple[str, ...], _: Call) -> str:
    pairs = [f"WHEN {args[i]} THEN {args[i + 1]}" for i in range(0, len(args) - 1, 2)]
    default = f" ELSE {args[-1]}" if len(args) % 2 else ""
    return f"CASE {' '.join(pairs)}{default} END"


def _in(args: tuple[str, ...], _: Call) -> str:
    return f"{args[0]} IN ({', '.join(args[1:])})"


def _listed(name: str) -> Builder:
    return lambda args, _: f"{name}({', '.join(args)})"


def _to_whole(name: str) -> Builder:
    """Spark's floor and ceil of a double: NaN gives 0, huge values the end of the range."""

    def build(args: tuple[str, ...], call: Call) -> str:
        if _integral(call):
            return _wide(args)[0]
        a = args[0]
        return (
            f"CASE WHEN {a} IS NULL THEN NULL WHEN isnan({a}) THEN CAST(0 AS BIGINT) "
            f"WHEN {a} >= {TWO_63} THEN CAST('{LONG_MAX}' AS BIGINT) "
            f"WHEN {a} <= -{TWO_63} THEN CAST('{LONG_MIN}' AS BIGINT) "
            f"ELSE CAST({name}({a}) AS BIGINT) END"
        )

    return build


def _literal_int(argument: Scalar, function: str) -> int:
    if isinstance(argument, Lit) and isinstance(argument.value, int):
        return argument.value
    raise refused(function)


def _literal_text(argument: Scalar, function: str) -> str:
    if isinstance(argument, Lit) and isinstance(argument.value, str):
        return argument.value
    raise refused(function)


MOST_DIGITS = 9
"""Decimal digits (either way) that `round` takes."""


def _round(engine: str) -> Builder:
    """Half away from zero, of the shortest decimal text of a double: Spark's way."""

    def text(args: tuple[str, ...], call: Call) -> str:
        digits = _literal_int(call.args[1], call.function)
        if abs(digits) > MOST_DIGITS:
            raise refused(call.function)
        a = args[0]
        if call.args[0].type.is_integral:
            return _round_whole(_wide((a,))[0], digits)
        if digits < 0:
            return _round_left(a, 10**-digits)
        # From 2^52 on a double has no fraction; NaN and infinity compare as larger, too.
        whole = f"abs({a}) >= CAST('4503599627370496' AS DOUBLE)"
        rounded = (
            f"CAST(TRY_CAST(CAST({a} AS VARCHAR) AS DECIMAL(38, {digits})) AS DOUBLE)"
            if engine == "duckdb"
            else f"round({a}, {digits})"
        )
        return f"CASE WHEN {whole} THEN {a} ELSE {rounded} END"

    return text


def _round_whole(wide: str, digits: int) -> str:
    if digits >= 0:
        return wide
    factor = 10**-digits
    limit = LONG_MAX - factor
    body = f"({wide} + (CASE WHEN {wide} < 0 THEN -{factor // 2} ELSE {factor // 2} END))"
    return f"CASE WHEN {wide} BETWEEN -{limit} AND {limit} THEN {body} - {body} % {factor} END"


def _round_left(a: str, factor: int) -> str:
    """Round a double before the point, in steps that IEEE 754 fixes exactly."""
    step = f"CAST('{factor}' AS DOUBLE)"
    shrunk = f"(abs({a}) / {step})"
    exact = f"{shrunk} >= CAST('4503599627370496' AS DOUBLE)"
    rounded = f"(floor({shrunk} + CAST('0.5' AS DOUBLE)) * {step})"
    return (
        f"CASE WHEN {exact} THEN {a} WHEN {a} < CAST(0 AS DOUBLE) THEN CAST(- {rounded} AS DOUBLE) "
        f"ELSE CAST({rounded} AS DOUBLE) END"
    )


def _sign(args: tuple[str, ...], _: Call) -> str:
    a = args[0]
    return (
        f"CASE WHEN isnan({a}) THEN {a} WHEN {a} > CAST(0 AS DOUBLE) THEN CAST(1 AS DOUBLE) "
        f"WHEN {a} < CAST(0 AS DOUBLE) THEN CAST(-1 AS DOUBLE) ELSE {a} END"
    )


def _dated(days: str, engine: str) -> str:
    """Return the date of a day number, null outside the years 1 to 9999."""
    made = (
        f"DATE '1970-01-01' + CAST({days} AS INTEGER)"
        if engine == "duckdb"
        else f"date_from_unix_date(CAST({days} AS INTEGER))"
    )
    return f"CASE WHEN {days} BETWEEN {FIRST_DAY} AND {LAST_DAY} THEN {made} END"


def _day_number(date: str, engine: str) -> str:
    if engine == "duckdb":
        return f"CAST({date} - DATE '1970-01-01' AS BIGINT)"
    return f"CAST(unix_date({date}) AS BIGINT)"


def _days_added(operator: str) -> Rendering:
    def build(engine: str) -> Builder:
        def text(args: tuple[str, ...], _: Call) -> str:
            days = f"({_day_number(args[0], engine)} {operator} CAST({args[1]} AS BIGINT))"
            return _dated(days, engine)

        return text

    return Rendering(build("duckdb"), build("spark"))


def _months_added(engine: str) -> Builder:
    def text(args: tuple[str, ...], _: Call) -> str:
        date, months = args[0], f"CAST({args[1]} AS BIGINT)"
        total = f"(CAST(year({date}) AS BIGINT) * 12 + month({date}) - 1 + {months})"
        if engine == "duckdb":
            made = f"CAST({date} + to_months(CAST({months} AS INTEGER)) AS DATE)"
        else:
            made = f"add_months({date}, CAST({months} AS INT))"
        return f"CASE WHEN {total} BETWEEN {FIRST_MONTH} AND {LAST_MONTH} THEN {made} END"

    return text


def _truncated(engine: str) -> Builder:
    def text(args: tuple[str, ...], call: Call) -> str:
        unit = _literal_text(call.args[1], "trunc")
        if unit not in ("year", "quarter", "month", "week"):
            raise refused("trunc")
        if engine == "duckdb":
            return f"CAST(date_trunc('{unit}', {args[0]}) AS DATE)"
        return f"trunc({args[0]}, '{unit}')"

    return text


def _date_made(engine: str) -> Builder:
    def text(args: tuple[str, ...], _: Call) -> str:
        year, month, day = args
        made = f"make_date({year}, {month}, {day})"
        made = f"TRY({made})" if engine == "duckdb" else made
        # Spark raises nothing here with ANSI mode off; the ranges keep DuckDB's own check short.
        inside = (
            f"{year} BETWEEN 1 AND 9999 AND {month} BETWEEN 1 AND 12 AND {day} BETWEEN 1 AND 31"
        )
        return f"CASE WHEN {inside} THEN {made} END"

    return text


def _substring(args: tuple[str, ...], call: Call) -> str:
    """DuckDB in Spark's words: positions from 1 (0 too), negative ones from the end."""
    text, position = args[0], f"CAST({args[1]} AS BIGINT)"
    length = f"CAST({args[2] if len(args) > 2 else 2**31 - 1} AS BIGINT)"  # noqa: PLR2004
    literal = call.args[1]
    start = (
        f"(CASE WHEN {position} > 0 THEN {position} - 1 "
        f"WHEN {position} < 0 THEN length({text}) + {position} ELSE 0 END)"
    )
    if isinstance(literal, Lit) and isinstance(literal.value, int) and literal.value >= 0:
        # Never a bare literal: DuckDB gives it 32 bits, and the sum below would overflow.
        start = f"CAST({max(literal.value - 1, 0)} AS BIGINT)"
    begin = f"GREATEST({start}, 0)"
    return (
        f"CASE WHEN {text} IS NULL OR {args[1]} IS NULL OR {length} IS NULL THEN NULL "
        f"WHEN {start} + {length} <= {begin} THEN '' "
        f"ELSE substring({text}, {begin} + 1, {start} + {length} - {begin}) END"
    )


def _side(name: str) -> Builder:
    def build(args: tuple[str, ...], _: Call) -> str:
        text, size = args
        none = f"WHEN {text} IS NOT NULL AND {size} <= 0 THEN ''"
        return f"CASE WHEN {size} > 0 THEN {name}({text}, {size}) {none} END"

    return build


def _spark_right(args: tuple[str, ...], call: Call) -> str:
    # Spark gives '' for a non-positive size only if the text is not null, as the other engine does.
    return _side("right")(args, call)


def _padded(name: str) -> Builder:
    def build(args: tuple[str, ...], call: Call) -> str:
        size = _literal_int(call.args[1], name)
        if not _literal_text(call.args[2], name):
            raise refused(f"{name} with an empty pad")
        return f"{name}({args[0]}, {max(size, 0)}, {args[2]})"

    return build


def _repeated(args: tuple[str, ...], call: Call) -> str:
    return f"repeat({args[0]}, {max(_literal_int(call.args[1], 'repeat'), 0)})"


def rlike_pattern(call: Call) -> str:
    """Return the literal pattern of an `rlike` in the common language of both engines."""
    return translated(_literal_text(call.args[1], "rlike"))


def like_pattern(call: Call) -> str:
    """Return the literal pattern of a `like`, if every escape in it has a meaning."""
    pattern = _literal_text(call.args[1], "like")
    if not like_is_valid(pattern):
        raise Refusal(
            "UNSUPPORTED",
            "In a `like` pattern, `\\` stands before `%`, `_` or another `\\` only.",
            "`like` 模式中的 `\\` 只能位于 `%`、`_` 或另一个 `\\` 之前。",
        )
    return pattern


_COMPARISONS = {
    "==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="
}  # fmt: skip

TABLE: Mapping[str, Rendering] = {
    "+": _arithmetic("+", "try_add"),
    "-": _arithmetic("-", "try_subtract"),
    "*": _arithmetic("*", "try_multiply"),
    "/": both("{0} / NULLIF({1}, CAST(0 AS DOUBLE))"),
    "%": both(_remainder),
    "pmod": both(_positive_remainder),
    "div": Rendering(
        lambda args, _: _whole_division(args, "//"), lambda args, _: _whole_division(args, "div")
    ),
    "negative": both(_negative),
    "abs": both(_absolute),
    **{name: both(f"{{0}} {sql} {{1}}") for name, sql in _COMPARISONS.items()},
    "<=>": Rendering("{0} IS NOT DISTINCT FROM {1}", "{0} <=> {1}"),
    "and": both(_joined("AND")),
    "or": both(_joined("OR")),
    "not": both("NOT {0}"),
    "isnull": both("{0} IS NULL"),
    "isnotnull": both("{0} IS NOT NULL"),
    "isnan": both("COALESCE(isnan({0}), FALSE)"),
    "coalesce": both(_listed("COALESCE")),
    "nullif": both("NULLIF({0}, {1})"),
    "when": both(_when),
    "in": both(_in),
    "cast": Rendering(conversion("duckdb"), conversion("spark")),
    "round": Rendering(_round("duckdb"), _round("spark")),
    "floor": both(_to_whole("floor")),
    "ceil": both(_to_whole("ceil")),
    "sqrt": both("CASE WHEN {0} < CAST(0 AS DOUBLE) THEN CAST('NaN' AS DOUBLE) ELSE sqrt({0}) END"),
    "sign": both(_sign),
    "greatest": both(_listed("GREATEST")),
    "least": both(_listed("LEAST")),
    **{
        name: both(f"CAST({name}({{0}}) AS INTEGER)")
        for name in ("year", "month", "day", "quarter")
    },
    "dayofweek": Rendering("CAST(dayofweek({0}) + 1 AS INTEGER)", "dayofweek({0})"),
    "weekofyear": both("CAST(weekofyear({0}) AS INTEGER)"),
    "dayofyear": both("CAST(dayofyear({0}) AS INTEGER)"),
    "date_add": _days_added("+"),
    "date_sub": _days_added("-"),
    "datediff": Rendering("CAST({0} - {1} AS INTEGER)", "datediff({0}, {1})"),
    "add_months": Rendering(_months_added("duckdb"), _months_added("spark")),
    "trunc": Rendering(_truncated("duckdb"), _truncated("spark")),
    "last_day": both("last_day({0})"),
    "to_date": Rendering(
        lambda args, _: read_date(args[0], "duckdb"), lambda args, _: read_date(args[0], "spark")
    ),
    "make_date": Rendering(_date_made("duckdb"), _date_made("spark")),
    "upper": both(f"translate({{0}}, '{LOWER_CASE}', '{UPPER_CASE}')"),
    "lower": both(f"translate({{0}}, '{UPPER_CASE}', '{LOWER_CASE}')"),
    "length": both("CAST(length({0}) AS INTEGER)"),
    **{
        name: Rendering(f"{name}({{0}}, ' ')", f"{name}({{0}})")
        for name in ("trim", "ltrim", "rtrim")
    },
    "substring": Rendering(_substring, _listed("substring")),
    "left": both(_side("left")),
    "right": Rendering(_side("right"), _spark_right),
    "concat": Rendering(_joined("||"), _listed("concat")),
    "concat_ws": both(_listed("concat_ws")),
    "startswith": Rendering("starts_with({0}, {1})", "startswith({0}, {1})"),
    "endswith": Rendering("ends_with({0}, {1})", "endswith({0}, {1})"),
    "contains": both("contains({0}, {1})"),
    "like": Rendering("{0} LIKE {1} ESCAPE '\\'", "{0} RLIKE {1}"),
    "rlike": Rendering("regexp_matches({0}, {1})", "{0} RLIKE {1}"),
    "replace": both(_listed("replace")),
    "lpad": both(_padded("lpad")),
    "rpad": both(_padded("rpad")),
    "instr": both("CAST(instr({0}, {1}) AS INTEGER)"),
    "reverse": Rendering(
        "array_to_string(list_reverse(string_split({0}, '')), '')", "reverse({0})"
    ),
    "repeat": both(_repeated),
}
"""Canonical name to rendering. Refused for lack of exact agreement: bround, exp, ln, log10, pow."""

PUBLIC_ONLY: Mapping[str, str | Builder] = {
    "exp": "exp({0})",
    "ln": "CASE WHEN {0} > CAST(0 AS DOUBLE) THEN ln({0}) END",
    "log10": "CASE WHEN {0} > CAST(0 AS DOUBLE) THEN log10({0}) END",
    "pow": "TRY(pow({0}, {1}))",
    "bround": "round_even({0}, {1})",
}
"""Functions of public rows and of answers, where one engine alone computes (DuckDB)."""

REPEATING: Mapping[str, int] = {
    **dict.fromkeys(("/", "nullif", "sqrt", "trunc", "to_date", "last_day", "datediff"), 2),
    **dict.fromkeys(("%", "div", "cast", "round", "sign", "left", "right", "make_date"), 4),
    **dict.fromkeys(("floor", "ceil", "date_add", "date_sub", "add_months"), 6),
    **dict.fromkeys(("pmod", "substring"), 10),
}
"""How often, at most about, a function's text holds one argument: such nests are kept shallow."""
