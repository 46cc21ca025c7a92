"""Interrupted ingests: the old version or the new one, and never work done twice."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from sandbox.lake.ingest import Delivery, ingest
from sandbox.lake.manifest import number_of
from sandbox.lake.store import LocalStore
from tests.support.lake import KNOWN, PERIODS, SmallLake, contract, document, row, uscc, write

ROOT = Path(__file__).parents[2]
STEPS = [
    *("reading", "registering units", "checking rows", "checking unique keys"),
    *("ranking and sorting", "verifying ranks", "sealing and storing"),
]
KILLED = STEPS if os.environ.get("LAB_FULL") == "1" else random.Random(5).sample(STEPS[1:], 3)


class CrashError(Exception):
    """The store's process dies here."""


class CrashingStore(LocalStore):
    """A directory whose process dies right before or right after its n-th write."""

    def __init__(self, root: Path, writes: int, *, after: bool) -> None:
        super().__init__(root)
        self.left, self.after, self.written = writes, after, list[str]()

    def put(self, key: str, path: Path) -> None:
        self._strike(key, lambda: LocalStore.put(self, key, path))

    def put_bytes(self, key: str, data: bytes) -> None:
        self._strike(key, lambda: LocalStore.put_bytes(self, key, data))

    def _strike(self, key, write) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise CrashError
        write()
        self.written.append(key)
        if self.left == 0:
            raise CrashError


OLD, NEW = [row(1), row(2)], [row(u, p) for u in (2, 3) for p in (*PERIODS, PERIODS[0])]
WRITES = 8
"""Registry and its pointer; rows, quarantine, report and displaced rows; manifest; pointer."""


def say_nothing(_: str) -> None:
    """Take progress."""


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("writes", range(1, WRITES + 1))
def test_a_crash_at_any_write_leaves_the_old_version_or_the_new_one(
    tmp_path: Path, writes: int, after: bool
) -> None:
    lake = SmallLake.at(tmp_path)
    lake.deliver(OLD, name="old")
    before = lake.rows()
    crashing = CrashingStore(tmp_path / "lake", writes, after=after)
    struck = SmallLake.at(tmp_path, store=crashing)
    with pytest.raises(CrashError):
        struck.deliver(NEW, name="new")
    done = crashing.written[-1:] == ["current/tax"]
    assert done == (after and writes == WRITES)
    found = lake.rows()
    assert found != before if done else found == before
    outcome = lake.deliver(NEW, name="new")
    assert (number_of(outcome.version), outcome.changed) == (2, not done)
    assert [r["uscc"] for r in lake.rows()].count(uscc(3)) == len(PERIODS)
    unfinished = lake.place.work / "ingest" / "tax"
    assert [p for p in unfinished.rglob("*") if p.is_file()] == [], "rows in the clear"


def test_what_was_finished_is_not_done_again(tmp_path: Path) -> None:
    lake = SmallLake.at(tmp_path)
    crashing = CrashingStore(tmp_path / "lake", WRITES - 1, after=False)
    with pytest.raises(CrashError):
        SmallLake.at(tmp_path, store=crashing).deliver(NEW)
    assert len(crashing.written) == WRITES - 2
    said: list[str] = []
    counting = CrashingStore(tmp_path / "lake", 1_000, after=False)
    delivery = Delivery(contract(), (tmp_path / "batch.parquet",), KNOWN)
    ingest(delivery, SmallLake.at(tmp_path, store=counting).place, said.append)
    assert said[0] == "sealing and storing"
    assert re.fullmatch("version 1-[0-9a-f]{16} is current", said[1])
    assert [key.rpartition("/")[2] for key in counting.written] == ["manifest.age", "tax"]
    assert len(lake.rows()) == 8


def test_an_interrupted_ingest_is_given_up_when_other_files_come(tmp_path: Path) -> None:
    lake = SmallLake.at(tmp_path)
    crashing = CrashingStore(tmp_path / "lake", WRITES - 1, after=False)
    with pytest.raises(CrashError):
        SmallLake.at(tmp_path, store=crashing).deliver(NEW)
    lake.deliver(OLD)
    assert {r["uscc"] for r in lake.rows()} == {uscc(1), uscc(2)}
    assert list((tmp_path / "work" / "ingest" / "tax").iterdir()) == []


def test_ingests_of_many_tables_at_once_share_one_registry(tmp_path: Path) -> None:
    lake = SmallLake.at(tmp_path)
    names = [f"table{n}" for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda n: lake.deliver(
                    [row(u) for u in range(n, n + 6)], contract(table=names[n]), name=names[n]
                ),
                range(4),
            )
        )
    units: dict[str, set[int]] = {}
    for name in names:
        for stored in lake.rows(name):
            units.setdefault(stored["uscc"], set()).add(stored["__unit"])
    assert len(units) == 9
    assert all(len(integers) == 1 for integers in units.values())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "tax.yaml").write_text(yaml.safe_dump(document(), allow_unicode=True))
    write(tmp_path / "old.parquet", OLD)
    write(tmp_path / "new.parquet", [row(u, p) for u in range(2, 900) for p in PERIODS])
    return tmp_path


def start(home: Path, name: str) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-m", "sandbox.lake", "ingest", "--home", str(home / "lab")),
        *("--as-known", "2026-07-15", str(home / "tax.yaml"), str(home / name)),
    ]
    return subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("step", KILLED)
def test_kill_9_leaves_the_old_version_and_the_next_start_makes_the_new_one(
    home: Path, step: str
) -> None:
    with start(home, "old.parquet") as first:
        assert first.wait() == 0, first.stderr.read()
    with start(home, "new.parquet") as victim:
        for line in victim.stderr:
            if step in line:
                break
        time.sleep(random.Random(step).uniform(0, 0.02))
        victim.send_signal(signal.SIGKILL)
        assert victim.wait() in (0, -signal.SIGKILL)
    lab = SmallLake.at(home / "lab")
    kept = {1: len(OLD), 2: 898 * len(PERIODS)}
    assert len(lab.rows()) == kept[number_of(lab.reader().table("tax").facts.version)]
    with start(home, "new.parquet") as again:
        output, errors = again.communicate()
    assert again.returncode == 0, errors
    assert "tax version 2-" in output
    assert len(lab.rows()) == kept[2]
    left = [p for p in (home / "lab" / "run").rglob("*.parquet") if "cache" not in p.parts]
    assert left == []
