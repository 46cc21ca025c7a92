"""Paying for answers: the marketplace's reserve and record, as two calls around one computation.

Reserve spends. What was stored at this price or a better one comes back without a charge; the rest
is prepared, computed, noised, recorded with its bytes, and read back before anybody sees it. What
fails while it is prepared has read no private row and is refunded; what fails later closes the
reservation as failed, and the charge stays (soundness C.23).
"""

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from marketplace.client import (
    Committed,
    Grant,
    Held,
    MadeItem,
    MarketplaceClient,
    MarketplaceProblem,
    SessionView,
    WantedItem,
)
from privacy.dp.analysis import MECHANISMS
from privacy.dp.budget import epsilon_of, micro_rho_of
from privacy.dp.draw import ReleasePlan, costs
from privacy.dp.reading import fields_read
from privacy.errors import Refusal
from sandbox.gateway.answering import Asker
from sandbox.gateway.auth import UnknownTokenError
from sandbox.gateway.execute import Compute, Judged, Receipt, plan_digest
from sandbox.gateway.one_by_one import OneByOne

log = logging.getLogger(__name__)


class MarketplaceAuthority:
    """Looks tokens up with the marketplace (`sandbox.gateway.auth.Authority`)."""

    def __init__(self, client: MarketplaceClient) -> None:
        """Ask through `client`."""
        self._client = client

    def session(self, token: str) -> SessionView:
        """Return the holder of `token`."""
        try:
            return self._client.session(token)
        except MarketplaceProblem as problem:
            if problem.code == "AUTHENTICATION":
                raise UnknownTokenError from problem
            raise _refusal(problem) from problem


