"""Client expressions as the lab's own: an allow-list of kinds, every field accounted for."""

import datetime as dt
import decimal
import math
import re
from collections.abc import Callable
from typing import Any, Final

from privacy.dp.expr import Alias, Call, Cast, Expression, Literal, Name, SortKey, Star
from privacy.dp.types import INT_MAX, INT_MIN, LONG_MAX, LONG_MIN, DataType
from privacy.errors import Refusal
from sandbox.gateway.fields import Fields, Step, check_text, fold, refuse_field
from sandbox.gateway.sql_expr import AGGREGATES
from sandbox.gateway.sql_tree import check_name, name_parts
from sandbox.gateway.wire import too_large

Proto = Any
"""A message of the client's protocol: its generated classes have no usable annotations."""

EXPRESSIONS: Final = frozenset(
    {
        "literal",
        "unresolved_attribute",
        "unresolved_function",
        "expression_string",
        "unresolved_star",
        "alias",
        "cast",
        "call_function",
    }
)
"""Expression kinds that are decoded. All others are refused by name."""

LITERALS: Final = frozenset(
    {"null", "boolean", "byte", "short", "integer", "long", "float", "double", "decimal"}
    | {"string", "date"}
)
"""Literal kinds that are decoded."""

MAX_DEPTH: Final = 500
MAX_LITERALS: Final = 20_000
MAX_TEXT: Final = 100_000
"""Characters of one string literal or expression string."""

