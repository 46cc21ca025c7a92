"""How a question runs: locked down, cancellable, and silent about rows when it fails."""

import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privacy.dp.exact import ExactQuery
from privacy.dp.plan import Apply, JoinOn
from privacy.dp.query import JoinKind
from sandbox.engine.certificate import CertificateError, Claim
from sandbox.engine.database import Database, Limits
from sandbox.engine.duckdb import DuckDbEngine
from sandbox.engine.run import EngineFailure, RunCancelled, TableSource
from sandbox.engine.spark import SparkEngine, SparkSettings
from tests.support.engine import (
    BOOLEAN,
    FACTS,
    INTEGER,
    TAX,
    counts_by_district,
    limits,
    new_column,
    number,
    rows_measure,
    sample_rows,
    scan,
    stored,
    wide_claim,
)
from tests.support.engine_room import database, room, small_lake, spark_engine

ENGINES = ("duckdb", "spark")


def engine(name: str) -> Any:
    return DuckDbEngine(database()) if name == "duckdb" else spark_engine()


@pytest.mark.parametrize("name", ENGINES)
def test_nothing_runs_without_its_certificate(name: str) -> None:
    query = counts_by_district()
    with pytest.raises(CertificateError):
        engine(name).run(query, small_lake(), claim=Claim(1, 1, 1, {"m0": (0, 1)}))


@pytest.mark.parametrize("name", ENGINES)
def test_a_failure_says_one_constant_sentence(name: str, tmp_path: Path) -> None:
    rows = sample_rows(3)["tax"]
    table = stored(TAX, rows)
    broken = room() / f"broken-{name}.parquet"
    # A column that is not what the contract says: engines would quote its values.
    wrong = table.set_column(
        table.schema.get_field_index("period"),
        "period",
        pa.array(["secret value"] * table.num_rows),
    )
    pq.write_table(wrong, broken)
    source = TableSource(replace(TAX, version=name), (broken,))
    tax = scan("tax")
    value = Apply("+", (tax["period"], number(1)), tax["period"].type)
    query = ExactQuery(
        tax.node, ((new_column("k", value.type), value),), (rows_measure(),), limits(tax.node)
    )
    if name == "spark":
        source = TableSource(source.facts, (tmp_path / "absent.parquet",))
    with pytest.raises(EngineFailure) as failure:
        engine(name).run(query, {"tax": source}, claim=wide_claim(query))
    assert str(failure.value) == "The computation failed."
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__


def heavy() -> tuple[ExactQuery, dict[str, TableSource]]:
    """Return a question that takes long: one unit's rows joined with themselves, twice."""
    path = room() / "heavy.parquet"
    if not path.exists():
        row = sample_rows(1)["tax"][0]
        rows = [dict(row, uscc=f"91{1:016d}", staff=i) for i in range(4000)]
        pq.write_table(stored(TAX, rows), path)
    tables = [scan("tax", "uscc", "staff") for _ in range(3)]
    node: Any = tables[0].node
    for other in tables[1:]:
        on = Apply("==", (tables[0]["uscc"], other["uscc"]), BOOLEAN)
        pair = Apply("+", (tables[0]["staff"], other["staff"]), INTEGER)
        apart = Apply(">", (pair, number(-1)), BOOLEAN)
        both = Apply("and", (on, apart), BOOLEAN)
        node = JoinOn(node, other.node, JoinKind.INNER, both, node.columns + other.node.columns)
    query = ExactQuery(node, (), (rows_measure(),), limits(node))
    facts = replace(TAX, version="heavy", max_rows_per_unit=4000)
    query = replace(query, scan_limits=tuple((i, 4000) for i, _ in query.scan_limits))
    return query, {"tax": TableSource(facts, (path,))}


@pytest.mark.parametrize("name", ENGINES)
def test_a_cancelled_question_stops_soon(name: str) -> None:
    query, tables = heavy()
    runner = engine(name)
    if name == "spark":
        runner._wait(None)
    claim = replace(wide_claim(query), rows_per_unit=10**13, rows_per_group=10**13)
    gone = threading.Event()
    threading.Timer(1.0, gone.set).start()
    started = time.monotonic()
    with pytest.raises(RunCancelled):
        runner.run(query, tables, claim=claim, cancelled=gone.is_set)
    assert time.monotonic() - started < 15


def test_a_question_cancelled_before_its_start_reads_nothing() -> None:
    query = counts_by_district()
    with pytest.raises(RunCancelled):
        engine("duckdb").run(query, small_lake(), claim=wide_claim(query), cancelled=lambda: True)


def test_many_threads_share_one_engine() -> None:
    runner, lake = engine("duckdb"), small_lake()
    answers: list[int] = []

    def ask() -> None:
        query = counts_by_district()
        for _ in range(5):
            answers.append(  # noqa: PERF401
                sum(runner.run(query, lake, claim=wide_claim(query)).cells.column("m0").to_pylist())
            )

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 40
    assert len(set(answers)) == 1


