"""The column types of questions: a small subset of Spark SQL's on which both engines agree."""

import datetime as dt
from enum import StrEnum

Value = bool | int | float | str | dt.date | None
"""A cell or literal: `bool`, `int` (INTEGER or LONG), `float` (DOUBLE), `str`, `date` or null."""


class DataType(StrEnum):
    """A column type, named as Spark's `simpleString` prints it."""

    BOOLEAN = "boolean"
    INTEGER = "int"
    LONG = "bigint"
    DOUBLE = "double"
    STRING = "string"
    DATE = "date"
    NULL = "void"

    @property
    def is_integral(self) -> bool:
        """Whether values are whole numbers."""
        return self in (DataType.INTEGER, DataType.LONG)

    @property
    def is_numeric(self) -> bool:
        """Whether values can be added."""
        return self in (DataType.INTEGER, DataType.LONG, DataType.DOUBLE)


INT_MIN, INT_MAX = -(2**31), 2**31 - 1
LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1
