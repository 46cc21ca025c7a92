import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.control import state
from infra.home import PROJECT, Home
from infra.process import Process
from infra.service import answers_http, is_free
from infra.supervisor import stop_leftovers

SECONDS = 15


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    stop_leftovers(home)


@pytest.fixture
def port() -> int:
    for _ in range(50):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if is_free(port + 1):
            return port
    raise AssertionError("no two neighbouring ports are free")


@pytest.fixture
def start(home: Home, port: int) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def launch(second: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.support.supervised", home.root, str(port), second],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        return child

    yield launch
    for child in started:
        if child.poll() is None:
            child.terminate()
        child.communicate(timeout=SECONDS)


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def ready(home: Home) -> bool:
    return state(home).get("phase") == "ready"


def pid_of(home: Home, name: str) -> int | None:
    process = Process.read(home.run / f"{name}.pid")
    return process.pid if process else None


def processes_naming(path: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(path) in words:
            found.append(int(entry.name))
    return found


def test_stopping_ends_every_service_and_what_it_started(home, port, start):
    supervisor = start("serves")
    wait_for(lambda: ready(home))
    assert len(processes_naming(home.root)) == 5  # supervisor, two services, one child of each

    supervisor.terminate()

    assert supervisor.wait(SECONDS) == 0
    wait_for(lambda: processes_naming(home.root) == [])
    assert list(home.run.glob("*.pid")) == []
    assert is_free(port)


def test_a_crashed_service_starts_again(home, port, start):
    start("serves")
    wait_for(lambda: ready(home))
    before = pid_of(home, "first")

    os.kill(before, signal.SIGKILL)

    wait_for(lambda: pid_of(home, "first") not in (None, before) and answers_http(port))
    assert pid_of(home, "second") is not None


@pytest.mark.parametrize(
    ("second", "reason"),
    [("fails", "ended with exit code 1"), ("hangs", "did not answer within 5 s")],
)
def test_a_failed_start_says_why_and_leaves_nothing_running(home, start, second, reason):
    supervisor = start(second)

    _, errors = supervisor.communicate(timeout=SECONDS)

    assert supervisor.returncode == 1
    assert reason in errors
    # A killed process may still be in the table for a moment after its parent has gone.
    wait_for(lambda: processes_naming(home.root) == [])


def test_the_end_of_the_log_is_part_of_the_reason(start):
    _, errors = start("fails").communicate(timeout=SECONDS)

    assert "| no database" in errors


def test_a_taken_port_is_refused_before_anything_starts(home, port, start):
    with socket.create_server(("127.0.0.1", port + 1)):
        _, errors = start("serves").communicate(timeout=SECONDS)

    assert f"Port {port + 1} on 127.0.0.1 is taken" in errors
    assert processes_naming(home.root) == []


def test_a_home_has_one_supervisor(home, start):
    start("serves")
    wait_for(lambda: ready(home))

    second = start("serves")
    _, errors = second.communicate(timeout=SECONDS)

    assert second.returncode == 1
    assert "already runs" in errors
    assert ready(home)


def test_services_of_a_killed_supervisor_are_ended_by_the_next_stop(home, start):
    supervisor = start("serves")
    wait_for(lambda: ready(home))
    supervisor.kill()
    supervisor.wait()
    assert pid_of(home, "first") is not None

    stopped = stop_leftovers(home)

    assert stopped == ["first", "second"]
    wait_for(lambda: processes_naming(home.root) == [])
