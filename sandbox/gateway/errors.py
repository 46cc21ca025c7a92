"""Our refusals as Spark's errors: what a stock client raises, in the user's language.

A client builds its exception from `google.rpc.ErrorInfo` inside the status details: it takes the
first Java class name that it knows, the error class and the message. Never use the gRPC codes that
clients retry (UNAVAILABLE), nor `RetryInfo`.
"""

import json
from dataclasses import dataclass

from google.protobuf.any_pb2 import Any
from google.rpc.code_pb2 import INTERNAL, UNAUTHENTICATED
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from privacy.errors import Refusal

_SPARK = "org.apache.spark"
ANALYSIS = f"{_SPARK}.sql.AnalysisException"
PARSE = f"{_SPARK}.sql.catalyst.parser.ParseException"
RUNTIME = f"{_SPARK}.SparkException"
UNSUPPORTED = f"{_SPARK}.SparkUnsupportedOperationException"
JAVA_UNSUPPORTED = "java.lang.UnsupportedOperationException"

_CLASSES: dict[str, tuple[tuple[str, ...], str]] = {
    "PARSE": ((PARSE, ANALYSIS), "42601"),
    "UNSUPPORTED": ((UNSUPPORTED, JAVA_UNSUPPORTED), "0A000"),
    "UNKNOWN_TABLE": ((ANALYSIS,), "42P01"),
    "UNKNOWN_COLUMN": ((ANALYSIS,), "42703"),
    "AMBIGUOUS_COLUMN": ((ANALYSIS,), "42702"),
    "TYPE_MISMATCH": ((ANALYSIS,), "42K09"),
    "BAD_EPSILON": ((ANALYSIS,), "22023"),
    "AUTHENTICATION": ((RUNTIME,), "28000"),
    "CANCELLED": ((RUNTIME,), "HY008"),
    "FAILED": ((RUNTIME,), "XX000"),
    "SERVICE_UNAVAILABLE": ((RUNTIME,), "08001"),
}
"""Java classes and SQL state by code; a code that is not listed is an AnalysisException."""

_DEFAULT_CLASS = ((ANALYSIS,), "42000")

INLINE_BYTES = 1_000
"""Longest message sent in the error itself. HTTP/2 headers are limited to 8 KB and a message is in
them twice, once percent-encoded; longer ones are fetched by id (`FetchErrorDetails`)."""


class HandleError(Exception):
    """A session, operation or cursor that the client names and that does not exist any more."""

    def __init__(self, kind: str, message: str) -> None:
        """Keep Spark's name of the condition: clients look for it in the text."""
        self.kind = kind
        super().__init__(f"[INVALID_HANDLE.{kind}] {message}")


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """One error as a client will see it."""

    message: str
    error_class: str
    sql_state: str
    classes: tuple[str, ...]
    grpc_code: int = INTERNAL

    def status(self, error_id: str | None = None) -> Status:
        """Return the status to abort with; with an id the full text waits to be fetched."""
        metadata = {
            "classes": json.dumps(self.classes),
            "errorClass": self.error_class,
            "sqlState": self.sql_state,
            "messageParameters": "{}",
        }
        message = self.message
        if error_id is not None:
            metadata["errorId"] = error_id
            message = message.encode()[:INLINE_BYTES].decode(errors="ignore") + " …"
        detail = Any()
        detail.Pack(ErrorInfo(reason=self.classes[0], domain="org.apache.spark", metadata=metadata))
        return Status(code=self.grpc_code, message=message, details=[detail])

    @property
    def is_long(self) -> bool:
        """Whether the message does not fit into headers."""
        return len(self.message.encode()) > INLINE_BYTES


def failed() -> Refusal:
    """Return the one constant error for whatever goes wrong after a question was accepted."""
    return Refusal(
        "FAILED",
        "The question could not be answered because of a fault in the lab; it may have been "
        "charged. Run it again: a stored answer is free. If it happens again, tell the operator.",
        "由于实验室内部故障，问题未能得到回答，可能已计费。请重试：已存储的结果不再收费。"
        "若再次发生，请联系运维人员。",
    )


def cancelled() -> Refusal:
    """Return the error that ends an interrupted operation."""
    return Refusal(
        "CANCELLED",
        "OPERATION_CANCELED: the operation was interrupted by its owner. "
        "If it had already been submitted, it stays charged.",
        "OPERATION_CANCELED：操作已被其所有者中断。若已提交则仍计费。",
    )


def unauthenticated(reason: str, reason_zh: str) -> Refusal:
    """Return the error for a caller without a usable token."""
    return Refusal(
        "AUTHENTICATION",
        f"{reason} Set SPARK_CONNECT_AUTHENTICATE_TOKEN to a token of the lab.",
        f"{reason_zh}请将 SPARK_CONNECT_AUTHENTICATE_TOKEN 设为实验室颁发的令牌。",
    )


def report_of(error: Refusal | HandleError, language: str) -> ErrorReport:
    """Return `error` as clients see it."""
    if isinstance(error, HandleError):
        name = f"INVALID_HANDLE.{error.kind}"
        return ErrorReport(str(error), name, "HY000", (RUNTIME,))
    classes, sql_state = _CLASSES.get(error.code, _DEFAULT_CLASS)
    return ErrorReport(
        f"[LAB.{error.code}] {error.text(language)}",
        f"LAB.{error.code}",
        sql_state,
        classes,
        UNAUTHENTICATED if error.code == "AUTHENTICATION" else INTERNAL,
    )
