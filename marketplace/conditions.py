"""Conditional requests (RFC 9110 section 13): ETag and If-None-Match of reads, If-Match of edits.

An entity tag has two parts. The first names the state that edits are compared with, where a route
gives one; the second is a digest of the bytes. If-None-Match looks at the whole tag and If-Match
at the first part only, which the edit's own transaction checks: nothing comes between.
"""

import hashlib
from typing import Annotated

from fastapi import Header
from starlette.datastructures import Headers, MutableHeaders

from marketplace.asgi import App, Message, Receive, Scope, Send

LARGEST = 2**20
"""Bytes of a response that are held back to be hashed; what is larger has no tag."""
OK, NOT_MODIFIED = 200, 304
BODY_DIGITS = 32

IfMatch = Annotated[
    str,
    Header(
        max_length=1_000,
        description="Edit only if this is still the ETag of what is edited, else 412.",
    ),
]


class Tagged:
    """ASGI middleware: tags the API's JSON reads, and answers 304 to who has them already."""

    def __init__(self, app: App) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tag a read."""
        is_read = scope["type"] == "http" and scope["method"] == "GET"
        if not is_read or not scope["path"].startswith("/api/v1/"):
            await self._app(scope, receive, send)
            return
        response = _Held(Headers(scope=scope).get("if-none-match", ""), send)
        await self._app(scope, receive, response.take)


class _Held:
    """A response, kept back until it is whole, too large, or nothing that is tagged."""

    def __init__(self, known: str, send: Send) -> None:
        self._known = [tag.strip().removeprefix("W/") for tag in known.split(",")]
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def take(self, message: Message) -> None:
        """Hold, or pass on."""
        if message["type"] == "http.response.start":
            headers = Headers(raw=message["headers"])
            is_json = "json" in headers.get("content-type", "")
            if message["status"] == OK and is_json:
                self._start = message
            else:
                await self._send(message)
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            more = message.get("more_body", False)
            if not more or len(self._body) > LARGEST:
                await self._let_go(more=more)

    async def _let_go(self, *, more: bool) -> None:
        start, self._start = self._start, None
        if start is None:  # only called with one
            return
        headers = MutableHeaders(raw=list(start["headers"]))
        if not more:
            digest = hashlib.sha256(self._body).hexdigest()[:BODY_DIGITS]
            state = headers.get("etag", "").strip('"')
            headers["etag"] = f'"{state}.{digest}"'
            headers.setdefault("cache-control", "private, no-cache")
            if headers["etag"] in self._known or self._known == ["*"]:
                del headers["content-length"]
                del headers["content-type"]
                await self._send({**start, "status": NOT_MODIFIED, "headers": headers.raw})
                await self._send({"type": "http.response.body", "body": b""})
                return
        await self._send({**start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": self._body, "more_body": more})
