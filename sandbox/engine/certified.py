"""From an exact query to a certified plan; no private row has been read when it is there."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from privacy.dp.exact import ExactQuery
from privacy.dp.facts import MAX_CELLS, TableFacts
from privacy.dp.plan import JoinOn, walk
from privacy.dp.predicate import equated
from privacy.dp.query import JoinKind
from privacy.dp.types import Value
from sandbox.engine.certificate import certify
from sandbox.engine.claim import Claim, above
from sandbox.engine.compile import compile_query
from sandbox.engine.database import Database
from sandbox.engine.physical import Cells
from sandbox.engine.prepare import Prepared, prepared
from sandbox.engine.public import ARROW_TYPES, PublicEngine
from sandbox.engine.run import Cancelled, TableSource
from sandbox.engine.turns import Turn


@dataclass(frozen=True, slots=True)
class Certified:
    """What an engine runs."""

    plan: Cells
    types: tuple[pa.DataType, ...]
    """One for each key."""
    rows: Mapping[str, pa.Table]
    """Public rows that the plan reads, by digest."""


def certified(
    query: ExactQuery,
    facts: Mapping[str, TableFacts],
    sources: Mapping[str, TableSource],
    database: Database,
    *,
    claim: Claim,
    frames: Mapping[str, pa.Table] | None,
    cancelled: Cancelled | None,
) -> Certified:
    """Evaluate public parts in `database`, compile, and certify against `claim`.

    Raises `CertificateError`. `sources` is asked for public tables only.
    """
    turn = Turn(cancelled=cancelled)
    public = PublicEngine(database, lambda: sources, frames, turn)
    ready = prepared(query, facts, public.run)
    settled = PublicEngine(database, lambda: sources, ready.rows, turn)
    _recount(ready, settled, claim)
    plan = compile_query(ready.query, facts)
    certify(plan, claim, facts, lambda column: _values(ready, settled, column))
    types = tuple(ARROW_TYPES[column.type] for column, _ in query.keys)
    return Certified(plan, types, ready.rows)


def _values(ready: Prepared, settled: PublicEngine, column: int) -> tuple[Value, ...] | None:
    """Return all values of a public column, null included, in the rows that will be read.

    None if they are more than any answer lists.
    """
    listed = settled.distinct(ready.public[column], (column,), MAX_CELLS)
    return None if listed is None else tuple(value for (value,) in listed)


def _recount(ready: Prepared, settled: PublicEngine, claim: Claim) -> None:
    """Raise unless no private row can meet more public rows than claimed, in what will be read."""
    for node in walk(ready.query.child):
        if not isinstance(node, JoinOn) or node.kind in (JoinKind.SEMI, JoinKind.ANTI):
            continue
        for side in (node.left, node.right):
            first = side.columns[0].id
            claimed = claim.public_multiplicities.get(first)
            if ready.public.get(first) is not side or claimed is None:
                continue  # Private, or refused by the certificate.
            keys = equated(node.condition, frozenset(c.id for c in side.columns))
            found = settled.multiplicity(side, tuple(sorted(keys)))
            if found > max(claimed, 1):
                raise above("rows of a public side that one private row meets", found, claimed)
