"""The parts that one running marketplace is made of."""

from dataclasses import dataclass

from marketplace.access.gate import Gate
from marketplace.access.parts import Access
from marketplace.access.worker import Worker
from marketplace.audit.openings import Openings
from marketplace.audit.published import Log
from marketplace.audit.readings import Readings
from marketplace.audit.witnessing import Witnessing
from marketplace.budgets.outlook import Outlook
from marketplace.budgets.policy import PolicyFile
from marketplace.budgets.proposals import Proposals
from marketplace.catalogue.parts import Publishing
from marketplace.catalogue.service import Catalogue
from marketplace.contracts.service import Contracts
from marketplace.db import Database
from marketplace.demand.service import Demands
from marketplace.identity.service import Sessions
from marketplace.identity.store import Directory
from marketplace.ingests.service import Ingests
from marketplace.policy.service import Decisions
from marketplace.releases.service import Releases
from marketplace.reports.service import Reports
from marketplace.risk.service import RiskDesk, Watch


@dataclass(frozen=True, slots=True)
class Services:
    """What the HTTP layer calls."""

    database: Database
    directory: Directory
    policy: PolicyFile
    sessions: Sessions
    releases: Releases
    ingests: Ingests
    catalogue: Catalogue
    publishing: Publishing
    log: Log
    readings: Readings
    openings: Openings
    witnessing: Witnessing
    gate: Gate
    access: Access
    contracts: Contracts
    demands: Demands
    decisions: Decisions
    worker: Worker
    proposals: Proposals
    outlook: Outlook
    watch: Watch
    risks: RiskDesk
    reports: Reports
    public_url: str
    """Where people reach the lab, without a slash at the end."""
