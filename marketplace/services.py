"""The parts that one running marketplace is made of."""

from dataclasses import dataclass

from marketplace.access.gate import Gate
from marketplace.access.parts import Access
from marketplace.access.worker import Worker
from marketplace.budgets.policy import PolicyFile
from marketplace.contracts.service import Contracts
from marketplace.db import Database
from marketplace.identity.service import Sessions
from marketplace.identity.store import Directory
from marketplace.policy.service import Decisions
from marketplace.releases.service import Releases


@dataclass(frozen=True, slots=True)
class Services:
    """What the HTTP layer calls."""

    database: Database
    directory: Directory
    policy: PolicyFile
    sessions: Sessions
    releases: Releases
    gate: Gate
    access: Access
    contracts: Contracts
    decisions: Decisions
    worker: Worker
