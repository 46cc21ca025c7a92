"""The life of a question: judge, price, reserve, compute, noise, record, read back, finish.

`Executor` is the one place where the privacy core, the engines and the marketplace meet. It decides
nothing about grants or budgets (the marketplace does) and nothing about sensitivity (the core
does).
An answer is built only from bytes read back after the marketplace committed them (soundness C.23).
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from privacy.dp.analysis import analyse
from privacy.dp.draw import Program, ReleasePlan, costs
from privacy.dp.facts import PublicData, PublicFacts, TableFacts
from privacy.dp.plan import Node, Scan, walk
from privacy.dp.query import Query
from privacy.dp.release import Exact, Release, price
from privacy.dp.resolve import NamedRelations, resolve
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.engine.refusals import too_large
from sandbox.engine.render import SPARK
from sandbox.engine.run import RunCancelled
from sandbox.gateway.ahead import Begun, Draw, Workers
from sandbox.gateway.answering import (
    Answer,
    Asker,
    Field,
    OperationHandle,
    Schema,
    TableSummary,
)
from sandbox.gateway.deadline import strict_seconds
from sandbox.gateway.explain import Priced, explain
from sandbox.gateway.intervals import Carrier
from sandbox.gateway.operations import CancelledError
from sandbox.gateway.stored import decode, encode

log = logging.getLogger(__name__)

HALF_WIDTH = "interval_"
"""Prefix of the observed entries that hold 95 % half-widths of a column."""


class PublicRunner(PublicData, Protocol):
    """Exact evaluation of public plans: the post-processor, and the source of public facts."""

    @property
    def frames(self) -> Mapping[str, pa.Table]:
        """What an engine has to be given beside tables: the client's frames and settled rows."""
        ...

    def run(self, node: Node) -> pa.Table:
        """Return all rows of a public plan, one column for each of `node.columns` by position."""
        ...


class Engines(Protocol):
    """The engines behind one question."""

    def choose(self, plans: tuple[ReleasePlan, ...], facts: PublicFacts, forced: str | None) -> str:
        """Return the engine's name, from public facts only."""
        ...

    def check(self, plan: ReleasePlan, facts: PublicFacts) -> None:
        """Refuse, before anything is charged, what an engine could not run."""
        ...

    def prepare(
        self,
        engine: str,
        plan: ReleasePlan,
        facts: PublicFacts,
        frames: Mapping[str, pa.Table],
        asker: str,
        cancelled: Callable[[], bool],
    ) -> Callable[[], Exact]:
        """Check the certificate of the compiled plan, reading no private row.

        The function returned runs it to exact bounded integers.
        """
        ...

    def public(
        self,
        tables: Mapping[str, TableFacts],
        frames: Mapping[str, pa.Table],
        asker: str,
        cancelled: Callable[[], bool] | None,
    ) -> PublicRunner:
        """Return a runner over the public tables among `tables` and these frames.

        It takes turns with other askers', for a limited time, and stops when its client gives up.
        """
        ...


class Tables(Protocol):
    """The lake, as far as public facts go."""

    def facts(self) -> Mapping[str, TableFacts]:
        """Return the facts of every table's current version."""
        ...


