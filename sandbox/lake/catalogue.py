"""The lake as its readers see it: current versions, their public facts, their files in the clear.

Decrypted files lie in a private cache directory, one folder for each version, because both engines
read files. They are verified when they enter it and when a process finds them there.
"""

import contextlib
import hashlib
import json
import secrets
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privacy.dp.facts import TableFacts
from sandbox.lake.errors import IntegrityError
from sandbox.lake.keys import KeyRing
from sandbox.lake.manifest import POINTERS, Manifest, StoredFile, read_manifest, read_pointer
from sandbox.lake.seal import digest_of, unseal_file
from sandbox.lake.store import Store


@dataclass(frozen=True, slots=True)
class StoredTable:
    """The current version of a table."""

    facts: TableFacts
    contract: dict[str, Any]
    """The ODCS document."""
    files: tuple[StoredFile, ...]
    manifest_digest: str
    """SHA-256 of the pointer, which names and authenticates the sealed manifest."""


class Lake:
    """Reads stored tables. Safe to share between threads; processes may share the cache."""

    def __init__(self, store: Store, keys: KeyRing, cache: Path) -> None:
        """Read from a store with its keys; decrypted files go to `cache`, which becomes private."""
        self._store, self._keys, self._cache = store, keys, cache
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        cache.chmod(0o700)
        self._lock = threading.Lock()
        self._manifests: dict[tuple[str, bytes], Manifest] = {}
        self._tables: dict[tuple[str, str], StoredTable] = {}
        self._verified: set[Path] = set()
        self._fetching: dict[Path, threading.Lock] = {}

    def tables(self) -> dict[str, StoredTable]:
        """Return the current version of every table, by name."""
        names = [key.removeprefix(POINTERS) for key in self._store.list(POINTERS)]
        return {name: self.table(name) for name in names}

    def table(self, name: str) -> StoredTable:
        """Return the current version of a table; `UnknownTableError` if there is none."""
        pointer, manifest = self._current(name)
        identity = (name, manifest.version)
        with self._lock:
            if identity not in self._tables:
                contract = manifest.contract
                self._tables[identity] = StoredTable(
                    facts=contract.facts(manifest.version, manifest.cohorts),
                    contract=json.loads(contract.document),
                    files=manifest.files,
                    manifest_digest=hashlib.sha256(pointer).hexdigest(),
                )
            return self._tables[identity]

    def manifest(self, name: str) -> Manifest:
        """Return the manifest of a table's current version."""
        return self._current(name)[1]

    def _current(self, name: str) -> tuple[bytes, Manifest]:
        pointer = read_pointer(self._store, name)
        with self._lock:
            known = self._manifests.get((name, pointer))
        if known is None:
            known = read_manifest(self._store, self._keys, name, pointer)
            with self._lock:
                self._manifests[name, pointer] = known
        return pointer, known

    def local_files(self, name: str, version: str | None = None) -> tuple[Path, ...]:
        """Return a table's decrypted Parquet files, in the order of their rows.

        `version` is one that this lake object has shown in `facts`; without it, the current one.
        """
        current = self.table(name)
        version = version or current.facts.version
        with self._lock:
            table = self._tables.get((name, version))
        if table is None:
            raise IntegrityError(
                f"Version {version} of {name} is not known here; current is "
                f"{current.facts.version}. Ask again."
            )
        return tuple(self.local_file(file) for file in table.files)

    def local_file(self, file: StoredFile) -> Path:
        """Return one object decrypted and verified, from the cache if it is there."""
        folder, _, name = file.key.rpartition("/")
        path = self._cache / folder.replace("/", ".") / name.removesuffix(".age")
        with self._lock:
            if path in self._verified and path.is_file():
                return path
            fetching = self._fetching.setdefault(path, threading.Lock())
        with fetching:
            if not (path.is_file() and digest_of(path) == file.plain_sha256):
                self._fetch(file, path)
            with self._lock:
                self._verified.add(path)
        return path

    def _fetch(self, file: StoredFile, path: Path) -> None:
        """Decrypt beside the place and rename, so that other processes never see a part."""
        if not path.parent.exists():
            self._forget(path.parent.name)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        mark = secrets.token_hex(8)
        sealed, plain = (path.with_name(f".{mark}.{kind}") for kind in ("age", "plain"))
        try:
            self._store.get(file.key, sealed)
            _expect(file.key, file.sealed_sha256, digest_of(sealed))
            unseal_file(self._keys, sealed, plain)
            _expect(file.key, file.plain_sha256, digest_of(plain))
            plain.chmod(0o400)
            plain.replace(path)
        finally:
            for draft in (sealed, plain):
                with contextlib.suppress(FileNotFoundError):
                    draft.unlink()

    def _forget(self, entering: str) -> None:
        """Delete decrypted versions of a table but the one that enters and the one before it."""
        table, _, version = entering.rpartition(".")
        number = int(version.partition("-")[0])
        for folder in self._cache.glob(f"{table}.*"):
            if int(folder.name.rpartition(".")[2].partition("-")[0]) < number - 1:
                shutil.rmtree(folder, ignore_errors=True)


def _expect(key: str, expected: str, got: str) -> None:
    if got != expected:
        raise IntegrityError(
            f"Object {key} has SHA-256 {got}, its manifest says {expected}: the store was changed. "
            "Restore it from a backup."
        )
