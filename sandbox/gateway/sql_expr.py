"""Translate Catalyst expressions into `privacy.dp.expr`, by an allow-list of classes."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from privacy.dp.expr import Alias, Call, Cast, Expression, Literal, Name, SortKey, Star
from privacy.dp.types import DataType, Value
from privacy.errors import Refusal
from sandbox.gateway.sql_literal import data_type, literal
from sandbox.gateway.sql_tree import Fields, Handler, Reader, check_name, name_parts, refuse

Arguments = Mapping[str, Literal] | Sequence[Literal]
"""Values of parameter markers: by name for `:name`, in order for `?`."""

AGGREGATES: Final = frozenset(
    {
        "approx_count_distinct",
        "approx_percentile",
        "avg",
        "count",
        "count_if",
        "max",
        "mean",
        "median",
        "min",
        "percentile",
        "percentile_approx",
        "std",
        "stddev",
        "stddev_pop",
        "stddev_samp",
        "sum",
        "var_pop",
        "var_samp",
        "variance",
    }
)
"""Functions that make a SELECT without GROUP BY an aggregate. Others are left to the resolver."""

_USER_CAST: Final = ("user_specified_cast",)
_EXPRESSIONS: Final = "expressions."
_ARITHMETIC_CONTEXT: Final = {
    "class": "org.apache.spark.sql.catalyst.expressions.NumericEvalContext",
    "fields": {"evalMode": {"enum": "LEGACY"}, "allowDecimalPrecisionLoss": True},
}
"""Spark's arithmetic with ANSI mode off: null where there is no value."""

_UUID: Final = {"opaque": "java.util.UUID"}
_UNARY: Final = {
    "Not": "not",
    "IsNull": "isnull",
    "IsNotNull": "isnotnull",
    "UnaryPositive": "positive",
}
_BINARY: Final = {
    "And": "and",
    "Or": "or",
    "EqualTo": "==",
    "EqualNullSafe": "<=>",
    "LessThan": "<",
    "LessThanOrEqual": "<=",
    "GreaterThan": ">",
    "GreaterThanOrEqual": ">=",
    "RLike": "rlike",
}
_ARITHMETIC: Final = {
    "Add": "+",
    "Subtract": "-",
    "Multiply": "*",
    "Divide": "/",
    "Remainder": "%",
    "IntegralDivide": "div",
}
_OPERATORS: Final = frozenset({*_BINARY.values(), *_ARITHMETIC.values(), "!="})
_FUNCTION_NAME: Final = re.compile(r"(?!cast$)[a-z][a-z0-9_]*")
"""Function names as Spark spells them; a conversion has its own syntax."""
_SYNONYMS: Final = {"=": "==", "<>": "!="}
_DATE_FIELDS: Final = {
    spelling: function
    for function, spellings in {
        "year": "y years yr yrs year",
        "quarter": "qtr quarter",
        "month": "mon mons months month",
        "weekofyear": "w weeks week",
        "day": "d days day",
        "dayofweek": "dow dayofweek",
        "dayofyear": "doy",
    }.items()
    for spelling in spellings.split()
}
"""What EXTRACT(field FROM date) calls. Source: Spark `DatePart.parseExtractField`."""


