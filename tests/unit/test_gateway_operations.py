"""Executions run once; what leaves, and when, is decided by the clock and public facts."""

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from privacy.errors import Refusal
from sandbox.gateway.operations import (
    DEADLINE_SECONDS,
    CancelledError,
    Grid,
    Operation,
    Outcome,
    Timing,
)
from sandbox.gateway.respond import complete_response
from tests.support.gateway import (
    AbortedError,
    DirectClient,
    Tables,
    counted,
    direct,
    named,
    rows_of,
)


def operation(clock: Callable[[], float] = time.monotonic, *, grid: bool = False) -> Operation:
    return Operation(
        str(uuid.uuid4()), b"digest", frozenset(), lambda _: None, Timing(clock, Grid(enabled=grid))
    )


def always() -> bool:
    return True


def test_slots_are_tenths_to_a_second_and_then_quarter_powers_of_two() -> None:
    grid = Grid()
    slots, at = [], 0.0
    while at < 8:
        at = grid.slot(at + 1e-6)
        slots.append(round(at, 4))
    assert slots[:10] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert slots[10:] == [
        1.1892, 1.4142, 1.6818, 2.0, 2.3784, 2.8284, 3.3636, 4.0, 4.7568, 5.6569, 6.7272, 8.0,
    ]  # fmt: skip


def test_no_answer_leaves_before_it_is_there() -> None:
    grid = Grid()
    assert all(grid.slot(n / 997) >= n / 997 for n in range(10_000))


@pytest.mark.parametrize("private", [True, False])
def test_only_answers_of_private_questions_wait_for_the_grid(private: bool) -> None:
    started = time.monotonic()
    running = operation(grid=True)
    running.run(lambda _: Outcome((), private))
    list(running.stream(None, always))
    elapsed = time.monotonic() - started
    assert (elapsed >= 0.1) == private


def test_with_strict_time_answers_of_public_questions_wait_too() -> None:
    started = time.monotonic()
    timing = Timing(time.monotonic, Grid(for_public=True))
    running = Operation("a", b"digest", frozenset(), lambda _: None, timing)
    running.run(lambda _: Outcome(()))
    assert time.monotonic() - started >= 0.1


@pytest.mark.parametrize(("phase", "waits"), [("reserve", False), ("compute", True)])
def test_failures_wait_for_the_grid_once_data_may_have_been_read(
    phase: str,
    waits: bool,
) -> None:
    def body(handle: Operation) -> Outcome:
        handle.phase(phase)
        raise ValueError

    started = time.monotonic()
    running = operation(grid=True)
    running.run(body)
    with pytest.raises(Refusal):
        list(running.stream(None, always))
    assert (time.monotonic() - started >= 0.1) == waits


@pytest.mark.parametrize("took", [0.0, 0.1, 0.25])
@pytest.mark.parametrize("fault", [None, ValueError("secret")])
def test_with_strict_time_answers_and_failures_leave_at_one_moment(
    took: float, fault: Exception | None
) -> None:
    started = time.monotonic()  # an operation counts from its making
    running = operation()

    def body(handle: Operation) -> Outcome:
        handle.answer_at(0.3)
        handle.phase("compute")
        time.sleep(took)
        if fault is not None:
            raise fault
        return Outcome((), private=True)

    threading.Thread(target=running.run, args=(body,)).start()
    if fault is None:
        list(running.stream(None, always))
    else:
        with pytest.raises(Refusal):
            list(running.stream(None, always))
    assert 0.3 <= time.monotonic() - started < 0.42


@pytest.mark.parametrize(("at", "due"), [(None, 0.17), (0.5, 0.25)], ids=["grid", "strict"])
@pytest.mark.parametrize("took", [0.09, 0.13])
def test_what_came_of_a_question_is_recorded_by_the_grid(
    took: float, at: float | None, due: float
) -> None:
    started = time.monotonic()
    running = operation(grid=True)
    if at is not None:
        running.answer_at(at)
    time.sleep(took)
    running.settle()
    assert due <= time.monotonic() - started < due + 0.06


def test_after_a_cancel_nothing_is_recorded() -> None:
    running = operation(grid=True)
    threading.Timer(0.02, running.interrupt).start()
    started = time.monotonic()
    with pytest.raises(CancelledError):
        running.settle()
    assert time.monotonic() - started < 0.06