def test_the_embedded_database_opens_no_other_file_and_keeps_its_settings(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    pq.write_table(pa.table({"a": [1]}), inside / "a.parquet")
    pq.write_table(pa.table({"a": [1]}), outside / "a.parquet")
    locked = Database((inside,), tmp_path / "scratch", Limits(memory="256MB", threads=1))
    (table,) = locked.query((f"SELECT a FROM read_parquet('{inside}/a.parquet')",), {})
    assert table.num_rows == 1
    for statement in (
        f"SELECT * FROM read_parquet('{outside}/a.parquet')",
        f"SELECT * FROM read_parquet('{inside}/../out/a.parquet')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/hostname')",
        f"COPY (SELECT 1) TO '{outside}/b.parquet'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "LOAD httpfs",
        "ATTACH '/tmp/x.db'",
    ):
        with pytest.raises(EngineFailure):
            locked.query((statement,), {})
    locked.close()


def test_python_variables_are_no_tables() -> None:
    secret = pa.table({"a": [1]})
    with pytest.raises(EngineFailure):
        database().query(("SELECT * FROM secret",), {})
    assert secret.num_rows == 1


def test_frames_of_one_question_are_unknown_to_the_next() -> None:
    frame = pa.table({"a": [1]})
    database().query(("SELECT * FROM fmine",), {"fmine": frame})
    with pytest.raises(EngineFailure):
        database().query(("SELECT * FROM fmine",), {})


def test_spark_that_cannot_start_fails_questions_and_not_the_process(tmp_path: Path) -> None:
    broken = SparkEngine(database(), tmp_path / "no" / "\0", SparkSettings(master="local[1]"))
    broken.start()
    query = counts_by_district()
    with pytest.raises(EngineFailure):
        broken.run(query, small_lake(), claim=wide_claim(query))
    assert not broken.is_ready


def test_a_failed_start_of_spark_is_tried_again_by_the_next_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended = SparkEngine(database(), tmp_path, SparkSettings(master="local[1]"))
    opened: list[str] = []

    def open_once_broken() -> object:
        opened.append("again")
        if len(opened) == 1:
            raise OSError
        return spark_engine()._wait(None)

    monkeypatch.setattr(mended, "_open", open_once_broken)
    query = counts_by_district()
    with pytest.raises(EngineFailure):
        mended.run(query, small_lake(), claim=wide_claim(query))
    assert mended.run(query, small_lake(), claim=wide_claim(query)).cells.num_rows == 4
    assert len(opened) == 2


def test_a_killed_spark_gets_a_successor_before_the_next_question_reads_anything(
    tmp_path: Path,
) -> None:
    """In a process of its own: other tests share this one's Spark."""
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from sandbox.engine.run import EngineFailure
        from sandbox.engine.spark import SparkEngine, SparkSettings
        from tests.support.engine import counts_by_district, wide_claim
        from tests.support.engine_room import database, small_lake

        engine = SparkEngine(database(), Path(sys.argv[1]), SparkSettings(master="local[1]"))
        query, lake = counts_by_district(), small_lake()
        facts = {name: source.facts for name, source in lake.items()}

        def process():
            return engine._session.sparkContext._gateway.proc

        def kill():
            os.kill(process().pid, signal.SIGKILL)
            process().wait()

        before = engine.run(query, lake, claim=wide_claim(query)).cells
        first = process().pid
        kill()
        after = engine.run(query, lake, claim=wide_claim(query)).cells
        key = [(name, "ascending") for name in before.column_names]
        assert after.sort_by(key) == before.sort_by(key)
        assert process().pid != first
        run = engine.prepare(query, facts, lake, claim=wide_claim(query))
        kill()
        try:
            run()
        except EngineFailure:
            print("failed after it was prepared, as it must")
        engine.run(query, lake, claim=wide_claim(query))
        engine.stop()
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "failed after it was prepared" in done.stdout


def test_preparing_certifies_and_opens_no_private_file() -> None:
    query, lake = counts_by_district(), small_lake()
    facts = {name: source.facts for name, source in lake.items()}

    class Unopened(dict[str, TableSource]):
        def __getitem__(self, name: str) -> TableSource:
            raise AssertionError(name)

    for name in ("duckdb", "spark"):
        run = engine(name).prepare(query, facts, Unopened(), claim=wide_claim(query))
        with pytest.raises((AssertionError, EngineFailure)):
            run()
        with pytest.raises(CertificateError):
            engine(name).prepare(query, facts, Unopened(), claim=Claim(0, 1, 1, {"m0": (0, 1)}))


def test_spark_speaks_no_ui_and_no_ansi() -> None:
    session = spark_engine()._wait(None)
    assert spark_engine().is_ready
    assert session.sparkContext.uiWebUrl is None
    assert session.conf.get("spark.sql.ansi.enabled") == "false"
    assert session.conf.get("spark.sql.session.timeZone") == "UTC"
    assert session.conf.get("spark.sql.variable.substitute") == "false"


def test_the_view_of_a_table_changes_with_its_version_and_files() -> None:
    source = small_lake()["tax"]
    names = {
        source.view,
        replace(source, files=source.files[:1]).view,
        replace(source, facts=replace(FACTS["tax"], version="v2")).view,
    }
    assert len(names) == 3
