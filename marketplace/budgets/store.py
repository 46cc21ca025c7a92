"""The ledger's accounts in the database: charged and refunded only inside a write transaction."""

from sqlalchemy import Connection, insert, select, update

from marketplace import db
from marketplace.budgets.model import BudgetPolicy, DomainPolicy
from marketplace.errors import MarketplaceError
from marketplace.releases.model import Item, Left
from privacy.dp.budget import Budget, epsilon_of

COHORT = ""
"""Tenant name of the account that holds a cohort's own cap."""


def charge(connection: Connection, policy: BudgetPolicy, tenant: str, item: Item) -> None:
    """Spend an item's cost from the tenant's allotment and the cap of every cohort, or raise."""
    domain = _domain(policy, item.domain)
    for cohort in item.cohorts:
        # The tenant first: its denial must not tell what others have spent (soundness C.24). Since
        # allotments sum to at most the cap, the second charge cannot fail unless the ledger is wrong.
        _spend(connection, domain, cohort, tenant, item.cost)
    for cohort in item.cohorts:
        _spend(connection, domain, cohort, COHORT, item.cost)


def refund(connection: Connection, item: Item, tenant: str) -> None:
    """Give an item's cost back to the accounts that paid for it."""
    for cohort in item.cohorts:
        for holder in (tenant, COHORT):
            account = db.accounts.c
            connection.execute(
                update(db.accounts)
                .where(
                    account.domain == item.domain,
                    account.cohort == cohort,
                    account.tenant == holder,
                )
                .values(
                    spent_micro_rho=account.spent_micro_rho - item.cost.micro_rho,
                    spent_delta_1e12=account.spent_delta_1e12 - item.cost.delta_1e12,
                )
            )


def left(connection: Connection, policy: BudgetPolicy, tenant: str, domain_name: str) -> Left:
    """Return what the tenant has left: the least over the cohorts it has charged so far."""
    domain = _domain(policy, domain_name)
    cap = domain.allotments.get(tenant, Budget(0))
    account = db.accounts.c
    rows = connection.execute(
        select(account.spent_micro_rho, account.spent_delta_1e12).where(
            account.domain == domain_name, account.tenant == tenant
        )
    ).all()
    spent = Budget(max((r[0] for r in rows), default=0), max((r[1] for r in rows), default=0))
    return Left(cap - spent, cap)


def _domain(policy: BudgetPolicy, name: str) -> DomainPolicy:
    domain = policy.domains.get(name)
    if domain is None:
        raise MarketplaceError(
            "BUDGET_EXHAUSTED",
            f"Unit domain {name} has no budget in the policy, so nothing of it can be released. Ask the "
            "bureau to set one.",
            f"策略未给主体域 {name} 设定预算，因此不能发布其任何结果。请联系主管部门设定。",
        )
    return domain


def _spend(
    connection: Connection, domain: DomainPolicy, cohort: int, holder: str, cost: Budget
) -> None:
    account = db.accounts.c
    here = (account.domain == domain.domain, account.cohort == cohort, account.tenant == holder)
    row = connection.execute(
        select(
            account.cap_micro_rho,
            account.cap_delta_1e12,
            account.spent_micro_rho,
            account.spent_delta_1e12,
        ).where(*here)
    ).first()
    if row is None:
        cap = domain.cap if holder == COHORT else domain.allotments.get(holder, Budget(0))
        connection.execute(
            insert(db.accounts).values(
                domain=domain.domain,
                cohort=cohort,
                tenant=holder,
                cap_micro_rho=cap.micro_rho,
                cap_delta_1e12=cap.delta_1e12,
                spent_micro_rho=0,
                spent_delta_1e12=0,
            )
        )
        spent = Budget(0)
    else:
        cap, spent = Budget(row[0], row[1]), Budget(row[2], row[3])
    after = spent + cost
    if not cap.covers(after):
        raise exhausted(domain.domain, cohort, cost, cap - spent)
    connection.execute(
        update(db.accounts)
        .where(*here)
        .values(spent_micro_rho=after.micro_rho, spent_delta_1e12=after.delta_1e12)
    )


def exhausted(domain: str, cohort: int, cost: Budget, rest: Budget) -> MarketplaceError:
    """Return the denial of a cost that does not fit, with the numbers and what to do."""
    epsilon = f"{epsilon_of(rest.micro_rho):.4g}" if rest.micro_rho else "0"
    return MarketplaceError(
        "BUDGET_EXHAUSTED",
        f"This answer costs {cost.micro_rho} micro-rho of domain {domain}, cohort {cohort}, and your "
        f"organisation has {rest.micro_rho} left (epsilon {epsilon}). Lower lab.epsilon, ask for fewer "
        "aggregates, or set lab.cohorts to cohorts with budget.",
        f"此回答需花费主体域 {domain} 批次 {cohort} 的 {cost.micro_rho} micro-rho，贵机构剩余 "
        f"{rest.micro_rho}（epsilon {epsilon}）。请降低 lab.epsilon、减少聚合项，"
        "或用 lab.cohorts 选择仍有预算的批次。",
    )
