"""Budgets over HTTP: a tenant's own figures, never another's."""

from typing import Any

from fastapi import APIRouter

from marketplace.http import GATEWAY_ONLY, Caller, Here
from marketplace.releases.model import Left
from privacy.dp.budget import epsilon_of

router = APIRouter(tags=["budgets"])


@router.get("/tenants/{tenant}/budget", dependencies=[GATEWAY_ONLY])
def tenant_budget(tenant: str, domain: str, here: Here) -> dict[str, Any]:
    """Return a tenant's own remaining budget."""
    return told(here.releases.left(tenant, domain))


@router.get("/budget")
def own_budget(domain: str, here: Here, caller: Caller) -> dict[str, Any]:
    """Return the caller's organisation's remaining budget."""
    return told(here.releases.left(caller.tenant, domain))


def told(left: Left) -> dict[str, Any]:
    """Return a budget as JSON: integers count, epsilons are for people."""
    return {
        "domain": left.domain,
        "micro_rho": left.budget.micro_rho,
        "delta_1e12": left.budget.delta_1e12,
        "cap_micro_rho": left.cap.micro_rho,
        "cap_delta_1e12": left.cap.delta_1e12,
        "epsilon": f"{epsilon_of(left.budget.micro_rho):.4f}",
        "spent_epsilon": f"{left.spent_epsilon:.4f}",
        "cohorts": {
            str(cohort): {"micro_rho": rest.micro_rho, "delta_1e12": rest.delta_1e12}
            for cohort, rest in left.cohorts.items()
        },
    }
