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

ROW_GROUP_ROWS = 122_880
FILE_BYTES = "256MB"
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

    def write(
        self,
        sources: list[tuple[Source, bool]],
        earlier: Earlier,
        folder: Path,
        say: Callable[[str], None],
    ) -> Laid:
        """Write the version's files into an empty folder; sources come with "has no bad row"."""
        good = [
            self._reader.all_good(source) if clean else self._reader.valid(source)
            for source, clean in sources
        ]
        self._create("touched", "SELECT DISTINCT unit FROM (" + " UNION ALL ".join(good) + ")")
        old = self._earlier(earlier)
        self._run(f"CREATE OR REPLACE TEMP VIEW merged AS {' UNION ALL '.join([*good, *old])}")
        say("checking unique keys")
        self._find_contested([source for source, _ in sources], old)
        displaced = self._settle(earlier, folder / "displaced.parquet")
        say("sorting and ranking")
        target = folder / "parts"
        self._run(
            f"COPY ({self._ordered(earlier)}) TO '{_text(target)}' (FORMAT parquet, "
            f"ROW_GROUP_SIZE {ROW_GROUP_ROWS}, FILE_SIZE_BYTES '{FILE_BYTES}')"
        )
        files = tuple(sorted(target.glob("*.parquet"), key=lambda p: (len(p.name), p.name)))
        say("verifying ranks")
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
            "WHERE __unit IN (SELECT unit FROM touched)"
            for file in files
        ]

    def _find_contested(self, sources: list[Source], old: list[str]) -> None:
        """Note the units that may have two rows with one key; bad rows may be among them."""
        self._create("contested", "SELECT 0::BIGINT AS unit WHERE false")
        for key in self._contract.unique_keys:
            columns = self._own(key)
            parts = " UNION ALL ".join(
                [self._reader.keys(source, columns) for source in sources]
                + [f"SELECT {columns} FROM ({rows})" for rows in old]
            )
            self._run(
                f"INSERT INTO contested SELECT DISTINCT unit FROM ({parts}) "
                f"GROUP BY {columns} HAVING count(*) > 1"
            )

    def _own(self, key: tuple[str, ...]) -> str:
        """Return SQL of a key's columns, the surrogate standing for the unit's own column."""
        unit = self._contract.unit
        names = (name for name in key if unit is None or name != unit.column)
        return ", ".join(["unit", *(quote(name) for name in names)])

    def _settle(self, earlier: Earlier, path: Path) -> Path | None:
        """Keep of rows with one key the one with the lowest tag; write the others to `path`."""
        self._create(
            "held",
            f"SELECT *, {self._tag} AS tag FROM merged WHERE unit IN (SELECT unit FROM contested)",
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
                "WHERE __unit NOT IN (SELECT unit FROM touched)"
            )
        self._run(f"COPY ({rows}) TO '{_text(path)}' (FORMAT parquet)")
        return path if pq.read_metadata(path).num_rows else None

    def _ordered(self, earlier: Earlier) -> str:
        """Return SQL of the version's rows in stored order."""
        columns, unit = self._columns, self._contract.unit
        rows = (
            f"SELECT unit, cohort, {columns} FROM merged "
            "WHERE unit NOT IN (SELECT unit FROM contested) "
            f"UNION ALL SELECT unit, cohort, {columns} FROM held"
        )
        if unit is None:
            keys = self._contract.unique_keys
            order = ", ".join(quote(name) for name in keys[0]) if keys else ""
            return f"SELECT {columns} FROM ({rows})" + (f" ORDER BY {order}" if order else "")
        # Where a unit has one row, its rank needs no tag: the one-row tables skip all hashing.
        single = (unit.column,) in self._contract.unique_keys
        rank = "1" if single else f"row_number() OVER (PARTITION BY unit ORDER BY {self._tag})"
        ranked = (
            f"SELECT unit AS __unit, {rank}::INTEGER AS __rank, cohort AS __cohort, {columns} "
            f"FROM ({rows})"
        )
        untouched = [
            f"SELECT __unit, __rank, __cohort, {columns} FROM '{_text(file)}' "
            "WHERE __unit NOT IN (SELECT unit FROM touched)"
            for file in earlier.stored
        ]
        return " UNION ALL ".join([ranked, *untouched]) + " ORDER BY __unit, __rank"


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
