"""The stage: where a cluster's executors read the tables that they cannot see on our disk.

Each table version is copied there once, through the Hadoop file systems of Spark's own JVM. A stage
on S3 is encrypted by the server with a key that the request carries and the server forgets (SSE-C,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html). That
key is drawn for this process and stored nowhere: what a killed process leaves in the bucket opens
for nobody. Keys and credentials enter Spark's Hadoop configuration after the start, so they stand
in no argument list and in no Spark setting.
"""

import base64
import contextlib
import fcntl
import ipaddress
import logging
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from py4j.protocol import Py4JError

from sandbox.engine.run import TableSource

log = logging.getLogger(__name__)

KEPT = 2
"""Versions of a table that stay staged: the current one and the one before it."""

_S3_SETTINGS = {
    "LAB_S3_ENDPOINT": "fs.s3a.endpoint",
    "LAB_S3_REGION": "fs.s3a.endpoint.region",
    "LAB_S3_ACCESS_KEY": "fs.s3a.access.key",
    "LAB_S3_SECRET_KEY": "fs.s3a.secret.key",
}

_S3_OPTIONS = {
    "fs.s3a.aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
    "fs.s3a.encryption.algorithm": "SSE-C",
    "fs.s3a.endpoint.region": "us-east-1",
    "fs.s3a.fast.upload.buffer": "bytebuffer",  # the default puts the rows into files of /tmp
    "fs.s3a.multipart.size": "32M",
    "fs.s3a.path.style.access": "true",
    "fs.s3a.performance.flags": "*",  # no marker objects: all paths here are our own and new
    "fs.s3a.retry.limit": "3",
}


class StageError(Exception):
    """A stage or cluster that cannot be used as it is set up: the reason and the next step."""


