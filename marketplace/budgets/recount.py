"""What the log says that each cohort may spend: the recount's own view, read from entries alone.

Figures of all cohorts enter by `budget:pin`, those of one cohort by `budget:decide`. Both are
checked against the rules here again, whatever the service may have let through: figures enter once,
shares fit into their cap, and no cohort changes that was charged or that has begun.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from marketplace.budgets.model import COHORT
from marketplace.budgets.proposal import State

Account = tuple[str, int, str]
"""Domain, cohort, tenant (empty for the cohort's own cap)."""
Figures = tuple[int, int]
"""micro-rho and delta in 1e-12."""
NOTHING: Figures = (0, 0)


@dataclass(slots=True)
class Caps:
    """Caps and allotments after the entries read so far."""

    pinned: dict[tuple[str, str], Figures] = field(default_factory=dict)
    """Domain and holder to what every cohort has that got no figures of its own."""
    own: dict[tuple[str, int], dict[str, Figures]] = field(default_factory=dict)
    """Domain and cohort to the figures of its own."""
    decided: set[str] = field(default_factory=set)
    """Proposals that came into force."""
    proposed: dict[str, tuple[str, int, dict[str, Figures]]] = field(default_factory=dict)

    def of(self, account: Account) -> Figures | None:
        """Return what an account may spend; None where the log is older than its pins."""
        domain, cohort, holder = account
        own = self.own.get((domain, cohort))
        if own is not None:
            return own.get(holder, NOTHING)
        return self.pinned.get((domain, holder), NOTHING) if self.pinned else None

    def pin(self, facts: Mapping[str, Any]) -> Iterator[str]:
        """Enter figures of all cohorts; yield what is wrong with them."""
        domains = set()
        for row in facts["shares"]:
            here = (str(row["domain"]), str(row["holder"]))
            if here in self.pinned:
                yield f"the budget of {here} was pinned twice"
                continue
            self.pinned[here] = _figures(row)
            domains.add(here[0])
        for domain in sorted(domains):
            holders = {h: f for (d, h), f in self.pinned.items() if d == domain}
            if not _fits(holders):
                yield f"domain {domain}: allotments were pinned that exceed the cap"

    def propose(self, facts: Mapping[str, Any]) -> None:
        """Remember a proposal."""
        self.proposed[facts["proposal"]] = _wanted(facts)

    def decide(
        self, facts: Mapping[str, Any], time: str, charged: Iterable[Account]
    ) -> Iterator[str]:
        """Enter a decision; yield what is wrong with it."""
        if facts["state"] != State.IN_FORCE.value:
            return
        domain, cohort, holders = wanted = _wanted(facts)
        name = f"the budget of {domain} {cohort}"
        if self.proposed.get(facts["proposal"]) != wanted:
            yield f"{name} is not what was proposed"
        if facts["proposal"] in self.decided:
            yield f"{name} was decided twice by one proposal"
        if any((d, c) == (domain, cohort) for d, c, _ in charged):
            yield f"{name} changed after it was charged"
        if cohort <= int(time[:4] or 0):
            yield f"{name} changed after it had begun"
        if not _fits(holders):
            yield f"{name} has allotments that exceed the cap"
        self.decided.add(facts["proposal"])
        self.own[domain, cohort] = holders


def _wanted(facts: Mapping[str, Any]) -> tuple[str, int, dict[str, Figures]]:
    holders = {str(row["holder"]): _figures(row) for row in facts["shares"]}
    return str(facts["domain"]), int(facts["cohort"]), holders


def _figures(row: Mapping[str, Any]) -> Figures:
    return int(row["micro_rho"]), int(row["delta_1e12"])


def _fits(holders: Mapping[str, Figures]) -> bool:
    cap = holders.get(COHORT, NOTHING)
    shares = [f for h, f in holders.items() if h != COHORT]
    return sum(s[0] for s in shares) <= cap[0] and sum(s[1] for s in shares) <= cap[1]
