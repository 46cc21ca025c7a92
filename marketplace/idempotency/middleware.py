"""`Idempotency-Key`: what was committed under a key is not done a second time.

The row of a key is written in the first transaction that its request commits, so neither a crash
nor a race leaves a deed without its row. The answer follows in a transaction of its own: where a
crash takes it, a repetition is told that the deed is done and its answer lost, and does nothing.
A request that committed nothing leaves no row and may be sent again.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from anyio.to_thread import run_sync
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response

from marketplace.asgi import App, Message, Receive, Scope, Send
from marketplace.db import MARK, Database
from marketplace.errors import MarketplaceError
from marketplace.http import answered
from marketplace.idempotency import store
from marketplace.idempotency.key import Answer, Key

HEADER = "idempotency-key"
REPLAYED = "idempotency-replayed"
KEPT = timedelta(hours=24)
KEPT_HEADERS = ("content-type", "location", "etag", "link")
LARGEST = 256 * 2**10
"""Bytes of an answer that is kept; a larger one is given once."""
SERVER_ERROR = 500


class Claim:
    """The row of a key, written with the first thing that its request commits."""

    def __init__(self, key: Key, fingerprint: str, clock: Callable[[], datetime]) -> None:
        """Write nothing yet."""
        self._key, self._fingerprint, self._clock = key, fingerprint, clock
        self.made = False

    def __call__(self, connection: Connection) -> None:
        """Write the row, once; refuse when another request wrote it meanwhile."""
        if self.made:
            return
        if store.find(connection, self._key.id) is not None:
            raise _outcome_unknown()
        store.use(connection, self._key.id, self._fingerprint, _text(self._clock()))
        self.made = True


class Idempotent:
    """ASGI middleware over the API's POST requests that carry a key."""

    def __init__(self, app: App, database: Database, clock: Callable[[], datetime]) -> None:
        """Keep keys in the marketplace's own database."""
        self._app, self._database, self._clock = app, database, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer again what was answered, else carry out and keep the answer."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        given = headers.get(HEADER)
        if given is None or scope["method"] != "POST" or not scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return
        target = scope["raw_path"] + b"?" + scope["query_string"]
        try:
            key = _key(headers.get("authorization", ""), given)
            body = await _whole(receive)
            fingerprint = key.fingerprint(scope["method"], target, body)
            again = await run_sync(self._again, key, fingerprint)
        except (MarketplaceError, HTTPException, OperationalError) as error:
            await answered(error)(scope, receive, send)
            return
        if again is not None:
            await again(scope, receive, send)
            return
        claim = Claim(key, fingerprint, self._clock)
        sent = await self._carried_out(scope, receive, body, claim)
        answer = _answer(sent)
        if claim.made and answer.status < SERVER_ERROR and len(answer.body) <= LARGEST:
            await run_sync(self._keep, key, answer)
        for message in sent:
            await send(message)

    async def _carried_out(
        self, scope: Scope, receive: Receive, body: bytes, claim: Claim
    ) -> list[Message]:
        given = [{"type": "http.request", "body": body, "more_body": False}]
        parts: list[Message] = []

        async def replayed() -> Message:
            return given.pop() if given else await receive()

        async def caught(message: Message) -> None:
            parts.append(message)

        before = MARK.set(claim)
        try:
            await self._app(scope, replayed, caught)
        finally:
            MARK.reset(before)
        return parts

    def _again(self, key: Key, fingerprint: str) -> Response | None:
        """Return the answer to a request that was carried out already, or None."""
        with self._database.reading() as connection:
            used = store.find(connection, key.id)
        if used is None:
            return None
        if used.fingerprint != fingerprint:
            raise MarketplaceError(
                "KEY_REUSED",
                "This Idempotency-Key was used for another request. Take a new key for a new one.",
                "该 Idempotency-Key 已用于另一请求，新请求请使用新的键。",
            )
        if used.answer is None:
            raise _outcome_unknown()
        response = _response(key.open(used.answer))
        response.headers[REPLAYED] = "true"
        return response

    def _keep(self, key: Key, answer: Answer) -> None:
        with self._database.writing() as connection:
            store.answer(connection, key.id, key.seal(answer))


def forgetter(database: Database, clock: Callable[[], datetime]) -> Callable[[], int]:
    """Return the task that deletes keys after `KEPT`."""

    def forget() -> int:
        with database.writing() as connection:
            return store.forget(connection, _text(clock() - KEPT))

    return forget


def _key(authorization: str, given: str) -> Key:
    try:
        return Key(authorization, given)
    except ValueError as error:
        raise MarketplaceError(
            "BAD_REQUEST",
            f"Idempotency-Key: {error}. A random UUID will do.",
            "Idempotency-Key 格式不符，建议使用随机 UUID。",
        ) from error


def _answer(sent: list[Message]) -> Answer:
    start, *rest = sent
    found = Headers(raw=start["headers"])
    kept = tuple((name, found[name]) for name in KEPT_HEADERS if name in found)
    return Answer(start["status"], kept, b"".join(m.get("body", b"") for m in rest))


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


def _outcome_unknown() -> MarketplaceError:
    return MarketplaceError(
        "OUTCOME_UNKNOWN",
        "A request under this Idempotency-Key was carried out or still is, and its answer is not "
        "at hand; nothing was done now. Look at the list of what it writes.",
        "该 Idempotency-Key 对应的请求已执行或正在执行，其响应无法取回；"
        "本次未执行任何操作，请查看相应列表。",
    )


async def _whole(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
