"""Grants of a new home: those of `budgets.yaml`, under one sample contract for each tenant.

They move into the database at the first start. From then on only the access workflow changes them.
"""

import hashlib
from datetime import datetime, timedelta

from marketplace.access import grant_store
from marketplace.access.gate import LANE
from marketplace.access.grant import MICRO, Grant
from marketplace.audit import store as log
from marketplace.audit.entry import Event
from marketplace.budgets.model import BudgetPolicy
from marketplace.contracts import store as contract_store
from marketplace.contracts.model import ANY, STAGES, Contract, Signature, State, Terms
from marketplace.contracts.store import Reached
from marketplace.db import Database

BASIS = "seeded"
"""Stands where a grant made by people names the digest of its approved request."""
CALLS = 1_000_000


def seed_grants(
    database: Database, policy: BudgetPolicy, parties: tuple[str, ...], days: int, now: datetime
) -> bool:
    """Write the file's grants and their contracts, unless the home has grants; say whether written.

    `parties` sign beside the tenant; signatures of a seeded contract say that nobody gave them.
    """
    starts, ends = int(now.timestamp()), int((now + timedelta(days=days)).timestamp())
    time = now.isoformat(timespec="milliseconds")
    with database.writing() as connection:
        if grant_store.any_grant(connection):
            return False
        for tenant, tables in sorted(policy.grants.items()):
            if not tables:
                continue
            terms = Terms(
                tenant=tenant,
                parties=tuple(dict.fromkeys((tenant, *parties))),
                purposes=tuple(dict.fromkeys(p for g in tables.values() for p in g.purposes)),
                resources={ANY: (ANY,)},
                lanes=(LANE,),
                micro_rho=10**15,
                calls=CALLS,
                starts=starts,
                ends=ends,
            )
            draft = Contract(_name("contract", tenant), terms, State.ACTIVE)
            signed = tuple(Signature(p, BASIS, draft.sha256, time) for p in terms.parties)
            contract = Contract(draft.id, terms, State.ACTIVE, signed)
            contract_store.add(connection, contract, time)
            for stage in STAGES:
                contract_store.reach(connection, Reached(tenant, stage, time, BASIS))
            facts = {"tenant": tenant, "contract": contract.id, "contract_sha256": contract.sha256}
            log.append(connection, Event.CONTRACT_SIGNED, now, {**facts, "basis": BASIS})
            for table, given in sorted(tables.items()):
                grant = Grant(
                    id=_name("grant", tenant, table),
                    tenant=tenant,
                    table=table,
                    purposes=given.purposes,
                    lanes=(LANE,),
                    fields=(),
                    epsilon_default_micro=round(given.epsilon_default * MICRO),
                    epsilon_max_micro=round(given.epsilon_max * MICRO),
                    starts=starts,
                    ends=ends,
                    basis=BASIS,
                )
                grant_store.add(connection, grant)
                log.append(
                    connection,
                    Event.GRANT_ISSUED,
                    now,
                    {"tenant": tenant, "grant": grant.id, "grant_sha256": grant.sha256},
                    {"table": table},
                )
    return True


def _name(*parts: str) -> str:
    return hashlib.sha256("/".join((BASIS, *parts)).encode()).hexdigest()[:32]