_PART: Final = re.compile(r"`((?:[^`]|``)+)`|([^.`]+)")
_SYNONYMS: Final = {"=": "==", "<>": "!="}
_OPERATORS: Final = frozenset(["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "<=>"])
_FUNCTION: Final = re.compile(r"(?!cast$)[a-z][a-z0-9_]*")

TYPE_NAMES: Final = {
    "boolean": DataType.BOOLEAN,
    "bool": DataType.BOOLEAN,
    "tinyint": DataType.INTEGER,
    "byte": DataType.INTEGER,
    "smallint": DataType.INTEGER,
    "short": DataType.INTEGER,
    "int": DataType.INTEGER,
    "integer": DataType.INTEGER,
    "bigint": DataType.LONG,
    "long": DataType.LONG,
    "float": DataType.DOUBLE,
    "real": DataType.DOUBLE,
    "double": DataType.DOUBLE,
    "string": DataType.STRING,
    "date": DataType.DATE,
    "void": DataType.NULL,
}
_CASTABLE: Final = {
    name: TYPE_NAMES[name]
    for name in ["boolean", "bool", "int", "integer", "bigint", "long", "double", "string", "date"]
}
_NEAREST: Final = {
    "window": (
        "Aggregate with groupBy, then join the answer back.",
        "请改用 groupBy 汇总，再与结果连接。",
    ),
    "common_inline_user_defined_function": (
        "User code never runs here: use built-in functions, or apply it to the answer.",
        "用户代码不会在实验室内运行：请使用内置函数，或在结果上应用。",
    ),
    "subquery_expression": (
        "Compute the inner question first, or write a left_semi or left_anti join.",
        "请先计算内层查询，或改写为 left_semi 或 left_anti 连接。",
    ),
    "unresolved_regex": ("Name the columns.", "请逐个列出列名。"),
    "sort_order": ("Use it in orderBy.", "请在 orderBy 中使用。"),
}
_ORDINARY: Final = (
    "Use columns, literals and the built-in scalar and aggregate functions.",
    "请使用列、字面量以及内置的标量与聚合函数。",
)


class ExpressionDecoder:
    """Decodes the expressions of one request and counts what they hold."""

    def __init__(self, parse_expression: Callable[[str], Expression]) -> None:
        """Read expression strings with `parse_expression`."""
        self._parse = parse_expression
        self._literals = 0
        self._expand: dict[str, Callable[[Proto], Step[Proto, Expression]]] = {
            "literal": self._literal,
            "unresolved_attribute": self._attribute,
            "unresolved_function": self._function,
            "expression_string": self._string,
            "unresolved_star": self._star,
            "alias": self._alias,
            "cast": self._cast,
            "call_function": self._call,
        }

    def expression(self, message: Proto) -> Expression:
        """Return one expression."""
        return fold(message, self._step, MAX_DEPTH)

    def expressions(self, messages: Proto) -> tuple[Expression, ...]:
        """Return a list of expressions."""
        return tuple(self.expression(message) for message in messages)

    def literal(self, message: Proto) -> Literal:
        """Return a message that is a literal, not an expression that holds one."""
        self._literals += 1
        if self._literals > MAX_LITERALS:
            raise too_large(f"at most {MAX_LITERALS} literals", f"至多 {MAX_LITERALS} 个字面量")
        return decode_literal(message)

    def sort_key(self, message: Proto) -> SortKey:
        """Return one term of an ordering."""
        fields = Fields(message, "orderBy")
        child, direction = fields.need("child"), fields.take("direction", 1)
        ascending = {1: True, 2: False}.get(direction)
        if ascending is None:
            refuse_field("orderBy", "direction")
        nulls = fields.take("null_ordering", 0)
        nulls_first = {0: ascending, 1: True, 2: False}.get(nulls)
        if nulls_first is None:
            refuse_field("orderBy", "null_ordering")
        fields.finish()
        return SortKey(self.expression(child), ascending, nulls_first)

    def _step(self, message: Proto) -> Step[Proto, Expression]:
        kind = message.WhichOneof("expr_type")
        expand = self._expand.get(kind)
        if expand is None:
            raise unsupported_expression(kind)
        # Where in the client's source the expression was written is not part of the question.
        return expand(getattr(message, kind))

    def _literal(self, message: Proto) -> Step[Proto, Expression]:
        return _leaf(self.literal(message))

    def _attribute(self, message: Proto) -> Step[Proto, Expression]:
        fields = Fields(message, "column")
        parts = name_parts(parse_identifier(fields.text("unparsed_identifier")))
        plan_id = fields.take("plan_id")
        fields.require("is_metadata_column", False)  # noqa: FBT003  # a field's value
        fields.finish()
        return _leaf(Name(parts, plan_id))

    def _star(self, message: Proto) -> Step[Proto, Expression]:
        fields = Fields(message, "*")
        target, plan_id = fields.take("unparsed_target"), fields.take("plan_id")
        fields.finish()
        if target is None:
            return _leaf(Star((), plan_id))
        if not target.endswith(".*"):
            refuse_field("*", "unparsed_target")
        return _leaf(Star(name_parts(parse_identifier(check_text(target[:-2]))), plan_id))

    def _string(self, message: Proto) -> Step[Proto, Expression]:
        fields = Fields(message, "expr")
        text = str(fields.need("expression"))
        fields.finish()
        if len(text) > MAX_TEXT:
            raise too_large(
                f"expressions of {MAX_TEXT} characters", f"至多 {MAX_TEXT} 字符的表达式"
            )
        return _leaf(self._parse(text))

    def _function(self, message: Proto) -> Step[Proto, Expression]:
        fields = Fields(message, "function")
        name = function_name(fields.text("function_name"))
        arguments = fields.take("arguments", ())
        distinct = bool(fields.take("is_distinct", default=False))
        fields.require("is_user_defined_function", False)  # noqa: FBT003  # a field's value
        fields.require("is_internal", False)  # noqa: FBT003  # a field's value
        fields.finish()
        if distinct and name not in AGGREGATES:
            refuse_field(name, "distinct")
        return arguments, lambda args: Call(name, tuple(args), distinct)

    def _call(self, message: Proto) -> Step[Proto, Expression]:
        fields = Fields(message, "call_function")
        parts = parse_identifier(fields.text("function_name"))
        arguments = fields.take("arguments", ())
        fields.finish()
        name = function_name(".".join(parts))
        return arguments, lambda args: Call(name, tuple(args))

    def _alias(self, message: Proto) -> Step[Proto, Expression]:
        fields = Fields(message, "alias")
        names = fields.take("name", ())
        operand = fields.need("expr")
        fields.finish()
        if len(names) != 1:
            refuse_field("alias", "name")
        name = check_name(check_text(names[0]))
        return [operand], lambda args: Alias(args[0], name)

    def _cast(self, message: Proto) -> Step[Proto, Expression]:
        fields = Fields(message, "cast")
        operand = fields.need("expr")
        type_ = cast_type(fields.take("type"), fields.take("type_str"))
        # All modes are one here: every conversion is total.
        fields.require("eval_mode", 0, 1, 3)
        fields.finish()
        return [operand], lambda args: Cast(args[0], type_)


def decode_literal(message: Proto) -> Literal:
    """Return a constant; Spark's narrower number types widen to the lab's."""
    kind = message.WhichOneof("literal_type")
    if kind not in LITERALS:
        raise Refusal(
            "UNSUPPORTED",
            f"Literals of kind `{kind}` are not supported. Use booleans, numbers, text or dates.",
            f"不支持 `{kind}` 类型的字面量。请使用布尔、数值、文本或日期。",
        )
    fields = Fields(message, "literal")
    value = fields.take(kind)
    fields.take("data_type")  # repeats the type of the value
    fields.finish()
    match kind:
        case "null":
            return Literal(None, DataType.NULL)
        case "boolean":
            return Literal(bool(value), DataType.BOOLEAN)
        case "byte" | "short" | "integer":
            return Literal(_within(int(value), INT_MIN, INT_MAX), DataType.INTEGER)
        case "long":
            return Literal(_within(int(value), LONG_MIN, LONG_MAX), DataType.LONG)
        case "float" | "double":
            return Literal(float(value), DataType.DOUBLE)
        case "decimal":
            return Literal(_decimal(value), DataType.DOUBLE)
        case "string":
            return Literal(_string_value(str(value)), DataType.STRING)
        case "date":
            return Literal(_date(int(value)), DataType.DATE)
        case _:
            raise AssertionError(f"literal kind {kind} is on the list and not decoded")


def decode_type(message: Proto) -> DataType | None:
    """Return a column type, or None for one that the lab does not have."""
    kind = message.WhichOneof("kind")
    if kind == "string" and message.string.collation not in ("", "UTF8_BINARY"):
        return None
    if kind == "unparsed":
        return TYPE_NAMES.get(message.unparsed.data_type_string.strip().lower())
    if kind == "null":
        return DataType.NULL
    return TYPE_NAMES.get(kind or "")


def cast_type(message: Proto, name: str | None) -> DataType:
    """Return the target of a conversion, given as a message or by name."""
    if name is not None:
        type_ = _CASTABLE.get(name.strip().lower())
        shown = check_text(name)
    else:
        kind = None if message is None else message.WhichOneof("kind")
        shown = kind or "nothing"
        type_ = None if message is None else decode_type(message)
        if kind in ("byte", "short", "float", "null"):
            type_ = None
    if type_ is None:
        raise Refusal(
            "UNSUPPORTED",
            f"A cast to `{shown}` is not supported. Cast to boolean, int, bigint, double, string "
            "or date.",
            f"不支持转换为 `{shown}`。请转换为 boolean、int、bigint、double、string 或 date。",
        )
    return type_


def function_name(text: str) -> str:
    """Return a function's name in canonical spelling; whether it exists is for the resolver."""
    # Only ASCII is folded: Spark's names are ASCII, and other folding would invent new spellings.
    name = "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)
    name = _SYNONYMS.get(name, name)
    if name not in _OPERATORS and not _FUNCTION.fullmatch(name):
        raise Refusal(
            "UNSUPPORTED",
            f"There is no function `{check_text(text)}` here; use Spark's built-in ones.",
            f"此处没有函数 `{text}`；请使用 Spark 内置函数。",
        )
    return name


def parse_identifier(text: str) -> tuple[str, ...]:
    """Return the parts of a dotted name; backticks protect dots, doubled ones stand for themselves.

    >>> parse_identifier("t.`a.b`")
    ('t', 'a.b')
    """
    parts: list[str] = []
    position = 0
    while match := _PART.match(text, position):
        parts.append(match[2] or match[1].replace("``", "`"))
        position = match.end()
        if position == len(text):
            return tuple(parts)
        if text[position] != ".":
            break
        position += 1
    raise Refusal(
        "PARSE",
        f"`{text}` is not a name. Put names with special characters in backticks.",
        f"`{text}` 不是合法名称。含特殊字符的名称请用反引号括起。",
    )


def unsupported_expression(kind: str | None) -> Refusal:
    """Return the error for an expression kind that is not on the allow-list."""
    en, zh = _NEAREST.get(kind or "", _ORDINARY)
    return Refusal(
        "UNSUPPORTED",
        f"The expression `{kind or 'empty'}` is not supported here. {en}",
        f"此处不支持表达式 `{kind or 'empty'}`。{zh}",
    )


def _leaf(expression: Expression) -> Step[Proto, Expression]:
    return (), lambda _: expression


def _within(value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise _bad_literal()
    return value


def _decimal(message: Proto) -> float:
    fields = Fields(message, "decimal")
    text = str(fields.need("value"))
    fields.take("precision")
    fields.take("scale")
    fields.finish()
    # Python's own conversion also takes underscores and other digits, which Spark does not.
    if not re.fullmatch(r"[+-]?[0-9]{0,60}\.?[0-9]{0,60}([eE][+-]?[0-9]{1,3})?", text):
        raise _bad_literal()
    try:
        value = float(decimal.Decimal(text))
    except (decimal.InvalidOperation, OverflowError):
        raise _bad_literal() from None
    if not math.isfinite(value):
        raise _bad_literal()
    return value


def _string_value(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise too_large(f"text literals of {MAX_TEXT} characters", f"至多 {MAX_TEXT} 字符的文本")
    return text


def _date(days: int) -> dt.date:
    try:
        return dt.date(1970, 1, 1) + dt.timedelta(days=days)
    except OverflowError:
        raise _bad_literal() from None


def _bad_literal() -> Refusal:
    return Refusal(
        "UNSUPPORTED",
        "A literal is outside the range of its type.",
        "字面量超出其类型的取值范围。",
    )
