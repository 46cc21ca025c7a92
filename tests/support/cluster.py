"""A real Spark standalone cluster on loopback, out of the pyspark wheel, and Hadoop's S3 client."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark

from sandbox.java import find_java_home
from tests.support.mutants import ROOT
from tests.support.processes import free_port, stopped, wait_for_port

SPARK = Path(pyspark.__file__).parent
POM = ROOT / "tests" / "cluster" / "pom.xml"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
SECRET = "cluster-secret-0123456789"
REGISTER_SECONDS = 60


def hadoop_version() -> str:
    """Return the version of the Hadoop client inside pyspark."""
    (jar,) = (SPARK / "jars").glob("hadoop-client-api-*.jar")
    return jar.stem.removeprefix("hadoop-client-api-")


def s3_jars() -> Path:
    """Return a folder with hadoop-aws and what it needs, fetched by Maven once."""
    folder = ROOT / ".uv" / f"hadoop-aws-{hadoop_version()}"
    if not folder.is_dir():
        folder.parent.mkdir(exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=folder.parent))
        began = time.monotonic()
        command = ["mvn", "-q", "-B", "-f", str(POM), f"-Dhadoop.version={hadoop_version()}"]
        done = subprocess.run(
            [*command, COPY, f"-DoutputDirectory={draft}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        size = sum(jar.stat().st_size for jar in draft.iterdir()) // 10**6
        print(f"fetched {size} MB of jars in {time.monotonic() - began:.0f} s")
        try:
            draft.rename(folder)
        except OSError:  # another run was first
            shutil.rmtree(draft)
    return folder


@dataclass(frozen=True)
class Cluster:
    """A running master with one worker."""

    url: str
    folder: Path
    """Working directory of the worker, with its executors' logs."""
    hides: bool
    """Whether the worker and its executors see the hidden folders as empty."""


@contextmanager
def cluster(folder: Path, hidden: tuple[Path, ...]) -> Iterator[Cluster]:
    """Run a master and a worker of one core; the worker cannot see what is in `hidden`."""
    folder.mkdir()
    settings = folder / "spark.conf"
    settings.touch(mode=0o600)
    settings.write_text(
        "spark.authenticate true\n"
        f"spark.authenticate.secret {SECRET}\n"
        "spark.master.rest.enabled false\n"
        "spark.network.crypto.enabled true\n"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "LAB_"))}
    env |= {"JAVA_HOME": str(find_java_home(folder)), "SPARK_HOME": str(SPARK)}
    env |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_WORKER_DIR": str(folder / "work")}
    run = [str(SPARK / "bin" / "spark-class")]
    common = ["--properties-file", str(settings), "--host", "127.0.0.1", "--webui-port", "0"]
    port = free_port()
    master = [*run, "org.apache.spark.deploy.master.Master", *common, "--port", str(port)]
    url = f"spark://127.0.0.1:{port}"
    worker = [*run, "org.apache.spark.deploy.worker.Worker", *common, *("-c", "1", "-m", "1g"), url]
    blinds = _blinds(hidden)
    with stopped(_started(master, folder / "master.log", env)) as first:
        wait_for_port(port, first)
        with stopped(_started([*blinds, *worker], folder / "worker.log", env)) as second:
            _wait_for(folder / "worker.log", "Successfully registered", second)
            yield Cluster(url, folder, bool(blinds))


def _blinds(hidden: tuple[Path, ...]) -> list[str]:
    """Return a command that covers folders for one process tree, where the kernel permits that."""
    cover = "".join(f"mount -t tmpfs none '{path}' && " for path in hidden)
    for namespace in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        blinds = [*namespace, "sh", "-c", cover + 'exec "$@"', "sh"]
        if not shutil.which("unshare"):
            break
        if subprocess.run([*blinds, "true"], capture_output=True, check=False).returncode == 0:
            return blinds
    return []


def _started(command: list[str], log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as told:
        return subprocess.Popen(command, stdout=told, stderr=told, cwd=log.parent, env=env)


def _wait_for(log: Path, words: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + REGISTER_SECONDS
    while not re.search(words, log.read_text()):
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < until, log.read_text()[-2000:]
        time.sleep(0.1)
