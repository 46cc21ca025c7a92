"""Start the services in order, watch them, start a crashed one again, stop them all.

One supervisor owns a home: it holds a lock there as long as it lives. Each service leads a process
group of its own, so that what it started (a JVM) can be ended with it.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from infra.errors import LabError
from infra.home import Home
from infra.process import POLL_SECONDS, Process
from infra.service import Service, check_free

READY_SECONDS = 90
"""A service that does not answer by then has failed to start; Spark starts in the background."""

STOP_SECONDS = 15
"""Time to end cleanly before the process group is killed."""

FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS = 0.5, 30.0
STEADY_SECONDS = 60
"""A service that ran this long before it crashed starts again without a grown pause."""

SUPERVISOR = "supervisor"

LOG_BYTES, LOGS_KEPT = 10 * 2**20, 3
"""A log that grew beyond this is set aside; so many that were set aside are kept."""


@dataclass(slots=True)
class _Running:
    """A service that was started, and how it has fared."""

    service: Service
    child: "subprocess.Popen[bytes]"
    began: float
    backoff_seconds: float = FIRST_BACKOFF_SECONDS
    resume_at: float | None = None
    """When a crashed service is to start again; None while it runs."""
    restarts: int = 0


@dataclass(slots=True)
class Supervisor:
    """The one that keeps a lab's services alive."""

    home: Home
    services: tuple[Service, ...]
    say: Callable[[str], None]
    ready_seconds: float = READY_SECONDS
    _running: list[_Running] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Start everything, watch until asked to stop; whatever happens, nothing stays behind."""
        self.home.create()
        with _lock(self.home):
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self._stopping.set())
            try:
                stop_leftovers(self.home)
                self._start()
                self._watch()
            finally:
                self._stop()

    def _start(self) -> None:
        own = Process.of(os.getpid())
        if own is not None:
            own.write(self.home.run / f"{SUPERVISOR}.pid")
        for service in self.services:
            check_free(service)
        for service in self.services:
            self._running.append(self._launch(service))
            self._await_ready(self._running[-1])
            if self._stopping.is_set():
                return
        self._write_state("ready")
        self.say("ready")

    def _launch(self, service: Service) -> _Running:
        log = self.home.log(service.name)
        with log.open("ab") as output:
            child = subprocess.Popen(
                service.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = Process.of(child.pid)
        if process is not None:
            process.write(self._pid_file(service))
        self.say(f"{service.name}: started, pid {child.pid}, port {service.port}, log {log}")
        return _Running(service, child, time.monotonic())

    def _await_ready(self, running: _Running) -> None:
        service = running.service
        deadline = running.began + self.ready_seconds
        while not self._stopping.is_set() and not service.is_ready(service.port):
            code = running.child.poll()
            if code is not None:
                raise LabError(_failure(self.home, service, f"ended with exit code {code}"))
            if time.monotonic() > deadline:
                waited = f"did not answer within {self.ready_seconds:.0f} s"
                raise LabError(_failure(self.home, service, waited))
            self._stopping.wait(POLL_SECONDS)

    def _watch(self) -> None:
        while not self._stopping.wait(4 * POLL_SECONDS):
            for service in self.services:
                set_aside(self.home.log(service.name))
            for index, running in enumerate(self._running):
                if running.resume_at is None and running.child.poll() is not None:
                    self._note_crash(running)
                elif running.resume_at is not None and time.monotonic() >= running.resume_at:
                    self._running[index] = self._relaunch(running)

    def _note_crash(self, running: _Running) -> None:
        _kill_group(running.child.pid)
        now = time.monotonic()
        if now - running.began > STEADY_SECONDS:
            running.backoff_seconds = FIRST_BACKOFF_SECONDS
        running.resume_at = now + running.backoff_seconds
        self.say(
            f"{running.service.name}: ended with exit code {running.child.returncode}, "
            f"starts again in {running.backoff_seconds:g} s"
        )

    def _relaunch(self, running: _Running) -> _Running:
        again = self._launch(running.service)
        again.restarts = running.restarts + 1
        again.backoff_seconds = min(2 * running.backoff_seconds, LAST_BACKOFF_SECONDS)
        return again

    def _stop(self) -> None:
        self._write_state("stopping")
        for running in reversed(self._running):
            self.say(f"{running.service.name}: stopping")
            _end_child(running.child)
            self._pid_file(running.service).unlink(missing_ok=True)
        (self.home.run / "state.json").unlink(missing_ok=True)
        (self.home.run / f"{SUPERVISOR}.pid").unlink(missing_ok=True)

    def _pid_file(self, service: Service) -> Path:
        return self.home.run / f"{service.name}.pid"

    def _write_state(self, phase: str) -> None:
        ports = {service.name: service.port for service in self.services}
        draft = self.home.run / "state.draft"
        draft.write_text(json.dumps({"phase": phase, "ports": ports}) + "\n")
        draft.replace(self.home.run / "state.json")


def set_aside(log: Path, most: int = LOG_BYTES, kept: int = LOGS_KEPT) -> bool:
    """Begin a log anew when it is too large; say whether it was.

    The process goes on writing into the same file, at its new end, so nothing has to be told to
    it; a line that is written between the copy and the cut is lost.
    """
    if not log.exists() or log.stat().st_size <= most:
        return False
    names = [log, *(log.with_name(f"{log.name}.{number}") for number in range(1, kept + 1))]
    for younger, older in reversed(list(pairwise(names[1:]))):
        if younger.exists():
            younger.replace(older)
    shutil.copyfile(log, names[1])
    names[1].chmod(0o600)
    os.truncate(log, 0)
    return True


def stop_leftovers(home: Home) -> list[str]:
    """End services whose supervisor is gone; return their names."""
    stopped = []
    for path in sorted(home.run.glob("*.pid")):
        process = Process.read(path)
        if path.stem == SUPERVISOR or process is None:
            continue
        process.send(signal.SIGTERM)
        process.wait(STOP_SECONDS)
        _kill_group(process.pid)
        path.unlink(missing_ok=True)
        stopped.append(path.stem)
    return stopped


@contextmanager
def _lock(home: Home) -> Iterator[None]:
    """Hold the home, or say that another supervisor does."""
    with (home.run / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(
                f"A lab already runs in {home.root}. See it with `lab status`, stop it with "
                "`lab down`, or start a second one beside it: lab up --home DIR --port N."
            ) from None
        yield


def _end_child(child: "subprocess.Popen[bytes]") -> None:
    """Ask the child to end, then make it; its process group goes with it."""
    if child.returncode is None:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _kill_group(child.pid)
            child.wait()
    _kill_group(child.pid)


def _kill_group(leader: int) -> None:
    """Kill what a service left behind in its group (a JVM of Spark, say).

    The number of a group that still has members is given to no other process, so it is safe to
    name the group after its leader has ended.
    """
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _failure(home: Home, service: Service, what: str) -> str:
    """Say why a service failed to start, with the end of its log."""
    log = home.log(service.name)
    tail = log.read_text(errors="replace").splitlines()[-12:] if log.exists() else []
    lines = "".join(f"\n  | {line}" for line in tail)
    return f"The {service.name} {what}; nothing was left running. End of {log}:{lines}"
