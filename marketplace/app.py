"""Builds the application: the only place that knows every class."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastapi import APIRouter, FastAPI

from marketplace import db
from marketplace.audit import api as audit_api
from marketplace.audit import files as audit_files
from marketplace.audit.note import open_keys
from marketplace.audit.openings import Openings
from marketplace.audit.published import Log
from marketplace.audit.readings import Readings
from marketplace.audit.store import use_vault
from marketplace.audit.vault import Vault
from marketplace.audit.witnessing import Witnessing, witnesses_from
from marketplace.budgets import api as budgets_api
from marketplace.budgets.policy import PolicyFile, pin
from marketplace.budgets.replay import replay
from marketplace.http import HANDLERS, LimitedBody
from marketplace.identity import api as identity_api
from marketplace.identity.service import Sessions
from marketplace.identity.store import FILE, Directory
from marketplace.portal.pages import portal
from marketplace.releases import api as releases_api
from marketplace.releases.crash import Reached, nowhere
from marketplace.releases.service import Releases
from marketplace.services import Services
from marketplace.settings import Settings


class LedgerBehindLogError(Exception):
    """Ledger, releases and log disagree: serving would give budget back or hide a release."""


def now() -> datetime:
    """Return the time that entries carry."""
    return datetime.now(UTC)


def assemble(
    settings: Settings, reached: Reached = nowhere, clock: Callable[[], datetime] = now
) -> Services:
    """Return the parts over one home; refuse when the recount finds a difference."""
    database = db.open_database(settings.database_url)
    found = replay(database)
    if found.findings:
        raise LedgerBehindLogError(
            f"{len(found.findings)} differences between log, releases and ledger; the first: "
            f"{found.findings[0]}. Restore the newest backup, or ask the audit administrator; "
            "`python -m marketplace replay` lists them all."
        )
    policy = PolicyFile(settings.policy)
    pin(database, policy())
    directory = Directory(settings.home / FILE)
    vault = Vault(settings.audit_keys)
    use_vault(database, vault)
    log = Log(database, settings.log, open_keys(settings.audit_keys), clock)
    log.publish_subjects(vault.subjects_pem)
    database.publisher = log
    return Services(
        database,
        directory,
        policy,
        Sessions(database, directory, policy, clock),
        Releases(database, policy, directory.is_member, clock, log, reached),
        log,
        Readings(database, clock),
        Openings(database, log, vault, clock),
        Witnessing(log, witnesses_from(settings.witnesses)),
    )


def build(services: Services, clock: Callable[[], datetime] = now) -> FastAPI:
    """Return the HTTP application over its parts."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        services.witnessing.start()
        yield
        services.witnessing.close()
        services.database.close()

    app = FastAPI(
        title="Digital Lab marketplace",
        version="1",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.services = services
    v1 = APIRouter(prefix="/api/v1")
    for part in (identity_api, budgets_api, releases_api, audit_api):
        v1.include_router(part.router)
    app.include_router(v1)
    app.include_router(audit_files.router)
    app.add_api_route("/healthz", _healthz, include_in_schema=False)
    app.add_middleware(LimitedBody)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    # Last: whatever is no path of the API is the portal's.
    app.mount("/", portal(services, clock))
    return app


def _healthz() -> dict[str, str]:
    return {"state": "ready"}
