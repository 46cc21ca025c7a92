"""Every kind of thing that a client can say is on a list; a new pyspark with a new kind fails here.

The lists of what is taken come from the gateway, the lists of what is refused stand here, and
together they must be exactly what the protocol has.
"""

from typing import Any

import pytest
from pyspark.sql.connect.proto import (
    base_pb2,
    catalog_pb2,
    commands_pb2,
    expressions_pb2,
    relations_pb2,
    types_pb2,
)

from privacy.errors import Refusal
from sandbox.gateway import analyze, catalog, decode, decode_expr, plans, server
from tests.support.gateway import AbortedError, Sql, direct, named


def words(text: str) -> set[str]:
    return set(text.split())


AROUND_A_QUESTION = {"show_string", "html_string", "catalog"}

REFUSED_RELATIONS = words(
    """
    sample range repartition tail unpivot to_schema repartition_by_expression map_partitions
    collect_metrics parse group_map co_group_map with_watermark apply_in_pandas_with_state
    cached_local_relation cached_remote_relation common_inline_user_defined_table_function
    as_of_join common_inline_user_defined_data_source transpose
    unresolved_table_valued_function lateral_join chunked_cached_local_relation
    relation_changes nearest_by_join zip fill_na drop_na replace summary crosstab describe cov
    corr approx_quantile freq_items sample_by ml_relation extension unknown
    """
)
REFUSED_EXPRESSIONS = words(
    """
    unresolved_regex sort_order lambda_function window unresolved_extract_value update_fields
    unresolved_named_lambda_variable common_inline_user_defined_function
    named_argument_expression merge_action typed_aggregate_expression subquery_expression
    direct_shuffle_partition_id extension
    """
)
REFUSED_LITERALS = words(
    """
    binary timestamp timestamp_ntz calendar_interval year_month_interval day_time_interval
    array map struct specialized_array time timestamp_ntz_nanos timestamp_ltz_nanos
    """
)
REFUSED_COMMANDS = words(
    """
    register_function write_operation write_operation_v2 write_stream_operation_start
    streaming_query_command get_resources_command streaming_query_manager_command
    register_table_function streaming_query_listener_bus_command register_data_source
    create_resource_profile_command checkpoint_command remove_cached_remote_relation_command
    merge_into_table_command execute_external_command pipeline_command extension
    """
)
REFUSED_CATALOG = words(
    """
    list_functions get_function function_exists create_external_table create_table
    drop_global_temp_view recover_partitions refresh_by_path drop_table drop_view
    create_database drop_database list_partitions get_table_properties get_create_table_string
    truncate_table analyze_table
    """
)
REFUSED_TYPES = words(
    """
    binary char var_char decimal timestamp timestamp_ntz calendar_interval year_month_interval
    day_time_interval array struct map variant udt geometry geography time timestamp_ntz_nanos
    timestamp_ltz_nanos
    """
)
CONFIG_OPERATIONS = words(
    """
    set get get_with_default get_option get_all unset is_modifiable
    """
)


def kinds(message: Any, oneof: str) -> set[str]:
    return {field.name for field in message.DESCRIPTOR.oneofs_by_name[oneof].fields}


def with_kind(message_type: Any, kind: str) -> Any:
    """Return a message that says nothing but `kind`."""
    message = message_type()
    field = message.DESCRIPTOR.fields_by_name[kind]
    if field.message_type is not None:
        getattr(message, kind).SetInParent()
    else:
        setattr(message, kind, b"" if field.type == field.TYPE_BYTES else field.default_value)
    return message


