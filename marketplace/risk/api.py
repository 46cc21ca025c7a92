"""Risk events over HTTP: which rules apply, what they found, what people do about it."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from marketplace.http import Caller, Here, StrictBody
from marketplace.paging import Paged
from marketplace.risk.model import Disposal, RiskEvent, State

router = APIRouter(prefix="/risk", tags=["risk"])

Words = Annotated[str, Field(min_length=1, max_length=2000)]


class HandlerBody(StrictBody):
    """Who deals with an event."""

    handler: Annotated[str, Field(min_length=1, max_length=64)]


class CommentBody(StrictBody):
    """What is said; it is sealed for its author."""

    comment: Words


class ClosingBody(CommentBody):
    """How an event ended, and why."""

    disposal: Disposal = Field(strict=False)


@router.get("/rules")
def rules(here: Here, caller: Caller) -> dict[str, Any]:
    """Return every rule with its thresholds, or with the reason why it is not applied."""
    policy = here.risks.rules(caller)
    return {
        "rules": {
            name: {
                "severity": rule.severity.value,
                "score": rule.score,
                "action": rule.action.value,
                "quiet_hours": rule.quiet_hours,
                **{n: sorted(v) if isinstance(v, frozenset) else v for n, v in rule.limits.items()},
            }
            for name, rule in policy.rules.items()
        },
        "not_applied": {name: dict(why) for name, why in policy.not_applied.items()},
    }


@router.get("/events")
def events(
    here: Here,
    caller: Caller,
    pages: Paged,
    state: State | None = None,
    rule: Annotated[str, Field(max_length=16)] = "",
) -> list[dict[str, Any]]:
    """Return events, newest first; the reading is an entry of the log."""
    found = here.risks.events(caller, state, rule, pages.window)
    return [shown(e) for e in pages.page(found)]


@router.get("/events/{event_id}")
def event(event_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """Return one event with its steps; the reading is an entry of the log."""
    return shown(here.risks.one(caller, event_id))


@router.post("/events/{event_id}/assignment")
def assign(event_id: str, body: HandlerBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Name who deals with an event."""
    return shown(here.risks.assign(caller, event_id, body.handler))


@router.post("/events/{event_id}/comments")
def comment(event_id: str, body: CommentBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Say something about an event."""
    return shown(here.risks.comment(caller, event_id, body.comment))


@router.post("/events/{event_id}/stop")
def stop(event_id: str, body: CommentBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Stop the organisation that an event is about; the caller needs the right to stop."""
    return shown(here.risks.stop(caller, event_id, body.comment))


@router.post("/events/{event_id}/closing")
def close(event_id: str, body: ClosingBody, here: Here, caller: Caller) -> dict[str, Any]:
    """End an event."""
    return shown(here.risks.close(caller, event_id, body.disposal, body.comment))


def shown(found: RiskEvent) -> dict[str, Any]:
    """Return an event as JSON."""
    hit, closed = found.hit, found.closed_at
    return {
        "id": found.id,
        "rule": hit.rule,
        "severity": hit.severity.value,
        "score": hit.score,
        "action": hit.action.value,
        "organisation": hit.tenant,
        "person": hit.actor,
        "about": hit.about,
        "figures": dict(hit.figures),
        "evidence": list(hit.evidence),
        "entry_index": found.entry_index,
        "happened": found.happened.isoformat(timespec="seconds"),
        "raised": found.raised.isoformat(timespec="seconds"),
        "state": found.state.value,
        "handler": found.handler,
        "disposal": found.disposal,
        "closed_at": closed.isoformat(timespec="seconds") if closed else None,
        "steps": [
            {
                "step": s.step.value,
                "user": s.user,
                "organisation": s.organisation,
                "time": s.time.isoformat(timespec="seconds"),
                "handler": s.handler,
                "disposal": s.disposal,
                "stop": s.stop,
                "comment": s.comment,
            }
            for s in found.steps
        ],
    }
