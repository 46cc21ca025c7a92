"""What all routes share: who is calling, strict bodies, problem documents, a limit of size."""

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, model_validator
from sqlalchemy.exc import DataError, InternalError, OperationalError
from starlette.exceptions import HTTPException

from marketplace.errors import STATUS, AccessDeniedError, MarketplaceError
from marketplace.identity.model import Person
from marketplace.identity.service import unknown_token
from marketplace.services import Services

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 96 * 2**20
"""Room for an answer of 64 MiB in base64; more is not read."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


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
    return JSONResponse(body, status_code=status, media_type="application/problem+json")


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
    """Answer a path or method that does not exist."""
    if not isinstance(error, HTTPException):
        raise TypeError("registered for routing errors only") from error
    en = f"{error.detail}. The paths are listed at /api/openapi.json."
    return problem(error.status_code, "NOT_FOUND", en, "没有该接口，参见 /api/openapi.json。")


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


HANDLERS = {
    MarketplaceError: refused,
    RequestValidationError: malformed,
    HTTPException: unrouted,
    OperationalError: unwritable,
    InternalError: unwritable,  # as PostgreSQL's driver names the end of a session that was silent
    DataError: unkeepable,
}


class LimitedBody:
    """ASGI middleware: stop reading a request at `MAX_BODY_BYTES`, whatever its header says.

    An address with U+0000 is nobody's; it gets no further, since databases differ in keeping it.
    """

    def __init__(self, app: App, most: int = MAX_BODY_BYTES) -> None:
        """Pass at most `most` bytes of a request on to `app`."""
        self._app, self._most = app, most

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
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
