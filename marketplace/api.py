"""HTTP: requests and answers as JSON, nothing decided here."""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from marketplace.audit import store as log
from marketplace.audit.entry import Plain
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person
from marketplace.releases.model import Ask, Item, Left, Made, Recorded, Reservation
from marketplace.services import Services
from privacy.dp.budget import Budget, epsilon_of

router = APIRouter(prefix="/api/v1")

Name = Annotated[str, Field(min_length=1, max_length=128)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Micro = Annotated[int, Field(ge=0, le=10**12)]


class Strict(BaseModel):
    """A body whose unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class TokenBody(Strict):
    """A user's bearer token, passed on by the gateway."""

    token: Annotated[str, Field(min_length=8, max_length=4096)]


class TableBody(Strict):
    """A table version that a question reads."""

    name: Name
    version: Annotated[str, Field(min_length=1, max_length=80)]


class ItemBody(Strict):
    """One release that a question needs."""

    digest: Digest
    domain: Name
    cohorts: Annotated[list[int], Field(max_length=1000)]
    micro_rho: Micro
    delta_1e12: Micro


class ReserveBody(Strict):
    """A request to reserve; `epsilon` is a decimal as text."""

    operation_id: Name
    user: Name
    tenant: Name
    purpose: Annotated[str, Field(max_length=200)]
    epsilon: Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,12})?(e-[0-9]{1,2})?$")]
    tables: Annotated[list[TableBody], Field(max_length=100)]
    plan_digest: Digest
    items: Annotated[list[ItemBody], Field(min_length=1, max_length=1000)]


class MadeBody(Strict):
    """A computed release: its bytes (base64) and the parameters of its noise (JSON)."""

    digest: Digest
    answer_b64: str
    mechanism: Annotated[str, Field(max_length=60_000)]


class RecordBody(Strict):
    """The releases of one reservation."""

    fencing_token: Name
    items: Annotated[list[MadeBody], Field(max_length=1000)]
    tables: Annotated[list[TableBody], Field(max_length=100)]


class FenceBody(Strict):
    """The proof that the caller holds the reservation."""

    fencing_token: Name


def services(request: Request) -> Services:
    """Return the application's services."""
    found: Services = request.app.state.services
    return found


