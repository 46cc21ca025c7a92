"""How long the texts of a private row can get, from the question and contracts alone.

Memory is the one thing of a computation that a plan cannot be charged for: a text that only some
rows make long could let a question fail just where such rows exist. What one step makes of a row is
therefore bounded before anything is read, as integers are.
"""

from collections.abc import Callable, Iterable, Mapping

from privacy.dp.plan import Apply, Const, Expr, Ref
from privacy.dp.types import DataType
from privacy.errors import Refusal

MAX_ROW_TEXT = 65_536
"""Characters of all texts that one step of a plan computes from one row."""

MAX_KEY_TEXT = 4_000
"""Characters of all open keys of one group."""

_WRITTEN: Mapping[DataType, int] = {
    DataType.BOOLEAN: len("false"),
    DataType.INTEGER: len("-2147483648"),
    DataType.LONG: len("-9223372036854775808"),
    DataType.DOUBLE: len("-1.7976931348623157E308"),
    DataType.DATE: len("9999-12-31"),
    DataType.NULL: 0,
}
"""The longest that a value of a type is when it is cast to text."""

_CASE_GROWTH = 3
"""One character becomes at most three in another case (Unicode 16, SpecialCasing.txt)."""

Lengths = Mapping[int, int]
"""Characters of the longest text of a column, by its id."""


def check_texts(exprs: Iterable[Expr], lengths: Lengths) -> None:
    """Raise `Refusal(TOO_LARGE)` if one row's texts could get too long in these expressions."""
    _check(sum(_computed(expr, lengths) for expr in exprs), MAX_ROW_TEXT)


def _texts(exprs: Iterable[Expr], lengths: Lengths) -> int:
    return sum(longest(expr, lengths) for expr in exprs if expr.type is DataType.STRING)


def _check(total: int, most: int) -> None:
    if total > most:
        raise Refusal(
            "TOO_LARGE",
            f"The texts that this step makes of one row could have {total} characters; at most "
            f"{most} are allowed. Cut columns before joining or repeating them, for "
            "example substring(name, 1, 20).",
            f"此步骤由一行生成的文本可能长达 {total} 个字符，上限为 {most}。"
            "请在拼接或重复之前先截取列，例如 substring(name, 1, 20)。",
        )


def check_carried(exprs: Iterable[Expr], lengths: Lengths, most: int = MAX_ROW_TEXT) -> None:
    """Raise `Refusal(TOO_LARGE)` if the texts that a step passes on could get too long together."""
    _check(_texts(exprs, lengths), most)


def check_key_texts(exprs: Iterable[Expr], lengths: Lengths) -> None:
    """Raise `Refusal(TOO_LARGE)` if open keys could be long: each group present is held whole."""
    _check(_texts(exprs, lengths), MAX_KEY_TEXT)


def longest(expr: Expr, lengths: Lengths) -> int:
    """Return how many characters `expr` has at most, written as text."""
    if isinstance(expr, Const) and isinstance(expr.value, str):
        return len(expr.value)
    if expr.type is not DataType.STRING:
        return _WRITTEN[expr.type]
    match expr:
        case Ref():
            return lengths[expr.id]
        case Const():
            return 0
        case Apply():
            return _RULES[expr.function](expr, lengths)


def _computed(expr: Expr, lengths: Lengths) -> int:
    """Return the characters of all texts that are made on the way to `expr`."""
    if not isinstance(expr, Apply):
        return 0
    own = longest(expr, lengths) if expr.type is DataType.STRING else 0
    return own + sum(_computed(arg, lengths) for arg in expr.args)


def _first(expr: Apply, lengths: Lengths) -> int:
    return longest(expr.args[0], lengths)


def _any(expr: Apply, lengths: Lengths) -> int:
    texts = [arg for arg in expr.args if arg.type in (DataType.STRING, DataType.NULL)]
    return max((longest(arg, lengths) for arg in texts), default=0)


def _all(expr: Apply, lengths: Lengths) -> int:
    return sum(longest(arg, lengths) for arg in expr.args)


def _all_with_separators(expr: Apply, lengths: Lengths) -> int:
    separator, *texts = (longest(arg, lengths) for arg in expr.args)
    return sum(texts) + separator * max(len(texts) - 1, 0)


def _case(expr: Apply, lengths: Lengths) -> int:
    return _CASE_GROWTH * _first(expr, lengths)


def _cut(expr: Apply, lengths: Lengths) -> int:
    """`substring`, `left`, `right`: as long as the last argument says, if that is a literal."""
    whole = _first(expr, lengths)
    wanted = expr.args[-1]
    if isinstance(wanted, Const) and isinstance(wanted.value, int) and _says_length(expr):
        return min(whole, max(wanted.value, 0))
    return whole


def _says_length(expr: Apply) -> bool:
    return expr.function != "substring" or len(expr.args) == 3  # noqa: PLR2004 - text, start, length


def _count(expr: Apply) -> int:
    """Return the literal count of `repeat`, `lpad` and `rpad`; null makes null."""
    count = expr.args[1]
    value = count.value if isinstance(count, Const) else None
    return max(value, 0) if isinstance(value, int) else 0


def _replace(expr: Apply, lengths: Lengths) -> int:
    text, found, put = expr.args
    searched = found.value if isinstance(found, Const) else None
    least = max(len(searched), 1) if isinstance(searched, str) else 1
    whole = longest(text, lengths)
    return whole + whole // least * max(longest(put, lengths) - least, 0)


_RULES: Mapping[str, Callable[[Apply, Lengths], int]] = {
    **dict.fromkeys(("cast", "trim", "ltrim", "rtrim", "reverse", "nullif"), _first),
    **dict.fromkeys(("coalesce", "when", "greatest", "least"), _any),
    **dict.fromkeys(("upper", "lower"), _case),
    **dict.fromkeys(("substring", "left", "right"), _cut),
    **dict.fromkeys(("lpad", "rpad"), lambda expr, _: _count(expr)),
    "repeat": lambda expr, lengths: _count(expr) * _first(expr, lengths),
    "concat": _all,
    "concat_ws": _all_with_separators,
    "replace": _replace,
}
"""For each function that gives text: the most characters it gives."""
