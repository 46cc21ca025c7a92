import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

LAB = Path(sys.executable).with_name("lab")
ENTERPRISES = "100000"
"""As `make demo` itself: at 20,000 the median has no usable cell in some runs."""

SECONDS = 300


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Play `lab demo` once; return its home and what it printed."""
    home = tmp_path_factory.mktemp("demo") / "home"
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ports = str(one.getsockname()[1]), str(other.getsockname()[1])
    done = subprocess.run(
        [
            *(LAB, "demo", "--home", home, "--enterprises", ENTERPRISES),
            *("--port", ports[0], "--gateway-port", ports[1]),
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("LAB_")},
    )
    return home, done


@pytest.fixture(scope="module")
def outcome(played):
    home, done = played
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return json.loads((home / "demo" / "outcome.json").read_text())


def test_the_demo_keeps_its_promises(played):
    _, done = played

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "all as promised" in done.stdout


def test_every_cell_is_usable_or_says_what_would_be(outcome):
    cells = [cell for answer in outcome["answers"] for cell in answer["cells"]]

    assert len(outcome["answers"]) == 7
    for cell in cells:
        if cell["usable"]:
            assert cell["half_width"] <= 0.1 * abs(cell["value"])
        else:
            assert cell["instead"]


def test_each_answer_has_a_receipt_of_its_own(outcome):
    receipts = [answer["facts"]["receipt"] for answer in outcome["answers"]]

    assert len(set(receipts)) == 7


def test_ten_attempts_at_raw_data_are_refused_with_a_code(outcome):
    codes = [refusal["code"] for refusal in outcome["refusals"]]

    assert len(codes) == 10
    assert all(code.startswith("LAB.") for code in codes)


def test_refusals_and_repeats_cost_nothing(outcome):
    again, last = outcome["again"], outcome["answers"][-1]

    assert again["cells"] == outcome["answers"][0]["cells"]
    assert again["facts"]["remaining_epsilon"] == last["facts"]["remaining_epsilon"]


def test_the_demo_leaves_a_home_with_tokens_and_nothing_running(played, outcome):
    home, _ = played

    assert (home / "tokens" / "analyst").stat().st_mode & 0o077 == 0
    assert list((home / "run").glob("*.pid")) == []


def test_nothing_is_missing_from_the_log_of_a_demo(played, outcome):
    home, _ = played

    command = [LAB, "audit", "reconcile", "--home", home, "--json"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("LAB_")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    found = json.loads(done.stdout)
    assert (done.returncode, found["findings"]) == (0, [])
    assert len(found["versions_read"]) > 1
