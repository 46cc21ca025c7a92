"""Conversions between types, total and equal in both engines; and what the templates share."""

from collections.abc import Callable, Mapping

from privacy.dp.types import LONG_MAX, LONG_MIN, DataType
from privacy.errors import Refusal
from sandbox.engine.physical import Call

LOWER_CASE, UPPER_CASE = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

TWO_63 = "CAST('9223372036854775808' AS DOUBLE)"

Builder = Callable[[tuple[str, ...], Call], str]
"""From the arguments' text and the call to the text of the call."""

SQL_TYPES: Mapping[DataType, str] = {
    DataType.BOOLEAN: "BOOLEAN",
    DataType.INTEGER: "INTEGER",
    DataType.LONG: "BIGINT",
    DataType.DOUBLE: "DOUBLE",
    DataType.STRING: "STRING",
    DataType.DATE: "DATE",
    DataType.NULL: "INTEGER",
}
"""Type names that both engines read; the null type is written as a null INTEGER."""


def refused(function: str) -> Refusal:
    """Return the refusal of a function that no template covers."""
    return Refusal(
        "UNSUPPORTED",
        f"`{function}` is not available on rows: two engines do not agree on it for every value. "
        "Apply it to the answer instead.",
        f"行级计算不支持 `{function}`：两个引擎无法在所有取值上一致。请在取得结果后再应用。",
    )


def conversion(engine: str) -> Builder:
    """Return the builder of `cast` for one engine."""

    def text(args: tuple[str, ...], call: Call) -> str:
        source, target, a = call.args[0].type, call.type, args[0]
        match source, target:
            case (DataType.NULL, _):
                return f"CAST(NULL AS {SQL_TYPES[target]})"
            case (DataType.INTEGER | DataType.LONG, DataType.INTEGER):
                # Also from INTEGER: inside expressions whole numbers have 64 bits.
                return f"TRY_CAST({a} AS INTEGER)"
            case (s, t) if s is t:
                return a
            case (DataType.BOOLEAN, DataType.STRING):
                return f"CASE WHEN {a} THEN 'true' WHEN NOT {a} THEN 'false' END"
            case (DataType.BOOLEAN, DataType.INTEGER | DataType.LONG | DataType.DOUBLE):
                return f"CAST(CASE WHEN {a} THEN 1 WHEN NOT {a} THEN 0 END AS {SQL_TYPES[target]})"
            case (DataType.INTEGER | DataType.LONG | DataType.DOUBLE, DataType.BOOLEAN):
                return f"{a} <> 0"
            case (DataType.INTEGER | DataType.LONG, DataType.LONG | DataType.DOUBLE):
                return f"CAST({a} AS {SQL_TYPES[target]})"
            case (DataType.INTEGER | DataType.LONG, DataType.STRING) if engine == "duckdb":
                return f"CAST({a} AS VARCHAR)"
            case (DataType.INTEGER | DataType.LONG, DataType.STRING):
                return f"CAST({a} AS STRING)"
            case (DataType.DOUBLE, DataType.INTEGER | DataType.LONG):
                return _double_to_whole(a, target, engine)
            case (DataType.STRING, _):
                return _from_text(a, target, engine)
            case (DataType.DATE, DataType.STRING):
                return f"CAST({a} AS {'VARCHAR' if engine == 'duckdb' else 'STRING'})"
            case _:
                raise refused(f"cast({source.value} as {target.value})")

    return text


def _double_to_whole(a: str, target: DataType, engine: str) -> str:
    # Towards zero; NaN and what lies outside the type are null (an error in ANSI mode).
    low, high = (-(2**31), 2**31) if target is DataType.INTEGER else (LONG_MIN, 2**63)
    above = ">" if target is DataType.INTEGER else ">="
    bottom = low - 1 if target is DataType.INTEGER else low
    inside = f"{a} {above} CAST('{bottom}' AS DOUBLE) AND {a} < CAST('{high}' AS DOUBLE)"
    cut = f"trunc({a})" if engine == "duckdb" else a
    # 2^63 itself passes Spark's test against the largest long, which has no double of its own.
    edge = f" WHEN {a} = {TWO_63} THEN CAST('{LONG_MAX}' AS BIGINT)"
    top = edge if target is DataType.LONG else ""
    return f"CASE WHEN {inside} THEN CAST({cut} AS {SQL_TYPES[target]}){top} END"


def _from_text(a: str, target: DataType, engine: str) -> str:
    match target:
        case DataType.INTEGER | DataType.LONG:
            shaped = _matches(a, "^ *[+-]?[0-9]+ *$", engine)
            trimmed = f"trim({blanks(a, engine)})"
            return f"CASE WHEN {shaped} THEN TRY_CAST({trimmed} AS {SQL_TYPES[target]}) END"
        case DataType.DOUBLE:
            number = "^ *[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)? *$"
            shaped = _matches(a, number, engine)
            return f"CASE WHEN {shaped} THEN TRY_CAST(trim({blanks(a, engine)}) AS DOUBLE) END"
        case DataType.BOOLEAN:
            word = f"translate(trim({blanks(a, engine)}), '{UPPER_CASE}', '{LOWER_CASE}')"
            return (
                f"CASE WHEN {word} IN ('t', 'true', 'y', 'yes', '1') THEN TRUE "
                f"WHEN {word} IN ('f', 'false', 'n', 'no', '0') THEN FALSE END"
            )
        case DataType.DATE:
            return read_date(a, engine)
        case _:
            raise refused(f"cast(string as {target.value})")


def blanks(a: str, engine: str) -> str:
    """Return the arguments of `trim` that remove blanks, U+0020, and nothing else."""
    return f"{a}, ' '" if engine == "duckdb" else a


def read_date(text: str, engine: str) -> str:
    """Return the date that a text in the form yyyy-MM-dd names, else null."""
    shaped = _matches(text, "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", engine)
    in_years = f"{text} >= '0001-01-01'"
    return f"CASE WHEN {shaped} AND {in_years} THEN TRY_CAST({text} AS DATE) END"


def _matches(text: str, pattern: str, engine: str) -> str:
    """Return whether `text` as a whole matches our own constant pattern (no quote or backslash)."""
    if "'" in pattern or "\\" in pattern or not pattern.endswith("$"):
        raise AssertionError("constant patterns need no escapes, and an end")
    if engine == "duckdb":
        return f"regexp_matches({text}, '{pattern}')"
    # Java's `$` would let a final line break pass.
    closed = pattern.removesuffix("$") + r"\z"
    return f"{text} RLIKE CAST(X'{closed.encode().hex()}' AS STRING)"
