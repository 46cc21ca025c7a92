"""Examination and re-grading over HTTP; nothing is decided here."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, StrictBool, StrictInt

from marketplace.catalogue.api import Digest, Number, ResourceId, told
from marketplace.catalogue.model import fault_of
from marketplace.catalogue.regrading_store import Regrading
from marketplace.errors import MarketplaceError
from marketplace.http import Caller, Here, StrictBody
from marketplace.paging import Paged

router = APIRouter(prefix="/catalogue", tags=["catalogue"])

Words = Annotated[str, Field(max_length=1_000)]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Amount = Annotated[StrictInt, Field(ge=0, le=10**15)]


class ExaminationBody(StrictBody):
    """A judgement of the content with this digest, and of no other."""

    digest: Digest
    approve: bool
    comment: Words = ""


class RegradingBody(StrictBody):
    """An event of the grading policy, the facts that it needs, and where they are shown."""

    field: Code
    event: Code
    facts: Annotated[dict[Code, StrictBool | Amount], Field(max_length=20)]
    evidence: Annotated[str, Field(min_length=1, max_length=1_000)]


class DecisionBody(StrictBody):
    """A word on a downgrade."""

    approve: bool
    comment: Words = ""


@router.get("/examinations")
def examinations(here: Here, caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return submitted versions that the caller may examine."""
    return [told(page) for page in pages.cut(here.publishing.reviews.waiting(caller))]


@router.post("/resources/{id_}/versions/{number}/examination")
def examine(
    id_: ResourceId, number: Number, body: ExaminationBody, here: Here, caller: Caller
) -> dict[str, Any]:
    """Approve or return a submitted version."""
    comment = _line(body.comment)
    page = here.publishing.reviews.judge(
        caller, id_, number, body.digest, comment, approve=body.approve
    )
    return told(page)


@router.get("/regradings")
def waiting(here: Here, caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return downgrades that the caller may decide."""
    return [_told(found) for found in pages.cut(here.publishing.regradings.waiting(caller))]


@router.post("/regradings/{name}/decision")
def decide(name: ResourceId, body: DecisionBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Decide about a downgrade."""
    comment = _line(body.comment)
    return _told(here.publishing.regradings.decide(caller, name, comment, approve=body.approve))


@router.get("/resources/{id_}/regradings")
def history(id_: ResourceId, here: Here, caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return what changed the grades of a resource."""
    found = here.publishing.regradings.history(caller, id_)
    return [_told(change) for change in pages.cut(found)]


@router.post("/resources/{id_}/regradings", status_code=201)
def report(id_: ResourceId, body: RegradingBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Report an event: an upgrade holds at once, a downgrade waits for a person."""
    found = here.publishing.regradings.report(
        caller, id_, body.field, body.event, body.facts, _line(body.evidence)
    )
    return _told(found)


def _told(found: Regrading) -> dict[str, Any]:
    whole = asdict(found)
    change = whole.pop("change")
    return {**whole, **{name: change[name] for name in ("event", "before", "after")}}


def _line(text: str) -> str:
    if fault := fault_of(text):
        raise MarketplaceError("BAD_REQUEST", f"The text {fault}.", "文本含有不允许的字符。")
    return text