class ExpressionReader:
    """Reads the expressions of one tree."""

    def __init__(self, reader: Reader, arguments: Arguments = ()) -> None:
        """Read nodes from `reader` and put `arguments` in place of parameter markers."""
        self._reader = reader
        self._arguments = arguments
        self._places: Sequence[int] = ()
        handlers: dict[str, Handler[Expression]] = {
            "analysis.UnresolvedAttribute": lambda f: Name(name_parts(f.texts("nameParts"))),
            "analysis.UnresolvedFunction": self._function,
            "analysis.NamedParameter": self._named,
            "analysis.PosParameter": self._positional,
            "expressions.Literal": literal,
            "expressions.Cast": self._cast,
            "expressions.CaseWhen": self._case,
            "expressions.In": self._in,
            "expressions.Like": self._like,
            "expressions.Concat": lambda f: Call("concat", self._all(f.indexes("children"))),
            "expressions.UnaryMinus": self._negative,
            "expressions.StringTrim": lambda f: self._trim(f, "trim"),
            "expressions.StringTrimLeft": lambda f: self._trim(f, "ltrim"),
            "expressions.StringTrimRight": lambda f: self._trim(f, "rtrim"),
            "expressions.Substring": self._substring,
            "expressions.StringLocate": self._locate,
        }
        for kind in _UNARY:
            handlers[_EXPRESSIONS + kind] = self._unary
        for kind in _BINARY:
            handlers[_EXPRESSIONS + kind] = self._binary
        for kind in _ARITHMETIC:
            handlers[_EXPRESSIONS + kind] = self._binary
        self._handlers = handlers
        self._item_handlers = handlers | {
            "analysis.UnresolvedStar": _star,
            "analysis.UnresolvedAlias": self._unnamed,
            "expressions.Alias": self._alias,
        }

    def expression(self, index: int) -> Expression:
        """Return an expression without names of its own or stars."""
        return self._reader.node(index, self._handlers, _USER_CAST)

    def item(self, index: int) -> Expression:
        """Return an expression of a select list: it may have an alias or be a star."""
        return self._reader.node(index, self._item_handlers, _USER_CAST)

    def sort_key(self, index: int) -> tuple[SortKey, int | None]:
        """Return a term of ORDER BY, and its position if it is an ordinal (`ORDER BY 2`)."""
        fields = self._reader.fields(index)
        if fields.kind != "expressions.SortOrder":
            refuse(fields.kind)
        direction = fields.product(fields.take("direction"))
        nulls = fields.product(fields.take("nullOrdering"))
        directions = {"expressions.Ascending$": True, "expressions.Descending$": False}
        orders = {"expressions.NullsFirst$": True, "expressions.NullsLast$": False}
        if direction[0] not in directions or direction[1] or nulls[0] not in orders or nulls[1]:
            refuse(fields.kind)
        fields.require("sameOrderExpressions", [])
        operand, position = self.expression_or_ordinal(fields.index("child"))
        fields.finish()
        return SortKey(operand, directions[direction[0]], orders[nulls[0]]), position

    def expression_or_ordinal(self, index: int) -> tuple[Expression, int | None]:
        """Return an expression, or a placeholder and the position that an ordinal names."""
        if self._reader.kind(index) != "analysis.UnresolvedOrdinal":
            return self.expression(index), None
        fields = self._reader.fields(index)
        position = fields.take("ordinal")
        fields.finish()
        if type(position) is not int:
            refuse(fields.kind)
        return Literal(position, DataType.INTEGER), position

    def constant(self, index: int) -> Value:
        """Return the value of a literal or of a parameter; None for anything else."""
        value = self.expression(index)
        return value.value if isinstance(value, Literal) else None

    def bind_positions(self) -> None:
        """Number the `?` of a tree by their place in the text."""
        places = self._reader.values("analysis.PosParameter", "pos")
        if not all(type(place) is int for place in places):
            refuse("PosParameter")
        # LIMIT puts its expression into the tree twice.
        self._places = sorted({place for place in places if isinstance(place, int)})
        if isinstance(self._arguments, Mapping):
            if self._places:
                raise _unbound("?")
        elif len(self._arguments) != len(self._places):
            raise _wrong_count(len(self._places), len(self._arguments))

    def _all(self, indexes: Sequence[int]) -> tuple[Expression, ...]:
        # `map` costs no Python frame: nesting is bounded by the interpreter's stack.
        return tuple(map(self.expression, indexes))

    def _unary(self, fields: Fields) -> Expression:
        name = _UNARY[fields.kind.removeprefix(_EXPRESSIONS)]
        return Call(name, (self.expression(fields.index("child")),))

    def _binary(self, fields: Fields) -> Expression:
        kind = fields.kind.removeprefix(_EXPRESSIONS)
        if kind in _ARITHMETIC:
            fields.require("evalContext", _ARITHMETIC_CONTEXT)
        sides = (fields.index("left"), fields.index("right"))
        return Call(_BINARY.get(kind) or _ARITHMETIC[kind], self._all(sides))

    def _negative(self, fields: Fields) -> Expression:
        fields.require("failOnError", False)  # noqa: FBT003  # a field's value
        return Call("negative", (self.expression(fields.index("child")),))

    def _cast(self, fields: Fields) -> Expression:
        # CAST and TRY_CAST are the same here: every conversion is total.
        fields.require("evalMode", {"enum": "LEGACY"}, {"enum": "TRY"})
        fields.require("timeZoneId", None)
        type_ = data_type(fields.take("dataType"))
        return Cast(self.expression(fields.index("child")), type_)

    def _case(self, fields: Fields) -> Expression:
        args: list[Expression] = []
        for branch in fields.array("branches"):
            kind, pair = fields.product(branch)
            if kind != "scala.Tuple2" or pair.keys() != {"_1", "_2"}:
                refuse(fields.kind)
            args += self._all([fields.reference(pair["_1"]), fields.reference(pair["_2"])])
        default = fields.optional_index("elseValue")
        if default is not None:
            args.append(self.expression(default))
        return Call("when", tuple(args))

    def _in(self, fields: Fields) -> Expression:
        return Call("in", self._all([fields.index("value"), *fields.indexes("list")]))

    def _like(self, fields: Fields) -> Expression:
        if fields.take("escapeChar") != {"char": "\\"}:
            raise Refusal(
                "UNSUPPORTED",
                "LIKE with an ESCAPE clause is not supported; escape with a backslash.",
                "不支持带 ESCAPE 子句的 LIKE；请用反斜杠转义。",
            )
        return Call("like", self._all([fields.index("left"), fields.index("right")]))

    def _trim(self, fields: Fields, function: str) -> Expression:
        fields.require("trimStr", None)
        return Call(function, (self.expression(fields.index("srcStr")),))

    def _substring(self, fields: Fields) -> Expression:
        return Call("substring", self._all([fields.index(name) for name in ("str", "pos", "len")]))

    def _locate(self, fields: Fields) -> Expression:
        """Return POSITION(a IN b), which is `instr(b, a)`."""
        if self.expression(fields.index("start")) != Literal(1, DataType.INTEGER):
            refuse(fields.kind)
        return Call("instr", self._all([fields.index("str"), fields.index("substr")]))

    def _alias(self, fields: Fields) -> Expression:
        # The second list of arguments: an id that the parser drew, and three that it leaves empty.
        identity, *rest = fields.second_list() or refuse(fields.kind)
        kind, parts = fields.product(identity)
        if kind != "expressions.ExprId" or parts != {"id": parts.get("id"), "jvmId": _UUID}:
            refuse(fields.kind)
        if rest != [[], None, []]:
            refuse(fields.kind)
        name = check_name(fields.text("name"))
        return Alias(self.expression(fields.index("child")), name)

    def _unnamed(self, fields: Fields) -> Expression:
        fields.require("aliasFunc", None)
        return self.expression(fields.index("child"))

    def _function(self, fields: Fields) -> Expression:
        name = _function_name(fields.texts("nameParts"))
        distinct = fields.flag("isDistinct")
        fields.require("ignoreNulls", None)
        fields.require("orderingWithinGroup", [])
        fields.require("isInternal", False)  # noqa: FBT003  # a field's value
        condition = fields.optional_index("filter")
        args = tuple(map(self._argument, fields.indexes("arguments")))
        if distinct and name not in AGGREGATES:
            refuse("DISTINCT in " + name)
        if condition is not None:
            return _filtered(Call(name, args, distinct), self.expression(condition))
        if name in ("extract", "date_part"):
            return _extract(args)
        if name == "between" and len(args) == 3:  # noqa: PLR2004  # value, low, high
            return Call("and", (Call(">=", args[:2]), Call("<=", (args[0], args[2]))))
        return Call(name, args, distinct)

    def _argument(self, index: int) -> Expression:
        if self._reader.kind(index) == "analysis.UnresolvedStar":
            return self._reader.node(index, {"analysis.UnresolvedStar": _star})
        return self.expression(index)

    def _named(self, fields: Fields) -> Expression:
        name = fields.text("name")
        if not isinstance(self._arguments, Mapping) or name not in self._arguments:
            raise _unbound(":" + name)
        return self._arguments[name]

    def _positional(self, fields: Fields) -> Expression:
        place = fields.take("pos")
        if isinstance(self._arguments, Mapping) or type(place) is not int:
            raise _unbound("?")
        if place not in self._places:
            raise _unbound("?")
        return self._arguments[self._places.index(place)]


