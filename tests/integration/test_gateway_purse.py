"""What a question that fails on its way costs: nothing before data access, its price after."""

import sys
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marketplace.client import Grant, MarketplaceProblem, SessionView
from privacy.dp import expr as e
from privacy.dp import query as q
from privacy.dp.draw import ReleasePlan
from privacy.dp.release import Noising
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.engine.claim import CertificateError
from sandbox.engine.room import EMBEDDED_PLACES, EngineRoom, LakeTables
from sandbox.engine.run import EngineFailure, RunCancelled
from sandbox.engine.turns import Turn
from sandbox.gateway.__main__ import engine_room
from sandbox.gateway.answering import Asker
from sandbox.gateway.execute import Executor
from sandbox.gateway.operations import CancelledError, Grid
from sandbox.gateway.purse import MarketplacePurse
from tests.support.homes import small_city
from tests.support.memory_marketplace import MemoryMarketplace

COUNTED = q.Aggregate(
    q.Table(("ent_registration",)),
    (e.Name(("district_code",)),),
    (e.Call("count", (e.Literal(1, DataType.INTEGER),)),),
)
COST = 14_973
ALLOTMENT = 10 * COST


class Operation:
    """A question that nobody cancels, unless told to."""

    def __init__(self, name: str) -> None:
        self.operation_id = name
        self.stop_at = ""
        self.due = 0.0
        self.settled = False

    def phase(self, name: str) -> None:
        if name == self.stop_at:
            raise CancelledError

    def answer_at(self, seconds: float) -> None:
        self.due = seconds

    def settle(self) -> None:
        self.settled = True

    def cancelled(self) -> bool:
        return False


class Failing:
    """The engines of a real lake, failing where a test says."""

    def __init__(self, room: EngineRoom) -> None:
        self._room = room
        self.preparing: Exception | None = None
        self.running: Exception | None = None
        self.awaits = threading.Event()
        self.awaits.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._room, name)

    def prepare(self, *given: Any) -> Callable[[], Any]:
        if self.preparing is not None:
            raise self.preparing
        run = self._room.prepare(*given)

        def failing() -> Any:
            if self.running is not None:
                raise self.running
            assert self.awaits.wait(30)
            return run()

        return failing


class Lab:
    """An executor over a real lake and a marketplace in memory."""

    def __init__(self, home: Path, *, strict: bool = False) -> None:
        grant = {"ent_registration": Grant(("market-research",), 1.0, 2.0)}
        self.person = SessionView("analyst", "firm", ("analyst",), "en", grant)
        self.market = MemoryMarketplace(
            {"token": self.person}, {("firm", "enterprise"): (ALLOTMENT, 0)}
        )
        room = engine_room(home)
        self.engines = Failing(room)
        purse = MarketplacePurse(self.market)  # type: ignore[arg-type]  # the client's stand-in
        self.began = threading.Event()
        self.executor = Executor(
            LakeTables(room.lake), self.engines, purse, self.noise, strict=strict
        )

    def noise(self, plan: ReleasePlan, micro_rho: int) -> Noising:
        self.began.set()
        return Noising(plan, micro_rho)

    def ask(self, operation: Operation, query: q.Query = COUNTED) -> int:
        asker = Asker("analyst", "firm", "token", self.person)
        return self.executor.answer(asker, query, operation).table.num_rows

    @property
    def spent(self) -> int:
        return ALLOTMENT - self.market.budget("firm", "enterprise").micro_rho


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("purse")
    small_city(home, ("districts", "industries", "ent_registration"))
    return home


@pytest.fixture
def lab(home: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("LAB_SPARK_MASTER", "off")
    return Lab(home)


@pytest.mark.parametrize("fault", [CertificateError("one"), EngineFailure(), RunCancelled()])
def test_what_fails_before_data_access_is_not_charged(lab: Lab, fault: Exception) -> None:
    lab.engines.preparing = fault
    with pytest.raises((type(fault), CancelledError)):
        lab.ask(Operation("one"))
    assert lab.spent == 0
    lab.engines.preparing = None
    assert lab.ask(Operation("two")) == 10
    assert lab.spent == COST


@pytest.mark.parametrize("fault", [EngineFailure(), RunCancelled()])
def test_what_fails_after_data_access_stays_charged(lab: Lab, fault: Exception) -> None:
    lab.engines.running = fault
    with pytest.raises((type(fault), CancelledError)):
        lab.ask(Operation("one"))
    assert lab.spent == COST
    lab.engines.running = None
    with pytest.raises(Refusal) as refused:
        lab.ask(Operation("one"))
    assert refused.value.code == "RESERVATION_CLOSED"
    assert lab.spent == COST


def test_what_is_nested_too_deeply_is_refused_before_it_is_charged(lab: Lab) -> None:
    capital: e.Expression = e.Name(("reg_capital",))
    deep = capital
    for _ in range(490):
        deep = e.Call("+", (deep, e.Literal(1, DataType.LONG)))
    zero = e.Literal(0, DataType.LONG)
    rows: q.Query = q.Filter(COUNTED.child, e.Call(">", (deep, zero)))
    for _ in range(100):
        rows = q.Filter(rows, e.Call(">", (capital, zero)))
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000)  # the interpreter's own; libraries of other tests raise it
    try:
        with pytest.raises(Refusal) as refused:
            lab.ask(Operation("one"), replace(COUNTED, child=rows))
    finally:
        sys.setrecursionlimit(before)
    assert (refused.value.code, lab.spent) == ("TOO_LARGE", 0)


