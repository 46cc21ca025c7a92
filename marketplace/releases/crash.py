"""Named points at which a test may end the process, to show what survives."""

from collections.abc import Callable

POINTS = (
    "reserve.begin",
    "reserve.grant_checked",
    "reserve.operation_looked_up",
    "reserve.stored_looked_up",
    "reserve.tenant_charged",
    "reserve.cohort_charged",
    "reserve.items_written",
    "reserve.entry_written",
    "reserve.committed",
    "gateway.before_compute",
    "gateway.after_compute",
    "gateway.after_noise",
    "record.begin",
    "record.checked",
    "record.release_written",
    "record.entry_written",
    "record.state_written",
    "record.committed",
    "answer.read_back",
    "answer.before_send",
)

Reached = Callable[[str], None]


def nowhere(point: str) -> None:
    """Pass every point: what production uses."""
    if point not in POINTS:
        raise AssertionError(f"unknown crash point {point}")
