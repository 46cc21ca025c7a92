"""One DuckDB and one Spark for all tests of a process, over directories that they may read."""

import atexit
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from privacy.dp.exact import ExactQuery
from sandbox.engine.certificate import Claim
from sandbox.engine.database import Database
from sandbox.engine.duckdb import DuckDbEngine
from sandbox.engine.run import ExactTable, TableSource
from sandbox.engine.spark import SparkEngine
from tests.support.engine import same, sample_rows, wide_claim, write_lake, write_plain


@cache
def room() -> Path:
    return Path(tempfile.mkdtemp(prefix="lab-engine-"))


@cache
def database() -> Database:
    return Database((room(),), room() / "scratch")


@cache
def spark_engine() -> SparkEngine:
    engine = SparkEngine(database(), room() / "spark")
    engine.start()
    atexit.register(engine.stop)
    return engine


def spark_session() -> Any:
    return spark_engine()._wait(None)


@cache
def small_lake() -> dict[str, TableSource]:
    directory = room() / "lake"
    directory.mkdir()
    return write_lake(directory, sample_rows())


@cache
def plain_views() -> None:
    """Give Spark the same rows as ordinary tables, under their own names."""
    directory = room() / "plain"
    directory.mkdir()
    for name, path in write_plain(directory, sample_rows()).items():
        spark_session().read.parquet(path).createOrReplaceTempView(name)


def on_both(query: ExactQuery, claim: Claim | None = None, frames: Any = None) -> ExactTable:
    """Run a question on both engines, check that they agree, return the answer."""
    claim = claim or wide_claim(query)
    lake = small_lake()
    embedded = DuckDbEngine(database()).run(query, lake, claim=claim, frames=frames)
    distributed = spark_engine().run(query, lake, claim=claim, frames=frames)
    assert same(embedded, distributed)
    return embedded
