"""From good rows to the stored order: unique keys, ranks within a unit, clustering by unit.

Within a unit rows are ordered by HMAC(table key, canonical content): an order that nobody can
choose and that depends on nothing but the unit's own rows (soundness A.3). Ties are equal rows, or
rows whose tags agree in 64 bits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq

from sandbox.lake.keyed import KeyedHash
from sandbox.lake.reading import Source
from sandbox.lake.rows import RowReader, columns_of, content_of, quote
from sandbox.lake.terms import Contract

GROUP_ROWS = 122_880
"""Rows of a Parquet row group of a small table: what DuckDB reads as one piece."""
MOST_PIECES = 4
"""Row groups of large tables hold as many pieces: Spark takes a few ms for each group."""
LEAST_GROUPS = 16
"""Larger groups are worth it from here on; fewer would leave cores without work."""
PIECES_BY_COLUMNS = 64
"""Pieces times columns of one group: it is built in memory."""
_CHECK_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Earlier:
    """Files of the version that a delivery is added to."""

    stored: tuple[Path, ...]
    displaced: Path | None


@dataclass(frozen=True, slots=True)
class Laid:
    """What layout wrote."""

    files: tuple[Path, ...]
    stored_rows: int
    displaced: Path | None
    displaced_rows: int


def group_rows(rows: int, columns: int) -> int:
    """Return how many rows a row group of a table of this size should hold.

    >>> group_rows(330_000, 16), group_rows(10_000_000, 16), group_rows(10_000_000, 200)
    (122880, 491520, 122880)
    """
    pieces = min(
        rows // (LEAST_GROUPS * GROUP_ROWS), PIECES_BY_COLUMNS // max(columns, 1), MOST_PIECES
    )
    return GROUP_ROWS * max(pieces, 1)


class Layout:
    """Lays out one version of a table on a connection that holds table `units`."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        contract: Contract,
        reader: RowReader,
        rank: KeyedHash,
    ) -> None:
        """`rank` is keyed with the table's own key."""
        self._run = connection.execute
        self._contract, self._reader = contract, reader
        self._columns = columns_of(contract)
        self._tag = rank.uint64(content_of(contract))
        self._contest = "unit"

    def write(
        self,
        sources: list[tuple[Source, str]],
        earlier: Earlier,
        folder: Path,
        say: Callable[[str], None],
    ) -> Laid:
        """Write the version's file into a folder; each source comes with SQL of its bad rows."""
        good = [self._reader.valid(source, bad) for source, bad in sources]
        if earlier.stored:
            merged = " UNION ALL ".join(good)
            self._create("touched", f"SELECT DISTINCT unit FROM ({merged})")
        old = self._earlier(earlier)
        self._run(f"CREATE OR REPLACE TEMP VIEW merged AS {' UNION ALL '.join([*good, *old])}")
        say("checking unique keys")
        self._find_contested([source for source, _ in sources], old)
        displaced = self._settle(earlier, folder / "displaced.parquet")
        say("ranking and sorting")
        target = folder / "rows.parquet"
        read = [source.path for source, _ in sources] + list(earlier.stored)
        size = group_rows(
            sum(pq.read_metadata(path).num_rows for path in read), len(self._contract.fields)
        )
        self._run(
            f"COPY ({self._ordered(earlier)}) TO '{_text(target)}' "
            f"(FORMAT parquet, ROW_GROUP_SIZE {size})"
        )
        say("verifying ranks")
        files = (target,)
        rows = _verify(files, ranked=self._contract.unit is not None)
        count = pq.read_metadata(displaced).num_rows if displaced else 0
        return Laid(files, rows, displaced, count)

    def _create(self, name: str, query: str) -> None:
        self._run(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")

    def _earlier(self, earlier: Earlier) -> list[str]:
        """Return SQL of the earlier rows of units that the delivery touches."""
        files = [*earlier.stored, *([earlier.displaced] if earlier.displaced else [])]
        if self._contract.unit is None:
            return [
                f"SELECT 0 AS unit, 0 AS cohort, {self._columns} FROM '{_text(file)}'"
                for file in files
            ]
        return [
            f"SELECT __unit AS unit, __cohort AS cohort, {self._columns} FROM '{_text(file)}' "
            "SEMI JOIN touched ON __unit = unit"
            for file in files
        ]

    def _find_contested(self, sources: list[Source], old: list[str]) -> None:
        """Note where two rows may have one key; bad rows may be among them.

        With one key that is the key's values. With several, losing by one key decides about
        another, so all rows of such a unit are looked at together.
        """
        keys = self._contract.unique_keys
        self._contest = self._own(keys[0]) if len(keys) == 1 else "unit"
        found = ["SELECT unit FROM merged WHERE false"]
        for key in keys:
            columns = self._own(key)
            parts = " UNION ALL ".join(
                [self._reader.keys(source, columns) for source in sources]
                + [f"SELECT {columns} FROM ({rows})" for rows in old]
            )
            twice = f"SELECT {columns} FROM ({parts}) GROUP BY {columns} HAVING count(*) > 1"
            found = [twice] if len(keys) == 1 else [*found, f"SELECT unit FROM ({twice})"]
        self._create("contested", " UNION ".join(found))

    def _own(self, key: tuple[str, ...]) -> str:
        """Return SQL of a key's columns, the surrogate standing for the unit's own column."""
        unit = self._contract.unit
        names = (name for name in key if unit is None or name != unit.column)
        return ", ".join(["unit", *(quote(name) for name in names)])

    def _settle(self, earlier: Earlier, path: Path) -> Path | None:
        """Keep of rows with one key the one with the lowest tag; write the others to `path`."""
        self._create(
            "held",
            f"SELECT *, {self._tag} AS tag FROM merged SEMI JOIN contested USING ({self._contest})",
        )
        self._create("displaced", "SELECT *, '' AS key FROM held WHERE false")
        for key in self._contract.unique_keys:
            self._create(
                "lost",
                f"SELECT rowid AS place FROM held QUALIFY row_number() OVER "
                f"(PARTITION BY {self._own(key)} ORDER BY tag) > 1",
            )
            chosen = "WHERE rowid IN (SELECT place FROM lost)"
            name = ", ".join(key).replace("'", "''")
            self._run(f"INSERT INTO displaced SELECT *, '{name}' FROM held {chosen}")
            self._run(f"DELETE FROM held {chosen}")
        rows = f"SELECT unit AS __unit, cohort AS __cohort, {self._columns}, key FROM displaced"
        if earlier.displaced and self._contract.unit:
            rows += (
                f" UNION ALL SELECT __unit, __cohort, {self._columns}, key "
                f"FROM '{_text(earlier.displaced)}' "
                "ANTI JOIN touched ON __unit = unit"
            )
        self._run(f"COPY ({rows}) TO '{_text(path)}' (FORMAT parquet)")
        return path if pq.read_metadata(path).num_rows else None

    def _ordered(self, earlier: Earlier) -> str:
        """Return SQL of the version's rows in stored order.

        One sort by (unit, tag) serves clustering, rank and file statistics: a row's rank is its
        place in the sorted whole less the place where its unit begins.
        """
        columns, unit = self._columns, self._contract.unit
        settled = f"merged ANTI JOIN contested USING ({self._contest})"
        if unit is None:
            keys = self._contract.unique_keys
            rows = f"SELECT {columns} FROM {settled} UNION ALL SELECT {columns} FROM held"
            return rows + (" ORDER BY " + ", ".join(map(quote, keys[0])) if keys else "")
        # Where a unit has one row, its rank needs no tag: the one-row tables skip all hashing.
        single = (unit.column,) in self._contract.unique_keys
        tag = "0::UBIGINT" if single else self._tag
        tagged = [
            f"SELECT unit, cohort, {columns}, {tag} AS tag FROM {settled}",
            f"SELECT unit, cohort, {columns}, tag FROM held",
            *(  # Units that the delivery does not touch keep their order.
                f"SELECT __unit, __cohort, {columns}, __rank::UBIGINT FROM '{_text(file)}' "
                "ANTI JOIN touched ON __unit = unit"
                for file in earlier.stored
            ),
        ]
        everything = " UNION ALL ".join(tagged)
        self._create(
            "begins",
            "SELECT unit, (sum(n) OVER (ORDER BY unit) - n)::BIGINT AS before "
            f"FROM (SELECT unit, count(*) AS n FROM ({everything}) GROUP BY unit)",
        )
        return (
            "SELECT unit AS __unit, (row_number() OVER () - before)::INTEGER AS __rank, "
            f"cohort AS __cohort, {columns} FROM (SELECT * FROM ({everything}) "
            "JOIN begins USING (unit) ORDER BY unit, tag)"
        )


def _verify(files: tuple[Path, ...], *, ranked: bool) -> int:
    """Return the number of rows; raise unless (unit, rank) is unique, contiguous and in order."""
    count, last_unit, last_rank = 0, -1, 0
    for file in files:
        parquet = pq.ParquetFile(file)
        count += parquet.metadata.num_rows
        if not ranked:
            continue
        for batch in parquet.iter_batches(_CHECK_ROWS, columns=["__unit", "__rank"]):
            units = np.concatenate(([last_unit], batch.column(0).to_numpy()))
            ranks = np.concatenate(([last_rank], batch.column(1).to_numpy()))
            same = units[1:] == units[:-1]
            follows = np.where(same, ranks[1:] == ranks[:-1] + 1, ranks[1:] == 1)
            if not (follows.all() and (same | (units[1:] > units[:-1])).all()):
                raise AssertionError("ranks within a unit are not 1, 2, 3, …: layout is wrong")
            last_unit, last_rank = units[-1], ranks[-1]
    return count


def _text(path: Path) -> str:
    return str(path).replace("'", "''")
