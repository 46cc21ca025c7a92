"""The embedded engine: DuckDB in this process, for inputs that fit one machine."""

from collections.abc import Mapping
from functools import partial

import pyarrow as pa

from privacy.dp.exact import ExactQuery
from privacy.dp.facts import TableFacts
from sandbox.engine.certificate import Claim, certify
from sandbox.engine.compile import compile_query
from sandbox.engine.database import Database, frame_name, positional
from sandbox.engine.physical import Cells
from sandbox.engine.prepare import prepared
from sandbox.engine.public import ARROW_TYPES, PublicEngine
from sandbox.engine.render import DUCKDB, Renderer
from sandbox.engine.run import Cancelled, ExactTable, Run, TableSource, gathered


class DuckDbEngine:
    """Runs checked questions in DuckDB. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        """Keep the database; it may be shared with a public engine."""
        self._database = database

    def prepare(
        self,
        query: ExactQuery,
        facts: Mapping[str, TableFacts],
        sources: Mapping[str, TableSource],
        *,
        claim: Claim,
        frames: Mapping[str, pa.Table] | None = None,
        cancelled: Cancelled | None = None,
    ) -> Run:
        """Evaluate public parts, compile, certify against `claim`; read no private row."""
        public = PublicEngine(self._database, lambda: sources, frames)
        ready = prepared(query, facts, lambda node: public.run(node, None, cancelled))
        plan = compile_query(ready.query, facts)
        certify(plan, claim, facts, ready.values(public))
        types = tuple(ARROW_TYPES[column.type] for column, _ in query.keys)
        return partial(self._answer, plan, types, sources, ready.rows, cancelled)

    def run(
        self,
        query: ExactQuery,
        tables: Mapping[str, TableSource],
        *,
        claim: Claim,
        frames: Mapping[str, pa.Table] | None = None,
        cancelled: Cancelled | None = None,
    ) -> ExactTable:
        """Prepare and run at once, over tables that are at hand."""
        facts = {name: source.facts for name, source in tables.items()}
        return self.prepare(query, facts, tables, claim=claim, frames=frames, cancelled=cancelled)()

    def _answer(
        self,
        plan: Cells,
        types: tuple[pa.DataType, ...],
        sources: Mapping[str, TableSource],
        rows: Mapping[str, pa.Table],
        cancelled: Cancelled | None,
    ) -> ExactTable:
        def view(name: str) -> str:
            return frame_name(name) if name in rows else self._database.view(sources[name])

        statements = Renderer(DUCKDB, view).statements(plan)
        texts = [sql for _, sql in statements.histograms]
        texts += [statements.cells] if statements.cells is not None else []
        given = {frame_name(d): positional(t) for d, t in rows.items()}
        answers = self._database.query(tuple(texts), given, cancelled)
        cells = answers.pop() if statements.cells is not None else None
        histograms = dict(zip((n for n, _ in statements.histograms), answers, strict=True))
        keys = tuple(name for name, _ in plan.keys)
        return gathered(keys, types, cells, histograms)
