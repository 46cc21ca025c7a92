"""The strict reader: one reading for every message that passes, and limits before recursion."""

import pytest
from pyspark.sql.connect.proto import base_pb2, expressions_pb2, relations_pb2

from privacy.errors import Refusal
from sandbox.gateway import wire
from sandbox.gateway.wire import parse
from tests.support.connect_plans import long_chain, recorded_plans

LIMIT = relations_pb2.Limit(limit=5)


def nested(depth: int) -> bytes:
    """Return `depth` limits inside one another; writing it needs no recursion here."""
    data = b""
    for _ in range(depth):
        inner = data if not data else b"\x0a" + varint(len(data)) + data
        data = b"\x42" + varint(len(inner)) + inner
    return data


def varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def test_every_recorded_plan_reads_as_the_parser_reads_it() -> None:
    for plan in recorded_plans().values():
        assert parse(base_pb2.Plan, plan.SerializeToString()) == plan


def test_a_chain_of_500_operators_is_read() -> None:
    plan = long_chain(500)
    assert parse(base_pb2.Plan, plan.SerializeToString()) == plan


@pytest.mark.parametrize(
    "data",
    [
        b"\x10\x05\x10\x06",  # a singular field twice: parsers keep the last
        b"\x0a\x00\x0a\x00",  # a singular message twice: parsers merge
        b"\x11\x00\x00\x00\x00\x00\x00\x00\x00",  # the right number with the wrong wire type
        b"\x13\x14",  # groups
        b"\x10",  # cut before the value
        b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a number of eleven bytes
        b"\x0a\xff\xff\xff\xff\x07",  # two gigabytes announced
        b"\x0a\x05\x00",  # more announced than there is
        b"\x00",  # field 0
    ],
)
def test_encodings_that_parsers_disagree_about_are_refused(data: bytes) -> None:
    with pytest.raises(Refusal) as refusal:
        parse(relations_pb2.Limit, data)
    assert refusal.value.code == "UNSUPPORTED"


def test_two_members_of_a_oneof_are_refused() -> None:
    one = expressions_pb2.Expression.Literal(integer=1).SerializeToString()
    other = expressions_pb2.Expression.Literal(string="x").SerializeToString()
    with pytest.raises(Refusal):
        parse(expressions_pb2.Expression.Literal, one + other)


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(Refusal):
        parse(relations_pb2.Hint, b"\x12\x02\xff\xfe")


def test_an_unknown_field_is_refused_by_its_number() -> None:
    with pytest.raises(Refusal, match="2000"):
        parse(relations_pb2.Limit, LIMIT.SerializeToString() + b"\x80\x7d\x01")


def test_nesting_beyond_the_limit_is_refused_before_the_parser_recurses() -> None:
    assert parse(relations_pb2.Relation, nested(wire.MAX_DEPTH // 2)).limit is not None
    for depth in (wire.MAX_DEPTH // 2 + 1, 100_000):
        with pytest.raises(Refusal) as refusal:
            parse(relations_pb2.Relation, nested(depth))
        assert refusal.value.code == "TOO_LARGE"


def test_too_many_messages_are_refused() -> None:
    project = relations_pb2.Project(
        expressions=[expressions_pb2.Expression()] * (wire.MAX_MESSAGES + 1)
    )
    with pytest.raises(Refusal) as refusal:
        parse(relations_pb2.Project, project.SerializeToString())
    assert refusal.value.code == "TOO_LARGE"


def test_too_many_bytes_are_refused() -> None:
    local = relations_pb2.LocalRelation(data=bytes(wire.MAX_BYTES))
    with pytest.raises(Refusal) as refusal:
        parse(relations_pb2.LocalRelation, local.SerializeToString())
    assert refusal.value.code == "TOO_LARGE"
