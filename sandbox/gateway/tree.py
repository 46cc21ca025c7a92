"""Walks over decoded queries, none recursive: size, views put in place, labels taken off."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from privacy.dp.query import Frame, Join, Query, Table, Union
from sandbox.gateway.fields import Step, fold
from sandbox.gateway.wire import too_large

MAX_DEPTH: Final = 400
MAX_OPERATORS: Final = 2_000
MAX_TABLES: Final = 64
"""Limits of one question, views written out (attack D21)."""


def check_size(query: Query) -> None:
    """Refuse a question beyond the limits; a part that occurs twice counts twice."""
    operators, tables = 0, 0
    todo = [(query, 1)]
    while todo:
        node, depth = todo.pop()
        operators += 1
        inputs = inputs_of(node)
        tables += not inputs
        if operators > MAX_OPERATORS or tables > MAX_TABLES or depth > MAX_DEPTH:
            raise too_large(
                f"at most {MAX_OPERATORS} operators, {MAX_DEPTH} of them in a chain, and "
                f"{MAX_TABLES} tables",
                f"至多 {MAX_OPERATORS} 个算子（单链 {MAX_DEPTH} 个）和 {MAX_TABLES} 张表",
            )
        todo += [(each, depth + 1) for each in inputs]


def with_tables(query: Query, body: Callable[[Table], Query | None], limit: int) -> Query:
    """Return `query` with each table replaced by its `body`, where it has one."""

    def expand(node: Query) -> Step[Query, Query]:
        if isinstance(node, Table):
            placed = body(node) or node
            return (), lambda _: placed
        return inputs_of(node), lambda inputs: with_inputs(node, inputs)

    return fold(query, expand, limit)


def without_labels(query: Query) -> Query:
    """Return `query` without the client's labels, which mean nothing in a later plan."""

    def expand(node: Query) -> Step[Query, Query]:
        return inputs_of(node), lambda inputs: replace(with_inputs(node, inputs), plan_id=None)

    return fold(query, expand, MAX_DEPTH)


def inputs_of(query: Query) -> tuple[Query, ...]:
    """Return the queries that `query` reads."""
    match query:
        case Table() | Frame():
            return ()
        case Join() | Union():
            return (query.left, query.right)
        case _:
            return (query.child,)


def with_inputs(query: Query, inputs: Sequence[Query]) -> Query:
    """Return `query` reading other inputs."""
    if all(new is old for new, old in zip(inputs, inputs_of(query), strict=True)):
        return query
    match query:
        case Table() | Frame():
            return query
        case Join() | Union():
            return replace(query, left=inputs[0], right=inputs[1])
        case _:
            return replace(query, child=inputs[0])
