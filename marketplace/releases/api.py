"""Reservations, releases and what users read back, over HTTP; nothing is decided here."""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from marketplace.audit.entry import Plain
from marketplace.budgets.api import told
from marketplace.http import GATEWAY_ONLY, Caller, Here, StrictBody
from marketplace.paging import Paged
from marketplace.releases import reading, refusals
from marketplace.releases.model import Ask, Item, Made, Recorded, Reservation
from privacy.dp.budget import Budget

router = APIRouter(tags=["releases"])

Name = Annotated[str, Field(min_length=1, max_length=128)]
ShortName = Annotated[str, Field(min_length=1, max_length=64)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Micro = Annotated[int, Field(ge=0, le=10**12)]
Cohort = Annotated[int, Field(ge=0, le=9999)]

ARROW = "application/vnd.apache.arrow.stream"


class TableBody(StrictBody):
    """A table version that a question reads."""

    name: ShortName
    version: Annotated[str, Field(min_length=1, max_length=80)]
    contract_digest: Annotated[str, Field(max_length=80)] = ""
    fields: Annotated[list[ShortName], Field(max_length=500)] | None = None


class ItemBody(StrictBody):
    """One release that a question needs."""

    digest: Digest
    domain: ShortName
    cohorts: Annotated[list[Cohort], Field(min_length=1, max_length=200)]
    micro_rho: Annotated[int, Field(ge=1, le=10**12)]
    delta_1e12: Micro
    mechanism: Annotated[str, Field(max_length=200)] = ""


class ReserveBody(StrictBody):
    """A request to reserve; `epsilon` is a decimal as text."""

    operation_id: Name
    user: ShortName
    tenant: ShortName
    purpose: Annotated[str, Field(max_length=200)]
    epsilon: Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,12})?$")]
    tables: Annotated[list[TableBody], Field(min_length=1, max_length=100)]
    plan_digest: Digest
    items: Annotated[list[ItemBody], Field(min_length=1, max_length=200)]


class MadeBody(StrictBody):
    """A computed release: its bytes (base64) and the parameters of its noise (JSON)."""

    digest: Digest
    answer_b64: str
    mechanism: Annotated[str, Field(max_length=60_000)]


class RecordBody(StrictBody):
    """The releases of one reservation."""

    fencing_token: Name
    items: Annotated[list[MadeBody], Field(max_length=200)]
    tables: Annotated[list[TableBody], Field(min_length=1, max_length=100)]


class FenceBody(StrictBody):
    """The proof that the caller holds the reservation."""

    fencing_token: Name


class NothingReadBody(FenceBody):
    """The gateway's word, kept as a commitment in the log."""

    attestation: Annotated[str, Field(min_length=1, max_length=1000)]


@router.post("/reservations", dependencies=[GATEWAY_ONLY])
def reserve(body: ReserveBody, here: Here) -> dict[str, Any]:
    """Spend the budget of an answer; the same operation again returns the same reservation."""
    try:
        ask = Ask(
            operation_id=body.operation_id,
            user=body.user,
            tenant=body.tenant,
            purpose=body.purpose,
            epsilon=body.epsilon,
            tables={t.name: t.version for t in body.tables},
            plan_digest=body.plan_digest,
            items=tuple(_item(i) for i in body.items),
            fields={t.name: tuple(t.fields) for t in body.tables if t.fields is not None},
        )
    except ValueError as error:
        raise refusals.malformed(str(error)) from error
    return _reservation(here.releases.reserve(ask))


@router.put("/releases/{reservation_id}", dependencies=[GATEWAY_ONLY])
def record(reservation_id: str, body: RecordBody, here: Here) -> dict[str, Any]:
    """Commit computed releases with their bytes and log entries."""
    made = tuple(Made(i.digest, _bytes(i.answer_b64), i.mechanism) for i in body.items)
    tables = {t.name: t.version for t in body.tables}
    return _recorded(here.releases.record(reservation_id, body.fencing_token, made, tables))


@router.get("/reservations/{reservation_id}/releases", dependencies=[GATEWAY_ONLY])
def recorded(reservation_id: str, here: Here) -> dict[str, Any]:
    """Return the committed releases of a reservation, with its receipt."""
    return _recorded(here.releases.recorded(reservation_id))


@router.post("/reservations/{reservation_id}/nothing-read", dependencies=[GATEWAY_ONLY])
def nothing_read(reservation_id: str, body: NothingReadBody, here: Here) -> dict[str, str]:
    """Refund an open reservation for which no data was read."""
    here.releases.nothing_read(reservation_id, body.fencing_token, body.attestation)
    return {"state": "refunded"}


@router.post("/reservations/{reservation_id}/failed", dependencies=[GATEWAY_ONLY])
def failed(reservation_id: str, body: FenceBody, here: Here) -> dict[str, str]:
    """Close a reservation whose computation failed; the charge stays."""
    here.releases.failed(reservation_id, body.fencing_token)
    return {"state": "failed"}


@router.get(
    "/tenants/{tenant}/releases/{release_id}/answer",
    dependencies=[GATEWAY_ONLY],
    response_class=Response,
)
def answer(tenant: str, release_id: str, here: Here) -> Response:
    """Return committed bytes to the gateway."""
    return Response(here.releases.answer(release_id, tenant), media_type=ARROW)


@router.get("/releases/{release_id}/answer", response_class=Response)
def own_answer(release_id: str, here: Here, caller: Caller) -> Response:
    """Return the bytes of one of the caller's own releases (re-download)."""
    return Response(here.releases.answer(release_id, caller.tenant), media_type=ARROW)


@router.get("/queries")
def queries(here: Here, caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return the caller's questions: cost, state, receipt, releases."""
    found = reading.history(here.database, caller.tenant, caller.user, pages.window)
    return [dict(q) for q in pages.page(found)]


@router.get("/receipts/{receipt_id}")
def receipt(receipt_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """Return a receipt of the caller's organisation, by its own id or a release's, with proofs."""
    found: dict[str, Plain] = reading.receipt(here.database, here.log, caller.tenant, receipt_id)
    return dict(found)


def _item(body: ItemBody) -> Item:
    cost = Budget(body.micro_rho, body.delta_1e12)
    return Item(body.digest, body.domain, tuple(sorted(body.cohorts)), cost, body.mechanism)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise refusals.malformed("an answer is sent as base64") from error


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
    return {
        "releases": made.release_ids,
        "receipt": made.receipt,
        "proofs": made.proofs,
        "answers_b64": {r: base64.b64encode(data).decode() for r, data in made.answers.items()},
        "budget": [told(left) for left in made.left],
    }