def is_aggregate(expression: Expression) -> bool:
    """Whether an aggregate function is called somewhere in it."""
    match expression:
        case Call(function, args):
            return function in AGGREGATES or any(map(is_aggregate, args))
        case Cast(operand) | Alias(operand):
            return is_aggregate(operand)
        case _:
            return False


def _star(fields: Fields) -> Expression:
    target = fields.take("target")
    if target is None:
        return Star()
    if not isinstance(target, list) or not all(isinstance(part, str) for part in target):
        refuse(fields.kind)
    return Star(name_parts(tuple(target)))


def _function_name(parts: tuple[str, ...]) -> str:
    if len(parts) != 1:
        raise Refusal(
            "UNSUPPORTED",
            f"The function name {'.'.join(parts)} has {len(parts)} parts; built-in ones have one.",
            f"函数名 {'.'.join(parts)} 有 {len(parts)} 段；内置函数只有一段。",
        )
    # Only ASCII is folded: Spark's names are ASCII, and other folding would invent new spellings.
    name = "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in parts[0])
    name = _SYNONYMS.get(name, name)
    if name not in _OPERATORS and not _FUNCTION_NAME.fullmatch(name):
        refuse("function " + name)
    return name


def _filtered(call: Call, condition: Expression) -> Expression:
    """Return `f(x) FILTER (WHERE c)` as `f(CASE WHEN c THEN x END)`: these ignore nulls."""
    if call.function not in AGGREGATES or not call.args:
        refuse("FILTER")
    first, *rest = call.args
    if isinstance(first, Star):
        refuse("FILTER")
    if call.function == "count" and (rest or isinstance(first, Literal)):
        if rest or call.distinct or first == Literal(None, DataType.NULL):
            refuse("FILTER")
        return Call("count_if", (condition,))
    return Call(call.function, (Call("when", (condition, first)), *rest), call.distinct)


def _extract(args: tuple[Expression, ...]) -> Expression:
    match args:
        case (Literal(str() as field), value) if field.lower() in _DATE_FIELDS:
            return Call(_DATE_FIELDS[field.lower()], (value,))
        case _:
            return refuse("EXTRACT")


def _unbound(marker: str) -> Refusal:
    return Refusal(
        "PARSE",
        f"The parameter {marker} has no value; pass it in `args` of `spark.sql`.",
        f"参数 {marker} 没有值；请在 `spark.sql` 的 `args` 中给出。",
    )


def _wrong_count(markers: int, values: int) -> Refusal:
    return Refusal(
        "PARSE",
        f"The text has {markers} markers `?`, but {values} values are given.",
        f"文本中有 {markers} 个 `?`，但给出了 {values} 个值。",
    )
