"""The embedded engine: DuckDB in this process, for inputs that fit one machine."""

from collections.abc import Mapping

import pyarrow as pa

from privacy.dp.exact import ExactQuery
from sandbox.engine.certificate import Claim, certify
from sandbox.engine.compile import compile_query
from sandbox.engine.database import Database, frame_name, positional
from sandbox.engine.prepare import prepared
from sandbox.engine.public import ARROW_TYPES, PublicEngine
from sandbox.engine.render import DUCKDB, Renderer
from sandbox.engine.run import Cancelled, ExactTable, TableSource, gathered


class DuckDbEngine:
    """Runs checked questions in DuckDB. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        """Keep the database; it may be shared with a public engine."""
        self._database = database

    def run(
        self,
        query: ExactQuery,
        tables: Mapping[str, TableSource],
        *,
        claim: Claim,
        frames: Mapping[str, pa.Table] | None = None,
        cancelled: Cancelled | None = None,
    ) -> ExactTable:
        """Certify the compiled plan against `claim`, run it, return exact integers."""
        facts = {name: source.facts for name, source in tables.items()}
        public = PublicEngine(self._database, lambda: tables, frames)
        ready = prepared(query, facts, lambda node: public.run(node, None, cancelled))
        query, rows = ready.query, ready.rows
        plan = compile_query(query, facts)
        certify(plan, claim, facts, ready.values(public))

        def view(name: str) -> str:
            return frame_name(name) if name in rows else self._database.view(tables[name])

        statements = Renderer(DUCKDB, view).statements(plan)
        texts = [sql for _, sql in statements.histograms]
        texts += [statements.cells] if statements.cells is not None else []
        given = {frame_name(d): positional(t) for d, t in rows.items()}
        answers = self._database.query(tuple(texts), given, cancelled)
        cells = answers.pop() if statements.cells is not None else None
        histograms = dict(zip((n for n, _ in statements.histograms), answers, strict=True))
        keys = tuple(name for name, _ in plan.keys)
        types = tuple(ARROW_TYPES[column.type] for column, _ in query.keys)
        return gathered(keys, types, cells, histograms)
