"""What one `ExecutePlan` does: answer a question, show it as text, or carry out a command."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pyarrow as pa

from privacy.dp.query import Limit
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.gateway.answering import Answer, Answering, Field
from sandbox.gateway.auth import Caller
from sandbox.gateway.catalog import Catalog
from sandbox.gateway.decode import Decoder, Question, SqlParser
from sandbox.gateway.fields import Fields, check_text, incomplete
from sandbox.gateway.operations import Operation, Outcome
from sandbox.gateway.refusals import unsupported_command, unsupported_relation
from sandbox.gateway.respond import answer_responses, batches, sql_response, typed
from sandbox.gateway.session import Session
from sandbox.gateway.show import html_string, show_string
from sandbox.gateway.sql_tree import check_name
from sandbox.gateway.tree import without_labels
from sandbox.gateway.wire import too_large

Proto = Any
"""A message of the client's protocol: its generated classes have no usable annotations."""

MAX_SHOWN_ROWS: Final = 10_000

_TEXTS: Final = frozenset({"show_string", "html_string"})


class PlanRunner:
    """Carries out plans."""

    def __init__(self, answering: Answering, sql: SqlParser) -> None:
        """Ask `answering`; read SQL with `sql`."""
        self._answering, self._sql = answering, sql

    def execute(
        self, caller: Caller, session: Session, plan: Proto, operation: Operation
    ) -> Outcome:
        """Return the messages that answer `plan`."""
        fields = Fields(plan, "plan")
        command, root = fields.take("command"), fields.take("root")
        fields.finish()
        if command is not None:
            return self._command(caller, session, command)
        if root is None:
            incomplete("plan", "root")
        kind = root.WhichOneof("rel_type")
        if kind in _TEXTS:
            return self._text(caller, session, root, operation)
        if kind == "catalog":
            inner = Fields(root, "relation")
            message = inner.take("catalog")
            inner.take("common")
            inner.finish()
            table = Catalog(self._answering, session, session.asker(caller)).answer(message)
            return Outcome(tuple(batches(table)))
        question = self._decode(session, root)
        answer = self._answering.answer(session.asker(caller, question), question.query, operation)
        return Outcome(tuple(answer_responses(answer)), answer.private)

    def _decode(self, session: Session, relation: Proto) -> Question:
        return Decoder(self._sql, session.views()).question(relation)

    def _text(self, caller: Caller, session: Session, root: Proto, operation: Operation) -> Outcome:
        kind = root.WhichOneof("rel_type")
        outer = Fields(root, "relation")
        fields = Fields(outer.take(kind), kind)
        outer.take("common")
        outer.finish()
        child, rows = fields.need("input"), max(0, fields.take("num_rows", 0))
        truncate = fields.take("truncate", 0)
        vertical = bool(fields.take("vertical", default=False))
        fields.finish()
        if rows > MAX_SHOWN_ROWS:
            raise too_large(f"{MAX_SHOWN_ROWS} rows to show", f"显示至多 {MAX_SHOWN_ROWS} 行")
        question = self._decode(session, child)
        # One row more than is shown tells whether there are more.
        answer = self._answering.answer(
            session.asker(caller, question), Limit(question.query, rows + 1), operation
        )
        names = [each.name for each in answer.schema]
        table = typed(answer.table, answer.schema)
        if kind == "show_string":
            text = show_string(names, table, rows, truncate, vertical=vertical)
        else:
            text = html_string(names, table, rows, truncate)
        shown = Answer(
            (Field(kind, DataType.STRING, nullable=False),),
            pa.table({kind: pa.array([text], pa.string())}),
            answer.private,
            answer.observed,
        )
        return Outcome(tuple(answer_responses(shown)), answer.private)

    def _command(self, caller: Caller, session: Session, command: Proto) -> Outcome:
        kind = command.WhichOneof("command_type")
        handler = COMMANDS.get(kind)
        if handler is None:
            raise unsupported_command(kind)
        fields = Fields(getattr(command, kind), kind)
        outcome = handler(self, caller, session, fields)
        fields.finish()
        return outcome

    def sql(self, caller: Caller, session: Session, fields: Fields) -> Outcome:
        """Check a text now, so that its errors show at `spark.sql`, and hand it back as a plan."""
        relation = fields.need("input")
        if relation.WhichOneof("rel_type") not in ("sql", "with_relations"):
            raise unsupported_relation(relation.WhichOneof("rel_type"))
        question = self._decode(session, relation)
        self._answering.schema(session.asker(caller, question), question.query)
        return Outcome((sql_response(relation),))

    def create_view(self, caller: Caller, session: Session, fields: Fields) -> Outcome:
        """Keep a question under a name, checked and with all names in it settled."""
        relation = fields.need("input")
        name = check_name(check_text(fields.text("name")))
        replace = bool(fields.take("replace", default=False))
        fields.require("is_global", False)  # noqa: FBT003  # a field's value
        asker = session.asker(caller)
        if any(each.name.lower() == name.lower() for each in self._answering.tables(asker)):
            raise Refusal(
                "UNSUPPORTED",
                f"`{name}` is a table of the lab; a view of that name would hide it. "
                "Choose another name.",
                f"`{name}` 是实验室的表，同名视图会将其遮蔽。请换用其他名称。",
            )
        question = self._decode(session, relation)
        self._answering.schema(session.asker(caller, question), question.query)
        body = Question(without_labels(question.query), question.frames)
        session.add_view(name, body, replace=replace)
        return Outcome(())

    def clean_cache(self, _: Caller, __: Session, fields: Fields) -> Outcome:
        """Do nothing, quickly: every client sends this when its process ends."""
        fields.need("clean_cache")
        return Outcome(())


COMMANDS: Final[Mapping[str | None, Callable[[PlanRunner, Caller, Session, Fields], Outcome]]] = {
    "sql_command": PlanRunner.sql,
    "create_dataframe_view": PlanRunner.create_view,
    "ml_command": PlanRunner.clean_cache,
}
"""Commands that are carried out. All others are refused by name."""
