"""Looks at what concerns others are entries; one stands for a quarter of an hour of looking."""

import threading
from collections.abc import Callable
from datetime import datetime

QUIET_SECONDS = 900


class Looks:
    """Who has looked lately, as far as this process knows."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """Remember nobody yet."""
        self._clock = clock
        self._lock = threading.Lock()
        self._noted: dict[str, datetime] = {}

    def is_entry(self, user: str) -> bool:
        """Whether this look of a user is to be logged: the first for `QUIET_SECONDS`."""
        now = self._clock()
        with self._lock:
            before = self._noted.get(user)
            if before is not None and (now - before).total_seconds() < QUIET_SECONDS:
                return False
            self._noted[user] = now
        return True
