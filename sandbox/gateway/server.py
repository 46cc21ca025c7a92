"""The gRPC server around the service: method table, limits, keepalive."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc

from sandbox.gateway.service import Service
from sandbox.gateway.wire import MAX_BYTES

SERVICE_NAME: Final = "spark.connect.SparkConnectService"

UNARY: Final = (
    "AnalyzePlan",
    "Config",
    "Interrupt",
    "ReleaseExecute",
    "ReleaseSession",
    "ArtifactStatus",
    "FetchErrorDetails",
    "CloneSession",
    "GetStatus",
)
STREAMING: Final = ("ExecutePlan", "ReattachExecute")
UPLOADING: Final = ("AddArtifacts",)

THREADS: Final = 200
"""Calls served at once; a waiting stream holds one."""
MAX_CALLS: Final = 400
"""Calls served or waiting for a thread; more are turned away by gRPC."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_BYTES + (1 << 20)),
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.max_concurrent_streams", 100),
    # Clients ping every 60 s while idle; the defaults answer that with GOAWAY after three minutes.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
    # Two gateways on one port would share clients, not sessions.
    ("grpc.so_reuseport", 0),
)

RECURSION_LIMIT: Final = 20_000
STACK_BYTES: Final = 32 << 20
"""Room for walking deep questions; memory is taken only when used."""


class Server:
    """A running gateway."""

    def __init__(self, service: Service, *, port: int = 0, host: str = "localhost") -> None:
        """Serve without TLS on `host`, which has to be the machine's own loopback."""
        self._service = service
        prepare_threads()
        self._server = grpc.server(
            ThreadPoolExecutor(THREADS, thread_name_prefix="call"),
            handlers=(handlers(service),),
            options=_OPTIONS,
            maximum_concurrent_rpcs=MAX_CALLS,
        )
        self.port = int(self._server.add_insecure_port(f"{host}:{port}"))
        self._server.start()

    def stop(self, grace_seconds: float = 1.0) -> None:
        """Let running calls end for a moment, then close all."""
        self._server.stop(grace_seconds).wait()
        self._service.close()

    def wait(self) -> None:
        """Block until the server is stopped."""
        self._server.wait_for_termination()


def prepare_threads() -> None:
    """Let threads that start from now on walk questions as deep as the decoder lets through."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION_LIMIT))
    threading.stack_size(STACK_BYTES)


def handlers(service: Service) -> Any:  # noqa: ANN401  # gRPC ships no types
    """Return the method table; requests and responses are bytes, which the service reads."""
    table = {name: grpc.unary_unary_rpc_method_handler(service.unary(name)) for name in UNARY}
    table |= {
        name: grpc.unary_stream_rpc_method_handler(service.streaming(name)) for name in STREAMING
    }
    table |= {
        name: grpc.stream_unary_rpc_method_handler(service.add_artifacts) for name in UPLOADING
    }
    return grpc.method_handlers_generic_handler(SERVICE_NAME, table)
