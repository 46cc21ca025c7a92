"""Contracts and the tenant funnel over HTTP; nothing is decided here."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from marketplace.contracts.model import Contract, Stage, Terms
from marketplace.contracts.service import Standing
from marketplace.errors import MarketplaceError
from marketplace.http import Caller, Here, StrictBody
from marketplace.paging import Paged

router = APIRouter(tags=["contracts"])

Name = Annotated[str, Field(min_length=1, max_length=64)]
Names = Annotated[list[Name], Field(min_length=1, max_length=50)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seconds = Annotated[int, Field(ge=0, le=10**11)]


class TermsBody(StrictBody):
    """What is agreed; `resources` maps a table to fields, either may be `*`."""

    tenant: Name
    parties: Names
    purposes: Names
    resources: Annotated[dict[Name, Names], Field(min_length=1, max_length=500)]
    lanes: Names
    micro_rho: Annotated[int, Field(ge=1, le=10**15)]
    calls: Annotated[int, Field(ge=1, le=10**12)]
    starts: Seconds
    ends: Seconds


class SignatureBody(StrictBody):
    """A party's word for the text with this digest."""

    text_sha256: Digest


class CertificateBody(StrictBody):
    """The SHA-256 of a destruction certificate."""

    certificate_sha256: Digest


class StageBody(StrictBody):
    """The next stage of a tenant."""

    stage: Annotated[Stage, Field(strict=False)]


@router.post("/contracts", status_code=201)
def draft(body: TermsBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Write a contract that its parties can sign."""
    try:
        terms = Terms(
            body.tenant,
            tuple(body.parties),
            tuple(body.purposes),
            {k: tuple(v) for k, v in body.resources.items()},
            tuple(body.lanes),
            body.micro_rho,
            body.calls,
            body.starts,
            body.ends,
        )
    except ValueError as error:
        en = f"{error}."
        raise MarketplaceError("BAD_REQUEST", en, f"请求不符合约定：{error}。") from error
    return _contract(here.contracts.draft(caller, terms))


@router.get("/contracts")
def contracts(here: Here, caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return the contracts of the caller's organisation; to overseers, all."""
    return [_contract(c) for c in pages.cut(here.contracts.visible(caller))]


@router.post("/contracts/{contract_id}/signatures")
def sign(contract_id: str, body: SignatureBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Sign for the caller's organisation."""
    return _contract(here.contracts.sign(caller, contract_id, body.text_sha256))


@router.post("/contracts/{contract_id}/exit")
def leave(contract_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """End a contract; access under it ends at once."""
    return _contract(here.contracts.leave(caller, contract_id))


@router.post("/contracts/{contract_id}/destruction")
def certify(contract_id: str, body: CertificateBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Put the destruction certificate on an exited contract."""
    return _contract(here.contracts.certify(caller, contract_id, body.certificate_sha256))


@router.get("/funnel")
def funnel(here: Here, caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return the stage of each tenant with the seconds spent in every stage so far."""
    return [_standing(s) for s in pages.cut(here.contracts.funnel(caller))]


@router.post("/funnel/{tenant}")
def advance(tenant: Name, body: StageBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Move a tenant to its next stage."""
    return _standing(here.contracts.advance(caller, tenant, body.stage))


def _contract(c: Contract) -> dict[str, Any]:
    t = c.terms
    return {
        "id": c.id,
        "state": c.state.value,
        "tenant": t.tenant,
        "parties": list(t.parties),
        "purposes": list(t.purposes),
        "resources": {k: list(v) for k, v in t.resources.items()},
        "lanes": list(t.lanes),
        "micro_rho": t.micro_rho,
        "micro_rho_used": c.micro_rho_used,
        "calls": t.calls,
        "calls_used": c.calls_used,
        "starts": t.starts,
        "ends": t.ends,
        "text_sha256": c.sha256,
        "signatures": [
            {"organisation": s.organisation, "user": s.user, "time": s.time} for s in c.signatures
        ],
        "certificate_sha256": c.certificate,
    }


def _standing(s: Standing) -> dict[str, Any]:
    return {"tenant": s.tenant, "stage": s.stage.value, "seconds": s.seconds}
