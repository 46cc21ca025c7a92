"""What all routes share: who is calling, strict bodies, problem documents, a limit of size."""

import logging
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, model_validator
from sqlalchemy.exc import DataError, InternalError, OperationalError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException

from marketplace.asgi import App, Message, Receive, Scope, Send
from marketplace.errors import STATUS, AccessDeniedError, MarketplaceError
from marketplace.identity.model import Person
from marketplace.identity.service import unknown_token
from marketplace.services import Services

log = logging.getLogger(__name__)

V1 = "/api/v1"

UNAUTHORISED = 401

MAX_BODY_BYTES = 96 * 2**20
"""Room for an answer of 64 MiB in base64; more is not read."""


class StrictBody(BaseModel):
    """A body whose unknown fields are refused, whose numbers are numbers and whose text is text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, given: object) -> object:
        """Refuse U+0000, which one of our databases keeps and the other does not."""
        if _holds_nul(given):
            raise ValueError("text must not hold the character U+0000")
        return given


def _holds_nul(given: object) -> bool:
    match given:
        case str():
            return "\0" in given
        case dict():
            return any(_holds_nul(part) for pair in given.items() for part in pair)
        case list():
            return any(map(_holds_nul, given))
        case _:
            return False


def services(request: Request) -> Services:
    """Return the application's services."""
    found: Services = request.app.state.services
    return found


