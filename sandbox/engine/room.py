"""The engines side by side: which one runs a question, over which files, with which claim.

The choice reads public facts only. Spark starts in the background and serves what asks for it; the
embedded engine answers from the first second.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from privacy.dp.draw import ReleasePlan
from privacy.dp.exact import Measure, MeasureKind
from privacy.dp.facts import PublicFacts, TableFacts
from privacy.dp.plan import Node
from privacy.dp.release import Exact
from privacy.dp.types import Value
from privacy.errors import Refusal
from sandbox.engine.certificate import Claim
from sandbox.engine.database import Database
from sandbox.engine.duckdb import DuckDbEngine
from sandbox.engine.prepare import check_supported
from sandbox.engine.public import PublicEngine
from sandbox.engine.run import Cancelled, EngineFailure, TableSource
from sandbox.engine.spark import SparkEngine
from sandbox.engine.turns import Turn, Turns
from sandbox.lake.catalogue import Lake

DUCKDB, SPARK = "duckdb", "spark"
EMBEDDED_ROWS = 200_000_000
"""Largest number of rows, by contract caps, that the embedded engine takes without being told."""

EMBEDDED_PLACES = 4
"""Private questions that the embedded engine runs at once; one asker has all but one of them."""

PUBLIC_SECONDS = 60.0
"""Running time of one question's public parts; it touches nobody's privacy, only others' turns."""


class LakeTables:
    """`sandbox.gateway.execute.Tables` over the lake."""

    def __init__(self, lake: Lake) -> None:
        """Read manifests through `lake`, which caches them by pointer."""
        self._lake = lake

    def facts(self) -> Mapping[str, TableFacts]:
        """Return the facts of every table's current version."""
        return {name: stored.facts for name, stored in self._lake.tables().items()}


@dataclass(frozen=True, slots=True)
class EngineRoom:
    """`sandbox.gateway.execute.Engines` over the lake, DuckDB and Spark."""

    lake: Lake
    public_database: Database
    embedded: DuckDbEngine
    spark: SparkEngine | None
    embedded_rows: int = EMBEDDED_ROWS
    turns: Turns = field(default_factory=lambda: Turns(EMBEDDED_PLACES + 1, EMBEDDED_PLACES - 1))

    def choose(self, plans: tuple[ReleasePlan, ...], facts: PublicFacts, forced: str | None) -> str:
        """Return `duckdb` or `spark`: what the session forces, else by contract caps."""
        if forced == SPARK and self.spark is None:
            raise Refusal(
                "UNSUPPORTED",
                "Spark is switched off in this lab. Unset lab.engine to use the embedded engine.",
                "本实验室未启用 Spark。请取消 lab.engine 设置以使用内嵌引擎。",
            )
        if forced is not None:
            return forced
        tables = {t for plan in plans for t in plan.tables}
        rows = sum(_most_rows(facts.tables[t]) for t in tables)
        return SPARK if self.spark is not None and rows > self.embedded_rows else DUCKDB

    def check(self, plan: ReleasePlan, facts: PublicFacts) -> None:
        """Refuse, before anything is charged, what an engine could not run."""
        check_supported(plan.exact, facts.tables)

    def prepare(
        self,
        engine: str,
        plan: ReleasePlan,
        facts: PublicFacts,
        frames: Mapping[str, pa.Table],
        asker: str,
        cancelled: Callable[[], bool],
    ) -> Callable[[], Exact]:
        """Certify the compiled plan; the function returned runs it to exact bounded integers."""
        runner = self.embedded if engine == DUCKDB else self.spark
        if runner is None:
            raise EngineFailure
        tables = {name: facts.tables[name] for name in plan.tables}
        run = runner.prepare(
            plan.exact,
            tables,
            LakeSources(self.lake, tables),
            claim=claim_of(plan),
            frames=frames,
            cancelled=cancelled,
        )

        def exact() -> Exact:
            if engine != DUCKDB:
                return run().exact()
            with self.turns.place(Turn(asker, cancelled)):
                return run().exact()

        return exact

    def public(
        self,
        tables: Mapping[str, TableFacts],
        frames: Mapping[str, pa.Table],
        asker: str,
        cancelled: Cancelled | None,
    ) -> "PublicRooms":
        """Return a runner over the public tables among `tables` and these frames, for one asker."""
        return PublicRooms(self, tables, frames, Turn(asker, cancelled, PUBLIC_SECONDS))


