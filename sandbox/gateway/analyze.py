"""Questions about a plan that touch no data: its schema and its privacy plan."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from pyspark.sql.connect.proto import base_pb2

from privacy.errors import Refusal
from sandbox.gateway.answering import Answering, Field
from sandbox.gateway.auth import Caller
from sandbox.gateway.decode import Decoder, Question, SqlParser
from sandbox.gateway.fields import Fields, incomplete
from sandbox.gateway.frames import read_ddl
from sandbox.gateway.respond import schema_message
from sandbox.gateway.session import Session

Proto = Any
"""A message of the client's protocol: its generated classes have no usable annotations."""

SPARK_VERSION: Final = "4.3.0"
"""The version whose language and protocol the lab speaks."""

_EXTENDED: Final = frozenset({2, 4, 5})
"""`explain` modes extended, cost and formatted: all show the extended privacy plan, no sizes."""


class Analyzer:
    """Answers `AnalyzePlan`."""

    def __init__(self, answering: Answering, sql: SqlParser) -> None:
        """Ask `answering`; read SQL with `sql`."""
        self._answering, self._sql = answering, sql

    def analyze(self, caller: Caller, session: Session, request: Fields) -> Proto:
        """Return the response to the one question that `request` holds."""
        for kind, handler in HANDLERS.items():
            message = request.take(kind)
            if message is None:
                continue
            request.finish()
            fields = Fields(message, kind)
            response = base_pb2.AnalyzePlanResponse()
            handler(self, caller, session, fields, response)
            fields.finish()
            return response
        for kind in REFUSED:
            if request.take(kind) is not None:
                raise Refusal(
                    "UNSUPPORTED",
                    f"`{kind}` is not supported here. Use df.schema, df.explain() or df.show().",
                    f"此处不支持 `{kind}`。请使用 df.schema、df.explain() 或 df.show()。",
                )
        request.finish()
        return incomplete("AnalyzePlan", "question")

    def schema(self, caller: Caller, session: Session, fields: Fields, response: Proto) -> None:
        """Return the columns of a plan."""
        question = self._question(session, fields)
        schema = self._answering.schema(session.asker(caller, question), question.query)
        response.schema.schema.CopyFrom(schema_message(schema))

    def explain(self, caller: Caller, session: Session, fields: Fields, response: Proto) -> None:
        """Return the privacy plan and its price."""
        extended = fields.take("explain_mode", 0) in _EXTENDED
        question = self._question(session, fields)
        asker = session.asker(caller, question)
        text = self._answering.explain(asker, question.query, extended=extended)
        response.explain.explain_string = text

    def version(self, _: Caller, __: Session, ___: Fields, response: Proto) -> None:
        """Return the version of Spark."""
        response.spark_version.version = SPARK_VERSION

    def ddl(self, _: Caller, __: Session, fields: Fields, response: Proto) -> None:
        """Return a schema given as text."""
        columns = read_ddl(str(fields.need("ddl_string")))
        schema = tuple(Field(name, type_) for name, type_ in columns)
        response.ddl_parse.parsed.CopyFrom(schema_message(schema))

    def is_local(self, _: Caller, __: Session, fields: Fields, response: Proto) -> None:
        """Return false: nothing runs in the client."""
        fields.take("plan")
        response.is_local.is_local = False

    def is_streaming(self, _: Caller, __: Session, fields: Fields, response: Proto) -> None:
        """Return false: tables do not stream."""
        fields.take("plan")
        response.is_streaming.is_streaming = False

    def persist(self, _: Caller, __: Session, fields: Fields, response: Proto) -> None:
        """Do nothing: answers are stored anyway, and rows are never kept for a user."""
        fields.take("relation")
        fields.take("storage_level")
        response.persist.SetInParent()

    def unpersist(self, _: Caller, __: Session, fields: Fields, response: Proto) -> None:
        """Do nothing, as `persist`."""
        fields.take("relation")
        fields.take("blocking")
        response.unpersist.SetInParent()

    def storage_level(self, _: Caller, __: Session, fields: Fields, response: Proto) -> None:
        """Return the level "not stored"."""
        fields.take("relation")
        response.get_storage_level.storage_level.replication = 1

    def _question(self, session: Session, fields: Fields) -> Question:
        plan = Fields(fields.need("plan"), "plan")
        root = plan.need("root")
        plan.finish()
        return Decoder(self._sql, session.views()).question(root)


HANDLERS: Final[Mapping[str, Callable[[Analyzer, Caller, Session, Fields, Proto], None]]] = {
    "schema": Analyzer.schema,
    "explain": Analyzer.explain,
    "spark_version": Analyzer.version,
    "ddl_parse": Analyzer.ddl,
    "is_local": Analyzer.is_local,
    "is_streaming": Analyzer.is_streaming,
    "persist": Analyzer.persist,
    "unpersist": Analyzer.unpersist,
    "get_storage_level": Analyzer.storage_level,
}
"""Kinds of analysis that are answered."""

REFUSED: Final = frozenset(
    {"tree_string", "input_files", "same_semantics", "semantic_hash", "json_to_ddl"}
)
"""Kinds that are refused by name: paths, sizes and hashes of plans are nobody's business."""
