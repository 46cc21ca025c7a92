"""The OpenAPI 3.1 document: what all operations share is written into it in one place."""

from typing import Any

from fastapi import FastAPI

from marketplace.errors import STATUS
from marketplace.idempotency.key import PATTERN

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem details; `code` is stable, `detail` says what to do next.",
    "required": ["type", "title", "status", "detail", "code", "detail_zh"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "detail_zh": {"type": "string"},
        "code": {"type": "string", "enum": sorted(STATUS)},
        "policy": {"type": "string", "description": "of a denial: the policy that decided"},
        "resource": {"type": "string"},
        "nearest": {"type": "string", "description": "the nearest thing that is allowed"},
        "nearest_zh": {"type": "string"},
    },
}
REFUSED = {
    "description": "Refused or failed: nothing was done, unless the code says otherwise",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
NOT_MODIFIED = {"description": "The caller has it already (If-None-Match)"}
BEARER = {"type": "http", "scheme": "bearer", "description": "A user's or the gateway's token"}
ETAG = {
    "description": "State and digest of what is returned",
    "schema": {"type": "string"},
}
LINK = {
    "description": "Neighbouring pages: first, prev, next (RFC 8288)",
    "schema": {"type": "string"},
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Sent again under the same key within 24 hours, a request is answered as it "
    "was and not carried out again.",
    "schema": {"type": "string", "pattern": PATTERN},
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the document of an application, made once."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        parts = document.setdefault("components", {})
        parts.setdefault("schemas", {})["Problem"] = PROBLEM
        for unused in ("HTTPValidationError", "ValidationError"):
            parts["schemas"].pop(unused, None)
        parts["responses"] = {"Problem": REFUSED}
        parts["securitySchemes"] = {"bearer": BEARER}
        for operations in document["paths"].values():
            for method, operation in operations.items():
                _complete(method, operation)
    return app.openapi_schema or {}


def _complete(method: str, operation: dict[str, Any]) -> None:
    """Add to one operation what middleware and error handlers give all of them."""
    parameters = operation.setdefault("parameters", [])
    signed_in = [p for p in parameters if p["name"] != "authorization"]
    if len(signed_in) < len(parameters):
        operation["security"] = [{"bearer": []}]
    operation["parameters"] = signed_in
    responses = operation["responses"]
    for status in ("4XX", "5XX"):
        responses[status] = {"$ref": "#/components/responses/Problem"}
    responses.pop("422", None)
    if method == "post":
        signed_in.append(IDEMPOTENCY_KEY)
    if method == "get" and "application/json" in responses["200"].get("content", {}):
        signed_in.append(IF_NONE_MATCH)
        responses["304"] = NOT_MODIFIED
        headers = responses["200"].setdefault("headers", {})
        headers["ETag"] = ETAG
        if any(p["name"] == "page" for p in signed_in):
            headers["Link"] = LINK
    if not signed_in:
        del operation["parameters"]