@dataclass(frozen=True, slots=True)
class Judged:
    """A question that may be asked, with its price."""

    plan: Node
    program: Program
    facts: PublicFacts
    runner: PublicRunner
    epsilon: str
    micro_rho: int
    shares: tuple[int, ...]
    engine: str
    purpose: str | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a paid answer leaves behind for the asker."""

    receipt: str
    cost_micro_rho: int
    cost_epsilon: str
    left_epsilon: str
    left_micro_rho: int
    answers: Mapping[str, bytes]
    """Release digest to the committed bytes."""
    proofs: tuple[str, ...] = ()
    """One `tlog-proof` for each release: what shows offline that it was logged."""


Compute = Callable[[int], tuple[bytes, Release]]
"""A prepared release: given its micro-rho, reads private rows and returns the noisy bytes."""


class Purse(Protocol):
    """The marketplace, as far as one question needs it."""

    def price(
        self, asker: Asker, tables: tuple[str, ...], epsilon: float | None
    ) -> tuple[str, int]:
        """Return the epsilon that applies, as text, and its micro-rho, within the grant."""
        ...

    def left(self, asker: Asker, domain: str) -> tuple[str, int]:
        """Return the asker's remaining budget of a unit domain, as epsilon and micro-rho."""
        ...

    def epsilon_for(self, micro_rho: int) -> float:
        """Return the epsilon whose price is about this many micro-rho."""
        ...

    def pay(
        self,
        asker: Asker,
        judged: Judged,
        operation_id: str,
        prepare: Callable[[ReleasePlan], Compute],
        settle: Callable[[], None],
    ) -> Receipt:
        """Reserve, compute what is not stored yet, record, and read the committed bytes back.

        What fails while preparing has read nothing and is refunded. Once data may have been read,
        `settle` waits for the time at which the record may be made.
        """
        ...


