"""`lab demo`: a whole small city from nothing to answers, with the promises checked at the end."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra import control, staging
from infra.errors import LabError
from infra.home import PROJECT, Home
from infra.staging import City
from infra.truth import truth

ENTERPRISES = 100_000
"""As many as the questions need: at fewer, more cells would be printed as not usable."""
SEED = 20260701
QUESTIONS, ATTEMPTS = 7, 10

USER = "analyst"

PUBLIC = ("districts", "industries")
PRIVATE = (
    "ent_registration",
    "tax_summary",
    "annual_report",
    "loans_full_schema",
)
"""The tables that the questions read; `lab data generate` makes the others too."""

MARKER = "demo.json"
"""Names a home that this command made: only such a home is ever emptied."""

COVERAGE = 0.8
"""Share of truths that must lie within the printed 95 % intervals. With about 90 cells a right
program falls below it once in more than a million runs (binomial tail)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to play, and where."""

    home: Home
    port: int
    gateway_port: int
    enterprises: int = ENTERPRISES
    seed: int = SEED

    @property
    def raw(self) -> Path:
        """Where the synthetic files lie, outside the lake."""
        return self.home.root / "demo" / "raw"

    @property
    def outcome(self) -> Path:
        """What the analyst's script saw."""
        return self.home.root / "demo" / "outcome.json"


@dataclass(slots=True)
class _Clock:
    """Progress lines with the time since the beginning."""

    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        seconds = int(time.monotonic() - self.began)
        print(f"[{seconds // 60}:{seconds % 60:02}] {text}", flush=True)


def run(plan: Plan) -> int:
    """Play the demo; 0 only if every promise that it shows was kept."""
    clock = _Clock()
    analyst = PROJECT / "notebooks" / ".venv" / "bin" / "python"
    if not analyst.exists():
        raise LabError(f"The notebook environment {analyst} is missing. Make it with: make setup")
    _empty(plan)
    clock.say(f"a city of {plan.enterprises:,} enterprises, seed {plan.seed}, in {plan.home.root}")
    city = City(plan.enterprises, plan.seed, PUBLIC, PRIVATE)
    staging.seed_users(plan.home)
    staging.generate(city, plan.raw)
    clock.say("the real loans (openintro/loans_full_schema) beside it; now ingest")
    staging.ingest(plan.home, city, plan.raw, clock.say)
    clock.say("starting the services")
    control.up(plan.home, plan.port, plan.gateway_port, foreground=False)
    try:
        clock.say(f"{USER} opens a notebook: stock PySpark, two environment variables")
        code = _play(plan, analyst)
    finally:
        control.down(plan.home)
    clock.say("comparing with the truth, which only this script can know")
    failures = [] if code == 0 else [f"the analyst's script ended with exit code {code}"]
    if plan.outcome.exists():
        outcome = json.loads(plan.outcome.read_text())
        failures += [*_broken_promises(outcome), *_compare(plan, outcome)]
        clock.say("a regulator verifies the log and every receipt; no service runs any more")
        failures += _verify(plan, outcome)
    _close(plan, clock, failures)
    return 1 if failures else 0


def _empty(plan: Plan) -> None:
    root = plan.home.root
    if control.is_up(plan.home):
        raise LabError(f"A lab is running in {root}. Stop it first (lab down), or give --home DIR.")
    if root.exists() and any(root.iterdir()):
        if not (root / MARKER).exists():
            raise LabError(
                f"{root} was not made by `lab demo`, so it is left as it is. Give --home DIR."
            )
        shutil.rmtree(root)
    plan.home.create()
    made = {"enterprises": plan.enterprises, "seed": plan.seed}
    (root / MARKER).write_text(json.dumps(made) + "\n")


