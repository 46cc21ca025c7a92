"""Recursion without Python's stack: a chain of a thousand operators must not crash.

A step is a generator that yields the steps whose results it needs and returns its own. `drive`
keeps them on a list, so depth costs memory only, and no limit of the interpreter is raised.
"""

from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")

Steps = Generator[Any, Any, T]
"""A computation that yields other `Steps`, receives their results, and returns a `T`."""


def drive(steps: Steps[T]) -> T:
    """Run `steps` and everything it asks for; return its result."""
    stack: list[Steps[Any]] = [steps]
    value: Any = None
    while stack:
        try:
            wanted = stack[-1].send(value)
        except StopIteration as done:
            stack.pop()
            value = done.value
        else:
            stack.append(wanted)
            value = None
    result: T = value
    return result