class MarketplacePurse:
    """`sandbox.gateway.execute.Purse` over HTTP."""

    def __init__(
        self,
        client: MarketplaceClient,
        report: Callable[[Mapping[str, str]], None] = lambda _versions: None,
    ) -> None:
        """Pay through `client`; `report` returns when the log knows the versions it is given."""
        self._client, self._report = client, report
        self._asking = OneByOne()

    def price(
        self, asker: Asker, tables: tuple[str, ...], epsilon: float | None
    ) -> tuple[str, int]:
        """Return the epsilon that applies, as text, and its micro-rho."""
        grants: Mapping[str, Grant] = getattr(asker.account, "tables", {})
        held = [grants[t] for t in tables if t in grants]
        if len(held) < len(tables):
            raise Refusal(
                "GRANT_REVOKED",
                "Your organisation has no valid grant for a table of this question. Ask its "
                "provider.",
                "贵机构对此问题所涉的某张表没有有效授权，请向其提供方申请。",
            )
        chosen = min(g.epsilon_default for g in held) if epsilon is None else epsilon
        if not (math.isfinite(chosen) and chosen > 0):
            raise Refusal(
                "BAD_EPSILON",
                "Epsilon is a positive finite number, for example lab.epsilon=0.5.",
                "epsilon 应为有限正数，例如 lab.epsilon=0.5。",
            )
        most = min(g.epsilon_max for g in held)
        if chosen > most:
            raise Refusal(
                "EPSILON_TOO_LARGE",
                f"Your grant allows epsilon up to {most:g} a question, and this one asks "
                f"{chosen:g}. "
                "Lower lab.epsilon.",
                f"您的授权允许每个问题的 epsilon 至多 {most:g}，此问题为 {chosen:g}。请降低 "
                "lab.epsilon。",
            )
        micro_rho = micro_rho_of(chosen)
        if micro_rho < 1:
            raise Refusal(
                "BAD_EPSILON",
                f"Epsilon {chosen:g} is below the ledger's smallest step. Ask at 0.01 or more.",
                f"epsilon {chosen:g} 低于账本的最小单位，请使用 0.01 或以上。",
            )
        return f"{chosen:.6f}".rstrip("0").rstrip("."), micro_rho

    def left(self, asker: Asker, domain: str) -> tuple[str, int]:
        """Return the asker's remaining budget of a unit domain, as epsilon and micro-rho."""
        try:
            left = self._client.budget(asker.tenant, domain)
        except MarketplaceProblem as problem:
            raise _refusal(problem) from problem
        return left.epsilon, left.micro_rho

    def epsilon_for(self, micro_rho: int) -> float:
        """Return the epsilon whose price is this many micro-rho."""
        return epsilon_of(micro_rho)

    def pay(
        self,
        asker: Asker,
        judged: Judged,
        operation_id: str,
        prepare: Callable[[ReleasePlan], Compute],
        settle: Callable[[], None],
    ) -> Receipt:
        """Reserve, compute what is not stored yet, record, and read the committed bytes back.

        Two sessions that ask with one operation id do so one after the other: the second finds the
        answer of the first, instead of taking the reservation from it.
        """
        try:
            with self._asking.holding((asker.tenant, operation_id)):
                return self._pay(asker, judged, operation_id, prepare, settle)
        except MarketplaceProblem as problem:
            raise _refusal(problem) from problem

    def _pay(
        self,
        asker: Asker,
        judged: Judged,
        operation_id: str,
        prepare: Callable[[ReleasePlan], Compute],
        settle: Callable[[], None],
    ) -> Receipt:
        releases = judged.program.releases
        names = {t for r in releases for t in r.tables if judged.facts.tables[t].is_private}
        tables = {name: judged.facts.tables[name].version for name in sorted(names)}
        prices = costs(judged.program, judged.micro_rho)
        used = fields_read(r.exact for r in releases)
        self._report(tables)
        held = self._client.reserve(
            operation_id=operation_id,
            user=asker.user,
            tenant=asker.tenant,
            purpose=judged.purpose or "",
            epsilon=judged.epsilon,
            tables=tables,
            plan_digest=plan_digest(judged),
            items=[
                WantedItem(r.digest, r.domain, r.cohorts, p.micro_rho, p.delta_1e12, MECHANISMS)
                for r, p in zip(releases, prices, strict=True)
            ],
            fields={name: used.get(name, frozenset()) for name in tables},
        )
        missing = {i.digest for i in held.items if i.release_id is None}
        if missing:
            committed = self._computed(judged, held, missing, prepare, settle, tables)
        else:
            committed = self._client.recorded(held.reservation_id)
        answers = {
            digest: committed.answers.get(release_id)
            or self._client.answer(asker.tenant, release_id)
            for digest, release_id in committed.releases.items()
        }
        charged = int(committed.receipt["charged_micro_rho"])
        left = committed.left[releases[0].domain]
        return Receipt(
            receipt=f"{committed.receipt['receipt_id']}@{committed.receipt['entry_index']}",
            cost_micro_rho=charged,
            cost_epsilon=judged.epsilon,
            left_epsilon=left.epsilon,
            left_micro_rho=left.micro_rho,
            answers=answers,
            proofs=tuple(committed.proofs[r] for r in sorted(committed.releases.values())),
        )

    def _computed(
        self,
        judged: Judged,
        held: Held,
        missing: set[str],
        prepare: Callable[[ReleasePlan], Compute],
        settle: Callable[[], None],
        tables: Mapping[str, str],
    ) -> Committed:
        releases = zip(judged.program.releases, judged.shares, strict=True)
        wanted = [(plan, share) for plan, share in releases if plan.digest in missing]
        with self._on_failure(held, self._client.nothing_read):
            # All of them first: what fails here has read nothing, and is not charged.
            ready = [(plan.digest, prepare(plan), share) for plan, share in wanted]
        made: list[MadeItem] = []
        with self._on_failure(held, self._client.failed):
            # Data may have been read: the charge stays, and the marketplace learns why no answer
            # came.
            try:
                for digest, compute, share in ready:
                    data, release = compute(share)
                    made.append(MadeItem(digest, data, json.dumps(release.parameters)))
            finally:
                # The log is public: when something comes of it must not tell how long it took.
                settle()
        return self._client.record(held, made, tables)

    @contextmanager
    def _on_failure(self, held: Held, close: Callable[[Held], None]) -> Iterator[None]:
        """Close the reservation if the block fails, and let its own reason through."""
        try:
            yield
        except BaseException:
            try:
                close(held)
            except MarketplaceProblem as problem:
                # The charge stays until the operation is asked again or its reservation closed.
                log.warning("reservation not closed (%s)", problem.code)
            raise


def _refusal(problem: MarketplaceProblem) -> Refusal:
    return Refusal(problem.code, problem.en, problem.zh)
