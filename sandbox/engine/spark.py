"""The distributed engine: Spark in classic mode, on this machine or on a cluster.

One session per process, warmed in the background. Its progress, metrics, logs and errors hold row
counts and values, so none of them leaves this module. A cluster's workers are the exception: at
level INFO their executors' logs name staged files and their sizes.
"""

import contextlib
import logging
import os
import re
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa

from privacy.dp.exact import ExactQuery
from privacy.dp.facts import TableFacts
from sandbox.engine.certified import Certified, certified
from sandbox.engine.claim import Claim
from sandbox.engine.database import Database, frame_name, positional
from sandbox.engine.render import SPARK, Renderer
from sandbox.engine.run import (
    POLL_SECONDS,
    Cancelled,
    Engine,
    EngineFailure,
    ExactTable,
    Run,
    RunCancelled,
    TableSource,
    gathered,
    watched,
)
from sandbox.engine.spark_process import bury, is_alive
from sandbox.engine.stage import Stage, StageError
from sandbox.java import find_java_home

log = logging.getLogger(__name__)

LOCAL_MASTER = "local[*]"

TableVersion = tuple[str, str]
Planned = Mapping[str, Any]
"""A statement's text to the frame that was planned from it."""

_WARM_UP = (
    "SELECT k, COUNT(*) AS n, COUNT(DISTINCT v) AS d, COALESCE(CAST(SUM(v) AS BIGINT), 0L) AS s "
    "FROM (SELECT id % 3 AS k, LEAST(GREATEST(id, 1L), 90L) AS v FROM range(100)) AS t GROUP BY k"
)
"""Touches the classes that every question needs: parser, optimiser, code generator, Arrow."""


@dataclass(frozen=True, slots=True)
class SparkSettings:
    """How Spark is reached and what it may use."""

    master: str = LOCAL_MASTER
    memory: str = "2g"
    concurrent: int = 2
    """Questions that run at once; others wait."""
    partitions: int = os.cpu_count() or 2
    """Shuffle partitions."""
    driver_host: str = "127.0.0.1"
    """Address at which a cluster's executors reach this process."""
    jars: tuple[Path, ...] = ()
    """What driver and executors need on their class path beyond Spark itself."""
    secret: str = field(default="", repr=False)
    """What a standalone cluster and its drivers share to know and to encrypt each other."""
    stage: str = ""
    """URL of the place that a cluster reads tables from; empty: it reads the local files."""

    def __post_init__(self) -> None:
        """Refuse a cluster that anybody on the network could join."""
        if self.master.startswith("spark://") and not self.secret:
            raise StageError(
                "LAB_SPARK_SECRET is missing: rows would cross the network in the clear. Set it to "
                "the spark.authenticate.secret of LAB_SPARK_MASTER, whose master and workers need "
                "spark.authenticate and spark.network.crypto.enabled."
            )

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "SparkSettings":
        """Return what the settings of Spark say; raise `StageError` for what cannot work."""
        return cls(
            master=environ.get("LAB_SPARK_MASTER") or LOCAL_MASTER,
            driver_host=environ.get("LAB_SPARK_DRIVER_HOST") or "127.0.0.1",
            jars=_jars(environ.get("LAB_SPARK_JARS", "")),
            secret=environ.get("LAB_SPARK_SECRET", ""),
            stage=environ.get("LAB_SPARK_STAGE_URL", ""),
        )

    @property
    def is_local(self) -> bool:
        """Whether executors are threads of Spark's own process here."""
        return re.fullmatch(r"local(\[.*\])?", self.master) is not None


