"""Reads a client's bytes strictly, before the protobuf parser sees them.

Protobuf parsers are lenient: they keep unknown fields, merge repeated singular fields and let the
last member of a `oneof` win, so a newer client, or a hostile one, could say more than is judged
(attacks D20, E11). This scan walks the bytes along the message descriptors and refuses all of
that; what passes has one reading. It also bounds depth and size before any recursion (attack D21).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar, cast

from google._upb import _message  # the parser of the pinned protobuf release
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from privacy.errors import Refusal

# The parser's own limit of 100 nested messages would refuse 50 chained operators; MAX_DEPTH below
# holds instead. The public switch has this odd name for historical reasons.
_message.SetAllowOversizeProtos(True)  # noqa: FBT003

MAX_DEPTH: Final = 2_000
"""Nested messages. One operator takes two, so this leaves room for a thousand."""
MAX_MESSAGES: Final = 60_000
"""Messages in one request, at most; 200 chained `withColumn` calls take about 2,000."""
MAX_BYTES: Final = 12 << 20
"""Bytes of one request, a `createDataFrame` of 8 MiB included."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIRE_TYPES = {
    FieldDescriptor.TYPE_DOUBLE: _FIXED64,
    FieldDescriptor.TYPE_FIXED64: _FIXED64,
    FieldDescriptor.TYPE_SFIXED64: _FIXED64,
    FieldDescriptor.TYPE_FLOAT: _FIXED32,
    FieldDescriptor.TYPE_FIXED32: _FIXED32,
    FieldDescriptor.TYPE_SFIXED32: _FIXED32,
    FieldDescriptor.TYPE_STRING: _BYTES,
    FieldDescriptor.TYPE_BYTES: _BYTES,
    FieldDescriptor.TYPE_MESSAGE: _BYTES,
}
_MAX_VARINT_BYTES = 10
_LOW_BITS = 0x7F
"""Bits of a varint's byte that carry the number; the eighth says that more follows."""

Parsed = TypeVar("Parsed", bound=Message)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What is allowed for one field."""

    wire_type: int
    message: Descriptor | None
    slot: int
    """Fields that exclude each other share a slot; -1 may come more than once."""


def parse(kind: type[Parsed], data: bytes) -> Parsed:
    """Return `data` as a message that has exactly one reading; raise Refusal otherwise."""
    scan(cast("Descriptor", kind.DESCRIPTOR), data)
    try:
        return kind.FromString(data)
    except DecodeError:
        raise malformed() from None


def scan(descriptor: Descriptor, data: bytes) -> None:
    """Refuse bytes that are not a plain encoding of known fields, each at most once."""
    if len(data) > MAX_BYTES:
        raise too_large(
            f"a request of at most {MAX_BYTES >> 20} MiB", f"请求不得超过 {MAX_BYTES >> 20} MiB"
        )
    rules = _rules(descriptor)
    seen: set[int] = set()
    position, end, messages = 0, len(data), 1
    outer: list[tuple[Mapping[int, _Rule], set[int], int]] = []
    while True:
        if position == end:
            if not outer:
                return
            rules, seen, end = outer.pop()
            continue
        tag = data[position]
        position += 1
        if tag > _LOW_BITS:
            tag, position = _varint(data, position - 1, end)
        rule = rules.get(tag >> 3)
        if rule is None:
            raise unknown_field(tag >> 3)
        if tag & 7 != rule.wire_type:
            raise malformed()
        if rule.slot >= 0:
            if rule.slot in seen:
                raise malformed()
            seen.add(rule.slot)
        if rule.wire_type == _BYTES:
            if position < end and data[position] <= _LOW_BITS:
                length = data[position]
                position += 1
            else:
                length, position = _varint(data, position, end)
            stop = position + length
            if stop > end:
                raise malformed()
            if rule.message is None:
                position = stop
                continue
            messages += 1
            if messages > MAX_MESSAGES or len(outer) >= MAX_DEPTH:
                raise too_large(
                    f"at most {MAX_MESSAGES} parts, nested at most {MAX_DEPTH} deep",
                    f"至多 {MAX_MESSAGES} 个部分、嵌套至多 {MAX_DEPTH} 层",
                )
            outer.append((rules, seen, end))
            rules, seen, end = _rules(rule.message), set(), stop
        elif rule.wire_type == _VARINT:
            _, position = _varint(data, position, end)
        else:
            position += 8 if rule.wire_type == _FIXED64 else 4
            if position > end:
                raise malformed()


def malformed() -> Refusal:
    """Return the error for bytes that no protobuf writer makes."""
    return Refusal(
        "UNSUPPORTED",
        "The message is not a well-formed Spark Connect message. Use an unmodified PySpark client.",
        "该消息不是合法的 Spark Connect 消息。请使用未修改的 PySpark 客户端。",
    )


def unknown_field(number: int) -> Refusal:
    """Return the error for a field that the lab's protocol version does not have."""
    return Refusal(
        "UNSUPPORTED",
        f"The message holds a field ({number}) that this lab does not know and cannot judge. "
        "Use a PySpark client of version 4.2 or 4.3.",
        f"消息中含有未知字段（{number}），无法审查。请使用 4.2 或 4.3 版 PySpark 客户端。",
    )


def too_large(limit_en: str, limit_zh: str) -> Refusal:
    """Return the error for a question beyond a stated limit."""
    return Refusal(
        "TOO_LARGE",
        f"The question is too large: the lab takes {limit_en}. Split it into smaller ones.",
        f"问题过大：{limit_zh}。请拆分为更小的问题。",
    )


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for index in range(position, min(end, position + _MAX_VARINT_BYTES)):
        byte = data[index]
        value |= (byte & _LOW_BITS) << shift
        if byte <= _LOW_BITS:
            return value, index + 1
        shift += 7
    raise malformed()


@cache
def _rules(descriptor: Descriptor) -> Mapping[int, _Rule]:
    return {field.number: _rule(field) for field in descriptor.fields}


def _rule(field: Any) -> _Rule:  # noqa: ANN401  # the stubs lag behind `is_repeated`
    wire_type = _WIRE_TYPES.get(field.type, _VARINT)
    if field.is_repeated:
        # Repeated numbers are packed by every writer of proto3; the unpacked form is refused.
        return _Rule(_BYTES, field.message_type, -1)
    oneof = field.containing_oneof
    # Field numbers stay below 2**29, so a slot of a oneof cannot be that of a field.
    slot = field.number if oneof is None else (1 << 30) + oneof.index
    return _Rule(wire_type, field.message_type, slot)
