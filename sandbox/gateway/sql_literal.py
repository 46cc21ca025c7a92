"""Constants and type names of SQL text, limited to the types that the lab computes with."""

import datetime as dt
import math
from typing import Final

from privacy.dp.expr import Literal
from privacy.dp.types import INT_MAX, INT_MIN, LONG_MAX, LONG_MIN, DataType
from privacy.errors import Refusal
from sandbox.gateway.sql_tree import Fields, refuse

_EPOCH: Final = dt.date(1970, 1, 1)
_TYPES: Final = {type_.value: type_ for type_ in DataType if type_ is not DataType.NULL}


def data_type(target: object) -> DataType:
    """Return the type that CAST names; Refusal if it is none of the lab's."""
    name = target.get("type") if isinstance(target, dict) else None
    if not isinstance(name, str) or name not in _TYPES or target != {"type": name}:
        raise _type_refusal(str(name))
    return _TYPES[name]


def literal(fields: Fields) -> Literal:
    """Return a constant, refusing types that the lab does not compute with."""
    target, value = fields.take("dataType"), fields.take("value")
    name = target.get("type") if isinstance(target, dict) and len(target) == 1 else None
    match name, value:
        case "int", int() if type(value) is int and INT_MIN <= value <= INT_MAX:
            return Literal(value, DataType.INTEGER)
        case "bigint", int() if type(value) is int and LONG_MIN <= value <= LONG_MAX:
            return Literal(value, DataType.LONG)
        case "double", float() if math.isfinite(value):
            return Literal(value, DataType.DOUBLE)
        case "string", str():
            return Literal(value, DataType.STRING)
        case "boolean", bool():
            return Literal(value, DataType.BOOLEAN)
        case "void", None:
            return Literal(None, DataType.NULL)
        case "date", int() if type(value) is int:
            return Literal(_date(value), DataType.DATE)
        case str(), {"decimal": str(digits)} if name.startswith("decimal(") and len(value) == 1:
            return Literal(_number(digits), DataType.DOUBLE)
        case _:
            raise _type_refusal(str(name))


def _date(days: int) -> dt.date:
    try:
        return _EPOCH + dt.timedelta(days=days)
    except OverflowError:
        raise _type_refusal("date outside the years 1 to 9999") from None


def _number(digits: str) -> float:
    try:
        number = float(digits)
    except ValueError:
        refuse("Literal")
    return number if math.isfinite(number) else refuse("Literal")


def _type_refusal(name: str) -> Refusal:
    known = ", ".join(_TYPES)
    return Refusal(
        "UNSUPPORTED",
        f"The type {name} is not supported in SQL text; use one of {known} (decimals are doubles).",
        f"SQL 文本不支持类型 {name}；可用类型为 {known}（小数按 double 处理）。",
    )
