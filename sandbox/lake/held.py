"""Deliveries that wait: checked and kept sealed until somebody takes them, or lets them go.

A provider's file is looked at when it comes, and becomes a table's version when what it belongs to
was approved. In between it lies in the lake under a name that the caller chose, encrypted like all
else there; nobody can ask questions of it.
"""

import datetime as dt
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.lake.errors import LakeError
from sandbox.lake.ingest import Delivery, Outcome, Place, check, ingest
from sandbox.lake.reading import Encoding
from sandbox.lake.seal import seal_bytes, seal_file, unseal_bytes, unseal_file
from sandbox.lake.steps import locked
from sandbox.lake.store import MissingObjectError
from sandbox.lake.terms import Contract

FOLDER = "held"
_NAME = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Held:
    """Where the two objects of one held delivery lie."""

    name: str

    def __post_init__(self) -> None:
        """Refuse a name that could lead elsewhere."""
        if not _NAME.fullmatch(self.name):
            raise LakeError("A held delivery is named by 32 hexadecimal digits.")

    @property
    def file(self) -> str:
        """Return the key of the file."""
        return f"{FOLDER}/{self.name}.file.age"

    @property
    def note(self) -> str:
        """Return the key of how to read it; written last, so that it stands for both."""
        return f"{FOLDER}/{self.name}.note.age"


def hold(name: str, delivery: Delivery, place: Place, say: Callable[[str], None]) -> dict[str, Any]:
    """Check one file and keep it sealed; return its report. A file that is refused is not kept."""
    held, (file,) = Held(name), delivery.files
    report = check(delivery, place, say)
    with _workspace(place, name) as folder:
        seal_file(place.keys, file, folder / "sealed")
        place.store.put(held.file, folder / "sealed")
    note = {
        "suffix": file.suffix.lower(),
        "encoding": delivery.encoding.value,
        "as_known": delivery.as_known.isoformat(),
    }
    place.store.put_bytes(held.note, seal_bytes(place.keys, json.dumps(note).encode()))
    return report


def take(name: str, contract: Contract, place: Place, say: Callable[[str], None]) -> Outcome:
    """Make a held delivery its table's new version; the same call again changes nothing.

    Its rows count as known on the day on which it was held. It stays held, so that who was
    interrupted can ask again; `drop` ends that.
    """
    held = Held(name)
    try:
        sealed = place.store.get_bytes(held.note)
    except MissingObjectError as error:
        raise LakeError(f"No delivery {name} is held. Deliver the file again.") from error
    note = json.loads(unseal_bytes(place.keys, sealed, held.note))
    with _workspace(place, name) as folder:
        place.store.get(held.file, folder / "sealed")
        file = folder / f"delivery{note['suffix']}"
        unseal_file(place.keys, folder / "sealed", file)
        known, encoding = dt.date.fromisoformat(note["as_known"]), Encoding(note["encoding"])
        delivery = Delivery(contract, (file,), known, encoding=encoding, batch=name)
        return ingest(delivery, place, say)


def drop(name: str, place: Place) -> None:
    """Forget a held delivery, if there is one."""
    held = Held(name)
    place.store.delete(held.note)
    place.store.delete(held.file)


def names(place: Place) -> list[str]:
    """Return the names of all that is held, half-kept ones among them."""
    keys = place.store.list(f"{FOLDER}/")
    return sorted({key.removeprefix(f"{FOLDER}/").partition(".")[0] for key in keys})


@contextmanager
def _workspace(place: Place, name: str) -> Iterator[Path]:
    all_work = place.work / FOLDER
    with locked(place.work / "locks" / FOLDER):
        shutil.rmtree(all_work, ignore_errors=True)  # what a killed run left in the clear
        folder = all_work / name
        folder.mkdir(mode=0o700, parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(all_work)
