"""Committed notebooks, and what they print when a real kernel runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
RUN = """
import sys, warnings
warnings.simplefilter("ignore")
import nbformat
from nbclient import NotebookClient
found = nbformat.read(sys.argv[1], 4)
NotebookClient(found, timeout=120, kernel_name="python3").execute()
nbformat.write(found, sys.argv[2])
"""


def printed(name: str, folder: Path, **environment: str) -> list[str]:
    """Run a notebook in a folder of its own; return what each code cell printed."""
    done = folder / name
    run = subprocess.run(
        [sys.executable, "-c", RUN, str(NOTEBOOKS / name), str(done)],
        env={**os.environ, **environment, "IPYTHONDIR": str(folder / "ipython")},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3_000:]
    cells = json.loads(done.read_text(encoding="utf-8"))["cells"]
    return [
        "".join("".join(o.get("text", "")) for o in cell["outputs"] if o.get("name") == "stdout")
        for cell in cells
        if cell["cell_type"] == "code"
    ]
