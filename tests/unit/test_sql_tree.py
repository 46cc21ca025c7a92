"""A tree is translated whole or not at all: shown on small trees written by hand."""

from typing import Any

import pytest

from privacy.dp.expr import Literal, Name
from privacy.dp.query import Select, Table
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.gateway.sql import expression_of, query_of

CATALYST = "org.apache.spark.sql.catalyst."


def node(kind: str, /, **fields: Any) -> dict[str, Any]:
    return {"class": CATALYST + kind, "fields": fields}


def select() -> list[dict[str, Any]]:
    """The tree of `SELECT a FROM t`."""
    return [
        node("plans.logical.Project", projectList=[{"node": 1}], child={"node": 2}),
        node("analysis.UnresolvedAttribute", nameParts=["a"]),
        node(
            "analysis.UnresolvedRelation",
            multipartIdentifier=["t"],
            options={"map": []},
            isStreaming=False,
        ),
    ]


def refusal(nodes: list[dict[str, Any]]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        query_of(nodes)
    return caught.value


def test_a_plain_select_is_translated() -> None:
    assert query_of(select()) == Select(Table(("t",)), (Name(("a",)),))


def test_a_field_that_no_handler_knows_refuses_the_text() -> None:
    nodes = select()
    nodes[2]["fields"]["sampled"] = None
    assert "UnresolvedRelation" in refusal(nodes).en


def test_a_field_that_is_missing_refuses_the_text() -> None:
    nodes = select()
    del nodes[2]["fields"]["options"]
    assert "UnresolvedRelation" in refusal(nodes).en


def test_a_class_that_no_handler_knows_is_named_with_the_nearest_form() -> None:
    nodes = select()
    nodes[2] = node("analysis.RelationTimeTravel")
    answer = refusal(nodes)
    assert (answer.code, "RelationTimeTravel" in answer.en) == ("UNSUPPORTED", True)
    assert "current version" in answer.en
    assert "当前版本" in answer.zh


def test_a_subtree_that_nobody_reads_refuses_the_text() -> None:
    nodes = [*select(), node("plans.logical.Sample")]
    assert "Sample" in refusal(nodes).en


def test_a_node_that_is_read_twice_refuses_the_text() -> None:
    nodes = select()
    nodes[0]["fields"]["projectList"] = [{"node": 1}, {"node": 1}]
    assert refusal(nodes).code == "UNSUPPORTED"


@pytest.mark.parametrize("extra", [{"tags": ["x"]}, {"others": [1]}, {"more": 1}])
def test_a_part_beside_the_fields_refuses_the_text(extra: dict[str, Any]) -> None:
    nodes = select()
    nodes[2] |= extra
    assert refusal(nodes).code == "UNSUPPORTED"


def test_a_default_of_another_type_is_not_the_default() -> None:
    nodes = select()
    nodes[2]["fields"]["isStreaming"] = 0
    assert refusal(nodes).code == "UNSUPPORTED"


def test_columns_of_the_lab_cannot_be_named() -> None:
    nodes = select()
    nodes[1]["fields"]["nameParts"] = ["t", "__unit"]
    assert refusal(nodes).code == "UNKNOWN_COLUMN"


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("int", -5, Literal(-5, DataType.INTEGER)),
        ("bigint", 2**40, Literal(2**40, DataType.LONG)),
        ("double", 1.5, Literal(1.5, DataType.DOUBLE)),
        ("decimal(2,1)", {"decimal": "1.5"}, Literal(1.5, DataType.DOUBLE)),
        ("void", None, Literal(None, DataType.NULL)),
    ],
)
def test_constants_keep_value_and_type(type_: str, value: object, expected: Literal) -> None:
    nodes = [node("expressions.Literal", value=value, dataType={"type": type_})]
    assert repr(expression_of(nodes)) == repr(expected)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("int", True),
        ("int", 2**31),
        ("int", "1"),
        ("double", "NaN"),
        ("double", 1),
        ("boolean", 1),
        ("date", 10**9),
        ("string", 1),
        ("string collate UNICODE_CI", "a"),
        ("timestamp", 1),
        ("smallint", {"opaque": "java.lang.Short"}),
        ("decimal(2,1)", {"decimal": "x"}),
        ("decimal(2,1)", 1),
    ],
)
def test_a_constant_of_another_type_is_refused(type_: str, value: object) -> None:
    nodes = [node("expressions.Literal", value=value, dataType={"type": type_})]
    with pytest.raises(Refusal):
        expression_of(nodes)
