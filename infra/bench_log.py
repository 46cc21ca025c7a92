"""`lab bench log`: decisions a second, catching up, verifying; against what the lab promises."""

import json
import subprocess
import sys

from infra.bench import Row
from infra.errors import LabError


def run(*, as_json: bool) -> int:
    """Measure in a process of the marketplace's own, and print a table or JSON."""
    command = [sys.executable, "-P", "-m", "marketplace.audit.bench"]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise LabError("The bench of the log failed; its own words stand above.")
    rows = [Row(**row) for row in json.loads(done.stdout)]
    if as_json:
        print(done.stdout)
        return 0
    print(f"{'':<30}{'ours':>12}{'promised':>12}  unit")
    for row in rows:
        print(f"{row.name:<30}{row.ours:>12,.4g}{row.reference:>12,.4g}  {row.unit}")
    return 0
