"""Copy a stopped lab's home, and put such a copy in an empty place.

A copy holds keys and data, so it is readable by its owner only. Its manifest names every file with
its digest: a copy that lost or changed one is refused. A ledger that is put back knows nothing of
what was spent after the copy was made, so a restore never overwrites a home, refuses a ledger that
is behind its own log, and refuses a copy that does not contain a newer checkpoint one kept.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from infra.control import is_up
from infra.errors import LabError
from infra.home import Home

MANIFEST = "copy.json"
FORM = "digital-lab/copy/1"
CHUNK = 2**20
_NOT_COPIED = ("run", "logs")
"""Pids, caches and process logs belong to one run of one machine."""
_ELSEWHERE = ("LAB_DATABASE_URL", "LAB_LAKE_URL")


def backup(home: Home, target: Path) -> int:
    """Copy the home to a new directory. Return how many files were copied."""
    if not home.root.is_dir():
        raise LabError(f"There is no home at {home.root}, so there is nothing to copy.")
    _check_stopped(home)
    _check_whole()
    draft = _draft(home.root, target)
    files = {
        name: _copied(file, draft / name)
        for name, file in _files(home.root).items()
        if name.partition("/")[0] not in _NOT_COPIED
    }
    manifest = {"form": FORM, "made": datetime.now(UTC).isoformat("T", "seconds"), "files": files}
    with _private(draft / MANIFEST) as file:
        file.write(json.dumps(manifest, indent=1).encode() + b"\n")
    _finish(draft, target)
    return len(files)


def restore(home: Home, source: Path, newer_than: Path | None = None) -> int:
    """Make the home from a copy that `backup` made. Return how many files it has.

    `newer_than` is a checkpoint of the log that somebody kept: a copy made before it is refused.
    """
    files = _manifest(source)
    _check_stopped(home)
    _check_whole()
    draft = _draft(source, home.root)
    try:
        found = {name: _copied(source / name, draft / name) for name in files}
        _check_same(source, files, found)
        _check_ledger(draft)
        if newer_than is not None:
            _check_newer(draft, newer_than)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _finish(draft, home.root)
    return len(files)


def _manifest(source: Path) -> Mapping[str, str]:
    """Return the files of a copy with their digests; refuse what is no whole copy."""
    try:
        manifest = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
        files: dict[str, str] = manifest["files"]
        known = manifest["form"] == FORM and "marketplace.db" in files
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise LabError(f"{source} is not a copy of a home that `lab backup` finished.")
    there = _files(source).keys() - {MANIFEST}
    lost, strange = sorted(files.keys() - there), sorted(there - files.keys())
    if lost or strange:
        first = f"{lost[0]} is missing" if lost else f"{strange[0]} was not copied"
        raise LabError(
            f"{source} has {len(lost)} files fewer and {len(strange)} more than were copied "
            f"({first}), so nothing was restored. Take another copy."
        )
    return files


def _check_same(source: Path, wanted: Mapping[str, str], found: Mapping[str, str]) -> None:
    changed = [name for name in wanted if found[name] != wanted[name]]
    if changed:
        raise LabError(
            f"{len(changed)} files in {source} are not what was copied, the first {changed[0]}, "
            "so nothing was restored. Take another copy."
        )


def _check_ledger(draft: Path) -> None:
    """Let the accountant recount the copied ledger from its log, as every start does."""
    done = _python(draft, "marketplace", "replay", "--home", str(draft))
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        raise LabError(
            "The ledger of this copy does not agree with its log, so nothing was restored: "
            f"{said[-1].strip() if said else 'it cannot be read'}. Take another copy."
        )


def _check_newer(draft: Path, checkpoint: Path) -> None:
    """Let the verifier say whether the copied log contains a checkpoint."""
    log = draft / "log"
    with tempfile.TemporaryDirectory() as state:
        done = _python(
            draft,
            *("marketplace.audit.verifier", str(log), "--vkey", str(log / "vkey")),
            *("--since", str(checkpoint), "--state", f"{state}/seen", "--json"),
        )
    if done.returncode:
        raise LabError(
            f"The log of this copy does not contain the checkpoint in {checkpoint}: the copy is "
            "older, of another lab, or changed. Nothing was restored, since budget that was spent "
            "after the copy was made would come back. Take the newest copy."
        )


def _python(home: Path, module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a module of one of the sides over a home."""
    return subprocess.run(
        [sys.executable, "-P", "-m", module, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "LAB_HOME": str(home)},
    )


def _files(root: Path) -> dict[str, Path]:
    """Return all files below a folder by their path in it."""
    found = sorted(p for p in root.rglob("*") if p.is_file())
    return {file.relative_to(root).as_posix(): file for file in found}


def _copied(source: Path, target: Path) -> str:
    """Copy a file for its owner only; return the SHA-256 of what was read."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as given, _private(target) as taken:
        while piece := given.read(CHUNK):
            digest.update(piece)
            taken.write(piece)
        taken.flush()
        os.fsync(taken.fileno())
    return digest.hexdigest()


def _private(path: Path) -> BinaryIO:
    """Open a new file that its owner alone can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _draft(source: Path, target: Path) -> Path:
    if target.exists() and any(target.iterdir()):
        raise LabError(f"{target} is not empty. Name a directory that does not exist yet.")
    if target.resolve().is_relative_to(source.resolve()):
        raise LabError(f"{target} lies inside {source}. Name a directory outside of it.")
    draft = target.with_name(f"{target.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    return draft


def _finish(draft: Path, target: Path) -> None:
    if target.exists():
        target.rmdir()
    # The rename comes last: a copy that was interrupted never looks like a whole one.
    draft.replace(target)


def _check_whole() -> None:
    elsewhere = [name for name in _ELSEWHERE if os.environ.get(name)]
    if elsewhere:
        raise LabError(
            f"{' and '.join(elsewhere)} put a part of this lab outside its home; copy that part "
            "with its own tools, at the same moment, and the home with cp -a."
        )


def _check_stopped(home: Home) -> None:
    if is_up(home):
        raise LabError(f"The lab in {home.root} is running. Stop it first: lab down")
