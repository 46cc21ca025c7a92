"""What lets an interrupted ingest go on: a private folder and the list of finished steps."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Steps:
    """Finished steps of one ingest and their results, in a file that is replaced whole."""

    def __init__(self, folder: Path) -> None:
        """Go on in a folder, making it if needed; it holds rows in the clear, so it is private."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._path = folder / "steps.json"
        self._done: dict[str, Any] = (
            json.loads(self._path.read_text()) if self._path.exists() else {}
        )

    def once(self, name: str, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - any JSON value
        """Return a step's result, doing its work unless an earlier run finished it."""
        if name not in self._done:
            self._done[name] = work()
            draft = self._path.with_suffix(".draft")
            with draft.open("w") as file:
                json.dump(self._done, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        return self._done[name]

    def fresh(self, name: str) -> Path:
        """Return an empty folder for a step's files, without what a killed run left there."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        return folder


def only_steps(parent: Path, identity: str) -> Steps:
    """Return the steps of one ingest; those of other ingests under `parent` are given up."""
    if parent.is_dir():
        for other in parent.iterdir():
            if other.name != identity:
                shutil.rmtree(other)
    return Steps(parent / identity)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file's lock: one ingest for a table, one change of a domain's registry at a time.

    The kernel drops the lock with the process, however it ends. All writers of a lake must share
    the folder: one machine, or a file system with POSIX locks.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
