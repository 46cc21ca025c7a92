"""`python -m sandbox.gateway`: the analyst's front door over one lab's home."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from marketplace.client import MarketplaceClient
from privacy.dp.release import Noising
from sandbox.engine.database import Database, Limits
from sandbox.engine.duckdb import DuckDbEngine
from sandbox.engine.room import EMBEDDED_ROWS, EngineRoom, LakeTables
from sandbox.engine.spark import SparkEngine, SparkSettings
from sandbox.engine.stage import StageError
from sandbox.gateway import process_log
from sandbox.gateway.answering import Answering
from sandbox.gateway.auth import Authority
from sandbox.gateway.execute import Executor
from sandbox.gateway.operations import Grid
from sandbox.gateway.purse import MarketplaceAuthority, MarketplacePurse
from sandbox.gateway.reporting import Reporting
from sandbox.gateway.server import Server
from sandbox.gateway.service import Service
from sandbox.gateway.sql import SparkSql, shared_parser
from sandbox.lake.catalogue import Lake
from sandbox.lake.keys import KeyRing
from sandbox.lake.store import open_store

SPARK_OFF = "off"
PUBLIC_MEMORY = "1GB"
"""Of the embedded database that evaluates public parts, unless LAB_PUBLIC_MEMORY says otherwise."""


def main(grid: Grid | None = None, accepts: Callable[[Path], bool] = Path.is_dir) -> int:
    """Serve until told to stop; the benchmark's own gateway passes a grid and what it accepts."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.gateway")
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("LAB_HOME", ".lab")))
    parser.add_argument("--port", type=int, default=15002)
    parser.add_argument("--marketplace", default="http://127.0.0.1:8000")
    given = parser.parse_args()
    timing = os.environ.get("LAB_STRICT_TIME", "off")
    if timing not in ("on", "off"):
        parser.error(f"LAB_STRICT_TIME is on or off, not {timing!r}")
    strict = timing == "on"
    process_log.to_stderr()
    # One line per HTTP call would say who asked what and when: that belongs in the log of record.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    home: Path = given.home.resolve()
    if not accepts(home):
        parser.error(f"{home} is not a home that this gateway serves")
    client = MarketplaceClient(given.marketplace, (home / "gateway.token").read_text().strip())
    try:
        room = engine_room(home)
    except StageError as error:
        parser.error(str(error))
    reporting = Reporting(client, room.lake.tables)
    purse = MarketplacePurse(client, reporting)
    executor = Executor(LakeTables(room.lake), room, purse, Noising, strict=strict)
    authority = MarketplaceAuthority(client)
    stopped = threading.Event()
    watching = threading.Thread(target=reporting.watch, args=(stopped,), name="lake-watch")
    watching.start()
    try:
        serve(room, executor, authority, given.port, grid=grid or Grid(for_public=strict))
    finally:
        stopped.set()
        watching.join()
        client.close()
    return 0


def serve(
    room: EngineRoom,
    answering: Answering,
    authority: Authority,
    port: int,
    *,
    grid: Grid | None = None,
) -> None:
    """Serve on loopback until SIGTERM or SIGINT; tests and benchmarks pass a grid."""
    # gRPC's fork handlers break a JVM that is started while the server serves (2 of 3 starts).
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    sql = shared_parser()
    server = Server(Service(answering, authority, SparkSql(sql), grid=grid), port=port)
    # Both JVMs warm behind the open port: the first embedded answer does not wait for them.
    threading.Thread(target=sql.warm, name="parser-warm", daemon=True).start()
    if room.spark is not None:
        room.spark.start()
    stopped = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    stopped.wait()
    server.stop()
    sql.close()
    if room.spark is not None:
        room.spark.stop()


def engine_room(home: Path) -> EngineRoom:
    """Return the lake and engines of a home, by its settings."""
    url = os.environ.get("LAB_LAKE_URL") or f"file://{home / 'lake'}"
    cache = home / "run" / "cache"
    lake = Lake(open_store(url), KeyRing.open_or_create(home / "keys"), cache)
    memory = os.environ.get("LAB_EMBEDDED_MEMORY") or Limits().memory
    scratch = home / "run" / "scratch"
    database = Database((cache,), scratch / "private", Limits(memory=memory))
    # Apart, with memory and places of its own: no public question makes a paid one fail or wait.
    shared = Limits(memory=os.environ.get("LAB_PUBLIC_MEMORY") or PUBLIC_MEMORY, each=1)
    public = Database((cache,), scratch / "public", shared)
    spark = None
    if os.environ.get("LAB_SPARK_MASTER") != SPARK_OFF:
        settings = SparkSettings.of(os.environ)
        spark = SparkEngine(public, home / "run" / "spark", settings)
    rows = int(os.environ.get("LAB_EMBEDDED_ROWS") or EMBEDDED_ROWS)
    return EngineRoom(lake, public, DuckDbEngine(database, public), spark, rows)


if __name__ == "__main__":
    sys.exit(main())
