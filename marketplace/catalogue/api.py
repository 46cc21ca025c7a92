"""The catalogue over HTTP: anyone signed in may search; a provider writes and publishes its own."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from marketplace.catalogue import exports
from marketplace.catalogue.model import Condition, Cycle, DataClass, Item, Resource
from marketplace.catalogue.page import Page
from marketplace.catalogue.search import FACETS, MAX_PAGE_SIZE, MAX_QUERY
from marketplace.catalogue.search import Query as Wanted
from marketplace.catalogue.states import Actor
from marketplace.conditions import IfMatch
from marketplace.errors import MarketplaceError
from marketplace.grading.model import Degree, Impact, ImpactObject, Lane
from marketplace.http import V1, Caller, Here, StrictBody
from marketplace.identity.model import Person
from marketplace.paging import Paged, Pager, pager
from marketplace.stamp import expecting

router = APIRouter(prefix="/catalogue", tags=["catalogue"])

Text = Annotated[str, Field(max_length=2_000)]
Name = Annotated[str, Field(max_length=64)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Chosen = Annotated[list[Annotated[str, Field(max_length=200)]], Query(max_length=50)]
ResourceId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Number = Annotated[int, Field(ge=1, le=1_000_000)]
NONE: Chosen = []


class ImpactBody(StrictBody):
    """One finding of an impact analysis."""

    object: Annotated[ImpactObject, Field(strict=False)]
    degree: Annotated[Degree, Field(strict=False)]


class ItemBody(StrictBody):
    """One field; its grade is computed from the impacts, never sent."""

    name: Name
    title_zh: Text
    title_en: Text
    logical_type: Name
    unit: Name = ""
    data_class: Annotated[DataClass, Field(strict=False)] = DataClass.ORGANISATION
    impacts: Annotated[list[ImpactBody], Field(max_length=20, default_factory=list)]
    reason: Text = ""


class ResourceBody(StrictBody):
    """What a provider says of a resource; its provider is the caller's organisation."""

    code: Name
    title_zh: Text
    title_en: Text
    abstract_zh: Text = ""
    abstract_en: Text = ""
    theme: Annotated[str, Field(max_length=200)]
    update_cycle: Annotated[Cycle, Field(strict=False)]
    share_type: Annotated[Condition, Field(strict=False)]
    open_type: Annotated[Condition, Field(strict=False)]
    items: Annotated[list[ItemBody], Field(min_length=1, max_length=500)]
    share_condition: Text = ""
    open_condition: Text = ""
    format: Name = "database"
    lanes: Annotated[list[Annotated[Lane, Field(strict=False)]], Field(default_factory=list)]
    related_codes: Annotated[list[Name], Field(max_length=100, default_factory=list)]
    table_name: Name = ""
    price_fen: int | None = None
    wait_working_days: int | None = None
    licence: Text = ""
    registration_no: Name = ""


class DigestBody(StrictBody):
    """The content that the caller saw and means."""

    digest: Digest


@router.get("/resources")
def search(  # noqa: PLR0913  # one argument for each parameter of the query
    here: Here,
    caller: Caller,
    pages: Annotated[Pager, Depends(pager(20, MAX_PAGE_SIZE))],
    q: Annotated[str, Query(max_length=MAX_QUERY)] = "",
    *,
    provider: Chosen = NONE,
    grade: Chosen = NONE,
    lane: Chosen = NONE,
    theme: Chosen = NONE,
    cycle: Chosen = NONE,
) -> dict[str, Any]:
    """Return published resources that match, best first, and the counts of each facet."""
    chosen = dict(zip(FACETS, map(frozenset, (provider, grade, lane, theme, cycle)), strict=True))
    window = pages.window
    found = here.catalogue.search(actor_of(caller), Wanted(q, chosen, window.page, window.size))
    pages.tell(more=found.total > window.skip + window.size)
    hits = [{k: v for k, v in asdict(hit).items() if k != "number"} for hit in found.hits]
    return {"total": found.total, "near": found.near, "hits": hits, "facets": found.facets}


@router.get("/resources.csv", response_class=Response)
def table(
    here: Here, caller: Caller, q: Annotated[str, Query(max_length=MAX_QUERY)] = ""
) -> Response:
    """Return what a search finds as a CSV file, at most a thousand lines."""
    found = here.catalogue.search(actor_of(caller), Wanted(q, {}, 1, 1_000))
    headers = {"content-disposition": 'attachment; filename="resources.csv"'}
    return Response(exports.table(found.hits), media_type="text/csv", headers=headers)


@router.get("/classes")
def classes(here: Here, _caller: Caller) -> list[dict[str, Any]]:
    """Return the classes of enterprise data; `sample_table` marks those with sample data."""
    return [asdict(kind) for kind in here.publishing.classes]


@router.get("/resources/{id_}")
def resource(id_: ResourceId, here: Here, caller: Caller) -> dict[str, Any]:
    """Return the published version, or the provider's own newest."""
    page = here.catalogue.page(actor_of(caller), id_)
    waits = {w.table: w for w in here.access.inbox.waits()} if page.resource.table_name else {}
    wait = waits.get(page.resource.table_name)
    return {**told(page), "median_wait_seconds": wait and wait.median_seconds}


