"""What has one name happens one by one."""

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class OneByOne:
    """A lock for each key, kept while anybody holds it or waits for it."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._changed = threading.Condition()
        self._held: set[Hashable] = set()

    @contextmanager
    def holding(self, key: Hashable) -> Iterator[None]:
        """Wait until nobody else holds `key`, and hold it inside."""
        with self._changed:
            self._changed.wait_for(lambda: key not in self._held)
            self._held.add(key)
        try:
            yield
        finally:
            with self._changed:
                self._held.remove(key)
                self._changed.notify_all()
