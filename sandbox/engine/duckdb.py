"""The embedded engine: DuckDB in this process, for inputs that fit one machine."""

from collections.abc import Mapping
from functools import partial

import pyarrow as pa

from privacy.dp.exact import ExactQuery
from privacy.dp.facts import TableFacts
from sandbox.engine.certified import Certified, certified
from sandbox.engine.claim import Claim
from sandbox.engine.database import Database, frame_name, positional
from sandbox.engine.render import DUCKDB, Renderer
from sandbox.engine.run import Cancelled, Engine, ExactTable, Run, TableSource, gathered
from sandbox.engine.turns import Turn


class DuckDbEngine(Engine):
    """Runs checked questions in DuckDB. Safe to share between threads."""

    def __init__(self, database: Database, public: Database | None = None) -> None:
        """Keep the database of private runs, and the one of public parts; None: the same."""
        self._database, self._public = database, public or database

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
        checked = certified(
            query, facts, sources, self._public, claim=claim, frames=frames, cancelled=cancelled
        )
        return partial(self._answer, checked, sources, cancelled)

    def _answer(
        self, checked: Certified, sources: Mapping[str, TableSource], cancelled: Cancelled | None
    ) -> ExactTable:
        rows = checked.rows

        def view(name: str) -> str:
            return frame_name(name) if name in rows else self._database.view(sources[name])

        statements = Renderer(DUCKDB, view).statements(checked.plan)
        texts = [sql for _, sql in statements.histograms]
        texts += [statements.cells] if statements.cells is not None else []
        given = {frame_name(d): positional(t) for d, t in rows.items()}
        answers = self._database.query(tuple(texts), given, Turn(cancelled=cancelled))
        cells = answers.pop() if statements.cells is not None else None
        histograms = dict(zip((n for n, _ in statements.histograms), answers, strict=True))
        keys = tuple(name for name, _ in checked.plan.keys)
        return gathered(keys, checked.types, cells, histograms)
