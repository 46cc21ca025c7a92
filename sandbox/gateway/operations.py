"""Executions: each runs once, in a thread of its own, into a buffer that streams read from.

A client may lose its stream and attach again, any number of times: it reads the same bytes and
nothing runs again (attacks E3, E4). What leaves the buffer, and when, depends on time and public
facts only: answers of private questions wait for a slot of a fixed grid, and progress follows a
fixed schedule (soundness 28).
"""

import logging
import math
import threading
import traceback
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from privacy.errors import Refusal
from sandbox.gateway.errors import HandleError, cancelled, failed
from sandbox.gateway.respond import PHASES, complete_response, progress_response

log = logging.getLogger(__name__)

Proto = Any
"""A message of the client's protocol: its generated classes have no usable annotations."""

DEADLINE_SECONDS: Final = 600.0
"""After this a question fails, whatever it does: a client's own limit for one stream."""
STREAM_SECONDS: Final = 120.0
"""A stream ends after this without completing; the client attaches again."""
KEEP_SECONDS: Final = 600.0
"""How long a finished answer waits for a client that does not fetch or release it."""
MAX_RUNNING: Final = 32
"""Unfinished operations of one session."""
MAX_KEPT: Final = 128
"""Operations of one session, finished ones included."""
MAX_FORGOTTEN: Final = 10_000
"""Released operations of one session whose plan is remembered, to refuse another under their id."""

_FIRST_PROGRESS: Final = 0.5
_LAST_PROGRESS_STEP: Final = 8.0
RECORD_SECONDS: Final = 0.03
"""Before an answer's slot, what came of it is recorded: a commit and reading it back."""
STRICT_RECORD_SECONDS: Final = 0.25
"""The same with strict time, where an answer that misses its moment fails."""
_POLL_SECONDS: Final = 1.0
"""How often a waiting stream looks whether its client is still there."""


class CancelledError(Exception):
    """The operation was cancelled, or its time is over."""


class Grid:
    """The times, counted from a question's arrival, at which its answer may leave."""

    def __init__(self, *, enabled: bool = True, for_public: bool = False) -> None:
        """Use the default grid, or none at all (in tests).

        With strict time it is `for_public` answers as well, since how long one of these takes tells
        how busy a private one keeps the machine.
        """
        self._enabled, self.for_public = enabled, for_public

    def slot(self, elapsed: float) -> float:
        """Return the first time that is not before `elapsed`, in seconds.

        >>> [round(Grid().slot(each), 3) for each in (0.01, 0.1, 0.33, 1.0, 1.1, 2.0)]
        [0.1, 0.1, 0.4, 1.0, 1.189, 2.0]
        """
        if not self._enabled:
            return elapsed
        if elapsed <= 1:
            return max(math.ceil(elapsed * 10 - 1e-9), 1) / 10
        return float(2 ** (math.ceil(math.log2(elapsed) * 4 - 1e-9) / 4))


