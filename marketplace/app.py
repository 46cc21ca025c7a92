"""Builds the application: the only place that knows every class."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from marketplace import api, db
from marketplace.budgets.model import BudgetPolicy, load_policy
from marketplace.budgets.replay import replay
from marketplace.errors import STATUS, MarketplaceError
from marketplace.identity.model import Directory
from marketplace.releases.crash import Reached, nowhere
from marketplace.releases.service import Releases
from marketplace.services import Services

log = logging.getLogger(__name__)

POLICY = Path(__file__).resolve().parent.parent / "policies" / "budgets.yaml"


class LedgerBehindLogError(Exception):
    """Ledger, releases and log disagree: serving would give budget back or hide a release."""


class PolicyFile:
    """The budget policy, read again when its file changes."""

    def __init__(self, path: Path) -> None:
        """Read the file once now, so that a broken one is noticed at start."""
        self._path = path
        self._seen = 0
        self._policy = load_policy(path)

    def __call__(self) -> BudgetPolicy:
        """Return the policy in force."""
        changed = self._path.stat().st_mtime_ns
        if changed != self._seen:
            self._policy, self._seen = load_policy(self._path), changed
        return self._policy


def build(
    home: Path,
    database_url: str | None = None,
    reached: Reached = nowhere,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> FastAPI:
    """Return the application over one home; refuse to start when the recount finds a difference."""
    engine = db.open_database(database_url or f"sqlite:///{home / 'marketplace.db'}")
    found = replay(engine)
    if found.findings:
        raise LedgerBehindLogError(
            f"{len(found.findings)} differences between log, releases and ledger; the first: "
            f"{found.findings[0]}. Restore the newest backup, or ask the audit administrator."
        )
    own = home / "budgets.yaml"
    policy = PolicyFile(own if own.exists() else POLICY)
    app = FastAPI(title="Digital Lab marketplace", version="1", openapi_url="/api/openapi.json")
    app.state.services = Services(
        engine,
        Directory(home / "identity.json"),
        policy,
        Releases(engine, policy, clock, reached),
    )
    app.include_router(api.router)
    app.add_api_route("/healthz", _healthz, include_in_schema=False)
    app.add_exception_handler(MarketplaceError, _problem)
    return app


def _healthz() -> dict[str, str]:
    return {"state": "ready"}


def _problem(_request: Request, error: Exception) -> JSONResponse:
    """Answer with a problem document (RFC 9457)."""
    if not isinstance(error, MarketplaceError):
        raise AssertionError("registered for marketplace errors only") from error
    status = STATUS.get(error.code, 500)
    body = {
        "type": f"urn:digital-lab:problem:{error.code}",
        "title": error.code,
        "status": status,
        "detail": error.en,
        "code": error.code,
        "detail_zh": error.zh,
    }
    return JSONResponse(
        json.loads(json.dumps(body)), status_code=status, media_type="application/problem+json"
    )
