"""Spark reads tables from a stage instead of the local files: copied once, whole, and removed."""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.engine.duckdb import DuckDbEngine
from sandbox.engine.run import EngineFailure, TableSource
from sandbox.engine.spark import SparkEngine, SparkSettings
from sandbox.engine.stage import Stage, StageError
from tests.support.engine import TAX, counts_by_district, same, wide_claim
from tests.support.engine_room import database, small_lake, spark_engine, spark_session


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "shared"
    place.mkdir()
    return place


@pytest.fixture
def stage(tmp_path: Path, place: Path) -> Iterator[Stage]:
    stage = Stage(place.as_uri(), tmp_path / "scratch")
    stage.open(spark_session())
    yield stage
    stage.close()


def version(folder: Path, name: str) -> TableSource:
    """Return a copy of the tax table as a version of its own."""
    files = []
    for file in small_lake()["tax"].files:
        files.append(folder / f"{name}-{file.name}")
        shutil.copy(file, files[-1])
    return TableSource(replace(TAX, version=name), tuple(files))


def views(place: Path) -> set[str]:
    return {path.name for path in place.glob("*/*") if path.is_dir()}


def test_questions_are_answered_from_the_stage_alone(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SparkSettings(master="local[1]", stage=place.as_uri())
    engine = SparkEngine(database(), tmp_path / "scratch", settings)
    monkeypatch.setattr(engine, "_open", spark_session)
    query, tables = counts_by_district(), {"tax": version(tmp_path, "7")}
    expected = DuckDbEngine(database()).run(query, small_lake(), claim=wide_claim(query))
    assert same(engine.run(query, tables, claim=wide_claim(query)), expected)
    for file in tables["tax"].files:
        file.unlink()
    assert same(engine.run(query, tables, claim=wide_claim(query)), expected)
    (own,) = place.iterdir()
    assert own.stat().st_mode & 0o777 == 0o700
    assert engine._stage is not None
    engine._stage.close()
    assert list(place.iterdir()) == []


def test_half_a_version_is_never_read_and_the_next_question_completes_it(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SparkSettings(master="local[1]", stage=place.as_uri())
    engine = SparkEngine(database(), tmp_path / "scratch", settings)
    monkeypatch.setattr(engine, "_open", spark_session)
    assert engine._stage is not None
    query, source = counts_by_district(), version(tmp_path, "8")
    aside = source.files[1].rename(tmp_path / "aside")
    with pytest.raises(EngineFailure):
        engine.run(query, {"tax": source}, claim=wide_claim(query))
    aside.rename(source.files[1])
    expected = spark_engine().run(query, small_lake(), claim=wide_claim(query))
    assert same(engine.run(query, {"tax": source}, claim=wide_claim(query)), expected)
    assert engine._stage is not None
    engine._stage.close()


def test_two_versions_of_a_table_stay_and_a_removed_one_comes_back_when_asked_for(
    tmp_path: Path, place: Path, stage: Stage
) -> None:
    sources = [version(tmp_path, name) for name in ("1", "2", "3")]
    for source in sources:
        paths = stage.paths(source)
        assert [Path(p.removeprefix("file://")).read_bytes() for p in paths] == [
            f.read_bytes() for f in source.files
        ]
    assert views(place) == {source.view for source in sources[1:]}
    stage.paths(sources[0])
    assert views(place) == {sources[0].view, sources[2].view}


def test_the_next_start_removes_what_a_killed_process_left_and_nothing_of_a_living_one(
    tmp_path: Path, place: Path, stage: Stage
) -> None:
    killed = Stage(place.as_uri(), tmp_path / "scratch")
    killed.open(spark_session())
    killed.paths(version(tmp_path, "1"))
    stage.paths(version(tmp_path, "2"))
    assert len(list(place.iterdir())) == 2
    assert killed._entry is not None
    killed._entry.close()  # the kernel does this at a kill
    later = Stage(place.as_uri(), tmp_path / "scratch")
    later.open(spark_session())
    assert len(list(place.glob("*/*/*.parquet"))) == 2
    later.close()
    assert views(place) == {version(tmp_path, "2").view}


def test_a_start_that_is_tried_again_keeps_its_stage(place: Path, stage: Stage) -> None:
    stage.open(spark_session())
    assert len(list(place.iterdir())) == 1


def test_a_stage_that_cannot_be_written_is_named_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    settings = SparkSettings(master="local[1]", stage=f"file://{tmp_path}/file/stage")
    engine = SparkEngine(database(), tmp_path / "scratch", settings)
    monkeypatch.setattr(engine, "_open", spark_session)
    query = counts_by_district()
    with caplog.at_level(logging.ERROR), pytest.raises(EngineFailure):
        engine.run(query, small_lake(), claim=wide_claim(query))
    assert "cannot write to LAB_SPARK_STAGE_URL" in caplog.text
    assert engine._stage is not None
    engine._stage.close()


def test_without_an_s3_client_the_message_names_the_jars(tmp_path: Path) -> None:
    reach = {"LAB_S3_ENDPOINT": "http://127.0.0.1:1"}
    stage = Stage("s3a://bucket/prefix", tmp_path, reach)
    with pytest.raises(StageError, match=r"hadoop-aws-3\.\d+\.\d+\.jar .* LAB_SPARK_JARS"):
        stage.open(spark_session())
    stage.close()


@pytest.mark.parametrize(
    ("setting", "endpoint", "told"),
    [
        ("hdfs://name/folder", "", "must be s3a://"),
        ("s3://bucket", "", "must be s3a://"),
        ("file://host/folder", "", "must be s3a://"),
        ("file:///", "", "must be s3a://"),
        ("s3a:///prefix", "", "must be s3a://"),
        ("s3a://bucket", "http://store.example:8333", "must begin with https://"),
        ("s3a://bucket", "http://10.0.0.7:8333", "must begin with https://"),
    ],
)
def test_a_stage_that_would_show_rows_or_keys_is_refused(
    setting: str, endpoint: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match=told):
        Stage(setting, tmp_path, {"LAB_S3_ENDPOINT": endpoint})


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"LAB_SPARK_MASTER": "spark://host:7077"}, "LAB_SPARK_SECRET is missing"),
        ({"LAB_SPARK_JARS": "/nowhere.jar"}, "names no jar at /nowhere.jar"),
        ({"LAB_SPARK_JARS": "/proc/self/fdinfo"}, "names no jar at /proc"),
    ],
)
def test_cluster_settings_that_cannot_work_say_what_is_wrong(
    environ: dict[str, str], told: str
) -> None:
    with pytest.raises(StageError, match=told):
        SparkSettings.of(environ)


def test_a_cluster_is_authenticated_and_encrypted_and_its_secret_is_no_option(
    tmp_path: Path,
) -> None:
    settings = SparkSettings.of(
        {"LAB_SPARK_MASTER": "spark://host:7077", "LAB_SPARK_SECRET": "quite secret"}
    )
    options = SparkEngine(database(), tmp_path, settings)._options(tmp_path)
    for name in ("authenticate", "network.crypto.enabled", "io.encryption.enabled"):
        assert options[f"spark.{name}"] == "true"
    assert "quite secret" not in repr((settings, options))
