"""Other figures for a cohort that has not begun: proposed by one person, decided by another.

A cohort's budget never grows (soundness C.21). So what it may spend is settled before the year
begins in which its units are first ingested, and before anything was charged to it; from then on
nobody can change it, in either direction. Whoever decides names the digest of the text that was
read, and that text says which figures it replaces.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from marketplace.budgets.model import DomainPolicy, Shares
from marketplace.errors import MarketplaceError
from marketplace.identity.model import UNNAMED
from privacy.dp.budget import Budget


class State(StrEnum):
    """Where a proposal stands. Only `waiting` may be decided or withdrawn."""

    WAITING = "waiting"
    IN_FORCE = "in-force"
    REPLACED = "replaced"
    """A later one for the same cohort came into force."""
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Proposal:
    """Figures for one cohort, those that they replace, and who said so."""

    id: str
    domain: str
    cohort: int
    shares: Shares
    before: Shares
    reason: str
    by: str
    organisation: str
    created: str
    state: State = State.WAITING
    decided_by: str = ""
    decided: str = ""
    comment: str = ""

    def text(self) -> str:
        """Return the canonical JSON that is judged; its id makes each text unique."""
        body = {
            "id": self.id,
            "domain": self.domain,
            "cohort": self.cohort,
            "shares": plain(self.shares),
            "before": plain(self.before),
            "reason": self.reason,
            "by": self.by,
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @property
    def sha256(self) -> str:
        """Return the hex digest of the text."""
        return hashlib.sha256(self.text().encode()).hexdigest()


def plain(shares: Shares) -> list[dict[str, str | int]]:
    """Return shares as the log and the database keep them."""
    return [
        {"holder": holder, "micro_rho": share.micro_rho, "delta_1e12": share.delta_1e12}
        for holder, share in shares.holders().items()
    ]


def parsed(rows: Iterable[dict[str, str | int]]) -> Shares:
    """Return shares from what `plain` wrote.

    >>> parsed(plain(Shares(Budget(9), {"a": Budget(4, 1)}))).of("a")
    Budget(micro_rho=4, delta_1e12=1)
    """
    found = {str(r["holder"]): Budget(int(r["micro_rho"]), int(r["delta_1e12"])) for r in rows}
    return Shares(found.pop(""), found)


def check_shares(domain: DomainPolicy, shares: Shares, known: Iterable[str]) -> None:
    """Refuse figures that promise more than their cap, that fit no delta, or name nobody."""
    total, cap = shares.total(), shares.cap
    if not cap.covers(total):
        raise MarketplaceError(
            "BAD_REQUEST",
            f"The allotments sum to {total.micro_rho} micro-rho and {total.delta_1e12}e-12 delta; "
            f"the cap is {cap.micro_rho} and {cap.delta_1e12}e-12. Lower them, or raise the cap.",
            f"各机构份额合计 {total.micro_rho} micro-rho、delta {total.delta_1e12}e-12，超过上限 "
            f"{cap.micro_rho}、{cap.delta_1e12}e-12。请降低份额或提高上限。",
        )
    if cap.delta_1e12 >= domain.target_delta_1e12:
        raise MarketplaceError(
            "BAD_REQUEST",
            f"The cap's delta is {cap.delta_1e12}e-12; for {domain.max_units} units of domain "
            f"{domain.domain} it is below {domain.target_delta_1e12}e-12.",
            f"上限的 delta 为 {cap.delta_1e12}e-12；主体域 {domain.domain} 最多 {domain.max_units} "
            f"个主体，delta 须低于 {domain.target_delta_1e12}e-12。",
        )
    unknown = sorted(set(shares.allotments) - set(known))
    if unknown:
        raise MarketplaceError(
            "BAD_REQUEST",
            f"Nobody here belongs to {', '.join(unknown)}; a share could not be taken back.",
            f"没有机构 {'、'.join(unknown)}；份额一经生效不可收回。",
        )


def check_cohort(
    domain: str, cohort: int, year: int, charged: tuple[Budget, Budget] | None
) -> None:
    """Refuse a cohort that was charged (`charged`: its cap and what is spent) or has begun."""
    if charged is not None:
        cap, spent = charged
        raise MarketplaceError(
            "BUDGET_FIXED",
            f"Cohort {cohort} of domain {domain} has been charged: {spent.micro_rho} of its "
            f"{cap.micro_rho} micro-rho and {spent.delta_1e12}e-12 of its {cap.delta_1e12}e-12 "
            "delta are spent. Its budget never changes; propose for a later cohort.",
            f"主体域 {domain} 的批次 {cohort} 已有支出：{cap.micro_rho} micro-rho 中已用 "
            f"{spent.micro_rho}，delta {cap.delta_1e12}e-12 中已用 {spent.delta_1e12}e-12。"
            "其预算不再变更，请为以后的批次提出。",
        )
    if cohort <= year:
        raise MarketplaceError(
            "BUDGET_FIXED",
            f"Cohort {cohort} of domain {domain} has begun: its units were promised what is in "
            f"force. The first cohort that can still get other figures is {year + 1}.",
            f"主体域 {domain} 的批次 {cohort} 已开始，其主体适用现行预算。"
            f"可另定预算的最早批次为 {year + 1}。",
        )


def decide(proposal: Proposal, user: str, sha256: str, now: Shares, *, approve: bool) -> Proposal:
    """Return the proposal after another person's word; `now` is what is in force."""
    _require_waiting(proposal)
    if proposal.by.startswith(UNNAMED):
        raise MarketplaceError(
            "WRONG_STATE",
            "Who proposed this was erased. It needs a new proposal.",
            "提出人的个人信息已被清除，请重新提出。",
        )
    if user == proposal.by:
        raise MarketplaceError(
            "SAME_PERSON",
            "Whoever proposed a budget does not decide about it. Leave it to another person.",
            "预算提出人不得自行审批，请由他人办理。",
        )
    if sha256 != proposal.sha256:
        raise MarketplaceError(
            "TEXT_CHANGED",
            "This is not the text that stands there now. Read it again.",
            "文本与现行文本不符，请重新阅读。",
        )
    if not approve:
        return replace(proposal, state=State.DECLINED)
    if plain(now) != plain(proposal.before):
        raise MarketplaceError(
            "WRONG_STATE",
            "Other figures came into force for this cohort since. Decline this and propose anew.",
            "该批次的现行预算已变更。请否决此提案并重新提出。",
        )
    return replace(proposal, state=State.IN_FORCE)


def withdraw(proposal: Proposal, user: str) -> Proposal:
    """Return the proposal as taken back by who made it."""
    if user != proposal.by:
        raise MarketplaceError(
            "FORBIDDEN", "Only who proposed it takes it back.", "仅提出人本人可撤回。"
        )
    _require_waiting(proposal)
    return replace(proposal, state=State.WITHDRAWN)


def _require_waiting(proposal: Proposal) -> None:
    if proposal.state is not State.WAITING:
        raise MarketplaceError(
            "WRONG_STATE",
            f"This proposal is {proposal.state.value} already.",
            f"该提案已处于“{proposal.state.value}”状态。",
        )
