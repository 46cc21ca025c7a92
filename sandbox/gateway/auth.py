"""Who is calling: the bearer token of a request, looked up with the marketplace.

What the client says of itself (`user_context`) is never believed (attack E1). A token is looked up
again after a few seconds, so a revoked one stops working within that time (attack E6).
"""

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from sandbox.gateway.answering import Account
from sandbox.gateway.errors import unauthenticated

FRESH_SECONDS: Final = 5.0
"""How long the marketplace's answer for a token is believed."""
REFUSED_SECONDS: Final = 1.0
"""How long a refused token is refused without asking again."""
MAX_TOKENS: Final = 2_000

_BEARER: Final = re.compile(r"[Bb]earer ([!-~]{8,4096})")


class UnknownTokenError(Exception):
    """The marketplace does not know the token, or it was revoked."""


class Authority(Protocol):
    """What knows tokens; the marketplace's client, behind an adapter, is the real one."""

    def session(self, token: str) -> Account:
        """Return the holder of `token`.

        Raises UnknownTokenError if there is none, and a Refusal if nobody can tell at the moment.
        """
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller."""

    account: Account
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Entry:
    account: Account | None
    until: float


class Authenticator:
    """Turns request metadata into a caller."""

    def __init__(self, authority: Authority, clock: Callable[[], float]) -> None:
        """Ask `authority`; measure age with `clock` (seconds, monotonic)."""
        self._authority, self._clock = authority, clock
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def caller(self, metadata: Iterable[tuple[str, str | bytes]]) -> Caller:
        """Return who sent a request with this metadata; raise Refusal if nobody may tell."""
        token = bearer_token(metadata)
        key = hashlib.sha256(token.encode()).digest()
        now = self._clock()
        with self._lock:
            entry = self._entries.get(key)
        if entry is None or now >= entry.until:
            entry = self._look_up(token, now)
            with self._lock:
                self._entries[key] = entry
                self._entries.move_to_end(key)
                while len(self._entries) > MAX_TOKENS:
                    self._entries.popitem(last=False)
        if entry.account is None:
            raise unauthenticated(
                "The token is not valid, or it was revoked.", "令牌无效或已被吊销。"
            )
        return Caller(entry.account, token)

    def _look_up(self, token: str, now: float) -> _Entry:
        try:
            return _Entry(self._authority.session(token), now + FRESH_SECONDS)
        except UnknownTokenError:
            return _Entry(None, now + REFUSED_SECONDS)


def bearer_token(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """Return the one bearer token of a request."""
    values = [value for key, value in metadata if key.lower() == "authorization"]
    if not values:
        raise unauthenticated("The request carries no token.", "请求未携带令牌。")
    if len(values) > 1:
        raise unauthenticated("The request carries more than one token.", "请求携带了多个令牌。")
    match = _BEARER.fullmatch(values[0]) if isinstance(values[0], str) else None
    if match is None:
        raise unauthenticated("The token is not a bearer token.", "令牌不是 bearer 令牌。")
    return match[1]