def _play(plan: Plan, python: Path) -> int:
    """Run the analyst's script with the two variables, showing its words as they come."""
    plan.outcome.parent.mkdir(exist_ok=True)
    settings = {
        "SPARK_REMOTE": f"sc://localhost:{plan.gateway_port}",
        "SPARK_CONNECT_AUTHENTICATE_TOKEN": plan.home.token(USER),
    }
    # What any process needs; no setting of the lab's and no path to it.
    basic = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
    script = PROJECT / "notebooks" / "demo_analyst.py"
    with subprocess.Popen(
        [python, "-u", "-P", script, plan.outcome],
        env={**basic, **settings, "PYTHONUTF8": "1"},
        cwd=plan.outcome.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as process:
        for line in process.stdout or ():
            print(f"  {line}", end="", flush=True)
    return process.returncode


def _broken_promises(outcome: dict[str, Any]) -> Iterator[str]:
    """Yield each promise of the demo that its outcome does not keep."""
    answers, refusals = outcome["answers"], outcome["refusals"]
    if len(answers) != QUESTIONS or len(refusals) != ATTEMPTS:
        yield f"{len(answers)} answers and {len(refusals)} attempts were seen"
    for answer in answers:
        if not answer["cells"] or not any(cell["usable"] for cell in answer["cells"]):
            yield f"question {answer['name']}: no usable cell"
        if any(cell["half_width"] is None for cell in answer["cells"]):
            yield f"question {answer['name']}: a cell has no interval"
        if any(not cell["usable"] and not cell["instead"] for cell in answer["cells"]):
            yield f"question {answer['name']}: a cell is not usable, with no word what would be"
        if not answer["facts"].get("receipt"):
            yield f"question {answer['name']}: no receipt"
    for refusal in refusals:
        if not refusal["refused"]:
            yield f"attempt {refusal['title']}: not refused"
    again, first = outcome["again"], answers[0]
    if again["cells"] != first["cells"] or again["facts"].get("cost_micro_rho") not in (0, "0"):
        yield "the first question, asked again, was not the stored answer for nothing"


def _compare(plan: Plan, outcome: dict[str, Any]) -> Iterator[str]:
    """Print answers against truth, and yield a failure if the intervals do not hold."""
    known = truth(plan.raw)
    print("\nTruth for comparison: computed outside the product from the synthetic files.")
    print(f"  {'question':<12}{'column':<14}{'cells':>6}{'within ±':>10}{'median error':>14}")
    within = total = 0
    for answer in outcome["answers"]:
        for column in dict.fromkeys(cell["column"] for cell in answer["cells"]):
            cells = [c for c in answer["cells"] if c["column"] == column and c["half_width"]]
            exact = known[answer["name"], column]
            pairs = [(cell, exact.get(cell["key"], 0.0)) for cell in cells]
            held = sum(abs(c["value"] - true) <= c["half_width"] for c, true in pairs)
            within, total = within + held, total + len(pairs)
            error = _median_error(pairs)
            print(f"  {answer['name']:<12}{column:<14}{len(pairs):>6}{held:>10}{error:>14.2%}")
    if total == 0 or within / total < COVERAGE:
        yield f"{within} of {total} truths lie within the printed intervals"


def _verify(plan: Plan, outcome: dict[str, Any]) -> Iterator[str]:
    """Yield what of the log or the receipts does not verify offline."""
    log, folder = plan.home.root / "log", plan.outcome.parent / "receipts"
    folder.mkdir(exist_ok=True)
    key = ("--vkey", str(log / "vkey"))
    state = ("--state", str(plan.outcome.parent / "seen.json"))
    checks: list[tuple[str, ...]] = [(str(log), *key, *state)]
    for answer in outcome["answers"]:
        for number, text in enumerate(json.loads(answer["facts"].get("proofs") or "[]")):
            receipt = folder / f"{answer['name']}-{number}.tlog-proof"
            receipt.write_text(text, encoding="utf-8")
            checks.append((str(receipt), *key))
    for check in checks:
        command = [sys.executable, "-P", "-m", "marketplace.audit.verifier", *check]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            yield f"{check[0]}: {done.stdout.strip() or done.stderr.strip()}"
    if len(checks) <= len(outcome["answers"]):
        yield f"{len(checks) - 1} receipts for {len(outcome['answers'])} answers"
    print(f"  the whole log and {len(checks) - 1} receipts were checked with one file")


def _median_error(pairs: Sequence[tuple[dict[str, Any], float]]) -> float:
    errors = [abs(cell["value"] - true) / abs(true) for cell, true in pairs if true]
    return statistics.median(errors) if errors else 0.0


def _close(plan: Plan, clock: _Clock, failures: list[str]) -> None:
    print()
    if failures:
        clock.say("NOT as promised:")
        for failure in failures:
            print(f"  - {failure}")
        print(f"  process logs: {plan.home.logs}")
        return
    clock.say(
        f"{QUESTIONS} questions answered, {ATTEMPTS} attempts at raw data refused, all as promised."
    )
    print(f"  Verify it again yourself: lab audit verify {plan.home.root / 'log'}")
    print(f"  Your own turn: lab up --home {plan.home.root}")
    print(f"  then SPARK_REMOTE=sc://localhost:{plan.gateway_port}")
    print(f"  and SPARK_CONNECT_AUTHENTICATE_TOKEN=$(lab token --home {plan.home.root} {USER})")
