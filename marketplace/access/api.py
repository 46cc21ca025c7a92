"""The access workflow over HTTP; nothing is decided here."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from marketplace.access.gate import LANE, day
from marketplace.access.grant import MICRO
from marketplace.access.grant_store import Held, Stop
from marketplace.access.model import Terms, Verdict, needed
from marketplace.access.store import Kept, Step
from marketplace.conditions import IfMatch
from marketplace.errors import MarketplaceError
from marketplace.http import Caller, Here, StrictBody
from marketplace.paging import Paged
from marketplace.stamp import expecting

router = APIRouter(prefix="/access", tags=["access"])

Name = Annotated[str, Field(min_length=1, max_length=64)]
Words = Annotated[str, Field(max_length=1000)]
Epsilon = Annotated[str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,6})?$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class TermsBody(StrictBody):
    """What is asked for; `fields` empty means all that the lane can name."""

    table: Name
    purposes: Annotated[list[Name], Field(min_length=1, max_length=20)]
    lanes: Annotated[list[Name], Field(min_length=1, max_length=10)] = Field(
        default_factory=lambda: [LANE]
    )
    fields: Annotated[list[Name], Field(max_length=500)] = Field(default_factory=list)
    epsilon_default: Epsilon = "0.5"
    epsilon_max: Epsilon = "1"
    days: Annotated[int, Field(ge=1, le=3650)] = 90
    reason: Annotated[str, Field(min_length=1, max_length=2000)]


class VerdictBody(StrictBody):
    """A judgement of the text with this digest, and of no other."""

    verdict: Literal["agree", "return", "decline"]
    text_sha256: Digest
    comment: Words = ""


class ReasonBody(StrictBody):
    """Why something is taken away."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class RenewBody(StrictBody):
    """A wish for more days under the same terms."""

    days: Annotated[int, Field(ge=1, le=3650)] = 90
    reason: Annotated[str, Field(min_length=1, max_length=2000)]


class StopBody(ReasonBody):
    """What to stop: one table, one organisation, or the whole lab (with an empty target)."""

    scope: Literal["table", "tenant", "lab"]
    target: Annotated[str, Field(max_length=64)] = ""


class StandInBody(StrictBody):
    """Who takes the caller's place, for how many days."""

    stand_in: Name
    days: Annotated[int, Field(ge=1, le=60)]


@router.get("/drafts")
def draft(table: str, here: Here, caller: Caller, code: str = "") -> dict[str, Any]:
    """Return a request's body as a refusal (its code and table) suggests it."""
    held = next(
        (h for h in here.access.grants.visible(caller) if _is_mine(h, caller.tenant, table)), None
    )
    if held is None:
        live = here.gate.granted(here.database, caller.tenant)
        purposes = list(dict.fromkeys(p for g in live.values() for p in g.purposes))
        terms: dict[str, Any] = {"table": table, "purposes": purposes, "days": 90}
    else:
        terms = _terms(held.grant)
    why = f"A question about {table} was refused ({code})." if code else ""
    follows = held is not None and code == "GRANT_EXPIRED"
    return {**terms, "reason": why, "renews": held.grant.id if held and follows else None}