class Executor:
    """Answers questions. Implements `sandbox.gateway.answering.Answering`."""

    def __init__(
        self,
        tables: Tables,
        engines: Engines,
        purse: Purse,
        noise: Draw,
        *,
        strict: bool = False,
    ) -> None:
        """`noise` is `privacy.dp.release.Noising`; only conformance tests pass another.

        With `strict`, what is computed leaves at a time that the plan and public facts decide.
        """
        self._tables, self._engines, self._purse = tables, engines, purse
        self._strict = strict
        self._workers = Workers(noise)

    def schema(self, asker: Asker, query: Query) -> Schema:
        """Return the columns of the answer; a row-wise private question has a schema too."""
        node, _, tables = self._resolved(asker, query)
        described = _descriptions(node, tables)
        return tuple(
            Field(c.name, c.type, c.nullable, described.get(c.id, {})) for c in node.columns
        )

    def explain(self, asker: Asker, query: Query, *, extended: bool) -> str:
        """Return the privacy plan and its price; free, and without touching data."""
        del extended
        judged = self._judged(asker, query)
        language = asker.settings.language
        releases = judged.program.releases
        if not releases:
            priced = Priced("0", 0, (), "", 0, 0.0, 0.0)
        else:
            left, micro = self._purse.left(asker, releases[0].domain)
            priced = Priced(
                epsilon=judged.epsilon,
                micro_rho=sum(judged.shares),
                shares=judged.shares,
                left_epsilon=left,
                left_micro_rho=micro,
                twice_epsilon=self._purse.epsilon_for(judged.micro_rho * 4),
                ten_epsilon=self._purse.epsilon_for(judged.micro_rho * 100),
                strict_seconds=strict_seconds(releases, judged.facts, judged.engine)
                if self._strict
                else None,
            )
        return explain(judged.program, priced, judged.engine, language)

    def answer(self, asker: Asker, query: Query, operation: OperationHandle) -> Answer:
        """Answer the question, once for each operation id."""
        operation.phase("check")
        with _told_as_cancelled():
            judged = self._judged(asker, query, operation.cancelled)
        if not judged.program.releases:
            operation.phase("compute")
            with _told_as_cancelled():
                table = judged.runner.run(judged.program.plan)
            return Answer(_schema(judged.program.plan), table, private=False)
        operation.phase("reserve")
        begun = self._begun(asker, judged, operation)

        def prepare(plan: ReleasePlan) -> Compute:
            operation.phase("reserve")
            with _told_as_cancelled():
                run = begun.run(plan)

            if self._strict:
                operation.answer_at(
                    strict_seconds(judged.program.releases, judged.facts, judged.engine)
                )
            # The last moment at which giving up costs nothing.
            operation.phase("compute")

            def compute(micro_rho: int) -> tuple[bytes, Release]:
                # Noise takes about 10 µs a cell, as long as a small question: beside the engine.
                add_noise = begun.noise(plan, micro_rho)
                with _told_as_cancelled():
                    exact = run()
                noisy = add_noise(exact)
                return encode(plan, noisy), noisy

            return compute

        try:
            receipt = self._purse.pay(
                asker, judged, operation.operation_id, prepare, operation.settle
            )
        finally:
            begun.drop()
        with _told_as_cancelled():
            return self._answered(asker, judged, receipt, operation.cancelled)

    def _begun(self, asker: Asker, judged: Judged, operation: OperationHandle) -> Begun:
        def prepare(plan: ReleasePlan) -> Callable[[], Exact]:
            return self._engines.prepare(
                judged.engine,
                plan,
                judged.facts,
                judged.runner.frames,
                asker.user,
                operation.cancelled,
            )

        begun = Begun(self._workers, prepare)
        if judged.engine == SPARK:
            begun.begin(judged.program.releases, judged.shares)
        return begun

    def tables(self, asker: Asker) -> tuple[TableSummary, ...]:
        """Return the tables that the asker may name."""
        return tuple(
            TableSummary(name, facts.description, facts.is_private)
            for name, facts in sorted(self._visible(asker).items())
        )

    def table_columns(self, asker: Asker, name: str) -> Schema:
        """Return the columns of one table, with meaning, unit and bounds as comments."""
        facts = self._visible(asker).get(name.lower())
        if facts is None:
            raise _unknown_table(name)
        return tuple(
            Field(c.name, c.type, c.nullable, _comment(facts, c.name)) for c in facts.columns
        )

    def _visible(self, asker: Asker) -> dict[str, TableFacts]:
        granted = getattr(asker.account, "tables", {})
        return {
            name: facts
            for name, facts in self._tables.facts().items()
            if not facts.is_private or name in granted
        }

    def _resolved(
        self, asker: Asker, query: Query
    ) -> tuple[Node, float | None, dict[str, TableFacts]]:
        tables = self._visible(asker)
        frames = {digest: _frame_fields(table) for digest, table in asker.frames.items()}
        with _within_depth():
            resolved = resolve(query, NamedRelations(tables, asker.views, frames))
        return resolved.node, resolved.epsilon, tables

    def _judged(
        self, asker: Asker, query: Query, cancelled: Callable[[], bool] | None = None
    ) -> Judged:
        node, hinted, tables = self._resolved(asker, query)
        runner = self._engines.public(tables, asker.frames, asker.user, cancelled)
        facts = PublicFacts(tables, runner, asker.settings.cohorts)
        settings = asker.settings
        with _within_depth():
            program = analyse(node, facts)
            for release in program.releases:
                self._engines.check(release, facts)
        engine = self._engines.choose(program.releases, facts, settings.engine)
        if not program.releases:
            return Judged(node, program, facts, runner, "0", 0, (), engine, settings.purpose)
        set_epsilon = None if settings.epsilon is None else float(settings.epsilon)
        wished = hinted if hinted is not None else set_epsilon
        names = tuple(sorted({t for r in program.releases for t in r.tables}))
        private = tuple(n for n in names if tables[n].is_private)
        epsilon, micro_rho = self._purse.price(asker, private, wished)
        shares = tuple(c.micro_rho for c in costs(program, micro_rho))
        for plan, share in zip(program.releases, shares, strict=True):
            price(plan, share)
        return Judged(
            node, program, facts, runner, epsilon, micro_rho, shares, engine, settings.purpose
        )

    def _answered(
        self, asker: Asker, judged: Judged, receipt: Receipt, cancelled: Callable[[], bool]
    ) -> Answer:
        digests = frozenset(r.digest for r in judged.program.releases)
        frames = {d: decode(data) for d, data in receipt.answers.items()}
        given = {**asker.frames, **frames}
        runner = self._engines.public(judged.facts.tables, given, asker.user, cancelled)
        carried = Carrier(digests).carry(judged.program.plan)
        # Positions, not names: a client may well name two columns alike.
        full = runner.run(carried.node)
        visible = len(judged.program.plan.columns)
        position = {c.id: i for i, c in enumerate(carried.node.columns)}
        observed: dict[str, object] = {
            "receipt": receipt.receipt,
            "proofs": json.dumps(receipt.proofs),
            "epsilon": receipt.cost_epsilon,
            "cost_micro_rho": receipt.cost_micro_rho,
            "remaining_epsilon": receipt.left_epsilon,
            "remaining_micro_rho": receipt.left_micro_rho,
            "engine": judged.engine,
        }
        for column in judged.program.plan.columns:
            if column.id in carried.widths:
                halves = full.column(position[carried.widths[column.id]]).to_pylist()
                observed[HALF_WIDTH + column.name] = _compact(halves)
        schema = _schema(judged.program.plan)
        table = full.select(list(range(visible)))
        return Answer(schema, table, private=True, observed={"lab": observed})  # type: ignore[dict-item]


