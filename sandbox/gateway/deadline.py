"""Strict time: when an answer leaves, from its plan and public facts alone (soundness E.28).

The default grid hides little differences of time; with strict time nothing of it depends on rows.
The price is waiting: the contracts' caps, not the rows that are there, decide how long.
"""

from collections.abc import Sequence

from privacy.dp.draw import ReleasePlan
from privacy.dp.exact import MeasureKind
from privacy.dp.facts import PublicFacts
from privacy.dp.plan import Scan, walk
from sandbox.gateway.operations import DEADLINE_SECONDS, Grid

BASE_SECONDS = {"duckdb": 1.0, "spark": 8.0}
"""What a question takes besides its scans: ledger, compiling, noise, a garbage collection."""
ROWS_PER_SECOND = {"duckdb": 5_000_000, "spark": 2_000_000}
"""Rows of one scan for one statement: on 2 cores, 10.4 million rows of the benchmark's slowest
query (an open key) take 0.9 s and 9.5 s, and its caps allow 36 million."""


def strict_seconds(plans: Sequence[ReleasePlan], facts: PublicFacts, engine: str) -> float:
    """Return the seconds from a question's arrival to its answer, a slot of the default grid."""
    seconds = BASE_SECONDS[engine]
    for plan in plans:
        kinds = [m.kind for m in plan.exact.measures]
        statements = kinds.count(MeasureKind.HISTOGRAM) + (set(kinds) != {MeasureKind.HISTOGRAM})
        scanned = [facts.tables[n.table] for n in walk(plan.exact.child) if isinstance(n, Scan)]
        rows = sum((t.max_units or 0) * (t.max_rows_per_unit or 1) for t in scanned)
        # A join or a union may make more rows of a unit than any table has.
        made = max((t.max_units or 0 for t in scanned if t.is_private), default=0) * plan.most_rows
        rows = max(rows, made)
        seconds += statements * rows / ROWS_PER_SECOND[engine]
    return min(Grid().slot(seconds), DEADLINE_SECONDS)
