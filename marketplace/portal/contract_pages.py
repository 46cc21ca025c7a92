"""Digital contracts and the way of tenants into the lab, as pages."""

from typing import Annotated

from fastapi import FastAPI, Path, Request
from fastapi.responses import HTMLResponse, Response

from marketplace.access.desk import not_found
from marketplace.contracts import api
from marketplace.contracts.api import CertificateBody, SignatureBody, StageBody
from marketplace.contracts.model import STAGES, State
from marketplace.paging import of_all
from marketplace.portal.forms import line, read
from marketplace.portal.frame import Given, Here, Signed, add, show, then

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
Tenant = Annotated[str, Path(min_length=1, max_length=64)]


def add_contract_pages(app: FastAPI) -> None:
    """Add these pages to the portal."""
    add(
        app,
        {"/contracts": contracts, "/contracts/{id_}": contract, "/funnel": funnel},
        {
            "/contracts/{id_}/signatures": sign,
            "/contracts/{id_}/exit": leave,
            "/contracts/{id_}/destruction": certify,
            "/funnel/{tenant}": advance,
        },
    )


def contracts(request: Request, here: Here, browser: Signed, state: str = "") -> HTMLResponse:
    """List the contracts of one's organisation; to overseers, all."""
    found = api.contracts(here, browser.person, of_all())
    facts = {
        "contracts": [c for c in found if state in ("", c["state"])],
        "states": [s.value for s in State],
        "chosen": state,
    }
    return show(request, browser, "contracts", facts)


def contract(request: Request, id_: Id, here: Here, browser: Signed) -> HTMLResponse:
    """Show one contract: what is agreed, who signed, what was used, and the next steps."""
    person = browser.person
    found = next((c for c in here.contracts.visible(person) if c.id == id_), None)
    if found is None:
        raise not_found()
    facts = {"contract": found, "steps": here.contracts.open_steps(person, found)}
    return show(request, browser, "contract", facts)


def sign(id_: Id, here: Here, sent: Given) -> Response:
    """Sign the text that was shown, for one's organisation."""
    body = read(SignatureBody, {"text_sha256": line(sent.form, "text_sha256")})
    api.sign(id_, body, here, sent.person)
    return then(f"/contracts/{id_}")


def leave(id_: Id, here: Here, sent: Given) -> Response:
    """End a contract."""
    api.leave(id_, here, sent.person)
    return then(f"/contracts/{id_}")


def certify(id_: Id, here: Here, sent: Given) -> Response:
    """Put the digest of the destruction certificate on an exited contract."""
    body = read(CertificateBody, {"certificate_sha256": line(sent.form, "certificate_sha256")})
    api.certify(id_, body, here, sent.person)
    return then(f"/contracts/{id_}")


def funnel(request: Request, here: Here, browser: Signed) -> HTMLResponse:
    """Show where every tenant stands and how long each stage took; to others, their own."""
    found = here.contracts.funnel(browser.person)
    facts = {
        "standings": [(s, here.contracts.next_stage(browser.person, s)) for s in found],
        "stages": [s.value for s in STAGES],
    }
    return show(request, browser, "funnel", facts)


def advance(tenant: Tenant, here: Here, sent: Given) -> Response:
    """Move a tenant to the stage that the form names."""
    api.advance(tenant, read(StageBody, {"stage": line(sent.form, "stage")}), here, sent.person)
    return then("/funnel")
