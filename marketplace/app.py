"""Builds the application: the only place that knows every class."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import yaml
from fastapi import APIRouter, Depends, FastAPI
from starlette.routing import Match, Mount

from marketplace import db
from marketplace.access import api as access_api
from marketplace.access.desk import Desk
from marketplace.access.gate import Gate
from marketplace.access.grants import Grants
from marketplace.access.inbox import Inbox
from marketplace.access.mail import Mailer
from marketplace.access.model import State
from marketplace.access.overview import Overview
from marketplace.access.parts import Access
from marketplace.access.requests import Requests
from marketplace.access.seeding import seed_grants
from marketplace.access.worker import Worker
from marketplace.asgi import Scope
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
from marketplace.budgets import outlook_api, proposal_api
from marketplace.budgets.outlook import Outlook
from marketplace.budgets.policy import PolicyFile, pin
from marketplace.budgets.proposals import Proposals
from marketplace.budgets.replay import replay
from marketplace.catalogue import api as catalogue_api
from marketplace.catalogue import delivery_api, publishing_api
from marketplace.catalogue.deliveries import Deliveries
from marketplace.catalogue.facts import LabFacts
from marketplace.catalogue.lake import LakeProcess
from marketplace.catalogue.parts import Publishing
from marketplace.catalogue.regrading import Regradings
from marketplace.catalogue.reviews import Reviews, Teller
from marketplace.catalogue.service import Catalogue
from marketplace.catalogue.synthetic import load_classes, sample_codes
from marketplace.conditions import Tagged
from marketplace.contracts import api as contracts_api
from marketplace.contracts.service import Contracts
from marketplace.demand import api as demand_api
from marketplace.demand.service import Demands, Rules
from marketplace.described import describe
from marketplace.grading import api as grading_api
from marketplace.grading.alerts import Warnings
from marketplace.grading.policy import Policies, load_bodies, load_grading, load_negative_list
from marketplace.http import HANDLERS, V1, LimitedBody, NoSniff, known_query
from marketplace.idempotency.middleware import Idempotent, forgetter
from marketplace.identity import api as identity_api
from marketplace.identity.service import Sessions
from marketplace.identity.store import FILE, Directory
from marketplace.ingests import api as ingests_api
from marketplace.ingests.service import Ingests
from marketplace.policy import api as policy_api
from marketplace.policy.book import PolicyBook
from marketplace.policy.facts import ContractFacts
from marketplace.policy.service import Decisions, put_in_force
from marketplace.portal.budget_pages import with_budget_pages
from marketplace.portal.pages import portal
from marketplace.portal.report_pages import add_report_pages
from marketplace.portal.risk_pages import add_risk_pages
from marketplace.portal.sections import add_sections
from marketplace.releases import api as releases_api
from marketplace.releases.crash import Reached, nowhere
from marketplace.releases.service import Releases
from marketplace.releases.store import hide_earlier
from marketplace.reports import api as reports_api
from marketplace.reports.service import Reports
from marketplace.risk import api as risk_api
from marketplace.risk.policy import load_risk
from marketplace.risk.service import RiskDesk, Watch
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
    try:
        return _assembled(settings, database, reached, clock)
    except BaseException:
        database.close()
        raise


def _assembled(
    settings: Settings, database: db.Database, reached: Reached, clock: Callable[[], datetime]
) -> Services:
    found = replay(database)
    if found.findings:
        raise LedgerBehindLogError(
            f"{len(found.findings)} differences between log, releases and ledger; the first: "
            f"{found.findings[0]}. Restore the newest backup, or ask the audit administrator; "
            "`python -m marketplace replay` lists them all."
        )
    policy = PolicyFile(settings.policy)
    directory = Directory(settings.home / FILE)
    vault = Vault(settings.audit_keys)
    use_vault(database, vault)
    with database.writing() as connection:
        hidden = hide_earlier(connection)
    if hidden:
        database.scrub()
    signers = open_keys(settings.audit_keys)
    log = Log(database, settings.log, signers, clock)
    log.publish_subjects(vault.subjects_pem)
    database.publisher = log
    around = yaml.safe_load(settings.access.read_text(encoding="utf-8"))
    law = grading_policies(settings)
    classes = load_classes(settings.policy_file("catalogue_classes.yaml"))
    facts = LabFacts(ContractFacts(settings.contracts, around), law, sample_codes(classes), clock)
    book = PolicyBook.load(settings.cedar)
    put_in_force(database, book, clock())
    pin(database, policy(), clock(), found.pinned)
    gate = Gate(book, facts, clock)
    desk = Desk(database, book, facts, directory.people, clock)
    requests = Requests(desk, around["requests"], around["bureau"], facts.barrier)
    grants = Grants(desk)
    hours = {
        State.REVIEW: around["requests"]["review_hours"],
        State.APPROVAL: around["requests"]["approval_hours"],
    }
    catalogue = Catalogue(database, law, clock, owns=facts.owns, tell=Teller(desk))
    shutil.rmtree(settings.spool, ignore_errors=True)  # what a killed run was reading
    lake = LakeProcess(settings.home.resolve())
    deliveries = Deliveries(desk, catalogue, lake, facts.contracts.contract, settings.spool)
    ending = Warnings(desk, law.negative_list, catalogue.today)
    demand = Rules.of(yaml.safe_load(settings.demand.read_text(encoding="utf-8")))
    risk = load_risk(settings.policy_file("risk.yaml"))
    watch = Watch(desk, risk, demand.calendar, log)
    tasks = [requests.lapse, grants.warn, ending.tell, deliveries.tidy, database.scrub_again]
    tasks += [watch.judge, watch.patrol, forgetter(database, clock)]
    if settings.mail is not None:
        tasks.append(Mailer(database, settings.mail, directory.address, clock).deliver)
    parties = (around["bureau"], "operator")
    seed_grants(database, policy(), parties, around["seeded_grant_days"], clock())
    return Services(
        database,
        directory,
        policy,
        Sessions(database, directory, gate.granted, clock),
        Releases(database, policy, directory.named, gate, clock, log, reached),
        Ingests(database, clock),
        catalogue,
        Publishing(Reviews(desk, catalogue), Regradings(desk, catalogue), deliveries, classes),
        log,
        Readings(database, clock),
        Openings(database, log, vault, clock),
        Witnessing(log, witnesses_from(settings.witnesses)),
        gate,
        Access(requests, grants, Inbox(desk, requests, hours), Overview(desk)),
        Contracts(desk),
        Demands(desk, demand),
        Decisions(desk),
        Worker(tuple(tasks)),
        Proposals(desk, policy, around["bureau"]),
        Outlook(desk, policy, around["bureau"]),
        watch,
        RiskDesk(desk, grants, risk),
        Reports(desk, log, signers[0], watch, lambda: law.negative_list),
        settings.public_url,
    )


def grading_policies(settings: Settings) -> Policies:
    """Return grades, negative list and bodies as their files say; ValueError if one is faulty."""
    return Policies(
        load_grading(settings.policy_file("grading.yaml")),
        load_negative_list(settings.policy_file("negative_list.yaml")),
        load_bodies(settings.policy_file("bodies.yaml")),
    )


def build(services: Services, clock: Callable[[], datetime] = now) -> FastAPI:
    """Return the HTTP application over its parts."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        describe(app)  # before the first request, which would wait for it
        services.witnessing.start()
        services.worker.start()
        yield
        services.worker.stop()
        services.witnessing.close()
        services.database.close()

    app = FastAPI(
        title="Digital Lab marketplace",
        version="1",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat whatever host the caller claims
        lifespan=lifespan,
    )
    app.state.services = services
    v1 = APIRouter(prefix=V1, dependencies=[Depends(known_query)])
    for part in (
        identity_api,
        budgets_api,
        proposal_api,
        outlook_api,
        releases_api,
        ingests_api,
        audit_api,
        policy_api,
        contracts_api,
        demand_api,
        access_api,
        catalogue_api,
        publishing_api,
        delivery_api,
        grading_api,
        risk_api,
        reports_api,
    ):
        v1.include_router(part.router)
    app.include_router(v1)
    app.include_router(audit_files.router)
    app.add_api_route("/healthz", _healthz, include_in_schema=False)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # FastAPI's own way
    app.add_middleware(Tagged)
    app.add_middleware(Idempotent, database=services.database, clock=clock)
    app.add_middleware(NoSniff)
    app.add_middleware(LimitedBody)  # the outermost: what is too large is read by nobody
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    # Last: whatever is no path of the API is the portal's.
    pages = with_budget_pages(portal(services, clock))
    add_risk_pages(pages)
    add_report_pages(pages)
    add_sections(pages)
    app.router.routes.append(Pages("/", pages))
    return app


class Pages(Mount):
    """The portal: every path that is none of the API's, whose faults are problem documents."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Leave the API's paths to its routes, known or not."""
        return super().matches(scope) if not _is_api(scope) else (Match.NONE, {})


def _is_api(scope: Scope) -> bool:
    path: str = scope.get("path", "")
    return path == "/api" or path.startswith("/api/")


def _healthz() -> dict[str, str]:
    return {"state": "ready"}