def _token(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise MarketplaceError("AUTHENTICATION", "Send a bearer token.", "请提供 bearer 令牌。")
    return token


def gateway(
    all_services: Annotated[Services, Depends(services)],
    authorization: Annotated[str, Header()] = "",
) -> None:
    """Let only the gateway's service token pass."""
    if not all_services.directory.is_gateway(_token(authorization)):
        raise MarketplaceError("FORBIDDEN", "Only the gateway may do this.", "仅网关可执行此操作。")


def person(
    all_services: Annotated[Services, Depends(services)],
    authorization: Annotated[str, Header()] = "",
) -> Person:
    """Return the calling user."""
    return caller_of(all_services, authorization)


def caller_of(all_services: Services, authorization: str) -> Person:
    """Return the user whose bearer token an authorization header holds."""
    found = all_services.directory.person(_token(authorization))
    if found is None:
        raise unknown_token()
    return found


Here = Annotated[Services, Depends(services)]
Caller = Annotated[Person, Depends(person)]
GATEWAY_ONLY = Depends(gateway)


def problem(
    status: int, code: str, en: str, zh: str, more: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return a problem document (RFC 9457); `more` are extension members."""
    body = {
        **(more or {}),
        "type": f"urn:digital-lab:problem:{code}",
        "title": code,
        "status": status,
        "detail": en,
        "code": code,
        "detail_zh": zh,
    }
    headers = {"www-authenticate": "Bearer"} if status == UNAUTHORISED else None
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def refused(_request: Request, error: Exception) -> JSONResponse:
    """Answer a refusal of ours."""
    if not isinstance(error, MarketplaceError):
        raise TypeError("registered for marketplace errors only") from error
    more: dict[str, str] = {}
    if isinstance(error, AccessDeniedError):
        more = {
            "policy": error.denial.policy,
            "resource": error.denial.inputs.resource,
            "nearest": error.denial.en.nearest,
            "nearest_zh": error.denial.zh.nearest,
        }
    return problem(STATUS.get(error.code, 500), error.code, error.en, error.zh, more)


def malformed(_request: Request, error: Exception) -> JSONResponse:
    """Answer a body that does not fit: where and why, never what was sent."""
    if not isinstance(error, RequestValidationError):
        raise TypeError("registered for validation errors only") from error
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" ({len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
    return problem(
        422, "BAD_REQUEST", f"{where}: {first['msg']}{more}.", f"{where} 不符合接口约定。"
    )


def unrouted(_request: Request, error: Exception) -> JSONResponse:
    """Answer what the framework refuses: a path, a method, a body that is too large or no JSON."""
    if not isinstance(error, HTTPException):
        raise TypeError("registered for routing errors only") from error
    code, zh = FRAMEWORK.get(error.status_code, ("BAD_REQUEST", "请求无法解析。"))
    en = f"{error.detail}. The paths are listed at /api/openapi.json."
    response = problem(error.status_code, code, en, f"{zh}接口列表见 /api/openapi.json。")
    response.headers.update(error.headers or {})
    return response


def broken(_request: Request, error: Exception) -> JSONResponse:
    """Answer a fault of ours: that it is one, and nothing of what it said."""
    log.error("request.failed", extra={"kind": type(error).__name__})
    return problem(
        500,
        "INTERNAL",
        "The lab made a mistake here; what was asked may be done or not. Look before you repeat "
        "it, and tell the operator the time of the request.",
        "系统内部错误，请求可能已执行也可能未执行；重试前请先查看结果，并将请求时间告知运营方。",
    )


def unwritable(_request: Request, error: Exception) -> JSONResponse:
    """Answer a database that cannot be written (a full disk, a lock): nothing was released."""
    log.error("database.unavailable", extra={"kind": type(error).__name__})
    return problem(
        503,
        "SERVICE_UNAVAILABLE",
        "The ledger cannot be written now, so nothing is released. Try again in a moment.",
        "账本暂时无法写入，因此未发布任何结果，请稍后重试。",
    )


def unkeepable(_request: Request, error: Exception) -> JSONResponse:
    """Answer what no column can hold: a text of the request, or of the lab's own policies."""
    log.warning("database.refused", extra={"kind": type(error).__name__})
    en = "A name here is longer than the ledger can keep, so nothing was decided."
    return problem(422, "BAD_REQUEST", en, "某个名称超出账本可保存的长度，因此未作任何决定。")


FRAMEWORK = {
    404: ("NOT_FOUND", "没有该接口。"),
    405: ("METHOD_NOT_ALLOWED", "该接口不支持此方法。"),
    413: ("BODY_TOO_LARGE", "请求体过大。"),
}
"""Code and sentence by the framework's own status."""

HANDLERS = {
    MarketplaceError: refused,
    RequestValidationError: malformed,
    HTTPException: unrouted,
    OperationalError: unwritable,
    InternalError: unwritable,  # as PostgreSQL's driver names the end of a session that was silent
    DataError: unkeepable,
    Exception: broken,
}


def answered(error: Exception) -> JSONResponse:
    """Return the answer to an error outside of any route."""
    handler = next(h for kind, h in HANDLERS.items() if isinstance(error, kind))
    return handler(Request({"type": "http"}), error)


async def known_query(request: Request) -> None:
    """Refuse parameters that the route does not know, and those given twice that it takes once."""
    path = V1 + request.scope["route"].path
    known = _query_of(request.app.openapi(), path, request.method)
    for name in request.query_params:
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise MarketplaceError(
                "BAD_REQUEST",
                f"The query has a parameter that this path does not know. It knows: {listed}.",
                f"查询参数不在接口约定内，可用参数：{listed}。",
            )
        if len(request.query_params.getlist(name)) > 1 and not known[name]:
            raise MarketplaceError(
                "BAD_REQUEST",
                f"The parameter {name} is given more than once.",
                f"参数 {name} 重复出现。",
            )


def _query_of(document: dict[str, Any], path: str, method: str) -> dict[str, bool]:
    """Return the query parameters of an operation, and whether each takes several values."""
    described = document["paths"].get(path, {}).get(method.lower(), {})
    return {
        p["name"]: p["schema"].get("type") == "array"
        for p in described.get("parameters", ())
        if p["in"] == "query"
    }


class NoSniff:
    """ASGI middleware: every answer is of the kind that it says, and browsers guess no other."""

    def __init__(self, app: App) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the header to what is sent."""

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message["headers"]))
                headers["x-content-type-options"] = "nosniff"
                message = {**message, "headers": headers.raw}
            await send(message)

        await self._app(scope, receive, named)


class LimitedBody:
    """ASGI middleware: stop reading a request at `MAX_BODY_BYTES`, whatever its header says.

    An address with U+0000 is nobody's; it gets no further, since databases differ in keeping it.
    """

    def __init__(self, app: App, most: int = MAX_BODY_BYTES) -> None:
        """Pass at most `most` bytes of a request on to `app`."""
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what arrives."""
        if "\0" in scope.get("path", "") or b"%00" in scope.get("query_string", b""):
            nowhere = problem(404, "NOT_FOUND", "There is no such address.", "没有该地址。")
            await nowhere(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                # FastAPI reports a body that could not be read; nothing more is kept of it.
                raise HTTPException(413, f"A request has at most {self._most} bytes")
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)
