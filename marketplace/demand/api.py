"""Demands over HTTP; nothing is decided here."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from marketplace.demand.model import Barrier, Rejection, Satisfaction, State, Step, Wanted
from marketplace.demand.service import Shown
from marketplace.http import Caller, Here, StrictBody
from marketplace.paging import Paged

router = APIRouter(tags=["demands"])

Code = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Name = Annotated[str, Field(max_length=64)]
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
OPTIONAL_ID = r"^([0-9a-f]{32})?$"


class DemandBody(StrictBody):
    """What is asked for; without `table` it may be data that does not exist yet."""

    title: Annotated[str, Field(min_length=2, max_length=120)]
    need: Annotated[str, Field(min_length=1, max_length=2_000)]
    purpose: Code
    lane: Code
    table: Name = ""
    provider: Name = ""


class StepBody(StrictBody):
    """What a step states: each field belongs to one step and is empty otherwise."""

    provider: Name = ""
    table: Name = ""
    barrier: Annotated[Barrier | None, Field(strict=False)] = None
    rejection: Annotated[Rejection | None, Field(strict=False)] = None
    repeats: Annotated[str, Field(pattern=OPTIONAL_ID)] = ""
    comment: Annotated[str, Field(max_length=1_000)] = ""


@router.post("/demands", status_code=201)
def submit(body: DemandBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Write a demand; open ones with a title like it are named, so that one can follow them."""
    wanted = Wanted(body.title, body.need, body.purpose, body.lane, body.table, body.provider)
    made, like = here.demands.submit(caller, wanted)
    return _shown(made) | {"like": [_shown(s) for s in like]}


@router.get("/demands")
def demands(
    here: Here, caller: Caller, pages: Paged, state: State | None = None
) -> list[dict[str, Any]]:
    """Return the demand board, newest first, all or those in one state."""
    board = here.demands.board(caller)
    wanted = [s for s in board if state in (None, s.demand.state)]
    return [_shown(s) for s in pages.cut(wanted)]


@router.get("/demands/satisfaction")
def satisfaction(here: Here, _caller: Caller) -> dict[str, Any]:
    """Return the demand satisfaction rate with its denominator and the demands behind it."""
    return _rate(here.demands.satisfaction())


@router.get("/demands/{demand_id}")
def demand(demand_id: Id, here: Here, caller: Caller) -> dict[str, Any]:
    """Return one demand with its steps."""
    return _shown(here.demands.one(caller, demand_id))


@router.post("/demands/{demand_id}/{step}")
def take(demand_id: Id, step: Step, body: StepBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Take one step; the order of steps and who may take which are checked."""
    stated = {
        "provider": body.provider,
        "table": body.table,
        "barrier": body.barrier.value if body.barrier else "",
        "rejection": body.rejection.value if body.rejection else "",
        "repeats": body.repeats,
        "comment": body.comment,
    }
    return _shown(here.demands.take(caller, demand_id, step, **stated))


def _shown(shown: Shown) -> dict[str, Any]:
    d, named = shown.demand, shown.named
    return {
        "id": d.id,
        "state": d.state.value,
        "title": d.wanted.title,
        "purpose": d.wanted.purpose,
        "lane": d.wanted.lane,
        "wanted_table": d.wanted.table,
        "provider": d.provider,
        "table": d.table,
        "due": shown.due.at.isoformat(timespec="seconds") if shown.due else None,
        "provisional": bool(shown.due and shown.due.provisional),
        "overdue": shown.overdue,
        "tenant": d.tenant if named else None,
        "need": d.wanted.need if named else None,
        "steps": [
            {
                "step": s.step.value,
                "time": s.time.isoformat(timespec="seconds"),
                "organisation": s.organisation if named else None,
                "barrier": s.barrier,
                "rejection": s.rejection,
                "repeats": s.repeats,
                "comment": s.comment if named else None,
            }
            for s in d.steps
        ],
    }


def _rate(found: Satisfaction) -> dict[str, Any]:
    lists = {name: list(getattr(found, name)) for name in Satisfaction.__dataclass_fields__}
    return {
        "demand_satisfaction_rate": found.rate,
        "met": len(found.met),
        "valid": found.valid,
        "response_timeliness": found.timeliness,
        "demands": lists,
    }
