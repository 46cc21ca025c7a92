"""The sample budget policy as values, and what it promises of itself.

One ledger account per (unit domain, cohort): a cap that never grows, and tenants' allotments inside
it, fixed in advance, so that what one tenant sees never depends on another (soundness C.21, C.24).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from privacy.dp.budget import Budget

MAX_DELTA_SHARE = 1000
"""A domain's total delta is at most 1 / (1000 · max units) (soundness C.22)."""


@dataclass(frozen=True, slots=True)
class DomainPolicy:
    """The budget of one unit domain, the same for each of its cohorts."""

    domain: str
    cap: Budget
    max_units: int
    allotments: dict[str, Budget]
    """Tenant to its share; the shares together are at most the cap."""

    def __post_init__(self) -> None:
        """Refuse a policy that promises more than its cap."""
        total = Budget(0)
        for share in self.allotments.values():
            total = total + share
        if not self.cap.covers(total):
            raise ValueError(
                f"allotments of domain {self.domain} sum to {total.micro_rho} micro-rho and "
                f"{total.delta_1e12}e-12 delta; its cap is {self.cap.micro_rho} and "
                f"{self.cap.delta_1e12}e-12. Lower the shares or raise the cap before first use."
            )
        if self.cap.delta_1e12 * MAX_DELTA_SHARE * self.max_units > 10**12:
            raise ValueError(
                f"delta of domain {self.domain} is {self.cap.delta_1e12}e-12; for {self.max_units} units "
                f"it is at most {10**12 // (MAX_DELTA_SHARE * self.max_units)}e-12"
            )


@dataclass(frozen=True, slots=True)
class GrantPolicy:
    """What tenants may ask of a table."""

    epsilon_default: float
    epsilon_max: float
    purposes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BudgetPolicy:
    """The whole policy file."""

    domains: dict[str, DomainPolicy]
    grants: dict[str, dict[str, GrantPolicy]]
    """Tenant to table name to grant."""

    def grant(self, tenant: str, table: str) -> GrantPolicy | None:
        """Return the tenant's grant for a table, if any; nobody has one by default."""
        return self.grants.get(tenant, {}).get(table)


def load_policy(path: Path) -> BudgetPolicy:
    """Read `budgets.yaml`; ValueError says which promise it breaks."""
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    domains = {
        name: DomainPolicy(
            name,
            Budget(d["cap"]["micro_rho"], d["cap"]["delta_1e12"]),
            d["max_units"],
            {t: Budget(s["micro_rho"], s["delta_1e12"]) for t, s in d["allotments"].items()},
        )
        for name, d in data["domains"].items()
    }
    grants = {
        tenant: {
            table: GrantPolicy(g["epsilon_default"], g["epsilon_max"], tuple(g["purposes"]))
            for g in groups
            for table in g["tables"]
        }
        for tenant, groups in data["grants"].items()
    }
    return BudgetPolicy(domains, grants)
