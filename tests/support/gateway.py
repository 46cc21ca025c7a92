"""A gateway over small in-memory tables, and stock clients that talk to it.

`Tables` is a real, if tiny, `Answering`: it evaluates plain questions over public rows, refuses raw
private rows, and answers aggregates of private rows exactly (there is no noise to test here).
"""

import os
import re
import subprocess
import tempfile
import textwrap
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from pyspark.sql.connect.proto import base_pb2, expressions_pb2, relations_pb2

from privacy.dp import expr as e
from privacy.dp import query as q
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.gateway.answering import Answer, Asker, Field, OperationHandle, Schema, TableSummary
from sandbox.gateway.auth import UnknownTokenError
from sandbox.gateway.frames import ARROW_TYPES
from sandbox.gateway.operations import Grid
from sandbox.gateway.server import Server
from sandbox.gateway.service import Service

ROOT = Path(__file__).resolve().parents[2]
CLIENT_PYTHON = ROOT / "notebooks" / ".venv" / "bin" / "python"
TOKEN = "token-of-analyst"
OTHER_TOKEN = "token-of-another"
NAMESAKE_TOKEN = "token-of-namesake"
"""Of somebody with the first one's name, in another organisation."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Person:
    user: str
    tenant: str = "acme"
    language: str = "en"


@dataclass
class People:
    """Tokens and their holders; revoking is removing."""

    holders: dict[str, Person] = field(
        default_factory=lambda: {
            TOKEN: Person("analyst"),
            OTHER_TOKEN: Person("rival"),
            NAMESAKE_TOKEN: Person("analyst", "elsewhere"),
        }
    )
    lookups: int = 0

    def session(self, token: str) -> Person:
        self.lookups += 1
        if token not in self.holders:
            raise UnknownTokenError
        return self.holders[token]


class Sql:
    """Reads `SELECT * FROM name` and `column > number`: enough to see that text is routed."""

    def query(self, text: str, args: Any) -> q.Query:
        words = text.split()
        if [word.lower() for word in words[:3]] != ["select", "*", "from"] or len(words) != 4:
            raise Refusal("PARSE", f"The stand-in cannot read: {text}", "无法解析")
        return q.Table((words[3],))

    def expression(self, text: str) -> e.Expression:
        if re.fullmatch(r"\w+ [>=]+ [0-9]+", text) is None:
            raise Refusal("PARSE", f"The stand-in cannot read: {text}", "无法解析")
        name, operator, number = text.split()
        return e.Call(operator, (e.Name((name,)), e.Literal(int(number), DataType.LONG)))


@dataclass
class Tables:
    """Answers over in-memory rows."""

    public: Mapping[str, pa.Table] = field(default_factory=lambda: {"districts": DISTRICTS})
    private: Mapping[str, pa.Table] = field(default_factory=lambda: {"tax": TAX})
    answered: Counter[str] = field(default_factory=Counter)
    questions: list[q.Query] = field(default_factory=list)
    gate: threading.Event | None = None
    """If given, answers wait for it after entering the phase that reads data."""
    fault: Exception | None = None

    def schema(self, asker: Asker, query: q.Query) -> Schema:
        columns, _, _ = self._run(asker, query)
        return tuple(Field(n, t, True, {"comment": f"about {n}"}) for n, t in columns)

    def explain(self, asker: Asker, query: q.Query, *, extended: bool) -> str:
        self._run(asker, query)
        return f"Privacy plan (extended={extended}, epsilon={asker.settings.epsilon})"

    def answer(self, asker: Asker, query: q.Query, operation: OperationHandle) -> Answer:
        operation.phase("check")
        self.questions.append(query)
        columns, rows, kind = self._run(asker, query)
        if kind == "rows":
            raise Refusal(
                "PRIVATE_ROWS",
                "Rows of tax are private. Ask for an aggregate: groupBy(...).count().",
                "tax 的行数据属于隐私数据。请改为汇总查询：groupBy(...).count()。",
            )
        self.answered[operation.operation_id] += 1
        if kind == "released":
            operation.phase("reserve")
            operation.phase("compute")
        if self.gate is not None:
            self.gate.wait(20)
            operation.phase("compute")
        if self.fault is not None:
            raise self.fault
        schema = tuple(Field(n, t) for n, t in columns)
        table = pa.Table.from_arrays(
            [pa.array([row[n] for row in rows], ARROW_TYPES[t]) for n, t in columns],
            names=[n for n, _ in columns],
        )
        if not columns:
            table = pa.table({"x": pa.nulls(len(rows))}).select([])
        if kind == "public":
            return Answer(schema, table)
        facts = {"lab": {"receipt": "r-1", "cost_epsilon": 0.5, "budget_left": 7, "plan": "count"}}
        return Answer(schema, table, True, facts)

    def tables(self, asker: Asker) -> tuple[TableSummary, ...]:
        return tuple(
            TableSummary(name, f"about {name}", name in self.private)
            for name in (*self.public, *self.private)
        )

    def table_columns(self, asker: Asker, name: str) -> Schema:
        return self.schema(asker, q.Table((name,)))

    def _run(
        self, asker: Asker, query: q.Query
    ) -> tuple[list[tuple[str, DataType]], list[Row], str]:
        """Return columns, rows, and whether they are public, private rows, or released."""
        match query:
            case q.Table():
                name = query.name[0].lower()
                for tables, kind in ((self.public, "public"), (self.private, "rows")):
                    if name in tables:
                        return *_read(tables[name]), kind
                raise Refusal("UNKNOWN_TABLE", f"There is no table {name}.", f"没有表 {name}。")
            case q.Frame():
                return *_read(asker.frames[query.digest]), "public"
            case q.Union():
                columns, rows, kind = self._run(asker, query.left)
                _, more, other = self._run(asker, query.right)
                return (
                    columns,
                    rows + more,
                    max(kind, other, key=["public", "released", "rows"].index),
                )
            case q.Join():
                raise Refusal("JOIN_FORM", "The stand-in joins nothing.", "不支持连接。")
        columns, rows, kind = self._run(asker, query.child)
        match query:
            case q.Filter():
                rows = [row for row in rows if _value(query.condition, row)]
                _check(query.condition, columns)
            case q.Select():
                items = [_item(item) for item in query.items if not isinstance(item, e.Star)]
                if any(isinstance(item, e.Star) for item in query.items):
                    items = [(n, e.Name((n,)), t) for n, t in columns] + items
                for _, operand, _ in items:
                    _check(operand, columns)
                rows = [{n: _value(x, row) for n, x, _ in items} for row in rows]
                columns = [(n, t or dict(columns)[x.parts[-1]]) for n, x, t in items]
            case q.WithColumns():
                for name, item in query.items:
                    rows = [{**row, name: _value(item, row)} for row in rows]
                    columns = [c for c in columns if c[0] != name] + [(name, DataType.LONG)]
            case q.Aggregate():
                groups: dict[tuple, list[Row]] = {}
                names = [key.parts[-1] for key in query.keys]
                for row in rows:
                    groups.setdefault(tuple(row[n] for n in names), []).append(row)
                if not names:
                    groups.setdefault((), [])
                counts = [getattr(item, "name", "count(1)") for item in query.items]
                rows = [
                    dict(zip(names, key, strict=True)) | dict.fromkeys(counts, len(members))
                    for key, members in groups.items()
                ]
                columns = [(n, t) for n, t in columns if n in names]
                columns += [(n, DataType.LONG) for n in counts]
                kind = "public" if kind == "public" else "released"
            case q.Sort():
                for key in reversed(query.keys):
                    rows = sorted(
                        rows, key=lambda r: _value(key.operand, r), reverse=not key.ascending
                    )
            case q.Limit():
                stop = None if query.count is None else query.offset + query.count
                rows = rows[query.offset : stop]
            case q.ToNames():
                old = [n for n, _ in columns]
                rows = [dict(zip(query.names, (row[n] for n in old), strict=True)) for row in rows]
                columns = [(n, t) for n, (_, t) in zip(query.names, columns, strict=True)]
        return columns, rows, kind


def _read(table: pa.Table) -> tuple[list[tuple[str, DataType]], list[Row]]:
    types = {arrow: type_ for type_, arrow in ARROW_TYPES.items()}
    return [(f.name, types[f.type]) for f in table.schema], table.to_pylist()


def _item(item: e.Expression) -> tuple[str, e.Expression, DataType | None]:
    match item:
        case e.Alias():
            return item.name, item.operand, DataType.LONG
        case e.Name():
            return item.parts[-1], item, None
        case _:
            return "value", item, DataType.LONG


def _check(item: e.Expression, columns: list[tuple[str, DataType]]) -> None:
    match item:
        case e.Name() if item.parts[-1] not in dict(columns):
            raise Refusal(
                "UNKNOWN_COLUMN", f"No column {item.parts[-1]}.", f"没有列 {item.parts[-1]}。"
            )
        case e.Call():
            for arg in item.args:
                _check(arg, columns)


def _value(item: e.Expression, row: Row) -> Any:
    match item:
        case e.Literal():
            return item.value
        case e.Name():
            return row.get(item.parts[-1])
        case e.Alias():
            return _value(item.operand, row)
        case e.Call():
            left, right = (_value(arg, row) for arg in item.args)
            operations: dict[str, Callable[[Any, Any], Any]] = {
                ">": lambda a, b: a > b,
                "==": lambda a, b: a == b,
                "+": lambda a, b: a + b,
            }
            return None if left is None or right is None else operations[item.function](left, right)
        case _:
            raise Refusal("UNSUPPORTED", "The stand-in cannot evaluate this.", "不支持。")


DISTRICTS = pa.table(
    {"district": ["江岸", "江汉", "硚口"], "area": pa.array([80, 28, 40], pa.int64())}
)
TAX = pa.table(
    {
        "district": ["江岸", "江汉", "江岸", "硚口", "江岸"],
        "amount": pa.array([10, 20, 30, 40, 50], pa.int64()),
    }
)


@dataclass
class Gateway:
    server: Server
    tables: Tables
    people: People
    python: str = str(CLIENT_PYTHON)

    def run(self, script: str, token: str | None = TOKEN, **environment: str) -> str:
        """Run a script in the stock client's own environment; return what it prints."""
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "SPARK_REMOTE": f"sc://localhost:{self.server.port}",
            "PYTHONWARNINGS": "ignore",
            **({"SPARK_CONNECT_AUTHENTICATE_TOKEN": token} if token else {}),
            **environment,
        }
        with tempfile.TemporaryDirectory() as folder:
            # The client imports its test suite, and fails, when the main module is not a file.
            path = Path(folder) / "notebook.py"
            path.write_text(PREAMBLE + textwrap.dedent(script), encoding="utf-8")
            done = subprocess.run(
                [self.python, str(path)],
                env=variables,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout


PREAMBLE = """
import time, threading
from pyspark.sql import SparkSession, functions as F
from pyspark.errors import PySparkException
spark = SparkSession.builder.getOrCreate()
def attempt(call):
    try:
        print("answered", call())
    except PySparkException as error:
        print(type(error).__name__, error.getCondition(), "|", str(error))
"""


@contextmanager
def running_gateway(
    tables: Tables | None = None, sql: Any = None, *, grid: bool = False, **options: Any
) -> Iterator[Gateway]:
    """Serve on a free port of the loopback until the block ends."""
    tables, people = tables or Tables(), People()
    service = Service(tables, people, sql or Sql(), grid=Grid(enabled=grid), **options)
    gateway = Gateway(Server(service), tables, people)
    try:
        yield gateway
    finally:
        if tables.gate is not None:
            tables.gate.set()
        gateway.server.stop(0.2)


class AbortedError(Exception):
    """A call that ended with a status."""

    def __init__(self, status: Any) -> None:
        details = dict(status.trailing_metadata)["grpc-status-details-bin"]
        self.status = Status.FromString(details)
        self.info = ErrorInfo()
        self.status.details[0].Unpack(self.info)
        self.condition = self.info.metadata["errorClass"]
        super().__init__(self.status.message)


@dataclass
class Call:
    """One call as the service sees it, without a network."""

    metadata: tuple[tuple[str, str], ...] = (("authorization", f"Bearer {TOKEN}"),)
    active: bool = True

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self.metadata

    def is_active(self) -> bool:
        return self.active

    def add_callback(self, callback: Callable[[], None]) -> bool:
        callback()
        return True

    def abort_with_status(self, status: Any) -> None:
        raise AbortedError(status)


SESSION = "11111111-1111-4111-8111-111111111111"


class DirectClient:
    """Calls a service's handlers with messages."""

    def __init__(self, service: Service, token: str = TOKEN, session_id: str = SESSION) -> None:
        self.service, self.token, self.session_id = service, token, session_id

    @property
    def call(self) -> Call:
        return Call((("authorization", f"Bearer {self.token}"),))

    def unary(self, name: str, **fields: Any) -> Any:
        kinds = {
            "AnalyzePlan": (base_pb2.AnalyzePlanRequest, base_pb2.AnalyzePlanResponse),
            "Config": (base_pb2.ConfigRequest, base_pb2.ConfigResponse),
            "Interrupt": (base_pb2.InterruptRequest, base_pb2.InterruptResponse),
            "ReleaseExecute": (base_pb2.ReleaseExecuteRequest, base_pb2.ReleaseExecuteResponse),
            "ReleaseSession": (base_pb2.ReleaseSessionRequest, base_pb2.ReleaseSessionResponse),
            "ArtifactStatus": (
                base_pb2.ArtifactStatusesRequest,
                base_pb2.ArtifactStatusesResponse,
            ),
            "FetchErrorDetails": (
                base_pb2.FetchErrorDetailsRequest,
                base_pb2.FetchErrorDetailsResponse,
            ),
            "CloneSession": (base_pb2.CloneSessionRequest, base_pb2.CloneSessionResponse),
            "GetStatus": (base_pb2.GetStatusRequest, base_pb2.GetStatusResponse),
        }
        request_type, response_type = kinds[name]
        request = request_type(session_id=self.session_id, **fields)
        data = self.service.unary(name)(request.SerializeToString(), self.call)
        return response_type.FromString(data)

    def execute(self, plan: Any, operation_id: str | None = None, **fields: Any) -> list[Any]:
        return list(self.start(plan, operation_id, **fields))

    def start(self, plan: Any, operation_id: str | None = None, **fields: Any) -> Iterator[Any]:
        request = base_pb2.ExecutePlanRequest(
            session_id=self.session_id,
            operation_id=operation_id or str(uuid.uuid4()),
            plan=plan,
            **fields,
        )
        stream = self.service.streaming("ExecutePlan")(request.SerializeToString(), self.call)
        return map(base_pb2.ExecutePlanResponse.FromString, stream)

    def reattach(self, operation_id: str, after: str | None = None) -> list[Any]:
        request = base_pb2.ReattachExecuteRequest(
            session_id=self.session_id, operation_id=operation_id
        )
        if after is not None:
            request.last_response_id = after
        stream = self.service.streaming("ReattachExecute")(request.SerializeToString(), self.call)
        return [base_pb2.ExecutePlanResponse.FromString(data) for data in stream]

    def set(self, **settings: str) -> Any:
        pairs = [
            base_pb2.KeyValue(key=key.replace("_", "."), value=value)
            for key, value in settings.items()
        ]
        operation = base_pb2.ConfigRequest.Operation(set=base_pb2.ConfigRequest.Set(pairs=pairs))
        return self.unary("Config", operation=operation)


def relation(**kinds: Any) -> Any:
    return relations_pb2.Relation(**kinds)


def named(table: str) -> Any:
    return relations_pb2.Relation(
        read=relations_pb2.Read(
            named_table=relations_pb2.Read.NamedTable(unparsed_identifier=table)
        )
    )


def counted(table: str) -> Any:
    """Return the plan of `spark.table(table).groupBy().count()`."""
    expression = expressions_pb2.Expression
    call = expression.UnresolvedFunction(
        function_name="count",
        arguments=[expression(literal=expression.Literal(integer=1))],
    )
    alias = expression.Alias(expr=expression(unresolved_function=call), name=["count"])
    aggregate = relations_pb2.Aggregate(
        input=named(table), group_type=1, aggregate_expressions=[expression(alias=alias)]
    )
    return base_pb2.Plan(root=relations_pb2.Relation(aggregate=aggregate))


def direct(
    tables: Any = None, *, people: People | None = None, grid: bool = False, **options: Any
) -> DirectClient:
    """Return a client of a service of its own."""
    service = Service(
        tables or Tables(), people or People(), Sql(), grid=Grid(enabled=grid), **options
    )
    return DirectClient(service)


def rows_of(responses: list[Any]) -> list[Row]:
    """Return the rows of an answer."""
    batches = [
        pa.ipc.open_stream(r.arrow_batch.data).read_all()
        for r in responses
        if r.HasField("arrow_batch")
    ]
    return pa.concat_tables(batches).to_pylist()