class Stage:
    """Decrypted table versions where the executors can read them. Safe to share between threads."""

    def __init__(self, url: str, scratch: Path, environ: Mapping[str, str] = os.environ) -> None:
        """Check the URL; `scratch` remembers what a killed process must leave to the next one."""
        self._s3 = dict(environ)
        self._scheme = urlsplit(url).scheme
        _check(url, environ)
        self._mark = secrets.token_hex(16)
        self._place = f"{url.rstrip('/')}/{self._mark}"
        self._key = secrets.token_bytes(32)
        self._journal = scratch / "stages"
        self._entry: IO[str] | None = None
        self._lock = threading.Lock()
        self._staged: dict[str, str] = {}
        """Name of the table by staged view, oldest first."""
        self._jvm: Any = None
        self._conf: Any = None

    def open(self, session: Any) -> None:  # noqa: ANN401 - pyspark is untyped here
        """Tell Spark how to reach the stage, remove dead ones, prove that executors can read it."""
        # PySpark has no public way to a Hadoop file system.
        self._jvm = session.sparkContext._jvm  # noqa: SLF001
        self._conf = session.sparkContext._jsc.hadoopConfiguration()  # noqa: SLF001
        if self._scheme == "s3a":
            self._reach_s3()
        self._remove_dead()
        self._enter()
        with self._speaking(
            "Spark cannot write to LAB_SPARK_STAGE_URL. Check that the bucket or folder exists and "
            "may be written, and LAB_S3_ENDPOINT, LAB_S3_ACCESS_KEY and LAB_S3_SECRET_KEY."
        ):
            if self._scheme == "file":
                private = self._jvm.org.apache.hadoop.fs.permission.FsPermission("700")
                place = self._jvm.org.apache.hadoop.fs.Path(self._place)
                place.getFileSystem(self._conf).mkdirs(place, private)
            probe = self._journal / f".{self._mark}.parquet"
            pq.write_table(pa.table({"probe": [1]}), probe)
            self._delete(f"{self._place}/probe.parquet")  # of an earlier try
            self._copy(probe, f"{self._place}/probe.parquet")
            probe.unlink()
        try:
            session.read.parquet(f"{self._place}/probe.parquet").toArrow()
        except Exception:  # noqa: BLE001 - whatever Spark says, the next step is the same
            raise StageError(
                "Spark's executors cannot read LAB_SPARK_STAGE_URL. They must reach the S3 server "
                "of LAB_S3_ENDPOINT, or see the folder of a file:// stage at the same path and as "
                "the gateway's user."
            ) from None

    def paths(self, source: TableSource) -> list[str]:
        """Return where the executors find a table version, which is copied there at first use.

        The place is new and known to this process only, and the paths leave this method when all
        files are whole: nobody reads a part.
        """
        view = source.view
        paths = [f"{self._place}/{view}/{n}.parquet" for n in range(len(source.files))]
        if view in self._staged:
            return paths
        with self._lock:
            if view not in self._staged:
                self._delete(f"{self._place}/{view}")  # what a failed copy may have left
                for file, path in zip(source.files, paths, strict=True):
                    self._copy(file, path)
                self._staged[view] = source.facts.name
                self._forget(source.facts.name)
        return paths

    def close(self) -> None:
        """Remove all that this process has staged."""
        if self._entry is not None:
            self._remove(self._journal / self._mark)
            self._entry.close()
            self._entry = None

    def _reach_s3(self) -> None:
        for name, value in _S3_OPTIONS.items():
            self._conf.set(name, value)
        for name, option in _S3_SETTINGS.items():
            if self._s3.get(name):
                self._conf.set(option, self._s3[name])
        self._conf.set("fs.s3a.encryption.key", base64.b64encode(self._key).decode())

    def _copy(self, file: Path, path: str) -> None:
        """Copy one local file; raise `Py4JError` or `StageError`."""
        hadoop = self._jvm.org.apache.hadoop.fs
        target = hadoop.Path(path)
        system = target.getFileSystem(self._conf)
        local = self._jvm.java.io.File(str(file.resolve()))
        hadoop.FileUtil.copy(local, system, target, False, self._conf)  # noqa: FBT003 - a Java call
        if system.getFileStatus(target).getLen() != file.stat().st_size:
            raise StageError("A file reached the stage cut short. Ask again.")

    def _forget(self, table: str) -> None:
        """Remove all but the newest versions of a table."""
        views = [view for view, name in self._staged.items() if name == table]
        for view in views[:-KEPT]:
            del self._staged[view]
            with contextlib.suppress(Py4JError):  # it goes with the whole stage, at the latest
                self._delete(f"{self._place}/{view}")

    def _enter(self) -> None:
        """Note this stage for a later process; the lock on the note tells that we live."""
        if self._entry is not None:
            return
        draft = self._journal / f".{self._mark}"
        self._entry = draft.open("w")
        fcntl.flock(self._entry, fcntl.LOCK_EX)
        self._entry.write(self._place)
        self._entry.flush()
        os.fsync(self._entry.fileno())
        draft.rename(self._journal / self._mark)

    def _remove_dead(self) -> None:
        """Remove the stages of processes that ended without doing it."""
        self._journal.mkdir(mode=0o700, parents=True, exist_ok=True)
        for note in self._journal.glob("[!.]*"):
            # A living process holds the lock; another start may have removed the note just now.
            with contextlib.suppress(BlockingIOError, FileNotFoundError), note.open() as entry:
                fcntl.flock(entry, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._remove(note)

    def _remove(self, note: Path) -> None:
        try:
            self._delete(note.read_text())
        except Py4JError:
            log.warning("A stage could not be removed; the next start tries again")
        else:
            note.unlink(missing_ok=True)

    def _delete(self, path: str) -> None:
        target = self._jvm.org.apache.hadoop.fs.Path(path)
        target.getFileSystem(self._conf).delete(target, True)  # noqa: FBT003 - a Java call

    @contextlib.contextmanager
    def _speaking(self, sentence: str) -> Iterator[None]:
        """Say a failure of Hadoop in one sentence; its own words may hold paths and keys."""
        try:
            yield
        except Py4JError as error:
            if "S3AFileSystem not found" not in str(error):
                raise StageError(sentence) from None
            version = self._jvm.org.apache.hadoop.util.VersionInfo.getVersion()
            raise StageError(
                f"Spark has no S3 client. Put hadoop-aws-{version}.jar and the AWS SDK v2 that it "
                "names (the jar `bundle`) into a folder, set LAB_SPARK_JARS to that folder, and "
                "start the lab again."
            ) from None


def _check(url: str, environ: Mapping[str, str]) -> None:
    """Refuse a stage that would show rows or keys to others."""
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
        return
    if parts.scheme != "s3a" or not parts.netloc:
        raise StageError(
            "LAB_SPARK_STAGE_URL must be s3a://BUCKET/PREFIX or, on a disk that the executors "
            "share, file:///FOLDER."
        )
    endpoint = urlsplit(environ.get("LAB_S3_ENDPOINT") or "https://s3.amazonaws.com")
    if endpoint.scheme != "https" and not is_loopback(endpoint.hostname or ""):
        raise StageError(
            "The stage's key travels with each request: LAB_S3_ENDPOINT must begin with https:// "
            "unless it is on loopback."
        )


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine only."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
