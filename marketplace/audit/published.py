"""The published log: after a commit its entries are written as tiles, under a signed checkpoint.

Whoever waits for an entry writes what is there: one caller at a time takes all entries that were
committed by then, so decisions that are made together share one group of files and one signature.
The database is the truth, the folder follows it: a database that is ahead is integrated at the next
start; a folder that is ahead, or that differs, means that the database was put back or changed, and
the marketplace does not start (attack E17).

Source of the layout: C2SP tlog-tiles (https://c2sp.org/tlog-tiles).
"""

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from marketplace.audit import note, store, tree
from marketplace.audit.growth import Growth
from marketplace.audit.tiles import WIDTH, Tile
from marketplace.audit.verifier import (
    Checkpoint,
    Directory,
    Key,
    Problem,
    fetch_from,
    open_checkpoint,
    published_key,
)
from marketplace.db import Database
from marketplace.errors import MarketplaceError

GROUP = 8_192
"""Most entries that one checkpoint adds: bounds memory when much is to be caught up."""


class LogDamagedError(Exception):
    """The folder of the log and the database disagree: serving would hide a change."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest checkpoint, with the note that signs it."""

    checkpoint: Checkpoint
    note: str


class Log:
    """The log of one home: its folder, its keys, and where it stands."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        signers: Sequence[note.Signer],
        clock: Callable[[], datetime],
    ) -> None:
        """Open the folder, check it against the database, and catch up; LogDamagedError if not."""
        self._database, self.folder, self._signers, self._clock = database, folder, signers, clock
        self.key = Key.parse(note.vkey(signers[0]))
        self._turn = threading.Lock()
        self._failed, self._stopped = False, ""
        self.witnessed: Head | None = None
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._stamp: tuple[int, int] | None = None
        with self._alone():
            self._check_key()
            try:
                self.head, self._growth = self._checked()
                self._integrate()
            except store.MissingEntryError as error:
                raise LogDamagedError(str(error)) from error
            self._replace("vkey", "".join(note.vkey(s) + "\n" for s in signers).encode())
        self.witnessed = self._published("checkpoint.witnessed")

    def wait(self, index: int) -> None:
        """Return when the published log holds entry `index`; LOG_UNAVAILABLE if it cannot."""
        if index < self.head.checkpoint.size:
            return
        with self._turn:
            if index >= self.head.checkpoint.size:
                self._catch_up()

    def check(self) -> None:
        """Raise LOG_UNAVAILABLE while the log cannot be written, before anything is decided."""
        if self._stopped:
            raise _damaged(self._stopped)
        if self._failed:
            with self._turn:
                self._catch_up()

    def attach(self, witnessed: Head) -> None:
        """Publish a checkpoint with the lines of witnesses under it."""
        with self._turn, self._alone():
            self._replace("checkpoint.witnessed", witnessed.note.encode())
            self._follow()
            if self.head.checkpoint == witnessed.checkpoint:
                self._replace("checkpoint", witnessed.note.encode())
                self._stamp = self._stamp_now()
                self.head = witnessed
        self.witnessed = witnessed

    def proof(self, index: int, *, witnessed: bool = False) -> str:
        """Return the `tlog-proof` of an entry, the entry inside; ValueError if there is none.

        With `witnessed`, under the checkpoint that witnesses signed if it covers the entry.
        """
        head = self.head
        if witnessed and self.witnessed and index < self.witnessed.checkpoint.size:
            head = self.witnessed
        path = tree.inclusion_proof(index, head.checkpoint.size, self.fetch(head.checkpoint.size))
        with self._database.reading() as connection:
            entry = store.entry(connection, index)
        return note.proof_text(index, path, head.note, entry)

    def publish_subjects(self, pem: str) -> None:
        """Publish the key under which subjects are enrolled."""
        self._replace("subjects.pem", pem.encode())

    def fetch(self, size: int) -> tree.Fetch:
        """Return how to get roots of complete subtrees of the tree of `size`."""
        return fetch_from(Directory(self.folder), size)

    def _catch_up(self) -> None:
        try:
            with self._alone():
                self._follow()
                self._integrate()
        except OSError as error:
            self._failed = True
            raise _unavailable() from error
        except (LogDamagedError, store.MissingEntryError) as error:
            self._failed = True
            raise _damaged(str(error)) from error
        self._failed = False

    def refresh(self) -> Head:
        """Return the newest checkpoint that any process over this home has published."""
        with self._turn:
            self._catch_up()
        return self.head

    def stop(self, why: str) -> None:
        """Decide nothing more in this process: somebody outside knows better."""
        self._stopped = why

    def _follow(self) -> None:
        """Take over what another process has published since."""
        if self._stamp == self._stamp_now():
            return
        on_disk = self._published()
        if on_disk is None or on_disk.checkpoint.size < self.head.checkpoint.size:
            raise LogDamagedError("the published checkpoint went back while the lab was running")
        if on_disk.checkpoint.size > self.head.checkpoint.size:
            self._growth = self._load(on_disk.checkpoint)
            self.head = on_disk

    def _integrate(self) -> None:
        while True:
            with self._database.reading() as connection:
                entries = store.entries_from(connection, self._growth.size, GROUP)
            if entries or not self.head.note:
                self._publish(entries)
            if len(entries) < GROUP:
                return

    def _publish(self, entries: Sequence[bytes]) -> None:
        growth = self._growth.copy()
        for tile, data in growth.add(entries):
            self._write(tile.path, data, durable=tile.width == WIDTH)
        checkpoint = Checkpoint(self.key.name, growth.size, growth.root())
        signed = note.signed(checkpoint, self._signers, int(self._clock().timestamp()))
        self._replace("checkpoint", signed.encode())
        self._stamp = self._stamp_now()
        before, self._growth = self._growth, growth
        self.head = Head(checkpoint, signed)
        for tile in before.outgrown(growth.size):
            shutil.rmtree((self.folder / tile.path).parent, ignore_errors=True)

    def _published(self, name: str = "checkpoint") -> Head | None:
        try:
            data = (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        try:
            return Head(open_checkpoint(data, self.key), data.decode())
        except Problem as problem:
            raise LogDamagedError(
                f"{self.folder}/{name} is not this log's word: {problem.en}"
            ) from problem

    def _load(self, checkpoint: Checkpoint) -> Growth:
        """Return the right edge of a tree, from its tiles and the database."""
        fetch = self.fetch(checkpoint.size)
        with self._database.reading() as connection:
            start = checkpoint.size - checkpoint.size % WIDTH
            tail = store.entries_from(connection, start, checkpoint.size - start)
        growth = Growth.resume(checkpoint.size, fetch, tail)
        if growth.root() != checkpoint.root:
            raise LogDamagedError("the tiles do not lead to the published checkpoint")
        return growth

    def _check_key(self) -> None:
        """Raise if the folder is another key's: a lost key does not become a new one unseen."""
        try:
            published = published_key(Directory(self.folder))
        except Problem as problem:
            if problem.code == "MISSING_FILE":
                return
            raise LogDamagedError(f"{self.folder}/vkey is not a key: {problem.en}") from problem
        if published != self.key:
            raise LogDamagedError(
                f"{self.folder} was signed by {published.name}+{published.id.hex()}, and the key "
                f"here is {self.key.name}+{self.key.id.hex()}. Put the log's own key back."
            )

    def _checked(self) -> tuple[Head, Growth]:
        """Return where the log stands, every tile compared with the database's entries."""
        found = self._published()
        head = found or Head(Checkpoint(self.key.name, 0, tree.EMPTY_ROOT), "")
        growth, wanted, torn = Growth(), head.checkpoint.size, list[tuple[Tile, bytes]]()
        with self._database.reading() as connection:
            have = store.size(connection)
            if have < wanted:
                raise LogDamagedError(
                    f"the log holds {wanted} entries and the database {have}: the database was put "
                    "back to an older state. Restore the newest backup of it, or ask the audit "
                    "administrator."
                )
            for start in range(0, wanted, GROUP):
                entries = store.entries_from(connection, start, min(GROUP, wanted - start))
                for tile, data in growth.add(entries, partial=start + GROUP >= wanted):
                    if not self._is_right(tile, data):
                        torn.append((tile, data))
        if growth.root() != head.checkpoint.root:
            raise LogDamagedError(
                "the database's entries are not the ones that the log signed: the database was "
                "changed. Restore the newest backup, or ask the audit administrator."
            )
        # Only what leads to the signed root is written: whatever else is there is evidence.
        for tile, data in torn:
            self._write(tile.path, data)
        return head, growth

    def _is_right(self, tile: Tile, data: bytes) -> bool:
        """Whether a file is as it should be; raise if it was changed, not just torn or lost."""
        try:
            found = (self.folder / tile.path).read_bytes()
        except FileNotFoundError:
            return False
        # Partial tiles are never forced to disk, so a power failure may tear them.
        if found != data and tile.width == WIDTH:
            raise LogDamagedError(f"{tile.path} does not hold the database's entries")
        return found == data

    def _write(self, name: str, data: bytes, *, durable: bool = False) -> None:
        """Write a tile; nobody reads it before a checkpoint covers it, so not by a rename."""
        path = self.folder / name
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            file = os.open(path, flags, 0o644)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, flags, 0o644)
        try:
            _write_all(file, data)
            if durable:
                os.fsync(file)
        finally:
            os.close(file)

    def _replace(self, name: str, data: bytes) -> None:
        """Write a file that changes, so that readers see the old or the new one, and it lasts."""
        draft = f".{name}.new"
        self._write(draft, data, durable=True)
        (self.folder / draft).replace(self.folder / name)

    def _stamp_now(self) -> tuple[int, int] | None:
        """Return what tells one published checkpoint from another."""
        try:
            status = (self.folder / "checkpoint").stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino

    def close(self) -> None:
        """Let go of the folder; a second call does nothing."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes over the same home out."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _unavailable() -> MarketplaceError:
    return MarketplaceError(
        "LOG_UNAVAILABLE",
        "The audit log cannot be written now (is the disk full?), so nothing is released. What was "
        "charged stays charged; the same operation gives its answer when the log goes on.",
        "审计日志暂时无法写入（磁盘是否已满？），因此不发布任何结果。已扣预算保留；日志恢复后，"
        "以同一操作即可取得结果。",
    )


def _damaged(why: str) -> MarketplaceError:
    return MarketplaceError(
        "LOG_DAMAGED",
        f"The audit log and what is known of it disagree, so nothing is decided: {why}. Ask the "
        "audit administrator.",
        "审计日志与已知记录不一致，因此不作任何决定。请联系审计管理员。",
    )
