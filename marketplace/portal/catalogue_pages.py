"""The catalogue as pages: search with facets, a resource with its fields, examination."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import FastAPI, Path, Request
from fastapi.responses import HTMLResponse, Response

from marketplace.catalogue import api, publishing_api
from marketplace.catalogue.publishing_api import ExaminationBody
from marketplace.catalogue.search import FACETS, MAX_QUERY
from marketplace.paging import of_all
from marketplace.portal.browsers import Browser
from marketplace.portal.forms import line, page_number, read
from marketplace.portal.frame import Facts, Given, Here, Signed, add, show, then
from marketplace.services import Services

SIZE = 20
MOST_VALUES = 12
"""Values of a facet that are shown: the most frequent, and those chosen."""
MOST_CHOSEN, MOST_LETTERS = 50, 200
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
Number = Annotated[int, Path(ge=1, le=1_000_000)]


def add_catalogue_pages(app: FastAPI) -> None:
    """Add these pages to the portal."""
    add(
        app,
        {
            "/catalogue": search,
            "/catalogue/{id_}": resource,
            "/catalogue/{id_}/versions/{number}": version,
            "/examinations": examinations,
        },
        {"/examinations/{id_}/{number}": examine},
    )


def search(request: Request, here: Here, browser: Signed) -> HTMLResponse:
    """Show published resources that match, best first, and what the search can be narrowed to."""
    asked = request.query_params
    text, page = asked.get("q", "").strip()[:MAX_QUERY], page_number(asked.get("page", ""))
    chosen = {
        f: [v for v in asked.getlist(f)[:MOST_CHOSEN] if v and len(v) <= MOST_LETTERS]
        for f in FACETS
    }
    found = api.search(here, browser.person, of_all(page, SIZE), text, **chosen)
    kept = [("q", text), *((f, v) for f, values in chosen.items() for v in values)]
    facts = {
        **found,
        "q": text,
        "facets": [
            (facet, _values(found["facets"][facet], chosen[facet]), chosen[facet])
            for facet in FACETS
        ],
        "chosen": any(chosen.values()),
        "samples": sample_tables(here),
        "bodies": here.catalogue.policies.bodies,
        "number": page,
        "pages": -(-found["total"] // SIZE),
        "query": urlencode([(k, v) for k, v in kept if v]),
    }
    return show(request, browser, "catalogue", facts)


def resource(request: Request, id_: Id, here: Here, browser: Signed) -> HTMLResponse:
    """Show the published version of a resource, or the provider's own newest."""
    return _shown(request, here, browser, api.resource(id_, here, browser.person))


def version(request: Request, id_: Id, number: Number, here: Here, browser: Signed) -> HTMLResponse:
    """Show one version."""
    found = api.told(here.catalogue.page(api.actor_of(browser.person), id_, number))
    return _shown(request, here, browser, {**found, "median_wait_seconds": None})


def examinations(request: Request, here: Here, browser: Signed) -> HTMLResponse:
    """List submitted versions that one may examine, each with the form of a judgement."""
    pages = publishing_api.examinations(here, browser.person, of_all())
    facts = {"waiting": pages, "bodies": here.catalogue.policies.bodies}
    return show(request, browser, "examinations", facts)


def examine(id_: Id, number: Number, here: Here, sent: Given) -> Response:
    """Take a judgement of the content that was shown."""
    given = {
        "digest": line(sent.form, "digest"),
        "approve": sent.form.get("verdict") == "approve",
        "comment": line(sent.form, "comment"),
    }
    publishing_api.examine(id_, number, read(ExaminationBody, given), here, sent.person)
    return then("/examinations")


def sample_tables(here: Services) -> frozenset[str]:
    """Return the tables of which the lab has synthetic rows."""
    return frozenset(k.sample_table for k in here.publishing.classes if k.sample_table)


def _shown(request: Request, here: Services, browser: Browser, found: Facts) -> HTMLResponse:
    person = browser.person
    acts = api.history(found["id"], here, person, of_all())
    published = found["state"] == "published"
    table = found["table_name"] if published else ""
    facts = {
        "resource": found,
        "history": acts,
        "versions": sorted({a["number"] for a in acts} | {found["version"]}),
        "changes": publishing_api.history(found["id"], here, person, of_all()) if published else [],
        "sample": found["table_name"] in sample_tables(here),
        "bodies": here.catalogue.policies.bodies,
        "offered": bool(table and here.access.inbox.offers(person, table)),
    }
    return show(request, browser, "resource", facts)


def _values(counts: dict[str, int], chosen: list[str]) -> list[tuple[str, int]]:
    """Return the values of a facet with their counts: chosen ones, then the most frequent."""
    shown = [v for v in counts if v not in chosen][: max(0, MOST_VALUES - len(chosen))]
    return [(v, counts.get(v, 0)) for v in (*chosen, *shown)]
