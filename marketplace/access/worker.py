"""Due work of this package, done again and again by one thread: lapse, warn, mail."""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

PAUSE_SECONDS = 30.0


class Worker:
    """A thread that repeats tasks, each safe to repeat."""

    def __init__(
        self, tasks: tuple[Callable[[], int], ...], pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        """Do nothing until started."""
        self._tasks, self._pause = tasks, pause_seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-worker", daemon=True)

    def start(self) -> None:
        """Begin; the first turn comes after the first pause."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present task."""
        self._end.set()
        self._thread.join(PAUSE_SECONDS)

    def turn(self) -> None:
        """Do everything that is due once; what fails is tried at the next turn."""
        for task in self._tasks:
            try:
                task()
            except Exception as error:  # noqa: BLE001  # else the thread ends, and nobody notices
                log.warning("worker.postponed", extra={"kind": type(error).__name__})

    def _run(self) -> None:
        while not self._end.wait(self._pause):
            self.turn()
