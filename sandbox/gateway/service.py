"""The Spark Connect service: what each call does, as bytes in and bytes out.

Every request is authenticated, read strictly, bound to the caller's own session, and answered; any
error becomes an ordinary Spark exception in the user's language.
"""

import hashlib
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from google.protobuf.message import Message
from grpc_status import rpc_status
from pyspark.sql.connect.proto import base_pb2

from privacy.errors import Refusal
from sandbox.gateway.analyze import Analyzer
from sandbox.gateway.answering import Answering
from sandbox.gateway.auth import Authenticator, Authority, Caller
from sandbox.gateway.config import Configuration, is_modifiable
from sandbox.gateway.decode import SqlParser
from sandbox.gateway.errors import ErrorReport, HandleError, failed, report_of
from sandbox.gateway.fields import Fields, refuse_field
from sandbox.gateway.operations import STREAM_SECONDS, Grid, Operation, Timing, log_fault
from sandbox.gateway.plans import PlanRunner
from sandbox.gateway.session import Session, Sessions, checked_id
from sandbox.gateway.wire import parse

log = logging.getLogger(__name__)

Proto = Any
"""A message of the client's protocol: its generated classes have no usable annotations."""
Context = Any
"""gRPC's view of one call."""

MAX_PENDING: Final = 256
"""Executions of all users that run or wait for a thread."""
MAX_OF_ONE: Final = 64
"""Of one user, in all sessions together: half of the threads stay for the others."""
LINGER_SECONDS: Final = 3.0
MAX_TAGS: Final = 64
MAX_KEYS: Final = 500
"""Settings named in one request."""

_ALL, _BY_TAG, _BY_ID = 1, 2, 3
"""Kinds of interrupt."""


@dataclass(slots=True)
class Scope:
    """What is known of one call so far."""

    caller: Caller | None = None
    session: Session | None = None
    session_id: str = ""

    @property
    def language(self) -> str:
        """Return the language for errors."""
        if self.session is not None:
            return self.session.settings.language
        return "en" if self.caller is None else self.caller.account.language