@router.get("/resources/{id_}/history")
def history(id_: ResourceId, here: Here, caller: Caller, pages: Paged) -> list[dict[str, Any]]:
    """Return what happened to a resource, oldest first."""
    return pages.cut(here.catalogue.history(actor_of(caller), id_))


class LinkedData(JSONResponse):
    """JSON-LD (https://www.w3.org/TR/json-ld11/)."""

    media_type = "application/ld+json"


@router.get("/resources/{id_}/dcat", response_class=LinkedData)
def dcat(id_: ResourceId, here: Here, caller: Caller) -> LinkedData:
    """Return a resource as a DCAT-AP 3 catalogue of one."""
    page = here.catalogue.page(actor_of(caller), id_)
    base = f"{here.public_url}{V1}/catalogue"
    body = exports.dcat([page], here.catalogue.policies.bodies, base)
    return LinkedData(body)


@router.get("/resources/{id_}/odcs")
def odcs(id_: ResourceId, here: Here, caller: Caller) -> dict[str, Any]:
    """Return a resource as an ODCS v3.1.0 data contract."""
    return exports.odcs(here.catalogue.page(actor_of(caller), id_), here.catalogue.policies.bodies)


@router.get("/resources/{id_}/versions/{number}")
def version(
    id_: ResourceId, number: Number, here: Here, caller: Caller, response: Response
) -> dict[str, Any]:
    """Return one version."""
    page = here.catalogue.page(actor_of(caller), id_, number)
    response.headers["etag"] = page.version.stamp
    return told(page)


@router.post("/resources", status_code=201)
def create(body: ResourceBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Register a resource as a draft."""
    return told(here.catalogue.create(provider(caller), _resource(body, caller)))


@router.post("/resources/{id_}/versions", status_code=201)
def revise(id_: ResourceId, body: ResourceBody, here: Here, caller: Caller) -> dict[str, Any]:
    """Begin the next version of a published resource."""
    return told(here.catalogue.revise(provider(caller), id_, _resource(body, caller)))


@router.put("/resources/{id_}/versions/{number}")
def edit(  # path, header, body and who calls
    id_: ResourceId,
    number: Number,
    body: ResourceBody,
    here: Here,
    caller: Caller,
    if_match: IfMatch = "",
) -> dict[str, Any]:
    """Replace the content of a draft."""
    content, expect = _resource(body, caller), expecting(if_match)
    return told(here.catalogue.edit(provider(caller), id_, number, content, expect))


@router.post("/resources/{id_}/versions/{number}/submit")
def submit(
    id_: ResourceId, number: Number, body: DigestBody, here: Here, caller: Caller
) -> dict[str, Any]:
    """Ask for a review."""
    return told(here.catalogue.submit(provider(caller), id_, number, body.digest))


@router.post("/resources/{id_}/versions/{number}/publish")
def publish(
    id_: ResourceId, number: Number, body: DigestBody, here: Here, caller: Caller
) -> dict[str, Any]:
    """Publish an approved version."""
    found = here.publishing.deliveries.publish(provider(caller), id_, number, body.digest)
    return told(found)


@router.post("/resources/{id_}/versions/{number}/withdraw")
def withdraw(
    id_: ResourceId, number: Number, body: DigestBody, here: Here, caller: Caller
) -> dict[str, Any]:
    """Take a version out of the catalogue."""
    return told(here.catalogue.withdraw(provider(caller), id_, number, body.digest))


def told(page: Page) -> dict[str, Any]:
    """Return a version as JSON; texts are values, never markup."""
    found = asdict(page.resource)
    closed = {entry.field for entry in page.closed}
    for item in found["items"]:
        item["grade"] = page.grades.get(item["name"])
        open_ = page.field_lanes.get(item["name"], frozenset())
        item["open_lanes"] = [] if closed & {"", item["name"]} else sorted(open_)
    return {
        **found,
        "id": page.version.resource,
        "version": page.version.number,
        "state": page.version.state,
        "check": page.version.check,
        "digest": page.version.digest,
        "grade": page.level,
        "open_lanes": sorted(page.lanes),
        "negative_list": [
            {
                "entry_id": e.entry_id,
                "field": e.field,
                "alternative_zh": e.alternative_zh,
                "alternative_en": e.alternative_en,
            }
            for e in page.closed
        ],
    }


def actor_of(person: Person) -> Actor:
    """Return a caller as the catalogue knows one."""
    return Actor(person.user, person.tenant)


def provider(person: Person) -> Actor:
    """Return who acts for a provider; others are refused."""
    if "provider" not in person.roles:
        raise MarketplaceError(
            "FORBIDDEN", "Only people with the role provider may do this.", "仅供数单位人员可操作。"
        )
    return actor_of(person)


def _resource(body: ResourceBody, person: Person) -> Resource:
    given = body.model_dump()
    items = tuple(
        Item(
            **{
                **item,
                "impacts": tuple(Impact(i["object"], i["degree"]) for i in item["impacts"]),
            }
        )
        for item in given.pop("items")
    )
    for name in ("lanes", "related_codes"):
        given[name] = tuple(given[name])
    try:
        return Resource(**given, items=items, provider=person.tenant)
    except ValueError as error:
        raise MarketplaceError("BAD_REQUEST", f"{error}.", "填写内容不符合要求。") from error
