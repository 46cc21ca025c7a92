"""Who may use the embedded database now, and for how long: no question takes it from the others."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sandbox.engine.run import POLL_SECONDS, Cancelled, RunCancelled


class Turn:
    """One asker's use of the database. Not shared between threads."""

    def __init__(
        self,
        asker: str = "",
        cancelled: Cancelled | None = None,
        seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Allow `seconds` of running in all, waiting for a place not counted; None: any time."""
        self.asker, self.seconds = asker, seconds
        self._cancelled, self._clock = cancelled, clock
        self._spent = 0.0
        self._began: float | None = None

    @property
    def late(self) -> bool:
        """Whether the time is used up."""
        now = 0.0 if self._began is None else self._clock() - self._began
        return self.seconds is not None and self._spent + now > self.seconds

    def given_up(self) -> bool:
        """Return whether the client has cancelled."""
        return self._cancelled is not None and self._cancelled()

    @property
    def over(self) -> Cancelled | None:
        """What tells that there is no point in going on; None if nothing ever does."""
        if self._cancelled is None and self.seconds is None:
            return None
        return lambda: self.given_up() or self.late

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time spent inside."""
        self._began = self._clock()
        try:
            yield
        finally:
            self._spent += self._clock() - self._began
            self._began = None


class Turns:
    """Places for what runs at once: a number in all, and of each asker no more than `each`.

    Of several places one is never an asker's: what the lab does by itself, with no asker named,
    finds it.
    """

    def __init__(self, most: int, each: int) -> None:
        """Begin with all places free."""
        self._most, self._each = most, each
        self._running: Counter[str] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def place(self, turn: Turn) -> Iterator[None]:
        """Wait for a place; raise `RunCancelled` if the client gives up before there is one."""
        with self._changed:
            while self._is_full(turn.asker):
                if turn.given_up():
                    raise RunCancelled
                self._changed.wait(POLL_SECONDS)
            self._running[turn.asker] += 1
        try:
            with turn.running():
                yield
        finally:
            with self._changed:
                self._running -= Counter((turn.asker,))
                self._changed.notify_all()

    def _is_full(self, asker: str) -> bool:
        running = self._running.total()
        if not asker:
            return running >= self._most
        own = self._running[asker]
        return own >= self._each or running - self._running[""] >= max(self._most - 1, 1)
