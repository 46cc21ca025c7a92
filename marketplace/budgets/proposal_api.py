"""Budgets of later cohorts over HTTP; nothing is decided here."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, StrictInt

from marketplace.budgets.model import Shares
from marketplace.budgets.proposal import Proposal
from marketplace.http import Caller, Here, StrictBody
from marketplace.paging import Paged
from privacy.dp.budget import Budget

router = APIRouter(prefix="/budget", tags=["budgets"])

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Tenant = Annotated[str, Field(min_length=1, max_length=64)]
Words = Annotated[str, Field(max_length=1_000)]
MOST = 10**12
"""Largest figure: a million rho is no privacy at all."""


class ShareBody(StrictBody):
    """What may be lost."""

    micro_rho: Annotated[StrictInt, Field(ge=0, le=MOST)]
    delta_1e12: Annotated[StrictInt, Field(ge=0, le=MOST)] = 0


class ProposalBody(StrictBody):
    """Figures for one cohort that has not begun."""

    domain: Annotated[str, Field(min_length=1, max_length=64)]
    cohort: Annotated[StrictInt, Field(ge=1900, le=9999)]
    cap: ShareBody
    allotments: Annotated[dict[Tenant, ShareBody], Field(max_length=200)]
    reason: Annotated[str, Field(min_length=1, max_length=1_000)]


class DecisionBody(StrictBody):
    """A word on the text with this digest, and on no other."""

    text_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    approve: bool
    comment: Words = ""


@router.get("/proposals")
def proposals(here: Here, caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return proposals for later cohorts, newest first."""
    return [told(p) for p in pages.page(here.proposals.listed(caller, pages.window))]


@router.post("/proposals", status_code=201)
def propose(body: ProposalBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Propose what a cohort may spend that has not begun; another person decides."""
    shares = Shares(_budget(body.cap), {t: _budget(s) for t, s in body.allotments.items()})
    return told(here.proposals.propose(caller, body.domain, body.cohort, shares, body.reason))


@router.post("/proposals/{proposal}/decision")
def decide(proposal: Id, body: DecisionBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Put a proposal of another person in force, or decline it."""
    made = here.proposals.decide(
        caller, proposal, body.text_sha256, body.comment, approve=body.approve
    )
    return told(made)


@router.post("/proposals/{proposal}/withdrawal")
def withdraw(proposal: Id, here: Here, caller: Caller) -> dict[str, Any]:
    """Take an own proposal back."""
    return told(here.proposals.withdraw(caller, proposal))


def told(found: Proposal) -> dict[str, Any]:
    """Return a proposal as JSON."""
    return {
        "id": found.id,
        "domain": found.domain,
        "cohort": found.cohort,
        "state": found.state.value,
        "shares": _shares(found.shares),
        "before": _shares(found.before),
        "reason": found.reason,
        "by": found.by,
        "organisation": found.organisation,
        "created": found.created,
        "decided_by": found.decided_by,
        "decided": found.decided,
        "comment": found.comment,
        "text_sha256": found.sha256,
    }


def _budget(body: ShareBody) -> Budget:
    return Budget(body.micro_rho, body.delta_1e12)


def _shares(shares: Shares) -> dict[str, Any]:
    return {
        "cap": _figures(shares.cap),
        "allotments": {t: _figures(s) for t, s in sorted(shares.allotments.items())},
    }


def _figures(share: Budget) -> dict[str, int]:
    return {"micro_rho": share.micro_rho, "delta_1e12": share.delta_1e12}
