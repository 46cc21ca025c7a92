"""Asking the same questions in several places, and telling whether the answers agree."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.mutants import ROOT

NOTEBOOK = ROOT / "notebooks" / ".venv" / "bin" / "python"
ASK = ROOT / "tests" / "support" / "ask_all.py"
ROUNDING = 1e-9
"""Relative: what float sums of plain Spark lose on some ten thousand rows."""

Told = Mapping[str, Mapping[str, Any]]


def asked(python: Path | str, *arguments: str, env: Mapping[str, str]) -> Told:
    """Run all cases in a process of their own."""
    done = subprocess.run(
        [python, ASK, *arguments], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["case"]: line for line in lines}


def difference(plain: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Return how an answer differs from the reference, or nothing."""
    for side, told in (("plain", plain), ("ours", ours)):
        if "error" in told:
            return f"{side}: {told['error']}"
    if plain["columns"] != ours["columns"] or plain["types"] != ours["types"]:
        return f"{plain['columns']} {plain['types']} became {ours['columns']} {ours['types']}"
    unmatched = list(ours["rows"])
    for row in plain["rows"]:
        match = next((o for o in unmatched if same(row, o)), None)
        if match is None:
            return f"missing {row}"
        unmatched.remove(match)
    surplus = [row for row in unmatched if not empty(row)]
    return f"surplus {surplus}" if surplus else ""


def same(a: list[Any], b: list[Any]) -> bool:
    """Whether two rows are equal up to the rounding of float sums."""
    return all(
        x == y
        or (
            isinstance(x, float)
            and isinstance(y, float)
            and abs(x - y) <= ROUNDING * max(abs(x), 1)
        )
        for x, y in zip(a, b, strict=True)
    )


def empty(row: list[Any]) -> bool:
    """Whether a row is a declared key without data: its numbers are zero or absent."""
    numbers = [v for v in row if isinstance(v, float)]
    return all(n == 0 for n in numbers)
