"""The policy file in force, and the pin that keeps caps and allotments from ever changing.

A cohort's budget never grows (soundness C.21), and shares that moved between tenants would make
one tenant's denial depend on what another spent (C.24). The database remembers the first figures,
and the log has them as entries, from which the recount takes them; a home whose file says otherwise
does not start. New domains and new tenants may be added, within the cap. A later cohort gets other
figures by two persons (`proposals`), never by the file. The file's grants are those of a home's
first start; after it they live in the database.
"""

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

import yaml
from sqlalchemy import insert, select

from marketplace import db
from marketplace.audit import store as log
from marketplace.audit.entry import Event, Plain
from marketplace.budgets.model import BudgetPolicy, parse_policy
from privacy.dp.budget import Budget

PER_ENTRY = 200
"""Figures in one log entry, which has a longest length."""


class PolicyChangedError(Exception):
    """The policy file changes a budget that is already in force."""


class PolicyFile:
    """The budget policy as the file had it at start."""

    def __init__(self, path: Path) -> None:
        """Read the file at once, so that a broken one is noticed at start."""
        self._policy = load_policy(path)

    def __call__(self) -> BudgetPolicy:
        """Return the policy in force."""
        return self._policy


def load_policy(path: Path) -> BudgetPolicy:
    """Read `budgets.yaml`; ValueError says which promise it breaks."""
    return parse_policy(yaml.safe_load(path.read_text(encoding="utf-8")))


def pin(
    database: db.Database,
    policy: BudgetPolicy,
    now: datetime,
    logged: Collection[tuple[str, str]] = (),
) -> None:
    """Remember all caps and allotments; raise `PolicyChangedError` if one differs from before.

    `logged`: whose figures the log has already. An older home's are entered at its next start.
    """
    wanted = {
        (domain.domain, holder): share
        for domain in policy.domains.values()
        for holder, share in domain.shares.holders().items()
    }
    with database.reading() as connection:
        known = {
            (r.domain, r.tenant): Budget(r.micro_rho, r.delta_1e12)
            for r in connection.execute(select(db.caps))
        }
    for (domain, tenant), before in sorted(known.items()):
        if wanted.get((domain, tenant)) != before:
            raise _changed(domain, tenant, before, wanted.get((domain, tenant)))
    new = [
        {
            "domain": domain,
            "tenant": tenant,
            "micro_rho": share.micro_rho,
            "delta_1e12": share.delta_1e12,
        }
        for (domain, tenant), share in sorted(wanted.items())
        if (domain, tenant) not in known
    ]
    entered: list[Plain] = [
        {
            "domain": domain,
            "holder": holder,
            "micro_rho": share.micro_rho,
            "delta_1e12": share.delta_1e12,
        }
        for (domain, holder), share in sorted(wanted.items())
        if (domain, holder) not in logged
    ]
    if not entered:
        return
    with database.writing() as connection:
        if new:
            connection.execute(insert(db.caps), new)
        for start in range(0, len(entered), PER_ENTRY):
            some = entered[start : start + PER_ENTRY]
            log.append(connection, Event.BUDGET_PINNED, now, {"shares": some})


def _changed(domain: str, tenant: str, before: Budget, now: Budget | None) -> PolicyChangedError:
    whose = f"the allotment of {tenant}" if tenant else "the cap"
    says = "is gone" if now is None else f"is now {now.micro_rho}/{now.delta_1e12}"
    return PolicyChangedError(
        f"In domain {domain}, {whose} was {before.micro_rho}/{before.delta_1e12} (micro-rho/1e-12 "
        f"delta) when first used and {says}. Budgets in force never change: put the figure back. "
        "To stop a tenant, take its grants away."
    )
