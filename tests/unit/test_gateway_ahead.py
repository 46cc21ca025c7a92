"""What is begun ahead of a question's turn: dropped or used once, and nobody waits for others'."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from privacy.dp.draw import ReleasePlan
from privacy.dp.release import Exact, Release
from sandbox.gateway.ahead import MOST_AHEAD, Begun, Workers


def plan(digest: str, cells: int = 1) -> ReleasePlan:
    many = SimpleNamespace(digest=digest, cells=((),) * cells, draws=("one",))
    return cast("ReleasePlan", many)


class Draws:
    """Counts draws; each draw adds a number of its own."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def __call__(self, of: ReleasePlan, micro_rho: int) -> Callable[[Exact], Release]:
        self.asked.append((of.digest, micro_rho))
        number = len(self.asked)
        return lambda _exact: cast("Release", number)


def added(begun: Begun, of: ReleasePlan, micro_rho: int) -> Any:
    return begun.noise(of, micro_rho)(cast("Exact", None))


def test_noise_that_was_begun_is_used_for_one_answer_only() -> None:
    draws = Draws()
    begun = Begun(Workers(draws), lambda _: cast("Any", None))
    begun.begin([plan("a")], [100])
    assert added(begun, plan("a"), 100) == 1
    assert added(begun, plan("a"), 100) == 2
    assert draws.asked == [("a", 100), ("a", 100)]


def test_noise_of_another_price_is_drawn_anew() -> None:
    draws = Draws()
    begun = Begun(Workers(draws), lambda _: cast("Any", None))
    begun.begin([plan("a")], [100])
    assert added(begun, plan("a"), 50) == 2
    assert draws.asked[-1] == ("a", 50)


def test_much_noise_is_not_drawn_for_what_may_be_refused() -> None:
    draws = Draws()
    begun = Begun(Workers(draws), lambda _: cast("Any", None))
    many = plan("a", MOST_AHEAD + 1)
    begun.begin([many], [100])
    assert draws.asked == []
    assert added(begun, many, 100) == 1


def test_what_is_dropped_before_it_started_never_runs() -> None:
    workers, done, prepared = Workers(Draws()), threading.Event(), list[str]()
    others = [workers.preparing.submit(done.wait) for _ in range(64)]
    begun = Begun(workers, lambda of: cast("Any", prepared.append(of.digest)))
    begun.begin([plan("a")], [100])
    begun.drop()
    done.set()
    workers.preparing.shutdown()
    assert all(each.result() for each in others)
    assert prepared == []


def test_what_makes_preparing_impossible_is_told_when_its_turn_comes() -> None:
    def fail(_: ReleasePlan) -> Any:
        raise ValueError("broken")

    begun = Begun(Workers(Draws()), fail)
    begun.begin([plan("a")], [100])
    with pytest.raises(ValueError, match="broken"):
        begun.run(plan("a"))


def test_nothing_is_prepared_before_it_is_begun_or_asked_for() -> None:
    prepared: list[str] = []

    def prepare(of: ReleasePlan) -> Any:
        prepared.append(of.digest)
        return of.digest

    begun = Begun(Workers(Draws()), prepare)
    assert prepared == []
    assert cast("Any", begun.run(plan("a"))) == "a"
    assert prepared == ["a"]


def test_a_question_behind_busy_workers_prepares_by_itself() -> None:
    workers, busy, done = Workers(Draws()), threading.Event(), threading.Event()
    others = [workers.preparing.submit(done.wait) for _ in range(64)]
    begun = Begun(workers, lambda of: cast("Any", (of.digest, busy.set())))
    begun.begin([plan("a")], [100])
    try:
        assert not busy.is_set()
        assert cast("Any", begun.run(plan("a")))[0] == "a"
    finally:
        done.set()
    assert all(each.result() for each in others)