def test_with_strict_time_a_late_answer_is_a_failure_and_never_sent() -> None:
    running = operation()

    def body(handle: Operation) -> Outcome:
        handle.answer_at(0.1)
        handle.phase("compute")
        time.sleep(0.3)
        return Outcome((complete_response(),), private=True)

    worker = threading.Thread(target=running.run, args=(body,))
    worker.start()
    for _ in range(2):
        with pytest.raises(Refusal) as refused:
            list(running.stream(None, always))
        assert refused.value.code == "FAILED"
        worker.join()


def test_progress_follows_a_schedule_and_counts_phases_only() -> None:
    tables = Tables(gate=threading.Event())
    client = direct(tables)
    stream = client.start(counted("tax"))
    frames = [next(stream) for _ in range(2)]
    assert tables.gate is not None
    tables.gate.set()
    rest = list(stream)
    for frame in frames:
        stages = frame.execution_progress.stages
        assert [stage.num_completed_tasks for stage in stages] == [1, 1, 0]
        assert all(stage.num_tasks == 1 and stage.input_bytes_read == 0 for stage in stages)
    assert rows_of(rest) == [{"count": 5}]


def test_no_metrics_of_an_execution_are_ever_sent() -> None:
    assert not any(response.HasField("metrics") for response in direct().execute(counted("tax")))


def test_after_the_deadline_a_question_fails_whatever_it_does() -> None:
    class Late:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    clock = Late()
    running = operation(clock)
    clock.now = DEADLINE_SECONDS + 1
    # The stream opens after the deadline, so its own limit in time lies still ahead.
    with pytest.raises(Refusal) as refusal:
        list(running.stream(None, always))
    assert refusal.value.code == "FAILED"
    assert running.cancelled()


def test_a_stream_ends_when_its_client_is_gone() -> None:
    assert list(operation().stream(None, lambda: False)) == []


def test_reattaching_a_hundred_times_gives_the_same_bytes_and_one_execution() -> None:
    tables, client = Tables(), direct()
    client = direct(tables)
    operation_id = str(uuid.uuid4())
    first = client.execute(counted("tax"), operation_id)
    for _ in range(100):
        assert client.reattach(operation_id) == first
    assert client.execute(counted("tax"), operation_id) == first
    assert tables.answered == {operation_id: 1}


def test_reattaching_goes_on_after_the_last_response() -> None:
    client = direct()
    operation_id = str(uuid.uuid4())
    whole = client.execute(counted("tax"), operation_id)
    for index, response in enumerate(whole):
        assert client.reattach(operation_id, response.response_id) == whole[index + 1 :]


def test_response_ids_are_unique_and_the_last_response_completes() -> None:
    responses = direct().execute(counted("tax"))
    assert len({response.response_id for response in responses}) == len(responses)
    assert responses[-1].HasField("result_complete")
    assert complete_response().HasField("result_complete")


def test_released_responses_are_gone_and_later_ones_stay() -> None:
    client = direct()
    operation_id = str(uuid.uuid4())
    whole = client.execute(counted("tax"), operation_id)
    until = {"response_id": whole[0].response_id}
    client.unary("ReleaseExecute", operation_id=operation_id, release_until=until)
    assert client.reattach(operation_id, whole[0].response_id) == whole[1:]
    with pytest.raises(AbortedError) as aborted:
        client.reattach(operation_id)
    assert aborted.value.condition == "INVALID_HANDLE.CURSOR_POSITION"


def test_a_released_operation_is_unknown_so_that_the_client_asks_again() -> None:
    client = direct()
    operation_id = str(uuid.uuid4())
    client.execute(counted("tax"), operation_id)
    client.unary("ReleaseExecute", operation_id=operation_id, release_all={})
    with pytest.raises(AbortedError, match=r"INVALID_HANDLE\.OPERATION_NOT_FOUND"):
        client.reattach(operation_id)


@pytest.mark.parametrize("released", [True, False])
def test_one_operation_id_never_serves_two_questions(released: bool) -> None:
    tables = Tables()
    client = direct(tables)
    operation_id = str(uuid.uuid4())
    client.execute(counted("tax"), operation_id)
    if released:
        client.unary("ReleaseExecute", operation_id=operation_id, release_all={})
    with pytest.raises(AbortedError) as aborted:
        client.execute(counted("districts"), operation_id)
    assert aborted.value.condition == "LAB.OPERATION_MISMATCH"
    assert sum(tables.answered.values()) == 1


