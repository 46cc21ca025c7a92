"""The transport: limits, keepalive and one-sided clients, over a real port."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status
from pyspark.sql.connect.proto import base_pb2, base_pb2_grpc

from sandbox.gateway.server import SERVICE_NAME
from sandbox.gateway.wire import MAX_BYTES
from tests.support.gateway import SESSION, TOKEN, Gateway, Tables, counted, running_gateway

METADATA = (("authorization", f"Bearer {TOKEN}"),)


def channel(gateway: Gateway) -> Any:
    return grpc.insecure_channel(
        f"localhost:{gateway.server.port}",
        options=[("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)],
    )


def execution(session_id: str = SESSION) -> Any:
    return base_pb2.ExecutePlanRequest(
        session_id=session_id, operation_id=str(uuid.uuid4()), plan=counted("tax")
    )


def test_64_clients_at_once_get_one_answer_each() -> None:
    tables = Tables()
    with running_gateway(tables) as gateway, channel(gateway) as open_channel:
        stub = base_pb2_grpc.SparkConnectServiceStub(open_channel)

        def ask(_: int) -> int:
            request = execution(str(uuid.uuid4()))
            found = [
                r.WhichOneof("response_type") for r in stub.ExecutePlan(request, metadata=METADATA)
            ]
            # A progress frame more or less, on its fixed schedule, is no second answer.
            return len([kind for kind in found if kind != "execution_progress"])

        with ThreadPoolExecutor(64) as pool:
            lengths = list(pool.map(ask, range(64)))
    assert set(lengths) == {4}
    assert len(tables.answered) == 64
    assert set(tables.answered.values()) == {1}


def test_a_request_that_is_too_large_is_turned_away_and_the_next_is_served() -> None:
    with running_gateway() as gateway, channel(gateway) as open_channel:
        stub = base_pb2_grpc.SparkConnectServiceStub(open_channel)
        request = execution()
        request.plan.root.local_relation.data = bytes(MAX_BYTES + (2 << 20))
        with pytest.raises(grpc.RpcError) as error:
            list(stub.ExecutePlan(request, metadata=METADATA))
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert list(stub.ExecutePlan(execution(), metadata=METADATA))


def test_only_the_one_service_is_there() -> None:
    with running_gateway() as gateway, channel(gateway) as open_channel:
        for name in (
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.health.v1.Health/Check",
            f"/{SERVICE_NAME}/Unknown",
        ):
            with pytest.raises(grpc.RpcError) as error:
                open_channel.unary_unary(name)(b"", metadata=METADATA)
            assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("header", ["authorization", "AUTHORIZATION"])
def test_two_tokens_in_one_request_are_refused(header: str) -> None:
    with running_gateway() as gateway, channel(gateway) as open_channel:
        stub = base_pb2_grpc.SparkConnectServiceStub(open_channel)
        doubled = (*METADATA, (header.lower(), "Bearer token-of-another"))
        with pytest.raises(grpc.RpcError) as error:
            stub.Config(base_pb2.ConfigRequest(session_id=SESSION), metadata=doubled)
        status = rpc_status.from_call(error.value)
        assert "more than one token" in status.message


def test_a_client_that_goes_away_leaves_the_answer_for_its_return() -> None:
    tables = Tables(gate=threading.Event())
    with running_gateway(tables) as gateway:
        request = execution()
        with channel(gateway) as first:
            stream = base_pb2_grpc.SparkConnectServiceStub(first).ExecutePlan(
                request, metadata=METADATA
            )
            while not tables.answered:
                threading.Event().wait(0.01)
            stream.cancel()
        assert tables.gate is not None
        tables.gate.set()
        with channel(gateway) as second:
            again = base_pb2.ReattachExecuteRequest(
                session_id=SESSION, operation_id=request.operation_id
            )
            stub = base_pb2_grpc.SparkConnectServiceStub(second)
            responses = list(stub.ReattachExecute(again, metadata=METADATA))
    assert responses[-1].HasField("result_complete")
    assert tables.answered == {request.operation_id: 1}


def test_headers_that_are_too_large_are_turned_away() -> None:
    with running_gateway() as gateway, channel(gateway) as open_channel:
        stub = base_pb2_grpc.SparkConnectServiceStub(open_channel)
        with pytest.raises(grpc.RpcError):
            stub.Config(
                base_pb2.ConfigRequest(session_id=SESSION),
                metadata=(*METADATA, ("x-filler", "x" * 100_000)),
            )
        assert list(stub.ExecutePlan(execution(), metadata=METADATA))