class Service:
    """All calls of `spark.connect.SparkConnectService`."""

    def __init__(
        self,
        answering: Answering,
        authority: Authority,
        sql: SqlParser,
        *,
        clock: Callable[[], float] = time.monotonic,
        grid: Grid | None = None,
        workers: int = 2 * MAX_OF_ONE,
        stream_seconds: float = STREAM_SECONDS,
    ) -> None:
        """Answer with `answering`, authenticate with `authority`, read SQL with `sql`.

        Tests pass a grid that is switched off, and short streams.
        """
        self._timing = Timing(clock, grid or Grid(), stream_seconds)
        self._authenticator = Authenticator(authority, clock)
        self._sessions = Sessions(clock)
        self._analyzer = Analyzer(answering, sql)
        self._plans = PlanRunner(answering, sql)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="operation")
        self._counting = threading.Lock()
        self._pending: Counter[str] = Counter()
        """Executions that run or wait for a thread, by user."""

    def close(self) -> None:
        """Stop taking executions; running ones end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def unary(self, name: str) -> Callable[[bytes, Context], bytes]:
        """Return the handler of a call with one answer."""
        request_type, body = self._unary_calls()[name]

        def handle(data: bytes, context: Context) -> bytes:
            scope = Scope()
            try:
                request = self._admit(scope, request_type, data, context)
                return bytes(body(scope, request).SerializeToString())
            except Exception as error:  # noqa: BLE001  # all become Spark errors
                fault = error
            _abort(context, scope, fault, name)

        return handle

    def streaming(self, name: str) -> Callable[[bytes, Context], Iterator[bytes]]:
        """Return the handler of a call that streams its answer."""
        request_type, body = {
            "ExecutePlan": (base_pb2.ExecutePlanRequest, self._execute_plan),
            "ReattachExecute": (base_pb2.ReattachExecuteRequest, self._reattach),
        }[name]

        def handle(data: bytes, context: Context) -> Iterator[bytes]:
            scope = Scope()
            try:
                request = self._admit(scope, request_type, data, context)
                yield from body(scope, request, context)
            except Exception as error:  # noqa: BLE001  # all become Spark errors
                fault = error
            else:
                return
            _abort(context, scope, fault, name)

        return handle

    def add_artifacts(self, _: Iterator[bytes], context: Context) -> NoReturn:
        """Refuse uploads: code never runs here, and data comes with createDataFrame."""
        scope = Scope()
        fault: Exception = Refusal(
            "UNSUPPORTED",
            "Files and code cannot be added. Send up to 8 MiB of rows with createDataFrame, and "
            "use built-in functions.",
            "不能上传文件或代码。请用 createDataFrame 发送至多 8 MiB 数据，并使用内置函数。",
        )
        try:
            scope.caller = self._authenticator.caller(context.invocation_metadata())
        except Exception as error:  # noqa: BLE001  # all become Spark errors
            fault = error
        _abort(context, scope, fault, "AddArtifacts")

    def _unary_calls(self) -> dict[str, tuple[Any, Callable[[Scope, Proto], Proto]]]:
        return {
            "AnalyzePlan": (base_pb2.AnalyzePlanRequest, self._analyze),
            "Config": (base_pb2.ConfigRequest, self._config),
            "Interrupt": (base_pb2.InterruptRequest, self._interrupt),
            "ReleaseExecute": (base_pb2.ReleaseExecuteRequest, self._release_execute),
            "ReleaseSession": (base_pb2.ReleaseSessionRequest, self._release_session),
            "ArtifactStatus": (base_pb2.ArtifactStatusesRequest, self._artifact_status),
            "FetchErrorDetails": (base_pb2.FetchErrorDetailsRequest, self._error_details),
            "CloneSession": (base_pb2.CloneSessionRequest, _unsupported("CloneSession")),
            "GetStatus": (base_pb2.GetStatusRequest, _unsupported("GetStatus")),
        }

    def _admit(
        self, scope: Scope, request_type: type[Message], data: bytes, context: Context
    ) -> Fields:
        """Authenticate, read the request and find its session; what is left is the call's own."""
        caller = self._authenticator.caller(context.invocation_metadata())
        scope.caller = caller
        request = parse(request_type, data)
        fields = Fields(request, request_type.DESCRIPTOR.name)
        session_id = str(fields.take("session_id", ""))
        observed = fields.take("client_observed_server_side_session_id")
        fields.take("client_type")
        user = fields.take("user_context")
        if user is not None:
            claims = Fields(user, "user_context")
            # Who the client says it is does not matter: the token tells.
            claims.take("user_id")
            claims.take("user_name")
            claims.finish()
        if request_type is base_pb2.ReleaseSessionRequest:
            scope.session = self._sessions.close(caller, session_id)
        else:
            scope.session = self._sessions.get(caller, session_id, observed)
        scope.session_id = session_id
        return fields

    def _execute_plan(self, scope: Scope, request: Fields, context: Context) -> Iterator[bytes]:
        caller, session = _known(scope)
        operation_id = checked_id(request.take("operation_id") or str(uuid.uuid4()), "FORMAT")
        plan = request.need("plan")
        tags = frozenset(request.take("tags", ()))
        for option in request.take("request_options", ()):
            # Answers are always kept for another attempt, and sent in small batches.
            each = Fields(option, "request option")
            each.take("reattach_options")
            each.take("result_chunking_options")
            each.finish()
        request.finish()
        if len(tags) > MAX_TAGS:
            refuse_field("ExecutePlan", "tags")
        digest = hashlib.sha256(plan.SerializeToString(deterministic=True)).digest()

        def stamp(response: Proto) -> None:
            response.session_id = session.session_id
            response.server_side_session_id = session.server_id
            response.operation_id = operation_id

        created = Operation(operation_id, digest, tags, stamp, self._timing)
        operation, is_new = session.operations.begin(created)
        if is_new:
            self._submit(
                caller.account.user,
                operation,
                lambda running: self._plans.execute(caller, session, plan, running),
            )
        yield from operation.stream(None, context.is_active)
        if plan.command.HasField("ml_command"):
            _linger(context)

    def _submit(self, user: str, operation: Operation, body: Callable[[Operation], Any]) -> None:
        with self._counting:
            if self._pending[user] >= MAX_OF_ONE:
                operation.interrupt()
                raise Refusal(
                    "SERVICE_UNAVAILABLE",
                    f"{MAX_OF_ONE} of your questions are running or waiting. Wait for one, or call "
                    "spark.interruptAll().",
                    f"您已有 {MAX_OF_ONE} 个问题在运行或等待。请等待，或调用 "
                    "spark.interruptAll()。",
                )
            if self._pending.total() >= MAX_PENDING:
                operation.interrupt()
                raise Refusal(
                    "SERVICE_UNAVAILABLE",
                    "The lab is busy with other questions. Try again in a minute.",
                    "实验室正忙于其他问题，请稍后再试。",
                )
            self._pending[user] += 1
        future = self._pool.submit(operation.run, body)
        future.add_done_callback(lambda _: self._done(user))

    def _done(self, user: str) -> None:
        with self._counting:
            self._pending -= Counter((user,))

    def _reattach(self, scope: Scope, request: Fields, context: Context) -> Iterator[bytes]:
        _, session = _known(scope)
        operation_id = checked_id(request.take("operation_id", ""), "FORMAT")
        after = request.take("last_response_id")
        request.finish()
        yield from session.operations.get(operation_id).stream(after or None, context.is_active)

    def _release_execute(self, scope: Scope, request: Fields) -> Proto:
        _, session = _known(scope)
        operation_id = checked_id(request.take("operation_id", ""), "FORMAT")
        until = request.take("release_until")
        everything = request.take("release_all")
        request.finish()
        response = base_pb2.ReleaseExecuteResponse(
            session_id=session.session_id, server_side_session_id=session.server_id
        )
        if everything is not None or until is not None:
            response_id = None if until is None else until.response_id
            if session.operations.release(operation_id, response_id):
                response.operation_id = operation_id
        return response

    def _interrupt(self, scope: Scope, request: Fields) -> Proto:
        _, session = _known(scope)
        kind = request.take("interrupt_type", 0)
        tag, operation_id = request.take("operation_tag"), request.take("operation_id")
        request.finish()
        chosen: dict[int, Callable[[Operation], bool]] = {
            _ALL: lambda _: True,
            _BY_TAG: lambda each: tag in each.tags,
            _BY_ID: lambda each: each.operation_id == operation_id,
        }
        if kind not in chosen:
            refuse_field("Interrupt", "interrupt_type")
        return base_pb2.InterruptResponse(
            session_id=session.session_id,
            server_side_session_id=session.server_id,
            interrupted_ids=session.operations.interrupt(chosen[kind]),
        )

    def _analyze(self, scope: Scope, request: Fields) -> Proto:
        caller, session = _known(scope)
        response = self._analyzer.analyze(caller, session, request)
        response.session_id = session.session_id
        response.server_side_session_id = session.server_id
        return response

    def _config(self, scope: Scope, request: Fields) -> Proto:
        _, session = _known(scope)
        operation = request.need("operation")
        request.finish()
        response = base_pb2.ConfigResponse(
            session_id=session.session_id, server_side_session_id=session.server_id
        )
        with session.lock:
            _configure(session.configuration, operation, response)
        return response

    def _release_session(self, scope: Scope, request: Fields) -> Proto:
        # The session is closed already; a client that wants the same id again may have it.
        if request.take("allow_reconnect", default=False) and scope.caller is not None:
            self._sessions.reopen(scope.caller, scope.session_id)
        request.finish()
        response = base_pb2.ReleaseSessionResponse(session_id=scope.session_id)
        if scope.session is not None:
            response.server_side_session_id = scope.session.server_id
        return response

    def _artifact_status(self, scope: Scope, request: Fields) -> Proto:
        _, session = _known(scope)
        names = request.take("names", ())
        request.finish()
        response = base_pb2.ArtifactStatusesResponse(
            session_id=session.session_id, server_side_session_id=session.server_id
        )
        for name in list(names)[:MAX_KEYS]:
            response.statuses[name].exists = False
        return response

    def _error_details(self, scope: Scope, request: Fields) -> Proto:
        _, session = _known(scope)
        report = session.report(str(request.take("error_id", "")))
        request.finish()
        response = base_pb2.FetchErrorDetailsResponse(
            session_id=session.session_id, server_side_session_id=session.server_id
        )
        if report is not None:
            response.root_error_idx = 0
            response.errors.append(_details(report))
        return response