@pytest.mark.parametrize("operation_id", ["x", "1", "../../etc", "A" * 36, "1" * 10_000])
def test_an_operation_id_is_a_uuid(operation_id: str) -> None:
    with pytest.raises(AbortedError) as aborted:
        direct().execute(counted("tax"), operation_id)
    assert aborted.value.condition == "INVALID_HANDLE.FORMAT"


@pytest.mark.parametrize("how", ["all", "tag", "id"])
def test_an_interrupt_ends_the_stream_with_an_error(how: str) -> None:
    tables = Tables(gate=threading.Event())
    client = direct(tables)
    operation_id = str(uuid.uuid4())
    ended: list[Any] = []

    def run() -> None:
        try:
            client.execute(counted("tax"), operation_id, tags=["mine"])
        except AbortedError as aborted:
            ended.append(aborted)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: tables.answered[operation_id] == 1)
    fields: dict[str, dict[str, Any]] = {
        "all": {"interrupt_type": 1},
        "tag": {"interrupt_type": 2, "operation_tag": "mine"},
        "id": {"interrupt_type": 3, "operation_id": operation_id},
    }
    response = client.unary("Interrupt", **fields[how])
    thread.join(5)
    assert list(response.interrupted_ids) == [operation_id]
    assert ended[0].condition == "LAB.CANCELLED"
    assert "OPERATION_CANCELED" in str(ended[0])
    assert tables.gate is not None
    tables.gate.set()


def test_an_interrupt_names_nothing_that_has_finished_or_has_another_tag() -> None:
    client = direct()
    client.execute(counted("tax"), tags=["mine"])
    assert not client.unary("Interrupt", interrupt_type=1).interrupted_ids
    assert not client.unary("Interrupt", interrupt_type=2, operation_tag="x").interrupted_ids


def test_a_fault_is_one_constant_sentence_and_logged_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    texts = set()
    for fault in (ValueError("secret value 4711"), KeyError("secret"), RecursionError()):
        with pytest.raises(AbortedError) as aborted:
            direct(Tables(fault=fault)).execute(counted("tax"))
        assert aborted.value.condition == "LAB.FAILED"
        texts.add(str(aborted.value))
    assert len(texts) == 1
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text + texts.pop()


def test_too_many_running_operations_of_a_session_are_refused() -> None:
    tables = Tables(gate=threading.Event())
    client = direct(tables)
    threads = [threading.Thread(target=client.execute, args=(counted("tax"),)) for _ in range(32)]
    for thread in threads:
        thread.start()
    wait_for(lambda: sum(tables.answered.values()) == 32)
    with pytest.raises(AbortedError) as aborted:
        client.execute(counted("tax"))
    assert aborted.value.condition == "LAB.SERVICE_UNAVAILABLE"
    assert tables.gate is not None
    tables.gate.set()
    for thread in threads:
        thread.join(5)
    assert client.execute(counted("tax"))


def test_answers_of_another_session_cannot_be_fetched() -> None:
    client = direct()
    operation_id = str(uuid.uuid4())
    client.execute(counted("tax"), operation_id)
    other = DirectClient(client.service, session_id=str(uuid.uuid4()))
    with pytest.raises(AbortedError, match="OPERATION_NOT_FOUND"):
        other.reattach(operation_id)


def test_rows_of_a_table_without_columns_are_counted() -> None:
    plan = counted("districts")
    plan.root.Clear()
    plan.root.project.input.CopyFrom(named("districts"))
    responses = direct().execute(plan)
    assert [r.arrow_batch.row_count for r in responses if r.HasField("arrow_batch")] == [3]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_question_that_nobody_listens_to_is_stopped_in_time() -> None:
    now = [0.0]
    left = operation(lambda: now[0])
    assert not left.cancelled()
    now[0] = DEADLINE_SECONDS
    assert left.cancelled()
    with pytest.raises(CancelledError):
        left.phase("compute")


def test_with_strict_time_work_stops_when_its_answer_was_due() -> None:
    now = [0.0]
    strict = operation(lambda: now[0])
    strict.answer_at(4.0)
    now[0] = 3.9
    assert not strict.cancelled()
    now[0] = 4.0
    assert strict.cancelled()
