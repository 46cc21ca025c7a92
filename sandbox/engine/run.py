"""What running a question takes and gives, whichever engine runs it."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from privacy.dp.exact import ExactQuery
from privacy.dp.facts import TableFacts
from privacy.dp.release import Exact

if TYPE_CHECKING:
    from sandbox.engine.certificate import Claim

POLL_SECONDS = 0.05
"""How often a running question asks whether it was cancelled."""

Cancelled = Callable[[], bool]
"""Whether the client has given up."""


class EngineFailure(Exception):  # noqa: N818 - a failure after data access, with one constant text
    """A run that failed. It holds no word of the engine: engines quote values in their messages."""

    def __init__(self) -> None:
        """Say nothing that could depend on a row."""
        super().__init__("The computation failed.")


class TooNested(EngineFailure):
    """The engine's parser gave a statement up for its depth: decided without any row."""


class RunCancelled(Exception):  # noqa: N818 - the word of the protocol
    """A run that was stopped because its client asked for it."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("The computation was cancelled.")


@dataclass(frozen=True, slots=True)
class TableSource:
    """A table version as the engines see it: its contract and its decrypted files."""

    facts: TableFacts
    files: tuple[Path, ...]

    @property
    def view(self) -> str:
        """A name of our own for this table version and these files."""
        text = "\0".join((self.facts.name, self.facts.version, *map(str, self.files)))
        return "t" + hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class ExactTable:
    """Exact integers for each group present in the data: never leaves the gateway's process."""

    cells: pa.Table = field(repr=False)
    """Keys `k0`, `k1`, …, then one int64 column for each count or sum, by its measure's name."""
    histograms: Mapping[str, pa.Table] = field(repr=False)
    """For each histogram: keys, `bucket` and `n`."""

    def exact(self) -> Exact:
        """Return the same integers as the release module reads them."""
        names = [n for n in self.cells.column_names if n.startswith("k")]
        keys = _tuples(self.cells, names)
        measures = {
            name: dict(zip(keys, self.cells.column(name).to_pylist(), strict=True))
            for name in self.cells.column_names
            if name.startswith("m")
        }
        histograms: dict[str, dict[tuple[object, ...], list[tuple[int, int]]]] = {}
        for measure, table in self.histograms.items():
            vectors: dict[tuple[object, ...], list[tuple[int, int]]] = {}
            pairs = zip(
                table.column("bucket").to_pylist(), table.column("n").to_pylist(), strict=True
            )
            for key, pair in zip(_tuples(table, names), pairs, strict=True):
                vectors.setdefault(key, []).append(pair)
            histograms[measure] = {k: sorted(v) for k, v in vectors.items()}
        return Exact(measures, histograms, keys)  # type: ignore[arg-type]  # cells are Values


Run = Callable[[], ExactTable]
"""A certified question: calling it reads private rows, for the first time."""


class Engine(Protocol):
    """The one interface of both engines."""

    def prepare(
        self,
        query: ExactQuery,
        facts: Mapping[str, TableFacts],
        sources: Mapping[str, TableSource],
        *,
        claim: "Claim",
        frames: Mapping[str, pa.Table] | None = None,
        cancelled: Cancelled | None = None,
    ) -> Run:
        """Evaluate public parts, compile, certify against `claim`; read no private row.

        `sources` is asked for public tables now, for private ones only when the run is called.
        """
        ...

    def run(
        self,
        query: ExactQuery,
        tables: Mapping[str, TableSource],
        *,
        claim: "Claim",
        frames: Mapping[str, pa.Table] | None = None,
        cancelled: Cancelled | None = None,
    ) -> ExactTable:
        """Prepare and run at once, over tables that are at hand."""
        facts = {name: source.facts for name, source in tables.items()}
        return self.prepare(query, facts, tables, claim=claim, frames=frames, cancelled=cancelled)()


def _tuples(table: pa.Table, names: list[str]) -> list[tuple[object, ...]]:
    if not names:
        return [()] * table.num_rows
    return list(zip(*(table.column(n).to_pylist() for n in names), strict=True))


def gathered(
    keys: tuple[str, ...],
    types: tuple[pa.DataType, ...],
    cells: pa.Table | None,
    histograms: Mapping[str, pa.Table],
) -> ExactTable:
    """Return the result tables: one row for each group, histograms without their null bucket."""
    if cells is None:
        # Every row of a group is in each histogram, if only in its null bucket.
        first = next(iter(histograms.values()))
        cells = first.group_by(list(keys)).aggregate([]) if keys else pa.table({"n": [0]})
    cells = _typed(cells, keys, types)
    kept = {}
    for name, table in histograms.items():
        present = table.filter(table.column("bucket").is_valid())
        kept[name] = _typed(present, keys, types)
    return ExactTable(cells, kept)


def _typed(table: pa.Table, keys: tuple[str, ...], types: tuple[pa.DataType, ...]) -> pa.Table:
    wanted = dict(zip(keys, types, strict=True))
    fields = [pa.field(n, wanted.get(n, pa.int64())) for n in table.column_names]
    columns = [
        # Arrow casts nothing to the type of null, which a key of a literal null has.
        pa.nulls(table.num_rows) if f.type == pa.null() else table.column(f.name).cast(f.type)
        for f in fields
    ]
    return pa.table(columns, schema=pa.schema(fields))


@contextmanager
def watched(cancelled: Cancelled | None, stop: Callable[[], None]) -> Iterator[threading.Event]:
    """Call `stop` once `cancelled` turns true; the event tells whether that happened."""
    happened = threading.Event()
    if cancelled is None:
        yield happened
        return
    if cancelled():
        raise RunCancelled
    done = threading.Event()

    def watch() -> None:
        while not done.wait(POLL_SECONDS):
            if cancelled():
                happened.set()
                stop()
                # An interrupt before the engine has started is lost: repeat until the run ends.

    watcher = threading.Thread(target=watch, name="engine-cancel", daemon=True)
    watcher.start()
    try:
        yield happened
    finally:
        done.set()
        watcher.join()
