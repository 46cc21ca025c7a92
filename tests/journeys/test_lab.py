import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.service import answers_http, answers_http2, is_free

LAB = Path(sys.executable).with_name("lab")
SECONDS = 90


def lab(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LAB, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "LAB_SPARK_MASTER": "off"},
    )


@pytest.fixture
def place(tmp_path, free_ports):
    """Where one lab lives; whatever the test does, it is down afterwards."""
    port, gateway_port = free_ports
    options = (
        "--home",
        tmp_path / "home",
        "--port",
        str(port),
        "--gateway-port",
        str(gateway_port),
    )
    yield options
    lab("down", "--home", tmp_path / "home")


@pytest.fixture
def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def test_a_lab_comes_up_in_an_empty_home_says_so_and_goes_down(place, free_ports):
    up = lab("up", *place)
    assert up.returncode == 0, up.stderr
    assert answers_http(free_ports[0])
    assert answers_http2(free_ports[1])

    status = lab("status", "--json", *place)
    assert status.returncode == 0
    assert [row["ready"] for row in json.loads(status.stdout)] == [True, True]

    assert lab("down", *place[:2]).returncode == 0
    assert lab("status", *place).returncode == 1
    assert all(is_free(port) for port in free_ports)


def test_a_second_lab_in_the_same_home_is_refused_and_the_first_stays(place):
    assert lab("up", *place).returncode == 0

    second = lab("up", *place)

    assert second.returncode == 1
    assert "already runs" in second.stderr
    assert lab("status", *place).returncode == 0


def test_a_killed_gateway_comes_back(place):
    assert lab("up", *place).returncode == 0
    rows = json.loads(lab("status", "--json", *place).stdout)
    gateway = next(row["pid"] for row in rows if row["name"] == "gateway")

    os.kill(gateway, signal.SIGKILL)

    deadline = time.monotonic() + SECONDS
    while True:
        rows = json.loads(lab("status", "--json", *place).stdout)
        if all(row["ready"] for row in rows) and rows[1]["pid"] != gateway:
            return
        assert time.monotonic() < deadline, rows
        time.sleep(0.2)
