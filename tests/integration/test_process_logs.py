"""What processes say of themselves: lines of JSON, bounded, and nothing of anybody's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.supervisor import set_aside

SAYS = """
import logging, sys
from {module} import to_stderr
to_stderr()
log = logging.getLogger("lab.part")
log.warning("witness.away", extra={{"url": "http://127.0.0.1", "kind": "Timeout"}})
try:
    int("91370200MA")
except ValueError:
    log.exception("request.failed")
log.info("a line\\nof two, 中文")
"""


@pytest.mark.parametrize("module", ["marketplace.process_log", "sandbox.gateway.process_log"])
def test_a_line_is_an_object_and_an_errors_message_is_not_in_it(module: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", SAYS.format(module=module)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    assert [one["message"] for one in lines] == [
        "witness.away",
        "request.failed",
        "a line\nof two, 中文",
    ]
    assert lines[0] | {"time": ""} == {
        "time": "",
        "level": "WARNING",
        "logger": "lab.part",
        "message": "witness.away",
        "url": "http://127.0.0.1",
        "kind": "Timeout",
    }
    assert lines[1]["exc_info"].startswith("ValueError at ")
    assert "91370200MA" not in run.stderr
    assert lines[0]["time"].endswith("+00:00")


BURSTS = """
import os, sys
for number, _ in enumerate(sys.stdin):
    os.write(1, (f"burst {number}\\n" + "x" * 30_000 + "\\n").encode())
    print("written", file=sys.stderr, flush=True)
"""


def test_a_log_is_bounded_while_its_process_writes_on(tmp_path: Path) -> None:
    log, most, kept = tmp_path / "service.log", 20_000, 2
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-c", BURSTS],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert child.stdin is not None
    assert child.stderr is not None
    for _ in range(4):
        child.stdin.write("on\n")
        child.stdin.flush()
        assert child.stderr.readline() == "written\n"
        assert set_aside(log, most, kept)
        assert not set_aside(log, most, kept), "it is empty now"
    child.communicate()
    firsts = {p.name: p.read_text().split("\n")[0] for p in tmp_path.iterdir()}
    assert firsts == {
        "service.log": "",
        "service.log.1": "burst 3",  # at the new end: no gap before it
        "service.log.2": "burst 2",
    }
    assert (tmp_path / "service.log.1").stat().st_mode & 0o077 == 0
    assert not set_aside(tmp_path / "none.log")
