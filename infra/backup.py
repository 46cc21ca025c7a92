"""Copy a stopped lab's home, and put such a copy in an empty place.

A copy holds keys and data, so it is readable by its owner only. A ledger that is put back knows
nothing of what was spent after the copy was made: that is why a restore never overwrites a home.
"""

import os
import shutil
from pathlib import Path

from infra.control import is_up
from infra.errors import LabError
from infra.home import Home

_NOT_COPIED = ("run", "logs")
"""Pids, caches and process logs belong to one run of one machine."""


def backup(home: Home, target: Path) -> None:
    """Copy the home to a new directory."""
    if not home.root.is_dir():
        raise LabError(f"There is no home at {home.root}, so there is nothing to copy.")
    _check_stopped(home)
    elsewhere = [name for name in ("LAB_DATABASE_URL", "LAB_LAKE_URL") if os.environ.get(name)]
    if elsewhere:
        raise LabError(
            f"{' and '.join(elsewhere)} put a part of this lab outside its home; copy that part "
            "with its own tools, at the same moment, and the home with cp -a."
        )
    _copy(home.root, target)


def restore(home: Home, source: Path) -> None:
    """Make the home from a copy that `backup` made."""
    if not (source / "marketplace.db").is_file():
        raise LabError(f"{source} is not a copy of a home: it holds no marketplace.db.")
    _check_stopped(home)
    _copy(source, home.root)


def _copy(source: Path, target: Path) -> None:
    if target.exists() and any(target.iterdir()):
        raise LabError(f"{target} is not empty. Name a directory that does not exist yet.")
    if target.resolve().is_relative_to(source.resolve()):
        raise LabError(f"{target} lies inside {source}. Name a directory outside of it.")
    draft = target.with_name(f"{target.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    for part in source.iterdir():
        if part.name in _NOT_COPIED:
            continue
        if part.is_dir():
            shutil.copytree(part, draft / part.name)
        else:
            shutil.copy2(part, draft / part.name)
    if target.exists():
        target.rmdir()
    # The rename comes last: a copy that was interrupted never looks like a whole one.
    draft.replace(target)


def _check_stopped(home: Home) -> None:
    if is_up(home):
        raise LabError(f"The lab in {home.root} is running. Stop it first: lab down")