@contextmanager
def _told_as_cancelled() -> Iterator[None]:
    try:
        yield
    except RunCancelled as stopped:
        raise CancelledError from stopped


@contextmanager
def _within_depth() -> Iterator[None]:
    """Refuse what is nested beyond the interpreter's stack, before anything is charged."""
    try:
        yield
    except RecursionError:
        raise too_large() from None


def plan_digest(judged: Judged) -> str:
    """Return the identity of a whole question: its releases, in order."""
    joined = "\n".join(r.digest for r in judged.program.releases)
    return hashlib.sha256(joined.encode()).hexdigest()


def _schema(node: Node) -> Schema:
    return tuple(Field(c.name, c.type, c.nullable) for c in node.columns)


def _compact(halves: list[float | None]) -> float | str:
    """Return one number when all cells share it, else the list as JSON (metrics are scalars)."""
    distinct = set(halves)
    if len(distinct) == 1 and None not in distinct:
        (only,) = distinct
        return float(only)  # type: ignore[arg-type]
    return json.dumps(halves)


def _descriptions(node: Node, tables: Mapping[str, TableFacts]) -> dict[int, Mapping[str, str]]:
    return {
        column.id: _comment(tables[scan.table], source)
        for scan in walk(node)
        if isinstance(scan, Scan)
        for column, source in zip(scan.columns, scan.sources, strict=True)
    }


def _comment(facts: TableFacts, name: str) -> Mapping[str, str]:
    column = facts.column(name)
    parts = [column.description] if column.description else []
    if column.unit:
        parts.append(f"unit {column.unit}")
    if column.low is not None and column.high is not None:
        parts.append(f"bounds {column.low:g} to {column.high:g}")
    if column.domain is not None:
        parts.append(f"{len(column.domain)} declared values")
    if name == facts.unit_column:
        parts.append("protected unit")
    return {"comment": "; ".join(parts)} if parts else {}


_FROM_ARROW = {
    pa.bool_(): DataType.BOOLEAN,
    pa.int32(): DataType.INTEGER,
    pa.int64(): DataType.LONG,
    pa.float64(): DataType.DOUBLE,
    pa.utf8(): DataType.STRING,
    pa.date32(): DataType.DATE,
    pa.null(): DataType.NULL,
}


def _frame_fields(table: pa.Table) -> tuple[tuple[str, DataType], ...]:
    return tuple((f.name, _FROM_ARROW[f.type]) for f in table.schema)


def _unknown_table(name: str) -> Refusal:
    return Refusal(
        "UNKNOWN_TABLE",
        f"There is no table `{name}` that you may use. spark.catalog.listTables() shows yours.",
        f"没有您可使用的表 `{name}`。spark.catalog.listTables() 可列出您的表。",
    )
