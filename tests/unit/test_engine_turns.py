"""Places are shared fairly, time is limited, and what is remembered stays within its bytes."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.engine.memo import Memo, size_of
from sandbox.engine.run import RunCancelled
from sandbox.engine.turns import Turn, Turns


def full(turns: Turns, *askers: str) -> Iterator[bool]:
    """Tell for each asker whether there is no place, the ones before still running."""
    with ExitStack() as held:
        for asker in askers:
            turn = Turn(asker, cancelled=lambda: True)
            try:
                held.enter_context(turns.place(turn))
            except RunCancelled:
                yield True
            else:
                yield False


def test_an_asker_has_so_many_places_and_no_more() -> None:
    assert list(full(Turns(4, 1), "a", "a", "b")) == [False, True, False]


def test_askers_leave_a_place_for_the_labs_own_work() -> None:
    assert list(full(Turns(3, 1), "a", "b", "c", "", "")) == [False, False, True, False, True]


def test_the_labs_own_work_takes_no_place_from_askers_below_the_total() -> None:
    assert list(full(Turns(3, 1), "", "a", "b", "")) == [False, False, False, True]


def test_a_single_place_is_everybodys() -> None:
    assert list(full(Turns(1, 1), "a", "b", "")) == [False, True, True]


def test_a_place_given_back_goes_to_who_waits() -> None:
    turns, entered = Turns(2, 1), threading.Event()

    def wait() -> None:
        with turns.place(Turn("a")):
            entered.set()

    with turns.place(Turn("a")):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not entered.wait(0.1)
    waiting.join(5)
    assert entered.is_set()


def test_time_counts_while_running_and_adds_up() -> None:
    now = [0.0]
    turn = Turn("a", seconds=10, clock=lambda: now[0])
    over = turn.over
    assert over is not None
    for _ in range(2):
        with turn.running():
            now[0] += 5
            assert not over()
        now[0] += 100
    assert not over()
    with turn.running():
        now[0] += 0.1
        assert over()
        assert turn.late


def test_a_turn_without_limits_is_never_watched() -> None:
    assert Turn("a").over is None


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40))),
    st.integers(1, 100),
)
def test_what_is_kept_never_has_more_bytes_than_allowed(
    puts: list[tuple[int, int]], most: int
) -> None:
    memo = Memo(most)
    last: dict[int, int] = {}
    for key, size in puts:
        memo.put(key, (key, size), size)
        if size <= most:
            last[key] = size
        assert memo.held <= most
    for key in range(10):
        kept = memo.get(key)
        assert kept is None or kept == (key, last[key])
    if puts and puts[-1][1] <= most:
        assert memo.get(puts[-1][0]) is not None


def test_the_least_recently_used_leaves_first() -> None:
    memo = Memo(3)
    for key in "abc":
        memo.put(key, key, 1)
    assert memo.get("a") == "a"
    memo.put("d", "d", 1)
    assert [memo.get(k) for k in "abcd"] == ["a", None, "c", "d"]


@pytest.mark.parametrize("rows", [1000, 10_000])
def test_sizes_grow_with_the_rows(rows: int) -> None:
    texts = tuple((f"{i:050}",) for i in range(rows))
    assert size_of("k", texts) > 50 * rows
    assert size_of("k", pa.table({"a": [f"{i:050}" for i in range(rows)]})) > 50 * rows


def test_waiting_is_not_running() -> None:
    turns, turn = Turns(2, 1), Turn("a", seconds=0.2)
    first = turns.place(Turn("a"))
    first.__enter__()
    threading.Timer(0.4, lambda: first.__exit__(None, None, None)).start()
    started = time.monotonic()
    with turns.place(turn):
        assert time.monotonic() - started >= 0.3
        assert not turn.late
