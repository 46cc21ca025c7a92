"""A real PostgreSQL for tests: Debian's programs, a temporary directory, a socket that is a file.

`LAB_TEST_DATABASE=postgresql` makes every home of `tests.support.marketplace` keep its tables in a
schema of this server. It syncs to disk as in production, and is ended by its pid.
"""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

PROGRAMS = Path("/usr/lib/postgresql")
START_SECONDS = 30
NUMBERS = itertools.count(1)


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL that is installed."""
    found = [p.parent for p in PROGRAMS.glob("*/bin/postgres")]
    return max(found, key=lambda p: float(p.parent.name), default=None)


class Server:
    """One server process and its folder."""

    def __init__(self, bin_folder: Path) -> None:
        self._bin = bin_folder
        self.folder = Path(tempfile.mkdtemp(prefix="lab-pg-"))
        self.data = self.folder / "data"
        # It refuses to run as root, and belongs to the one who runs it.
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = _unprivileged()
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        create = ("-D", self.data, "-U", "admin", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        subprocess.run(
            [bin_folder / "initdb", *create],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            **self._as,
        )
        self.process = self._started()
        # The lab owns its database and nothing more; tests may damage rows that others refer to.
        self.execute("CREATE ROLE lab LOGIN", "postgres")
        self.execute("CREATE DATABASE lab OWNER lab", "postgres")
        self.execute("GRANT SET ON PARAMETER session_replication_role TO lab")

    def restart(self) -> None:
        """Start again after an end, whatever it was."""
        self.process = self._started()

    def kill(self) -> None:
        """End the server and all its sessions at once, as a power cut does to them."""
        pid = self.process.pid
        self.process.send_signal(signal.SIGSTOP)  # so that no session begins meanwhile
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, children)):
            os.kill(one, signal.SIGKILL)
        self.process.wait(10)
        while any(Path(f"/proc/{child}").exists() for child in children):
            time.sleep(0.01)

    def end(self) -> None:
        """End the server, at once, and remove its folder."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(START_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)

    def execute(self, statement: str, name: str = "lab") -> list[Any]:
        """Run one statement as the server's administrator, outside of any transaction."""
        address = f"host={self.folder} user=admin dbname={name}"
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def url(self, name: str = "lab", schema: str = "") -> str:
        """Return the URL of a database, or of a schema of it, as `LAB_DATABASE_URL` takes it."""
        options = f"&options={quote(f'-csearch_path={schema}')}" if schema else ""
        return f"postgresql://lab@/{name}?host={quote(str(self.folder), safe='')}{options}"

    def new_url(self) -> str:
        """Return the URL of an empty schema."""
        name = f"home{next(NUMBERS)}"
        self.execute(f"CREATE SCHEMA {name} AUTHORIZATION lab")
        return self.url(schema=name)

    def dump(self, schema: str) -> str:
        """Return a schema as PostgreSQL's own tool backs it up."""
        return self._tool("pg_dump", "-d", "lab", "-n", schema)

    def analyze(self, schema: str) -> None:
        """Gather statistics of all tables of a schema, as autovacuum does."""
        tables = self.execute(f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'")
        self.execute(f"ANALYZE {', '.join(f'{schema}.{name}' for (name,) in tables)}")

    def put_back(self, schema: str, dump: str) -> None:
        """Make a schema as it was when it was dumped."""
        self.execute(f"DROP SCHEMA {schema} CASCADE")
        self._tool("psql", "-d", "lab", "-q", "-v", "ON_ERROR_STOP=1", text=dump)

    def _tool(self, program: str, *arguments: str, text: str | None = None) -> str:
        command = [self._bin / program, "-h", self.folder, "-U", "admin", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, input=text)
        return done.stdout

    def _started(self) -> "subprocess.Popen[bytes]":
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "on",
            "max_connections": "300",
            "shared_buffers": "64MB",
        }
        given = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        with (self.folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                [self._bin / "postgres", "-D", self.data, *given],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                **self._as,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                self.execute("SELECT 1", "postgres")
            except psycopg.OperationalError:
                assert process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
                time.sleep(0.05)
            else:
                return process
        raise AssertionError("PostgreSQL did not answer")


@cache
def server() -> Server:
    """Return this test process's server; skip where no PostgreSQL is installed."""
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL is installed; on Debian: apt-get install postgresql")
    return Server(found)


def end_server() -> None:
    """End this test process's server, if it has one."""
    if server.cache_info().currsize:
        server().end()
        server.cache_clear()


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("this machine has neither a user postgres nor a user nobody")