@dataclass(frozen=True, slots=True)
class Timing:
    """How time is measured, when answers may leave, and how long one stream lasts."""

    clock: Callable[[], float]
    grid: Grid
    stream_seconds: float = STREAM_SECONDS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an execution gives: its messages, and whether private rows stand behind them."""

    responses: tuple[Proto, ...]
    private: bool = False


class Operation:
    """One execution and the messages it has produced so far."""

    def __init__(
        self,
        operation_id: str,
        digest: bytes,
        tags: frozenset[str],
        stamp: Callable[[Proto], None],
        timing: Timing,
    ) -> None:
        """Begin now; `stamp` writes session and operation into each message."""
        self._id, self.digest, self.tags = operation_id, digest, tags
        self._stamp = stamp
        self._timing, self._clock = timing, timing.clock
        self._started = self._clock()
        self._changed = threading.Condition()
        self._buffer: list[tuple[str, bytes]] = []
        self._released: str | None = None
        self._phase = 0
        self._progress_at = _FIRST_PROGRESS
        self._finished_at: float | None = None
        self._error: Refusal | HandleError | None = None
        self._stopped = False
        self._answer_at: float | None = None
        self._ready = False

    @property
    def operation_id(self) -> str:
        """Return the client's id."""
        return self._id

    @property
    def running(self) -> bool:
        """Return whether the outcome is still to come, as far as a client can tell."""
        return self._finished_at is None

    def expired(self, now: float) -> bool:
        """Return whether nobody fetched the finished answer for too long."""
        return self._finished_at is not None and now - self._finished_at > KEEP_SECONDS

    def phase(self, name: str) -> None:
        """Enter a phase; raise CancelledError if there is no point in going on."""
        if self.cancelled():
            raise CancelledError
        self._phase = max(self._phase, PHASES.index(name))

    def answer_at(self, seconds: float) -> None:
        """Let whatever comes of it leave just this long after the start, or fail then."""
        self._answer_at = min(seconds, DEADLINE_SECONDS)

    def settle(self) -> None:
        """Wait until what came of it may be recorded; raise CancelledError if it was cancelled.

        The log shows when something was recorded, so that follows the grid as answers do. After a
        cancel nothing is recorded: else the client would learn whether it came too late.
        """
        with self._changed:
            if self._answer_at is None:
                elapsed = self._clock() - self._started
                due = self._timing.grid.slot(elapsed + RECORD_SECONDS) - RECORD_SECONDS
            else:
                due = self._answer_at - STRICT_RECORD_SECONDS
            while self.running and (wait := self._started + due - self._clock()) > 0:
                self._changed.wait(wait)
        if self.cancelled():
            raise CancelledError

    def cancelled(self) -> bool:
        """Return whether the client has cancelled or the time is over.

        The clock counts here as well as in the stream: a client that has left reads no stream.
        """
        return self._stopped or self._clock() - self._started >= self._deadline

    @property
    def _deadline(self) -> float:
        """Seconds after the start at which it fails, unless it is ready by then."""
        return DEADLINE_SECONDS if self._ready else self._answer_at or DEADLINE_SECONDS

    def run(self, body: Callable[["Operation"], Outcome]) -> None:
        """Execute, then publish the outcome when its time has come."""
        error: Refusal | HandleError | None = None
        outcome = Outcome(())
        try:
            outcome = body(self)
        except (Refusal, HandleError) as refusal:
            error = refusal
        except CancelledError:
            error = cancelled()
        except Exception as fault:  # noqa: BLE001  # whatever it is, the client sees one sentence
            log_fault("operation", fault)
            error = failed()
        responses = [self._sealed(each) for each in outcome.responses]
        if error is None:
            responses.append(self._sealed(complete_response()))
        with self._changed:
            self._ready = True
            read = outcome.private if error is None else self._phase == len(PHASES) - 1
            if read or self._timing.grid.for_public:
                elapsed = self._clock() - self._started
                if self._answer_at is not None and elapsed > self._answer_at:
                    responses, error = [], failed()
                due = self._started + (self._answer_at or self._timing.grid.slot(elapsed))
                while self.running and (wait := due - self._clock()) > 0:
                    self._changed.wait(wait)
            if self.running:
                self._buffer += responses
                self._finish(error)

    def interrupt(self) -> bool:
        """Cancel; return whether the outcome had not been published yet."""
        with self._changed:
            if not self.running:
                return False
            self._stopped = True
            self._finish(cancelled())
            return True

    def release(self, until: str | None) -> None:
        """Drop messages up to and including `until`, or all and the operation with them."""
        if until is None:
            self.interrupt()
            with self._changed:
                self._buffer.clear()
            return
        with self._changed:
            for index, (response_id, _) in enumerate(self._buffer):
                if response_id == until:
                    self._released = until
                    del self._buffer[: index + 1]
                    return

    def stream(self, after: str | None, connected: Callable[[], bool]) -> Iterator[bytes]:
        """Yield the messages after one that the client names, until the end or for a while."""
        ends = self._clock() + self._timing.stream_seconds
        last = after
        while True:
            with self._changed:
                while not (fresh := self._after(last)) and self.running:
                    now = self._clock()
                    if now >= ends or not connected():
                        return
                    if not self._kept_schedule(now - self._started):
                        pause = self._started + self._progress_at - now
                        self._changed.wait(max(0.0, min(pause, _POLL_SECONDS)))
                if not fresh:
                    if self._error is not None:
                        raise self._error
                    return
            for response_id, data in fresh:
                yield data
                last = response_id

    def _after(self, last: str | None) -> list[tuple[str, bytes]]:
        if last is None:
            if self._released is not None:
                raise _lost_position()
            return list(self._buffer)
        if last == self._released:
            return list(self._buffer)
        for index, (response_id, _) in enumerate(self._buffer):
            if response_id == last:
                return self._buffer[index + 1 :]
        raise _lost_position()

    def _kept_schedule(self, elapsed: float) -> bool:
        """Do what is due by the clock alone, and return whether anything was.

        At the deadline the operation fails; before, it reports the phase now and then.
        """
        if elapsed >= self._deadline:
            self._stopped = True
            self._finish(failed())
            return True
        if elapsed < self._progress_at:
            return False
        self._buffer.append(self._sealed(progress_response(self._phase)))
        while self._progress_at <= elapsed:
            self._progress_at += min(self._progress_at, _LAST_PROGRESS_STEP)
        return True

    def _finish(self, error: Refusal | HandleError | None) -> None:
        self._error, self._finished_at = error, self._clock()
        self._changed.notify_all()

    def _sealed(self, response: Proto) -> tuple[str, bytes]:
        response_id = str(uuid.uuid4())
        response.response_id = response_id
        self._stamp(response)
        return response_id, response.SerializeToString()