@pytest.mark.parametrize(
    ("message", "oneof", "taken", "refused"),
    [
        (
            relations_pb2.Relation,
            "rel_type",
            decode.RELATIONS | AROUND_A_QUESTION,
            REFUSED_RELATIONS,
        ),
        (
            expressions_pb2.Expression,
            "expr_type",
            decode_expr.EXPRESSIONS,
            REFUSED_EXPRESSIONS,
        ),
        (
            expressions_pb2.Expression.Literal,
            "literal_type",
            decode_expr.LITERALS,
            REFUSED_LITERALS,
        ),
        (commands_pb2.Command, "command_type", set(plans.COMMANDS), REFUSED_COMMANDS),
        (base_pb2.AnalyzePlanRequest, "analyze", set(analyze.HANDLERS), set(analyze.REFUSED)),
        (catalog_pb2.Catalog, "cat_type", set(catalog.HANDLERS), REFUSED_CATALOG),
        (base_pb2.ConfigRequest.Operation, "op_type", CONFIG_OPERATIONS, set()),
        (base_pb2.Plan, "op_type", {"root", "command"}, {"compressed_operation"}),
        (
            types_pb2.DataType,
            "kind",
            {"null", "boolean", "byte", "short", "integer", "long", "float", "double", "string"}
            | {"date", "unparsed"},
            REFUSED_TYPES,
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_kind_of_the_protocol_is_either_taken_or_refused(
    message: Any, oneof: str, taken: set[str], refused: set[str]
) -> None:
    assert taken | refused == kinds(message, oneof)
    assert not taken & refused


def test_every_call_of_the_service_is_served() -> None:
    methods = {m.name for m in base_pb2.DESCRIPTOR.services_by_name["SparkConnectService"].methods}
    assert {*server.UNARY, *server.STREAMING, *server.UPLOADING} == methods


@pytest.mark.parametrize("kind", sorted(REFUSED_RELATIONS))
def test_a_relation_that_is_not_on_the_list_is_refused_by_name(kind: str) -> None:
    message = with_kind(relations_pb2.Relation, kind)
    with pytest.raises(Refusal, match=kind) as refusal:
        decode.Decoder(Sql(), {}).question(message)
    assert refusal.value.code == "UNSUPPORTED"


@pytest.mark.parametrize("kind", sorted(REFUSED_RELATIONS))
def test_a_refused_relation_is_refused_deep_inside_a_plan(kind: str) -> None:
    inner = with_kind(relations_pb2.Relation, kind)
    limit = relations_pb2.Relation(limit=relations_pb2.Limit(input=inner, limit=1))
    join = relations_pb2.Join(left=named("t"), right=limit, join_type=7)
    with pytest.raises(Refusal, match=kind):
        decode.Decoder(Sql(), {}).question(relations_pb2.Relation(join=join))


@pytest.mark.parametrize("kind", sorted(AROUND_A_QUESTION))
def test_what_surrounds_a_question_cannot_stand_inside_one(kind: str) -> None:
    inner = with_kind(relations_pb2.Relation, kind)
    outer = relations_pb2.Relation(limit=relations_pb2.Limit(input=inner, limit=1))
    with pytest.raises(Refusal, match=kind):
        decode.Decoder(Sql(), {}).question(outer)


@pytest.mark.parametrize("kind", sorted(REFUSED_EXPRESSIONS))
def test_an_expression_that_is_not_on_the_list_is_refused_by_name(kind: str) -> None:
    message = with_kind(expressions_pb2.Expression, kind)
    with pytest.raises(Refusal, match=kind):
        decode_expr.ExpressionDecoder(Sql().expression).expression(message)


@pytest.mark.parametrize("kind", sorted(REFUSED_LITERALS))
def test_a_literal_that_is_not_on_the_list_is_refused_by_name(kind: str) -> None:
    message = with_kind(expressions_pb2.Expression.Literal, kind)
    with pytest.raises(Refusal, match=kind):
        decode_expr.decode_literal(message)


@pytest.mark.parametrize("kind", sorted(REFUSED_TYPES))
def test_a_cast_to_a_type_that_the_lab_does_not_have_is_refused(kind: str) -> None:
    with pytest.raises(Refusal, match="cast"):
        decode_expr.cast_type(with_kind(types_pb2.DataType, kind), None)


@pytest.mark.parametrize("kind", sorted(REFUSED_COMMANDS))
def test_a_command_that_is_not_on_the_list_is_refused_by_name(kind: str) -> None:
    plan = base_pb2.Plan(command=with_kind(commands_pb2.Command, kind))
    with pytest.raises(AbortedError, match=kind) as aborted:
        direct().execute(plan)
    assert aborted.value.condition == "LAB.UNSUPPORTED"


@pytest.mark.parametrize("kind", sorted(REFUSED_CATALOG))
def test_a_catalogue_call_that_is_not_on_the_list_is_refused_by_name(kind: str) -> None:
    message = relations_pb2.Relation(catalog=with_kind(catalog_pb2.Catalog, kind))
    with pytest.raises(AbortedError, match=kind) as aborted:
        direct().execute(base_pb2.Plan(root=message))
    assert aborted.value.condition == "LAB.UNSUPPORTED"


@pytest.mark.parametrize("kind", sorted(analyze.REFUSED))
def test_an_analysis_that_is_not_on_the_list_is_refused_by_name(kind: str) -> None:
    inner = with_kind(base_pb2.AnalyzePlanRequest, kind)
    with pytest.raises(AbortedError, match=kind) as aborted:
        direct().unary("AnalyzePlan", **{kind: getattr(inner, kind)})
    assert aborted.value.condition == "LAB.UNSUPPORTED"


def test_a_compressed_plan_is_refused() -> None:
    plan = base_pb2.Plan()
    plan.compressed_operation.data = b"x"
    with pytest.raises(AbortedError, match="compressed_operation"):
        direct().execute(plan)
