"""What the gateway needs from the part that judges, runs and pays for questions.

Everything on this side is protocol: it decodes, asks an `Answering`, and writes the response.
Nothing here reads a row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

import pyarrow as pa

from privacy.dp.query import Query
from privacy.dp.types import DataType, Value


@dataclass(frozen=True, slots=True)
class Settings:
    """What a session has set with `spark.conf.set("lab.…")`, checked when it was set."""

    epsilon: Decimal | None = None
    purpose: str | None = None
    language: str = "en"
    """`en` or `zh`."""
    engine: str | None = None
    """`duckdb` or `spark` to force one; None lets public facts decide."""
    cohorts: tuple[int, ...] | None = None
    """Restricts a question to units of these cohorts; None means all."""


class Account(Protocol):
    """What the marketplace says of the holder of a token: who it is and what it may ask."""

    @property
    def user(self) -> str:
        """Return the authenticated user."""
        ...

    @property
    def tenant(self) -> str:
        """Return the organisation that pays."""
        ...

    @property
    def language(self) -> str:
        """Return the language of the user's messages, `en` or `zh`."""
        ...


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, with everything of the session that an answer may depend on."""

    user: str
    tenant: str
    token: str = field(repr=False)
    account: Account = field(repr=False)
    """The marketplace's answer for the token, at most a few seconds old."""
    settings: Settings = Settings()
    views: Mapping[str, Query] = field(default_factory=dict)
    """Temporary views by lower-case name. A decoded query names none: their bodies are in place."""
    frames: Mapping[str, pa.Table] = field(default_factory=dict)
    """The client's own rows behind every `Frame` of the query, by digest."""


@dataclass(frozen=True, slots=True)
class Field:
    """One column of an answer."""

    name: str
    type: DataType
    nullable: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Spark's column metadata; `comment` carries meaning, unit and bounds."""


Schema = tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of an answer and what they cost."""

    schema: Schema
    table: pa.Table
    """One column for each field, by position; a table without columns keeps its number of rows."""
    private: bool = False
    """Whether private rows were read or paid for, now or earlier: the answer leaves on the grid."""
    observed: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    """Named groups of facts (receipt, cost, budget left, intervals) for `pdf.attrs`."""


@dataclass(frozen=True, slots=True)
class TableSummary:
    """A line of `spark.catalog.listTables()`."""

    name: str
    description: str
    private: bool


class OperationHandle(Protocol):
    """What the running side may know of, and tell, the operation that it works for."""

    @property
    def operation_id(self) -> str:
        """Return the client's id: one id is charged at most once."""
        ...

    def phase(self, name: str) -> None:
        """Say that `check`, `reserve` or `compute` begins; from `compute` on, data may be read.

        Raises `CancelledError` if the client has cancelled.
        """
        ...

    def answer_at(self, seconds: float) -> None:
        """Let the answer, or a failure, leave just this long after the question came."""
        ...

    def settle(self) -> None:
        """Wait until what came of it, an answer or a failure, may be recorded.

        Raises `CancelledError` if the client has cancelled.
        """
        ...

    def cancelled(self) -> bool:
        """Return whether the client has cancelled; what was submitted stays charged."""
        ...


class Answering(Protocol):
    """Judges questions and answers them. Every method may raise `privacy.errors.Refusal`."""

    def schema(self, asker: Asker, query: Query) -> Schema:
        """Return the columns of the answer, free of charge and without touching data."""
        ...

    def explain(self, asker: Asker, query: Query, *, extended: bool) -> str:
        """Return the privacy plan, its cost and expected error, free and without touching data."""
        ...

    def answer(self, asker: Asker, query: Query, operation: OperationHandle) -> Answer:
        """Answer the question, once for each operation id."""
        ...

    def tables(self, asker: Asker) -> tuple[TableSummary, ...]:
        """Return the tables that the asker may name."""
        ...

    def table_columns(self, asker: Asker, name: str) -> Schema:
        """Return the columns of one table."""
        ...
