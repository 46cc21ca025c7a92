"""Mutated requests: whatever arrives, the gateway answers with one of its own codes.

`LAB_FULL=1` runs 100,000 mutations; the default is small. Seeds are fixed: a failure repeats.
"""

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from pyspark.sql.connect.proto import base_pb2

from privacy.errors import Refusal
from sandbox.gateway.answering import Answer, Schema, TableSummary
from sandbox.gateway.wire import parse
from tests.support.connect_plans import recorded_plans, refused_plans
from tests.support.gateway import SESSION, AbortedError, Call, DirectClient, counted, direct, named

FULL = os.environ.get("LAB_FULL") == "1"
MUTATIONS = 100_000 if FULL else 2_000
EXECUTIONS = 5_000 if FULL else 300
CODES = {f"LAB.{code}" for code in ("UNSUPPORTED", "TOO_LARGE", "PARSE", "UNKNOWN_COLUMN")} | {
    "LAB.BAD_EPSILON",
    "LAB.UNKNOWN_TABLE",
    "INVALID_HANDLE.FORMAT",
    "INVALID_HANDLE.SESSION_CHANGED",
    "INVALID_HANDLE.SESSION_CLOSED",
    "INVALID_HANDLE.OPERATION_NOT_FOUND",
    "INVALID_HANDLE.CURSOR_POSITION",
}


class Anything:
    """Takes every question: what is tested is what comes before it."""

    def schema(self, *_: Any) -> Schema:
        return ()

    def explain(self, *_: Any, **__: Any) -> str:
        return ""

    def answer(self, *_: Any) -> Answer:
        import pyarrow as pa  # noqa: PLC0415

        return Answer((), pa.table({}))

    def tables(self, _: Any) -> tuple[TableSummary, ...]:
        return ()

    def table_columns(self, *_: Any) -> Schema:
        return ()


def submessages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for each in value.values():
                    yield from submessages(each)
        elif field.is_repeated:
            for each in value:
                yield from submessages(each)
        else:
            yield from submessages(value)


def has_unknown_fields(message: Message) -> bool:
    return any(len(UnknownFieldSet(each)) > 0 for each in submessages(message))


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    mutated = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        place = rng.randrange(len(mutated) + 1)
        match rng.randrange(6):
            case 0 if mutated:
                mutated[place % len(mutated)] ^= 1 << rng.randrange(8)
            case 1:
                mutated[place:place] = rng.randbytes(rng.randint(1, 6))
            case 2:
                del mutated[place : place + rng.randint(1, 6)]
            case 3:
                del mutated[place:]
            case 4:
                mutated[place:place] = mutated[place : place + rng.randint(1, 40)]
            case _:
                # A whole unknown field: number 2000, varint.
                mutated[place:place] = b"\x80\x7d\x01"
    return bytes(mutated)


def mutate_field(message: Message, rng: random.Random) -> None:
    """Set, clear or double one field somewhere inside."""
    target: Any = rng.choice([each for each in submessages(message) if each.DESCRIPTOR.fields])
    field = rng.choice(target.DESCRIPTOR.fields)
    match rng.randrange(4):
        case 0:
            target.ClearField(field.name)
        case 1 if field.message_type is None and not field.is_repeated:
            setattr(target, field.name, scalar(field, rng))
        case 2 if field.message_type is None:
            if field.is_repeated:
                getattr(target, field.name).append(scalar(field, rng))
        case _ if field.message_type is not None and not field.is_repeated:
            getattr(target, field.name).SetInParent()
        case _ if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            getattr(target, field.name).add()
        case _:
            target.MergeFromString(b"\x80\x7d\x01")


def scalar(field: Any, rng: random.Random) -> Any:
    match field.cpp_type:
        case field.CPPTYPE_STRING if field.type == field.TYPE_BYTES:
            return rng.randbytes(rng.randint(0, 20))
        case field.CPPTYPE_STRING:
            return rng.choice(
                ["", "a", "t", "a.b.c", "`", "`a", "__unit", "x\0y", "é" * 300, "a b"]
            )
        case field.CPPTYPE_BOOL:
            return rng.random() < 0.5
        case field.CPPTYPE_DOUBLE | field.CPPTYPE_FLOAT:
            return rng.choice([0.0, -1.0, float("nan"), float("inf"), 1e300])
        case field.CPPTYPE_UINT32 | field.CPPTYPE_UINT64:
            return rng.choice([0, 1, 2**31])
        case _:
            return rng.choice([0, 1, 2, -1, 7, 2**31 - 1, -(2**31)])


def outcome(call: Any) -> str:
    try:
        call()
    except AbortedError as aborted:
        return aborted.condition
    return "answered"


@pytest.fixture(scope="module")
def plans() -> list[bytes]:
    recorded = [*recorded_plans().values(), *refused_plans().values()]
    return [plan.SerializeToString() for plan in recorded]