class SparkEngine(Engine):
    """Runs checked questions in Spark. Safe to share between threads."""

    def __init__(
        self, database: Database, scratch: Path, settings: SparkSettings | None = None
    ) -> None:
        """Keep where to work; `database` evaluates public parts. Nothing starts before `start`."""
        self._database = database
        self._scratch = scratch
        self._settings = settings or SparkSettings()
        self._places = threading.BoundedSemaphore(self._settings.concurrent)
        self._lock = threading.Lock()
        self._stage = Stage(self._settings.stage, scratch) if self._settings.stage else None
        self._views: set[str] = set()
        self._known: dict[TableVersion, str] = {}
        self._numbers = count(1)
        self._session: Any = None
        self._starting: threading.Thread | None = None

    def start(self) -> None:
        """Start and warm Spark in the background, unless it runs.

        A failed start is tried again, and a process that was killed gets a successor: the question
        waits for it, and nothing is charged for one that could not run.
        """
        with self._lock:
            ended = self._starting is None or not self._starting.is_alive()
            if ended and self._session is not None and not is_alive(self._session):
                log.warning("Spark's process has ended; starting another")
                bury(self._session)
                self._session = None
                self._views.clear()
                self._known = {}
            if ended and self._session is None:
                self._starting = threading.Thread(
                    target=self._start, name="spark-start", daemon=True
                )
                self._starting.start()

    @property
    def is_ready(self) -> bool:
        """Whether a question would run at once."""
        return self._session is not None

    def stop(self) -> None:
        """Stop Spark, if it was started."""
        if self._starting is not None:
            self._starting.join()
        if self._stage is not None:
            self._stage.close()
        if self._session is not None:
            self._session.stop()

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
        """Evaluate public parts, compile, certify, wait for Spark; read no private row."""
        checked = certified(
            query, facts, sources, self._database, claim=claim, frames=frames, cancelled=cancelled
        )
        session = self._wait(cancelled)
        planned = self._planned(session, checked, facts)

        def run() -> ExactTable:
            with self._places:
                return self._answer(session, checked, sources, planned, cancelled)

        return run

    def _planned(
        self,
        session: Any,  # noqa: ANN401 - pyspark is untyped here
        checked: Certified,
        facts: Mapping[str, TableFacts],
    ) -> Planned:
        """Plan ahead what reads views that Spark knows already: no file is opened for that.

        A question with rows of its own is planned when these are registered, at its run.
        """
        views = self._known
        known = all(_key(table) in views for table in facts.values())
        if checked.rows or self._stage is not None or not known:
            return {}
        statements = Renderer(SPARK, lambda name: views[_key(facts[name])]).statements(checked.plan)
        try:
            planned = {text: session.sql(text) for text in statements.texts}
            for frame in planned.values():
                frame._jdf.queryExecution().executedPlan()  # noqa: SLF001 - there is no public way
        except Exception:  # noqa: BLE001 - Spark's messages may quote values: none may pass
            raise EngineFailure from None
        return planned

    def _wait(self, cancelled: Cancelled | None) -> Any:  # noqa: ANN401 - pyspark is untyped here
        self.start()
        starting = self._starting
        while starting is not None and starting.is_alive():
            if cancelled is not None and cancelled():
                raise RunCancelled
            starting.join(POLL_SECONDS)
        if self._session is None:
            raise EngineFailure
        return self._session

    def _start(self) -> None:
        try:
            session = self._open()
            if self._stage is not None:
                self._stage.open(session)
            session.sql(_WARM_UP).toArrow()
        except StageError as fault:
            log.error("Spark cannot be used: %s", fault)  # noqa: TRY400 - a trace would hold paths
        except Exception as fault:  # noqa: BLE001 - questions then get the constant failure
            # Nothing has been read yet, but the log keeps to classes here as everywhere.
            log.warning("Spark did not start (%s); the next question tries again", type(fault))
        else:
            self._session = session

    def _open(self) -> Any:  # noqa: ANN401 - pyspark is untyped here
        scratch = self._scratch.resolve()
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ["JAVA_HOME"] = str(find_java_home(scratch))
        os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
        # Left by a notebook's environment, these would make a client instead of an engine.
        for name in ("SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED", "SPARK_API_MODE"):
            os.environ.pop(name, None)
        # Imported here: it takes half a second, which a DuckDB-only lab need not spend.
        from pyspark import SparkConf, SparkContext  # noqa: PLC0415
        from pyspark.sql import SparkSession  # noqa: PLC0415

        options = self._options(scratch)
        builder = SparkSession.builder.appName("lab").master(self._settings.master)
        for name, value in options.items():
            builder = builder.config(name, value)
        if self._settings.secret:
            # The JVM first: what is configured before it starts stands in its argument list.
            known = SparkConf(loadDefaults=False).setAll(list(options.items()))
            SparkContext._ensure_initialized(conf=known)  # noqa: SLF001 - there is no public way
            builder = builder.config("spark.authenticate.secret", self._settings.secret)
        return builder.getOrCreate()

    def _options(self, scratch: Path) -> dict[str, str]:
        options = {
            "spark.api.mode": "classic",
            "spark.driver.bindAddress": self._settings.driver_host,
            "spark.driver.host": self._settings.driver_host,
            "spark.driver.memory": self._settings.memory,
            "spark.local.dir": str(scratch / "spark"),
            "spark.log.level": "OFF",
            # On one machine there is nothing to regroup, and a job for each stage takes 12 ms more.
            "spark.sql.adaptive.enabled": "false" if self._settings.is_local else "true",
            "spark.sql.ansi.enabled": "false",
            "spark.sql.autoBroadcastJoinThreshold": "32m",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": str(self._settings.partitions),
            "spark.sql.variable.substitute": "false",
            "spark.sql.warehouse.dir": str(scratch / "warehouse"),
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }
        if self._settings.jars:
            options["spark.jars"] = ",".join(map(str, self._settings.jars))
        if not self._settings.is_local:
            # Rows and the stage's key travel between processes and spill to the workers' disks.
            options |= {
                "spark.authenticate": "true",
                "spark.io.encryption.enabled": "true",
                "spark.network.crypto.enabled": "true",
            }
        return options

    def _answer(
        self,
        session: Any,  # noqa: ANN401 - pyspark is untyped here
        checked: Certified,
        tables: Mapping[str, TableSource],
        planned: Planned,
        cancelled: Cancelled | None,
    ) -> ExactTable:
        rows = checked.rows
        run = next(self._numbers)

        def view(name: str) -> str:
            return (
                f"{frame_name(name)}_{run}" if name in rows else self._view(session, tables[name])
            )

        tag = f"lab-{run}"
        context = session.sparkContext
        try:
            for digest, table in rows.items():
                frame = session.createDataFrame(positional(table))
                frame.createOrReplaceTempView(view(digest))
            statements = Renderer(SPARK, view).statements(checked.plan)
            # Tags of the context, not of the session: those do not reach the thread that collects.
            context.addJobTag(tag)
            context.setInterruptOnCancel(True)
            with watched(cancelled, lambda: context.cancelJobsWithTag(tag)) as stopped:
                histograms = {
                    name: self._collect(session, text, planned, stopped)
                    for name, text in statements.histograms
                }
                cells = (
                    None
                    if statements.cells is None
                    else self._collect(session, statements.cells, planned, stopped)
                )
        except (RunCancelled, EngineFailure):
            raise
        except Exception:  # noqa: BLE001 - Spark's messages quote values: none may pass
            raise EngineFailure from None
        finally:
            # Of a process that died there is nothing to clear, and its fault is told already.
            with contextlib.suppress(Exception):
                context.removeJobTag(tag)
                for digest in rows:
                    session.catalog.dropTempView(view(digest))
        keys = tuple(name for name, _ in checked.plan.keys)
        return gathered(keys, checked.types, cells, histograms)

    def _collect(
        self,
        session: Any,  # noqa: ANN401 - pyspark is untyped here
        text: str,
        planned: Planned,
        stopped: threading.Event,
    ) -> pa.Table:
        if stopped.is_set():
            raise RunCancelled
        try:
            # Views have names of their own for each version and its files, so the same text
            # was planned on the same rows.
            return (planned.get(text) or session.sql(text)).toArrow()
        except Exception:
            if stopped.is_set():
                raise RunCancelled from None
            raise

    def _view(self, session: Any, source: TableSource) -> str:  # noqa: ANN401
        """Return the view of a table version; its file listing and schema are read once."""
        name = source.view
        key = _key(source.facts)
        # Every time: a version that was removed from the stage in the meantime goes there again.
        staged = None if self._stage is None else self._stage.paths(source)
        with self._lock:
            if name not in self._views:
                files = staged or [str(f.resolve()) for f in source.files]
                session.read.parquet(*files).createOrReplaceTempView(name)
                self._views.add(name)
            self._known[key] = name
        return name


def _key(facts: TableFacts) -> TableVersion:
    return facts.name, facts.version


def _jars(text: str) -> tuple[Path, ...]:
    """Return the jars of a folder or of a comma-separated list."""
    places = [Path(place).resolve() for place in text.split(",") if place]
    jars = [
        jar
        for place in places
        for jar in (sorted(place.glob("*.jar")) if place.is_dir() else [place])
    ]
    missing = [jar for jar in jars if not jar.is_file()]
    if missing or (places and not jars):
        raise StageError(
            f"LAB_SPARK_JARS names no jar at {(missing or places)[0]}. Give a folder of jars or a "
            "comma-separated list."
        )
    return tuple(jars)
