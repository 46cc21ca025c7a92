"""The ledger's accounts in the database: charged and refunded only inside a write transaction."""

from sqlalchemy import ColumnElement, Connection, insert, select, update

from marketplace import db
from marketplace.budgets.model import COHORT, BudgetPolicy, DomainPolicy
from marketplace.budgets.proposal_store import shares_of
from marketplace.errors import MarketplaceError
from marketplace.releases.model import Item, Left
from privacy.dp.budget import Budget, epsilon_of


def charge_tenant(connection: Connection, policy: BudgetPolicy, tenant: str, item: Item) -> None:
    """Spend an item's cost from the tenant's own allotment in every cohort, or raise.

    This comes before `charge_cohorts`: a denial must not tell what others have spent (C.24).
    """
    domain = domain_of(policy, item.domain)
    for cohort in sorted(item.cohorts):
        _spend(connection, domain, cohort, tenant, item.cost)


def charge_cohorts(connection: Connection, policy: BudgetPolicy, item: Item) -> None:
    """Spend an item's cost from the cap of every cohort.

    Allotments sum to at most the cap, so after `charge_tenant` this fails only if the ledger is
    wrong; then the transaction ends without an answer.
    """
    domain = domain_of(policy, item.domain)
    for cohort in sorted(item.cohorts):
        _spend(connection, domain, cohort, COHORT, item.cost)


def refund(connection: Connection, item: Item, tenant: str) -> None:
    """Give an item's cost back to the accounts that paid for it."""
    for cohort in sorted(item.cohorts):
        for holder in (tenant, COHORT):
            here = _account(item.domain, cohort, holder)
            found = _read(connection, here)
            if found is None:
                raise AssertionError("a refund meets an account that never paid")
            _, spent = found
            _write(connection, here, spent - item.cost)


def left(connection: Connection, policy: BudgetPolicy, tenant: str, domain_name: str) -> Left:
    """Return what the tenant has left, and the least over the cohorts it has charged so far."""
    domain = domain_of(policy, domain_name)
    cap = domain.allotments.get(tenant, Budget(0))
    account = db.accounts.c
    rows = connection.execute(
        select(db.accounts)
        .where(account.domain == domain_name, account.tenant == tenant)
        .order_by(account.cohort)
    ).all()
    spent = {r.cohort: Budget(r.spent_micro_rho, r.spent_delta_1e12) for r in rows}
    rest = {r.cohort: Budget(r.cap_micro_rho, r.cap_delta_1e12) - spent[r.cohort] for r in rows}
    most = Budget(
        max((s.micro_rho for s in spent.values()), default=0),
        max((s.delta_1e12 for s in spent.values()), default=0),
    )
    return Left(
        domain=domain_name,
        budget=Budget(
            min((r.micro_rho for r in rest.values()), default=cap.micro_rho),
            min((r.delta_1e12 for r in rest.values()), default=cap.delta_1e12),
        ),
        cap=cap,
        spent_epsilon=domain.epsilon(most),
        cohorts=rest,
    )


def domain_of(policy: BudgetPolicy, name: str) -> DomainPolicy:
    """Return a domain's policy; BUDGET_EXHAUSTED if the policy gives it no budget."""
    domain = policy.domains.get(name)
    if domain is None:
        raise MarketplaceError(
            "BUDGET_EXHAUSTED",
            f"Unit domain {name} has no budget in the policy, so nothing of it can be released. "
            "Ask the bureau to set one.",
            f"策略未给主体域 {name} 设定预算，因此不能发布其任何结果。请联系主管部门设定。",
        )
    return domain


Account = tuple[ColumnElement[bool], ColumnElement[bool], ColumnElement[bool]]


def _account(domain: str, cohort: int, holder: str) -> Account:
    account = db.accounts.c
    return (account.domain == domain, account.cohort == cohort, account.tenant == holder)


def _read(connection: Connection, here: Account) -> tuple[Budget, Budget] | None:
    """Return cap and spent."""
    account = db.accounts.c
    row = connection.execute(
        select(
            account.cap_micro_rho,
            account.cap_delta_1e12,
            account.spent_micro_rho,
            account.spent_delta_1e12,
        ).where(*here)
    ).first()
    return None if row is None else (Budget(row[0], row[1]), Budget(row[2], row[3]))


def _write(connection: Connection, here: Account, spent: Budget) -> None:
    connection.execute(
        update(db.accounts)
        .where(*here)
        .values(spent_micro_rho=spent.micro_rho, spent_delta_1e12=spent.delta_1e12)
    )


def _spend(
    connection: Connection, domain: DomainPolicy, cohort: int, holder: str, cost: Budget
) -> None:
    here = _account(domain.domain, cohort, holder)
    found = _read(connection, here)
    spent = Budget(0)
    if found is None:
        cap = shares_of(connection, domain, cohort).of(holder)
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
    else:
        cap, spent = found
    after = spent + cost
    if not cap.covers(after):
        raise _exhausted(domain.domain, cohort, cost, cap - spent)
    _write(connection, here, after)


def _exhausted(domain: str, cohort: int, cost: Budget, rest: Budget) -> MarketplaceError:
    """Return the denial of a cost that does not fit, with the numbers and what to do."""
    if rest.micro_rho >= cost.micro_rho:
        return MarketplaceError(
            "BUDGET_EXHAUSTED",
            f"Choosing open keys costs delta {cost.delta_1e12}e-12 of domain {domain}, cohort "
            f"{cohort}, and your organisation has {rest.delta_1e12}e-12 left. Group by a column "
            "with declared values, or set lab.cohorts to cohorts with budget.",
            f"选择开放分组键需花费主体域 {domain} 批次 {cohort} 的 delta {cost.delta_1e12}e-12，"
            f"贵机构剩余 {rest.delta_1e12}e-12。请改用有声明取值的分组列，"
            "或用 lab.cohorts 选择仍有预算的批次。",
        )
    epsilon = f"{epsilon_of(rest.micro_rho):.4g}" if rest.micro_rho else "0"
    return MarketplaceError(
        "BUDGET_EXHAUSTED",
        f"This answer costs {cost.micro_rho} micro-rho of domain {domain}, cohort {cohort}, and "
        f"your organisation has {rest.micro_rho} left (epsilon {epsilon}). Lower lab.epsilon, ask "
        "for fewer aggregates, or set lab.cohorts to cohorts with budget.",
        f"此回答需花费主体域 {domain} 批次 {cohort} 的 {cost.micro_rho} micro-rho，贵机构剩余 "
        f"{rest.micro_rho}（epsilon {epsilon}）。请降低 lab.epsilon、减少聚合项，"
        "或用 lab.cohorts 选择仍有预算的批次。",
    )