@pytest.mark.parametrize("fault", [None, EngineFailure()])
def test_nothing_is_recorded_before_its_time(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, fault: Exception | None
) -> None:
    operation, seen = Operation("one"), []

    def told(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def tell(*given: Any, **named: Any) -> Any:
            seen.append((name, operation.settled))
            return real(*given, **named)

        return tell

    for name in ("reserve", "record", "failed"):
        monkeypatch.setattr(lab.market, name, told(name, getattr(lab.market, name)))
    lab.engines.running = fault
    if fault is None:
        lab.ask(operation)
    else:
        with pytest.raises(EngineFailure):
            lab.ask(operation)
    assert seen == [("reserve", False), ("record" if fault is None else "failed", True)]


def test_noise_is_drawn_beside_the_engine(lab: Lab) -> None:
    lab.engines.awaits = lab.began  # else the engine would wait for ever
    assert lab.ask(Operation("one")) == 10


def test_a_stored_answer_draws_no_noise(lab: Lab) -> None:
    lab.ask(Operation("one"))
    lab.began.clear()
    lab.ask(Operation("two"))
    assert not lab.began.is_set()


def test_a_question_cancelled_before_it_runs_is_not_charged(lab: Lab) -> None:
    operation = Operation("one")
    operation.stop_at = "compute"
    with pytest.raises(CancelledError):
        lab.ask(operation)
    assert lab.spent == 0


def test_the_reason_of_a_failure_survives_a_marketplace_that_is_gone(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise MarketplaceProblem("SERVICE_UNAVAILABLE", "The marketplace is gone.", "不可用")

    monkeypatch.setattr(lab.market, "failed", gone)
    lab.engines.running = EngineFailure()
    with pytest.raises(EngineFailure):
        lab.ask(Operation("one"))
    assert lab.spent == COST


def test_with_strict_time_an_answer_that_is_computed_has_its_time_from_public_facts(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_SPARK_MASTER", "off")
    lab = Lab(home, strict=True)
    first, second = Operation("one"), Operation("two")
    lab.ask(first)
    lab.ask(second)
    # A million enterprises by the contract, one row each, 5 million rows a second, one second more.
    assert first.due == Grid().slot(1.2)
    assert second.due == 0.0, "a stored answer reads nothing"


def test_two_sessions_with_one_operation_id_get_one_answer_for_one_charge(lab: Lab) -> None:
    operation_id = str(uuid.uuid4())
    started, together = threading.Barrier(4), []

    def ask() -> None:
        operation = Operation(operation_id)
        started.wait()
        together.append(lab.ask(operation))

    sessions = [threading.Thread(target=ask) for _ in range(4)]
    for each in sessions:
        each.start()
    for each in sessions:
        each.join(30)
    assert len(together) == 4
    spent = lab.spent
    assert spent > 0
    lab.ask(Operation(operation_id))
    assert lab.spent == spent


def test_no_asker_has_all_places_of_the_embedded_engine(lab: Lab) -> None:
    """Three run at once, a fourth waits, and another asker's question passes it."""
    room = lab.engines._room
    with ExitStack() as held:
        for _ in range(EMBEDDED_PLACES - 1):
            held.enter_context(room.turns.place(Turn("analyst")))
        waiting = threading.Thread(target=lab.ask, args=(Operation(str(uuid.uuid4())),))
        waiting.start()
        waiting.join(1)
        assert waiting.is_alive()
        with room.turns.place(Turn("somebody-else", seconds=60)):
            assert waiting.is_alive()
    waiting.join(30)
    assert not waiting.is_alive()


def test_the_marketplace_learns_which_fields_a_question_uses(lab: Lab) -> None:
    lab.ask(Operation(str(uuid.uuid4())))
    assert lab.market.fields_used == {"ent_registration": {"district_code"}}
