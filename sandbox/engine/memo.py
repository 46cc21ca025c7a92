"""A bounded memory of answers: the least recently used leave when the bytes are used up."""

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable

import pyarrow as pa


class Memo:
    """Values by key, of at most `most` bytes in all. Safe to share between threads."""

    def __init__(self, most: int) -> None:
        """Begin empty."""
        self._most, self._held = most, 0
        self._values: OrderedDict[object, tuple[object, int]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """The bytes of all values kept."""
        return self._held

    def get(self, key: object) -> object | None:
        """Return the value, which counts as used now; None if it is not kept."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: object, value: object, size: int) -> None:
        """Keep a value of `size` bytes, unless that alone is more than everything may be."""
        if size > self._most:
            return
        with self._lock:
            _, before = self._values.pop(key, (None, 0))
            self._values[key] = (value, size)
            self._held += size - before
            while self._held > self._most:
                _, (_, freed) = self._values.popitem(last=False)
                self._held -= freed


def size_of(key: object, rows: Iterable[tuple[object, ...]] | pa.Table) -> int:
    """Return about how many bytes a key and its rows hold, each value counted once."""
    if isinstance(rows, pa.Table):
        return len(repr(key)) + int(rows.nbytes)
    held = sum(sys.getsizeof(row) + sum(sys.getsizeof(v) for v in row) for row in rows)
    return sys.getsizeof(repr(key)) + held