def _linger(context: Context) -> None:
    """Keep the stream of a client that is about to exit open until the client is gone.

    A client sends its last call from an exit handler and does not read the end of the stream. If
    the end arrives while its interpreter shuts down, a thread of gRPC can be stopped holding a lock
    that the shutdown then waits for, and the process never ends (3 of 100 under load, measured).
    """
    gone = threading.Event()
    if context.add_callback(gone.set):
        gone.wait(LINGER_SECONDS)


def _known(scope: Scope) -> tuple[Caller, Session]:
    if scope.caller is None or scope.session is None:
        raise AssertionError("a call was admitted without a caller and a session")
    return scope.caller, scope.session


def _configure(configuration: Configuration, operation: Proto, response: Proto) -> None:
    """Carry out one operation on the settings and write its result."""
    kind = operation.WhichOneof("op_type")
    fields = Fields(getattr(operation, kind), f"config.{kind}") if kind else None
    if fields is None:
        refuse_field("config", "operation")

    def add(key: str, value: str | None) -> None:
        response.pairs.append(base_pb2.KeyValue(key=key, value=value))

    pairs = [
        (pair.key, pair.value if pair.HasField("value") else None)
        for pair in fields.take("pairs", ())
    ]
    keys = list(fields.take("keys", ()))
    if len(pairs) + len(keys) > MAX_KEYS:
        refuse_field("config", "so many keys")
    match kind:
        case "set":
            silent = bool(fields.take("silent", default=False))
            response.warnings.extend(configuration.set(pairs, silent=silent))
        case "get":
            for key in keys:
                add(key, configuration.require(key))
        case "get_with_default":
            for key, default in pairs:
                value = configuration.get(key)
                add(key, default if value is None else value)
        case "get_option":
            for key in keys:
                add(key, configuration.get(key))
        case "get_all":
            prefix = fields.take("prefix", "")
            for key, value in configuration.all(prefix):
                # Spark answers without the prefix that was asked for.
                add(key[len(prefix) :], value)
        case "unset":
            configuration.unset(keys)
        case "is_modifiable":
            for key in keys:
                add(key, "true" if is_modifiable(key) else "false")
        case _:
            refuse_field("config", kind)
    fields.finish()


def _abort(context: Context, scope: Scope, fault: Exception, where: str) -> NoReturn:
    """End the call with the error; what was not foreseen becomes the constant one."""
    if isinstance(fault, Refusal | HandleError):
        report = report_of(fault, scope.language)
    else:
        log_fault(where, fault)
        report = report_of(failed(), scope.language)
    error_id = None
    if report.is_long and scope.session is not None:
        error_id = scope.session.keep_report(report)
    context.abort_with_status(rpc_status.to_status(report.status(error_id)))
    raise AssertionError("gRPC went on after an abort")


def _details(report: ErrorReport) -> Proto:
    throwable = base_pb2.FetchErrorDetailsResponse.SparkThrowable(
        error_class=report.error_class, sql_state=report.sql_state
    )
    return base_pb2.FetchErrorDetailsResponse.Error(
        error_type_hierarchy=report.classes, message=report.message, spark_throwable=throwable
    )


def _unsupported(name: str) -> Callable[[Scope, Proto], Proto]:
    def refuse(_: Scope, __: Proto) -> NoReturn:
        raise Refusal(
            "UNSUPPORTED",
            f"{name} is not supported here. Create a new session instead.",
            f"此处不支持 {name}。请新建会话。",
        )

    return refuse