class LakeSources(Mapping[str, TableSource]):
    """The tables of one question; a table's files are decrypted when it is first asked for."""

    def __init__(self, lake: Lake, facts: Mapping[str, TableFacts]) -> None:
        """Locate nothing yet."""
        self._lake, self._facts = lake, facts

    def __getitem__(self, name: str) -> TableSource:
        """Return a table version with its files, decrypted."""
        facts = self._facts[name]
        return TableSource(facts, self._lake.local_files(name, facts.version))

    def __iter__(self) -> Iterator[str]:
        """Iterate over names."""
        return iter(self._facts)

    def __len__(self) -> int:
        """Return the number of tables."""
        return len(self._facts)


class PublicRooms:
    """Evaluates public plans; a private table's files are never handed to it."""

    def __init__(
        self,
        room: EngineRoom,
        tables: Mapping[str, TableFacts],
        frames: Mapping[str, pa.Table],
        turn: Turn,
    ) -> None:
        """Look files up only when a plan reads them."""
        public = {name: known for name, known in tables.items() if not known.is_private}
        sources = LakeSources(room.lake, public)
        self._engine = PublicEngine(room.public_database, lambda: sources, frames, turn)

    @property
    def frames(self) -> Mapping[str, pa.Table]:
        """What an engine has to be given beside tables: the client's frames and settled rows."""
        return self._engine.frames

    def settled(self, node: Node) -> Node:
        """Return a public plan of the same columns whose rows are decided from here on."""
        return self._engine.settled(node)

    def run(self, node: Node) -> pa.Table:
        """Return all rows of a public plan."""
        return self._engine.run(node)

    def distinct(
        self, node: Node, column_ids: tuple[int, ...], most: int
    ) -> tuple[tuple[Value, ...], ...] | None:
        """Return the distinct tuples of these columns, sorted, nulls first; None above `most`."""
        return self._engine.distinct(node, column_ids, most)

    def extremes(self, node: Node, column_id: int) -> tuple[float, float] | None:
        """Return the smallest and the largest finite number of a column."""
        return self._engine.extremes(node, column_id)

    def longest(self, node: Node, column_id: int) -> int:
        """Return the number of characters of a column's longest text."""
        return self._engine.longest(node, column_id)

    def multiplicity(self, node: Node, column_ids: tuple[int, ...]) -> int:
        """Return the largest number of rows that share these columns' values."""
        return self._engine.multiplicity(node, column_ids)

    def evaluate(self, node: Node) -> tuple[tuple[Value, ...], ...]:
        """Return all rows of a small public plan."""
        return self._engine.evaluate(node)


def claim_of(plan: ReleasePlan) -> Claim:
    """Return what the noise of a release was derived from, for the certificate to check."""
    sizes: tuple[int | None, ...] = ()
    if plan.cells is not None:
        sizes = tuple(len({cell[i] for cell in plan.cells}) or 1 for i in range(len(plan.keys)))
    return Claim(
        rows_per_unit=plan.contribution.rows,
        groups_per_unit=plan.contribution.groups,
        rows_per_group=plan.contribution.rows_in_group,
        measures={m.name: _range(m) for m in plan.exact.measures},
        squared_l2=_claimed_l2(plan),
        public_multiplicities=dict(plan.multiplicities),
        cells=None if plan.cells is None else max(len(plan.cells), 1),
        key_sizes=sizes,
        cohorts=plan.exact.cohorts,
    )


def _claimed_l2(plan: ReleasePlan) -> dict[str, int]:
    """Return, for each measure with Gaussian noise, the least sensitivity any of its draws used."""
    found: dict[str, int] = {}
    for draw in plan.draws:
        if draw.mechanism == "gaussian":
            known = found.get(draw.measure, draw.squared_l2)
            found[draw.measure] = min(known, draw.squared_l2)
    return found


def _range(measure: Measure) -> tuple[int, int]:
    match measure.kind:
        case MeasureKind.ROWS | MeasureKind.UNITS:
            return (0, 1)
        case MeasureKind.HISTOGRAM:
            return (0, measure.buckets - 1)
        case MeasureKind.SUM:
            low, high = measure.low - measure.offset, measure.high - measure.offset
            if measure.square:
                return (0, max(low * low, high * high))
            return (low, high)


def _most_rows(facts: TableFacts) -> int:
    if not facts.is_private:
        return 0
    return (facts.max_units or 0) * (facts.max_rows_per_unit or 1)