def _token(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise MarketplaceError("AUTHENTICATION", "Send a bearer token.", "请提供 bearer 令牌。")
    return token


def gateway(
    all_services: Annotated[Services, Depends(services)],
    authorization: Annotated[str, Header()] = "",
) -> None:
    """Let only the gateway's service token pass."""
    if not all_services.directory.is_gateway(_token(authorization)):
        raise MarketplaceError("FORBIDDEN", "Only the gateway may do this.", "仅网关可执行此操作。")


def person(
    all_services: Annotated[Services, Depends(services)],
    authorization: Annotated[str, Header()] = "",
) -> Person:
    """Return the calling user."""
    found = all_services.directory.person(_token(authorization))
    if found is None:
        raise MarketplaceError(
            "AUTHENTICATION", "The token is not valid, or it was revoked.", "令牌无效或已被吊销。"
        )
    return found


Here = Annotated[Services, Depends(services)]
Caller = Annotated[Person, Depends(person)]
Gateway = Depends(gateway)


@router.post("/sessions", dependencies=[Gateway])
def open_session(body: TokenBody, here: Here) -> dict[str, Any]:
    """Return who holds a token, and what that organisation may ask."""
    found = here.directory.person(body.token)
    if found is None:
        raise MarketplaceError(
            "AUTHENTICATION", "The token is not valid, or it was revoked.", "令牌无效或已被吊销。"
        )
    grants = here.policy().grants.get(found.tenant, {})
    return {
        "user": found.user,
        "tenant": found.tenant,
        "roles": list(found.roles),
        "language": found.language,
        "tables": {
            name: {
                "purposes": list(g.purposes),
                "epsilon_default": g.epsilon_default,
                "epsilon_max": g.epsilon_max,
            }
            for name, g in grants.items()
        },
    }


@router.post("/reservations", dependencies=[Gateway])
def reserve(body: ReserveBody, here: Here) -> dict[str, Any]:
    """Spend the budget of an answer; the same operation again returns the same reservation."""
    made = here.releases.reserve(
        Ask(
            operation_id=body.operation_id,
            user=body.user,
            tenant=body.tenant,
            purpose=body.purpose,
            epsilon=body.epsilon,
            tables={t.name: t.version for t in body.tables},
            plan_digest=body.plan_digest,
            items=tuple(
                Item(i.digest, i.domain, tuple(i.cohorts), Budget(i.micro_rho, i.delta_1e12))
                for i in body.items
            ),
        )
    )
    return _reservation(made)


@router.put("/releases/{reservation_id}", dependencies=[Gateway])
def record(reservation_id: str, body: RecordBody, here: Here) -> dict[str, Any]:
    """Commit computed releases with their bytes and log entry."""
    made = tuple(Made(i.digest, _bytes(i.answer_b64), i.mechanism) for i in body.items)
    tables = {t.name: t.version for t in body.tables}
    return _recorded(here.releases.record(reservation_id, body.fencing_token, made, tables))


@router.get("/reservations/{reservation_id}/releases", dependencies=[Gateway])
def recorded(reservation_id: str, here: Here) -> dict[str, Any]:
    """Return the committed releases of a reservation, with its receipt."""
    return _recorded(here.releases.recorded(reservation_id))


@router.post("/reservations/{reservation_id}/nothing-read", dependencies=[Gateway])
def nothing_read(reservation_id: str, body: FenceBody, here: Here) -> dict[str, str]:
    """Refund an open reservation for which no data was read."""
    here.releases.nothing_read(reservation_id, body.fencing_token)
    return {"state": "refunded"}


@router.post("/reservations/{reservation_id}/failed", dependencies=[Gateway])
def failed(reservation_id: str, body: FenceBody, here: Here) -> dict[str, str]:
    """Close a reservation whose computation failed; the charge stays."""
    here.releases.failed(reservation_id, body.fencing_token)
    return {"state": "failed"}


@router.get("/tenants/{tenant}/releases/{release_id}/answer", dependencies=[Gateway])
def answer(tenant: str, release_id: str, here: Here) -> Response:
    """Return committed bytes to the gateway."""
    data = here.releases.answer(release_id, tenant)
    return Response(data, media_type="application/vnd.apache.arrow.stream")


@router.get("/tenants/{tenant}/budget", dependencies=[Gateway])
def tenant_budget(tenant: str, domain: str, here: Here) -> dict[str, Any]:
    """Return a tenant's own remaining budget."""
    return _left(domain, here.releases.left(tenant, domain))


@router.get("/releases/{release_id}/answer")
def own_answer(release_id: str, here: Here, caller: Caller) -> Response:
    """Return the bytes of one of the caller's own releases (re-download)."""
    data = here.releases.answer(release_id, caller.tenant)
    return Response(data, media_type="application/vnd.apache.arrow.stream")


@router.get("/budget")
def own_budget(domain: str, here: Here, caller: Caller) -> dict[str, Any]:
    """Return the caller's organisation's remaining budget."""
    return _left(domain, here.releases.left(caller.tenant, domain))


@router.get("/queries")
def queries(here: Here, caller: Caller) -> list[dict[str, Plain]]:
    """Return the caller's questions: cost, state, releases."""
    return here.releases.history(caller.tenant, caller.user)


@router.get("/log/checkpoint")
def checkpoint(here: Here) -> dict[str, Any]:
    """Return the size and root of the log."""
    with here.reading() as connection:
        size, root = log.checkpoint(connection)
    return {"size": size, "root": root.hex()}


@router.get("/log/proofs/{index}")
def proof(index: int, here: Here) -> dict[str, Any]:
    """Return the audit path of one entry; hashes only, so anyone may ask."""
    with here.reading() as connection:
        try:
            size, root, path = log.proof(connection, index)
        except ValueError as error:
            raise MarketplaceError("NOT_FOUND", str(error), "日志中没有该条目。") from error
    return {"index": index, "size": size, "root": root.hex(), "proof": [p.hex() for p in path]}


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise MarketplaceError(
            "BAD_REQUEST", "An answer is sent as base64.", "回答应以 base64 发送。"
        ) from error


def _reservation(made: Reservation) -> dict[str, Any]:
    return {
        "reservation_id": made.id,
        "fencing_token": made.fencing_token,
        "state": made.state.value,
        "items": [
            {
                "digest": i.digest,
                "status": "stored" if i.release_id else "reserved",
                "release_id": i.release_id,
                "charged_micro_rho": i.charged_micro_rho,
            }
            for i in made.items
        ],
    }


def _recorded(made: Recorded) -> dict[str, Any]:
    return {"releases": made.release_ids, "receipt": made.receipt}


def _left(domain: str, left: Left) -> dict[str, Any]:
    return {
        "domain": domain,
        "micro_rho": left.budget.micro_rho,
        "delta_1e12": left.budget.delta_1e12,
        "cap_micro_rho": left.cap.micro_rho,
        "epsilon": f"{epsilon_of(left.budget.micro_rho):.4f}",
    }
