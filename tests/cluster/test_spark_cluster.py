"""Spark on a real cluster: a standalone master and worker that do not share the gateway's disk.

Real parts: a lake on a real S3 server, Hadoop's own S3 client fetched by Maven, the real gateway
without its noise, a stock client. The worker sees the lab's home as an empty folder, so that what
it counts can only come from the stage.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.lake.errors import LakeError
from sandbox.lake.store import Store, open_store
from tests.support.cluster import SECRET, Cluster, cluster, s3_jars
from tests.support.conformance import NOTEBOOK, asked, difference
from tests.support.homes import small_city
from tests.support.mutants import ROOT
from tests.support.objects import SECRET as S3_SECRET
from tests.support.objects import s3_server
from tests.support.processes import free_port, stopped, wait_for_port

TABLES = ("districts", "industries", "ent_registration", "tax_summary", "annual_report")
QUESTIONS = (
    "count by key",
    "two private tables",
    "join with public",
    "own rows joined",
    "per-unit then by key",
    "distinct firms",
    "several",
    "sum",
)
PARQUET = b"PAR1"

Served = tuple[subprocess.Popen[bytes], dict[str, str]]


@dataclass(frozen=True)
class Site:
    """All that a gateway needs."""

    home: Path
    objects: Path
    """The S3 server's own folder."""
    stage: Store
    spark: Cluster
    settings: dict[str, str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("cluster")
    home, objects = folder / "home", folder / "objects"
    home.mkdir()
    objects.mkdir()
    jars = s3_jars()
    with s3_server(objects) as s3, pytest.MonkeyPatch.context() as patch:
        lake = {**s3, "LAB_LAKE_URL": "s3://lake"}
        for name, value in lake.items():
            patch.setenv(name, value)
        small_city(home, TABLES)
        with cluster(folder / "spark", hidden=(home, jars)) as spark:
            settings = {
                **lake,
                "LAB_SPARK_JARS": str(jars),
                "LAB_SPARK_MASTER": spark.url,
                "LAB_SPARK_SECRET": SECRET,
                "LAB_SPARK_STAGE_URL": "s3a://stage/lab",
            }
            yield Site(home, objects, open_store("s3://stage", s3), spark, settings)


@contextmanager
def gateway(site: Site, **settings: str) -> Iterator[Served]:
    """Serve the lake without noise; yield the process and what a client needs to know."""
    port = free_port()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "LAB_"))}
    with (site.home.parent / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.exact_gateway", str(site.home), str(port)],
            cwd=ROOT,
            env={**clean, **site.settings, **settings},
            stderr=log,
        )
    with stopped(process):
        wait_for_port(port, process)
        yield (
            process,
            {
                **clean,
                "SPARK_REMOTE": f"sc://localhost:{port}",
                "SPARK_CONNECT_AUTHENTICATE_TOKEN": "any-token-will-do",
            },
        )


def test_executors_without_our_disk_answer_like_the_embedded_engine(site: Site) -> None:
    with gateway(site) as (process, client):
        began = time.monotonic()
        embedded = asked(NOTEBOOK, "lab", "duckdb", *QUESTIONS, env=client)
        distributed = asked(NOTEBOOK, "lab", "spark", *QUESTIONS, env=client)
        print(f"{len(QUESTIONS)} questions on both in {time.monotonic() - began:.0f} s")
        print(f"the worker {'cannot see' if site.spark.hides else 'COULD SEE'} the lab's home")
        assert set(embedded) == set(distributed) == set(QUESTIONS)
        wrong = {q: difference(embedded[q], distributed[q]) for q in QUESTIONS}
        assert not any(wrong.values()), wrong
        assert secrets_in_sight(site) == []
        assert list((site.spark.folder / "work").glob("app-*/0")), "no executor has run"
        staged = site.stage.list("lab/")
        assert len(staged) >= 4
        for key in staged:
            with pytest.raises(LakeError, match="InvalidArgument"):  # S3: the key is missing
                site.stage.get_bytes(key)
        assert not holds(site.objects, PARQUET)
        process.terminate()
        process.wait(timeout=30)
    assert site.stage.list("lab/") == []
    # The searches above find what they look for.
    site.stage.put_bytes("control", PARQUET + os.urandom(100))
    assert holds(site.objects, PARQUET)
    site.stage.delete("control")


def test_the_stage_of_a_killed_gateway_is_removed_by_the_next(site: Site) -> None:
    with gateway(site) as (process, client):
        asked(NOTEBOOK, "lab", "spark", "count by key", env=client)
        process.kill()
        process.wait()
    left = set(site.stage.list("lab/"))
    assert left
    with gateway(site) as (process, client):
        told = asked(NOTEBOOK, "lab", "spark", "count by key", env=client)
        assert "error" not in told["count by key"]
        assert not left & set(site.stage.list("lab/"))
        process.terminate()
        process.wait(timeout=30)
    assert site.stage.list("lab/") == []


def test_a_stage_that_executors_cannot_read_is_named_at_the_start(site: Site) -> None:
    if not site.spark.hides:
        pytest.skip("this kernel lets no test hide a folder from the worker")
    with gateway(site, LAB_SPARK_STAGE_URL=(site.home / "stage").as_uri()) as (_, client):
        told = asked(NOTEBOOK, "lab", "spark", "count by key", env=client)
    assert "error" in told["count by key"]
    assert "executors cannot read LAB_SPARK_STAGE_URL" in gateway_log(site)


def gateway_log(site: Site) -> str:
    return (site.home.parent / "gateway.log").read_text()


def secrets_in_sight(site: Site) -> list[str]:
    """Return where a secret shows: logs of the cluster, ours, argument lists."""
    words = (S3_SECRET.encode(), SECRET.encode(), b"encryption.key")
    logs = [
        *site.spark.folder.glob("*.log"),
        *site.spark.folder.glob("work/*/*/std*"),
        site.home.parent / "gateway.log",
    ]
    found = [(log, word) for log in logs for word in words if word in read(log)]
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        found += [(line, word) for word in words[:2] if word in read(line)]
    return [f"{word!r} in {place}" for place, word in found]


def holds(folder: Path, word: bytes) -> bool:
    return any(word in read(path) for path in folder.rglob("*") if path.is_file())


def read(path: Path) -> bytes:
    """Return a file's bytes, none if it has gone."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
