"""What the gateway says of itself: one JSON object a line on standard error, never a value.

Of an error its kind and places are kept and its message is not: messages of databases and parsers
quote what they were given.
"""

import logging
import traceback
from types import TracebackType

from pythonjsonlogger.json import JsonFormatter

Caught = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Lines(JsonFormatter):
    """Time in UTC, level, logger, message, and what was said beside it."""

    def __init__(self) -> None:
        """Name the fields."""
        super().__init__(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="time",
            json_ensure_ascii=False,
        )

    def formatException(self, ei: Caught) -> str:  # noqa: N802  # the name is the library's
        """Return kind and places of an error."""
        frames = traceback.extract_tb(ei[2])
        places = " < ".join(f"{f.filename}:{f.lineno}" for f in reversed(frames))
        return f"{ei[0].__name__ if ei[0] else 'error'} at {places}"


def to_stderr(level: int = logging.INFO) -> None:
    """Let all loggers of this process write such lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
