"""Sessions: settings, views and operations of one user, under an id that the client chose.

A session belongs to the authenticated user of one organisation: the same id from another user, or
from somebody of the same name elsewhere, is another session (attack E7). The server's own id for it
is random, so a client whose session is gone (restart, eviction) is told so instead of going on with
settings that are lost.
"""

import re
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from privacy.errors import Refusal
from sandbox.gateway.answering import Account, Asker, Settings
from sandbox.gateway.auth import Caller
from sandbox.gateway.config import Configuration
from sandbox.gateway.decode import Question
from sandbox.gateway.errors import ErrorReport, HandleError
from sandbox.gateway.operations import Operations
from sandbox.gateway.wire import too_large

MAX_SESSIONS: Final = 1_000
MAX_SESSIONS_PER_USER: Final = 64
MAX_CLOSED: Final = 10_000
MAX_VIEWS: Final = 200
MAX_VIEW_BYTES: Final = 64 << 20
"""Bytes of the client's own rows behind the views of one session."""
MAX_REPORTS: Final = 50
"""Errors of one session whose full text waits to be fetched."""

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

Owner = tuple[str, str]
"""Organisation and user: two organisations may each have a user of one name."""
Key = tuple[Owner, str]
"""Owner and session id."""


class Session:
    """One user's session."""

    def __init__(self, session_id: str, account: Account, clock: Callable[[], float]) -> None:
        """Begin with nothing set."""
        self.session_id = session_id
        self.server_id = str(uuid.uuid4())
        self.operations = Operations(clock)
        self.lock = threading.Lock()
        """Held while settings are read together or changed."""
        self.configuration = Configuration(account.language)
        self._views: dict[str, Question] = {}
        self._reports: OrderedDict[str, ErrorReport] = OrderedDict()

    @property
    def settings(self) -> Settings:
        """Return the settings as they are now."""
        return self.configuration.settings

    def asker(self, caller: Caller, question: Question | None = None) -> Asker:
        """Return who asks `question`, with the session as it is now."""
        return Asker(
            user=caller.account.user,
            tenant=caller.account.tenant,
            token=caller.token,
            account=caller.account,
            settings=self.settings,
            views={name: view.query for name, view in self.views().items()},
            frames={} if question is None else question.frames,
        )

    def views(self) -> dict[str, Question]:
        """Return the views as they are now, by lower-case name."""
        with self.lock:
            return dict(self._views)

    def add_view(self, name: str, question: Question, *, replace: bool) -> None:
        """Keep a view; refuse a name that is taken unless it may be replaced."""
        key = name.lower()
        with self.lock:
            if key in self._views and not replace:
                raise Refusal(
                    "UNSUPPORTED",
                    f"The view `{name}` exists already. Use createOrReplaceTempView.",
                    f"视图 `{name}` 已存在。请使用 createOrReplaceTempView。",
                )
            views = self._views | {key: question}
            frames = {d: t for view in views.values() for d, t in view.frames.items()}
            if len(views) > MAX_VIEWS or sum(t.nbytes for t in frames.values()) > MAX_VIEW_BYTES:
                raise too_large(
                    f"{MAX_VIEWS} views with {MAX_VIEW_BYTES >> 20} MiB of your own rows",
                    f"至多 {MAX_VIEWS} 个视图、{MAX_VIEW_BYTES >> 20} MiB 自有数据",
                )
            self._views = views

    def drop_view(self, name: str) -> bool:
        """Forget a view; return whether there was one."""
        with self.lock:
            return self._views.pop(name.lower(), None) is not None

    def keep_report(self, report: ErrorReport) -> str:
        """Keep an error whose text is too long to send; return the id to fetch it by."""
        error_id = str(uuid.uuid4())
        with self.lock:
            self._reports[error_id] = report
            while len(self._reports) > MAX_REPORTS:
                self._reports.popitem(last=False)
        return error_id

    def report(self, error_id: str) -> ErrorReport | None:
        """Return an error that was kept."""
        with self.lock:
            return self._reports.get(error_id)


class Sessions:
    """All sessions of a gateway."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure age with `clock`."""
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: OrderedDict[Key, Session] = OrderedDict()
        self._closed: OrderedDict[Key, None] = OrderedDict()

    def get(self, caller: Caller, session_id: str, observed: str | None) -> Session:
        """Return the caller's session, a new one if there is none yet.

        `observed` is the server's id that the client has seen; a client that has seen another
        session is told that it is gone.
        """
        key = (_owner(caller), checked_id(session_id, "FORMAT"))
        with self._lock:
            if key in self._closed:
                raise HandleError("SESSION_CLOSED", "The session was closed. Create a new one.")
            session = self._sessions.get(key)
            if observed and (session is None or session.server_id != observed):
                raise HandleError(
                    "SESSION_CHANGED",
                    "The lab no longer has this session, so its settings and views are lost. "
                    "Create a new one: SparkSession.builder.create().",
                )
            if session is None:
                session = Session(session_id, caller.account, self._clock)
                self._sessions[key] = session
                self._make_room(_owner(caller))
            self._sessions.move_to_end(key)
            return session

    def close(self, caller: Caller, session_id: str) -> Session | None:
        """End the caller's session and everything that runs in it; return it if there was one."""
        key = (_owner(caller), checked_id(session_id, "FORMAT"))
        with self._lock:
            session = self._sessions.pop(key, None)
            self._closed[key] = None
            while len(self._closed) > MAX_CLOSED:
                self._closed.popitem(last=False)
        if session is not None:
            session.operations.interrupt(lambda _: True)
        return session

    def reopen(self, caller: Caller, session_id: str) -> None:
        """Let a closed id be used again, as a client may ask when it closes."""
        with self._lock:
            self._closed.pop((_owner(caller), session_id), None)

    def _make_room(self, owner: Owner) -> None:
        """Drop the sessions that were idle longest, the user's own first, never a busy one."""
        own = [key for key in self._sessions if key[0] == owner]
        for candidates, limit in (
            (own, MAX_SESSIONS_PER_USER),
            (list(self._sessions), MAX_SESSIONS),
        ):
            excess = len(candidates) - limit
            for key in candidates[:-1]:
                if excess <= 0:
                    break
                if key in self._sessions and not self._sessions[key].operations.busy:
                    del self._sessions[key]
                    excess -= 1
            if excess > 0:
                del self._sessions[next(reversed(self._sessions))]
                raise Refusal(
                    "SERVICE_UNAVAILABLE",
                    f"Too many sessions are busy ({limit} at most). Stop one and try again.",
                    f"繁忙会话过多（至多 {limit} 个）。请先停止一个再试。",
                )


def _owner(caller: Caller) -> Owner:
    return caller.account.tenant, caller.account.user


def checked_id(text: str, kind: str) -> str:
    """Return an id that is a UUID in its canonical form; refuse any other."""
    if _UUID.fullmatch(text) is None:
        raise HandleError(kind, "An id of a session or operation is a UUID in lower case.")
    return text