class Operations:
    """The operations of one session."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure age with `clock`."""
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Operation] = OrderedDict()
        self._forgotten: OrderedDict[str, bytes] = OrderedDict()

    def begin(self, operation: Operation) -> tuple[Operation, bool]:
        """Keep a new operation, or return the one that has its id; say whether it is new."""
        with self._lock:
            self._sweep()
            known = self._kept.get(operation.operation_id)
            digest = known.digest if known else self._forgotten.get(operation.operation_id)
            if digest is not None and digest != operation.digest:
                raise _mismatch()
            if known is not None:
                return known, False
            if sum(each.running for each in self._kept.values()) >= MAX_RUNNING:
                raise Refusal(
                    "SERVICE_UNAVAILABLE",
                    f"{MAX_RUNNING} questions of this session are still running. "
                    "Wait for one, or call spark.interruptAll().",
                    f"本会话已有 {MAX_RUNNING} 个问题在运行。请等待，或调用 spark.interruptAll()。",
                )
            self._kept[operation.operation_id] = operation
            return operation, True

    def get(self, operation_id: str) -> Operation:
        """Return a kept operation; clients know what to do about one that is gone."""
        with self._lock:
            operation = self._kept.get(operation_id)
        if operation is None:
            raise HandleError("OPERATION_NOT_FOUND", f"Operation {operation_id} not found.")
        return operation

    def release(self, operation_id: str, until: str | None) -> bool:
        """Drop messages, or the operation; return whether it was there."""
        with self._lock:
            operation = self._kept.get(operation_id)
            if operation is not None and until is None:
                self._forget(operation_id)
        if operation is None:
            return False
        operation.release(until)
        return True

    def interrupt(self, chosen: Callable[[Operation], bool]) -> list[str]:
        """Cancel all that are chosen; return the ids of those that had not finished."""
        with self._lock:
            candidates = [each for each in self._kept.values() if chosen(each)]
        return [each.operation_id for each in candidates if each.interrupt()]

    @property
    def busy(self) -> bool:
        """Return whether something is running."""
        with self._lock:
            return any(each.running for each in self._kept.values())

    def _sweep(self) -> None:
        now = self._clock()
        finished: Iterable[str] = [key for key, each in self._kept.items() if not each.running]
        excess = len(self._kept) - MAX_KEPT + 1
        for key in list(finished):
            if excess > 0 or self._kept[key].expired(now):
                self._forget(key)
                excess -= 1

    def _forget(self, operation_id: str) -> None:
        operation = self._kept.pop(operation_id)
        self._forgotten[operation_id] = operation.digest
        while len(self._forgotten) > MAX_FORGOTTEN:
            self._forgotten.popitem(last=False)


def log_fault(where: str, fault: BaseException) -> None:
    """Log an unforeseen error: its class and place, never its text, which may hold values."""
    frames = traceback.extract_tb(fault.__traceback__)[-8:]
    places = " < ".join(f"{each.filename}:{each.lineno}" for each in reversed(frames))
    log.error("gateway.fault where=%s kind=%s at=%s", where, type(fault).__name__, places)


def _mismatch() -> Refusal:
    return Refusal(
        "OPERATION_MISMATCH",
        "The operation id was used for another question. Each question needs an id of its own.",
        "该操作编号已用于另一个问题。每个问题须使用各自的编号。",
    )


def _lost_position() -> HandleError:
    return HandleError("CURSOR_POSITION", "The response was released and cannot be sent again.")
