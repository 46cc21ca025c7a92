"""Processes by identity: a pid together with its start time, since pids are used again.

Source of the field numbers: proc(5), `/proc/pid/stat`, fields 3 (state) and 22 (start time).
"""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_STATE, _START_TIME = 0, 19
"""Positions in `/proc/pid/stat` after the command name, which itself may hold spaces."""

POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Process:
    """One process that was seen alive."""

    pid: int
    started: str
    """Boot id and start time: together with the pid they name a process for good."""

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Return the process that has this pid now, or None if it is gone or only a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()
        if fields[_STATE] in ("Z", "X"):
            return None
        return cls(pid, f"{boot}.{fields[_START_TIME]}")

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return the process of a pid file if that very process is still alive."""
        try:
            pid, started = path.read_text().split()
        except (OSError, ValueError):
            return None
        now = cls.of(int(pid)) if pid.isdecimal() else None
        return now if now is not None and now.started == started else None

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return Process.of(self.pid) == self

    def write(self, path: Path) -> None:
        """Write a pid file, whole or not at all."""
        draft = path.with_suffix(".draft")
        draft.write_text(f"{self.pid} {self.started}\n")
        draft.replace(path)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended; return whether it has."""
        deadline = time.monotonic() + seconds
        while self.is_alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True