@router.post("/requests", status_code=201)
def submit(body: TermsBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Ask for access to a table."""
    made = here.access.requests.submit(caller, _read(body))
    return told(*here.access.inbox.request(caller, made.id))


@router.get("/requests")
def own(here: Here, caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return the requests of the caller's organisation, newest first."""
    return [_brief(k) for k in pages.cut(here.access.inbox.own(caller))]


@router.get("/requests/{request_id}")
def one(request_id: str, here: Here, caller: Caller, response: Response) -> dict[str, Any]:
    """Return a request with its text, digest and history."""
    kept, history = here.access.inbox.request(caller, request_id)
    response.headers["etag"] = kept.stamp
    return told(kept, history)


@router.put("/requests/{request_id}")
def edit(
    request_id: str, body: TermsBody, here: Here, caller: Caller, if_match: IfMatch = ""
) -> dict[str, Any]:
    """Replace the text of an own request; all votes are taken back."""
    here.access.requests.edit(caller, request_id, _read(body), expecting(if_match))
    return told(*here.access.inbox.request(caller, request_id))


@router.post("/requests/{request_id}/reviews")
def review(request_id: str, body: VerdictBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Give the provider's word."""
    verdict = Verdict(body.verdict)
    made = here.access.requests.review(caller, request_id, verdict, body.text_sha256, body.comment)
    return {"id": made.id, "state": made.state.value, "text_sha256": made.sha256}


@router.post("/requests/{request_id}/approvals")
def approve(request_id: str, body: VerdictBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Give one approval; the last one that is needed makes the grant."""
    verdict = Verdict(body.verdict)
    made = here.access.requests.approve(caller, request_id, verdict, body.text_sha256, body.comment)
    return {"id": made.id, "state": made.state.value, "text_sha256": made.sha256}


@router.post("/requests/{request_id}/withdrawal")
def withdraw(request_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """Take an own request back."""
    made = here.access.requests.withdraw(caller, request_id)
    return {"id": made.id, "state": made.state.value, "text_sha256": made.sha256}


@router.get("/inbox")
def inbox(here: Here, caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return what the caller may judge now, the longest waiting first."""
    return [
        {
            **_brief(w.kept),
            "for_user": w.actor.for_user,
            "due": w.due,
            "overdue": w.overdue,
        }
        for w in pages.cut(here.access.inbox.waiting(caller))
    ]


@router.get("/grants")
def grants(here: Here, caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return grants of the caller's organisation, and of tables that it provides."""
    return [_grant(h) for h in pages.cut(here.access.grants.visible(caller))]


@router.post("/grants/{grant_id}/revocation")
def revoke(grant_id: str, body: ReasonBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Take a grant away at once."""
    return _grant(here.access.grants.revoke(caller, grant_id, body.reason))


@router.post("/grants/{grant_id}/renewals", status_code=201)
def renew(grant_id: str, body: RenewBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Ask for another term of a grant: a request like any other, with the same terms."""
    g = here.access.grants.renewable(caller, grant_id).grant
    terms = Terms(
        g.table,
        g.purposes,
        g.lanes,
        g.fields,
        g.epsilon_default_micro,
        g.epsilon_max_micro,
        body.days,
        body.reason,
    )
    made = here.access.requests.submit(caller, terms, renews=grant_id)
    return told(*here.access.inbox.request(caller, made.id))


@router.get("/stops")
def stops(here: Here, caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return stops, newest first; another organisation's are not shown."""
    return [_stop(s) for s in pages.cut(here.access.grants.stops(caller))]


@router.post("/stops", status_code=201)
def stop(body: StopBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Stop access to a table, of an organisation, or all of it."""
    if (body.scope == "lab") != (not body.target):
        raise _malformed("a stop of a table or tenant names it, and one of the lab names nothing")
    return _stop(here.access.grants.stop(caller, body.scope, body.target, body.reason))


@router.post("/stops/{stop_id}/lift")
def lift(stop_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """End a stop that somebody else pulled."""
    return _stop(here.access.grants.lift(caller, stop_id))


@router.post("/stand-ins", status_code=201)
def stand_in(body: StandInBody, here: Here, caller: Caller) -> dict[str, str]:
    """Name a colleague who takes the caller's place."""
    named = here.access.inbox.name_stand_in(caller, body.stand_in, body.days)
    return {"user": named.user, "stand_in": named.stand_in, "ends": named.ends}


@router.get("/notices")
def notices(here: Here, caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return the caller's notices, newest first."""
    return [
        {
            "id": n.id,
            "event": n.event,
            "about": n.about,
            "en": n.en,
            "zh": n.zh,
            "created": n.created,
            "read": n.read,
        }
        for n in pages.page(here.access.inbox.notices(caller, pages.window))
    ]


@router.post("/notices/{notice_id}/read")
def read(notice_id: str, here: Here, caller: Caller) -> dict[str, str]:
    """Mark one of the caller's notices as read."""
    here.access.inbox.read(caller, notice_id)
    return {"state": "read"}


@router.get("/waits")
def waits(here: Here, _caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return the median time to a decision, over all tables (empty name) and of each."""
    return [
        {"table": w.table, "median_seconds": w.median_seconds, "decided": w.decided}
        for w in pages.cut(here.access.inbox.waits())
    ]


def _read(body: TermsBody) -> Terms:
    try:
        return Terms(
            body.table,
            tuple(body.purposes),
            tuple(body.lanes),
            tuple(body.fields),
            int(Decimal(body.epsilon_default) * MICRO),
            int(Decimal(body.epsilon_max) * MICRO),
            body.days,
            body.reason,
        )
    except ValueError as error:
        raise _malformed(str(error)) from error


def _malformed(en: str) -> MarketplaceError:
    return MarketplaceError("BAD_REQUEST", f"{en}.", f"请求不符合约定：{en}。")


def _is_mine(held: Held, tenant: str, table: str) -> bool:
    return (held.grant.tenant, held.grant.table) == (tenant, table)


def _terms(terms: Any) -> dict[str, Any]:  # noqa: ANN401  # of a request or a grant
    return {
        "table": terms.table,
        "purposes": list(terms.purposes),
        "lanes": list(terms.lanes),
        "fields": list(terms.fields),
        "epsilon_default": f"{terms.epsilon_default_micro / MICRO:g}",
        "epsilon_max": f"{terms.epsilon_max_micro / MICRO:g}",
    }


def _brief(kept: Kept) -> dict[str, Any]:
    r = kept.request
    return {
        "id": r.id,
        "tenant": r.tenant,
        "user": r.user,
        "table": r.terms.table,
        "state": r.state.value,
        "revision": r.revision,
        "text_sha256": r.sha256,
        "created": kept.created,
        "since": kept.since,
        "approvals": len(r.approvals),
        "approvals_needed": needed(r.rank),
    }


def told(kept: Kept, history: list[Step]) -> dict[str, Any]:
    """Return a request as JSON."""
    r = kept.request
    return {
        **_brief(kept),
        "terms": {**_terms(r.terms), "days": r.terms.days, "reason": r.terms.reason},
        "renews": r.renews,
        "history": [
            {
                "step": s.step,
                "verdict": s.verdict,
                "state": s.state,
                "user": s.actor.user,
                "organisation": s.actor.organisation,
                "for_user": s.actor.for_user,
                "text_sha256": s.sha256,
                "comment": s.comment,
                "time": s.time,
            }
            for s in history
        ],
    }


def _grant(held: Held) -> dict[str, Any]:
    g = held.grant
    return {
        **_terms(g),
        "id": g.id,
        "tenant": g.tenant,
        "state": held.state,
        "starts": day(g.starts),
        "ends": day(g.ends),
        "basis": g.basis,
        "sha256": g.sha256,
    }


def _stop(s: Stop) -> dict[str, Any]:
    return {
        "id": s.id,
        "scope": s.scope,
        "target": s.target,
        "reason": s.reason,
        "by": s.by,
        "since": s.since,
        "lifted": s.lifted,
        "lifted_by": s.lifted_by,
    }
