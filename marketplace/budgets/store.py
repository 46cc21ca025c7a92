"""The ledger's accounts in the database: charged and refunded only inside a write transaction."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, bindparam, insert, select, update

from marketplace import db
from marketplace.budgets.model import COHORT, BudgetPolicy, DomainPolicy
from marketplace.budgets.proposal_store import shares_of
from marketplace.errors import MarketplaceError
from marketplace.releases.model import Item, Left
from privacy.dp.budget import Budget, epsilon_of


def charge_tenant(
    connection: Connection, policy: BudgetPolicy, tenant: str, items: Sequence[Item]
) -> None:
    """Spend the items' cost from the tenant's own allotment in every cohort, or raise.

    This comes before `charge_cohorts`: a denial must not tell what others have spent (C.24).
    """
    _spend(connection, policy, tenant, items)


def charge_cohorts(connection: Connection, policy: BudgetPolicy, items: Sequence[Item]) -> None:
    """Spend the items' cost from the cap of every cohort.

    Allotments sum to at most the cap, so after `charge_tenant` this fails only if the ledger is
    wrong; then the transaction ends without an answer.
    """
    _spend(connection, policy, COHORT, items)


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
    domain = policy.domains.get(domain_name)
    if domain is None:
        raise MarketplaceError(
            "NOT_FOUND",
            f"There is no unit domain {domain_name}. The policy knows {', '.join(policy.domains)}.",
            f"没有主体域 {domain_name}，策略中的主体域为 {'、'.join(policy.domains)}。",
        )
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


_account_rows = db.accounts.c
# Every paid question runs these, so they are put together once.
_ACCOUNTS = select(db.accounts).where(
    _account_rows.tenant == bindparam("holder"),
    _account_rows.domain.in_(bindparam("domains", expanding=True)),
)
_OPEN = insert(db.accounts)
_SPENT = (
    update(db.accounts)
    .where(
        _account_rows.domain == bindparam("in_domain"),
        _account_rows.cohort == bindparam("of_cohort"),
        _account_rows.tenant == bindparam("by"),
    )
    .values(spent_micro_rho=bindparam("micro_rho"), spent_delta_1e12=bindparam("delta"))
)

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
    connection: Connection, policy: BudgetPolicy, holder: str, items: Sequence[Item]
) -> None:
    """Spend what all items cost together from each account of a holder, or raise."""
    costs: dict[tuple[str, int], Budget] = {}
    for item in items:
        for cohort in item.cohorts:
            here = item.domain, cohort
            costs[here] = costs.get(here, Budget(0)) + item.cost
    if not costs:
        return
    domains = {name: domain_of(policy, name) for name in sorted({d for d, _ in costs})}
    asked = {"holder": holder, "domains": [*domains]}
    known = {
        (r.domain, r.cohort): (
            Budget(r.cap_micro_rho, r.cap_delta_1e12),
            Budget(r.spent_micro_rho, r.spent_delta_1e12),
        )
        for r in connection.execute(_ACCOUNTS, asked)
    }
    opened, spent = [], []
    for (name, cohort), cost in sorted(costs.items()):
        if (name, cohort) in known:
            cap, before = known[name, cohort]
        else:
            cap = shares_of(connection, domains[name], cohort).of(holder)
            before = Budget(0)
        after = before + cost
        if not cap.covers(after):
            raise _exhausted(name, cohort, cost, cap - before)
        if (name, cohort) in known:
            place = {"in_domain": name, "of_cohort": cohort, "by": holder}
            spent.append({**place, "micro_rho": after.micro_rho, "delta": after.delta_1e12})
        else:
            opened.append(
                {
                    "domain": name,
                    "cohort": cohort,
                    "tenant": holder,
                    "cap_micro_rho": cap.micro_rho,
                    "cap_delta_1e12": cap.delta_1e12,
                    "spent_micro_rho": after.micro_rho,
                    "spent_delta_1e12": after.delta_1e12,
                }
            )
    if opened:
        connection.execute(_OPEN, opened)
    if spent:
        connection.execute(_SPENT, spent)


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