def test_mutated_plans_never_crash_the_gateway_and_unknown_fields_never_pass(
    plans: list[bytes],
) -> None:
    rng = random.Random(20261)
    handle = direct(Anything()).service.unary("AnalyzePlan")
    seen: dict[str, int] = {}
    for number in range(MUTATIONS):
        request = base_pb2.AnalyzePlanRequest(session_id=SESSION)
        request.schema.plan.ParseFromString(rng.choice(plans))
        if number % 2:
            mutate_field(request.schema.plan, rng)
            data = request.SerializeToString()
        else:
            data = mutate_bytes(request.SerializeToString(), rng)
        code = outcome(lambda: handle(data, Call()))  # noqa: B023
        assert code == "answered" or code in CODES, (number, code)
        if code == "answered":
            assert not has_unknown_fields(base_pb2.AnalyzePlanRequest.FromString(data)), number
        seen[code] = seen.get(code, 0) + 1
    # The mutations are neither all fatal nor all harmless, else nothing was tested.
    assert MUTATIONS * 0.05 < seen["answered"] < MUTATIONS * 0.9, seen


def test_mutated_executions_end_with_an_answer_or_one_of_the_codes(plans: list[bytes]) -> None:
    rng = random.Random(20262)
    client = direct(Anything())
    handle = client.service.streaming("ExecutePlan")
    for number in range(EXECUTIONS):
        request = base_pb2.ExecutePlanRequest(
            session_id=SESSION, operation_id=f"00000000-0000-4000-8000-{number:012d}"
        )
        request.plan.CopyFrom(rng.choice(execution_plans(plans, rng)))
        request.request_options.add().reattach_options.reattachable = True
        mutate_field(request, rng)
        data = request.SerializeToString()
        code = outcome(lambda: list(handle(data, Call())))  # noqa: B023
        assert code == "answered" or code in CODES, (number, code)


def execution_plans(plans: list[bytes], rng: random.Random) -> list[base_pb2.Plan]:
    sql, view, clean, show, catalog = (base_pb2.Plan() for _ in range(5))
    sql.command.sql_command.input.sql.query = "select * from t"
    view.command.create_dataframe_view.input.CopyFrom(named("t"))
    view.command.create_dataframe_view.name = "v"
    view.command.create_dataframe_view.replace = True
    clean.command.ml_command.clean_cache.SetInParent()
    show.root.show_string.input.CopyFrom(named("t"))
    show.root.show_string.num_rows = 20
    catalog.root.catalog.list_tables.pattern = "*"
    return [
        sql,
        view,
        clean,
        show,
        catalog,
        counted("t"),
        base_pb2.Plan.FromString(rng.choice(plans)),
    ]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("Config", {"operation": {"get": {"keys": ["spark.sql.session.timeZone"]}}}),
        ("Config", {"operation": {"set": {"pairs": [{"key": "lab.epsilon", "value": "1"}]}}}),
        ("Config", {"operation": {"get_all": {"prefix": "lab."}}}),
        ("Interrupt", {"interrupt_type": 1}),
        ("ReleaseExecute", {"operation_id": SESSION, "release_all": {}}),
        ("ReleaseSession", {}),
        ("ArtifactStatus", {"names": ["cache/x"]}),
        ("FetchErrorDetails", {"error_id": "x"}),
    ],
)
def test_mutated_small_requests_end_with_an_answer_or_one_of_the_codes(
    name: str, fields: dict[str, Any]
) -> None:
    rng = random.Random(name)
    client = direct(Anything())
    kind = getattr(base_pb2, {"ArtifactStatus": "ArtifactStatuses"}.get(name, name) + "Request")
    for number in range(MUTATIONS // 20):
        request = kind(session_id=SESSION, **fields)
        mutate_field(request, rng)
        data = request.SerializeToString()
        if number % 2:
            data = mutate_bytes(data, rng)
        code = outcome(lambda: client.service.unary(name)(data, Call()))  # noqa: B023
        assert code == "answered" or code in CODES, (number, code)


def test_the_strict_reader_agrees_with_the_lenient_parser_on_what_it_lets_through(
    plans: list[bytes],
) -> None:
    rng = random.Random(20263)
    for _ in range(MUTATIONS):
        data = mutate_bytes(rng.choice(plans), rng)
        try:
            strict = parse(base_pb2.Plan, data)
        except Refusal:
            continue
        lenient = base_pb2.Plan.FromString(data)
        assert strict == lenient
        assert not has_unknown_fields(lenient)


@pytest.mark.parametrize("place", range(12))
def test_an_unknown_field_is_refused_wherever_it_stands(place: int) -> None:
    plan = recorded_plans()["aggregates"]
    parts = list(submessages(plan))
    parts[place * len(parts) // 12].MergeFromString(b"\x80\x7d\x01")
    assert has_unknown_fields(plan)
    with pytest.raises(AbortedError) as aborted:
        direct(Anything()).unary("AnalyzePlan", schema={"plan": plan})
    assert aborted.value.condition == "LAB.UNSUPPORTED"


def test_bytes_that_are_no_message_are_refused() -> None:
    with pytest.raises(DecodeError):
        base_pb2.Plan.FromString(b"\xff\xff")
    client = DirectClient(direct(Anything()).service)
    with pytest.raises(AbortedError) as aborted:
        client.service.unary("AnalyzePlan")(b"\xff\xff", Call())
    assert aborted.value.condition == "LAB.UNSUPPORTED"
